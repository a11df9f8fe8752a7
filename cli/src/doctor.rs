//! `fleetscan doctor`: looks at everything that a process of the fleet, or a scan, stands on, and says what to mend.

mod aws;
mod broker;
mod events;
mod host;
mod scans;
mod store;

use crate::{
    args::{BrokerArgs, DoctorArgs},
    backing::Memory,
    failure::{COMPLETE, FAILED, Failure},
};
use fleetscan_coordinator::fleet;
use serde_json::json;
use std::io::Write as _;

/// One thing looked at: what was found, or what to mend.
struct Finding {
    name: &'static str,
    found: Result<String, String>,
}

pub async fn run(args: DoctorArgs) -> Result<u8, Failure> {
    let findings = look(&args).await;
    let well = findings.iter().all(|finding| finding.found.is_ok());
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({ "check": f.name, "ok": f.found.is_ok(), "says": f.found.as_ref().unwrap_or_else(|e| e) }))
            .collect();
        writeln!(stdout, "{}", json!(list))?;
    } else {
        for Finding { name, found } in &findings {
            let (mark, text) = match found {
                Ok(text) => ("ok  ", text),
                Err(text) => ("MEND", text),
            };
            writeln!(stdout, "{mark}  {name:10}  {text}")?;
        }
    }
    Ok(if well { COMPLETE } else { FAILED })
}

async fn look(args: &DoctorArgs) -> Vec<Finding> {
    let said = |failure: Failure| failure.message().to_owned();
    let mut findings = Vec::new();
    let mut note = |name, found| findings.push(Finding { name, found });
    note("hub", aws::identity(&args.hub).await);
    note("clock", aws::clock(&args.hub).await);
    note("open files", host::open_files().map_err(said));
    if args.store.store.is_none() {
        note("results", host::results(&args.out).await.map_err(said));
        note("data", host::data(&args.store).map_err(said));
    } else {
        match Memory::of_fleet(&args.store).await {
            Ok(memory) => {
                note("results", host::shared_results(&args.out, &memory).await.map_err(said));
                note("store", store::standing(args, &memory).await.map_err(said));
                note("durability", store::durability(&args.store).await.map_err(said));
                note("scans", scans::standing(&memory).await.map_err(said));
                note("breaker", breaker(&memory).await.map_err(said));
                note("events", events::standing(&memory).await.map_err(said));
                if !args.canary.is_empty() {
                    note("canaries", aws::canaries(args, &memory).await.map_err(said));
                }
            }
            Err(failure) => note("store", Err(said(store::advised(&failure)))),
        }
    }
    if let Some(broker) = &args.broker {
        let broker = BrokerArgs { broker: broker.clone(), terms: args.terms.clone() };
        note("broker", broker::standing(&broker).await.map_err(said));
    }
    findings
}

/// What mends a certificate that a server shows and nobody trusts; `variable` names the file of its authority.
fn certificate_advice(words: &str, variable: &str) -> String {
    match words.contains("not valid for") {
        true => "The name in the URL must be one of the certificate's.".to_owned(),
        false => format!("Name its authority's certificates (PEM) with {variable}."),
    }
}

/// Whether denied accounts can be marked revoked, and whether that is left to the coordinator.
async fn breaker(memory: &Memory) -> Result<String, Failure> {
    let fleet = memory.fleet.as_ref();
    let (standing, forced) = (fleet::breaker(fleet).await?, fleet::forced(fleet).await?);
    let text = crate::breaker::describe(standing.as_ref());
    match (forced, standing.is_some_and(|breaker| breaker.open)) {
        // A hand that is forgotten there marks nobody, or too many.
        (Some(forced), _) => Err(Failure::failed(crate::breaker::describe_hand(&forced))),
        (None, true) => Err(Failure::failed(format!(
            "{text} Check the hub's permission to assume roles; if the customers did leave, `fleetscan breaker close --reason …`"
        ))),
        (None, false) => Ok(text),
    }
}
