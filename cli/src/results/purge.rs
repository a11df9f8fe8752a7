//! `fleetscan results purge`: deletes what was read of accounts, or whole scans.

use crate::{
    args::PurgeArgs,
    display,
    failure::{COMPLETE, FAILED, Failure},
    numbers::{bytes, grouped, many},
    out::Out,
};
use fleetscan_coordinator::{
    history::{self, Purged},
    read_manifest,
};
use fleetscan_proto::AccountId;
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

pub async fn run(args: PurgeArgs) -> Result<u8, Failure> {
    let accounts = args.account.iter().map(|id| id.parse().map_err(Failure::usage));
    let accounts: Vec<AccountId> = accounts.collect::<Result<_, _>>()?;
    let out = Out::open_existing(&args.out)?;
    let ids = out.scans().await?;
    let scans = args.scan.iter().map(|text| out.named(text, &ids)).collect::<Result<Vec<_>, _>>()?;
    let mut unfinished = Vec::new();
    for scan in &scans {
        // A damaged one may be deleted like any other.
        if matches!(read_manifest(out.sink.as_ref(), scan).await, Ok(None)) {
            unfinished.push(scan);
        }
    }
    let mut what: Vec<String> = accounts.iter().map(|id| format!("everything that was read of account {id}")).collect();
    what.extend(scans.iter().map(|scan| match unfinished.contains(&scan) {
        true => format!("scan {scan}, which is not finished and cannot go on without it"),
        false => format!("scan {scan}"),
    }));
    confirm(&format!("This deletes from {}: {}.", out.name, what.join("; ")), args.yes)?;
    let mut exit = COMPLETE;
    let mut objects = Vec::new();
    for id in &accounts {
        let purged = history::purge(out.sink.as_ref(), id).await?;
        if !args.json {
            writeln!(std::io::stdout(), "account {id}: {}", sentence(&purged))?;
        }
        exit = exit.max(warn_unfinished(&purged));
        let mut object = object(&purged);
        object["account"] = json!(id);
        objects.push(object);
    }
    for scan in &scans {
        let purged = history::purge_scan(out.sink.as_ref(), scan).await?;
        if !args.json {
            writeln!(std::io::stdout(), "scan {scan}: {}", sentence(&purged))?;
        }
        let mut object = object(&purged);
        object["scan"] = json!(scan);
        objects.push(object);
    }
    if args.json {
        writeln!(std::io::stdout(), "{}", Value::Array(objects))?;
    }
    note_versions(&out);
    Ok(exit)
}

/// On a terminal, asks whether it is meant; `yes` says so beforehand, and so does whoever has no terminal.
pub fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{what}\nIt cannot be undone. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::usage("nothing was deleted")),
    }
}

/// What was removed, as a sentence's end.
pub fn sentence(purged: &Purged) -> String {
    let mut text = format!(
        "{} ({}) and {} removed from {}",
        many(purged.parts, "part"),
        bytes(purged.bytes),
        many(purged.lines, "ledger line"),
        many(purged.scans.len() as u64, "scan")
    );
    if purged.copies > 0 {
        text.push_str(&format!(", and the account from {} of the registry", copies(purged.copies)));
    }
    text
}

fn copies(count: u64) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{} copies", grouped(count)) }
}

/// The same for programs.
pub fn object(purged: &Purged) -> Value {
    json!({
        "parts": purged.parts, "bytes": purged.bytes, "ledger_lines": purged.lines, "scans": purged.scans,
        "registry_copies": purged.copies, "unfinished": purged.unfinished,
        "damaged": purged.damaged.iter().map(|(scan, _)| scan).collect::<Vec<_>>(),
    })
}

/// What may still be there: in a scan that is under way, or in one that is damaged. Answers the exit code.
pub fn warn_unfinished(purged: &Purged) -> u8 {
    for scan in &purged.unfinished {
        display::note(&format!(
            "scan {scan} is not finished, and was left alone: purge again when it has ended, or remove it whole with \
             `fleetscan results purge --scan {scan}`"
        ));
    }
    for (scan, why) in &purged.damaged {
        display::note(&format!(
            "scan {scan} is damaged, so that what it has of the account is not known: {why}; remove it whole with \
             `fleetscan results purge --scan {scan}`"
        ));
    }
    if purged.unfinished.is_empty() && purged.damaged.is_empty() { COMPLETE } else { FAILED }
}

/// A bucket may keep what was deleted.
pub fn note_versions(out: &Out) {
    if out.name.starts_with("s3://") {
        display::note(
            "If the bucket keeps versions, the deleted objects' older versions stay until a lifecycle rule of the \
             bucket removes them.",
        );
    }
}
