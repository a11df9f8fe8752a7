//! `fleetscan scans`: asks the fleet for scans, and watches them. The store carries the wish; the coordinator that
//! leads carries it out.

use crate::{
    args::{ScansArgs, ScansCommand},
    backing::Memory,
    display,
    failure::{COMPLETE, FAILED, Failure, HOLES},
    numbers::{grouped, many},
    out::Out,
    profile, services, signals,
    terminal::Terminal,
};
use fleetscan_coordinator::{
    Phase, Progress,
    fleet::{Resumed, StartRequest, breaker, resume, start},
};
use fleetscan_proto::{
    AccountId, Clock as _, Lane, Outcome, Profile, ScanAccountState, ScanCounts, ScanId, ScanRow, ScanState,
    SystemClock, WorkTotals, WorkerReport, catalogue::Catalogue,
};
use fleetscan_worker::Stats;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How often the store is asked while a scan is watched.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(args: ScansArgs, terminal: Terminal) -> Result<u8, Failure> {
    let memory = Memory::open(&args.store).await?;
    let json = args.json;
    match args.command {
        ScansCommand::Start { wait, resume: None, accounts, regions, services, profile, out, deadline_minutes } => {
            let (profile, profile_file) = profile::of_scan(&profile)?;
            let part = profile.of(services::catalogue()).map_err(Failure::usage)?;
            let request = StartRequest {
                accounts: accounts.iter().map(|id| account(id)).collect::<Result<_, _>>()?,
                regions,
                services: known_services(services, &profile, &part)?,
                out: Out::open(&out)?.name,
                profile: profile.name().to_owned(),
                profile_file,
                lane: Lane::Normal,
                deadline: deadline_minutes.map(|minutes| Duration::from_secs(minutes * 60)),
                scheduled: false,
            };
            let (store, registry) = (memory.store.as_ref(), memory.registry.as_ref());
            let started = start(store, registry, services::catalogue(), SystemClock.now(), request)
                .await
                .map_err(Failure::from)?;
            if started.paused > 0 {
                display::note(&format!("{} left out: paused", many(started.paused, "account")));
            }
            let how = if started.joined { "is under way already, and reads these first" } else { "is asked for" };
            let text = format!("Scan {} {how}: {}", started.id, many(started.accounts, "account"));
            let object = json!({ "id": started.id, "accounts": started.accounts, "joined": started.joined,
                "paused": started.paused });
            begun(&memory, &started.id, wait, json, terminal, &text, object).await
        }
        ScansCommand::Start { resume: Some(scan), wait, .. } => {
            let id = scan_id(&scan)?;
            let cells = match resume(memory.store.as_ref(), &id).await? {
                Resumed::Cells(cells) => cells,
                Resumed::Running => 0,
                Resumed::Not(why) => return Err(Failure::usage(why)),
            };
            let text = format!("Scan {id} goes on: {} to be read", many(cells, "cell"));
            let object = json!({ "id": id, "cells": cells, "resumed": true });
            begun(&memory, &id, wait, json, terminal, &text, object).await
        }
        ScansCommand::List => list(&memory, json, terminal).await,
        ScansCommand::Show { scan } => show(&memory, &scan_id(&scan)?, json).await,
        ScansCommand::Watch { scan } => {
            let id = match scan {
                Some(scan) => scan_id(&scan)?,
                None => memory.store.scans().await?.into_iter().next().map(|row| row.spec.id).ok_or_else(|| {
                    Failure::usage("there is no scan to watch: ask for one with `fleetscan scans start`")
                })?,
            };
            watch_scan(&memory, &id, json, terminal).await
        }
        ScansCommand::Cancel { scan } => cancel(&memory, &scan_id(&scan)?, json).await,
    }
}

async fn begun(
    memory: &Memory,
    id: &ScanId,
    wait: bool,
    json: bool,
    terminal: Terminal,
    text: &str,
    object: Value,
) -> Result<u8, Failure> {
    let others: Vec<String> =
        memory.fleet.workers().await?.into_iter().filter(services::differs).map(|worker| worker.worker).collect();
    if !others.is_empty() {
        display::note(&format!(
            "warning: another catalogue than this command's have {}: services that they do not know wait for the others",
            others.join(", ")
        ));
    }
    if wait {
        display::note(text);
        return watch_scan(memory, id, json, terminal).await;
    }
    if json {
        writeln!(std::io::stdout(), "{object}")?;
    } else {
        writeln!(std::io::stdout(), "{text}\n  fleetscan scans watch {id}")?;
    }
    Ok(COMPLETE)
}

