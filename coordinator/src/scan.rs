use crate::{
    Directory, Longest, Registry, ScanError, ScanOptions, error::insist, fleet::Force, plan, plan::Services,
    progress::Phase, progress::Progress, reconcile::Reconciler, recovery::Recovery, suspects::Suspects,
};
use async_trait::async_trait;
use fleetscan_proto::{
    AccountId, Clock, EventTrail, Fleet, Lane, Lease, Manifest, ScanAccountState, ScanCounts, ScanId, ScanSpec,
    ScanState, Sink, Store, Task, TaskQueue, catalogue::Catalogue,
};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Asks whether the hub is still itself.
#[async_trait]
pub trait HubCheck: Send + Sync + 'static {
    /// The hub's GetCallerIdentity; an error says in a sentence what is wrong.
    async fn check(&self) -> Result<(), String>;
}

/// What a scan works with.
#[derive(Clone)]
pub struct ScanParts {
    /// Where tasks go.
    pub queue: Arc<dyn TaskQueue>,
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// What others are told.
    pub events: Arc<dyn EventTrail>,
    /// Where scans leave notes for those to come.
    pub notes: Arc<dyn Fleet>,
    /// Where results go.
    pub sink: Arc<dyn Sink>,
    /// The hub.
    pub hub: Arc<dyn HubCheck>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What may be read.
    pub catalogue: Arc<Catalogue>,
    /// Where accounts are described.
    pub accounts: Arc<dyn Directory>,
    /// The rest of the fleet; `None`: coordinator and worker are one process, and the queue lives no longer than it.
    pub fleet: Option<FleetLink>,
}

/// What a scan needs of the fleet around it.
#[derive(Clone)]
pub struct FleetLink {
    /// Who is at work.
    pub fleet: Arc<dyn Fleet>,
    /// What this coordinator leads under; `None`: there can be no other.
    pub lead: Option<Lease>,
    /// Raised each time the broker was found to have lost its queues.
    pub losses: watch::Receiver<u64>,
    /// What an operator decided in the breaker's place.
    pub forced: watch::Receiver<Option<Force>>,
    /// Up to which of the fleet's orders ([`Orders::barred_version`](fleetscan_proto::Orders::barred_version)) accounts may
    /// have been paused or disconnected.
    pub barred: watch::Receiver<u64>,
    /// After so long at the latest a worker hands in what it has of a cell.
    pub slice: Duration,
}

/// What is asked of a scan.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Regional cells are limited to these; empty: every enabled region.
    pub regions: Vec<String>,
    /// The catalogue's services to read; empty: all.
    pub services: Vec<String>,
    /// Name of the profile.
    pub profile: String,
    /// Root of the results, as the operator named it.
    pub out: String,
    /// Do not resume; what is unfinished of this plan is cancelled.
    pub fresh: bool,
    /// The most of any published rate that is used, 0 to 1; for the manifest.
    pub share: f64,
}

/// A scan that was created, or found unfinished.
#[derive(Debug, Clone)]
pub struct OpenedScan {
    /// What was asked.
    pub spec: ScanSpec,
    /// It was begun by an earlier run.
    pub resumed: bool,
    /// Where it stands.
    pub counts: ScanCounts,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ScanEnd {
    /// Every cell has its outcome, and the results are whole.
    Finished(Box<Manifest>),
    /// Stopped; the same command goes on from here.
    Interrupted,
}

/// Runs one scan.
pub struct ScanRunner {
    pub(crate) parts: ScanParts,
    pub(crate) request: ScanRequest,
    pub(crate) options: ScanOptions,
    pub(crate) services: Services,
    progress: watch::Sender<Progress>,
}

impl ScanRunner {
    /// A runner of one request.
    pub fn new(parts: ScanParts, request: ScanRequest, options: ScanOptions) -> Self {
        let services = Services::of(&parts.catalogue, &request.services);
        Self { parts, request, options, services, progress: watch::Sender::default() }
    }

