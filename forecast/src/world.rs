use crate::{Bound, Estate, Figures, Turnaround, aws::ModelledAws, aws::Span, clock::VirtualClock, nowhere::Nowhere};
use async_trait::async_trait;
use fleetscan_backends::{embedded::EmbeddedQueue, memory::MemoryStore};
use fleetscan_coordinator::{
    FleetLink, HubCheck, Longest, OpenedScan, Progress, Registry, ScanError, ScanOptions, ScanParts, ScanRequest,
    ScanRunner,
};
use fleetscan_proto::{
    Account, Cell, Clock, Depth, Fleet, Grant, Lane, Outcome, ScanId, ScanSpec, Secret, Store as _, StoreError,
    TaskQueue, catalogue::Catalogue,
};
use fleetscan_worker::{Worker, WorkerConfig, WorkerParts, sink::Sinks};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as RealInstant},
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Tasks that each shard's queue takes, as on the fleet's broker.
const SHARD_TASKS: usize = 100_000;
/// No scan is cut off by its deadline.
const NO_DEADLINE: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How often depth and progress are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Workers that keep the fleet's own beat. Of more the beats are as many fewer, lest the simulation be busy with
/// nothing else: each looks at all others' reports.
const WORKERS_IN_TIME: usize = 16;
/// After so long a fleet's workers know of each other, and each has its shards.
const SETTLES_IN: Duration = Duration::from_secs(5);
/// A session serves for so long: its 900 seconds without the margin in which it is replaced.
const SESSION_SERVES: f64 = 840.0;

/// A scan to simulate.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The catalogue that the fleet's processes have; the estate's is a profile's part of it.
    pub catalogue: Arc<Catalogue>,
    /// Workers, each as the command `worker` sets one.
    pub workers: usize,
    /// How each of them works: concurrency, cells, share, time slice.
    pub worker: WorkerConfig,
    /// Name of the profile; its part of the catalogue is the estate's.
    pub profile: String,
    /// Its text, where it is not one of fleetscan's own.
    pub profile_file: Option<String>,
    /// How long AWS takes to answer, on average.
    pub latency: Duration,
    /// Cells that may be outstanding at once.
    pub window: usize,
    /// Shards of the queue.
    pub shards: u16,
    /// The accounts were scanned before, so that those which take the longest go first.
    pub again: bool,
    /// One account of so many is simulated, by as many fewer workers within a window as much smaller: accounts share
    /// nothing but workers and window, so that each fares as it would among all. Must divide the workers.
    pub slice: usize,
}

