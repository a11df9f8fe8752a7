//! Flags that say where results are, and those of the commands that keep, export and delete them.

use clap::Args as ClapArgs;
use fleetscan_worker::sink::SinkOptions;
use std::path::Path;

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
    pub fn options(&self) -> SinkOptions {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        SinkOptions {
            region: some(&self.out_region),
            endpoint: some(&self.out_endpoint),
            kms_key: some(&self.out_kms_key),
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
