//! A scan on one machine: coordinator and worker in this process, with the embedded queue and store between them.

use crate::{
    display,
    failure::Failure,
    numbers::{grouped, many},
    out::Out,
    summary::Summary,
    terminal::Terminal,
};
use async_trait::async_trait;
use fleetscan_backends::embedded::{DataLock, EmbeddedQueue, EmbeddedStore};
use fleetscan_coordinator::{HubCheck, OpenedScan, Registry, ScanEnd, ScanOptions, ScanParts, ScanRequest, ScanRunner};
use fleetscan_proto::{
    Account, AccountId, Clock as _, Grants, ScanId, Store, SystemClock, TaskQueue, catalogue::Catalogue,
};
use fleetscan_worker::{Hub, Worker, WorkerConfig, WorkerParts, session_name, sink::Sinks};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Tasks that the queue holds at most: the window, and room for old copies that do nothing any more.
const QUEUE_BOUND: usize = 65_536;
/// How long a worker may take to stop in order; what it holds then is read again at the next run.
const DRAIN: Duration = Duration::from_secs(60);

/// What a scan on one machine needs.
pub struct Machine {
    pub hub: Arc<Hub>,
    pub out: Out,
    pub data: PathBuf,
    /// What is read: a profile's part of the catalogue.
    pub catalogue: Arc<Catalogue>,
    pub worker: WorkerConfig,
    pub terminal: Terminal,
}

/// How it ended.
pub enum Ended {
    Finished(Box<Summary>),
    Interrupted { id: ScanId, done: u64 },
}

/// The hub, asked who it is, and its canaries, asked whether they still let us in.
pub struct HubIdentity {
    hub: Arc<Hub>,
    canaries: Vec<AccountId>,
    grants: Option<Arc<dyn Grants>>,
}

impl HubIdentity {
    /// Only who it is.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, canaries: Vec::new(), grants: None }
    }

    /// With accounts that are known to be well.
    pub fn with_canaries(hub: Arc<Hub>, canaries: Vec<AccountId>, grants: Arc<dyn Grants>) -> Self {
        Self { hub, canaries, grants: Some(grants) }
    }

    /// Whether every canary lets us in.
    pub async fn canaries(&self) -> Result<(), String> {
        for id in &self.canaries {
            self.canary(id).await?;
        }
        Ok(())
    }

    async fn canary(&self, id: &AccountId) -> Result<(), String> {
        let Some(grants) = &self.grants else { return Ok(()) };
        let account = grants.account(id).await.map_err(|error| format!("canary {id}: {error}"))?;
        let Some(account) = account else {
            return Err(format!("canary {id} is not connected: name another with --canary"));
        };
        let name = session_name("SecurityV0-Canary", id, SystemClock.now());
        self.hub
            .lets_in(&account, &name)
            .await
            .map_err(|failure| format!("canary {id} does not let us in ({})", failure.code))
    }
}

#[async_trait]
impl HubCheck for HubIdentity {
    async fn check(&self) -> Result<(), String> {
        self.hub.identity().await.map_err(|error| error.to_string())?;
        self.canaries().await
    }
}

impl Machine {
    /// Runs a scan to its end, or until `stop`. `accounts` are scanned as `request` says.
    pub async fn scan(
        &self,
        accounts: Vec<Account>,
        request: ScanRequest,
        options: ScanOptions,
        stop: &CancellationToken,
    ) -> Result<Ended, Failure> {
        let _lock = DataLock::take(&self.data).map_err(Failure::failed)?;
        let memory = Arc::new(EmbeddedStore::open(&self.data).map_err(Failure::failed)?);
        let store: Arc<dyn Store> = memory.clone();
        let queue: Arc<dyn TaskQueue> = Arc::new(EmbeddedQueue::new(QUEUE_BOUND));
        let accounts = Arc::new(Registry::new(accounts));
        let catalogue = Arc::clone(&self.catalogue);
        let clock = Arc::new(SystemClock);
        let worker = Worker::new(
            self.worker.clone(),
            WorkerParts {
                queue: queue.clone(),
                store: store.clone(),
                sinks: Arc::new(Sinks::One(self.out.sink.clone())),
                grants: accounts.clone(),
                catalogue: catalogue.clone(),
                hub: self.hub.clone(),
                clock: clock.clone(),
                fleet: None,
            },
        );
        let parts = ScanParts {
            fleet: None,
            queue,
            store,
            events: memory.clone(),
            notes: memory,
            sink: self.out.sink.clone(),
            hub: Arc::new(HubIdentity::new(self.hub.clone())),
            clock,
            catalogue,
            accounts: accounts.clone(),
        };
        let runner = ScanRunner::new(parts, request, options);
        let opened = runner.open(&accounts).await?;
        self.announce(&opened);
        self.work(&runner, &opened, worker, stop).await
    }

    fn announce(&self, opened: &OpenedScan) {
        let spec = &opened.spec;
        let what = format!("{}, {}", many(spec.accounts, "account"), many(spec.services.len() as u64, "service"));
        let begun = match opened.resumed {
            false => format!("Scan {} begins: {what}\nResults in {}", spec.id, self.out.name),
            true => format!(
                "Scan {} goes on: {what}; {} of {} cells known so far are done",
                spec.id,
                grouped(opened.counts.cells - opened.counts.pending()),
                grouped(opened.counts.cells)
            ),
        };
        display::note(&begun);
    }

    async fn work(
        &self,
        runner: &ScanRunner,
        opened: &OpenedScan,
        worker: Arc<Worker>,
        stop: &CancellationToken,
    ) -> Result<Ended, Failure> {
        let worker_stop = CancellationToken::new();
        let progress = runner.progress();
        let shown = worker.clone();
        let showing =
            tokio::spawn(display::show(runner.progress(), move || shown.stats(), Duration::ZERO, self.terminal));
        let mut working = tokio::spawn(worker.run(worker_stop.clone()));
        let end = tokio::select! {
            end = runner.run(opened, stop.clone()) => end.map_err(Failure::from),
            died = &mut working => return Err(died_early(died)),
        };
        showing.abort();
        let _ = showing.await; // an aborted task answers with an error, which says nothing
        if let Ok(ScanEnd::Interrupted) = end {
            display::note("Stopping in order; interrupt again to stop at once.");
        }
        worker_stop.cancel();
        match tokio::time::timeout(DRAIN, working).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the worker did not stop in order"),
            Ok(Err(error)) => tracing::warn!(%error, "the worker did not stop in order"),
            Err(_) => tracing::warn!("the worker took too long to stop; what it was reading is read again next time"),
        }
        match end? {
            ScanEnd::Interrupted => {
                Ok(Ended::Interrupted { id: opened.spec.id.clone(), done: progress.borrow().done_cells() })
            }
            ScanEnd::Finished(manifest) => {
                let mut summary = Summary::read(&self.out, *manifest).await?;
                summary.resumed = opened.resumed;
                Ok(Ended::Finished(Box::new(summary)))
            }
        }
    }
}

/// A scan whose worker is gone would wait for ever.
fn died_early(died: Result<anyhow::Result<()>, tokio::task::JoinError>) -> Failure {
    let why = match died {
        Ok(Ok(())) => "it ended".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => error.to_string(),
    };
    Failure::failed(format!("the worker stopped in the middle of the scan: {why}; run the same command to go on"))
}
