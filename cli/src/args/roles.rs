//! Flags of the commands that look at customers' roles and at organisations.

use super::HubArgs;
use clap::Args as ClapArgs;
use std::{path::PathBuf, time::Duration};

/// Less than a scan's: with both under way, AWS's limits hold for their sum.
const SHARE: f64 = 0.2;

#[derive(Debug, ClapArgs)]
pub struct VerifyArgs {
    /// Twelve digits each; default: every connected account
    pub ids: Vec<String>,
    /// The accounts of a file, in place of the connected ones
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What the accounts of a file are to grant; connected ones have a profile of their own
    #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
    pub profile: String,
    /// How long to wait for a role that does not let us in yet: IAM's changes are not known everywhere at once
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = waiting)]
    pub wait: Duration,
    /// The most of each published API limit that is used, above 0 and at most 1; workers may be calling in the same
    /// accounts
    #[arg(long, env = "FLEETSCAN_VERIFY_SHARE", default_value_t = SHARE, value_parser = super::share)]
    pub share: f64,
    /// CloudTrail bucket of every account that has none of its own named, as workers have it: whoever may read its log
    /// files may do no more than was asked
    #[arg(long, env = "FLEETSCAN_CLOUDTRAIL_BUCKET_NAME", value_name = "BUCKET[/PREFIX]", value_parser = super::bucket_or_none)]
    pub cloudtrail_bucket_name: Option<super::BucketOrNone>,
    #[command(flatten)]
    pub hub: HubArgs,
}

#[derive(Debug, ClapArgs)]
pub struct SyncOrgArgs {
    /// Role that may read the organisation, in its management account or a delegated administrator's: an ARN, or the id
    /// of a connected account
    #[arg(long, env = "FLEETSCAN_ORG_ROLE", value_name = "ARN|ID")]
    pub org_role: String,
    /// File with that role's ExternalId; default: as the members'
    #[arg(long, value_name = "FILE")]
    pub org_external_id_file: Option<PathBuf>,
    /// Name of the role that the StackSet makes in every account
    #[arg(long, default_value = fleetscan_worker::policy::ROLE_NAME, value_name = "NAME", value_parser = role_name)]
    pub role_name: String,
    /// File with the ExternalId of the members' roles; `{account}` in it stands for each account's id
    #[arg(long, value_name = "FILE")]
    pub external_id_file: PathBuf,
    /// Who new accounts belong to
    #[arg(long)]
    pub customer: Option<String>,
    /// Connect only accounts in this unit or below it, such as /Workloads/Production
    #[arg(long, value_name = "PATH", value_parser = unit)]
    pub ou: Option<String>,
    /// What the members' owners were told of: a profile's name, or a file of your own
    #[arg(long, default_value = fleetscan_proto::DEFAULT_PROFILE, value_name = "NAME|FILE")]
    pub profile: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The most of each published API limit that is used, above 0 and at most 1; workers may be calling in the same
    /// accounts
    #[arg(long, env = "FLEETSCAN_VERIFY_SHARE", default_value_t = SHARE, value_parser = super::share)]
    pub share: f64,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// `60s`, `2m`, or seconds alone; at most ten minutes.
fn waiting(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    match number.parse::<u64>() {
        Ok(number) if number <= 600 && number * unit <= 600 => Ok(Duration::from_secs(number * unit)),
        _ => Err("write seconds or minutes such as 60s or 2m, and no more than 10m".to_owned()),
    }
}

/// A role's path and name, without a leading slash.
fn role_name(text: &str) -> Result<String, String> {
    let arn = format!("arn:aws:iam::000000000000:role/{text}");
    fleetscan_proto::parse_role_arn(&arn)
        .map(|_| text.to_owned())
        .map_err(|_| "write the name of a role, such as SecurityV0ReadOnly".to_owned())
}

/// The path of an organisational unit.
fn unit(text: &str) -> Result<String, String> {
    match text.strip_prefix('/') {
        Some(_) => Ok(text.to_owned()),
        None => Err("write the path of a unit from the root, such as /Workloads/Production".to_owned()),
    }
}
