//! Flags, and the environment variables that stand for them: the one place where either is read.

mod archive;
mod events;
mod fleet;
mod hub;
mod results;
mod roles;
mod storage;

pub use archive::{ArchiveArgs, BucketOrNone, PlaceOrNothing, bucket_or_none, place_or_nothing};
pub use events::{EventsArgs, EventsCommand};
pub use fleet::*;
pub use hub::HubArgs;
pub use results::*;
pub use roles::{SyncOrgArgs, VerifyArgs};
pub use storage::*;

use crate::logging::LogFormat;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Inventories the configuration metadata of many AWS accounts, read-only, no faster than their API limits allow.
#[derive(Debug, Parser)]
#[command(name = "fleetscan", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 complete, 1 failed, 2 wrong usage or input, 3 finished with holes (the ledger \
                        says which).\nBegin with `fleetscan demo`.")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Debug, ClapArgs)]
pub struct Global {
    /// Log more to stderr: -v what happens, -vv every step
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 1_000)]
    pub verbose: u8,
    /// Filter of the log, as tracing-subscriber takes it: `warn,fleetscan_worker=debug`
    #[arg(long, global = true, env = "FLEETSCAN_LOG", hide = true)]
    pub log: Option<String>,
    /// How log lines look: auto is JSON for coordinators and workers away from a terminal
    #[arg(
        long,
        global = true,
        env = "FLEETSCAN_LOG_FORMAT",
        default_value = "auto",
        hide = true,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Folder of catalogue files (*.toml) of your own: services to read beside the built-in ones; the same for every
    /// process of a fleet
    #[arg(long, global = true, env = "FLEETSCAN_CATALOGUE", value_name = "DIR")]
    pub catalogue: Option<PathBuf>,
    /// For tests: the files of this folder in place of the built-in ones, as another version might have them
    #[cfg(debug_assertions)]
    #[arg(long, global = true, value_name = "DIR", hide = true, conflicts_with = "catalogue")]
    pub catalogue_instead: Option<PathBuf>,
    #[arg(long, global = true, env = "NO_COLOR", hide = true)]
    pub no_color: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scan a simulated AWS, and hold what was read against what is there: begin here
    Demo(DemoArgs),
    /// Scan the accounts of a file, from this machine
    Scan(ScanArgs),
    /// How long a scan will take, and how many workers are worth having
    Plan(PlanArgs),
    /// Serve a simulated AWS to scan
    Simulator(SimulatorArgs),
    /// What a scan reads
    Catalogue(CatalogueArgs),
    /// What scans found
    Results(ResultsArgs),
    /// Run the scans of a fleet: of several coordinators, one leads
    Coordinator(CoordinatorArgs),
    /// Work for a fleet
    Worker(WorkerArgs),
    /// Connect customers' accounts, and see how they stand
    Accounts(AccountsArgs),
    /// Ask the fleet for scans, and watch them
    Scans(ScansArgs),
    /// Who works for the fleet, and at what
    Workers(WorkersArgs),
    /// Switch calls off and on, in the whole fleet at once
    Switch(SwitchArgs),
    /// See whether denied accounts can be marked revoked at present, and decide it
    Breaker(BreakerArgs),
    /// See what happened, and who is told of it
    Events(EventsArgs),
    /// Check credentials, servers, folders and clocks, and say what to mend
    Doctor(DoctorArgs),
    /// Ask a coordinator or worker whether it is well: exit 0, or 1 and why not
    Health(HealthArgs),
}

