//! A worker as one of many: reports, leases its shards, gives them back, helps out, and heeds orders.

mod assignment;
mod helping;
mod left;

use super::Worker;
use crate::guard::Hold;
use assignment::assign;
use fleetscan_proto::{AccountState, Fleet, Orders, ScanId, Shards, StoreError, TaskConsumer, WorkerReport};
use helping::{gifts, wishes};
use jiff::Timestamp;
use left::Left;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every so many beats the queue is asked how much waits in our shards.
const BACKLOG_BEATS: u64 = 2;
/// For so long after it met a task that it leaves to another version's worker, a worker leaves the task's shard as well.
const LEFT_FOR: Duration = Duration::from_secs(600);
/// A shard that is given back stops its calls after so long, should its cells not hand in before.
const CEDE_PATIENCE: Duration = Duration::from_secs(30);
/// Beats with little to do after which a worker offers help: less may be the moment between two pages.
const IDLE_BEATS: u32 = 2;
/// So many times the cells that it works on at once are little to do, where there is room for more of them: help takes
/// ten seconds to come, and whoever asks for it when nothing is left stands idle for them.
const LITTLE: u64 = 4;
/// A shard is not handed on for so long after it was taken, lest it goes round among idle workers.
const SETTLED: Duration = Duration::from_secs(10);
/// A shard that was given to a helper is left to it for so long; if nobody took it by then, its giver does.
const GIVEN: Duration = Duration::from_secs(10);
/// In an account that an operator does not want worked on nothing is begun for so long: until then a coordinator, one that
/// has just taken over included, has ended its cells.
const BARRED_REST: Duration = Duration::from_secs(30);
/// By so much our idea of a lease's end is earlier than the store's.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// A shard's lease as this worker holds it.
struct Leased {
    token: u64,
    hold: Arc<Hold>,
    /// Taken over to help; kept until the fleet changes.
    adopted: bool,
    taken: Instant,
    ceding_since: Option<Instant>,
}

pub(super) struct Member {
    worker: Arc<Worker>,
    fleet: Arc<dyn Fleet>,
    consumer: Arc<dyn TaskConsumer>,
    started_at: Timestamp,
    leased: BTreeMap<u16, Leased>,
    /// Shards that helpers asked for and got, and when.
    given: BTreeMap<u16, Instant>,
    backlog: Vec<u64>,
    /// Shards that were asked for, to help, and when.
    wants: BTreeSet<u16>,
    wants_since: Instant,
    /// Beats in a row in which there was little to do.
    idle: u32,
    others: Vec<WorkerReport>,
    fellows: BTreeSet<String>,
    /// What each of them leaves to others.
    left: Left,
    /// The worker that each shard prefers of these fellows: the same until they change.
    preferred: BTreeMap<u16, String>,
    chosen: BTreeSet<u16>,
    /// The chosen ones of which more is fetched than of the others.
    favoured: BTreeSet<u16>,
    barred_version: Option<u64>,
    beats: u64,
}

impl Member {
    pub(super) fn new(worker: Arc<Worker>, fleet: Arc<dyn Fleet>, consumer: Arc<dyn TaskConsumer>) -> Self {
        let started_at = worker.parts.clock.now();
        Self {
            worker,
            fleet,
            consumer,
            started_at,
            leased: BTreeMap::new(),
            given: BTreeMap::new(),
            backlog: Vec::new(),
            wants: BTreeSet::new(),
            wants_since: Instant::now(),
            idle: 0,
            others: Vec::new(),
            fellows: BTreeSet::new(),
            left: Left::default(),
            preferred: BTreeMap::new(),
            chosen: BTreeSet::new(),
            favoured: BTreeSet::new(),
            barred_version: None,
            beats: 0,
        }
    }

