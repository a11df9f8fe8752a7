//! What a scan found, for people and for programs.

use crate::{
    advice,
    coverage::{Coverage, Group},
    failure::{self, Failure},
    numbers::{grouped, many, percent, rate, time},
    out::Out,
    terminal::Terminal,
};
use fleetscan_coordinator::read_ledger;
use fleetscan_proto::{DeniedBy, Manifest, Outcome, ResultPaths};
use serde_json::{Value, json};
use std::{fmt::Write as _, time::Duration};

/// Types of resources that are shown by name.
const TYPES: usize = 15;
/// Actions, reasons or services shown of one outcome.
const LINES: usize = 8;
const BAR: usize = 24;

pub struct Summary {
    pub manifest: Manifest,
    pub coverage: Coverage,
    place: String,
    out: String,
    /// How long this run took, where it is not the whole scan.
    pub resumed: bool,
}

impl Summary {
    /// Reads the scan's ledger, a line at a time.
    pub async fn read(out: &Out, manifest: Manifest) -> Result<Self, Failure> {
        let mut coverage = Coverage::default();
        let paths = ResultPaths(&manifest.scan);
        for line in read_ledger(out.sink.as_ref(), &paths.ledger()).await? {
            coverage.add(&line?);
        }
        let place = out.sink.locate(&paths.root());
        Ok(Self { place, out: out.name.clone(), manifest, coverage, resumed: false })
    }

    pub fn exit(&self) -> u8 {
        if self.coverage.hole_cells() == 0 && self.manifest.complete { failure::COMPLETE } else { failure::HOLES }
    }

    fn took(&self) -> Duration {
        let took = self.manifest.finished_at.duration_since(self.manifest.started_at);
        Duration::try_from(took).unwrap_or_default()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let m = &self.manifest;
        let group = |outcome: &Outcome, group: &Group| {
            let denied: Vec<Value> = group
                .denied
                .iter()
                .map(|((action, by), t)| json!({"action": action, "by": by, "accounts": t.accounts, "cells": t.cells}))
                .collect();
            let reasons: Vec<Value> = group
                .reasons
                .iter()
                .map(|(reason, t)| json!({"reason": reason, "accounts": t.accounts, "cells": t.cells}))
                .collect();
            json!({
                "outcome": outcome, "cells": group.tally.cells, "accounts": group.tally.accounts,
                "denied": denied, "reasons": reasons, "advice": advice::about(*outcome),
            })
        };
        let part = |holes: bool| -> Vec<Value> {
            let chosen = |o: &Outcome| o.is_hole() == holes && *o != Outcome::Complete;
            self.coverage.groups.iter().filter(|(o, _)| chosen(o)).map(|(o, g)| group(o, g)).collect()
        };
        json!({
            "id": m.scan, "state": "finished", "complete": m.complete, "resumed": self.resumed,
            "thinned": m.thinned, "untidied": m.untidied,
            "started_at": m.started_at, "finished_at": m.finished_at, "seconds": self.took().as_secs_f64(),
            "counts": {
                "accounts": m.accounts, "cells": self.coverage.cells(), "records": m.records.values().sum::<u64>(),
                "calls": m.totals.calls, "throttled": m.totals.throttled, "assume_role_calls": m.assume_role_calls,
            },
            "records": m.records, "coverage": m.cells, "regions_from": m.regions_from,
            "holes": part(true), "listed": part(false),
            "paths": { "out": self.out, "scan": self.place, "manifest": format!("{}/manifest.json", self.place),
                       "ledger": format!("{}/ledger.jsonl.zst", self.place), "records": format!("{}/records", self.place) },
            "exit": self.exit(),
        })
    }

    /// For people.
    pub fn text(&self, terminal: Terminal) -> String {
        let mut text = self.headline(terminal);
        text.push_str(&self.resources(terminal));
        text.push_str(&self.outcomes(terminal));
        text.push_str(&self.not_read(terminal));
        text.push_str(&self.next(terminal));
        text
    }