impl Command {
    pub fn wants_json(&self) -> bool {
        match self {
            Command::Demo(args) => args.json,
            Command::Scan(args) => args.json,
            Command::Plan(args) => args.json,
            Command::Simulator(_) => false,
            Command::Catalogue(args) => args.json,
            Command::Results(args) => match &args.command {
                ResultsCommand::Summary(args) => args.json,
                ResultsCommand::Ledger(args) => args.json,
                ResultsCommand::List(args) => args.json,
                ResultsCommand::Export(args) => args.json,
                ResultsCommand::Diff(args) => args.json,
                ResultsCommand::Purge(args) => args.json,
                ResultsCommand::Insights(args) => args.json,
            },
            Command::Coordinator(_) | Command::Worker(_) => false,
            Command::Accounts(args) => args.json,
            Command::Scans(args) => args.json,
            Command::Workers(args) => args.json,
            Command::Switch(args) => args.json,
            Command::Breaker(args) => args.json,
            Command::Events(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Health(_) => false,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Simulated accounts
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub accounts: u32,
    /// Folder of the results; what an earlier demo left in it is replaced
    #[arg(long, default_value = "fleetscan-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Another seed makes other accounts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Calls under way at once
    #[arg(long, env = "FLEETSCAN_CONCURRENCY", value_parser = at_least_one)]
    pub concurrency: Option<usize>,
    /// Print one JSON object at the end, and nothing else, on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ScanArgs {
    /// TOML file of the accounts: [[account]] with id, role_arn, external_id
    #[arg(long, value_name = "FILE")]
    pub accounts: PathBuf,
    #[command(flatten)]
    pub out: OutArgs,
    /// Where scans and the status of accounts are remembered
    #[arg(long, env = "FLEETSCAN_DATA", default_value = "fleetscan-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Only these regions, separated by commas; global services are read all the same
    #[arg(long, value_delimiter = ',', value_name = "REGION,…")]
    pub regions: Vec<String>,
    /// Only these services, separated by commas; `fleetscan catalogue list` names them
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    pub services: Vec<String>,
    /// What the accounts' owners granted: `full`, `securityv0`, `identity`, `organisation`, `minimal`, or a file of
    /// your own; nothing else is called
    #[arg(long, env = "FLEETSCAN_PROFILE", default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
    pub profile: String,
    /// Calls under way at once
    #[arg(long, env = "FLEETSCAN_CONCURRENCY", value_parser = at_least_one)]
    pub concurrency: Option<usize>,
    /// The most of each published API limit that is used, above 0 and at most 1
    #[arg(long, env = "FLEETSCAN_SHARE", default_value_t = 0.5, value_parser = share)]
    pub share: f64,
    #[command(flatten)]
    pub activity: ActivityArgs,
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// Scans whose results are kept whole; of older ones, what no newer scan read completely
    #[arg(long, env = "FLEETSCAN_KEEP", default_value_t = 5, value_name = "SCANS", value_parser = keep)]
    pub keep: usize,
    /// Begin afresh, even where an unfinished scan of the same plan could be resumed
    #[arg(long)]
    pub new: bool,
    /// After so many minutes, what is not read yet ends as throttled_out
    #[arg(long, default_value_t = 360, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub deadline_minutes: u64,
    /// How long a denied account may wait until it is known whether it was revoked
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub denial_wait_seconds: u64,
    /// Print one JSON object at the end, and nothing else, on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// How much is read of what was done in accounts.
#[derive(Debug, Clone, ClapArgs)]
pub struct ActivityArgs {
    /// The most seconds that a scan reads CloudTrail's events in one region of an account; what is not read then, later
    /// scans read. 0: none are read
    #[arg(long, env = "FLEETSCAN_ACTIVITY_SECONDS", default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub activity_seconds: u64,
}

impl ActivityArgs {
    pub fn limit(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.activity_seconds)
    }
}

#[derive(Debug, ClapArgs)]
pub struct PlanArgs {
    /// Accounts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub accounts: u32,
    /// Workers; with one number, a few around it are compared as well, with several those
    #[arg(long, value_delimiter = ',', default_value = "10", value_name = "N,…", value_parser = workers)]
    pub workers: Vec<usize>,
    /// No other number of workers than the one that is named
    #[arg(long)]
    pub only: bool,
    /// Simulate every account, where by default one of several stands for the others
    #[arg(long)]
    pub whole: bool,
    /// A scan of accounts that were scanned before: those that took the longest go first
    #[arg(long)]
    pub again: bool,
    /// What is read: `full`, `securityv0`, `identity`, `organisation`, `minimal`, or a file of your own
    #[arg(long, env = "FLEETSCAN_PROFILE", default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
    pub profile: String,
    /// Regions that each account has enabled
    #[arg(long, default_value_t = fleetscan_proto::DEFAULT_REGIONS.len(), value_name = "N")]
    pub regions: usize,
    /// The most of each published API limit that is used, above 0 and at most 1
    #[arg(long, env = "FLEETSCAN_SHARE", default_value_t = 0.5, value_parser = share)]
    pub share: f64,
    /// Calls under way at once in each worker
    #[arg(long, env = "FLEETSCAN_CONCURRENCY", value_parser = at_least_one)]
    pub concurrency: Option<usize>,
    /// How long AWS takes to answer a call, on average
    #[arg(long, default_value_t = 60, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub latency: u64,
    /// What is in the accounts: `small`, `typical`, `large`, or a file of your own
    #[arg(long, default_value = "typical", value_name = "NAME|FILE")]
    pub sizes: String,
    /// Another seed draws other accounts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The coordinator's --window
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(256..=1_000_000))]
    pub window: u32,
    /// The fleet's --shards; default: 32, or twice the workers where that is more
    #[arg(long, env = "FLEETSCAN_SHARDS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct SimulatorArgs {
    /// Where to listen
    #[arg(long, env = "FLEETSCAN_LISTEN", default_value = "127.0.0.1:4566", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Simulated accounts
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub accounts: u32,
    /// Another seed makes other accounts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to write the accounts file that scans it
    #[arg(long, default_value = "simulated-accounts.toml", value_name = "FILE")]
    pub accounts_file: PathBuf,
    /// Milliseconds before each answer
    #[arg(long, default_value_t = 5, value_name = "MILLISECONDS")]
    pub latency_ms: u64,
    /// What is in the accounts: `demo` (a believable spread), `giants`, `empty`, or items by list and in how many
    /// regions, as in `lambda:ListFunctions=200,sns:ListTopics=50;regions=1`; with `;sizes=0.8,2x10` the accounts'
    /// sizes are log-normal, and two are giants of ten times the middle. But for `demo`, everything can be read
    #[arg(long, value_name = "WORLD", default_value = "demo")]
    pub world: String,
    /// API limits: `published`, `off`, or a factor such as 0.5
    #[arg(long, default_value = "published", value_name = "LIMITS")]
    pub limits: String,
    /// Speak TLS with this certificate (PEM), and HTTP/2 where the client wants it; give --ca-bundle its authority's
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// On TLS, offer HTTP/1.1 alone
    #[arg(long, requires = "tls_certificate")]
    pub no_http2: bool,
}

#[derive(Debug, ClapArgs)]
pub struct CatalogueArgs {
    #[command(subcommand)]
    pub command: CatalogueCommand,
    /// JSON in place of a table
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Services, and with a service's name its operations
    List {
        /// Its operations
        service: Option<String>,
    },
    /// Check catalogue files; without any, the built-in ones
    Check {
        /// TOML files, one a service
        files: Vec<PathBuf>,
    },
    /// The CloudFormation template of the role that grants a profile
    Template {
        /// `full`, `securityv0`, `identity`, `organisation`, `minimal`, or a file of your own
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
        /// For a StackSet, which may go to several regions and makes the role in one
        #[arg(long)]
        stackset: bool,
    },
    /// IAM policies as JSON
    Policy {
        /// `full`, `securityv0`, `identity`, `organisation`, `minimal`, or a file of your own
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
        /// Which one
        #[arg(long, value_enum, default_value = "role")]
        of: PolicyArg,
        /// The policy of whoever writes and reads results in this bucket, in place of a profile's: BUCKET or BUCKET/PREFIX
        #[arg(long, value_name = "BUCKET", conflicts_with_all = ["profile", "of"])]
        sink: Option<String>,
        /// With `--of hub`: the roles that it may assume
        #[arg(long, default_value = fleetscan_worker::policy::ROLE_NAME, value_name = "NAME")]
        role_name: String,
    },
    /// Write every template, policy and generated page into a copy of this repository
    Write {
        /// Its root
        root: PathBuf,
    },
}

/// The policies that are made of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// The role's: every action by name; several documents where one is too small
    Role,
    /// What a session is narrowed to
    Session,
    /// The most that the role can do, whatever is attached to it
    Boundary,
    /// The hub's own: to assume roles of one name
    Hub,
}

