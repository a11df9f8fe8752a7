use serde::Serialize;

/// What came of one simulated scan.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Workers.
    pub workers: usize,
    /// One account of so many was simulated; the counts are those of the whole.
    pub slice: usize,
    /// Seconds from the scan's start to its last outcome.
    pub seconds: f64,
    /// The least that it could have taken with these workers.
    pub bound: f64,
    /// Cells with an outcome, and those whose outcome is a hole.
    pub cells: u64,
    /// Cells that did not end `complete`.
    pub holes: u64,
    /// Calls on customers' sessions, those that were throttled included.
    pub calls: u64,
    /// Of these, throttled.
    pub throttled: u64,
    /// Cells that were put off because a bucket was far from its next token.
    pub deferred: u64,
    /// AssumeRole calls.
    pub assume_role: u64,
    /// The fewest that the accounts' spans allow: one for each 840 seconds begun.
    pub assume_role_least: u64,
    /// The most AssumeRole calls in a second, over ten seconds.
    pub assume_role_rate: f64,
    /// The most tasks in the queue, waiting, put off and held.
    pub queue: u64,
    /// The most cells that were planned and had no outcome: what the coordinator's memory grows with.
    pub pending: u64,
    /// How much of the time calls were under way on average, of all that could have been.
    pub busy: f64,
    /// How long accounts take from their probe to their last call.
    pub turnaround: Turnaround,
    /// Seconds of real time that the simulation took.
    pub took: f64,
}

/// Seconds from an account's first call to its last.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Turnaround {
    /// The tenth of all accounts that need the fewest calls: half of them take less.
    pub smallest: f64,
    /// The slowest of that tenth.
    pub smallest_most: f64,
    /// The account whose slowest bucket takes longest.
    pub largest: f64,
}

impl Figures {
    /// How many times the bound it took.
    pub fn ratio(&self) -> f64 {
        if self.bound > 0.0 { self.seconds / self.bound } else { 1.0 }
    }
}
