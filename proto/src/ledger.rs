use crate::{AccountId, Cell, Denial, Outcome, ScanId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One file of a cell's records, as the ledger lists it. Files that no ledger line lists do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartName {
    /// File name within the cell's folder, `part-<execution>-0000.jsonl.zst`.
    pub name: String,
    /// Lines in it.
    pub records: u64,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
}

/// What the work on a cell cost so far; added up over its executions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkTotals {
    /// Calls sent to AWS, retries included.
    pub calls: u64,
    /// Of these, how many AWS throttled.
    pub throttled: u64,
    /// Records written.
    pub records: u64,
    /// Seconds spent working on it (not those spent waiting in a queue).
    pub seconds: f64,
}

impl WorkTotals {
    /// Adds another execution's share.
    pub fn add(&mut self, other: &WorkTotals) {
        self.calls += other.calls;
        self.throttled += other.throttled;
        self.records += other.records;
        self.seconds += other.seconds;
    }
}

/// How a cell ended: a line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// Which cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// How it ended.
    pub outcome: Outcome,
    /// Calls, throttles, records and seconds.
    #[serde(flatten)]
    pub totals: WorkTotals,
    /// What was denied, each action once.
    pub denied: Vec<Denial>,
    /// Why, where the outcome alone does not tell. Never AWS's text where that names a role or a secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// When its first execution began; null where it never did.
    pub started_at: Option<Timestamp>,
    /// Executions begun.
    pub attempts: u32,
    /// Who finished it.
    pub worker: String,
    /// The parts that count.
    pub parts: Vec<PartName>,
    /// Digest of the catalogue that some of it was read with, where that is not the scan's: while a fleet is being
    /// upgraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
}

/// A name and how often it occurred.
pub type Count = BTreeMap<String, u64>;

/// The last file that a scan writes: counts, coverage, versions and times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version of the results folder.
    pub format: u32,
    /// Which scan.
    pub scan: ScanId,
    /// Version of fleetscan.
    pub fleetscan: String,
    /// Digest of the catalogue that was read with.
    pub catalogue: String,
    /// Name of the profile.
    pub profile: String,
    /// When the scan began.
    pub started_at: Timestamp,
    /// When its last cell ended.
    pub finished_at: Timestamp,
    /// Whether the ledger has no hole.
    pub complete: bool,
    /// Accounts in the scan.
    pub accounts: u64,
    /// Accounts by where their list of regions came from.
    pub regions_from: Count,
    /// Cells by outcome.
    pub cells: Count,
    /// Records by type.
    pub records: Count,
    /// Calls, throttles, records and seconds, over all cells.
    pub totals: WorkTotals,
    /// AssumeRole calls that workers made for this scan's tasks, as [`Store::count_assume_role`](crate::Store::count_assume_role)
    /// counts them; `None` in manifests that are older than this count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role_calls: Option<u64>,
    /// The most of any bucket's published rate that was allowed, 0 to 1.
    pub share: f64,
    /// In so many folders, files that no ledger line lists may have been left: they could not be removed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub untidied: u64,
    /// Newer scans pushed it out, but for what they did not read completely: counts are of what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinned: Option<Thinned>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// An older scan of which only some cells are kept: those that no newer scan read completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinned {
    /// Cells that it had when it ended.
    pub of_cells: u64,
    /// When cells were last taken from it.
    pub at: Timestamp,
}

/// Where a scan's files lie below the sink's root.
#[derive(Debug, Clone, Copy)]
pub struct ResultPaths<'a>(pub &'a ScanId);

impl ResultPaths<'_> {
    /// The scan's folder, without a slash at its end.
    pub fn root(&self) -> String {
        format!("scan={}", self.0)
    }
    /// `manifest.json`.
    pub fn manifest(&self) -> String {
        format!("{}/manifest.json", self.root())
    }
    /// `manifest.next.json`: stands there, and `manifest.json` does not, while the scan's files are being changed.
    pub fn next_manifest(&self) -> String {
        format!("{}/manifest.next.json", self.root())
    }
    /// `ledger.jsonl.zst`.
    pub fn ledger(&self) -> String {
        format!("{}/ledger.jsonl.zst", self.root())
    }
    /// The folder of all records.
    pub fn records(&self) -> String {
        format!("{}/records", self.root())
    }
    /// A file that stands there for a moment, to see whether what is written can be read.
    pub fn trial(&self) -> String {
        format!("{}/trial", self.records())
    }
    /// The folder of an account. The `a` keeps readers from taking the account for a number.
    pub fn account(&self, account: &AccountId) -> String {
        format!("{}/cell_account=a{account}", self.records())
    }
    /// The folder of a cell.
    pub fn cell(&self, cell: &Cell) -> String {
        format!("{}/cell_region={}/cell_service={}", self.account(&cell.account), cell.region, cell.service)
    }
    /// A part of a cell.
    pub fn part(&self, cell: &Cell, name: &str) -> String {
        format!("{}/{name}", self.cell(cell))
    }
}
