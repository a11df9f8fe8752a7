//! `fleetscan doctor`: looks at everything that a scan stands on, and says what to mend.

use crate::{
    args::{BrokerArgs, DoctorArgs, OutArgs},
    backing::{self, Memory},
    failure::{COMPLETE, FAILED, Failure},
    numbers::{grouped, many},
    out::Out,
};
use fleetscan_backends::embedded::{DataLock, EmbeddedStore};
use fleetscan_coordinator::fleet;
use fleetscan_proto::TaskQueue as _;
use jiff::Timestamp;
use serde_json::json;
use std::{io::Write as _, path::Path};

/// Clocks that are further apart are worth mending, in seconds.
const CLOCKS_APART: f64 = 30.0;

/// One thing looked at: what was found, or what to mend.
struct Finding {
    name: &'static str,
    found: Result<String, String>,
}

pub async fn run(args: DoctorArgs) -> Result<u8, Failure> {
    let mut findings = vec![
        Finding { name: "hub", found: hub(&args).await },
        Finding { name: "results", found: results(&args.out).await },
    ];
    match &args.store.store {
        None => findings.push(Finding { name: "data", found: data(&args.store.data) }),
        Some(_) => {
            findings.push(Finding { name: "store", found: store(&args).await.map_err(said) });
            findings.push(Finding { name: "breaker", found: breaker(&args).await.map_err(said) });
        }
    }
    if let Some(broker) = &args.broker {
        let broker = BrokerArgs { broker: broker.clone(), terms: args.terms.clone() };
        findings.push(Finding { name: "broker", found: queue(&broker).await.map_err(said) });
    }
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
            writeln!(stdout, "{mark}  {name:8}  {text}")?;
        }
    }
    Ok(if well { COMPLETE } else { FAILED })
}

fn said(failure: Failure) -> String {
    failure.message().to_owned()
}

/// The fleet's store: does it answer, what does it know, do our keys open its grants, and do the clocks agree?
async fn store(args: &DoctorArgs) -> Result<String, Failure> {
    let memory = Memory::of_fleet(&args.store).await?;
    let store_time = memory.fleet.now().await?;
    let apart = Timestamp::now().duration_since(store_time).as_secs_f64().abs();
    if apart > CLOCKS_APART {
        return Err(Failure::failed(format!(
            "this machine's clock and the store's are {apart:.0} s apart: set both by NTP (AWS refuses calls at 300 s)"
        )));
    }
    let some = memory.registry.registered_accounts(None, 64).await?;
    let sealed = some.iter().find_map(|account| Some((account, account.grant.as_ref()?)));
    let keys = match sealed {
        None => "no account is connected yet".to_owned(),
        Some((account, grant)) => {
            let keys = backing::keys(&args.key)?;
            keys.open(&account.id, grant).map_err(Failure::failed)?;
            format!("key {} opens its grants", keys.sealing_key())
        }
    };
    let workers = memory.fleet.workers().await?.len() as u64;
    let leads = memory.fleet.leases("coordinator").await?.into_iter().next();
    let leads = leads.map_or("no coordinator leads".to_owned(), |lease| format!("{} leads", lease.holder));
    Ok(format!("it answers; {keys}; {leads}; {}", many(workers, "worker")))
}

/// Whether denied accounts can be marked revoked.
async fn breaker(args: &DoctorArgs) -> Result<String, Failure> {
    let memory = Memory::of_fleet(&args.store).await?;
    let standing = fleet::breaker(memory.fleet.as_ref()).await?;
    let text = crate::breaker::describe(standing.as_ref());
    match standing.is_some_and(|breaker| breaker.open) {
        true => Err(Failure::failed(format!(
            "{text} Check the hub's permission to assume roles; if the customers did leave, `fleetscan breaker close --reason …`"
        ))),
        false => Ok(text),
    }
}

async fn queue(args: &BrokerArgs) -> Result<String, Failure> {
    let queue = backing::queue(args, "fleetscan-doctor").await?;
    let depth = queue.depth().await.map_err(Failure::failed)?;
    Ok(format!(
        "it answers; {} ready, {} put off, {}",
        many(depth.ready, "task"),
        grouped(depth.delayed),
        many(depth.dead, "dead letter")
    ))
}

async fn hub(args: &DoctorArgs) -> Result<String, String> {
    let hub = crate::hub::connect(&args.hub).await.map_err(said)?;
    let identity = hub.identity().await.map_err(|error| error.to_string())?;
    let fips = if hub.http().keeps_to_fips() { ", FIPS endpoints alone" } else { "" };
    Ok(format!("{} at {}{fips}", identity.arn, hub.endpoint()))
}

async fn results(args: &OutArgs) -> Result<String, String> {
    let out = args.out.as_str();
    let path = out.strip_prefix("file://").unwrap_or(out);
    let is_new = !path.contains("://") && !Path::new(path).exists();
    if is_new {
        return Ok(format!("{path} is not there yet, and is made by the first scan"));
    }
    let opened = Out::open(args).map_err(|failure| failure.message().to_owned())?;
    opened.check_writable().await.map_err(|failure| failure.message().to_owned())?;
    Ok(format!("{} can be written", opened.name))
}

fn data(folder: &Path) -> Result<String, String> {
    if !folder.exists() {
        return Ok(format!("{} is not there yet, and is made by the first scan", folder.display()));
    }
    let _lock = DataLock::take(folder).map_err(|error| error.to_string())?;
    EmbeddedStore::open(folder).map_err(|error| error.to_string())?;
    Ok(format!("{} can be opened, and no other scan uses it", folder.display()))
}
