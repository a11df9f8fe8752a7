use fleetscan_proto::{ScanId, Sink, SinkError, Store, StoreError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Places that are kept open; scans that run at once are fewer.
const MAX_OPEN: usize = 64;

/// Opens the place that a scan's request names; it may block.
pub type Opener = Arc<dyn Fn(&str) -> Result<Arc<dyn Sink>, SinkError> + Send + Sync>;

/// Where each scan's results go.
pub enum Sinks {
    /// One place for all.
    One(Arc<dyn Sink>),
    /// Where each scan's own request says.
    ByScan {
        /// Knows the scans.
        store: Arc<dyn Store>,
        /// Opens a place by its name.
        opener: Opener,
        /// The places in use.
        open: Mutex<HashMap<ScanId, Arc<dyn Sink>>>,
    },
}

/// Why a scan's place is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum NoSink {
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Nobody knows the scan any more.
    #[error("the scan is not known")]
    NoScan,
}

impl Sinks {
    /// As the store's scans say, opened by `opener`.
    pub fn by_scan(store: Arc<dyn Store>, opener: Opener) -> Self {
        Self::ByScan { store, opener, open: Mutex::default() }
    }

    /// The place of one scan's results.
    pub async fn of(&self, scan: &ScanId) -> Result<Arc<dyn Sink>, NoSink> {
        let (store, opener, places) = match self {
            Sinks::One(sink) => return Ok(Arc::clone(sink)),
            Sinks::ByScan { store, opener, open } => (store, Arc::clone(opener), open),
        };
        if let Some(sink) = places.lock().unwrap_or_else(PoisonError::into_inner).get(scan) {
            return Ok(Arc::clone(sink));
        }
        let row = store.scan(scan).await?.ok_or(NoSink::NoScan)?;
        // Opening a folder tries to write to it.
        let sink = tokio::task::spawn_blocking(move || opener(&row.spec.out))
            .await
            .map_err(|_| SinkError::Unavailable("the process is ending".into()))??;
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MAX_OPEN {
            places.clear();
        }
        places.insert(scan.clone(), Arc::clone(&sink));
        Ok(sink)
    }
}
