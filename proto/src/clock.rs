use jiff::Timestamp;

/// Where the time of day comes from, so that tests may choose it.
///
/// Waiting is not the clock's business: Tokio's timers do that, and Tokio's paused clock serves the tests.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
