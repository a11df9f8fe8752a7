//! A cell, from its operations to its records.
//!
//! Each operation that has no parent is a walk over pages; all walks of a cell run side by side, for each draws on
//! buckets of its own. The items of a page are worked on side by side as well, each with the calls that the catalogue
//! wants for it. An item counts as done when its records are written: a cell that is interrupted goes on at the page
//! where it stood, with the items that were not done, so that nothing is skipped and nothing stands twice.
//!
//! An operation that tells what was done is walked another way (`history`).

mod ask;
mod history;
mod item;
mod record;
mod state;
mod walk;

use ask::{Page, Refusal};
pub use history::{Memory, Recollection};
pub use state::{CellEnd, outcome_of};

use crate::{
    account::AccountContext,
    call::{Budget, Caller},
    session::SessionError,
    sink::RecordWriter,
};
use fleetscan_proto::{Cell, CellProgress, SinkError, StoreError, catalogue::Service};
use serde_json::Value;
use state::State;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// Items of a page that are worked on at once.
const ITEMS_AT_ONCE: usize = 16;
/// Walks of a cell that run at once.
const WALKS_AT_ONCE: usize = 8;

/// Why a cell stopped before its end.
#[derive(Debug)]
pub enum Halt {
    /// Its time slice is over, the worker drains, or the cell is no longer ours to read.
    Yield,
    /// A bucket is far from its next token.
    Defer(std::time::Duration),
    /// AWS throttled more often than the budget bears.
    ThrottledOut,
    /// The region is not enabled.
    RegionDisabled,
    /// A stored page token is not accepted any more: all from the start.
    Restart,
    /// There is no session.
    Session(SessionError),
    /// The results cannot be written.
    Sink(SinkError),
    /// What was done cannot be remembered.
    Store(StoreError),
}

/// The reading of one cell.
pub struct Extraction<'a> {
    caller: &'a Caller,
    account: &'a Arc<AccountContext>,
    service: &'a Service,
    cell: &'a Cell,
    /// Region that calls are signed for.
    region: &'a str,
    budget: Budget,
    state: Mutex<State>,
    writer: AsyncMutex<RecordWriter>,
    recollection: Recollection<'a>,
    slice_ends: Instant,
    drain: CancellationToken,
}

/// What an extraction needs.
pub struct ExtractionParts<'a> {
    /// Makes the calls.
    pub caller: &'a Caller,
    /// The account in work.
    pub account: &'a Arc<AccountContext>,
    /// The service.
    pub service: &'a Service,
    /// The cell.
    pub cell: &'a Cell,
    /// Where it stands.
    pub progress: CellProgress,
    /// What its calls may cost.
    pub budget: Budget,
    /// Where its records go.
    pub writer: RecordWriter,
    /// What it may read of what was done, and where that is remembered.
    pub recollection: Recollection<'a>,
    /// When it should hand in its part and queue itself again.
    pub slice_ends: Instant,
    /// Cancelled when the worker drains.
    pub drain: CancellationToken,
}

impl<'a> Extraction<'a> {
    /// An extraction that has not begun.
    pub fn new(parts: ExtractionParts<'a>) -> Self {
        let ExtractionParts {
            caller,
            account,
            service,
            cell,
            progress,
            budget,
            writer,
            recollection,
            slice_ends,
            drain,
        } = parts;
        Self {
            caller,
            account,
            service,
            cell,
            region: service.signing_region(&cell.region),
            budget,
            state: Mutex::new(State::new(progress)),
            writer: AsyncMutex::new(writer),
            recollection,
            slice_ends,
            drain,
        }
    }

    /// Reads until the end or a halt; either way, answers what there is.
    pub async fn run(self) -> CellEnd {
        let halt = self.walks().await.err();
        let (calls, throttled) = (self.budget.calls.into_inner(), self.budget.throttled.into_inner());
        let progress = self.state.into_inner().unwrap_or_else(PoisonError::into_inner).into_progress(calls, throttled);
        CellEnd { halt, progress, writer: self.writer.into_inner() }
    }

    fn must_halt(&self) -> bool {
        self.drain.is_cancelled() || self.budget.guard().must_hand_in() || Instant::now() >= self.slice_ends
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An item and those that it was found under.
#[derive(Clone, Copy)]
struct Chain<'c> {
    item: &'c Value,
    up: Option<&'c Chain<'c>>,
}

impl<'c> Chain<'c> {
    /// How many items there are, this one included.
    fn depth(&self) -> usize {
        1 + self.up.map_or(0, Chain::depth)
    }
    fn ancestor(&self, up: usize) -> Option<&'c Value> {
        match up {
            0 => Some(self.item),
            n => self.up?.ancestor(n - 1),
        }
    }
}
