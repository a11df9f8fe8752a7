//! `fleetscan events`: what happened, who is told of it, and whether a receiver takes what it is told.

use crate::{
    args::{EventsArgs, EventsCommand},
    backing::Memory,
    failure::{COMPLETE, FAILED, Failure},
    hub,
    numbers::{grouped, many, time},
    receivers,
    terminal::Terminal,
};
use fleetscan_coordinator::events::{ReceiverStanding, receivers as standings};
use fleetscan_proto::{AccountId, Clock as _, Event, EventTrail, SystemClock};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{collections::VecDeque, io::Write, path::Path, time::Instant};

/// Events read at a time.
const PAGE: usize = 1_000;

pub async fn run(args: EventsArgs, terminal: Terminal) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    match &args.command {
        EventsCommand::Test { receivers, only } => {
            return test(&mut stdout, receivers, only.as_deref(), args.json, terminal).await;
        }
        EventsCommand::List { account, kind, limit } => {
            let account = account.as_deref().map(str::parse::<AccountId>).transpose().map_err(Failure::usage)?;
            let memory = Memory::open(&args.store).await?;
            let wanted = |event: &Event| {
                account.as_ref().is_none_or(|id| event.account().as_ref() == Some(id))
                    && kind.as_ref().is_none_or(|kind| event.kind == *kind)
            };
            let events = newest(memory.events.as_ref(), *limit as usize, wanted).await?;
            list(&mut stdout, &events, args.json, terminal)?;
        }
        EventsCommand::Receivers => {
            let memory = Memory::open(&args.store).await?;
            let all = standings(memory.fleet.as_ref()).await?;
            let newest = memory.events.newest_event().await?;
            show(&mut stdout, &all, newest, args.json, terminal)?;
        }
    }
    Ok(COMPLETE)
}

async fn newest(
    trail: &dyn EventTrail,
    limit: usize,
    wanted: impl Fn(&Event) -> bool,
) -> Result<VecDeque<Event>, Failure> {
    let (mut kept, mut after) = (VecDeque::new(), 0);
    loop {
        let page = trail.events(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(kept) };
        after = last.number;
        kept.extend(page.into_iter().map(|one| one.event).filter(&wanted));
        while kept.len() > limit {
            kept.pop_front();
        }
    }
}

