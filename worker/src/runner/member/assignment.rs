//! Which worker each shard prefers. Pure, and the same in every worker that sees the same names.

use std::collections::BTreeMap;

/// The preferred worker of each shard: the one that scores highest for it (rendezvous hashing), of those that have not
/// their even part yet. A worker that joins or leaves moves little more than its own part. Who `leaves` a shard to
/// others does not get it while there are others, though one of them get more than its part.
pub(super) fn assign<'a>(
    workers: &[&'a str],
    shards: u16,
    leaves: impl Fn(&str, u16) -> bool,
) -> BTreeMap<u16, &'a str> {
    if workers.is_empty() {
        return BTreeMap::new();
    }
    let most = usize::from(shards).div_ceil(workers.len());
    let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
    (0..shards)
        .filter_map(|shard| {
            let mut able: Vec<&str> = workers.iter().filter(|worker| !leaves(worker, shard)).copied().collect();
            if able.is_empty() {
                able = workers.to_vec();
            }
            let load = |worker: &str| loads.get(worker).copied().unwrap_or_default();
            let free = able.iter().filter(|worker| load(worker) < most);
            let best = free.max_by_key(|worker| (score(worker, shard), **worker));
            let best = best.or_else(|| able.iter().min_by_key(|worker| load(worker))).copied()?;
            *loads.entry(best).or_default() += 1;
            Some((shard, best))
        })
        .collect()
}

/// FNV-1a with a final mix.
fn score(worker: &str, shard: u16) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in worker.bytes().chain(shard.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("worker-{i}")).collect()
    }
    fn assigned(names: &[String], shards: u16) -> BTreeMap<u16, String> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assign(&names, shards, |_, _| false).into_iter().map(|(shard, worker)| (shard, worker.to_owned())).collect()
    }

    #[test]
    fn every_shard_has_one_worker_and_every_worker_its_even_part() {
        for n in 1..=40 {
            let assigned = assigned(&names(n), 32);
            assert_eq!(assigned.len(), 32);
            let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
            for worker in assigned.values() {
                *loads.entry(worker).or_default() += 1;
            }
            assert!(loads.values().all(|load| *load <= 32_usize.div_ceil(n)), "{n} workers: {loads:?}");
        }
        assert!(assign(&[], 32, |_, _| false).is_empty());
    }

    #[test]
    fn a_worker_that_joins_moves_little_more_than_its_part() {
        let (before, after) = (assigned(&names(7), 64), assigned(&names(8), 64));
        let moved = before.iter().filter(|(shard, worker)| after[shard] != **worker).count();
        assert!((8..=24).contains(&moved), "{moved} of 64 moved, 8 would be its part");
    }
}
