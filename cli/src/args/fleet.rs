//! Flags of the fleet's commands.

use super::{ActivityArgs, ArchiveArgs, OutArgs, S3Args, SyncOrgArgs, VerifyArgs, at_least_one};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use fleetscan_proto::TrailPlace;
use std::path::PathBuf;

/// Where scans and accounts are remembered.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Redis of the fleet, redis[s]://host:6379/0; without it, the file in --data. A password comes in the environment
    /// or from a file, never as a flag
    #[arg(long, global = true, env = "FLEETSCAN_STORE", value_name = "URL", hide_env_values = true)]
    pub store: Option<String>,
    /// File with the store's password
    #[arg(long, global = true, env = "FLEETSCAN_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
    /// Certificates (PEM) that vouch for a store with rediss://
    #[arg(long, global = true, env = "FLEETSCAN_STORE_CA", value_name = "FILE")]
    pub store_ca: Option<PathBuf>,
    /// Where scans and the status of accounts are remembered on one machine
    #[arg(long, global = true, env = "FLEETSCAN_DATA", default_value = "fleetscan-data", value_name = "DIR")]
    pub data: PathBuf,
}

/// Where tasks go.
#[derive(Debug, Clone, ClapArgs)]
pub struct BrokerArgs {
    /// RabbitMQ of the fleet, amqp[s]://user@host:5672/vhost; the nodes of a cluster separated by commas, each of which
    /// will do. A password comes in the environment or from a file, never as a flag
    #[arg(long, env = "FLEETSCAN_BROKER", value_name = "URL", hide_env_values = true)]
    pub broker: String,
    #[command(flatten)]
    pub terms: BrokerTerms,
}

/// How the broker is talked to.
#[derive(Debug, Clone, ClapArgs)]
pub struct BrokerTerms {
    /// File with the broker's password
    #[arg(long, env = "FLEETSCAN_BROKER_PASSWORD_FILE", value_name = "FILE")]
    pub broker_password_file: Option<PathBuf>,
    /// Certificates (PEM) that vouch for a broker with amqps://
    #[arg(long, env = "FLEETSCAN_BROKER_CA", value_name = "FILE")]
    pub broker_ca: Option<PathBuf>,
    /// Queues that accounts are spread over: the same in the whole fleet, and at least the number of workers
    #[arg(long, env = "FLEETSCAN_SHARDS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// For tests: the newest wire version of tasks, in place of the real one
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "N", hide = true)]
    pub wire_version: Option<u32>,
}

/// What opens grants.
#[derive(Debug, Clone, ClapArgs)]
pub struct KeyArgs {
    /// File with the key that seals grants: 32 bytes, base64; further lines are older keys. Or FLEETSCAN_KEY
    #[arg(long, global = true, env = "FLEETSCAN_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Scans whose results are kept whole; of older ones, what no newer scan read completely
    #[arg(long, env = "FLEETSCAN_KEEP", default_value_t = 5, value_name = "SCANS", value_parser = super::keep)]
    pub keep: usize,
    /// Scan every connected account at least once in so many hours; 0: only what is asked for
    #[arg(long, env = "FLEETSCAN_EVERY_HOURS", default_value_t = 0, value_name = "HOURS")]
    pub every_hours: u64,
    /// File of those who are told of events by signed webhooks: see docs/events.md
    #[arg(long, env = "FLEETSCAN_RECEIVERS", value_name = "FILE")]
    pub receivers: Option<PathBuf>,
    /// Its name, unique in the fleet; default: host and process
    #[arg(long, env = "FLEETSCAN_NAME")]
    pub name: Option<String>,
    /// Serve the live page here, with /metrics, /healthz, /readyz; a port alone is one of this machine
    #[arg(long, env = "FLEETSCAN_LISTEN", value_name = "ADDRESS", value_parser = super::address)]
    pub listen: Option<std::net::SocketAddr>,
    /// File with the token that opens the live page, and lets it cancel and pause. Or FLEETSCAN_TOKEN. Without one the
    /// page is read-only, and for this machine alone
    #[arg(long, env = "FLEETSCAN_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Scans that run at once; urgent ones go first
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    pub scans_at_once: usize,
    /// Accounts that are known to be well, asked whether they let us in before another is marked revoked; their grants
    /// need the key
    #[arg(long, env = "FLEETSCAN_CANARY", value_delimiter = ',', value_name = "ID,…")]
    pub canary: Vec<String>,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Cells that may be outstanding at once in a scan
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(256..=1_000_000))]
    pub window: u32,
    /// After so many minutes, what a scan has not read ends as throttled_out
    #[arg(long, default_value_t = 360, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub deadline_minutes: u64,
    /// How long a denied account may wait until it is known whether it was revoked
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub denial_wait_seconds: u64,
    /// A task without progress for so long is looked into
    #[arg(long, default_value_t = 60, value_name = "SECONDS", hide = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub stuck_after_seconds: u64,
    /// The most of each published API limit that workers use; written into manifests
    #[arg(long, env = "FLEETSCAN_SHARE", default_value_t = 0.5, value_parser = super::share)]
    pub share: f64,
    #[command(flatten)]
    pub hub: super::HubArgs,
}

