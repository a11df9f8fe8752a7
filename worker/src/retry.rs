//! The one place that names the crate `backoff`. It is flagged unmaintained (RUSTSEC-2025-0012); should it have to go,
//! it goes from here.

use backoff::{ExponentialBackoff, SystemClock, backoff::Backoff as _};
use std::time::Duration;

/// Waits between tries: full jitter (uniform from nothing up to a ceiling that doubles), as AWS advises.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Ceilings of `base`, twice that, and so on up to `max`.
    pub fn new(base: Duration, max: Duration) -> Self {
        // `backoff` draws from interval ± factor × interval: with a factor of 1 that is nothing to twice the interval.
        Self(ExponentialBackoff {
            current_interval: base / 2,
            initial_interval: base / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: max / 2,
            max_elapsed_time: None,
            clock: SystemClock {},
            ..ExponentialBackoff::default()
        })
    }
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_jittered_below_a_ceiling_that_doubles() {
        for _ in 0..100 {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
            for ceiling in [100, 200, 400, 800, 1000, 1000] {
                assert!(backoff.next_wait() <= Duration::from_millis(ceiling));
            }
        }
    }
}
