//! Scans that cannot go on at present, for doctors: kept in the store by the coordinator that leads.

use fleetscan_proto::{Fleet, ScanId, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const NOTE: &str = "scans/waiting";

/// A scan that could not go on when it was last tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which scan.
    pub scan: ScanId,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub why: String,
}

/// Scans that cannot go on, as the leading coordinator last said.
pub async fn waiting(fleet: &dyn Fleet) -> Result<Vec<Waiting>, StoreError> {
    // What a newer version wrote and this one cannot read is no reason to stop.
    Ok(fleet.note(NOTE).await?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// What a leader knows of them.
#[derive(Debug, Default)]
pub(super) struct WaitingScans {
    scans: BTreeMap<ScanId, Waiting>,
    told: Option<Vec<Waiting>>,
}

impl WaitingScans {
    /// It could not go on, once more.
    pub(super) fn met(&mut self, scan: &ScanId, now: Timestamp, why: String) {
        let waiting = self.scans.entry(scan.clone());
        let waiting = waiting.or_insert_with(|| Waiting { scan: scan.clone(), since: now, why: String::new() });
        waiting.why = why;
    }

    /// It goes on, or is over.
    pub(super) fn over(&mut self, scan: &ScanId) {
        self.scans.remove(scan);
    }

    /// Forgets those that are under way no more.
    pub(super) fn keep(&mut self, under_way: impl Fn(&ScanId) -> bool) {
        self.scans.retain(|scan, _| under_way(scan));
    }

    /// Says how they stand, where that changed.
    pub(super) async fn tell(&mut self, fleet: &dyn Fleet) -> Result<(), StoreError> {
        let now: Vec<Waiting> = self.scans.values().cloned().collect();
        if self.told.as_ref() == Some(&now) {
            return Ok(());
        }
        let text = serde_json::to_string(&now).map_err(|error| StoreError::Refused(error.to_string()))?;
        fleet.keep_note(NOTE, (!now.is_empty()).then_some(text.as_str())).await?;
        self.told = Some(now);
        Ok(())
    }
}
