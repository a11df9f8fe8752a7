//! Token buckets, as AWS keeps them: by owner, region, service and group or operation.

use crate::{config::Limits, dice::Dice, region::RegionId, world::AccountIndex};
use fleetscan_proto::catalogue::{LimitRate, Operation, Owner, Scope, Service};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BucketKey {
    /// [`HUB`] for the hub's own.
    owner: AccountIndex,
    region: RegionId,
    service: u16,
    /// Index of the limit, and of the operation where each has a bucket of its own.
    limit: u16,
    operation: u16,
}

const HUB: AccountIndex = AccountIndex::MAX;
/// Stands for the operation where all of a group share a bucket.
const SHARED: u16 = u16::MAX;
const SHARDS: usize = 64;
/// Buckets in a shard before the full ones are swept out (a full bucket is as good as none).
const SWEEP_AT: usize = 2_048;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    rate: f64,
    burst: f64,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        self.at = now;
    }
}

/// All buckets.
#[derive(Debug)]
pub(crate) struct Buckets {
    limits: Limits,
    seed: u64,
    shards: Vec<Mutex<HashMap<BucketKey, Bucket>>>,
}

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw<'a> {
    /// `None`: the hub itself.
    pub(crate) account: Option<AccountIndex>,
    pub(crate) region: RegionId,
    pub(crate) service: &'a Service,
    pub(crate) service_index: u16,
    pub(crate) operation: &'a Operation,
}

impl Buckets {
    pub(crate) fn new(limits: Limits, seed: u64) -> Self {
        Self { limits, seed, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Takes a token; false: throttled.
    pub(crate) fn take(&self, draw: &Draw<'_>) -> bool {
        let scale = match self.limits {
            Limits::Off => return true,
            Limits::Published => 1.0,
            Limits::Scaled(factor) => factor,
        };
        let limit = &draw.service.limits[draw.operation.limit];
        let key = BucketKey {
            owner: match (limit.owner, draw.account) {
                (Owner::Hub, _) | (_, None) => HUB,
                (Owner::Account, Some(account)) => account,
                // Customers of the simulation have three accounts each: that is their organisation.
                (Owner::Organization, Some(account)) => account / 3,
            },
            region: match draw.service.scope {
                _ if limit.every_region => RegionId::GLOBAL,
                Scope::Global { .. } if draw.service.id != "s3" => RegionId::GLOBAL,
                _ => draw.region,
            },
            service: draw.service_index,
            limit: draw.operation.limit as u16,
            operation: if limit.shared { SHARED } else { draw.operation.index as u16 },
        };
        self.take_from(key, || self.rate(&limit.rate, draw.region, &key), scale)
    }

    /// Takes one of the hub's tokens for STS: 600 a second in a region, all operations together.
    /// Source: IAM User Guide, "IAM and AWS STS quotas".
    pub(crate) fn take_sts(&self, region: RegionId) -> bool {
        let scale = match self.limits {
            Limits::Off => return true,
            Limits::Published => 1.0,
            Limits::Scaled(factor) => factor,
        };
        let key = BucketKey { owner: HUB, region, service: u16::MAX, limit: 0, operation: SHARED };
        self.take_from(key, || (600.0, 600.0), scale)
    }

    fn take_from(&self, key: BucketKey, rate: impl FnOnce() -> (f64, f64), scale: f64) -> bool {
        let shard = shard_of(&key);
        let now = Instant::now();
        let mut buckets = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= SWEEP_AT && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.burst
            });
        }
        let bucket = buckets.entry(key).or_insert_with(|| {
            let (rate, burst) = rate();
            let burst = (burst * scale).max(1.0);
            Bucket { tokens: burst, at: now, rate: rate * scale, burst }
        });
        bucket.refill(now);
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    /// Rate and burst. Where AWS publishes none, two to four times what a careful caller begins with.
    fn rate(&self, rate: &LimitRate, region: RegionId, key: &BucketKey) -> (f64, f64) {
        match rate {
            LimitRate::Known { rate, burst, by_region } => match by_region.get(region.name()) {
                Some(here) => (*here, (burst / rate * here).max(1.0)),
                None => (*rate, *burst),
            },
            LimitRate::Unknown { start } => {
                let dice = Dice::new(self.seed).text("hidden rate").number(u64::from(key.service));
                let factor = 2.0 + 2.0 * dice.number(u64::from(key.limit)).fraction();
                (start * factor, (start * factor).max(1.0))
            }
        }
    }

