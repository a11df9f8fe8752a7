//! `fleetscan results summary --by`: a ledger added up by what people ask for.

use crate::{
    args::{By, SummaryArgs},
    failure::{COMPLETE, Failure, HOLES},
    numbers::{grouped, percent},
    out::Out,
    terminal::Terminal,
};
use fleetscan_coordinator::read_ledger;
use fleetscan_proto::{AccountId, LedgerLine, Manifest, Outcome, ResultPaths};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

/// What is counted of one name.
#[derive(Default)]
struct Sum {
    cells: u64,
    complete: u64,
    holes: u64,
    records: u64,
    calls: u64,
    throttled: u64,
    accounts: u64,
    last: Option<AccountId>,
    outcomes: BTreeMap<Outcome, u64>,
    /// Actions that were denied.
    denied: BTreeSet<String>,
}

impl Sum {
    fn add(&mut self, line: &LedgerLine) {
        self.cells += 1;
        self.complete += u64::from(line.outcome == Outcome::Complete);
        self.holes += u64::from(line.outcome.is_hole());
        self.records += line.totals.records;
        self.calls += line.totals.calls;
        self.throttled += line.totals.throttled;
        *self.outcomes.entry(line.outcome).or_default() += 1;
        // A ledger is in the order of accounts.
        if self.last.as_ref() != Some(&line.cell.account) {
            self.accounts += 1;
            self.last = Some(line.cell.account.clone());
        }
    }
}

pub async fn run(
    args: &SummaryArgs,
    by: By,
    out: &Out,
    manifest: &Manifest,
    terminal: Terminal,
) -> Result<u8, Failure> {
    let exit = if manifest.complete { COMPLETE } else { HOLES };
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if by == By::Type {
        let mut types: Vec<(&String, &u64)> = manifest.records.iter().collect();
        types.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), *kind));
        match args.json {
            true => {
                let list: Vec<Value> = types.iter().map(|(kind, n)| json!({ "type": kind, "records": n })).collect();
                writeln!(stdout, "{}", Value::Array(list))?;
            }
            false => {
                writeln!(stdout, "{}", terminal.bold(&format!("{:>10}  type", "records")))?;
                for (kind, count) in types {
                    writeln!(stdout, "{:>10}  {kind}", grouped(*count))?;
                }
            }
        }
        stdout.flush()?;
        return Ok(exit);
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in read_ledger(out.sink.as_ref(), &ResultPaths(&manifest.scan).ledger()).await? {
        let line = line?;
        let name = match by {
            By::Account => line.cell.account.to_string(),
            By::Region => line.cell.region.clone(),
            By::Service => line.cell.service.clone(),
            By::Denied | By::Type => {
                for denial in &line.denied {
                    let by = serde_json::to_value(denial.by).map_err(Failure::failed)?;
                    let name = format!("{} {}", denial.action, by.as_str().unwrap_or_default());
                    sums.entry(name).or_default().add(&line);
                }
                continue;
            }
        };
        let sum = sums.entry(name).or_default();
        sum.add(&line);
        sum.denied.extend(line.denied.into_iter().map(|denial| denial.action));
    }
    match (by, args.json) {
        (By::Denied, true) => writeln!(stdout, "{}", Value::Array(sums.iter().map(denied_json).collect()))?,
        (By::Denied, false) => denied_table(&mut stdout, &sums, terminal)?,
        (_, true) => {
            let list = sums.iter().map(|(name, sum)| sum_json(by.name(), name, sum)).collect();
            writeln!(stdout, "{}", Value::Array(list))?;
        }
        (_, false) => table(&mut stdout, by, &sums, terminal)?,
    }
    stdout.flush()?;
    Ok(exit)
}

fn table(
    out: &mut impl std::io::Write,
    by: By,
    sums: &BTreeMap<String, Sum>,
    terminal: Terminal,
) -> std::io::Result<()> {
    let head = format!(
        "{:14}  {:>7}  {:>8}  {:>6}  {:>9}  {:>9}  {:>9}  denied",
        by.name(),
        "cells",
        "complete",
        "holes",
        "records",
        "calls",
        "throttled"
    );
    writeln!(out, "{}", terminal.bold(&head))?;
    for (name, sum) in sums {
        let denied = match sum.denied.len() {
            0 => String::new(),
            1 => sum.denied.iter().cloned().collect(),
            n => n.to_string(),
        };
        let row = format!(
            "{name:14}  {:>7}  {:>8}  {:>6}  {:>9}  {:>9}  {:>9}  {denied}",
            grouped(sum.cells),
            percent(sum.complete, sum.cells),
            grouped(sum.holes),
            grouped(sum.records),
            grouped(sum.calls),
            grouped(sum.throttled)
        );
        let row = row.trim_end();
        writeln!(out, "{}", if sum.holes > 0 { terminal.yellow(row) } else { row.to_owned() })?;
    }
    Ok(())
}

fn denied_table(
    out: &mut impl std::io::Write,
    sums: &BTreeMap<String, Sum>,
    terminal: Terminal,
) -> std::io::Result<()> {
    writeln!(out, "{}", terminal.bold(&format!("{:48}  {:9}  {:>9}  {:>9}", "action", "by", "accounts", "cells")))?;
    let mut rows: Vec<(&String, &Sum)> = sums.iter().collect();
    rows.sort_by_key(|(name, sum)| (std::cmp::Reverse(sum.accounts), *name));
    for (name, sum) in rows {
        let (action, by) = name.split_once(' ').unwrap_or((name, ""));
        writeln!(out, "{action:48}  {by:9}  {:>9}  {:>9}", grouped(sum.accounts), grouped(sum.cells))?;
    }
    Ok(())
}

fn denied_json((name, sum): (&String, &Sum)) -> Value {
    let (action, by) = name.split_once(' ').unwrap_or((name, ""));
    json!({ "action": action, "by": by, "accounts": sum.accounts, "cells": sum.cells })
}

fn sum_json(by: &str, name: &str, sum: &Sum) -> Value {
    json!({
        by: name, "cells": sum.cells, "complete": sum.complete, "holes": sum.holes, "outcomes": sum.outcomes,
        "accounts": sum.accounts, "records": sum.records, "calls": sum.calls, "throttled": sum.throttled,
        "denied": sum.denied,
    })
}
