//! Which of the older results are kept: the newest scans whole, and of the others each cell's newest complete reading.
//!
//! A scan that is no longer whole loses its manifest first, then its ledger shrinks to the cells that are kept, then
//! the other files go: whatever moment a kill picks, no ledger lists a file that is gone, and the next scan goes on.

use crate::{
    ScanError,
    dispatch::PAGE,
    ledger_file::{LedgerWriter, read_ledger},
};
use fleetscan_proto::{AccountId, Cell, LedgerLine, Outcome, ResultPaths, ScanId, ScanRow, ScanState, Sink, Store};
use std::collections::BTreeSet;

/// Prunes the results in `out`, keeping the `keep` newest ended scans whole. Scans that have not ended are left alone.
pub async fn prune(store: &dyn Store, sink: &dyn Sink, out: &str, keep: usize) -> Result<(), ScanError> {
    let mut ended: Vec<ScanRow> = store.scans().await?;
    ended.retain(|row| row.spec.out == out && !matches!(row.state, ScanState::Running | ScanState::Cancelling));
    let finished = |row: &&ScanRow| row.state == ScanState::Finished;
    // Newest first, so that each scan is measured against all newer ones that are still there.
    let mut newer: Vec<&ScanId> = ended.iter().take(keep).filter(finished).map(|row| &row.spec.id).collect();
    for row in ended.iter().skip(keep) {
        let id = &row.spec.id;
        let kept = if finished(&row) { thin_out(store, sink, id, &newer).await? } else { 0 };
        if kept > 0 {
            newer.push(id);
        } else {
            for path in sink.list(&ResultPaths(id).root()).await? {
                sink.remove(&path).await?;
            }
            sink.sweep(&ResultPaths(id).root()).await?;
            store.forget_scan(id).await?;
        }
    }
    Ok(())
}

/// Leaves of a scan only those cells that no newer scan has completely. Answers how many.
async fn thin_out(store: &dyn Store, sink: &dyn Sink, id: &ScanId, newer: &[&ScanId]) -> Result<u64, ScanError> {
    let paths = ResultPaths(id);
    let mut rows = Complete::new(id);
    let mut later: Vec<Complete> = newer.iter().map(|id| Complete::new(id)).collect();
    let mut kept = 0_u64;
    let mut ledger: Option<LedgerWriter> = None;
    let mut listed = BTreeSet::new();
    while let Some(line) = rows.next(store).await? {
        let mut superseded = false;
        for scan in &mut later {
            superseded |= scan.has(store, &line.cell).await?;
        }
        if superseded {
            continue;
        }
        kept += 1;
        if ledger.is_none() {
            sink.remove(&paths.manifest()).await?;
            ledger = Some(LedgerWriter::create(sink, &paths.ledger()).await?);
        }
        listed.extend(line.parts.iter().map(|part| paths.part(&line.cell, &part.name)));
        if let Some(file) = &mut ledger {
            file.write(&line).await?;
        }
    }
    let Some(file) = ledger else { return Ok(0) };
    file.commit().await?;
    for path in sink.list(&paths.records()).await? {
        if !listed.contains(&path) {
            sink.remove(&path).await?;
        }
    }
    Ok(kept)
}

/// Removes what was read of an account, from every scan below the sink's root; ledgers keep its lines, without parts.
/// Answers how many files went.
pub async fn purge(sink: &dyn Sink, account: &AccountId) -> Result<u64, ScanError> {
    let marker = format!("/cell_account=a{account}/");
    let mut scans: BTreeSet<ScanId> = BTreeSet::new();
    let mut files = 0;
    for path in sink.list("").await? {
        let scan = path.split('/').next().and_then(|folder| folder.strip_prefix("scan=")?.parse().ok());
        if let (Some(scan), true) = (scan, path.contains(&marker)) {
            scans.insert(scan);
        }
    }
    for scan in scans {
        let paths = ResultPaths(&scan);
        // The ledger first: it must not list what is gone. A scan without one is under way, and its store lists parts.
        if let Ok(lines) = read_ledger(sink, &paths.ledger()).await {
            let mut file = LedgerWriter::create(sink, &paths.ledger()).await?;
            for line in lines {
                let mut line = line?;
                if line.cell.account == *account {
                    line.parts.clear();
                    line.totals.records = 0;
                    line.error = Some("purged at the operator's wish".to_owned());
                }
                file.write(&line).await?;
            }
            file.commit().await?;
        }
        for path in sink.list(&paths.account(account)).await? {
            sink.remove(&path).await?;
            files += 1;
        }
    }
    Ok(files)
}

/// A scan's complete cells, in order, a page at a time.
struct Complete {
    scan: ScanId,
    page: std::vec::IntoIter<LedgerLine>,
    next: Option<LedgerLine>,
    after: Option<Cell>,
    ended: bool,
}

impl Complete {
    fn new(scan: &ScanId) -> Self {
        Self { scan: scan.clone(), page: Vec::new().into_iter(), next: None, after: None, ended: false }
    }

    async fn next(&mut self, store: &dyn Store) -> Result<Option<LedgerLine>, ScanError> {
        loop {
            match self.page.next() {
                Some(line) if line.outcome == Outcome::Complete => return Ok(Some(line)),
                Some(_) => {}
                None if self.ended => return Ok(None),
                None => {
                    let page = store.ledger(&self.scan, self.after.as_ref(), PAGE).await?;
                    self.ended = page.len() < PAGE;
                    self.after = page.last().map(|line| line.cell.clone()).or(self.after.take());
                    self.page = page.into_iter();
                }
            }
        }
    }

    /// Whether the cell is among them; cells must be asked for in order.
    async fn has(&mut self, store: &dyn Store, cell: &Cell) -> Result<bool, ScanError> {
        loop {
            if let Some(line) = &self.next
                && line.cell >= *cell
            {
                return Ok(line.cell == *cell);
            }
            self.next = self.next(store).await?;
            if self.next.is_none() {
                return Ok(false);
            }
        }
    }
}
