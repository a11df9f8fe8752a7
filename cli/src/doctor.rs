//! `fleetscan doctor`: looks at everything that a scan stands on, and says what to mend.

use crate::{
    args::DoctorArgs,
    failure::{COMPLETE, FAILED, Failure},
    out::Out,
};
use fleetscan_backends::embedded::{DataLock, EmbeddedStore};
use fleetscan_worker::{Hub, HubOptions};
use serde_json::json;
use std::{io::Write as _, path::Path};

/// One thing looked at: what was found, or what to mend.
struct Finding {
    name: &'static str,
    found: Result<String, String>,
}

pub async fn run(args: DoctorArgs) -> Result<u8, Failure> {
    let findings = [
        Finding { name: "hub", found: hub().await },
        Finding { name: "results", found: results(&args.out).await },
        Finding { name: "data", found: data(&args.data) },
    ];
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

async fn hub() -> Result<String, String> {
    let hub = Hub::connect(HubOptions::default()).await.map_err(|error| error.to_string())?;
    let identity = hub.identity().await.map_err(|error| error.to_string())?;
    Ok(format!("{} at {}", identity.arn, hub.endpoint()))
}

async fn results(out: &str) -> Result<String, String> {
    let path = out.strip_prefix("file://").unwrap_or(out);
    let is_new = !path.contains("://") && !Path::new(path).exists();
    if is_new {
        return Ok(format!("{path} is not there yet, and is made by the first scan"));
    }
    let opened = Out::open(out).map_err(|failure| failure.message().to_owned())?;
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