impl Setting {
    /// The coarsest slice that is as good as the whole: of at least so many accounts, and of a window in which several
    /// accounts still fit.
    pub fn best_slice(accounts: usize, workers: usize, window: usize) -> usize {
        const ACCOUNTS: usize = 500;
        const WINDOW: usize = 4_096;
        let most = (accounts / ACCOUNTS).min(window / WINDOW);
        (1..=most.max(1)).rev().find(|parts| workers.is_multiple_of(*parts)).unwrap_or(1)
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The scan ended with an error.
    #[error("the simulated scan failed: {0}")]
    Scan(#[from] ScanError),
    /// The store refused.
    #[error("the simulated scan failed: {0}")]
    Store(#[from] StoreError),
    /// A worker ended.
    #[error("a simulated worker ended: {0}")]
    Worker(String),
    /// There is no runtime to be had.
    #[error("the simulation cannot be begun: {0}")]
    Runtime(#[from] std::io::Error),
    /// It is told to simulate what cannot be.
    #[error("{0}")]
    Refused(String),
}

/// Scans an estate in virtual time, on this thread, which must not be one of an asynchronous runtime's.
pub fn simulate(estate: &Arc<Estate>, bound: &Bound, setting: &Setting) -> Result<Figures, SimulationError> {
    if setting.workers == 0 || setting.shards == 0 {
        return Err(SimulationError::Refused("a scan needs at least one worker and one shard".into()));
    }
    if setting.slice > 1 {
        return simulate_slice(estate, bound, setting);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let began = RealInstant::now();
    let mut figures = runtime.block_on(World::new(estate, setting)?.scan(bound))?;
    figures.took = began.elapsed().as_secs_f64();
    Ok(figures)
}

/// Scans a slice, and makes of its figures those of the whole.
fn simulate_slice(estate: &Arc<Estate>, bound: &Bound, setting: &Setting) -> Result<Figures, SimulationError> {
    let parts = setting.slice;
    if !setting.workers.is_multiple_of(parts) {
        return Err(SimulationError::Refused(format!("{} workers are not to be divided by {parts}", setting.workers)));
    }
    let slice = Arc::new(estate.slice(bound, parts));
    let workers = setting.workers / parts;
    let fewest = u16::try_from(workers).unwrap_or(u16::MAX);
    let shards = (setting.shards / u16::try_from(parts).unwrap_or(u16::MAX)).max(fewest).max(1);
    let smaller = Setting { workers, shards, window: (setting.window / parts).max(1), slice: 1, ..setting.clone() };
    let figures = simulate(&slice, bound, &smaller)?;
    let times = parts as u64;
    let at_once = setting.workers * setting.worker.concurrency;
    Ok(Figures {
        workers: setting.workers,
        slice: parts,
        bound: bound.seconds(setting.latency.as_secs_f64(), at_once),
        cells: figures.cells * times,
        holes: figures.holes * times,
        calls: figures.calls * times,
        throttled: figures.throttled * times,
        deferred: figures.deferred * times,
        assume_role: figures.assume_role * times,
        assume_role_least: figures.assume_role_least * times,
        assume_role_rate: figures.assume_role_rate * parts as f64,
        queue: figures.queue * times,
        pending: figures.pending * times,
        ..figures
    })
}

/// The hub is always itself.
struct Well;

#[async_trait]
impl HubCheck for Well {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

struct World<'a> {
    estate: &'a Arc<Estate>,
    setting: &'a Setting,
    accounts: Arc<Registry>,
}

/// What the looks found.
#[derive(Debug, Default)]
struct Most {
    queue: u64,
    pending: u64,
    assumed: u64,
    assume_rate: f64,
}

impl<'a> World<'a> {
    fn new(estate: &'a Arc<Estate>, setting: &'a Setting) -> Result<Self, SimulationError> {
        let account = |number| {
            let id = Estate::id(number).map_err(|error| SimulationError::Refused(error.to_string()))?;
            let grant = Grant { role_arn: Secret::new("arn:aws:iam::model"), external_id: Secret::new("model") };
            Ok(Account {
                id,
                grant,
                name: None,
                customer: None,
                regions: estate.regions().to_vec(),
                cloudtrail_bucket: None,
            })
        };
        let accounts: Result<Vec<Account>, SimulationError> = estate.members.iter().copied().map(account).collect();
        Ok(Self { estate, setting, accounts: Arc::new(Registry::new(accounts?)) })
    }

    async fn scan(self, bound: &Bound) -> Result<Figures, SimulationError> {
        let clock = Arc::new(VirtualClock::start());
        let store = Arc::new(MemoryStore::default().with_clock(clock.clone()).without_ledger());
        let shards = self.setting.shards;
        let queue: Arc<dyn TaskQueue> =
            Arc::new(EmbeddedQueue::sharded(SHARD_TASKS.saturating_mul(usize::from(shards)), shards));
        let aws = Arc::new(ModelledAws::new(Arc::clone(self.estate), self.setting.latency, clock.clone()));
        if self.setting.again {
            self.as_scanned_before(bound, clock.now())?.keep(&(store.clone() as Arc<dyn Fleet>), clock.now()).await?;
        }
        let opened = self.open(store.as_ref(), clock.as_ref()).await?;
        let runner = self.runner(&store, &queue, &clock);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let workers = self.workers(&store, &queue, &clock, &aws);
        for worker in &workers {
            tasks.spawn(Arc::clone(worker).run(stop.clone()));
        }
        let most = Arc::new(Mutex::new(Most::default()));
        let looks = tokio::spawn(look(Arc::clone(&queue), runner.progress(), Arc::clone(&aws), Arc::clone(&most)));
        // A scan is asked of a fleet that is there: its shards have found their workers.
        tokio::time::sleep(SETTLES_IN * slower(self.setting.workers)).await;
        let began = Instant::now();
        tokio::select! {
            end = runner.run(&opened, CancellationToken::new()) => drop(end?),
            Some(ended) = tasks.join_next() => {
                let why = match ended {
                    Ok(Ok(())) => "it had nothing to do".to_owned(),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(error) => error.to_string(),
                };
                return Err(SimulationError::Worker(why));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        looks.abort();
        let stats: Vec<_> = workers.iter().map(|worker| worker.stats()).collect();
        tasks.shutdown().await;
        let counts = store.counts(&opened.spec.id).await?;
        let spans = aws.spans();
        let most = std::mem::take(&mut *most.lock().unwrap_or_else(PoisonError::into_inner));
        let calls = stats.iter().map(|s| s.calls).sum::<u64>();
        let at_once = self.setting.workers * self.setting.worker.concurrency;
        let latency = self.setting.latency.as_secs_f64();
        Ok(Figures {
            workers: self.setting.workers,
            slice: 1,
            seconds,
            bound: bound.seconds(latency, at_once),
            cells: counts.cells,
            holes: counts.cells - counts.outcomes.get(&Outcome::Complete).copied().unwrap_or_default(),
            calls,
            throttled: stats.iter().map(|s| s.throttled).sum(),
            deferred: stats.iter().map(|s| s.deferred).sum(),
            assume_role: aws.assumed(),
            assume_role_least: spans.iter().flatten().map(sessions).sum(),
            assume_role_rate: most.assume_rate,
            queue: most.queue,
            pending: most.pending,
            busy: (calls as f64 * latency / (seconds.max(1e-9) * at_once.max(1) as f64)).min(1.0),
            turnaround: turnaround(bound, &spans),
            took: 0.0,
        })
    }

    /// What an earlier scan would have found of the accounts: how long each cell's slowest bucket takes.
    fn as_scanned_before(&self, bound: &Bound, now: jiff::Timestamp) -> Result<Longest, SimulationError> {
        let members: BTreeSet<u32> = self.estate.members.iter().copied().collect();
        let mut longest = Longest::default();
        for (account, region, service, seconds) in bound.slow_cells.iter().filter(|cell| members.contains(&cell.0)) {
            let id = Estate::id(*account).map_err(|error| SimulationError::Refused(error.to_string()))?;
            longest.took(&Cell::new(id, region, service), *seconds, now);
        }
        Ok(longest)
    }

    /// A scan as the command `scans start` asks for one.
    async fn open(&self, store: &MemoryStore, clock: &VirtualClock) -> Result<OpenedScan, SimulationError> {
        let now = clock.now();
        let services = self.estate.catalogue.scanned().map(|service| service.id.clone()).collect();
        let spec = ScanSpec {
            id: ScanId::new(now, 1),
            plan: "forecast".into(),
            started_at: now,
            regions: Vec::new(),
            services,
            catalogue: self.estate.catalogue.digest().to_owned(),
            operations: Vec::new(),
            profile: self.setting.profile.clone(),
            profile_file: self.setting.profile_file.clone(),
            out: "nowhere".into(),
            accounts: self.accounts.len() as u64,
            lane: Lane::Normal,
            deadline_seconds: Some(NO_DEADLINE.as_secs()),
            scheduled: false,
        };
        store.create_scan(&spec, &self.accounts.ids()).await?;
        let counts = store.counts(&spec.id).await?;
        Ok(OpenedScan { spec, resumed: false, counts })
    }

    fn runner(&self, store: &Arc<MemoryStore>, queue: &Arc<dyn TaskQueue>, clock: &Arc<VirtualClock>) -> ScanRunner {
        let (_, losses) = watch::channel(0);
        let (_, forced) = watch::channel(None);
        let (_, barred) = watch::channel(0);
        let slice = self.setting.worker.slice;
        let fleet = FleetLink { fleet: store.clone(), lead: None, losses, forced, barred, slice };
        let parts = ScanParts {
            queue: Arc::clone(queue),
            store: store.clone(),
            events: store.clone(),
            notes: store.clone(),
            sink: Arc::new(Nowhere),
            hub: Arc::new(Well),
            clock: clock.clone(),
            catalogue: Arc::clone(&self.estate.catalogue),
            accounts: self.accounts.clone(),
            fleet: Some(fleet),
        };
        let request = ScanRequest {
            profile: self.setting.profile.clone(),
            out: "nowhere".into(),
            share: self.setting.worker.share,
            ..ScanRequest::default()
        };
        // As the command `coordinator` sets them.
        let options = ScanOptions {
            window: self.setting.window,
            publish_batch: 2_048,
            stuck_after: Duration::from_secs(60),
            deadline: NO_DEADLINE,
            ..ScanOptions::default()
        };
        ScanRunner::new(parts, request, options)
    }

    fn workers(
        &self,
        store: &Arc<MemoryStore>,
        queue: &Arc<dyn TaskQueue>,
        clock: &Arc<VirtualClock>,
        aws: &Arc<ModelledAws>,
    ) -> Vec<Arc<Worker>> {
        let slower = slower(self.setting.workers);
        let worker = |number: usize| {
            let config = WorkerConfig {
                name: format!("worker-{number:03}"),
                beat: self.setting.worker.beat * slower,
                lease: self.setting.worker.lease * slower,
                // How much was done in an account, nobody knows beforehand.
                history: Duration::ZERO,
                ..self.setting.worker.clone()
            };
            let parts = WorkerParts {
                queue: Arc::clone(queue),
                store: store.clone(),
                sinks: Arc::new(Sinks::One(Arc::new(Nowhere))),
                grants: self.accounts.clone(),
                catalogue: Arc::clone(&self.setting.catalogue),
                hub: aws.clone(),
                clock: clock.clone(),
                fleet: Some(store.clone()),
            };
            Worker::new(config, parts)
        };
        (0..self.setting.workers).map(worker).collect()
    }
}

/// How many times slower than the fleet's own the beats of so many workers are.
fn slower(workers: usize) -> u32 {
    u32::try_from(workers.div_ceil(WORKERS_IN_TIME)).unwrap_or(u32::MAX)
}

/// Looks at the queue and the scan's progress, until it is aborted.
async fn look(
    queue: Arc<dyn TaskQueue>,
    progress: watch::Receiver<Progress>,
    aws: Arc<ModelledAws>,
    most: Arc<Mutex<Most>>,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let Depth { ready, delayed, held, .. } = queue.depth().await.unwrap_or_default();
        let pending = progress.borrow().counts.pending();
        let assumed = aws.assumed();
        let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
        most.queue = most.queue.max(ready + delayed + held);
        most.pending = most.pending.max(pending);
        let rate = (assumed - most.assumed) as f64 / LOOK_EVERY.as_secs_f64();
        most.assume_rate = most.assume_rate.max(rate);
        most.assumed = assumed;
    }
}

/// The fewest sessions that serve an account for so long.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn sessions(span: &Span) -> u64 {
    (span.last.duration_since(span.first).as_secs_f64() / SESSION_SERVES).ceil().max(1.0) as u64
}

fn turnaround(bound: &Bound, spans: &[Option<Span>]) -> Turnaround {
    let taken = |span: &Span| span.last.duration_since(span.first).as_secs_f64();
    let mut by_calls: Vec<(u32, f64)> =
        bound.by_account.iter().zip(spans).filter_map(|(calls, span)| Some((*calls, taken(span.as_ref()?)))).collect();
    by_calls.sort_by_key(|(calls, _)| *calls);
    let taken_by = bound.seconds.iter().zip(spans).filter_map(|(least, span)| Some((*least, taken(span.as_ref()?))));
    let slowest = taken_by.max_by(|a, b| a.0.total_cmp(&b.0));
    let mut smallest: Vec<f64> = by_calls.iter().take(by_calls.len().div_ceil(10)).map(|(_, taken)| *taken).collect();
    smallest.sort_by(f64::total_cmp);
    Turnaround {
        smallest: smallest.get(smallest.len() / 2).copied().unwrap_or_default(),
        smallest_most: smallest.last().copied().unwrap_or_default(),
        largest: slowest.map(|(_, taken)| taken).unwrap_or_default(),
    }
}
