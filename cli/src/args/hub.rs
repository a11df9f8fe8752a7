//! Flags of every command that calls AWS: who fleetscan is there, and how it gets there.

use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Heading of these flags in help.
const HEADING: &str = "AWS";

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = HEADING)]
pub struct HubArgs {
    /// Assume this role first, and the customers' roles with it
    #[arg(long, env = "FLEETSCAN_HUB_ROLE", value_name = "ARN", value_parser = role_arn)]
    pub hub_role: Option<String>,
    /// File with the ExternalId that this role asks for. Or FLEETSCAN_HUB_EXTERNAL_ID
    #[arg(long, env = "FLEETSCAN_HUB_EXTERNAL_ID_FILE", value_name = "FILE", requires = "hub_role")]
    pub hub_external_id_file: Option<PathBuf>,
    /// Reach AWS through this proxy, http[s]://host:port; else HTTPS_PROXY. NO_PROXY lists what is reached without it
    #[arg(long, env = "FLEETSCAN_PROXY", value_name = "URL", hide_env_values = true)]
    pub proxy: Option<String>,
    /// Certificates (PEM) of authorities to trust beside the machine's own; else AWS_CA_BUNDLE
    #[arg(long, env = "FLEETSCAN_CA_BUNDLE", value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
    /// Call FIPS endpoints alone; what has none is a hole, and is not called. Or AWS_USE_FIPS_ENDPOINT=true
    #[arg(long, env = "FLEETSCAN_FIPS", value_parser = clap::builder::BoolishValueParser::new())]
    pub fips: bool,
    /// Region of STS [default: us-east-1]
    #[arg(long, env = "FLEETSCAN_STS_REGION", value_name = "REGION", value_parser = region)]
    pub sts_region: Option<String>,
    /// Region of STS while the first one cannot be reached or errs
    #[arg(long, env = "FLEETSCAN_STS_FALLBACK_REGION", value_name = "REGION", value_parser = region)]
    pub sts_fallback_region: Option<String>,
    /// Sessions are named <PREFIX>-<account>-<epoch>, and that of the hub's role <PREFIX>-Connector-<epoch>
    #[arg(long, env = "FLEETSCAN_SESSION_PREFIX", default_value = "SecurityV0", value_parser = prefix)]
    pub session_prefix: String,
}

fn role_arn(text: &str) -> Result<String, String> {
    fleetscan_proto::parse_role_arn(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn region(text: &str) -> Result<String, String> {
    match fleetscan_proto::is_region_shaped(text) {
        true => Ok(text.to_owned()),
        false => Err("write a region such as eu-west-1".to_owned()),
    }
}

/// With an account's id and a time behind it, a name of a session has 64 characters at most.
fn prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match (2..=32).contains(&text.len()) && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("write 2 to 32 letters, digits and _+=,.@-".to_owned()),
    }
}
