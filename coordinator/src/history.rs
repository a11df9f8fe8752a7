//! Which of the older results are kept: the newest scans whole, and of the others each cell's newest complete reading.
//!
//! What is kept is decided by what lies in the sink (manifests and ledgers), whatever store its scans were run with; the
//! store says only which scans are under way, and forgets those that are no longer whole. How a scan's files are changed
//! so that a kill at any moment does no harm is told in [`rewrite`](self). One process at a time does so, where the sink
//! can keep the others out ([`Sink::alone`]). A scan whose files are damaged is left as it is.

mod merge;
mod purge;
mod rewrite;
#[cfg(test)]
pub(crate) mod tests;

pub use merge::Ledgers;
pub use purge::{Purged, purge, purge_scan};

use crate::{
    ScanError,
    ledger_file::{read_ledger, read_manifest, read_manifest_at},
};
use fleetscan_proto::{Manifest, Outcome, ResultPaths, ScanId, ScanRow, Sink, SinkError, Store, Thinned};
use jiff::Timestamp;
use rewrite::Keep;
use std::collections::BTreeSet;
use tokio::sync::Mutex;

/// Scans that end in one process at once prune one after the other.
static PRUNING: Mutex<()> = Mutex::const_new(());

/// All scans that have files below the sink's root, newest first.
pub async fn scans_in(sink: &dyn Sink) -> Result<Vec<ScanId>, ScanError> {
    let folders = sink.folders().await?;
    let mut ids: Vec<ScanId> = folders.iter().filter_map(|name| name.strip_prefix("scan=")?.parse().ok()).collect();
    ids.sort_by(|a, b| b.cmp(a));
    Ok(ids)
}

/// Prunes the results in `out`, keeping the `keep` newest ended scans whole. Scans that have not ended are left alone.
pub async fn prune(
    store: &dyn Store,
    sink: &dyn Sink,
    out: &str,
    keep: usize,
    now: Timestamp,
) -> Result<(), ScanError> {
    let _alone = PRUNING.lock().await;
    let _others = sink.alone().await?;
    let mut rows = store.scans().await?;
    rows.retain(|row| row.spec.out == out);
    let under_way = |row: &&ScanRow| row.state.is_under_way();
    let busy: BTreeSet<ScanId> = rows.iter().filter(under_way).map(|row| row.spec.id.clone()).collect();
    rows.retain(|row| !busy.contains(&row.spec.id));
    let (mut ended, mut damaged) = (Vec::new(), BTreeSet::new());
    for id in scans_in(sink).await? {
        if busy.contains(&id) {
            continue;
        }
        match sound(sink, &id).await {
            Ok(manifest) => ended.extend(manifest),
            // What it read is not known, so it neither pushes others out nor is pushed out.
            Err(ScanError::Sink(error @ SinkError::Damaged(_))) => {
                tracing::warn!(scan = %id, %error, "history.damaged: its files are left as they are");
                damaged.insert(id);
            }
            Err(error) => return Err(error),
        }
    }
    thin_out(store, sink, &rows, &ended, keep, now).await?;
    // What the store remembers of scans that left no results, or whose results somebody removed.
    let oldest = ended.get(keep.saturating_sub(1)).map(|manifest| &manifest.scan);
    for ScanRow { spec, .. } in &rows {
        let known = damaged.contains(&spec.id) || ended.iter().any(|manifest| manifest.scan == spec.id);
        if !known && oldest.is_some_and(|oldest| spec.id < *oldest) {
            rewrite::remove(sink, &spec.id, None).await?;
            store.forget_scan(&spec.id).await?;
        }
    }
    Ok(())
}

/// A scan's manifest, as [`whole_again`] has it, and only if its ledger can be read to its end.
async fn sound(sink: &dyn Sink, id: &ScanId) -> Result<Option<Manifest>, ScanError> {
    let manifest = whole_again(sink, id).await?;
    if manifest.is_some() {
        let mut ledger = read_ledger(sink, &ResultPaths(id).ledger()).await.map_err(not_there)?;
        blocking(move || ledger.try_for_each(|line| line.map(drop))).await?;
    }
    Ok(manifest)
}

/// A ledger that a manifest vouches for and that is not there is damage like any other.
fn not_there(error: SinkError) -> SinkError {
    match error {
        SinkError::Missing(path) => SinkError::Damaged(format!("{path}: the scan has a manifest and no ledger")),
        error => error,
    }
}

/// A scan's manifest, after ending what a kill interrupted in its files; `None` where it has not ended, or is gone.
async fn whole_again(sink: &dyn Sink, id: &ScanId) -> Result<Option<Manifest>, ScanError> {
    let paths = ResultPaths(id);
    let manifest = read_manifest(sink, id).await?;
    if manifest.is_some() {
        sink.remove(&paths.next_manifest()).await?;
        return Ok(manifest);
    }
    let Some(next) = read_manifest_at(sink, &paths.next_manifest()).await? else { return Ok(None) };
    tracing::warn!(scan = %id, "history.resumed: a change of its files had been interrupted");
    rewrite::resume(sink, next).await
}

/// Thins out the scans beyond the newest `keep`. `ended`: newest first.
async fn thin_out(
    store: &dyn Store,
    sink: &dyn Sink,
    rows: &[ScanRow],
    ended: &[Manifest],
    keep: usize,
    now: Timestamp,
) -> Result<(), ScanError> {
    if ended.len() <= keep {
        return Ok(());
    }
    let needed = needed_lines(sink, ended, keep).await?;
    for (manifest, lines) in ended[keep..].iter().zip(needed) {
        let id = &manifest.scan;
        let left = lines.iter().filter(|needed| **needed).count();
        if left == 0 {
            rewrite::remove(sink, id, Some(manifest)).await?;
        } else if left < lines.len() || manifest.thinned.is_none() {
            let of_cells = manifest.thinned.as_ref().map_or(lines.len() as u64, |thinned| thinned.of_cells);
            let mut next = manifest.clone();
            next.thinned = Some(Thinned { of_cells, at: now });
            rewrite::rewrite(sink, next, Keep::Lines(&lines)).await?;
        }
        if rows.iter().any(|row| row.spec.id == *id) {
            store.forget_scan(id).await?;
        }
    }
    Ok(())
}

/// For each scan beyond the newest `keep`, which lines of its ledger are a cell's newest complete reading.
async fn needed_lines(sink: &dyn Sink, ended: &[Manifest], keep: usize) -> Result<Vec<Vec<bool>>, ScanError> {
    let mut readers = Vec::new();
    for manifest in ended {
        readers.push(read_ledger(sink, &ResultPaths(&manifest.scan).ledger()).await?);
    }
    let mut needed = vec![Vec::new(); ended.len() - keep];
    blocking(move || {
        let mut ledgers = Ledgers::new(readers);
        while let Some(lines) = ledgers.next_cell()? {
            let newest = lines.iter().find(|(_, line)| line.outcome == Outcome::Complete).map(|(at, _)| *at);
            for (at, _) in lines.iter().filter(|(at, _)| *at >= keep) {
                needed[at - keep].push(newest == Some(*at));
            }
        }
        Ok(needed)
    })
    .await
}

/// Millions of lines are read on a thread of their own: whoever leads has a lease to renew meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, ScanError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(panic) => Err(ScanError::Internal(format!("reading a ledger: {panic}"))),
    }
}
