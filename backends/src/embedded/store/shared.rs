use fleetscan_proto::StoreError;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Buckets that are remembered; beyond it, those that are full again are forgotten, which changes nothing.
const REMEMBERED: usize = 1_024;

/// The longest time that is reckoned with: a bucket that fills more slowly is a mistake.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Buckets that the whole fleet shares. On one machine that is the process, and nobody else draws on them.
#[derive(Debug, Default)]
pub(crate) struct SharedBuckets {
    /// By bucket, when it would be full again (GCRA's theoretical arrival time).
    full_at: Mutex<HashMap<String, Instant>>,
}

impl SharedBuckets {
    /// Takes a permit, or answers how long to wait before asking again.
    pub(crate) fn take(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError> {
        let unreasonable = || StoreError::Refused(format!("the shared bucket {bucket} has no sensible rate or burst"));
        let (Some(interval), Some(tolerance)) = (seconds(1.0 / rate), seconds((burst - 1.0) / rate)) else {
            return Err(unreasonable());
        };
        if interval.is_zero() {
            return Err(unreasonable());
        }
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= REMEMBERED && !full_at.contains_key(bucket) {
            full_at.retain(|_, at| *at > now);
        }
        let at = full_at.get(bucket).copied().unwrap_or(now).max(now);
        let wait = (at - now).saturating_sub(tolerance);
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        full_at.insert(bucket.to_owned(), at + interval);
        Ok(None)
    }
}

/// A time that is not negative and not too long.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten_and_emptied_ones_are_not() {
        let buckets = SharedBuckets::default();
        assert_eq!(buckets.take("slow", 0.001, 1.0).expect("sensible"), None);
        for n in 0..10 * REMEMBERED {
            assert_eq!(buckets.take(&format!("b-{n}"), 100.0, 1.0).expect("sensible"), None);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(buckets.full_at.lock().expect("sound").len() <= REMEMBERED);
        let wait = buckets.take("slow", 0.001, 1.0).expect("sensible").expect("it is empty");
        assert_eq!(wait, Duration::from_millis(1_000_000 - 10 * 1_024));
    }
}
