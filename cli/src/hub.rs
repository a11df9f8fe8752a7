//! The hub, as flags and environment describe it.

use crate::{args::HubArgs, failure::Failure};
use fleetscan_proto::Secret;
use fleetscan_worker::{Hub, HubOptions, HubRole, Network, Proxy};
use std::path::{Path, PathBuf};

/// Finds the hub's credentials and the way to AWS; calls nothing yet.
pub async fn connect(args: &HubArgs) -> Result<Hub, Failure> {
    let options = options(args)?;
    Hub::connect(options).await.map_err(|error| match error {
        fleetscan_worker::HubError::Network(error) => Failure::usage(error),
        error => Failure::failed(error),
    })
}

fn options(args: &HubArgs) -> Result<HubOptions, Failure> {
    let role = match &args.hub_role {
        None => None,
        Some(arn) => Some(HubRole {
            arn: Secret::new(arn),
            external_id: external_id(args.hub_external_id_file.as_deref())?,
            session_prefix: args.session_prefix.clone(),
        }),
    };
    Ok(HubOptions {
        sts_region: args.sts_region.clone(),
        sts_fallback_region: args.sts_fallback_region.clone(),
        role,
        network: network(args)?,
        ..HubOptions::default()
    })
}

/// The way to AWS.
pub fn network(args: &HubArgs) -> Result<Network, Failure> {
    Ok(Network {
        proxy: proxy(args.proxy.as_deref())?,
        ca_bundle: ca_bundle(args.ca_bundle.as_deref())?,
        fips: fips(args),
    })
}

/// The way to the results, for commands that call nothing else: as the environment says.
pub fn network_of_environment() -> Result<Network, Failure> {
    let (url, bundle) = (variable("FLEETSCAN_PROXY"), variable("FLEETSCAN_CA_BUNDLE").map(PathBuf::from));
    let fips = variable("FLEETSCAN_FIPS").is_some_and(|text| is_yes(&text)) || aws_wants_fips();
    Ok(Network { proxy: proxy(url.as_deref())?, ca_bundle: ca_bundle(bundle.as_deref())?, fips })
}

fn external_id(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let text = match (variable("FLEETSCAN_HUB_EXTERNAL_ID"), file) {
        (Some(text), _) => text,
        (None, Some(file)) => crate::scan::read_named("ExternalId", file).map_err(Failure::usage)?,
        (None, None) => return Ok(None),
    };
    let text = text.lines().next().unwrap_or_default().trim();
    fleetscan_proto::check_external_id(text).map_err(|error| Failure::usage(format!("the hub's role: {error}")))?;
    Ok(Some(Secret::new(text)))
}

/// `--proxy` for everything; else what `HTTPS_PROXY` names, for what goes over TLS.
fn proxy(named: Option<&str>) -> Result<Option<Proxy>, Failure> {
    let except = either("NO_PROXY", "no_proxy");
    if let Some(url) = named {
        let in_a_flag = std::env::args_os().any(|argument| argument.to_string_lossy().ends_with(url));
        let has_password = url::Url::parse(url).is_ok_and(|url| url.password().is_some());
        if in_a_flag && has_password {
            return Err(Failure::usage("--proxy: a password in a flag shows in the process list: use FLEETSCAN_PROXY"));
        }
        return Ok(Some(Proxy { url: Secret::new(url), except, tls_only: false }));
    }
    let url = either("HTTPS_PROXY", "https_proxy");
    Ok(url.map(|url| Proxy { url: Secret::new(url), except, tls_only: true }))
}

fn ca_bundle(named: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let named = named.map(Path::to_owned).or_else(|| variable("AWS_CA_BUNDLE").map(Into::into));
    let Some(file) = named else { return Ok(None) };
    let read = std::fs::read(&file);
    read.map(Some).map_err(|error| Failure::usage(format!("the CA bundle {} cannot be read: {error}", file.display())))
}

fn fips(args: &HubArgs) -> bool {
    args.fips || aws_wants_fips()
}

fn aws_wants_fips() -> bool {
    variable("AWS_USE_FIPS_ENDPOINT").is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// As the flag's own parser takes it.
fn is_yes(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "n" | "no" | "f" | "false" | "off" | "0")
}

fn either(upper: &str, lower: &str) -> Option<String> {
    variable(lower).or_else(|| variable(upper))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