    /// Beats until told to leave; then gives everything back.
    pub(super) async fn run(mut self, leave: CancellationToken) {
        let mut beats = tokio::time::interval(self.worker.config.beat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = leave.cancelled() => break,
                _ = beats.tick() => {}
            }
            match self.beat().await {
                Ok(()) => self.worker.beat_went_well(),
                Err(StoreError::Lost(why)) => {
                    self.worker.give_up(format!("the store has lost its memory: {why}"));
                    return;
                }
                Err(error) => tracing::warn!(error = %error, "member.beat_failed: leases end unless the store is back"),
            }
        }
        self.say_goodbye().await;
    }

    async fn beat(&mut self) -> Result<(), StoreError> {
        self.beats += 1;
        self.renew().await?;
        let orders = self.fleet.orders().await?;
        self.heed(&orders).await?;
        if self.beats % BACKLOG_BEATS == 1 {
            // While the broker is away, what it last said must do.
            if let Ok(backlog) = self.worker.parts.queue.backlog().await {
                self.backlog = backlog;
            }
        }
        self.worker.desk.leave_in(self.consumer.take_newer());
        if orders.running.is_empty() {
            self.worker.desk.left_within(Duration::ZERO);
        }
        let report = self.report();
        self.fleet.report(&report, self.worker.config.lease).await?;
        self.others = self.fleet.workers().await?;
        let fellows: BTreeSet<String> = self.others.iter().filter(|w| !w.draining).map(|w| w.worker.clone()).collect();
        let left = Left::of(&self.others);
        if fellows != self.fellows {
            // The fleet changed: who helped out gives back, and each shard goes where it is preferred.
            self.leased.values_mut().for_each(|leased| leased.adopted = false);
            self.given.clear();
        }
        if fellows != self.fellows || left != self.left {
            let names: Vec<&str> = fellows.iter().map(String::as_str).collect();
            let preferred = assign(&names, self.worker.desk.shards(), |worker, shard| left.leaves(worker, shard));
            self.preferred = preferred.into_iter().map(|(shard, worker)| (shard, worker.to_owned())).collect();
            (self.fellows, self.left) = (fellows, left);
        }
        self.cede(&orders).await?;
        self.take().await?;
        self.choose().await;
        self.favour().await;
        Ok(())
    }

    fn name(&self) -> &str {
        &self.worker.config.name
    }

    fn report(&self) -> WorkerReport {
        let stats = self.worker.stats();
        WorkerReport {
            worker: self.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            catalogue: self.worker.parts.catalogue.digest().to_owned(),
            wire: self.consumer.wire_version(),
            started_at: self.started_at,
            concurrency: u32::from(self.worker.config.cells),
            held: self.consumer.held(),
            in_work: self.worker.desk.len() as u64,
            calls: stats.calls,
            throttled: stats.throttled,
            records: stats.records,
            calls_in_flight: stats.calls_in_flight,
            waited_ms: stats.waited_ms,
            shards: self.leased.keys().map(|shard| (*shard, self.waiting(*shard))).collect(),
            wants: self.wants.iter().copied().collect(),
            leaves: self.worker.desk.left_within(LEFT_FOR),
            draining: self.worker.draining.is_cancelled(),
        }
    }

    fn waiting(&self, shard: u16) -> u64 {
        self.backlog.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Prolongs the leases. What cannot be prolonged stops by itself when its time is over.
    async fn renew(&mut self) -> Result<(), StoreError> {
        if self.leased.is_empty() {
            return Ok(());
        }
        let ttl = self.worker.config.lease;
        let asked = Instant::now();
        let leases: Vec<(String, u64)> = self.leased.iter().map(|(s, leased)| (lease_name(*s), leased.token)).collect();
        let held = self.fleet.renew_leases(self.name(), &leases, ttl).await?;
        let shards: Vec<u16> = self.leased.keys().copied().collect();
        for (shard, held) in shards.into_iter().zip(held) {
            if held {
                self.leased[&shard].hold.prolong(asked + ttl.saturating_sub(LEASE_MARGIN));
            } else {
                tracing::warn!(shard, "shard.lost: the lease ended, its work stops");
                self.drop_shard(shard);
            }
        }
        Ok(())
    }

    fn drop_shard(&mut self, shard: u16) {
        self.leased.remove(&shard);
        self.worker.desk.let_go(shard);
        let desk = &self.worker.desk;
        self.worker.accounts.forget(|account| !desk.is_ours(account));
    }

    /// Stops what must not go on.
    async fn heed(&mut self, orders: &Orders) -> Result<(), StoreError> {
        self.worker.caller.switches.heed(&orders.switches);
        let running: HashSet<&ScanId> = orders.running.iter().collect();
        self.worker.desk.keep_scans(|scan| running.contains(scan));
        if self.barred_version == Some(orders.barred_version) {
            return Ok(());
        }
        for account in self.worker.desk.accounts() {
            let status = self.worker.parts.store.account_status(&account).await?;
            let rest = match status.map(|status| status.state) {
                // The probe of a revoked account is how it comes back; its cells were closed when it was revoked.
                Some(AccountState::Revoked) if self.barred_version.is_some() => Duration::ZERO,
                // Its cells are about to be closed, and some may be handed out before they are.
                Some(AccountState::Paused | AccountState::Disconnected) => BARRED_REST,
                _ => continue,
            };
            self.worker.desk.bar(&account, rest);
            self.worker.caller.sessions.forget(&account);
        }
        self.barred_version = Some(orders.barred_version);
        Ok(())
    }

    /// Gives back shards that another prefers to have, or wants because it has nothing to do.
    async fn cede(&mut self, orders: &Orders) -> Result<(), StoreError> {
        let me = self.name().to_owned();
        let wanted = if orders.running.is_empty() { BTreeSet::new() } else { self.gifts() };
        // What another version is to do goes last: the rest of a shard is as well done here.
        let idle: BTreeSet<u16> = self.leased.keys().copied().filter(|shard| self.waiting(*shard) == 0).collect();
        for (shard, leased) in &mut self.leased {
            let moves = match self.left.leaves(&me, *shard) {
                true => idle.contains(shard),
                false => !leased.adopted,
            };
            let elsewhere = moves && self.preferred.get(shard).is_some_and(|worker| *worker != me);
            if leased.ceding_since.is_none() && (elsewhere || wanted.contains(shard)) {
                tracing::info!(shard, helping = !elsewhere, "shard.ceding");
                leased.ceding_since = Some(Instant::now());
                leased.hold.drain();
                if !elsewhere {
                    self.given.insert(*shard, Instant::now());
                }
            }
        }
        let ceding: Vec<(u16, u64, Instant)> =
            self.leased.iter().filter_map(|(s, l)| Some((*s, l.token, l.ceding_since?))).collect();
        for (shard, token, since) in ceding {
            if self.worker.desk.in_work(shard) == 0 {
                self.drop_shard(shard);
                // Its helper has the whole time from now on to take it.
                self.given.entry(shard).and_modify(|given| *given = Instant::now());
                self.choose().await;
                self.fleet.release_lease(&lease_name(shard), self.name(), token).await?;
            } else if since.elapsed() >= CEDE_PATIENCE {
                self.leased[&shard].hold.lose();
            }
        }
        Ok(())
    }

    /// Which of our shards go to those who ask for them.
    fn gifts(&self) -> BTreeSet<u16> {
        let asked = self.others.iter().filter(|other| other.worker != self.name()).flat_map(|other| &other.wants);
        let may_go = |leased: &Leased| leased.ceding_since.is_none() && leased.taken.elapsed() >= SETTLED;
        let free = self.leased.iter().filter(|(_, leased)| may_go(leased)).map(|(s, _)| (*s, self.waiting(*s)));
        gifts(&asked.copied().collect(), &free.collect(), self.all_waiting())
    }

    /// Leases the shards that prefer this worker, those that nobody has, and those that need help.
    async fn take(&mut self) -> Result<(), StoreError> {
        if self.worker.draining.is_cancelled() {
            self.wants.clear();
            return Ok(());
        }
        let mine: Vec<u16> =
            self.preferred.iter().filter(|(_, worker)| **worker == self.name()).map(|(shard, _)| *shard).collect();
        self.given.retain(|shard, given| self.leased.contains_key(shard) || given.elapsed() < GIVEN);
        for shard in mine {
            // One that another took over to help out is left to it until the fleet changes.
            if !self.leased.contains_key(&shard) && !self.given.contains_key(&shard) {
                self.lease(shard, false).await?;
            }
        }
        for shard in self.wants.clone() {
            if self.lease(shard, true).await? {
                tracing::info!(shard, "shard.helping");
                self.wants.remove(&shard);
            }
        }
        self.idle = if self.has_little_to_do() { self.idle.saturating_add(1) } else { 0 };
        // What is being given up for us stays wanted, though there be enough to do by then: nobody else takes it.
        if self.wants_since.elapsed() >= CEDE_PATIENCE + GIVEN {
            self.wants.clear();
        }
        if self.idle >= IDLE_BEATS && (self.wants.is_empty() || self.wants_since.elapsed() >= GIVEN) {
            self.wants.retain(|shard| !self.others.iter().any(|other| other.shards.contains_key(shard)));
            self.wants.extend(wishes(self.name(), self.all_waiting(), &self.others, &self.left));
            self.wants_since = Instant::now();
        }
        Ok(())
    }

    async fn lease(&mut self, shard: u16, adopted: bool) -> Result<bool, StoreError> {
        if self.leased.contains_key(&shard) {
            return Ok(false);
        }
        let ttl = self.worker.config.lease;
        let asked = Instant::now();
        let Some(lease) = self.fleet.take_lease(&lease_name(shard), self.name(), ttl).await? else {
            return Ok(false);
        };
        let hold = Arc::new(Hold::until(asked + ttl.saturating_sub(LEASE_MARGIN), lease.token > 1));
        self.worker.desk.hold(shard, Arc::clone(&hold));
        self.leased.insert(shard, Leased { token: lease.token, hold, adopted, taken: asked, ceding_since: None });
        Ok(true)
    }

    fn has_little_to_do(&self) -> bool {
        let (at_work, room) = (self.worker.desk.len() as u64, u64::from(self.worker.config.cells));
        at_work < room && self.all_waiting() + at_work <= LITTLE * room
    }

    /// What waits in all shards that are leased.
    fn all_waiting(&self) -> u64 {
        self.leased.keys().map(|shard| self.waiting(*shard)).sum()
    }

    /// Takes tasks from the shards that are leased and not being given back.
    async fn choose(&mut self) {
        let chosen: BTreeSet<u16> =
            self.leased.iter().filter(|(_, leased)| !leased.hold.is_draining()).map(|(shard, _)| *shard).collect();
        if chosen == self.chosen {
            return;
        }
        match self.consumer.choose(Shards::Only(chosen.clone())).await {
            Ok(()) => (self.chosen, self.favoured) = (chosen, BTreeSet::new()),
            // Tried again at the next beat; what comes meanwhile of other shards is given back.
            Err(error) => tracing::warn!(error = %error, "member.choose_failed"),
        }
    }

    /// Fetches more of the shards in which tasks wait where there is room for them: each shard has its part of what is
    /// fetched, and those of empty ones would lie idle. Where there is none left, all have the same again.
    async fn favour(&mut self) {
        let (at_work, room) = (self.worker.desk.len(), usize::from(self.worker.config.cells));
        let waiting: BTreeSet<u16> = self.chosen.iter().copied().filter(|shard| self.waiting(*shard) > 0).collect();
        let favoured =
            if 4 * at_work < 3 * room && waiting.len() < self.chosen.len() && !waiting.is_subset(&self.favoured) {
                waiting
            } else if at_work >= room && !self.favoured.is_empty() {
                BTreeSet::new()
            } else {
                return;
            };
        match self.consumer.favour(favoured.clone()).await {
            Ok(()) if favoured.is_empty() => self.favoured.clear(),
            Ok(()) => self.favoured.extend(favoured),
            Err(error) => tracing::warn!(error = %error, "member.favour_failed"),
        }
    }

    async fn say_goodbye(&mut self) {
        let leases: Vec<(u16, u64)> = self.leased.iter().map(|(shard, leased)| (*shard, leased.token)).collect();
        for (shard, token) in leases {
            self.worker.desk.let_go(shard);
            if let Err(error) = self.fleet.release_lease(&lease_name(shard), self.name(), token).await {
                tracing::warn!(error = %error, "member.leave: the leases end by themselves");
                return;
            }
        }
        if let Err(error) = self.fleet.retire(self.name()).await {
            tracing::warn!(error = %error, "member.leave: the report ends by itself");
        }
    }
}

fn lease_name(shard: u16) -> String {
    format!("shard/{shard}")
}
