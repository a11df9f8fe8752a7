//! What a cell remembers beyond its scan, for as long as the store may be away.

use super::{Worker, persist};
use crate::{extract::Memory, guard::Guard};
use async_trait::async_trait;
use fleetscan_proto::{Cell, StoreError, activity::Activity};
use jiff::Timestamp;

/// The memory of a cell's account and region.
pub(super) struct CellMemory<'a> {
    pub(super) worker: &'a Worker,
    pub(super) cell: &'a Cell,
    pub(super) guard: &'a Guard,
}

#[async_trait]
impl Memory for CellMemory<'_> {
    async fn known(&self) -> Result<Activity, StoreError> {
        let Self { worker, cell, .. } = *self;
        persist!(worker, worker.parts.store.activity(&cell.account, &cell.region))
    }

    async fn add(&self, news: &Activity, oldest: Timestamp) -> Result<Activity, StoreError> {
        let Self { worker, cell, guard } = *self;
        // Of an account that was removed nothing more is remembered.
        if guard.account.is_cancelled() {
            return Ok(news.clone());
        }
        persist!(worker, worker.parts.store.add_activity(&cell.account, &cell.region, news, oldest))
    }
}
