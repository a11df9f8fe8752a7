use super::{
    CoordinatorState, FleetOptions, FleetParts, LEAD, Metrics,
    breaker::{self, Breaker, Force},
    metrics::Tally,
    newcomers::{Candidates, Newcomers},
    registry_backup::RegistryBackup,
    schedule::Schedule,
    waiting::WaitingScans,
};
use crate::{
    Connections, FleetLink, OpenedScan, Phase, Progress, Registered, ScanEnd, ScanError, ScanParts, ScanRequest,
    ScanRunner,
    events::{self, Relay},
};
use fleetscan_proto::{Lane, Lease, QueueError, ScanId, ScanRow, ScanState, StoreError, catalogue::Catalogue};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// How often all accounts are looked at for the metrics.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(30);
/// How long a scan rests that could not go on.
const RETRY: Duration = Duration::from_secs(15);
/// By so much our idea of the lease's end is earlier than the store's.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// A scan that this coordinator runs.
struct Running {
    task: JoinHandle<Result<ScanEnd, ScanError>>,
    progress: watch::Receiver<Progress>,
    /// As it was last shown.
    shown: Option<Progress>,
    /// An operator had it cancelled.
    cancelled: bool,
}

/// The coordinator that leads, for as long as it does.
pub(super) struct Leader<'a> {
    parts: &'a FleetParts,
    options: &'a FleetOptions,
    state: &'a watch::Sender<CoordinatorState>,
    metrics: &'a Metrics,
    /// When the metrics of all accounts were last told.
    told_accounts: Option<Instant>,
    lease: Lease,
    until: Instant,
    running: HashMap<ScanId, Running>,
    /// Scans that could not go on, and when they are tried again.
    resting: HashMap<ScanId, Instant>,
    /// The same for doctors, until they go on.
    waiting: WaitingScans,
    losses: watch::Sender<u64>,
    forced: watch::Sender<Option<Force>>,
    barred: watch::Sender<u64>,
    /// How the breaker stood when it was last told.
    breaker: Option<Breaker>,
    schedule: Schedule,
    newcomers: Newcomers,
    backup: RegistryBackup,
    /// What tells the receivers, one each.
    relays: Vec<JoinHandle<()>>,
    /// Cancelled when the lead is lost.
    lead_ends: CancellationToken,
}

impl<'a> Leader<'a> {
    /// A leader whose lease was asked for at `asked`.
    pub(super) fn new(
        parts: &'a FleetParts,
        options: &'a FleetOptions,
        (state, metrics): (&'a watch::Sender<CoordinatorState>, &'a Metrics),
        lease: Lease,
        asked: Instant,
    ) -> Self {
        Self {
            parts,
            options,
            state,
            metrics,
            told_accounts: None,
            lease,
            until: asked + options.lease.saturating_sub(LEASE_MARGIN),
            running: HashMap::new(),
            resting: HashMap::new(),
            waiting: WaitingScans::default(),
            losses: watch::Sender::new(0),
            forced: watch::Sender::new(None),
            barred: watch::Sender::new(0),
            breaker: None,
            schedule: Schedule::new(options.schedule.clone()),
            newcomers: Newcomers::default(),
            backup: RegistryBackup::new(options.registry_out.clone()),
            relays: Vec::new(),
            lead_ends: CancellationToken::new(),
        }
    }

