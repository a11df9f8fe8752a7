//! A worker: takes tasks from the queue, does them, records what came of them, and only then lets go of them.

mod cell;

use crate::{
    account::Accounts,
    call::{CallPolicy, Caller},
    gate::Gate,
    hub::Hub,
    probe::{NotNow, probe},
    session::Sessions,
    stats::{Stats, StatsCell},
};
use anyhow::Context as _;
use fleetscan_proto::{
    AccountId, Clock, Delivery, Grants, Outcome, ProbeFailure, QueueError, ScanId, Sink, Store, StoreError,
    TaskConsumer, TaskKind, TaskQueue, catalogue::Catalogue,
};
use futures_util::FutureExt as _;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};
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
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            concurrency: 64,
            cells: 192,
            share: 0.5,
            slice: Duration::from_secs(240),
            drain: Duration::from_secs(45),
            session_prefix: "SecurityV0".into(),
            session_policy: None,
            policy: CallPolicy::default(),
            retries: 60,
            throttles: 2_000,
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
    pub sink: Arc<dyn Sink>,
    /// Where grants are found.
    pub grants: Arc<dyn Grants>,
    /// What may be called.
    pub catalogue: Arc<Catalogue>,
    /// Who assumes the roles.
    pub hub: Arc<Hub>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A worker.
pub struct Worker {
    config: WorkerConfig,
    parts: WorkerParts,
    caller: Caller,
    accounts: Arc<Accounts>,
    stats: Arc<StatsCell>,
    /// Cancelled when cells are to hand in what they have.
    draining: CancellationToken,
    /// Cancelled when a result can be written nowhere.
    fatal: CancellationToken,
    why_fatal: std::sync::Mutex<Option<String>>,
}

/// How long a probe waits that could not be done.
const PROBE_WAIT: Duration = Duration::from_secs(15);
/// Probes of an account that AWS answered with an error, after which its cells are failed.
const PROBE_ATTEMPTS: u32 = 3;

/// What became of a task.
enum Done {
    /// Recorded, or nothing to do.
    Ack,
    /// Put off, under this generation.
    Defer(u64, Duration),
    /// Put off, and an attempt charged.
    Retry(Duration),
    /// Given back.
    Release,
}

