//! Which shards workers of a version leave to those of another, because tasks lie in them that they do not know. Pure.

use fleetscan_proto::WorkerReport;
use std::collections::{BTreeMap, BTreeSet};

/// What makes workers leave the same tasks: the wire version and the catalogue that they know.
type Version = (u32, String);

/// What each worker leaves to others: what any of its own version has met counts for all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    versions: BTreeMap<String, Version>,
    shards: BTreeMap<Version, BTreeSet<u16>>,
}

impl Left {
    /// As the workers themselves report it.
    pub(super) fn of(reports: &[WorkerReport]) -> Self {
        let mut left = Left::default();
        for report in reports {
            let version = (report.wire, report.catalogue.clone());
            if !report.leaves.is_empty() {
                left.shards.entry(version.clone()).or_default().extend(&report.leaves);
            }
            left.versions.insert(report.worker.clone(), version);
        }
        left
    }

    /// Whether a worker leaves a shard to others.
    pub(super) fn leaves(&self, worker: &str, shard: u16) -> bool {
        let shards = self.versions.get(worker).and_then(|version| self.shards.get(version));
        shards.is_some_and(|shards| shards.contains(&shard))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::assignment::assign, *};

    fn report(worker: &str, wire: u32, catalogue: &str, leaves: &[u16]) -> WorkerReport {
        serde_json::from_value(serde_json::json!({
            "worker": worker, "version": "1", "catalogue": catalogue, "wire": wire, "leaves": leaves,
            "started_at": "2026-01-01T00:00:00Z", "concurrency": 4, "held": 0, "in_work": 0, "calls": 0, "shards": {},
        }))
        .expect("a report")
    }

    #[test]
    fn what_one_of_a_version_has_met_all_of_it_leave_to_the_others() {
        let reports = [
            report("a", 1, "old", &[3]),
            report("b", 1, "old", &[]),
            report("c", 1, "new", &[]),
            report("d", 2, "old", &[]),
        ];
        let left = Left::of(&reports);
        assert!(left.leaves("a", 3) && left.leaves("b", 3));
        assert!(!left.leaves("a", 4) && !left.leaves("c", 3) && !left.leaves("d", 3) && !left.leaves("nobody", 3));
    }

    #[test]
    fn shards_go_to_those_who_know_what_lies_in_them_however_few_they_are() {
        let all: Vec<u16> = (0..8).collect();
        let reports = [report("old-1", 1, "old", &all), report("old-2", 1, "old", &[]), report("new", 1, "new", &[])];
        let left = Left::of(&reports);
        let assigned = assign(&["old-1", "old-2", "new"], 8, |worker, shard| left.leaves(worker, shard));
        assert!(assigned.len() == 8 && assigned.values().all(|worker| *worker == "new"), "{assigned:?}");
        // Where nobody knows them, they stay with somebody who gives their tasks back.
        let nobody = assign(&["old-1", "old-2"], 8, |worker, shard| left.leaves(worker, shard));
        assert_eq!(nobody, assign(&["old-1", "old-2"], 8, |_, _| false));
    }
}
