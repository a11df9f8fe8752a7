//! One of AWS's token buckets, at a share of its rate: it learns.

use fleetscan_proto::catalogue::{Limit, LimitRate};
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// What a throttle leaves of the learned factor.
const CUT: f64 = 0.7;
/// The least that a factor falls to.
const FLOOR: f64 = 0.05;
/// How long a bucket must go without a throttle before its factor is raised, and between two raises.
const RAISE_EVERY: Duration = Duration::from_secs(2);
/// By how much a cut factor is raised each time.
const RAISE: f64 = 0.05;
/// Up to this part of the factor at which AWS throttled last, a cut factor is raised at that pace.
const NEAR_THE_WALL: f64 = 0.96;
/// Beyond it, a raise is a try that may well be throttled: it waits so long, lest trying cost more than it finds.
const TRY_EVERY: Duration = Duration::from_secs(30);
/// By how much such a try multiplies the factor.
const TRY: f64 = 1.03;
/// Tries that went so far above it show that it is gone: whoever else drew on the bucket has left.
const PAST_THE_WALL: f64 = 1.1;
/// How far above its assumed start an unpublished limit may grow.
const UNKNOWN_CEILING: f64 = 16.0;
/// A client's clock and the network are not exact: what is left of a bucket so that ours runs empty before AWS's does.
const MARGIN: f64 = 0.98;
/// The same for the burst.
const BURST_MARGIN: f64 = 0.9;

/// Tokio's clock for governor, so that Tokio's paused clock moves the limiters as well.
#[derive(Debug, Clone, Copy, Default)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;
    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

type Governor = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<std::time::Instant>>;

/// Leave for one call. Say what became of it: [`Bucket::succeeded`] or [`Bucket::throttled`].
#[derive(Debug, Clone, Copy)]
pub struct Permit {
    epoch: u64,
}

/// The place at the head of a bucket's line, to be kept until the call is sent. Whoever gave it up and then waited, for
/// a session or a slot, would gather with others who did the same, and all would be sent at once: more than a burst.
#[derive(Debug)]
#[must_use = "to be kept until the call is sent"]
pub struct Turn<'a>(#[expect(dead_code, reason = "held, not read")] tokio::sync::MutexGuard<'a, ()>);

/// One of AWS's token buckets, as this process sees it.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    ceiling: f64,
    state: Mutex<State>,
    /// Callers wait in line: whoever holds it is next.
    line: tokio::sync::Mutex<()>,
    /// Permits given.
    given: AtomicU64,
}

#[derive(Debug)]
struct State {
    governor: Arc<Governor>,
    factor: f64,
    /// Counts cuts: permits of an earlier epoch do not cut again, for they were given before the news.
    epoch: u64,
    changed: Instant,
    ever_throttled: bool,
    /// The factor at which AWS throttled last; endless as long as it did not.
    wall: f64,
}

impl Bucket {
    /// A bucket at `share` (0 to 1) of `limit` in `region`, beginning with what was `learned`.
    pub fn new(limit: &Limit, region: &str, share: f64, learned: Option<f64>) -> Self {
        let (rate, burst, ceiling) = match &limit.rate {
            LimitRate::Known { rate, burst, by_region } => {
                let rate_here = by_region.get(region).copied().unwrap_or(*rate);
                (rate_here, if by_region.contains_key(region) { rate_here } else { *burst }, 1.0)
            }
            LimitRate::Unknown { start } => (*start, *start, UNKNOWN_CEILING),
        };
        let (rate, burst) = (rate * share * MARGIN, (burst * share * BURST_MARGIN).max(1.0));
        let factor = learned.unwrap_or(1.0).clamp(FLOOR, ceiling);
        let state = State {
            governor: Arc::new(governor(rate * factor, burst * factor.min(1.0))),
            factor,
            epoch: 0,
            changed: Instant::now(),
            ever_throttled: learned.is_some_and(|f| f < 1.0),
            wall: f64::INFINITY,
        };
        Self {
            rate,
            burst,
            ceiling,
            state: Mutex::new(state),
            line: tokio::sync::Mutex::new(()),
            given: AtomicU64::new(0),
        }
    }

