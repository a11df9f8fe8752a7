use super::{FleetParts, ScheduleOptions, StartRequest, start};
use crate::ScanError;
use fleetscan_proto::{Lane, ScanRow, StoreError};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is asked whether a scan is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Begins a scan of every connected account whenever the last one began too long ago.
pub(super) struct Schedule {
    options: Option<ScheduleOptions>,
    looked: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(options: Option<ScheduleOptions>) -> Self {
        Self { options, looked: None }
    }

    /// `running`: the scans under way.
    pub(super) async fn beat(&mut self, parts: &FleetParts, running: &[ScanRow]) -> Result<(), StoreError> {
        let Some(options) = &self.options else { return Ok(()) };
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        // The next one begins when this one has ended, however long it takes: two at once would only share the limits.
        if running.iter().any(|row| row.spec.scheduled) {
            return Ok(());
        }
        let now = parts.clock.now();
        let last = parts.store.scans().await?.into_iter().filter(|row| row.spec.scheduled).map(|r| r.spec.started_at);
        let due =
            last.max().is_none_or(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default() >= options.every);
        if !due {
            return Ok(());
        }
        let request = StartRequest {
            out: options.out.clone(),
            profile: options.profile.clone(),
            lane: Lane::Normal,
            scheduled: true,
            ..StartRequest::default()
        };
        match start(parts.store.as_ref(), parts.registry.as_ref(), &parts.catalogue, now, request).await {
            Ok(started) => tracing::info!(scan = %started.id, accounts = started.accounts, "schedule.started"),
            Err(ScanError::Store(error)) => return Err(error),
            Err(error) => tracing::info!(%error, "schedule.nothing_to_scan"),
        }
        Ok(())
    }
}
