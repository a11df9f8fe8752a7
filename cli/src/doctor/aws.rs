//! Our own principal, and the clock that its signatures depend on.

use crate::{args::HubArgs, hub};
use fleetscan_worker::Hub;
use jiff::Timestamp;

/// AWS refuses signatures that are five minutes off; a clock that is this far off, in seconds, is on its way there.
const APART: f64 = 60.0;

/// Who we are.
pub async fn identity(args: &HubArgs) -> Result<String, String> {
    let hub = connect(args).await?;
    let identity = hub.identity().await.map_err(|error| error.to_string())?;
    let fips = if hub.http().keeps_to_fips() { ", FIPS endpoints alone" } else { "" };
    Ok(format!("{} at {}{fips}", identity.arn, hub.endpoint()))
}

/// Whether our clock and AWS's agree, which a refused signature does not tell.
pub async fn clock(args: &HubArgs) -> Result<String, String> {
    let hub = connect(args).await?;
    let theirs = hub.http().time_at(hub.endpoint()).await.map_err(|error| {
        format!(
            "{} cannot be asked for the time ({error}): check the network, the proxy and AWS_ENDPOINT_URL",
            hub.endpoint()
        )
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
