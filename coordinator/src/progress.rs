use fleetscan_proto::ScanCounts;
use std::time::Duration;

/// What a scan is busy with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Reading accounts.
    #[default]
    Reading,
    /// Every cell has its outcome: checking the files, writing ledger and manifest.
    Finalising,
    /// Over.
    Ended,
}

/// A scan at one moment, for whoever shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Busy with what.
    pub phase: Phase,
    /// As the store counts.
    pub counts: ScanCounts,
    /// Accounts in the scan.
    pub accounts: u64,
    /// Cells that the whole scan will have, as far as can be guessed: those known, and for accounts that are not yet
    /// planned as many as the planned ones have on average.
    pub expected_cells: u64,
    /// Accounts that were denied and wait for a verdict.
    pub suspects: u64,
    /// This run has judged what it found open when it began: before, nothing is known of the breaker.
    pub judged: bool,
    /// So many were denied at once, or our own side is so much in doubt, that nobody is marked revoked.
    pub breaker_open: bool,
    /// Why the breaker is open.
    pub breaker_why: Option<String>,
    /// Accounts that this run marked revoked.
    pub revocations: u64,
    /// For how long the cell without progress has stood still that did so the longest. It begins to count with the
    /// first round of reconciling that finds it so; `None`: there is none.
    pub stood_still: Option<Duration>,
}

impl Progress {
    /// Cells that have an outcome.
    pub fn done_cells(&self) -> u64 {
        self.counts.outcomes.values().sum()
    }
}