#[derive(Debug, ClapArgs)]
pub struct WorkerArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub s3: S3Args,
    /// Its name, unique in the fleet; default: host and process
    #[arg(long, env = "FLEETSCAN_NAME")]
    pub name: Option<String>,
    /// Calls under way at once
    #[arg(long, env = "FLEETSCAN_CONCURRENCY", value_parser = at_least_one)]
    pub concurrency: Option<usize>,
    /// The most of each published API limit that is used, above 0 and at most 1
    #[arg(long, env = "FLEETSCAN_SHARE", default_value_t = 0.5, value_parser = super::share)]
    pub share: f64,
    #[command(flatten)]
    pub activity: ActivityArgs,
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// After so long a cell hands in its part and goes on later, perhaps elsewhere
    #[arg(long, default_value_t = 240, value_name = "SECONDS", hide = true, value_parser = clap::value_parser!(u64).range(1..=900))]
    pub slice_seconds: u64,
    /// Serve metrics and health here: /metrics, /healthz, /readyz; a port alone is one of this machine
    #[arg(long, env = "FLEETSCAN_LISTEN", value_name = "ADDRESS", value_parser = super::address)]
    pub listen: Option<std::net::SocketAddr>,
    /// For tests: the process dies of this cell
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "CELL", hide = true)]
    pub dies_of: Option<String>,
    /// How long it may take to stop in order
    #[arg(long, default_value_t = 45, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=900))]
    pub drain_seconds: u64,
    #[command(flatten)]
    pub hub: super::HubArgs,
}

