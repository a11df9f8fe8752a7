//! The stocks of cells that were asked for lately.

use crate::stock::{CellKey, Stock};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Cells that are kept.
const CELLS: usize = 2_048;
/// Bytes that they hold together, roughly; a single cell may hold more.
const BYTES: usize = 512 << 20;

#[derive(Debug)]
struct Entry {
    stock: Arc<OnceLock<Stock>>,
    used: u64,
}

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<CellKey, Entry>,
    clock: u64,
}

/// A bounded cache: what is dropped is made again, and is the same.
#[derive(Debug, Default)]
pub(crate) struct Stocks(Mutex<Kept>);

impl Stocks {
    /// The stock of a cell, to be made by whoever comes first.
    pub(crate) fn slot(&self, cell: CellKey) -> Arc<OnceLock<Stock>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let used = kept.clock;
        if let Some(entry) = kept.cells.get_mut(&cell) {
            entry.used = used;
            return Arc::clone(&entry.stock);
        }
        make_room(&mut kept.cells);
        let stock = Arc::new(OnceLock::new());
        kept.cells.insert(cell, Entry { stock: Arc::clone(&stock), used });
        stock
    }

    /// Drops everything: something that answers are made of was changed.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cells.clear();
    }
}

/// Drops a quarter of the cells, those that nobody asked for longest, when there are too many or they hold too much.
fn make_room(cells: &mut HashMap<CellKey, Entry>) {
    let total: usize = cells.values().filter_map(|entry| entry.stock.get()).map(|stock| stock.weight).sum();
    if cells.len() < CELLS && total <= BYTES {
        return;
    }
    let mut by_use: Vec<u64> = cells.values().map(|entry| entry.used).collect();
    let at = by_use.len() / 4;
    let (_, oldest, _) = by_use.select_nth_unstable(at);
    let oldest = *oldest;
    cells.retain(|_, entry| entry.used > oldest);
}
