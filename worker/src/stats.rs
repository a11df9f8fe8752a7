use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a worker has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls sent to AWS on customers' sessions, retries included.
    pub calls: u64,
    /// Of these, throttled.
    pub throttled: u64,
    /// AssumeRole calls.
    pub assume_role: u64,
    /// Records written.
    pub records: u64,
    /// Cells under way.
    pub cells_in_flight: u64,
    /// Calls under way.
    pub calls_in_flight: u64,
    /// Milliseconds that calls waited for their buckets, summed.
    pub waited_ms: u64,
    /// Cells that were put off because their bucket was far from its next token.
    pub deferred: u64,
}

/// Counters that many tasks add to.
#[derive(Debug, Default)]
pub struct StatsCell {
    pub(crate) calls: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) assume_role: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) cells_in_flight: AtomicU64,
    pub(crate) calls_in_flight: AtomicU64,
    pub(crate) waited_ms: AtomicU64,
    pub(crate) deferred: AtomicU64,
}

impl StatsCell {
    /// The present figures.
    pub fn snapshot(&self) -> Stats {
        Stats {
            calls: self.calls.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            assume_role: self.assume_role.load(Relaxed),
            records: self.records.load(Relaxed),
            cells_in_flight: self.cells_in_flight.load(Relaxed),
            calls_in_flight: self.calls_in_flight.load(Relaxed),
            waited_ms: self.waited_ms.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
        }
    }
}

/// Counts something as under way for as long as it lives.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl<'a> InFlight<'a> {
    pub(crate) fn of(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