    fn headline(&self, terminal: Terminal) -> String {
        let m = &self.manifest;
        let end = match self.coverage.hole_cells() {
            0 => terminal.green("complete"),
            holes => terminal.yellow(&format!("finished with holes: {} not fully read", many(holes, "cell"))),
        };
        let took = self.took();
        let speed = match self.resumed {
            true => String::new(),
            false => format!(", {} a second", grouped(rate(m.totals.calls, took.as_secs_f64()))),
        };
        let assumed = m.assume_role_calls.map(|calls| format!(" · {}", many(calls, "AssumeRole call")));
        let assumed = assumed.unwrap_or_default();
        let thinned = m.thinned.as_ref().map(|thinned| {
            format!(
                "  What is left of it: of {}, those that no newer scan read completely\n",
                many(thinned.of_cells, "cell")
            )
        });
        let thinned = thinned.unwrap_or_default();
        let untidied = match m.untidied {
            0 => String::new(),
            folders => format!(
                "  Files that the ledger does not list may be left in {}: they could not be removed\n",
                many(folders, "folder")
            ),
        };
        format!(
            "\n{} {end}\n  {} · {} · {} in {}\n  {}{speed} · {} throttled ({}){assumed}\n{thinned}{untidied}",
            terminal.bold(&format!("Scan {}", m.scan)),
            many(m.records.values().sum(), "resource"),
            many(m.accounts, "account"),
            many(self.coverage.cells(), "cell"),
            time(took),
            many(m.totals.calls, "call"),
            grouped(m.totals.throttled),
            percent(m.totals.throttled, m.totals.calls),
        )
    }

    fn resources(&self, terminal: Terminal) -> String {
        let mut types: Vec<(&String, u64)> = self.manifest.records.iter().map(|(kind, n)| (kind, *n)).collect();
        if types.is_empty() {
            return format!("\n{}\n  none\n", terminal.bold("Resources"));
        }
        types.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let mut text = format!("\n{}\n", terminal.bold("Resources"));
        let shown = &types[..types.len().min(TYPES)];
        let width = shown.iter().map(|(kind, _)| kind.len()).max().unwrap_or_default();
        let most = shown.first().map_or(1, |(_, count)| *count);
        for (kind, count) in shown {
            let bar = "▇".repeat(((*count as f64 / most as f64) * BAR as f64).ceil() as usize);
            let _ = writeln!(text, "  {kind:width$}  {:>10}  {}", grouped(*count), terminal.dim(&bar));
        }
        if let Some(rest @ [_, ..]) = types.get(TYPES..) {
            let sum: u64 = rest.iter().map(|(_, count)| count).sum();
            let name = format!("{} more types", rest.len());
            let _ = writeln!(text, "  {name:width$}  {:>10}", grouped(sum));
        }
        text
    }