fn list(out: &mut impl Write, events: &VecDeque<Event>, json: bool, terminal: Terminal) -> Result<(), Failure> {
    if json {
        writeln!(out, "{}", json!(events))?;
        return Ok(());
    }
    if events.is_empty() {
        writeln!(out, "Nothing happened yet that others would be told of.")?;
        return Ok(());
    }
    writeln!(out, "{}", terminal.bold(&format!("{:20}  {:18}  what", "when", "type")))?;
    for event in events {
        let kind = format!("{:18}", event.kind);
        let kind = match event.kind.as_str() {
            "account.revoked" | "account.degraded" => terminal.yellow(&kind),
            "breaker.opened" => terminal.red(&kind),
            "account.reinstated" | "account.recovered" => terminal.green(&kind),
            _ => kind,
        };
        writeln!(out, "{:20}  {kind}  {}", second(event.timestamp), sentence(event))?;
    }
    writeln!(out, "{}", many(events.len() as u64, "event"))?;
    Ok(())
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// What an event tells, in one line.
fn sentence(event: &Event) -> String {
    let text = |of: &Value, what: &str| of[what].as_str().map(str::to_owned);
    let data = Value::Object(event.data.clone());
    let number = |what: &str| grouped(data[what].as_u64().unwrap_or_default());
    if let Some(account) = text(&data, "account") {
        let name = text(&data, "name").map(|name| format!(" ({name})")).unwrap_or_default();
        let denied: Vec<String> =
            data["denied"].as_array().into_iter().flatten().filter_map(|denial| text(denial, "action")).collect();
        let evidence = &data["evidence"];
        let why = match (denied.first(), text(evidence, "code"), text(evidence, "reinstated")) {
            (Some(first), _, _) if denied.len() > 1 => {
                format!(": {first} and {} denied", many(denied.len() as u64 - 1, "other"))
            }
            (Some(first), _, _) => format!(": {first} denied"),
            (None, Some(code), _) => {
                format!(": {code}, while at {}", text(evidence, "doing").unwrap_or_default())
            }
            (None, None, Some(why)) => format!(": {why}"),
            _ => String::new(),
        };
        return format!("{account}{name}{why}");
    }
    if let Some(scan) = text(&data, "scan") {
        let end = match (text(&data, "state").as_deref(), data["complete"].as_bool()) {
            (Some("cancelled"), _) => "cancelled",
            (_, Some(true)) => "complete",
            _ => "with holes",
        };
        let cells: u64 = data["cells"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        return format!(
            "{scan}, {end}: {} accounts, {} cells, {} records",
            number("accounts"),
            grouped(cells),
            number("records")
        );
    }
    match (text(&data, "why"), data["waiting"].as_u64()) {
        (Some(why), Some(waiting)) if waiting > 0 => format!("{why}; {} waiting", many(waiting, "account")),
        (Some(why), _) => why,
        _ if event.kind == "breaker.closed" => "denied accounts can be marked revoked again".to_owned(),
        _ => String::new(),
    }
}

/// How the receivers stand.
fn show(
    out: &mut impl Write,
    all: &[ReceiverStanding],
    newest: u64,
    json: bool,
    terminal: Terminal,
) -> Result<(), Failure> {
    if json {
        let object = |one: &ReceiverStanding| {
            let mut object = json!(one);
            object["pending"] = json!(newest.saturating_sub(one.told_up_to));
            object
        };
        writeln!(out, "{}", Value::Array(all.iter().map(object).collect()))?;
        return Ok(());
    }
    if all.is_empty() {
        writeln!(out, "Nobody is told: no coordinator was started with --receivers.")?;
        return Ok(());
    }
    let head = format!(
        "{:16}  {:>9}  {:>7}  {:>8}  {:20}  where",
        "receiver", "delivered", "pending", "given up", "last took one"
    );
    writeln!(out, "{}", terminal.bold(&head))?;
    for one in all {
        writeln!(
            out,
            "{:16}  {:>9}  {:>7}  {:>8}  {:20}  {}",
            one.name,
            grouped(one.delivered),
            grouped(newest.saturating_sub(one.told_up_to)),
            grouped(one.given_up),
            one.last_delivered.map_or("-".to_owned(), second),
            one.place,
        )?;
    }
    for one in all {
        if let Some(failing) = &one.failing {
            let (since, tries) = (second(failing.since), many(u64::from(failing.tries), "time"));
            let line = format!(
                "{} does not take {} since {since}, tried {tries}: {}",
                one.name, failing.event, failing.problem
            );
            writeln!(out, "{}", terminal.yellow(&line))?;
        }
        for given_up in &one.undelivered {
            writeln!(
                out,
                "{} never took {} ({} of {}), given up {}: {}",
                one.name,
                given_up.event,
                given_up.kind,
                second(given_up.timestamp),
                second(given_up.given_up_at),
                given_up.problem,
            )?;
        }
    }
    Ok(())
}

async fn test(
    out: &mut impl Write,
    file: &Path,
    only: Option<&str>,
    json: bool,
    terminal: Terminal,
) -> Result<u8, Failure> {
    let mut all = receivers::read(file, &hub::network_of_environment()?)?;
    all.retain(|one| only.is_none_or(|name| one.name() == name));
    if all.is_empty() {
        return Err(Failure::usage(format!("{} has no receiver {}", file.display(), only.unwrap_or_default())));
    }
    let (mut exit, mut answers) = (COMPLETE, Vec::new());
    for receiver in &all {
        let event = Event::test(rand::random(), SystemClock.now());
        let began = Instant::now();
        let answer = receiver.deliver(&event).await;
        let took = began.elapsed();
        let problem = answer.err().map(|error| error.to_string());
        if problem.is_some() {
            exit = FAILED;
        }
        if json {
            answers.push(json!({
                "receiver": receiver.name(), "place": receiver.place(), "event": event.id, "ok": problem.is_none(),
                "problem": problem, "seconds": took.as_secs_f64(),
            }));
            continue;
        }
        let (name, place) = (receiver.name(), receiver.place());
        let line = match problem {
            None => format!("{}  {name} at {place} took {} in {}", terminal.green("ok  "), event.id, brief(took)),
            Some(why) => format!("{}  {name} at {place} did not take {}: {why}", terminal.red("MEND"), event.id),
        };
        writeln!(out, "{line}")?;
    }
    if json {
        writeln!(out, "{}", Value::Array(answers))?;
    }
    Ok(exit)
}

fn brief(took: std::time::Duration) -> String {
    if took.as_secs() == 0 { format!("{} ms", took.as_millis()) } else { time(took) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::EventKind;

    #[test]
    fn an_event_is_told_in_one_line() {
        let told = |kind, data| sentence(&Event::new(1, kind, Timestamp::UNIX_EPOCH, data));
        let revoked = json!({ "account": "111122223333", "name": "pay", "evidence": { "code": "AccessDenied", "doing": "probe" } });
        assert_eq!(told(EventKind::AccountRevoked, revoked), "111122223333 (pay): AccessDenied, while at probe");
        let degraded = json!({ "account": "111122223333", "denied": [{ "action": "a:B" }, { "action": "a:C" }, { "action": "a:D" }] });
        assert_eq!(told(EventKind::AccountDegraded, degraded), "111122223333: a:B and 2 others denied");
        let scan = json!({ "scan": "s", "state": "finished", "complete": false, "accounts": 2, "cells": { "complete": 1200, "denied": 3 }, "records": 9 });
        assert_eq!(told(EventKind::ScanFinished, scan), "s, with holes: 2 accounts, 1,203 cells, 9 records");
        let breaker = json!({ "open": true, "why": "many deny", "waiting": 2 });
        assert_eq!(told(EventKind::BreakerOpened, breaker), "many deny; 2 accounts waiting");
    }
}