    /// Waits in line for a permit; where the next token alone is further off than `patience`, answers how far.
    pub async fn acquire(&self, patience: Duration) -> Result<(Permit, Turn<'_>), Duration> {
        let turn = Turn(self.line.lock().await);
        loop {
            let (governor, epoch) = {
                let state = self.lock();
                (Arc::clone(&state.governor), state.epoch)
            };
            match governor.check() {
                Ok(()) => {
                    self.given.fetch_add(1, Relaxed);
                    return Ok((Permit { epoch }, turn));
                }
                Err(not_until) => {
                    let wait = not_until.wait_time_from(TokioClock.now());
                    if wait > patience {
                        return Err(wait);
                    }
                    // A cut may come while we wait; asking again finds the slower bucket.
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// AWS took the call: after a while without a throttle, the factor rises a little.
    pub fn succeeded(&self, _permit: Permit) {
        let mut state = self.lock();
        if state.factor >= self.ceiling || state.changed.elapsed() < RAISE_EVERY {
            return;
        }
        let raised = if state.ever_throttled {
            state.factor + RAISE * self.ceiling.min(state.factor.max(1.0))
        } else {
            state.factor * 1.25
        };
        let near = NEAR_THE_WALL * state.wall;
        state.factor = if raised <= near {
            raised
        } else if state.factor < near {
            near
        } else if state.changed.elapsed() < TRY_EVERY {
            return;
        } else {
            state.factor * TRY
        }
        .min(self.ceiling);
        if state.factor > state.wall * PAST_THE_WALL {
            state.wall = f64::INFINITY;
        }
        state.changed = Instant::now();
        self.rebuild(&mut state);
    }

    /// AWS throttled the call: the factor is cut, once for all calls that were under way. Answers whether this was
    /// the news.
    pub fn throttled(&self, permit: Permit) -> bool {
        let mut state = self.lock();
        if permit.epoch != state.epoch {
            return false;
        }
        state.wall = state.factor;
        state.factor = (state.factor * CUT).max(FLOOR);
        state.epoch += 1;
        state.changed = Instant::now();
        state.ever_throttled = true;
        self.rebuild(&mut state);
        true
    }

    /// Takes every token there is.
    pub(super) fn drain(&self) {
        self.rebuild(&mut self.lock());
    }

    /// The learned factor, where it differs from the assumption.
    pub fn learned(&self) -> Option<f64> {
        let state = self.lock();
        ((state.factor - 1.0).abs() > f64::EPSILON || state.ever_throttled).then_some(state.factor)
    }

    /// What is left of the rate, whether it was learned or assumed.
    pub fn factor(&self) -> f64 {
        self.lock().factor
    }

    /// Calls a second at present.
    pub fn rate(&self) -> f64 {
        self.rate * self.lock().factor
    }

    /// How long the permits that it gave take at its present rate: what this bucket has been asked for so far.
    pub fn worked(&self) -> Duration {
        let given = f64::from(u32::try_from(self.given.load(Relaxed)).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(given / self.rate()).unwrap_or(Duration::MAX)
    }

    /// Governor's quotas are fixed, so a new rate is a new limiter: an empty one, for AWS's bucket is not full either.
    /// Where the rate turned out lower than published, the bucket is taken to be smaller by as much.
    fn rebuild(&self, state: &mut State) {
        let burst = self.burst * state.factor.min(1.0);
        let fresh = governor(self.rate * state.factor, burst);
        let all = NonZeroU32::new(whole(burst)).unwrap_or(NonZeroU32::MIN);
        let _emptied = fresh.check_n(all);
        state.governor = Arc::new(fresh);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn governor(rate: f64, burst: f64) -> Governor {
    let period = Duration::from_secs_f64((1.0 / rate.max(1e-4)).max(1e-9));
    let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
    RateLimiter::direct_with_clock(
        quota.allow_burst(NonZeroU32::new(whole(burst)).unwrap_or(NonZeroU32::MIN)),
        TokioClock,
    )
}

/// The whole part of a burst, at least one: a call cannot be made by halves.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded and positive")]
fn whole(burst: f64) -> u32 {
    burst.clamp(1.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Owner;

    fn limit(rate: LimitRate) -> Limit {
        Limit {
            group: "g".into(),
            rate,
            shared: true,
            every_region: false,
            owner: Owner::Account,
            source: String::new(),
        }
    }
    fn known(rate: f64, burst: f64) -> Limit {
        limit(LimitRate::Known { rate, burst, by_region: [("eu-west-1".to_owned(), 2.0)].into() })
    }
    const PATIENT: Duration = Duration::from_secs(3600);

    async fn calls_within(bucket: &Bucket, time: Duration) -> u32 {
        let end = Instant::now() + time;
        let mut calls = 0;
        while let Ok(Ok(_)) = tokio::time::timeout_at(end, bucket.acquire(PATIENT)).await {
            calls += 1;
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_the_share_of_rate_and_burst_is_used() {
        let bucket = Bucket::new(&known(10.0, 20.0), "us-east-1", 0.5, None);
        let calls = calls_within(&bucket, Duration::from_secs(100)).await;
        assert!(
            (480..=510).contains(&calls),
            "{calls} calls in 100 s at half of 10 a second with a burst of half of 20"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_regions_own_rate_counts_there() {
        let calls =
            calls_within(&Bucket::new(&known(10.0, 20.0), "eu-west-1", 1.0, None), Duration::from_secs(50)).await;
        assert!((95..=103).contains(&calls), "{calls}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_cuts_once_per_event_and_time_heals_it() {
        let bucket = Bucket::new(&known(10.0, 10.0), "us-east-1", 1.0, None);
        let (first, _) = bucket.acquire(PATIENT).await.expect("a token");
        let (second, _) = bucket.acquire(PATIENT).await.expect("a token");
        let before = bucket.rate();
        assert!(bucket.throttled(first));
        assert!(!bucket.throttled(second), "the second was under way already");
        assert!((bucket.rate() - before * CUT).abs() < 1e-9);
        for _ in 0..1_000 {
            let (permit, _) = bucket.acquire(PATIENT).await.expect("a token");
            bucket.succeeded(permit);
        }
        assert!((bucket.rate() - before).abs() < 1e-9, "published rates are reached again, and never passed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unpublished_limit_grows_until_it_is_throttled() {
        let bucket = Bucket::new(&limit(LimitRate::Unknown { start: 10.0 }), "us-east-1", 1.0, None);
        let start = bucket.rate();
        for _ in 0..500 {
            let (permit, _) = bucket.acquire(PATIENT).await.expect("a token");
            bucket.succeeded(permit);
        }
        assert!(bucket.rate() > 2.0 * start);
        let kept = Bucket::new(&limit(LimitRate::Unknown { start: 10.0 }), "us-east-1", 1.0, bucket.learned());
        assert!((kept.rate() - bucket.rate()).abs() < 1e-9, "what was learned is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_told_instead_of_waited() {
        let bucket = Bucket::new(&known(0.01, 1.0), "us-east-1", 1.0, None);
        let _ = bucket.acquire(PATIENT).await.expect("the first");
        let wait = bucket.acquire(Duration::from_secs(10)).await.expect_err("the second is 100 s off");
        assert!(wait > Duration::from_secs(90));
    }

    /// AWS's side: a bucket of so many tokens a second, full at first.
    struct Aws {
        rate: f64,
        tokens: f64,
        at: Instant,
    }
    impl Aws {
        fn takes(&mut self) -> bool {
            let now = Instant::now();
            self.tokens = (self.tokens + (now - self.at).as_secs_f64() * self.rate).min(self.rate.max(1.0));
            self.at = now;
            let granted = self.tokens >= 1.0;
            self.tokens -= f64::from(u8::from(granted));
            granted
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_half_of_what_is_published_is_learned_within_a_minute_and_kept_to() {
        let bucket = Bucket::new(&known(15.0, 15.0), "us-east-1", 1.0, None);
        let mut aws = Aws { rate: 7.5, tokens: 7.5, at: Instant::now() };
        // Calls and throttled ones, in the first minute and in the nine after it.
        let (mut tally, began) = ([(0_u32, 0_u32); 2], Instant::now());
        while began.elapsed() < Duration::from_secs(600) {
            let (permit, _) = bucket.acquire(PATIENT).await.expect("a token");
            let part = &mut tally[usize::from(began.elapsed() >= Duration::from_secs(60))];
            part.0 += 1;
            if aws.takes() {
                bucket.succeeded(permit);
            } else {
                part.1 += 1;
                bucket.throttled(permit);
            }
        }
        let [(_, first), (calls, throttled)] = tally;
        assert!(first <= 15, "{first} throttled in the first minute");
        assert!(f64::from(throttled) <= 0.006 * f64::from(calls), "{throttled} of {calls} calls throttled");
        assert!(f64::from(calls - throttled) >= 0.90 * 7.5 * 540.0, "{calls} calls in nine minutes at 7.5 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_somebody_else_held_for_a_while_is_used_again_within_minutes() {
        let bucket = Bucket::new(&known(15.0, 15.0), "us-east-1", 1.0, None);
        let published = bucket.rate();
        let mut aws = Aws { rate: 1.5, tokens: 1.5, at: Instant::now() };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(360) {
            // For a minute, somebody else leaves a tenth of it.
            if began.elapsed() > Duration::from_secs(60) {
                aws.rate = 15.0;
            }
            let (permit, _) = bucket.acquire(PATIENT).await.expect("a token");
            if aws.takes() {
                bucket.succeeded(permit);
            } else {
                bucket.throttled(permit);
            }
        }
        assert!((bucket.rate() - published).abs() < 1e-9, "{} of {published} calls a second", bucket.rate());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_held_up_after_their_permit_are_not_sent_all_at_once() {
        let bucket = Arc::new(Bucket::new(&known(10.0, 10.0), "us-east-1", 1.0, None));
        let slots = Arc::new(tokio::sync::Semaphore::new(1));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let busy = Arc::clone(&slots).acquire_owned().await.expect("open");
        for _ in 0..200 {
            let (bucket, slots, sent) = (Arc::clone(&bucket), Arc::clone(&slots), Arc::clone(&sent));
            tokio::spawn(async move {
                let (_, turn) = bucket.acquire(PATIENT).await.expect("a token");
                let _slot = slots.acquire().await.expect("open");
                drop(turn);
                sent.lock().expect("lock").push(Instant::now());
            });
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        drop(busy);
        let free = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let sent = sent.lock().expect("lock");
        let at_once = sent.iter().filter(|at| **at - free < Duration::from_secs(1)).count();
        assert!((10..=20).contains(&at_once), "{at_once} calls in a second of a bucket of 10 and 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_a_lower_limits_smaller_bucket_is_not_overrun() {
        let bucket = Bucket::new(&known(20.0, 20.0), "us-east-1", 1.0, None);
        for _ in 0..2 {
            let (permit, _) = bucket.acquire(PATIENT).await.expect("a token");
            bucket.throttled(permit);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let at_once = calls_within(&bucket, Duration::from_millis(1)).await;
        assert!((5..=10).contains(&at_once), "{at_once} calls at once at half of a burst of 20");
    }
}