#[derive(Debug, ClapArgs)]
pub struct AccountsArgs {
    #[command(subcommand)]
    pub command: AccountsCommand,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    /// Connect one account; its ExternalId is read from stdin or a file, never from a flag
    Add {
        /// Twelve digits
        id: String,
        /// arn:aws:iam::<id>:role/<name>
        #[arg(long)]
        role_arn: String,
        /// File with the ExternalId; default: the first line of stdin
        #[arg(long, value_name = "FILE")]
        external_id_file: Option<PathBuf>,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
        /// Who it belongs to
        #[arg(long)]
        customer: Option<String>,
        /// Only these regions, separated by commas
        #[arg(long, value_delimiter = ',')]
        regions: Vec<String>,
        /// Its CloudTrail bucket, whose log files of this account are read where workers run with --cloudtrail-enabled;
        /// none: they are never read, whatever bucket the operator has for all
        #[arg(long, value_name = "BUCKET[/PREFIX]|none")]
        cloudtrail_bucket: Option<TrailPlace>,
        /// What its owner was told of: a profile's name, or a file of your own
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
    },
    /// Connect the accounts of a file: TOML, or CSV with the same names as columns
    Import {
        /// *.toml or *.csv
        file: PathBuf,
        /// Connect the accounts without a mistake even where others have one
        #[arg(long)]
        partial: bool,
        /// What their owners were told of: a profile's name, or a file of your own
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
    },
    /// Read of accounts what the newest version of their profile reads, now that their owners know
    UpgradeProfile {
        /// Twelve digits each
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// Every connected account
        #[arg(long)]
        all: bool,
        /// Another profile: a name, or a file of your own; default: each account's own
        #[arg(long, value_name = "NAME|FILE")]
        profile: Option<String>,
    },
    /// The accounts that are connected
    List {
        /// Only in this state
        #[arg(long, value_enum)]
        status: Option<StateArg>,
        /// Only this customer's
        #[arg(long)]
        customer: Option<String>,
        /// Disconnected ones too
        #[arg(long)]
        all: bool,
    },
    /// All that is known of an account, but for its grant
    Show {
        /// Twelve digits
        id: String,
        /// Every change of its state, oldest first
        #[arg(long)]
        history: bool,
    },
    /// Change what is known of an account
    Update {
        /// Twelve digits
        id: String,
        /// A name for people; empty: none
        #[arg(long)]
        name: Option<String>,
        /// Who it belongs to; empty: itself
        #[arg(long)]
        customer: Option<String>,
        /// Only these regions, separated by commas; empty: every enabled one
        #[arg(long, value_delimiter = ',')]
        regions: Option<Vec<String>>,
        /// Its CloudTrail bucket, whose log files of this account are read where workers run with --cloudtrail-enabled;
        /// none: they are never read, whatever bucket the operator has for all; empty: nothing is said, and that one is
        /// looked into
        #[arg(long, value_name = "BUCKET[/PREFIX]|none", value_parser = super::place_or_nothing)]
        cloudtrail_bucket: Option<super::PlaceOrNothing>,
        /// Whether sessions are narrowed by a session policy
        #[arg(long)]
        session_policy: Option<bool>,
    },
    /// Leave accounts alone until they are resumed; calls in them stop within two seconds
    Pause {
        /// Twelve digits each
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// End a pause
    Resume {
        /// Twelve digits each
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Disconnect accounts: their grants are erased at once
    Remove {
        /// Twelve digits each
        #[arg(required = true)]
        ids: Vec<String>,
        /// Remove what was read of them, too
        #[arg(long)]
        purge: bool,
        /// With --purge: do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Look at accounts' roles: do they let fleetscan in with their ExternalId and nobody without, and do they grant what
    /// is read, and no more? Exit code 3: something is to be mended
    Verify(VerifyArgs),
    /// Connect the accounts of an organisation, and note which are suspended, closed or gone; nothing is ever
    /// disconnected. Exit code 3: the organisation was not read whole
    SyncOrg(SyncOrgArgs),
    /// Seal every grant with the first key; the older ones must still be there
    Rekey,
    /// Print the queries with which a customer can check, in their own CloudTrail, every call that was made
    AuditQuery {
        /// Twelve digits; default: the account that runs the query
        id: Option<String>,
        /// For this language and place
        #[arg(long, value_enum, default_value_t = AuditPlace::All)]
        place: AuditPlace,
        /// How many days back
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3_650))]
        days: u16,
        /// Sessions are named <PREFIX>-<account>-<epoch>
        #[arg(long, default_value = "SecurityV0")]
        session_prefix: String,
    },
    /// Make an ExternalId for a customer, and what the customer needs to deploy the role with it
    NewExternalId {
        /// ARN of the AWS principal that fleetscan runs as, which the role will trust
        #[arg(long, env = "FLEETSCAN_HUB_PRINCIPAL", value_name = "ARN", value_parser = super::principal)]
        hub_principal: Option<String>,
        /// What the customer is to grant
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
        /// Where you published the profile's template, in S3: makes a link into the customer's console
        #[arg(long, env = "FLEETSCAN_TEMPLATE_URL", value_name = "URL", value_parser = super::template_url)]
        template_url: Option<String>,
        /// The region of the stack; the role holds in all
        #[arg(long, default_value = "us-east-1", value_name = "REGION")]
        region: String,
    },
    /// Write a copy of the registry; grants stay sealed
    Export {
        /// Grants stay sealed: the only way there is
        #[arg(long, required = true)]
        sealed: bool,
        /// Where to; default: stdout
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Bring a copy of the registry back, after a store was lost or replaced; what was disconnected stays so
    Restore {
        /// What `accounts export --sealed` wrote
        file: PathBuf,
    },
}

/// Where CloudTrail's events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditPlace {
    /// An event data store of CloudTrail Lake
    Lake,
    /// A table of Athena over the trail's bucket
    Athena,
    /// Both
    All,
}

