//! Copies of the registry beside the results: a store that is lost takes the grants with it, and nothing else has them.

use super::FleetParts;
use crate::{Connections, RegistryCopy};
use fleetscan_proto::{Sink, SinkError, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often a copy is made.
const EVERY: Duration = Duration::from_secs(3_600);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);
/// Copies that are kept: two days of them. A removed account's grant is in none that is made after its removal, so it
/// ages out of all of them within this.
const KEPT: usize = 48;
/// Their folder, below the root of the results.
pub const REGISTRY_FOLDER: &str = "registry";

/// Makes a copy every hour. Grants stay sealed.
#[derive(Debug)]
pub(super) struct RegistryBackup {
    out: Option<String>,
    due: Instant,
}

impl RegistryBackup {
    /// `out`: root of the results; without it no copies are made.
    pub(super) fn new(out: Option<String>) -> Self {
        Self { out, due: Instant::now() }
    }

    pub(super) async fn beat(&mut self, parts: &FleetParts) -> Result<(), StoreError> {
        let Some(out) = &self.out else { return Ok(()) };
        if Instant::now() < self.due {
            return Ok(());
        }
        let desk = Connections {
            registry: Arc::clone(&parts.registry),
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
        };
        let copy = desk.copy().await?;
        let written = async {
            let sink = (parts.open_sink)(out)?;
            write(sink.as_ref(), &copy).await
        };
        match written.await {
            Ok(path) => {
                tracing::info!(accounts = copy.accounts.len(), path, "registry.copied");
                self.due = Instant::now() + EVERY;
            }
            Err(error) => {
                tracing::error!(%error, "registry.not_copied: a lost store could not be restored; tried again soon");
                self.due = Instant::now() + AGAIN;
            }
        }
        Ok(())
    }
}

/// Writes a copy, and removes the oldest ones.
async fn write(sink: &dyn Sink, copy: &RegistryCopy) -> Result<String, SinkError> {
    let text = serde_json::to_vec_pretty(copy).map_err(|error| SinkError::Refused(error.to_string()))?;
    let path = format!("{REGISTRY_FOLDER}/accounts-{}.json", copy.at.strftime("%Y%m%dT%H%M%SZ"));
    let mut file = sink.create(&path).await?;
    file.write(text).await?;
    file.commit().await?;
    let mut copies: Vec<String> = sink.list(REGISTRY_FOLDER).await?;
    copies.retain(|path| path.starts_with(&format!("{REGISTRY_FOLDER}/accounts-")));
    // Their names sort as they were made.
    copies.sort_unstable();
    let spare = copies.len().saturating_sub(KEPT);
    for old in &copies[..spare] {
        sink.remove(old).await?;
    }
    Ok(sink.locate(&path))
}
