//! Who helps whom: the shards that a worker with little to do asks for, and those that a loaded one gives. Pure.

use super::left::Left;
use fleetscan_proto::WorkerReport;
use std::collections::{BTreeMap, BTreeSet};

/// Tasks that must wait in a shard for its move to be worth the new sessions that it costs.
const WORTH_MOVING: u64 = 8;

/// What a worker at which little waits asks for: the fullest shards of the one that has most to do, until half of what
/// waits there beyond its own is asked for; but for those that it leaves to another version's workers.
pub(super) fn wishes(me: &str, mine: u64, others: &[WorkerReport], left: &Left) -> BTreeSet<u16> {
    let waiting = |other: &WorkerReport| other.shards.values().sum::<u64>();
    // What waits at one that has room for it, it is about to take: deferred tasks, for one, become due many at once.
    let is_loaded = |other: &WorkerReport| 2 * other.in_work >= u64::from(other.concurrency);
    let givers = others.iter().filter(|other| other.worker != me && other.shards.len() > 1 && is_loaded(other));
    let most = givers.max_by_key(|other| waiting(other));
    let Some(most) = most else { return BTreeSet::new() };
    let known = most.shards.iter().filter(|(shard, _)| !left.leaves(me, **shard));
    half(known.map(|(shard, n)| (*shard, *n)), waiting(most).saturating_sub(mine))
}

/// Which of the shards that others ask for a worker gives: no more than half of what waits at it, and never its last.
/// `free` are its shards that may go, with what waits in each; `waiting` is what waits in all that it has.
pub(super) fn gifts(asked: &BTreeSet<u16>, free: &BTreeMap<u16, u64>, waiting: u64) -> BTreeSet<u16> {
    let mut gifts = half(free.iter().filter(|(shard, _)| asked.contains(shard)).map(|(s, n)| (*s, *n)), waiting);
    if gifts.len() >= free.len() {
        gifts.pop_last();
    }
    gifts
}

/// The fullest of these shards, until half of `waiting` waits in them; those that are not worth moving are left out.
fn half(shards: impl Iterator<Item = (u16, u64)>, waiting: u64) -> BTreeSet<u16> {
    let mut shards: Vec<(u64, u16)> = shards.map(|(shard, n)| (n, shard)).filter(|(n, _)| *n >= WORTH_MOVING).collect();
    shards.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken = 0;
    let within = |(n, _): &(u64, u16)| {
        let fits = taken == 0 || taken + n <= waiting / 2;
        taken += n;
        fits && *n < waiting
    };
    shards.into_iter().take_while(within).map(|(_, shard)| shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(worker: &str, shards: &[(u16, u64)]) -> WorkerReport {
        serde_json::from_value(serde_json::json!({
            "worker": worker, "version": "1", "catalogue": "c", "started_at": "2026-01-01T00:00:00Z", "concurrency": 4,
            "held": 4, "in_work": 4, "calls": 0, "throttled": 0, "records": 0, "calls_in_flight": 0, "waited_ms": 0,
            "shards": shards.iter().map(|(shard, n)| (shard.to_string(), *n)).collect::<BTreeMap<_, _>>(),
            "wants": [], "draining": false,
        }))
        .expect("a report")
    }

    #[test]
    fn half_of_what_waits_at_the_busiest_is_asked_for() {
        let others = [
            report("me", &[(0, 500), (1, 500)]),
            report("a", &[(2, 30), (3, 20)]),
            report("b", &[(4, 40), (5, 60), (6, 30), (7, 30), (8, 2)]),
        ];
        assert_eq!(wishes("me", 0, &others, &Left::default()), [5].into(), "60 and 40 would be more than half of 162");
        assert_eq!(wishes("b", 0, &others[..2], &Left::default()), [1].into());
        assert!(wishes("me", 0, &[report("a", &[(2, 30)])], &Left::default()).is_empty(), "its only shard stays");
        assert!(
            wishes("me", 0, &[report("a", &[(2, 30), (3, 0)])], &Left::default()).is_empty(),
            "all that it has to do stays"
        );
        assert!(
            wishes("me", 0, &[report("a", &[(2, 3), (3, 3)])], &Left::default()).is_empty(),
            "too little for new sessions"
        );
        let mut rested = report("a", &[(2, 30), (3, 20)]);
        rested.in_work = 1;
        assert!(wishes("me", 0, &[rested], &Left::default()).is_empty(), "it has room for what waits");
        let uneven = [report("a", &[(2, 30), (3, 20), (4, 10)])];
        assert_eq!(wishes("me", 20, &uneven, &Left::default()), [2].into(), "of the 40 that it has more, about half");
        assert!(wishes("me", 40, &uneven, &Left::default()).is_empty(), "what it has more is less than any shard");
    }

    #[test]
    fn a_giver_keeps_half_and_one_shard() {
        let free: BTreeMap<u16, u64> = [(1, 10), (2, 10), (3, 10), (4, 10)].into();
        assert_eq!(gifts(&[1, 2, 3, 4].into(), &free, 40).len(), 2);
        assert_eq!(gifts(&[9].into(), &free, 40).len(), 0);
        assert!(gifts(&[1].into(), &[(1, 10)].into(), 40).is_empty(), "its last stays");
    }
}