    /// Fills every bucket.
    pub(crate) fn reset(&self) {
        self.shards.iter().for_each(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).clear());
    }
}

fn shard_of(key: &BucketKey) -> usize {
    let word = u64::from(key.owner) << 32
        ^ u64::from(key.region.0) << 24
        ^ u64::from(key.service) << 12
        ^ u64::from(key.operation)
        ^ u64::from(key.limit) << 8;
    Dice::new(word).below(SHARDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;
    use std::time::Duration;

    const TEXT: &str = r#"
        service = "x"
        title = "X"
        protocol = "rest-json"
        scope = "regional"
        [[limit]]
        group = "shared"
        rate = 15
        burst = 20
        shared = true
        source = "s"
        [[limit]]
        group = "own"
        rate = 2
        by_region = { "eu-west-1" = 8 }
        source = "s"
        [[limit]]
        group = "hidden"
        start = 10
        every_region = true
        source = "s"
        [[operation]]
        name = "ListA"
        [[operation]]
        name = "ListB"
        [[operation]]
        name = "ListC"
        limit = "own"
        [[operation]]
        name = "ListD"
        limit = "own"
        [[operation]]
        name = "ListE"
        limit = "hidden"
    "#;

    struct Asked {
        buckets: Buckets,
        catalogue: Catalogue,
    }
    impl Asked {
        fn new(limits: Limits) -> Self {
            let catalogue = Catalogue::from_files([("x.toml", TEXT)]).expect("sound");
            Self { buckets: Buckets::new(limits, 1), catalogue }
        }
        fn take(&self, account: AccountIndex, region: &str, operation: &str) -> bool {
            let service = &self.catalogue.services()[0];
            let operation = service.operation(operation).expect("there");
            let region = RegionId::parse(region).expect("a region");
            self.buckets.take(&Draw { account: Some(account), region, service, service_index: 0, operation })
        }
        fn count(&self, account: AccountIndex, region: &str, operation: &str) -> usize {
            (0..1_000).take_while(|_| self.take(account, region, operation)).count()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_hold_their_burst_and_refill_at_their_rate() {
        let asked = Asked::new(Limits::Published);
        assert_eq!(asked.count(1, "us-east-1", "ListA"), 20);
        assert!(!asked.take(1, "us-east-1", "ListB"), "the group shares one bucket");
        assert!(asked.take(2, "us-east-1", "ListA"), "another account has its own");
        assert!(asked.take(1, "us-east-2", "ListA"), "another region has its own");
        tokio::time::advance(Duration::from_micros(66_700)).await;
        assert_eq!(asked.count(1, "us-east-1", "ListB"), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(asked.count(1, "us-east-1", "ListA"), 15);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(asked.count(1, "us-east-1", "ListA"), 20, "no more than the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn operations_regions_and_hidden_rates_are_kept_apart() {
        let asked = Asked::new(Limits::Published);
        assert_eq!(asked.count(1, "us-east-1", "ListC"), 2);
        assert_eq!(asked.count(1, "us-east-1", "ListD"), 2, "not shared: each operation has its own");
        assert_eq!(asked.count(1, "eu-west-1", "ListC"), 8, "a rate of the region's own");
        let hidden = asked.count(1, "us-east-1", "ListE");
        assert!((20..=40).contains(&hidden), "{hidden}");
        assert!(!asked.take(1, "eu-west-1", "ListE"), "one bucket for every region");
    }

    #[tokio::test(start_paused = true)]
    async fn limits_can_be_scaled_and_switched_off() {
        assert_eq!(Asked::new(Limits::Scaled(2.0)).count(1, "us-east-1", "ListA"), 40);
        assert_eq!(Asked::new(Limits::Off).count(1, "us-east-1", "ListA"), 1_000);
        let asked = Asked::new(Limits::Published);
        asked.count(1, "us-east-1", "ListA");
        asked.buckets.reset();
        assert!(asked.take(1, "us-east-1", "ListA"));
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_swept_out() {
        let asked = Asked::new(Limits::Published);
        for account in 0..400_000 {
            asked.take(account, "us-east-1", "ListA");
            if account % 1_000 == 0 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        let kept: usize = asked.buckets.shards.iter().map(|s| s.lock().expect("lock").len()).sum();
        assert!(kept <= SHARDS * SWEEP_AT, "{kept}");
    }
}