/// A task that could be neither done nor recorded; it will be delivered again.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(config: WorkerConfig, parts: WorkerParts) -> Arc<Worker> {
        let stats = Arc::new(StatsCell::default());
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&parts.hub),
            Arc::clone(&parts.grants),
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
            Arc::clone(&stats),
            config.session_prefix.clone(),
            config.session_policy.clone(),
        ));
        let caller = Caller {
            http: parts.hub.http().clone(),
            gate: Gate::new(Arc::clone(&parts.catalogue)),
            sessions: Arc::clone(&sessions),
            clock: Arc::clone(&parts.clock),
            stats: Arc::clone(&stats),
            slots: Semaphore::new(config.concurrency.max(1)),
            policy: config.policy,
        };
        let accounts = Arc::new(Accounts::new(config.share, sessions));
        Arc::new(Worker {
            config,
            parts,
            caller,
            accounts,
            stats,
            draining: CancellationToken::new(),
            fatal: CancellationToken::new(),
            why_fatal: std::sync::Mutex::default(),
        })
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.stats.snapshot()
    }

    /// Works until `stop` is cancelled or the queue is closed, then drains: cells under way hand in what they have,
    /// and everything held goes back to the queue.
    ///
    /// # Errors
    /// When results can be written nowhere, or the queue refuses to be consumed.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let consumer: Arc<dyn TaskConsumer> = Arc::from(
            self.parts
                .queue
                .consume(&self.config.name, self.config.cells.max(1))
                .await
                .context("the queue cannot be consumed")?,
        );
        let mut tasks = JoinSet::new();
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break,
                () = self.fatal.cancelled() => break,
                next = consumer.next() => next,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            match delivery {
                Ok(Some(delivery)) => {
                    let (worker, consumer) = (Arc::clone(&self), Arc::clone(&consumer));
                    tasks.spawn(async move { worker.handle(consumer.as_ref(), delivery).await });
                }
                Ok(None) => break,
                Err(QueueError::Away(why)) => {
                    tracing::warn!(error = why, "queue.away");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error).context("the queue cannot be consumed"),
            }
        }
        self.draining.cancel();
        let drained =
            tokio::time::timeout(self.config.drain, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("worker.drain.cut: what was still under way will be done again");
        }
        match self.why_fatal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            Some(why) => Err(anyhow::anyhow!(why)),
            None => Ok(()),
        }
    }

    async fn handle(&self, consumer: &dyn TaskConsumer, delivery: Delivery) {
        let Delivery { task, redeliveries, tag } = delivery;
        let work = async {
            match &task.kind {
                TaskKind::Probe { account } => self.probe(&task.scan, account, task.generation, task.attempt).await,
                TaskKind::Cell(cell) => self.cell(&task.scan, cell, task.generation, redeliveries).await,
            }
        };
        let ended = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(Done::Ack)) => consumer.ack(tag).await,
            Ok(Ok(Done::Release)) => consumer.release(tag).await,
            Ok(Ok(Done::Defer(generation, delay))) => {
                let mut task = task;
                task.generation = generation;
                consumer.defer(tag, task, delay).await
            }
            Ok(Ok(Done::Retry(delay))) => {
                let mut task = task;
                task.attempt += 1;
                consumer.defer(tag, task, delay).await
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, scan = %task.scan, account = %task.account(), "task.unrecorded");
                consumer.defer(tag, task, Duration::from_secs(15)).await
            }
            Err(_panic) => self.panicked(consumer, tag, task).await,
        };
        if let Err(error) = ended {
            tracing::warn!(error = %error, "task.not_acknowledged: it will be delivered again");
        }
    }

    /// A task that panics is tried twice more; then it is poison, and its cell says so.
    async fn panicked(
        &self,
        consumer: &dyn TaskConsumer,
        tag: u64,
        mut task: fleetscan_proto::Task,
    ) -> Result<(), QueueError> {
        task.attempt += 1;
        tracing::error!(scan = %task.scan, account = %task.account(), attempt = task.attempt, "task.panicked");
        if task.attempt < 3 {
            return consumer.defer(tag, task, Duration::from_secs(1)).await;
        }
        if let TaskKind::Cell(cell) = &task.kind {
            self.poisoned(&task.scan, cell, task.generation).await;
        }
        consumer.dead_letter(tag, "the worker panicked three times").await
    }

    async fn probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        attempt: u32,
    ) -> Result<Done, TaskError> {
        let store = self.parts.store.as_ref();
        let Some(spec) = self.parts.grants.account(account).await? else {
            let failure = self.probe_failure(Outcome::Cancelled, "the account's grant was removed".into());
            store.record_probe(scan, account, generation, Err(failure)).await?;
            return Ok(Done::Ack);
        };
        let visit = self.accounts.enter(store, account).await?;
        let found = match probe(&self.caller, visit.context(), &spec).await {
            Ok(found) => found,
            Err(_) if self.draining.is_cancelled() => return Ok(Done::Release),
            Err(NotNow::Ours(why)) => {
                tracing::warn!(account = %account, error = why, "probe.not_now");
                return Ok(Done::Defer(generation, PROBE_WAIT));
            }
            Err(NotNow::Failing(why)) if attempt + 1 < PROBE_ATTEMPTS => {
                tracing::warn!(account = %account, error = why, "probe.failing");
                return Ok(Done::Retry(PROBE_WAIT));
            }
            Err(NotNow::Failing(why)) => {
                Err(self.probe_failure(Outcome::Failed, format!("the probe failed {PROBE_ATTEMPTS} times: {why}")))
            }
        };
        store.record_probe(scan, account, generation, found).await?;
        Ok(Done::Ack)
    }

    fn probe_failure(&self, outcome: Outcome, reason: String) -> ProbeFailure {
        ProbeFailure { outcome, reason, code: None, request_id: None, at: self.parts.clock.now() }
    }

    /// Nothing can be written any more: stop, and say why.
    fn give_up(&self, why: String) {
        self.why_fatal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(why);
        self.draining.cancel();
        self.fatal.cancel();
    }
}