    /// The scan as it goes on; updated a few times a second.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Finds the unfinished scan of this plan, or creates one, of the accounts of a file.
    pub async fn open(&self, accounts: &Registry) -> Result<OpenedScan, ScanError> {
        let now = self.parts.clock.now();
        let plan = self.plan_digest(accounts);
        let store = &self.parts.store;
        self.give_up_old_scans(now).await?;
        while let Some(row) = insist!(self.options, store.unfinished_scan(&plan, Timestamp::MIN))? {
            if !self.request.fresh {
                let counts = insist!(self.options, store.counts(&row.spec.id))?;
                return Ok(OpenedScan { spec: row.spec, resumed: true, counts });
            }
            insist!(self.options, store.end_scan(&row.spec.id, ScanState::Cancelled, now))?;
        }
        let spec = ScanSpec {
            id: ScanId::new(now, rand::random()),
            plan,
            started_at: now,
            regions: self.request.regions.clone(),
            services: self.services.all(),
            catalogue: self.parts.catalogue.digest().to_owned(),
            operations: Vec::new(),
            profile: self.request.profile.clone(),
            out: self.request.out.clone(),
            accounts: accounts.len() as u64,
            lane: Lane::Normal,
            deadline_seconds: None,
            // What is read is the catalogue that this scan was given: a profile's part.
            profile_file: None,
            scheduled: false,
        };
        let ids = accounts.ids();
        insist!(self.options, store.create_scan(&spec, &ids))?;
        let counts = insist!(self.options, store.counts(&spec.id))?;
        Ok(OpenedScan { spec, resumed: false, counts })
    }

    /// Runs the scan to its end, or until `stop`.
    pub async fn run(&self, opened: &OpenedScan, stop: CancellationToken) -> Result<ScanEnd, ScanError> {
        let mut run = Run::new(self, &opened.spec, opened.resumed);
        let mut ticks = tokio::time::interval(self.options.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let work = async {
            loop {
                ticks.tick().await;
                match run.tick().await? {
                    Tick::GoOn => continue,
                    Tick::Over => {}
                    Tick::EndedElsewhere => return Ok(ScanEnd::Interrupted),
                }
                run.show(Phase::Finalising);
                if let Some(manifest) = run.finalise().await? {
                    run.show(Phase::Ended);
                    return Ok(ScanEnd::Finished(Box::new(manifest)));
                }
            }
        };
        // Dropping the work in the middle of a step is what a kill does, and every step survives that.
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(ScanEnd::Interrupted),
            end = work => end,
        }
    }

    fn plan_digest(&self, accounts: &Registry) -> String {
        let services = self.services.all();
        plan::digest(
            accounts,
            &plan::PlanParts {
                regions: &self.request.regions,
                services: &services,
                catalogue: self.parts.catalogue.digest(),
                profile: &self.request.profile,
                out: &self.request.out,
            },
        )
    }

    /// Scans that are too old to be resumed are over, whoever began them.
    async fn give_up_old_scans(&self, now: Timestamp) -> Result<(), ScanError> {
        let oldest = now - self.options.resume_within;
        for row in insist!(self.options, self.parts.store.scans_under_way())? {
            if row.state == ScanState::Running && row.spec.started_at < oldest {
                tracing::warn!(scan = %row.spec.id, "an unfinished scan is too old to be resumed: given up");
                insist!(self.options, self.parts.store.end_scan(&row.spec.id, ScanState::Cancelled, now))?;
            }
        }
        Ok(())
    }
}

/// What one look at the store came to.
pub(crate) enum Tick {
    /// There is more to do.
    GoOn,
    /// Every cell has its outcome.
    Over,
    /// Another process ended the scan.
    EndedElsewhere,
}

/// A scan under way: what one process knows of it, all of which can be found again in the store.
pub(crate) struct Run<'a> {
    pub(crate) runner: &'a ScanRunner,
    pub(crate) parts: &'a ScanParts,
    pub(crate) options: &'a ScanOptions,
    pub(crate) spec: &'a ScanSpec,
    pub(crate) started: Instant,
    /// Tasks to publish, as soon as the queue takes them.
    pub(crate) outbox: VecDeque<Task>,
    /// Cells that an earlier run, or a broker that lost its queues, left to be published.
    pub(crate) recovery: Option<Recovery>,
    /// Losses of the broker that were met.
    pub(crate) losses_met: u64,
    /// Accounts that go before the others.
    pub(crate) hastened: HashSet<AccountId>,
    /// When an operator's wish to cancel was first seen.
    pub(crate) cancelling: Option<Instant>,
    /// Waiting accounts up to this one have been given their probe.
    pub(crate) fed_up_to: Option<AccountId>,
    pub(crate) all_fed: bool,
    /// What took long in earlier scans; `None`: not looked up yet.
    pub(crate) longest: Option<Longest>,
    /// Of its accounts, those that have not been given their probe yet.
    pub(crate) first: VecDeque<AccountId>,
    /// Accounts whose probe is published: its generation, and when.
    pub(crate) probing: HashMap<AccountId, (u64, Instant)>,
    /// Where the round through the probed accounts stands.
    pub(crate) probed_up_to: Option<AccountId>,
    pub(crate) suspects: Suspects,
    /// Up to which of the fleet's orders accounts were left alone.
    pub(crate) barred_version: Option<u64>,
    pub(crate) reconciler: Reconciler,
    pub(crate) counts: ScanCounts,
}