    /// Leads until `stop`, or until the lease is lost.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let led = self.lead(stop).await;
        self.lead_ends.cancel();
        for (_, scan) in self.running.drain() {
            // It ends at its next step, and every step may be repeated.
            let _ = scan.task.await;
        }
        for relay in self.relays.drain(..) {
            let _ = relay.await;
        }
        if stop.is_cancelled() {
            self.parts.fleet.release_lease(LEAD, &self.options.name, self.lease.token).await?;
        }
        led
    }

    async fn lead(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        // Before the first scan: a receiver that is new is told of what happens from now on.
        match self.begin_to_tell().await {
            Err(StoreError::Away(why)) => {
                tracing::warn!(error = why, "store.away");
                return Ok(());
            }
            begun => begun?,
        }
        let mut beats = tokio::time::interval(self.options.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = beats.tick() => {}
            }
            match self.beat().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("coordinator.lead_lost: another may lead now");
                    return Ok(());
                }
                Err(StoreError::Away(why)) if Instant::now() < self.until => {
                    tracing::warn!(error = why, "store.away");
                }
                Err(StoreError::Away(why)) => {
                    tracing::warn!(error = why, "coordinator.lead_ended: the store was away for longer than the lease");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers whether the lead still holds.
    async fn beat(&mut self) -> Result<bool, StoreError> {
        let asked = Instant::now();
        let lease = [(LEAD.to_owned(), self.lease.token)];
        let held = self.parts.fleet.renew_leases(&self.options.name, &lease, self.options.lease).await?;
        if held != [true] {
            return Ok(false);
        }
        self.until = asked + self.options.lease.saturating_sub(LEASE_MARGIN);
        self.watch_broker().await?;
        let forced = breaker::forced(self.parts.fleet.as_ref()).await?.map(|forced| forced.force);
        self.forced.send_if_modified(|before| std::mem::replace(before, forced) != forced);
        // Asked here once for all scans, before any of them begins.
        let barred = self.parts.fleet.orders().await?.barred_version;
        self.barred.send_if_modified(|before| std::mem::replace(before, barred) != barred);
        let mut rows = self.parts.store.scans_under_way().await?;
        self.reap().await?;
        // Urgent ones first, then the oldest.
        rows.sort_by_key(|row| (row.spec.lane == Lane::Normal, row.spec.started_at));
        for row in &rows {
            self.begin(row);
        }
        self.schedule.beat(self.parts, &rows).await?;
        self.backup.beat(self.parts).await?;
        self.show(&rows).await?;
        Ok(true)
    }

    async fn begin_to_tell(&mut self) -> Result<(), StoreError> {
        events::name_receivers(self.parts.fleet.as_ref(), &self.parts.receivers).await?;
        for receiver in &self.parts.receivers {
            let relay = Relay::open(
                Arc::clone(receiver),
                Arc::clone(&self.parts.events),
                Arc::clone(&self.parts.fleet),
                Arc::clone(&self.parts.clock),
                self.metrics.deliveries(),
            )
            .await?;
            self.relays.push(tokio::spawn(relay.run(self.lead_ends.clone())));
        }
        Ok(())
    }

    /// A broker without our mark has lost its queues, or never had them.
    async fn watch_broker(&self) -> Result<(), StoreError> {
        let mark = self.parts.fleet.epoch().await?;
        match self.parts.queue.is_marked(&mark).await {
            Ok(true) | Err(QueueError::Away(_)) => {}
            Ok(false) => {
                // In this order: should we be killed in between, the next leader finds no mark either.
                self.losses.send_modify(|losses| *losses += 1);
                if let Err(error) = self.parts.queue.mark(&mark).await {
                    tracing::warn!(%error, "the broker could not be marked");
                }
            }
            Err(error) => tracing::warn!(%error, "the broker could not be asked for its mark"),
        }
        Ok(())
    }

    fn begin(&mut self, row: &ScanRow) {
        let id = &row.spec.id;
        let rests = self.resting.get(id).is_some_and(|until| Instant::now() < *until);
        // A scan that is being cancelled needs no place: it makes room.
        let full = self.running.len() >= self.options.scans_at_once && row.state == ScanState::Running;
        if rests || full || self.running.contains_key(id) {
            return;
        }
        self.resting.remove(id);
        let sink = match (self.parts.open_sink)(&row.spec.out) {
            Ok(sink) => sink,
            Err(error) => {
                tracing::error!(scan = %id, %error, "scan.no_sink: its results have no place");
                self.rest(id.clone(), error.to_string());
                return;
            }
        };
        let catalogue = match self.catalogue_of(row) {
            Ok(part) => Arc::new(part),
            Err(error) => {
                tracing::error!(scan = %id, error, "scan.not_known: a coordinator of its own version is to lead");
                self.rest(
                    id.clone(),
                    format!("{error}: a coordinator of the version that it was asked for under is to lead"),
                );
                return;
            }
        };
        let parts = ScanParts {
            queue: Arc::clone(&self.parts.queue),
            store: Arc::clone(&self.parts.store),
            events: Arc::clone(&self.parts.events),
            notes: Arc::clone(&self.parts.fleet),
            sink,
            hub: Arc::clone(&self.parts.hub),
            clock: Arc::clone(&self.parts.clock),
            catalogue,
            accounts: Arc::new(Registered(Arc::clone(&self.parts.registry))),
            fleet: Some(FleetLink {
                fleet: Arc::clone(&self.parts.fleet),
                lead: Some(self.lease.clone()),
                losses: self.losses.subscribe(),
                forced: self.forced.subscribe(),
                barred: self.barred.subscribe(),
                slice: self.options.slice,
            }),
        };
        let request = ScanRequest {
            regions: row.spec.regions.clone(),
            services: row.spec.services.clone(),
            profile: row.spec.profile.clone(),
            out: row.spec.out.clone(),
            fresh: false,
            share: self.options.share,
        };
        let runner = ScanRunner::new(parts, request, self.options.scan.clone());
        let progress = runner.progress();
        // Whether another coordinator had begun it is not known, and treating it so is right either way.
        let opened = OpenedScan { spec: row.spec.clone(), resumed: true, counts: Default::default() };
        let stop = self.lead_ends.clone();
        tracing::info!(scan = %id, accounts = row.spec.accounts, "scan.runs");
        let task = tokio::spawn(async move { runner.run(&opened, stop).await });
        self.running.insert(id.clone(), Running { task, progress, shown: None, cancelled: false });
    }

    /// The part of our catalogue that a scan reads. A scan with services that we do not know is left to a coordinator
    /// which does, as long as it may wait: here its accounts would be planned without them.
    fn catalogue_of(&self, row: &ScanRow) -> Result<Catalogue, String> {
        let (spec, known) = (&row.spec, &self.parts.catalogue);
        let deadline = spec.deadline_seconds.map_or(self.options.scan.deadline, Duration::from_secs);
        let age = Duration::try_from(self.parts.clock.now().duration_since(spec.started_at)).unwrap_or_default();
        // Then all that is left to do is to end its cells, whatever they would have read.
        let is_to_end = age >= deadline || row.state != ScanState::Running;
        match spec.services.iter().find(|id| known.service(id).is_none()) {
            Some(service) if !is_to_end => Err(format!("it reads {service}, which the catalogue here lacks")),
            _ => match spec.part(known) {
                Err(error) if !is_to_end => Err(error.to_string()),
                part => Ok(part.unwrap_or_else(|_| Catalogue::clone(known))),
            },
        }
    }

    /// Scans that came to an end, or could not go on.
    async fn reap(&mut self) -> Result<(), StoreError> {
        let ended: Vec<ScanId> =
            self.running.iter().filter(|(_, scan)| scan.task.is_finished()).map(|(id, _)| id.clone()).collect();
        for id in ended {
            let Some(scan) = self.running.remove(&id) else { continue };
            self.metrics.went_on(scan.shown.as_ref(), &scan.progress.borrow());
            match scan.task.await {
                Ok(Ok(ScanEnd::Finished(manifest))) => {
                    tracing::info!(scan = %id, complete = manifest.complete, "scan.ended");
                    self.metrics.scan_ended(manifest.complete, scan.cancelled);
                    self.waiting.over(&id);
                }
                Ok(Ok(ScanEnd::Interrupted)) => {
                    tracing::info!(scan = %id, "scan.ended_elsewhere");
                    self.waiting.over(&id);
                }
                Ok(Err(ScanError::Store(error @ StoreError::Lost(_)))) => return Err(error),
                Ok(Err(error)) => {
                    tracing::error!(scan = %id, %error, "scan.cannot_go_on: tried again soon");
                    self.rest(id, error.to_string());
                }
                Err(panic) => {
                    tracing::error!(scan = %id, error = %panic, "scan.panicked: tried again soon");
                    self.rest(id, "the coordinator panicked over it: its log has more".to_owned());
                }
            }
        }
        Ok(())
    }

    /// A scan that cannot go on is tried again in a while.
    fn rest(&mut self, scan: ScanId, why: String) {
        self.waiting.met(&scan, self.parts.clock.now(), why);
        self.resting.insert(scan, Instant::now() + RETRY);
    }

    async fn show(&mut self, rows: &[ScanRow]) -> Result<(), StoreError> {
        let mut scans: BTreeMap<ScanId, Progress> = BTreeMap::new();
        for (id, scan) in &mut self.running {
            let now = scan.progress.borrow().clone();
            self.metrics.went_on(scan.shown.as_ref(), &now);
            scan.shown = Some(now.clone());
            scan.cancelled |= rows.iter().any(|row| row.spec.id == *id && row.state == ScanState::Cancelling);
            // One that fails at its end has nothing left to read.
            if now.phase == Phase::Reading && now.counts.pending() > 0 {
                self.waiting.over(id);
            }
            scans.insert(id.clone(), now);
        }
        let started = rows.iter().map(|row| (row.spec.id.clone(), row.spec.started_at)).collect();
        let state = CoordinatorState { leads: true, scans, started };
        self.tell_breaker(&state).await?;
        self.waiting.keep(|scan| rows.iter().any(|row| row.spec.id == *scan));
        self.waiting.tell(self.parts.fleet.as_ref()).await?;
        self.metrics.refresh(self.parts, &state).await?;
        self.state.send_replace(state);
        if self.told_accounts.is_none_or(|at| at.elapsed() >= ACCOUNTS_EVERY) {
            self.told_accounts = Some(Instant::now());
            let desk = Connections {
                registry: Arc::clone(&self.parts.registry),
                store: Arc::clone(&self.parts.store),
                clock: Arc::clone(&self.parts.clock),
            };
            let schedule = self.options.schedule.as_ref();
            let (mut tally, mut candidates) = (Tally::at(self.parts.clock.now()), Candidates::default());
            let mut walk = desk.walk();
            while let Some(page) = walk.next().await? {
                for one in &page {
                    tally.add(one, schedule.map(|schedule| schedule.every));
                    candidates.add(one);
                }
            }
            self.metrics.tell_accounts(&tally);
            self.newcomers.look(self.parts, schedule, candidates).await?;
        }
        Ok(())
    }

    /// Keeps in the store how the breaker stands, for doctors and for the next leader.
    async fn tell_breaker(&mut self, state: &CoordinatorState) -> Result<(), StoreError> {
        let fleet = self.parts.fleet.as_ref();
        let told = match self.breaker.take() {
            Some(told) => told,
            None => match breaker::breaker(fleet).await? {
                Some(told) => told,
                None => Breaker { open: false, since: self.parts.clock.now(), why: None, waiting: 0 },
            },
        };
        let open: Vec<_> = state.scans.values().filter(|progress| progress.breaker_open).collect();
        // A scan that was taken over says at first that nothing is wrong, because it has not looked yet.
        if told.open && open.is_empty() && state.scans.values().any(|progress| !progress.judged) {
            self.breaker = Some(told);
            return Ok(());
        }
        let why = open.iter().find_map(|progress| progress.breaker_why.clone());
        let waiting = open.iter().map(|progress| progress.suspects).sum();
        let since = if told.open == open.is_empty() { self.parts.clock.now() } else { told.since };
        let now = Breaker { open: !open.is_empty(), since, why, waiting };
        if now.open != told.open {
            breaker::announce(self.parts.events.as_ref(), &now).await?;
        } else if now != told {
            breaker::tell(fleet, &now).await?;
        }
        self.breaker = Some(now);
        Ok(())
    }
}
