//! `fleetscan switch`: calls that nobody makes at present.

use crate::{
    args::{SwitchArgs, SwitchCommand},
    backing::Memory,
    failure::{COMPLETE, Failure},
    services,
};
use fleetscan_proto::{Clock as _, KillSwitch, SystemClock};
use std::io::Write as _;

pub async fn run(args: SwitchArgs) -> Result<u8, Failure> {
    let memory = Memory::open(&args.store).await?;
    let mut stdout = std::io::stdout().lock();
    match args.command {
        SwitchCommand::Off { what, reason } => {
            check(&what)?;
            let switch = KillSwitch { what: what.clone(), reason, since: SystemClock.now() };
            memory.fleet.switch_off(&switch).await?;
            say(&mut stdout, args.json, &format!("{what} is switched off"), &switch)?;
        }
        SwitchCommand::On { what } => {
            if !memory.fleet.switch_on(&what).await? {
                return Err(Failure::usage(format!("{what} was not switched off: see `fleetscan switch list`")));
            }
            say(&mut stdout, args.json, &format!("{what} is switched on"), &serde_json::json!({ "what": what }))?;
        }
        SwitchCommand::List => {
            let switches = memory.fleet.orders().await?.switches;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string(&switches).map_err(Failure::failed)?)?;
            } else if switches.is_empty() {
                writeln!(stdout, "Nothing is switched off.")?;
            } else {
                for KillSwitch { what, reason, since } in switches {
                    writeln!(stdout, "{what:40}  since {since}  {reason}")?;
                }
            }
        }
    }
    Ok(COMPLETE)
}

fn say(out: &mut impl std::io::Write, json: bool, text: &str, object: &impl serde::Serialize) -> Result<(), Failure> {
    match json {
        true => writeln!(out, "{}", serde_json::to_string(object).map_err(Failure::failed)?)?,
        false => writeln!(out, "{text}; every worker heeds it within two seconds.")?,
    }
    Ok(())
}

/// A switch for what nobody calls would seem to work.
fn check(what: &str) -> Result<(), Failure> {
    let (service, operation) = what.split_once(':').map_or((what, None), |(service, op)| (service, Some(op)));
    let catalogue = services::catalogue();
    let Some(found) = catalogue.service(service) else {
        return Err(Failure::usage(format!("there is no service {service:?}: see `fleetscan catalogue list`")));
    };
    match operation {
        Some(name) if found.operation(name).is_none() => Err(Failure::usage(format!(
            "{service} has no operation {name:?}: see `fleetscan catalogue list {service}`"
        ))),
        _ => Ok(()),
    }
}
