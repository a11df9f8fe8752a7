//! `fleetscan breaker`: whether denied accounts can be marked revoked, and an operator's hand on it.

use crate::{
    args::{BreakerArgs, BreakerCommand},
    backing::Memory,
    failure::{COMPLETE, Failure},
    numbers::grouped,
};
use fleetscan_coordinator::fleet::{self, Breaker, Force, Forced};
use fleetscan_proto::{Clock as _, SystemClock};
use jiff::Timestamp;
use serde_json::json;
use std::io::Write as _;

pub async fn run(args: BreakerArgs) -> Result<u8, Failure> {
    let memory = Memory::of_fleet(&args.store).await?;
    let decision = |force, reason| Forced { force, reason, since: SystemClock.now() };
    let fleet = memory.fleet.as_ref();
    match args.command {
        BreakerCommand::Show => {}
        BreakerCommand::Open { reason } => fleet::force(fleet, Some(&decision(Force::Open, reason))).await?,
        BreakerCommand::Close { reason } => fleet::force(fleet, Some(&decision(Force::Closed, reason))).await?,
        BreakerCommand::Auto => fleet::force(fleet, None).await?,
    }
    let (standing, forced) = (fleet::breaker(fleet).await?, fleet::forced(fleet).await?);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let open = standing.as_ref().is_some_and(|breaker| breaker.open);
        writeln!(stdout, "{}", json!({ "open": open, "standing": standing, "forced": forced }))?;
        return Ok(COMPLETE);
    }
    writeln!(stdout, "{}", describe(standing.as_ref()))?;
    if let Some(forced) = forced {
        writeln!(stdout, "{}", describe_hand(&forced))?;
    }
    Ok(COMPLETE)
}

/// What an operator decided in its place, in a sentence or two.
pub fn describe_hand(Forced { force, reason, since }: &Forced) -> String {
    let what = match force {
        Force::Open => "holds the breaker open: nobody is marked revoked",
        Force::Closed => "holds the breaker closed: whoever is denied is marked revoked",
    };
    format!("An operator {what}, since {}: {reason}. `fleetscan breaker auto` ends that.", moment(*since))
}

/// A moment, to the second.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How it stands, in a sentence.
pub fn describe(standing: Option<&Breaker>) -> String {
    match standing {
        Some(Breaker { open: true, since, why, waiting }) => format!(
            "The breaker is open since {}: {}. No account is marked revoked until it closes; {} meanwhile.",
            moment(*since),
            why.as_deref().unwrap_or("many accounts deny AssumeRole at once"),
            match waiting {
                1 => "1 denied account waits".to_owned(),
                n => format!("{} denied accounts wait", grouped(*n)),
            },
        ),
        _ => "The breaker is closed: a denied account is marked revoked once that is confirmed.".to_owned(),
    }
}
