use std::time::Duration;

/// Bounds and times of a scan. The defaults suit one machine.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// Cells that may be outstanding at once: stored and published, without an outcome. An account is probed only
    /// when its cells would fit, so memory does not grow with the number of accounts.
    pub window: usize,
    /// Tasks in one call of `publish`.
    pub publish_batch: usize,
    /// How often the runner looks at the store.
    pub tick: Duration,
    /// A scan that is unfinished and younger than this is resumed.
    pub resume_within: Duration,
    /// A cell (or probe) that made no progress for this long is published again: the longest deferral and a margin.
    pub stuck_after: Duration,
    /// What has no outcome after this long, counted from this run's start, gets one.
    pub deadline: Duration,
    /// How long a denied account may wait for a verdict before its cells end `unconfirmed`.
    pub denial_wait: Duration,
    /// How old a denial must be before it can be confirmed, so that many at once are seen as many.
    pub denial_settle: Duration,
    /// While a verdict waits, how often AssumeRole is tried again.
    pub denial_retry: Duration,
    /// Over how long denials are counted as "at once".
    pub breaker_window: Duration,
    /// How long the hub's answer about itself is believed.
    pub hub_answer_holds: Duration,
    /// How long to insist while the store is away.
    pub store_patience: Duration,
    /// How long to wait between two tries.
    pub store_retry: Duration,
    /// How long a scan that is being cancelled waits for workers to hand in what they have.
    pub cancel_grace: Duration,
    /// Scans whose results are kept whole.
    pub keep_scans: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            window: 8_192,
            publish_batch: 256,
            tick: Duration::from_millis(200),
            resume_within: Duration::from_secs(24 * 3600),
            stuck_after: Duration::from_secs(15 * 60),
            deadline: Duration::from_secs(6 * 3600),
            denial_wait: Duration::from_secs(10 * 60),
            denial_settle: Duration::from_secs(2),
            denial_retry: Duration::from_secs(60),
            breaker_window: Duration::from_secs(15 * 60),
            hub_answer_holds: Duration::from_secs(5),
            store_patience: Duration::from_secs(10 * 60),
            store_retry: Duration::from_secs(1),
            cancel_grace: Duration::from_secs(4),
            keep_scans: 5,
        }
    }
}
