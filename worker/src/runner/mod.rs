//! A worker: takes tasks from the queue, does them, records what came of them, and only then lets go of them.

mod cell;
mod desk;
mod isolation;
mod member;
mod memory;
mod probing;
mod task;

use crate::{
    account::Accounts,
    archive::Archive,
    aws::Aws,
    call::{CallPolicy, Caller},
    gate::Gate,
    guard::Switches,
    metrics::Metrics,
    reads::ReadsByScan,
    session::{SessionTerms, Sessions},
    sink::Sinks,
    slots::Slots,
    stats::{Stats, StatsCell},
};
use anyhow::Context as _;
use desk::Desk;
use fleetscan_proto::{
    Clock, Fleet, Grants, QueueError, Shards, Store, StoreError, TaskConsumer, TaskQueue, catalogue::Catalogue,
};
use isolation::Isolation;
use member::Member;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in ledgers and logs.
    pub name: String,
    /// Calls to AWS under way at once.
    pub concurrency: usize,
    /// Cells under way at once. Most of them wait for their buckets, so these are more than the calls.
    pub cells: u16,
    /// The part of each of AWS's buckets that may be used, above 0 and up to 1.
    pub share: f64,
    /// After so long a cell hands in its part and queues itself again.
    pub slice: Duration,
    /// How long a cell may read of what was done, in all its executions of one scan; zero: nothing of it is read.
    pub history: Duration,
    /// That CloudTrail's log files are read for it, where an account has a bucket of them.
    pub archive: Option<Archive>,
    /// How long draining may take before what is left is dropped (and delivered again).
    pub drain: Duration,
    /// Sessions are named `<prefix>-<account>-<epoch>`.
    pub session_prefix: String,
    /// Narrows every session; at most 2,048 characters.
    pub session_policy: Option<String>,
    /// Limits of a single call.
    pub policy: CallPolicy,
    /// Failures in passing that one execution of a cell may retry.
    pub retries: u32,
    /// Throttled answers that one execution of a cell bears.
    pub throttles: u32,
    /// How long results are held while the store is away, before their tasks go back to the queue: well under the
    /// broker's acknowledgement timeout.
    pub store_patience: Duration,
    /// In a fleet: how often the worker reports, renews its leases and reads orders.
    pub beat: Duration,
    /// In a fleet: how long a lease holds that is not renewed.
    pub lease: Duration,
    /// For tests of what becomes of poison: the process dies of this cell (`account/region/service`).
    pub dies_of: Option<String>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            concurrency: 64,
            cells: 192,
            share: 0.5,
            slice: Duration::from_secs(240),
            history: Duration::from_secs(300),
            archive: None,
            drain: Duration::from_secs(45),
            session_prefix: "SecurityV0".into(),
            session_policy: None,
            policy: CallPolicy::default(),
            retries: 60,
            throttles: 2_000,
            store_patience: Duration::from_secs(180),
            beat: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            dies_of: None,
        }
    }
}

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerParts {
    /// Where tasks come from.
    pub queue: Arc<dyn TaskQueue>,
    /// Where results are recorded.
    pub store: Arc<dyn Store>,
    /// Where records go.
    pub sinks: Arc<Sinks>,
    /// Where grants are found.
    pub grants: Arc<dyn Grants>,
    /// What may be called.
    pub catalogue: Arc<Catalogue>,
    /// Who assumes the roles, and where calls go.
    pub hub: Arc<dyn Aws>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who else is at work; `None`: nobody, and every account is this worker's.
    pub fleet: Option<Arc<dyn Fleet>>,
}

/// A worker.
pub struct Worker {
    config: WorkerConfig,
    parts: WorkerParts,
    caller: Caller,
    accounts: Arc<Accounts>,
    stats: Arc<StatsCell>,
    desk: Arc<Desk>,
    /// In a fleet, what each scan's tasks may call; else everything in `parts.catalogue`.
    reads: Option<ReadsByScan>,
    /// When the store last took our word, in a fleet.
    last_beat: std::sync::Mutex<Option<Instant>>,
    isolation: Isolation,
    /// Cancelled when cells are to hand in what they have.
    draining: CancellationToken,
    /// Cancelled when a result can be written nowhere.
    fatal: CancellationToken,
    why_fatal: std::sync::Mutex<Option<String>>,
}