/// Shows a scan until it ends, and answers its exit code.
async fn watch_scan(memory: &Memory, id: &ScanId, json: bool, terminal: Terminal) -> Result<u8, Failure> {
    let stop = signals::stop_in_order()?;
    let store = Arc::clone(&memory.store);
    let (sender, receiver) = watch::channel(Progress::default());
    let mut team = Team::default();
    let figures = Arc::clone(&team.figures);
    let begun = found(store.scan(id).await?, id)?.spec.started_at;
    let already = Duration::try_from(SystemClock.now().duration_since(begun)).unwrap_or_default();
    let shown = move || *figures.lock().unwrap_or_else(PoisonError::into_inner);
    let showing = tokio::spawn(display::show(receiver, shown, already, terminal));
    let row = loop {
        let row = found(store.scan(id).await?, id)?;
        let counts = store.counts(id).await?;
        let over = !row.state.is_under_way();
        team.look(&memory.fleet.workers().await?, &counts.totals);
        let suspects = store.open_denials(id, None).await?.len() as u64;
        let breaker_open = breaker(memory.fleet.as_ref()).await?.is_some_and(|breaker| breaker.open);
        sender.send_replace(Progress { suspects, breaker_open, ..progress(&row, counts, over) });
        if over {
            break row;
        }
        tokio::select! {
            () = stop.cancelled() => {
                showing.abort();
                display::note(&format!("Scan {id} goes on without being watched."));
                return Ok(FAILED);
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    drop(sender);
    let _ = showing.await;
    let counts = store.counts(id).await?;
    let exit = exit_of(&row, &counts);
    if json {
        writeln!(std::io::stdout(), "{}", object(&row, &counts))?;
    } else {
        write!(std::io::stdout(), "{}", text(&row, &counts))?;
    }
    Ok(exit)
}

/// What the fleet's workers do, as one worker's figures: calls by their reports, which are of now, and what was read by
/// the scan's own count.
#[derive(Default)]
struct Team {
    figures: Arc<Mutex<Stats>>,
    /// Calls of each worker at the last look.
    calls: HashMap<(String, Timestamp), u64>,
}

impl Team {
    fn look(&mut self, reports: &[WorkerReport], totals: &WorkTotals) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls = HashMap::new();
        for report in reports {
            let key = (report.worker.clone(), report.started_at);
            // What one had done before it was first met is nothing of now.
            let before = self.calls.get(&key).copied().unwrap_or(report.calls);
            figures.calls += report.calls.saturating_sub(before);
            calls.insert(key, report.calls);
        }
        self.calls = calls;
        figures.calls_in_flight = reports.iter().map(|report| report.calls_in_flight).sum();
        figures.cells_in_flight = reports.iter().map(|report| report.in_work).sum();
        figures.throttled = totals.throttled;
        figures.records = totals.records;
    }
}

fn progress(row: &ScanRow, counts: ScanCounts, over: bool) -> Progress {
    let planned = counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
    let each = counts.cells.checked_div(planned).unwrap_or_default();
    let everything_read = counts.pending() == 0 && planned == row.spec.accounts;
    Progress {
        phase: match (over, everything_read) {
            (true, _) => Phase::Ended,
            (false, true) => Phase::Finalising,
            (false, false) => Phase::Reading,
        },
        expected_cells: counts.cells + each * row.spec.accounts.saturating_sub(planned),
        accounts: row.spec.accounts,
        counts,
        ..Progress::default()
    }
}

async fn list(memory: &Memory, json: bool, terminal: Terminal) -> Result<u8, Failure> {
    let rows = memory.store.scans().await?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if json {
        let mut list = Vec::new();
        for row in &rows {
            list.push(object(row, &memory.store.counts(&row.spec.id).await?));
        }
        writeln!(stdout, "{}", Value::Array(list))?;
        return Ok(COMPLETE);
    }
    if rows.is_empty() {
        writeln!(stdout, "No scan. Ask for one with `fleetscan scans start`.")?;
        stdout.flush()?;
        return Ok(COMPLETE);
    }
    let head = format!(
        "{:24}  {:10}  {:>8}  {:>12}  {:>10}  {:>12}",
        "scan", "state", "accounts", "cells done", "of", "holes"
    );
    writeln!(stdout, "{}", terminal.bold(&head))?;
    for row in &rows {
        let counts = memory.store.counts(&row.spec.id).await?;
        writeln!(
            stdout,
            "{:24}  {:10}  {:>8}  {:>12}  {:>10}  {:>12}",
            row.spec.id.as_str(),
            state(row.state),
            grouped(row.spec.accounts),
            grouped(counts.cells - counts.pending()),
            grouped(counts.cells),
            grouped(holes(&counts)),
        )?;
    }
    stdout.flush()?;
    Ok(COMPLETE)
}

async fn show(memory: &Memory, id: &ScanId, json: bool) -> Result<u8, Failure> {
    let row = found(memory.store.scan(id).await?, id)?;
    let counts = memory.store.counts(id).await?;
    if json {
        writeln!(std::io::stdout(), "{}", object(&row, &counts))?;
    } else {
        write!(std::io::stdout(), "{}", text(&row, &counts))?;
    }
    Ok(COMPLETE)
}

async fn cancel(memory: &Memory, id: &ScanId, json: bool) -> Result<u8, Failure> {
    let row = found(memory.store.scan(id).await?, id)?;
    if row.state != ScanState::Running {
        return Err(Failure::usage(format!("scan {id} is {}: there is nothing to cancel", state(row.state))));
    }
    memory.store.end_scan(id, ScanState::Cancelling, SystemClock.now()).await?;
    if json {
        writeln!(std::io::stdout(), "{}", json!({ "id": id, "state": state(ScanState::Cancelling) }))?;
    } else {
        writeln!(
            std::io::stdout(),
            "Scan {id} is being cancelled: no call begins after two seconds. What is read is kept; go on with\n  \
             fleetscan scans start --resume {id}"
        )?;
    }
    Ok(COMPLETE)
}

fn text(row: &ScanRow, counts: &ScanCounts) -> String {
    let spec = &row.spec;
    let planned = counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
    let mut text = format!("Scan {}: {}\n", spec.id, state(row.state));
    text.push_str(&format!("  accounts   {} of {} planned\n", grouped(planned), grouped(spec.accounts)));
    let done = counts.cells - counts.pending();
    text.push_str(&format!("  cells      {} done of {} known\n", grouped(done), grouped(counts.cells)));
    for (outcome, cells) in &counts.outcomes {
        let hole = if outcome.is_hole() { "  a hole" } else { "" };
        text.push_str(&format!("    {:16}{:>12}{hole}\n", outcome.as_str(), grouped(*cells)));
    }
    let totals = &counts.totals;
    text.push_str(&format!(
        "  {} · {} throttled · {}\n  results    {}/scan={}\n",
        many(totals.calls, "call"),
        grouped(totals.throttled),
        many(totals.records, "resource"),
        spec.out,
        spec.id
    ));
    text
}

fn object(row: &ScanRow, counts: &ScanCounts) -> Value {
    let spec = &row.spec;
    json!({
        "id": spec.id, "state": row.state, "started_at": spec.started_at, "finished_at": row.finished_at,
        "accounts": spec.accounts, "accounts_by_state": counts.accounts, "cells": counts.cells,
        "cells_done": counts.cells - counts.pending(), "outcomes": counts.outcomes, "holes": holes(counts),
        "calls": counts.totals.calls, "throttled": counts.totals.throttled, "resources": counts.totals.records,
        "lane": spec.lane, "scheduled": spec.scheduled, "out": spec.out, "exit": exit_of(row, counts),
    })
}

fn holes(counts: &ScanCounts) -> u64 {
    counts.outcomes.iter().filter(|(outcome, _)| outcome.is_hole()).map(|(_, cells)| cells).sum()
}

fn exit_of(row: &ScanRow, counts: &ScanCounts) -> u8 {
    match row.state {
        ScanState::Lost => FAILED,
        _ if holes(counts) > 0 || counts.outcomes.contains_key(&Outcome::Cancelled) => HOLES,
        _ => COMPLETE,
    }
}

fn state(state: ScanState) -> &'static str {
    match state {
        ScanState::Running => "running",
        ScanState::Cancelling => "cancelling",
        ScanState::Finished => "finished",
        ScanState::Cancelled => "cancelled",
        ScanState::Lost => "lost",
    }
}

fn found(row: Option<ScanRow>, id: &ScanId) -> Result<ScanRow, Failure> {
    row.ok_or_else(|| Failure::usage(format!("there is no scan {id}: `fleetscan scans list` names those that are")))
}

fn scan_id(text: &str) -> Result<ScanId, Failure> {
    text.strip_prefix("scan=").unwrap_or(text).parse().map_err(Failure::usage)
}

fn account(text: &str) -> Result<AccountId, Failure> {
    text.parse().map_err(Failure::usage)
}

fn known_services(services: Vec<String>, profile: &Profile, part: &Catalogue) -> Result<Vec<String>, Failure> {
    match services.iter().find_map(|name| crate::scan::not_read(name, profile, part)) {
        Some(mistake) => Err(Failure::usage(mistake)),
        None => Ok(services),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, calls: u64) -> WorkerReport {
        let report = json!({ "worker": name, "version": "", "catalogue": "", "started_at": "1970-01-01T00:00:00Z",
            "concurrency": 1, "held": 9, "in_work": 2, "calls": calls, "calls_in_flight": 3, "shards": {} });
        serde_json::from_value(report).expect("a report")
    }

    #[test]
    fn calls_only_grow_whoever_comes_or_goes() {
        let (mut team, totals) = (Team::default(), WorkTotals { records: 7, ..WorkTotals::default() });
        let mut look = |reports: &[WorkerReport]| {
            team.look(reports, &totals);
            *team.figures.lock().expect("figures")
        };
        assert_eq!(look(&[report("a", 100)]).calls, 0);
        assert_eq!(look(&[report("a", 130), report("b", 5_000)]).calls, 30);
        let last = look(&[report("b", 5_010)]);
        assert_eq!((last.calls, last.calls_in_flight, last.cells_in_flight, last.records), (40, 3, 2, 7));
    }
}
