//! Looks at the fleet every two seconds, and remembers the last minutes.

use super::{Live, Overview, Point, ScanView};
use crate::fleet;
use fleetscan_proto::{AccountState, StoreError, WorkerReport};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the fleet is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often all accounts are counted.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(30);
/// Points that are remembered: ten minutes.
const POINTS: usize = 300;
/// A scan's pace is that of so many looks: two minutes.
const LOOKS: usize = 60;
/// Scans that are shown beside those under way.
const ENDED_SHOWN: usize = 5;
/// Scans that are shown at most.
const SHOWN: usize = 40;

/// Until nobody keeps `live` any more.
pub(super) async fn run(live: Weak<Live>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler::default();
    loop {
        ticks.tick().await;
        let Some(live) = live.upgrade() else { return };
        let overview = match sampler.look(&live).await {
            Ok(overview) => overview,
            // Whoever looks learns it from the page; the log has it from the coordinator itself.
            Err(error) => {
                let last = live.now.borrow().as_ref().clone();
                Overview { at: live.clock.now(), trouble: Some(error.to_string()), ..last }
            }
        };
        live.now.send_replace(Arc::new(overview));
    }
}

/// What the workers had done when they were last looked at.
#[derive(Default)]
struct Sampler {
    last: Option<Instant>,
    workers: HashMap<(String, Timestamp), [u64; 3]>,
    /// Cells done by scan, at the last looks.
    scans: HashMap<String, VecDeque<(Instant, u64)>>,
    points: VecDeque<Point>,
    accounts: BTreeMap<&'static str, u64>,
    counted: Option<Instant>,
}

impl Sampler {
    async fn look(&mut self, live: &Live) -> Result<Overview, StoreError> {
        let (now, at) = (Instant::now(), live.clock.now());
        let workers = live.fleet.workers().await?;
        let leader = live.fleet.leases("coordinator").await?.into_iter().next().map(|lease| lease.holder);
        let (scans, ended) = self.scans(live, now, at).await?;
        let mut suspects = 0;
        for scan in scans.iter().filter(|scan| scan.is_under_way()) {
            let Ok(id) = scan.id.parse() else { continue };
            suspects += live.store.open_denials(&id, None).await?.len() as u64;
        }
        if self.counted.is_none_or(|at| at.elapsed() >= ACCOUNTS_EVERY) {
            self.accounts = AccountState::ALL.map(|state| (state.as_str(), 0)).into();
            let desk = live.connections();
            let mut walk = desk.walk();
            while let Some(page) = walk.next().await? {
                for one in page {
                    *self.accounts.entry(one.state().as_str()).or_default() += 1;
                }
            }
            self.counted = Some(now);
        }
        self.point(&workers, ended, now, at);
        let breaker = fleet::breaker(live.fleet.as_ref()).await?.filter(|breaker| breaker.open);
        Ok(Overview {
            at,
            trouble: None,
            leader,
            breaker_open: breaker.is_some(),
            breaker_why: breaker.and_then(|breaker| breaker.why),
            suspects,
            scans,
            workers,
            accounts: self.accounts.clone(),
            history: self.points.iter().copied().collect(),
        })
    }

    /// The scans to show, and how many cells ended since the last look.
    async fn scans(&mut self, live: &Live, now: Instant, at: Timestamp) -> Result<(Vec<ScanView>, u64), StoreError> {
        let (mut views, mut ended, mut over) = (Vec::new(), 0, 0);
        let mut looks = HashMap::new();
        for row in live.store.scans().await? {
            let under_way = row.state.is_under_way();
            over += usize::from(!under_way);
            if (!under_way && over > ENDED_SHOWN) || views.len() >= SHOWN {
                continue;
            }
            let counts = live.store.counts(&row.spec.id).await?;
            let id = row.spec.id.to_string();
            let mut seen = self.scans.remove(&id).unwrap_or_default();
            let done: u64 = counts.outcomes.values().sum();
            ended += seen.back().map_or(0, |(_, before)| done.saturating_sub(*before));
            seen.push_back((now, done));
            if seen.len() > LOOKS {
                seen.pop_front();
            }
            views.push(ScanView::new(&row, &counts, pace(&seen), at));
            looks.insert(id, seen);
        }
        self.scans = looks;
        Ok((views, ended))
    }

    fn point(&mut self, workers: &[WorkerReport], ended: u64, now: Instant, at: Timestamp) {
        let counted = |worker: &WorkerReport| [worker.calls, worker.throttled, worker.records];
        let mut sums = [0_u64; 3];
        let mut known = HashMap::new();
        for worker in workers {
            let key = (worker.worker.clone(), worker.started_at);
            let now = counted(worker);
            // One that is met for the first time may have worked for hours; what it did before says nothing of now.
            let before = self.workers.get(&key).copied().unwrap_or(now);
            for (sum, (now, before)) in sums.iter_mut().zip(now.iter().zip(before)) {
                *sum += now.saturating_sub(before);
            }
            known.insert(key, now);
        }
        self.workers = known;
        let Some(last) = self.last.replace(now) else { return };
        let seconds = now.duration_since(last).as_secs_f64().max(0.001);
        let a_second = |count: u64| count as f64 / seconds;
        self.points.push_back(Point {
            at,
            calls: a_second(sums[0]),
            throttled: a_second(sums[1]),
            records: a_second(sums[2]),
            cells: a_second(ended),
        });
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
    }
}

/// Cells a second over the last looks.
fn pace(seen: &VecDeque<(Instant, u64)>) -> Option<f64> {
    let ((first, before), (last, now)) = (seen.front()?, seen.back()?);
    let took = last.duration_since(*first).as_secs_f64();
    (took >= 4.0).then(|| now.saturating_sub(*before) as f64 / took)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, calls: u64) -> WorkerReport {
        WorkerReport {
            worker: name.to_owned(),
            version: String::new(),
            catalogue: String::new(),
            wire: 1,
            leaves: Default::default(),
            started_at: Timestamp::UNIX_EPOCH,
            concurrency: 1,
            held: 0,
            in_work: 0,
            calls,
            throttled: 0,
            records: 0,
            calls_in_flight: 0,
            waited_ms: 0,
            shards: BTreeMap::new(),
            wants: Vec::new(),
            draining: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_comes_or_goes_makes_no_leap() {
        let mut sampler = Sampler::default();
        let at = Timestamp::UNIX_EPOCH;
        for workers in [vec![worker("a", 100)], vec![worker("a", 120), worker("b", 9_000)], vec![worker("b", 9_010)]] {
            sampler.point(&workers, 4, Instant::now(), at);
            tokio::time::advance(EVERY).await;
        }
        let calls: Vec<f64> = sampler.points.iter().map(|point| point.calls).collect();
        assert_eq!(calls, [10.0, 5.0]);
        assert_eq!(sampler.points[0].cells, 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_last_minutes_are_remembered() {
        let mut sampler = Sampler::default();
        for n in 0..1_000 {
            sampler.point(&[worker("a", n)], 0, Instant::now(), Timestamp::UNIX_EPOCH);
            tokio::time::advance(EVERY).await;
        }
        assert_eq!(sampler.points.len(), POINTS);
    }
}