#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub out: OutArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    /// RabbitMQ of the fleet, amqp[s]://user@host:5672/vhost; the nodes of a cluster separated by commas
    #[arg(long, env = "FLEETSCAN_BROKER", value_name = "URL", hide_env_values = true)]
    pub broker: Option<String>,
    #[command(flatten)]
    pub terms: BrokerTerms,
    /// The coordinator's canaries: asked whether they let us in, which needs the key
    #[arg(long, env = "FLEETSCAN_CANARY", value_delimiter = ',', value_name = "ID,…")]
    pub canary: Vec<String>,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub hub: HubArgs,
}

fn keep(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1000) => Ok(number),
        _ => Err("write a number from 1 to 1000".to_owned()),
    }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000) => Ok(number),
        _ => Err("write a number from 1 to 1000, or several separated by commas".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
pub struct HealthArgs {
    /// The page to ask, as http://127.0.0.1:9464/readyz; default: the process's own, where FLEETSCAN_LISTEN says
    pub url: Option<String>,
    /// Where the process listens
    #[arg(long, env = "FLEETSCAN_LISTEN", value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Whether it can do its work, and not only whether it runs
    #[arg(long)]
    pub ready: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=4096) => Ok(number),
        _ => Err("write a number from 1 to 4096".to_owned()),
    }
}

/// A principal that a role can trust.
fn principal(text: &str) -> Result<String, String> {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    match fields[..] {
        ["arn", partition, "iam", "", account, who]
            if partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && (who == "root" || who.starts_with("role/") || who.starts_with("user/")) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("write arn:aws:iam::<12 digits>:role/<name>".to_owned()),
    }
}

/// CloudFormation's console takes templates from S3 only.
fn template_url(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.host_str().is_some_and(|host| host.contains("amazonaws.com")) => {
            Ok(text.to_owned())
        }
        _ => Err("write the https:// address of an object in S3: CloudFormation takes no other".to_owned()),
    }
}

/// A time, or a span of time before now.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a number above 0 and at most 1, such as 0.5".to_owned()),
    }
}

/// An address to listen at; a port alone is one of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.strip_prefix(':').unwrap_or(text) {
        port if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    whole.parse().map_err(|_| "write a port, or an address with a port, such as 127.0.0.1:9464".to_owned())
}
