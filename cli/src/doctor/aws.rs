//! Our own principal, the clock that its signatures depend on, and accounts that are known to let it in.

use crate::{
    args::{DoctorArgs, HubArgs},
    backing::{self, Memory},
    coordinator,
    failure::Failure,
    hub,
    machine::HubIdentity,
    numbers::{grouped, time},
};
use fleetscan_backends::SealedGrants;
use fleetscan_worker::{Hub, SendError};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};

/// AWS refuses signatures that are five minutes off; a clock that is this far off, in seconds, is on its way there.
const APART: f64 = 60.0;

/// Who we are.
pub async fn identity(args: &HubArgs) -> Result<String, String> {
    let hub = connect(args).await?;
    let identity = hub.identity().await.map_err(|error| error.to_string())?;
    let fips = if hub.http().keeps_to_fips() { ", FIPS endpoints alone" } else { "" };
    let ends = hub.credentials_end().await.map_err(|error| error.to_string())?;
    let left = ends.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
    let left = left.map(|left| format!("; its credentials end in {}", time(left)));
    Ok(format!("{} at {}{fips}{}", identity.arn, hub.endpoint(), left.unwrap_or_default()))
}

/// Whether the accounts that are known to be well let us in.
pub async fn canaries(args: &DoctorArgs, memory: &Memory) -> Result<String, Failure> {
    let named = coordinator::canaries(&args.canary)?;
    let grants = SealedGrants::new(Arc::clone(&memory.registry), backing::keys(&args.key)?);
    let (count, named_one) = (named.len() as u64, named.len() == 1);
    let hub = Arc::new(hub::connect(&args.hub).await?);
    HubIdentity::with_canaries(hub, named, Arc::new(grants)).canaries().await.map_err(|why| {
        Failure::failed(format!(
            "{why}: while that is so, no account is marked revoked. Mend the canary's role, or name another with --canary"
        ))
    })?;
    Ok(if named_one { "it lets us in".to_owned() } else { format!("all {} let us in", grouped(count)) })
}

/// Whether our clock and AWS's agree, which a refused signature does not tell.
pub async fn clock(args: &HubArgs) -> Result<String, String> {
    let hub = connect(args).await?;
    let theirs = hub.http().time_at(hub.endpoint()).await.map_err(|error| {
        let mend = match &error {
            SendError::Untrusted => "name its authority's certificates with --ca-bundle",
            _ => "check the network, the proxy and AWS_ENDPOINT_URL",
        };
        format!("{} cannot be asked for the time ({error}): {mend}", hub.endpoint())
    })?;
    let theirs = Timestamp::try_from(theirs).map_err(|error| error.to_string())?;
    let ahead = Timestamp::now().duration_since(theirs).as_secs_f64();
    match ahead.abs() > APART {
        true => Err(format!(
            "this machine's clock is {:.0} s {} AWS's, which refuses signatures that are 300 s off: set it by NTP \
             (`timedatectl set-ntp true`, or the host's own chrony)",
            ahead.abs(),
            if ahead > 0.0 { "ahead of" } else { "behind" }
        )),
        false => Ok("it agrees with AWS's".to_owned()),
    }
}

async fn connect(args: &HubArgs) -> Result<Hub, String> {
    hub::connect(args).await.map_err(|failure| failure.message().to_owned())
}
