//! Flags that say where results are, and those of the commands that keep, export and delete them.

use clap::{Args as ClapArgs, ValueEnum};
use fleetscan_worker::{Network, sink::SinkOptions};
use std::path::{Path, PathBuf};

/// Where results are.
#[derive(Debug, Clone, ClapArgs)]
pub struct OutArgs {
    /// Where the results are: a folder, file:// or s3://bucket/prefix
    #[arg(long, env = "FLEETSCAN_OUT", default_value = "fleetscan-results", value_name = "URL")]
    pub out: String,
    #[command(flatten)]
    pub s3: S3Args,
}

impl OutArgs {
    /// A folder of this machine.
    pub fn folder(folder: &Path) -> Self {
        let s3 = S3Args { out_region: None, out_endpoint: None, out_kms_key: None };
        Self { out: folder.display().to_string(), s3 }
    }
}

/// How the bucket of an s3:// place is reached.
#[derive(Debug, Clone, ClapArgs)]
pub struct S3Args {
    /// Region of the bucket; default: the one of the AWS configuration
    #[arg(long, env = "FLEETSCAN_OUT_REGION", value_name = "REGION")]
    pub out_region: Option<String>,
    /// Address of something else that speaks S3; default: the one of the AWS configuration, if any
    #[arg(long, env = "FLEETSCAN_OUT_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub out_endpoint: Option<String>,
    /// Key of KMS that results are encrypted with (id, alias or ARN); default: as the bucket says
    #[arg(long, env = "FLEETSCAN_OUT_KMS_KEY", value_name = "KEY")]
    pub out_kms_key: Option<String>,
}

impl S3Args {
    pub fn options(&self, network: Network) -> SinkOptions {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        SinkOptions {
            region: some(&self.out_region),
            endpoint: some(&self.out_endpoint),
            kms_key: some(&self.out_kms_key),
            network,
        }
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        _ if text.is_empty() => Ok(String::new()),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(text.to_owned()),
        _ => Err("write http:// or https:// and a host, as in https://s3.example.com".to_owned()),
    }
}

/// What a summary's table is by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Cells and records of each account
    Account,
    /// Of each region
    Region,
    /// Of each service
    Service,
    /// Records of each type
    Type,
    /// Accounts and cells in which each action was denied, by which kind of policy
    Denied,
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            By::Account => "account",
            By::Region => "region",
            By::Service => "service",
            By::Type => "type",
            By::Denied => "denied",
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    #[command(flatten)]
    pub out: OutArgs,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ExportArgs {
    /// What to write
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// A new folder for Parquet and CSV, one file a type; a new file for SQLite
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Which scan; by default the newest finished one
    #[arg(long, value_name = "ID")]
    pub scan: Option<String>,
    /// Only these types, separated by commas, such as AWS::Lambda::Function
    #[arg(long = "type", value_delimiter = ',', value_name = "TYPE,…")]
    pub types: Vec<String>,
    /// Only these accounts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub account: Vec<String>,
    /// Only these services, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    pub service: Vec<String>,
    /// Only the cells of these regions, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "REGION,…")]
    pub region: Vec<String>,
    #[command(flatten)]
    pub out: OutArgs,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct DiffArgs {
    /// The earlier scan; by default the one before the newest finished one
    pub a: Option<String>,
    /// The later scan; by default the newest finished one
    pub b: Option<String>,
    #[command(flatten)]
    pub out: OutArgs,
    /// Only these accounts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub account: Vec<String>,
    /// Only the cells of these regions, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "REGION,…")]
    pub region: Vec<String>,
    /// Only these services, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    pub service: Vec<String>,
    /// Only these types, separated by commas, such as AWS::Lambda::Function
    #[arg(long = "type", value_delimiter = ',', value_name = "TYPE,…")]
    pub types: Vec<String>,
    /// A path that is no change, such as tags.LastSeen or "AWS::IAM::Role properties.Description"; may be repeated
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// Also what changes by itself, such as when a role was last used
    #[arg(long)]
    pub all_properties: bool,
    /// How many changes to show; by default 50, and with --json all
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// One JSON object a line: each change, and the counts at the end
    #[arg(long)]
    pub json: bool,
}

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A Parquet file a type, with typed columns
    Parquet,
    /// A CSV file a type
    Csv,
    /// One database with the tables records, ledger and scan
    Sqlite,
}

impl ExportFormat {
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Parquet => "parquet",
            ExportFormat::Csv => "csv",
            ExportFormat::Sqlite => "sqlite",
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct PurgeArgs {
    /// Everything that was read of these accounts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…", required_unless_present = "scan")]
    pub account: Vec<String>,
    /// These scans, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub scan: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub out: OutArgs,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}
