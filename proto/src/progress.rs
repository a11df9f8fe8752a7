use crate::{Cell, Denial, LedgerLine, PartName, WorkTotals};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where one walk over an operation's pages stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkCursor {
    /// The next page's token; `None`: the first page.
    pub token: Option<String>,
    /// Items of that page that are already done, should the page be only half done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Nothing is left of it.
    #[serde(default)]
    pub finished: bool,
}

/// What a cell's earlier executions achieved: enough to go on from there, and to write its ledger line at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CellProgress {
    /// By operation, where its walk stands.
    pub walks: BTreeMap<String, WalkCursor>,
    /// Parts that are durable and count.
    pub parts: Vec<PartName>,
    /// Cost so far.
    pub totals: WorkTotals,
    /// Denied so far.
    pub denied: Vec<Denial>,
    /// By operation, why it failed for good.
    pub errors: BTreeMap<String, String>,
    /// Operations that answered.
    pub answered: Vec<String>,
    /// When the first execution began.
    pub started_at: Option<Timestamp>,
    /// Digest of the catalogue that some of it was read with, where that is not its scan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
}

impl CellProgress {
    /// What is left of a result that is to be read anew: its cost.
    pub fn anew(line: &LedgerLine) -> Self {
        let totals = WorkTotals { records: 0, ..line.totals.clone() };
        Self { totals, started_at: line.started_at, ..Self::default() }
    }
}

/// What a worker may do with a cell that it was handed.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// Read it, from where `progress` stands.
    Go {
        /// From where.
        progress: Box<CellProgress>,
        /// Executions begun, this one included.
        attempts: u32,
        /// Of those, the ones since the last checkpoint that never came to an end: their workers died, or lost touch.
        /// What tells a poison task from an innocent one.
        unfinished: u32,
    },
    /// It has its outcome already: acknowledge the message.
    Done,
    /// A newer copy is about, or the scan is not running: acknowledge the message and do nothing.
    Stale,
    /// A denial of its account is open ([`Store::open_denial`](crate::Store::open_denial)): nothing was begun, and it is not yet known whether
    /// there is anything to read. Come back later.
    Denied,
}

/// What became of a result that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// It is the cell's outcome.
    First,
    /// The cell had its outcome already; this one does not count, and neither do its parts.
    Duplicate,
    /// The generation was stale; this one does not count, and neither do its parts.
    Stale,
}

/// Who began a cell last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The worker.
    pub worker: String,
    /// When.
    pub at: Timestamp,
}

/// A cell without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCell {
    /// Which cell.
    pub cell: Cell,
    /// Its present generation.
    pub generation: u64,
    /// Executions begun.
    pub attempts: u32,
    /// Of those, the ones since the last checkpoint that never came to an end, as far as the store knows.
    pub unfinished: u32,
    /// Who began it under the present generation; `None`: its task waits to be taken.
    pub begun: Option<Begun>,
}
