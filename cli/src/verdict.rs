//! Whether a scan of the simulated AWS found exactly what is there, the planted holes included.

use crate::{
    failure::Failure,
    numbers::{grouped, many},
    out::Out,
    summary::wrapped,
    terminal::Terminal,
};
use fleetscan_coordinator::{PartError, read_ledger, read_part};
use fleetscan_proto::{AccountId, Cell, LedgerLine, Outcome, ResultPaths, ScanId};
use fleetscan_simulator::{Expectations, ExpectedCell, ExpectedRecord, Simulator};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Differences that are listed.
const LISTED: usize = 10;

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub struct Verdict {
    accounts: u64,
    cells: u64,
    holes: u64,
    records: u64,
    differences: u64,
    first: Vec<String>,
}

impl Verdict {
    /// Holds a finished scan against what the simulator planted, an account at a time.
    pub async fn of(out: &Out, scan: &ScanId, simulator: &Simulator) -> Result<Self, Failure> {
        let expectations = simulator.expectations();
        let mut verdict = Verdict::default();
        let mut accounts: Vec<AccountId> = expectations.accounts().collect();
        accounts.sort();
        let mut lines = read_ledger(out.sink.as_ref(), &ResultPaths(scan).ledger()).await?.peekable();
        for account in &accounts {
            let mut found = BTreeMap::new();
            while let Some(line) = lines.next_if(|line| !matches!(line, Ok(line) if line.cell.account > *account)) {
                let line = line?;
                if found.insert(line.cell.clone(), line.clone()).is_some() {
                    verdict.differs(&line.cell, "it stands twice in the ledger");
                }
            }
            verdict.account(out, scan, expectations, account, found).await;
        }
        for line in lines {
            verdict.differs(&line?.cell, "no such account was planted");
        }
        Ok(verdict)
    }

    async fn account(
        &mut self,
        out: &Out,
        scan: &ScanId,
        expectations: &Expectations,
        account: &AccountId,
        mut found: BTreeMap<Cell, LedgerLine>,
    ) {
        self.accounts += 1;
        for expected in expectations.cells(account) {
            self.cells += 1;
            self.holes += u64::from(expected.outcome.is_hole());
            match found.remove(&expected.cell) {
                None => self.differs(&expected.cell, &format!("{} was planted, the ledger lacks it", expected.outcome)),
                Some(line) => self.cell(out, scan, expected, &line).await,
            }
        }
        for cell in found.into_keys() {
            self.differs(&cell, "no such cell was planted");
        }
    }

    async fn cell(&mut self, out: &Out, scan: &ScanId, expected: ExpectedCell, line: &LedgerLine) {
        let cell = &line.cell;
        if line.outcome != expected.outcome {
            let why = line.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
            self.differs(cell, &format!("{} was planted, {} was found{why}", expected.outcome, line.outcome));
        }
        let mut denied: Vec<&str> = line.denied.iter().map(|denial| denial.action.as_str()).collect();
        denied.sort_unstable();
        denied.dedup();
        // A role that goes while it is used is denied this and that before it is known to be gone.
        if denied != expected.denied && line.outcome != Outcome::Revoked {
            let (planted, met) = (expected.denied.join(", "), denied.join(", "));
            self.differs(cell, &format!("denied actions: [{planted}] were planted, [{met}] were met"));
        }
        // How often each record was found, less how often it was planted.
        let mut balance: BTreeMap<ExpectedRecord, i64> = BTreeMap::new();
        for record in expected.records {
            self.records += 1;
            *balance.entry(record).or_default() -= 1;
        }
        if let Err(problem) = read_records(out, scan, line, &mut balance).await {
            self.differs(cell, &problem);
        }
        for (record, balance) in balance.into_iter().filter(|(_, balance)| *balance != 0) {
            let what = if balance < 0 { "was planted and not found" } else { "was found and not planted" };
            self.differs(cell, &format!("{} {} {what}", record.kind, record.id));
        }
    }

    fn differs(&mut self, cell: &Cell, how: &str) {
        self.differences += 1;
        if self.first.len() < LISTED {
            self.first.push(format!("{cell}: {how}"));
        }
    }

    pub fn agrees(&self) -> bool {
        self.differences == 0
    }

    pub fn json(&self) -> Value {
        json!({
            "agrees": self.agrees(), "accounts": self.accounts, "cells": self.cells, "records": self.records,
            "planted_holes": self.holes, "differences": self.differences, "first_differences": self.first,
        })
    }

    pub fn text(&self, terminal: Terminal) -> String {
        let what = format!(
            "{}, {} and {}",
            many(self.accounts, "account"),
            many(self.cells, "cell"),
            many(self.records, "resource")
        );
        if self.agrees() {
            let mark = terminal.green("✓");
            let holes = match self.holes {
                0 => String::new(),
                holes => format!(", the {} planted as holes included", many(holes, "cell")),
            };
            let told = format!("Held against what the simulated AWS planted: {what} agree{holes}.");
            return format!("{mark}{}", &wrapped(&told, 2)[1..]);
        }
        let mut text = format!(
            "{} Held against what the simulated AWS planted ({what}), {} found:",
            terminal.yellow("✗"),
            many(self.differences, "difference")
        );
        for difference in &self.first {
            let _ = write!(text, "\n  {difference}");
        }
        if self.differences > self.first.len() as u64 {
            let _ = write!(text, "\n  and {} more", grouped(self.differences - self.first.len() as u64));
        }
        text
    }
}

async fn read_records(
    out: &Out,
    scan: &ScanId,
    line: &LedgerLine,
    balance: &mut BTreeMap<ExpectedRecord, i64>,
) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Found {
        account: AccountId,
        service: String,
        #[serde(rename = "type")]
        kind: String,
        id: String,
    }
    for part in &line.parts {
        let path = ResultPaths(scan).part(&line.cell, &part.name);
        let bytes = out.sink.read(&path).await.map_err(|error| error.to_string())?;
        read_part(&bytes, part, &mut |text| {
            let found: Found = serde_json::from_str(text).map_err(|error| PartError(error.to_string()))?;
            if found.account != line.cell.account || found.service != line.cell.service {
                return Err(PartError(format!("a record of {}/{} is among them", found.account, found.service)));
            }
            *balance.entry(ExpectedRecord { kind: found.kind, id: found.id }).or_default() += 1;
            Ok(())
        })
        .map_err(|error| format!("{}: {error}", part.name))?;
    }
    Ok(())
}