/// States as clap lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    Pending,
    Active,
    Degraded,
    Revoked,
    Paused,
    Disconnected,
}

#[derive(Debug, ClapArgs)]
pub struct ScansArgs {
    #[command(subcommand)]
    pub command: ScansCommand,
    #[command(flatten)]
    pub store: StoreArgs,
    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process makes one")]
pub enum ScansCommand {
    /// Ask for a scan; the fleet's coordinator runs it
    Start {
        /// Only these accounts, separated by commas; a few of them go before everything else
        #[arg(long, value_delimiter = ',', value_name = "ID,…")]
        accounts: Vec<String>,
        /// Only these regions, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "REGION,…")]
        regions: Vec<String>,
        /// Only these services, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
        services: Vec<String>,
        /// What is read, of what each account's owner was told of: a profile's name, or a file of your own
        #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
        profile: String,
        #[command(flatten)]
        out: OutArgs,
        /// After so many minutes, what is not read yet ends as throttled_out
        #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
        deadline_minutes: Option<u64>,
        /// Go on with a cancelled scan
        #[arg(long, value_name = "SCAN", conflicts_with_all = ["accounts", "regions", "services", "deadline_minutes"])]
        resume: Option<String>,
        /// Wait until it has ended, and answer its exit code
        #[arg(long)]
        wait: bool,
    },
    /// Scans, newest first
    List,
    /// One scan in numbers
    Show {
        /// Its id
        scan: String,
    },
    /// Watch a scan until it ends
    Watch {
        /// Its id; default: the newest
        scan: Option<String>,
    },
    /// End a scan: no call begins after two seconds, and what is not read is cancelled
    Cancel {
        /// Its id
        scan: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct WorkersArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct SwitchArgs {
    #[command(subcommand)]
    pub command: SwitchCommand,
    #[command(flatten)]
    pub store: StoreArgs,
    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SwitchCommand {
    /// Nobody calls a service, or one operation, until it is switched on again; holds within two seconds
    Off {
        /// `lambda`, or `lambda:ListFunctions`
        what: String,
        /// Why: shown wherever it leaves a hole
        #[arg(long)]
        reason: String,
    },
    /// Allow the calls again
    On {
        /// As it was switched off
        what: String,
    },
    /// What is switched off
    List,
}

#[derive(Debug, ClapArgs)]
pub struct BreakerArgs {
    #[command(subcommand)]
    pub command: BreakerCommand,
    #[command(flatten)]
    pub store: StoreArgs,
    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// How it stands
    Show,
    /// Mark nobody as revoked until further notice
    Open {
        /// Why: shown wherever it matters
        #[arg(long)]
        reason: String,
    },
    /// Mark denied accounts though they are many: they did leave
    Close {
        /// Why: shown wherever it matters
        #[arg(long)]
        reason: String,
    },
    /// Leave it to itself again
    Auto,
}
