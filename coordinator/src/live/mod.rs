//! What the fleet is about right now, for people and programs that look: read from the store and from what workers
//! report, so that a coordinator that stands by shows the same as the one that leads. Holds no grant.

mod account;
mod sampler;
mod scan;

pub use account::{AccountDetail, AccountLine, AccountPage, AccountQuery, CellView, Coverage};
pub use scan::ScanView;

use crate::{ConnectionError, Connections};
use fleetscan_proto::{AccountId, AccountRegistry, Clock, Fleet, ScanId, ScanState, Store, StoreError, WorkerReport};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// The fleet at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// When it was looked at, by this machine's clock.
    pub at: Timestamp,
    /// What could not be read, in a sentence: what follows is then as it last was.
    pub trouble: Option<String>,
    /// The coordinator that leads.
    pub leader: Option<String>,
    /// So many accounts deny AssumeRole that none is marked revoked.
    pub breaker_open: bool,
    /// Why, while it is open.
    pub breaker_why: Option<String>,
    /// Accounts that denied AssumeRole and wait for a verdict.
    pub suspects: u64,
    /// Scans that are under way, and the newest that are not.
    pub scans: Vec<ScanView>,
    /// Workers that report.
    pub workers: Vec<WorkerReport>,
    /// Accounts by state; looked at twice a minute.
    pub accounts: BTreeMap<&'static str, u64>,
    /// The last minutes, oldest first.
    pub history: Vec<Point>,
}

/// What the workers did between two looks, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Point {
    /// When the later of the two was.
    pub at: Timestamp,
    /// Calls to AWS a second.
    pub calls: f64,
    /// Of these, throttled.
    pub throttled: f64,
    /// Records written a second.
    pub records: f64,
    /// Cells that ended a second.
    pub cells: f64,
}

/// Looks at the fleet.
pub struct Live {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    registry: Arc<dyn AccountRegistry>,
    clock: Arc<dyn Clock>,
    now: watch::Sender<Arc<Overview>>,
}

impl Live {
    /// Looks from now on, every two seconds, for as long as it is kept.
    pub fn watch(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        registry: Arc<dyn AccountRegistry>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let now = watch::Sender::new(Arc::new(Overview { at: clock.now(), ..Overview::default() }));
        let live = Arc::new(Self { store, fleet, registry, clock, now });
        tokio::spawn(sampler::run(Arc::downgrade(&live)));
        live
    }

    /// The fleet, as it changes.
    pub fn overview(&self) -> watch::Receiver<Arc<Overview>> {
        self.now.subscribe()
    }

    /// One scan; `None`: there is none of this id.
    pub async fn scan(&self, id: &ScanId) -> Result<Option<ScanView>, StoreError> {
        let Some(row) = self.store.scan(id).await? else { return Ok(None) };
        let counts = self.store.counts(id).await?;
        Ok(Some(ScanView::new(&row, &counts, None, self.clock.now())))
    }

    /// The newest scans, at most so many.
    pub async fn scans(&self, limit: usize) -> Result<Vec<ScanView>, StoreError> {
        let mut views = Vec::new();
        for row in self.store.scans().await?.into_iter().take(limit) {
            let counts = self.store.counts(&row.spec.id).await?;
            views.push(ScanView::new(&row, &counts, None, self.clock.now()));
        }
        Ok(views)
    }

    /// Cancels a running scan. Answers whether it was running.
    pub async fn cancel(&self, id: &ScanId) -> Result<bool, StoreError> {
        match self.store.scan(id).await? {
            Some(row) if row.state == ScanState::Running => {
                self.store.end_scan(id, ScanState::Cancelling, self.clock.now()).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Leaves an account alone from now on.
    pub async fn pause(&self, id: &AccountId) -> Result<(), ConnectionError> {
        self.connections().pause(id).await
    }

    /// Ends a pause.
    pub async fn resume(&self, id: &AccountId) -> Result<(), ConnectionError> {
        self.connections().resume(id).await
    }

    fn connections(&self) -> Connections {
        Connections {
            registry: Arc::clone(&self.registry),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        }
    }
}