/// A task that could be neither done nor recorded; it will be delivered again.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Repeats a call on the store while the store is away, as long as a result may be held. Repeating is safe: each
/// method is one atomic change that changes nothing the second time.
///
/// `$doubted` is set where an answer may have got lost: what then looks stale may be our own change, and what was
/// written for it must stay.
macro_rules! persist {
    ($worker:expr, $call:expr) => {{
        let mut _doubted = false;
        $crate::runner::persist!($worker, $call, _doubted)
    }};
    ($worker:expr, $call:expr, $doubted:ident) => {{
        let began = tokio::time::Instant::now();
        loop {
            match $call.await {
                Err(fleetscan_proto::StoreError::Away(why)) if began.elapsed() < $worker.config.store_patience => {
                    tracing::warn!(error = why, "store.away: holding what is to be recorded");
                    $doubted = true;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Err(fleetscan_proto::StoreError::Lost(why)) => {
                    $worker.give_up(format!("the store has lost its memory: {why}"));
                    break Err(fleetscan_proto::StoreError::Lost(why));
                }
                answer => break answer,
            }
        }
    }};
}
use persist;

impl Worker {
    /// A worker that has not begun.
    pub fn new(config: WorkerConfig, parts: WorkerParts) -> Arc<Worker> {
        let stats = Arc::new(StatsCell::default());
        let metrics = Arc::new(Metrics::new(&parts.catalogue));
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&parts.hub),
            Arc::clone(&parts.grants),
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
            Arc::clone(&stats),
            Arc::clone(&metrics),
            SessionTerms { prefix: config.session_prefix.clone(), policy: config.session_policy.clone() },
        ));
        let caller = Caller {
            aws: Arc::clone(&parts.hub),
            gate: Gate::new(Arc::clone(&parts.catalogue)),
            sessions: Arc::clone(&sessions),
            clock: Arc::clone(&parts.clock),
            stats: Arc::clone(&stats),
            slots: Slots::new(config.concurrency),
            policy: config.policy,
            switches: Arc::new(Switches::default()),
            metrics: Arc::clone(&metrics),
        };
        let accounts = Arc::new(Accounts::new(config.share, sessions));
        metrics.watch_limiters(&accounts);
        let desk = Arc::new(Desk::new(parts.queue.shards(), config.cells));
        let by_scan = || ReadsByScan::new(parts.store.clone(), parts.grants.clone(), parts.catalogue.clone());
        let reads = parts.fleet.is_some().then(by_scan);
        Arc::new(Worker {
            config,
            parts,
            caller,
            accounts,
            stats,
            desk,
            reads,
            last_beat: std::sync::Mutex::default(),
            isolation: Isolation::new(),
            draining: CancellationToken::new(),
            fatal: CancellationToken::new(),
            why_fatal: std::sync::Mutex::default(),
        })
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.stats.snapshot()
    }

    /// What Prometheus is told.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.caller.metrics)
    }

    /// Whether it can work now.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.draining.is_cancelled() {
            return Err("the worker is stopping".to_owned());
        }
        if self.parts.fleet.is_none() {
            return Ok(());
        }
        match *self.last_beat.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(at) if at.elapsed() < self.config.lease => Ok(()),
            Some(at) => Err(format!("the store has not answered for {} s", at.elapsed().as_secs())),
            None => Err("the worker has not joined its fleet yet".to_owned()),
        }
    }

    fn beat_went_well(&self) {
        *self.last_beat.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    }

    /// Works until `stop` is cancelled or the queue is closed, then drains: cells under way hand in what they have,
    /// and everything held goes back to the queue.
    ///
    /// # Errors
    /// When results can be written nowhere, the store has lost its memory, or the queue refuses to be consumed.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(consumer) = self.consumer(&stop).await? else { return Ok(()) };
        let leave = CancellationToken::new();
        let membership = self.join(&consumer, &leave);
        let mut tasks = JoinSet::new();
        let consumed = self.consume(&consumer, &stop, &mut tasks).await;
        self.draining.cancel();
        let drained =
            tokio::time::timeout(self.config.drain, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("worker.drain.cut: what was still under way will be done again");
        }
        tasks.shutdown().await;
        leave.cancel();
        if let Some(membership) = membership {
            // A member that cannot say goodbye is missed soon enough.
            let _ = tokio::time::timeout(Duration::from_secs(5), membership).await;
        }
        consumed?;
        match self.why_fatal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            Some(why) => Err(anyhow::anyhow!(why)),
            None => Ok(()),
        }
    }

    /// Waits for the broker, if need be; `None`: told to stop meanwhile.
    async fn consumer(&self, stop: &CancellationToken) -> anyhow::Result<Option<Arc<dyn TaskConsumer>>> {
        let shards = match self.parts.fleet {
            Some(_) => Shards::Only(BTreeSet::new()),
            None => {
                self.desk.hold_all();
                Shards::All
            }
        };
        loop {
            let consume = self.parts.queue.consume(&self.config.name, self.config.cells.max(1), shards.clone());
            match consume.await {
                Ok(consumer) => return Ok(Some(Arc::from(consumer))),
                Err(QueueError::Away(why)) => tracing::warn!(error = why, "queue.away"),
                Err(error) => return Err(error).context("the queue cannot be consumed"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    fn join(self: &Arc<Self>, consumer: &Arc<dyn TaskConsumer>, leave: &CancellationToken) -> Option<JoinHandle<()>> {
        let fleet = Arc::clone(self.parts.fleet.as_ref()?);
        let member = Member::new(Arc::clone(self), fleet, Arc::clone(consumer));
        Some(tokio::spawn(member.run(leave.clone())))
    }

    async fn consume(
        self: &Arc<Self>,
        consumer: &Arc<dyn TaskConsumer>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<()> {
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.fatal.cancelled() => return Ok(()),
                next = consumer.next() => next,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            match delivery {
                Ok(Some(delivery)) => {
                    let (worker, consumer) = (Arc::clone(self), Arc::clone(consumer));
                    tasks.spawn(async move { worker.handle(consumer.as_ref(), delivery).await });
                }
                Ok(None) => return Ok(()),
                Err(QueueError::Away(why)) => {
                    tracing::warn!(error = why, "queue.away");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error).context("the queue cannot be consumed"),
            }
        }
    }

    /// Nothing can be recorded any more: stop, and say why.
    fn give_up(&self, why: String) {
        self.why_fatal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(why);
        self.draining.cancel();
        self.fatal.cancel();
    }
}
