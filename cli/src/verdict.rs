//! Whether a scan of the simulated AWS found exactly what is there, the planted holes included.

use crate::{
    failure::Failure,
    numbers::{grouped, many},
    out::Out,
    summary::wrapped,
    terminal::Terminal,
};
use fleetscan_coordinator::{PartError, read_ledger, read_part};
use fleetscan_proto::{AccountId, Cell, LedgerLine, Outcome, ResultPaths, ScanId, Sink};
use fleetscan_simulator::{Expectations, ExpectedCell, ExpectedRecord, Simulator};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};
use tokio::task::JoinSet;

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
    /// Holds a finished scan against what the simulator planted: an account at a time, several accounts at once.
    pub async fn of(out: &Out, scan: &ScanId, simulator: &Simulator) -> Result<Self, Failure> {
        let mut accounts: Vec<AccountId> = simulator.expectations().accounts().collect();
        accounts.sort();
        let mut lines = read_ledger(out.sink.as_ref(), &ResultPaths(scan).ledger()).await?.peekable();
        let at_once = std::thread::available_parallelism().map_or(2, usize::from);
        let (mut verdict, mut judged, mut judging) = (Verdict::default(), BTreeMap::new(), JoinSet::new());
        for account in &accounts {
            let mut found = BTreeMap::new();
            while let Some(line) = lines.next_if(|line| !matches!(line, Ok(line) if line.cell.account > *account)) {
                let line = line?;
                if found.insert(line.cell.clone(), line.clone()).is_some() {
                    verdict.differs(&line.cell, "it stands twice in the ledger");
                }
            }
            if judging.len() >= at_once {
                keep(&mut judged, judging.join_next().await)?;
            }
            let judge = Judge {
                sink: out.sink.clone(),
                scan: scan.clone(),
                expectations: simulator.expectations().clone(),
                verdict: Verdict::default(),
            };
            judging.spawn(judge.account(account.clone(), found));
        }
        while let Some(one) = judging.join_next().await {
            keep(&mut judged, Some(one))?;
        }
        for line in lines {
            verdict.differs(&line?.cell, "no such account was planted");
        }
        judged.into_values().for_each(|one| verdict.add(one));
        Ok(verdict)
    }

    fn add(&mut self, other: Verdict) {
        self.accounts += other.accounts;
        self.cells += other.cells;
        self.holes += other.holes;
        self.records += other.records;
        self.differences += other.differences;
        self.first.extend(other.first);
        self.first.truncate(LISTED);
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

type Judged = Option<Result<(AccountId, Verdict), tokio::task::JoinError>>;

fn keep(judged: &mut BTreeMap<AccountId, Verdict>, one: Judged) -> Result<(), Failure> {
    if let Some(one) = one {
        let (account, verdict) = one.map_err(Failure::failed)?;
        judged.insert(account, verdict);
    }
    Ok(())
}

/// Judges one account.
struct Judge {
    sink: Arc<dyn Sink>,
    scan: ScanId,
    expectations: Arc<Expectations>,
    verdict: Verdict,
}

impl Judge {
    async fn account(mut self, account: AccountId, mut found: BTreeMap<Cell, LedgerLine>) -> (AccountId, Verdict) {
        self.verdict.accounts += 1;
        let expectations = self.expectations.clone();
        for expected in expectations.cells(&account) {
            self.verdict.cells += 1;
            self.verdict.holes += u64::from(expected.outcome.is_hole());
            match found.remove(&expected.cell) {
                Some(line) => self.cell(expected, &line).await,
                None => {
                    let lacks = format!("{} was planted, the ledger lacks it", expected.outcome);
                    self.verdict.differs(&expected.cell, &lacks);
                }
            }
        }
        for cell in found.into_keys() {
            self.verdict.differs(&cell, "no such cell was planted");
        }
        (account, self.verdict)
    }

    async fn cell(&mut self, expected: ExpectedCell, line: &LedgerLine) {
        let cell = &line.cell;
        if line.outcome != expected.outcome {
            let why = line.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
            self.verdict.differs(cell, &format!("{} was planted, {} was found{why}", expected.outcome, line.outcome));
        }
        let mut denied: Vec<&str> = line.denied.iter().map(|denial| denial.action.as_str()).collect();
        denied.sort_unstable();
        denied.dedup();
        // A role that goes while it is used is denied this and that before it is known to be gone.
        if denied != expected.denied && line.outcome != Outcome::Revoked {
            let (planted, met) = (expected.denied.join(", "), denied.join(", "));
            self.verdict.differs(cell, &format!("denied actions: [{planted}] were planted, [{met}] were met"));
        }
        // How often each record was found, less how often it was planted.
        let mut balance: BTreeMap<ExpectedRecord, i64> = BTreeMap::new();
        for record in expected.records {
            self.verdict.records += 1;
            *balance.entry(record).or_default() -= 1;
        }
        if let Err(problem) = self.read_records(line, &mut balance).await {
            self.verdict.differs(cell, &problem);
        }
        for (record, balance) in balance.into_iter().filter(|(_, balance)| *balance != 0) {
            let what = if balance < 0 { "was planted and not found" } else { "was found and not planted" };
            self.verdict.differs(cell, &format!("{} {} {what}", record.kind, record.id));
        }
    }

    async fn read_records(&self, line: &LedgerLine, balance: &mut BTreeMap<ExpectedRecord, i64>) -> Result<(), String> {
        for part in &line.parts {
            let path = ResultPaths(&self.scan).part(&line.cell, &part.name);
            let bytes = self.sink.read(&path).await.map_err(|error| error.to_string())?;
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
}

/// What is compared of a record.
#[derive(Deserialize)]
struct Found {
    account: AccountId,
    service: String,
    #[serde(rename = "type")]
    kind: String,
    id: String,
}