    fn outcomes(&self, terminal: Terminal) -> String {
        let cells = self.coverage.cells();
        let mut text = format!("\n{}\n", terminal.bold("Coverage"));
        for (outcome, group) in &self.coverage.groups {
            let name = format!("{outcome:16}");
            let name = match outcome {
                Outcome::Complete => terminal.green(&name),
                o if o.is_hole() => terminal.yellow(&name),
                _ => name,
            };
            let mark = if outcome.is_hole() { "hole" } else { "" };
            let line = format!(
                "  {name} {:>10}  {:>6}  in {:16} {mark}",
                many(group.tally.cells, "cell"),
                percent(group.tally.cells, cells),
                many(group.tally.accounts, "account"),
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// Outcome by outcome, holes first: what they met, and what to do.
    fn not_read(&self, terminal: Terminal) -> String {
        let mut groups: Vec<_> = self.coverage.groups.iter().filter(|(o, _)| **o != Outcome::Complete).collect();
        groups.sort_by_key(|(outcome, _)| (!outcome.is_hole(), **outcome));
        if groups.is_empty() {
            return String::new();
        }
        let mut text = format!("\n{}\n", terminal.bold("What was not read, and what to do"));
        for (outcome, group) in groups {
            let _ = writeln!(text, "  {}, {}", terminal.bold(outcome.as_str()), accounts(group));
            if let Some(advice) = advice::about(*outcome) {
                let _ = writeln!(text, "{}", wrapped(advice, 4));
            }
            detail(&mut text, *outcome, group);
        }
        text
    }

    fn next(&self, terminal: Terminal) -> String {
        let id = &self.manifest.scan;
        let out = shell_word(&self.out);
        let mut text = format!("\n{} {}\n", terminal.bold("Results"), self.place);
        let _ = writeln!(text, "{}", terminal.bold("Next"));
        let (holes, what) = match self.coverage.hole_cells() {
            0 => ("", "every cell"),
            _ => (" --holes", "every cell that has a hole"),
        };
        let files = format!("{}/records/*/*/*/*.jsonl.zst", self.place);
        for (what, command) in [
            (what, format!("fleetscan results ledger {id} --out {out}{holes}")),
            ("the same figures for programs", format!("fleetscan results summary {id} --out {out} --json")),
            (
                "ask anything of the resources",
                format!(
                    "duckdb -c \"SELECT type, count(*) FROM read_json('{files}', columns = {{type: 'VARCHAR'}}) GROUP BY \
                     ALL\""
                ),
            ),
        ] {
            let _ = writeln!(text, "  {}\n    {command}", terminal.dim(what));
        }
        text
    }
}

/// How many accounts, and where they are few, which.
fn accounts(group: &Group) -> String {
    let count = group.tally.accounts;
    let names: Vec<&str> = group.examples.iter().map(|id| id.as_str()).collect();
    match count {
        1 => format!("account {}", names.join("")),
        n if n as usize <= names.len() => format!("accounts {}", names.join(", ")),
        n => {
            format!("{}, such as {}", many(n, "account"), names.iter().take(2).copied().collect::<Vec<_>>().join(", "))
        }
    }
}

/// Below the advice: the denied actions, else the reasons, the most frequent first.
fn detail(text: &mut String, outcome: Outcome, group: &Group) {
    let mut lines: Vec<(u64, String)> = match outcome {
        Outcome::Partial | Outcome::Denied | Outcome::DeniedByScp => {
            group.denied.iter().map(|((action, by), t)| (t.accounts, format!("{action}{}", denied_by(*by)))).collect()
        }
        _ => Vec::new(),
    };
    if outcome == Outcome::Revoked {
        return; // the advice says it all
    }
    lines.extend(group.reasons.iter().map(|(reason, t)| (t.accounts, reason.clone())));
    lines.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let width = lines.iter().take(LINES).map(|(_, line)| line.chars().count()).max().unwrap_or_default().min(72);
    for (count, line) in lines.iter().take(LINES) {
        let _ = writeln!(text, "      {line:width$}  {}", many(*count, "account"));
    }
    if lines.len() > LINES {
        let _ = writeln!(text, "      and {} more", lines.len() - LINES);
    }
}

fn denied_by(by: DeniedBy) -> &'static str {
    match by {
        DeniedBy::Identity | DeniedBy::Unknown => "",
        DeniedBy::Scp => " (service control policy)",
        DeniedBy::Resource => " (the resource's own policy)",
        DeniedBy::Boundary => " (permissions boundary or session policy)",
    }
}

/// Breaks a text into lines of at most 78 characters, each indented.
pub fn wrapped(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let mut lines = vec![indent.clone()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.chars().count() + word.chars().count() >= 78 && line.len() > indent.len() {
            lines.push(format!("{indent}{word}"));
        } else {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// A path as it may be pasted into a shell.
pub fn shell_word(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || "/._-=:@+".contains(c)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
