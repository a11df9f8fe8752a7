//! The coordinator of a fleet: of those that run, one leads; it runs every scan that is under way and begins those
//! that are due.

mod breaker;
mod leader;
mod metrics;
mod newcomers;
mod registry_backup;
mod request;
mod schedule;
mod waiting;

pub use breaker::{Breaker, Force, Forced, breaker, force, forced};
pub use metrics::Metrics;
pub use registry_backup::REGISTRY_FOLDER;
pub use request::{Resumed, StartRequest, Started, resume, start};
pub use waiting::{Waiting, waiting};

use crate::{HubCheck, Progress, ScanOptions};
use fleetscan_proto::{
    AccountRegistry, Clock, EventReceiver, EventTrail, Fleet, ScanId, Sink, SinkError, Store, StoreError, TaskQueue,
    catalogue::Catalogue,
};
use leader::Leader;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// Opens the place that a scan's results go to.
pub type OpenSink = Arc<dyn Fn(&str) -> Result<Arc<dyn Sink>, SinkError> + Send + Sync>;

/// What a coordinator works with.
#[derive(Clone)]
pub struct FleetParts {
    /// Where tasks go.
    pub queue: Arc<dyn TaskQueue>,
    /// What is remembered of scans.
    pub store: Arc<dyn Store>,
    /// Who else is at work.
    pub fleet: Arc<dyn Fleet>,
    /// The accounts that are connected.
    pub registry: Arc<dyn AccountRegistry>,
    /// What happened.
    pub events: Arc<dyn EventTrail>,
    /// Who is told of it.
    pub receivers: Vec<Arc<dyn EventReceiver>>,
    /// The hub.
    pub hub: Arc<dyn HubCheck>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What may be read.
    pub catalogue: Arc<Catalogue>,
    /// Where results go.
    pub open_sink: OpenSink,
}

/// How a coordinator works.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Its name: unique among those alive.
    pub name: String,
    /// Bounds and times of each scan.
    pub scan: ScanOptions,
    /// How long its lead holds that is not renewed. Another takes over within this and two beats.
    pub lease: Duration,
    /// How often it looks.
    pub beat: Duration,
    /// Scans that it runs at once; urgent ones go first.
    pub scans_at_once: usize,
    /// After so long at the latest a worker hands in what it has of a cell.
    pub slice: Duration,
    /// The most of any published rate that workers use; for the manifest.
    pub share: f64,
    /// What it scans by itself; `None`: nothing.
    pub schedule: Option<ScheduleOptions>,
    /// Root below which copies of the registry are kept; `None`: none are made.
    pub registry_out: Option<String>,
}

/// What is scanned without being asked for.
#[derive(Debug, Clone)]
pub struct ScheduleOptions {
    /// Every account at least once in so long.
    pub every: Duration,
    /// Root of the results.
    pub out: String,
    /// Name of the profile.
    pub profile: String,
}

/// What a coordinator is about, for health checks and metrics.
#[derive(Debug, Clone, Default)]
pub struct CoordinatorState {
    /// It leads.
    pub leads: bool,
    /// The scans that it runs, and where they stand.
    pub scans: BTreeMap<ScanId, Progress>,
    /// When they began.
    pub started: BTreeMap<ScanId, jiff::Timestamp>,
}

/// A coordinator.
pub struct Coordinator {
    parts: FleetParts,
    options: FleetOptions,
    state: watch::Sender<CoordinatorState>,
    metrics: Arc<Metrics>,
    /// When the store last answered.
    heard: std::sync::Mutex<Option<Instant>>,
}

const LEAD: &str = "coordinator";

impl Coordinator {
    /// A coordinator that has not begun.
    pub fn new(parts: FleetParts, options: FleetOptions) -> Self {
        let metrics = Metrics::new(parts.receivers.iter().map(|receiver| receiver.name()));
        Self {
            parts,
            options,
            state: watch::Sender::default(),
            metrics: Arc::new(metrics),
            heard: std::sync::Mutex::default(),
        }
    }

    /// What it is about; updated at each beat.
    pub fn state(&self) -> watch::Receiver<CoordinatorState> {
        self.state.subscribe()
    }

    /// What Prometheus is told.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Whether it leads, or could.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.state.borrow().leads {
            // A leader whose store is away for longer than its lease leads no more.
            return Ok(());
        }
        match *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(at) if at.elapsed() < self.options.lease => Ok(()),
            Some(at) => Err(format!("the store has not answered for {} s", at.elapsed().as_secs())),
            None => Err("the store has not answered yet".to_owned()),
        }
    }

    /// Leads whenever nobody else does, until `stop`.
    ///
    /// # Errors
    /// When the store has lost its memory: nothing may go on until it is restored.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut beats = tokio::time::interval(self.options.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waits = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = beats.tick() => {}
            }
            let asked = Instant::now();
            let answer = self.parts.fleet.take_lease(LEAD, &self.options.name, self.options.lease).await;
            if answer.is_ok() {
                *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
            }
            match answer {
                Ok(Some(lease)) => {
                    tracing::info!(token = lease.token, "coordinator.leads");
                    waits = false;
                    let leader = Leader::new(&self.parts, &self.options, (&self.state, &self.metrics), lease, asked);
                    let ended = leader.run(&stop).await;
                    self.state.send_replace(CoordinatorState::default());
                    self.metrics.stands_by();
                    ended?;
                }
                Ok(None) if !waits => {
                    waits = true;
                    tracing::info!("coordinator.stands_by: another leads");
                }
                Ok(None) => {}
                Err(StoreError::Away(why)) => tracing::warn!(error = why, "store.away"),
                Err(error) => return Err(error),
            }
        }
    }
}
