//! The stocks of cells that were asked for lately.

use crate::stock::{CellKey, Stock};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

const SHARDS: usize = 32;
/// Cells in a shard.
const CELLS: usize = 128;
/// Answers in a shard, all its cells together; a single cell may hold more.
const ANSWERS: usize = 8_000;

#[derive(Debug)]
struct Entry {
    stock: Arc<OnceLock<Stock>>,
    used: u64,
}

/// A bounded cache: what is dropped is made again, and is the same.
#[derive(Debug)]
pub(crate) struct Stocks {
    shards: Vec<Mutex<HashMap<CellKey, Entry>>>,
    clock: AtomicU64,
}

impl Stocks {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), clock: AtomicU64::new(0) }
    }

    /// The stock of a cell, to be made by whoever comes first.
    pub(crate) fn slot(&self, cell: CellKey) -> Arc<OnceLock<Stock>> {
        let used = self.clock.fetch_add(1, Relaxed);
        let shard = (cell.account as usize * 31 + usize::from(cell.region.0) * 7 + usize::from(cell.service)) % SHARDS;
        let mut cells = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cells.get_mut(&cell) {
            entry.used = used;
            return Arc::clone(&entry.stock);
        }
        make_room(&mut cells);
        let stock = Arc::new(OnceLock::new());
        cells.insert(cell, Entry { stock: Arc::clone(&stock), used });
        stock
    }

    /// Drops everything: something that answers are made of was changed.
    pub(crate) fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).clear());
    }
}

fn make_room(cells: &mut HashMap<CellKey, Entry>) {
    let weight = |entry: &Entry| entry.stock.get().map_or(1, |stock| stock.weight);
    let mut total: usize = cells.values().map(weight).sum();
    while cells.len() >= CELLS || (total > ANSWERS && cells.len() > 1) {
        let Some(oldest) = cells.iter().min_by_key(|(_, entry)| entry.used).map(|(cell, _)| *cell) else { return };
        total -= cells.remove(&oldest).as_ref().map_or(0, weight);
    }
}