impl<'a> Run<'a> {
    fn new(runner: &'a ScanRunner, spec: &'a ScanSpec, resumed: bool) -> Self {
        Self {
            runner,
            parts: &runner.parts,
            options: &runner.options,
            spec,
            started: Instant::now(),
            outbox: VecDeque::new(),
            recovery: resumed.then(|| Recovery::of_an_earlier_run(&runner.parts)),
            losses_met: runner.parts.fleet.as_ref().map(|link| *link.losses.borrow()).unwrap_or_default(),
            hastened: HashSet::new(),
            cancelling: None,
            fed_up_to: None,
            all_fed: false,
            longest: None,
            first: VecDeque::new(),
            probing: HashMap::new(),
            probed_up_to: None,
            suspects: Suspects::new(runner.parts.clock.now()),
            barred_version: None,
            reconciler: Reconciler::new(Instant::now()),
            counts: ScanCounts::default(),
        }
    }

    /// One look at the store, and what follows from it.
    async fn tick(&mut self) -> Result<Tick, ScanError> {
        let row = insist!(self.options, self.parts.store.scan(&self.spec.id))?;
        self.counts = insist!(self.options, self.parts.store.counts(&self.spec.id))?;
        self.show(Phase::Reading);
        match row.map(|row| row.state) {
            Some(ScanState::Running) if self.is_over() => return Ok(Tick::Over),
            Some(ScanState::Running) => {}
            Some(ScanState::Cancelling) => return self.cancel().await,
            Some(ScanState::Finished | ScanState::Cancelled | ScanState::Lost) | None => {
                return Ok(Tick::EndedElsewhere);
            }
        }
        self.heed_operators().await?;
        self.judge_suspects().await?;
        self.settle_probed().await?;
        if self.is_past_deadline() {
            self.end_by_deadline().await?;
        } else {
            self.meet_losses();
            self.hasten().await?;
            self.feed().await?;
            self.publish().await?;
            self.reconcile().await?;
        }
        Ok(Tick::GoOn)
    }

    /// A scan of the fleet has its deadline from its start, whichever coordinator leads; on one machine each run has
    /// its own.
    pub(crate) fn is_past_deadline(&self) -> bool {
        if self.parts.fleet.is_none() {
            return self.started.elapsed() >= self.options.deadline;
        }
        let deadline = self.spec.deadline_seconds.map_or(self.options.deadline, Duration::from_secs);
        let since = self.parts.clock.now().duration_since(self.spec.started_at);
        Duration::try_from(since).unwrap_or_default() >= deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        let planned = self.counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
        planned == self.spec.accounts && self.counts.pending() == 0
    }

    fn show(&self, phase: Phase) {
        let planned = self.counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
        let unplanned = self.spec.accounts.saturating_sub(planned);
        self.runner.progress.send_replace(Progress {
            phase,
            counts: self.counts.clone(),
            accounts: self.spec.accounts,
            expected_cells: self.counts.cells + self.cells_of_an_account() as u64 * unplanned,
            suspects: self.suspects.len() as u64,
            judged: self.suspects.judged(),
            breaker_open: self.suspects.breaker().is_some(),
            breaker_why: self.suspects.breaker().map(str::to_owned),
            revocations: self.suspects.revocations(),
            stood_still: self.reconciler.stood_still(),
        });
    }

    /// A guess, for accounts that have not answered yet: what the others have on average.
    pub(crate) fn cells_of_an_account(&self) -> usize {
        let planned = self.counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
        if planned > 0 && self.counts.cells > 0 {
            return self.counts.cells.div_ceil(planned) as usize;
        }
        let regions = match self.spec.regions.len() {
            0 => fleetscan_proto::DEFAULT_REGIONS.len(),
            some => some,
        };
        self.runner.services.cells(regions).max(1)
    }
}
