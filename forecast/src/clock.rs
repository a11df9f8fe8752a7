use fleetscan_proto::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Follows Tokio's clock, so that virtual time is one time.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    base: Timestamp,
    started: Instant,
}

impl VirtualClock {
    pub(crate) fn start() -> Self {
        Self { base: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56), started: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.base + SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::ZERO)
    }
}
