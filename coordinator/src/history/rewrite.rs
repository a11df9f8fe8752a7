//! Changes a scan's files to fewer cells, or to none.
//!
//! The order: `manifest.next.json` is written; `manifest.json` goes; the ledger is replaced by its shorter self; the
//! files that it no longer lists go; `manifest.json` comes back with the new counts; `manifest.next.json` goes. So
//! whatever moment a kill picks, no ledger lists a file that is gone, a scan with a manifest is whole, and a
//! `manifest.next.json` without a manifest says that there is something to end, and has the scan's versions and times.

use crate::{
    ScanError,
    finalise::{READERS, count_part},
    ledger_file::{LedgerReader, LedgerWriter},
    parts::PartTrouble,
};
use fleetscan_proto::{
    AccountId, Count, LedgerLine, Manifest, Opened, Outcome, PartName, ResultPaths, ScanId, Sink, SinkError, Stored,
    WorkTotals,
};
use futures_util::{StreamExt as _, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which lines of a ledger stay.
#[derive(Clone, Copy)]
pub(super) enum Keep<'a> {
    /// By number.
    Lines(&'a [bool]),
    /// Those of other accounts.
    AllBut(&'a AccountId),
    /// Every one.
    All,
}

impl Keep<'_> {
    fn keeps(self, number: usize, line: &LedgerLine) -> bool {
        match self {
            Keep::Lines(lines) => lines.get(number).copied().unwrap_or(false),
            Keep::AllBut(account) => line.cell.account != *account,
            Keep::All => true,
        }
    }
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) lines: u64,
    pub(super) parts: u64,
    pub(super) bytes: u64,
}

/// A ledger as it was before its change: several passes read it.
type Packed = Arc<dyn Opened>;

/// Leaves of a scan what `keep` says. `manifest`: the present one, with what shall stand in the new one beside counts.
pub(super) async fn rewrite(sink: &dyn Sink, manifest: Manifest, keep: Keep<'_>) -> Result<Gone, ScanError> {
    let id = manifest.scan.clone();
    let paths = ResultPaths(&id);
    let ledger = sink.open(&paths.ledger()).await?;
    let next = counted(sink, manifest, &ledger, keep, true).await?;
    change(sink, next, &ledger, keep, false).await
}

/// Ends a change of a scan's files that was interrupted: whatever its ledger lists now is what is kept.
pub(super) async fn resume(sink: &dyn Sink, next: Manifest) -> Result<Option<Manifest>, ScanError> {
    let id = next.scan.clone();
    let paths = ResultPaths(&id);
    let ledger = match sink.open(&paths.ledger()).await {
        Ok(ledger) => ledger,
        Err(SinkError::Missing(_)) => {
            remove(sink, &id, None).await?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let next = counted(sink, next, &ledger, Keep::All, false).await?;
    change(sink, next.clone(), &ledger, Keep::All, true).await?;
    Ok(Some(next))
}

/// Removes all of a scan's files, its manifest first and the mark that something is to be ended last.
pub(super) async fn remove(sink: &dyn Sink, id: &ScanId, manifest: Option<&Manifest>) -> Result<Gone, ScanError> {
    let paths = ResultPaths(id);
    if let Some(manifest) = manifest {
        put_manifest(sink, &paths.next_manifest(), manifest).await?;
        sink.remove(&paths.manifest()).await?;
    }
    sink.remove(&paths.manifest()).await?;
    sink.remove(&paths.ledger()).await?;
    let mut files = sink.entries(&paths.root()).await?;
    files.retain(|file| file.path != paths.next_manifest());
    let gone = remove_files(sink, &paths, files).await?;
    sink.sweep(&paths.root()).await?;
    sink.remove(&paths.next_manifest()).await?;
    Ok(gone)
}

/// The manifest with the counts of what is kept. `trusted`: its counts are those of the whole ledger, so that what goes
/// may be taken off where that is less to read.
async fn counted(
    sink: &dyn Sink,
    mut manifest: Manifest,
    ledger: &Packed,
    keep: Keep<'_>,
    trusted: bool,
) -> Result<Manifest, ScanError> {
    let (mut cells, mut totals) = (BTreeMap::<Outcome, u64>::new(), WorkTotals::default());
    let (mut kept, mut gone) = (0_u64, 0_u64);
    let (mut accounts, mut last) = (0, None);
    for (number, line) in LedgerReader::over(Arc::clone(ledger))?.enumerate() {
        let line = line?;
        let records: u64 = line.parts.iter().map(|part| part.records).sum();
        if !keep.keeps(number, &line) {
            gone += records;
            continue;
        }
        kept += records;
        *cells.entry(line.outcome).or_default() += 1;
        totals.add(&line.totals);
        if last.as_ref() != Some(&line.cell.account) {
            accounts += 1;
            last = Some(line.cell.account.clone());
        }
    }
    let take_off = trusted && gone <= kept;
    let counts =
        count_records(sink, &manifest.scan, ledger, |number, line| keep.keeps(number, line) != take_off).await?;
    if take_off {
        for (kind, count) in counts {
            if let Some(all) = manifest.records.get_mut(&kind) {
                *all = all.saturating_sub(count);
            }
        }
        manifest.records.retain(|_, count| *count > 0);
    } else {
        manifest.records = counts;
    }
    let has_hole = cells.keys().any(|outcome| outcome.is_hole());
    manifest.complete = !has_hole && (manifest.complete || manifest.thinned.is_none());
    manifest.cells = cells.into_iter().map(|(outcome, count)| (outcome.to_string(), count)).collect();
    manifest.totals = totals;
    manifest.accounts = match keep {
        // Accounts without a cell are not in the ledger.
        Keep::AllBut(_) => manifest.accounts.saturating_sub(1).max(accounts),
        _ if manifest.thinned.is_some() => accounts,
        _ => manifest.accounts,
    };
    Ok(manifest)
}

/// Records by type of the lines that are chosen. A part that cannot be read is passed over: a file that is damaged must
/// not keep others from being deleted.
async fn count_records(
    sink: &dyn Sink,
    scan: &ScanId,
    ledger: &Packed,
    chosen: impl Fn(usize, &LedgerLine) -> bool,
) -> Result<Count, ScanError> {
    let paths = ResultPaths(scan);
    let mut counts = Count::new();
    let mut batch: Vec<(String, PartName)> = Vec::new();
    let mut lines = LedgerReader::over(Arc::clone(ledger))?.enumerate();
    loop {
        let next = lines.next();
        let over = next.is_none();
        if let Some((number, line)) = next {
            let line = line?;
            if chosen(number, &line) {
                batch.extend(line.parts.iter().map(|part| (paths.part(&line.cell, &part.name), part.clone())));
            }
        }
        if over || batch.len() >= crate::dispatch::PAGE {
            let mut readings = stream::iter(std::mem::take(&mut batch))
                .map(|(path, part)| async move { (count_part(sink, &path, part).await, path) })
                .buffer_unordered(READERS);
            while let Some((reading, path)) = readings.next().await {
                match reading {
                    Ok(found) => found.into_iter().for_each(|(kind, n)| *counts.entry(kind).or_default() += n),
                    Err(PartTrouble::Damaged(error) | PartTrouble::Missing(error)) => {
                        tracing::warn!(path, error, "part.not_counted")
                    }
                    // Nothing was changed yet: another time.
                    Err(PartTrouble::Unread(error)) => return Err(error.into()),
                }
            }
        }
        if over {
            return Ok(counts);
        }
    }
}

/// Carries a change out. `search`: also files of accounts that the ledger does not have are looked for.
async fn change(
    sink: &dyn Sink,
    next: Manifest,
    ledger: &Packed,
    keep: Keep<'_>,
    search: bool,
) -> Result<Gone, ScanError> {
    let paths = ResultPaths(&next.scan);
    put_manifest(sink, &paths.next_manifest(), &next).await?;
    sink.remove(&paths.manifest()).await?;
    let mut gone = Gone::default();
    let mut file = LedgerWriter::create(sink, &paths.ledger()).await?;
    for (number, line) in LedgerReader::over(Arc::clone(ledger))?.enumerate() {
        let line = line?;
        match keep.keeps(number, &line) {
            true => file.write(&line).await?,
            false => gone.lines += 1,
        }
    }
    file.commit().await?;
    let removed = match search {
        false => remove_by_account(sink, &paths, ledger, keep).await?,
        true => {
            let mut listed = BTreeSet::new();
            for line in LedgerReader::over(Arc::clone(ledger))? {
                let line = line?;
                listed.extend(line.parts.iter().map(|part| paths.part(&line.cell, &part.name)));
            }
            let mut files = sink.entries(&paths.records()).await?;
            files.retain(|file| !listed.contains(&file.path));
            remove_files(sink, &paths, files).await?
        }
    };
    gone.parts += removed.parts;
    gone.bytes += removed.bytes;
    put_manifest(sink, &paths.manifest(), &next).await?;
    sink.remove(&paths.next_manifest()).await?;
    Ok(gone)
}

/// Removes the files that lines no longer list, an account at a time.
async fn remove_by_account(
    sink: &dyn Sink,
    paths: &ResultPaths<'_>,
    ledger: &Packed,
    keep: Keep<'_>,
) -> Result<Gone, ScanError> {
    let mut gone = Gone::default();
    let mut account: Option<AccountId> = None;
    let (mut listed, mut changed) = (BTreeSet::new(), false);
    let mut lines = LedgerReader::over(Arc::clone(ledger))?.enumerate();
    loop {
        let next = lines.next().map(|(number, line)| line.map(|line| (number, line))).transpose()?;
        let of = next.as_ref().map(|(_, line)| &line.cell.account);
        if of != account.as_ref() {
            if let (Some(passed), true) = (&account, changed) {
                let mut files = sink.entries(&paths.account(passed)).await?;
                files.retain(|file| !listed.contains(&file.path));
                let removed = remove_files(sink, paths, files).await?;
                gone.parts += removed.parts;
                gone.bytes += removed.bytes;
            }
            account = of.cloned();
            listed.clear();
            changed = false;
        }
        let Some((number, line)) = next else { return Ok(gone) };
        if keep.keeps(number, &line) {
            listed.extend(line.parts.iter().map(|part| paths.part(&line.cell, &part.name)));
        } else {
            changed = true;
        }
    }
}

async fn remove_files(sink: &dyn Sink, paths: &ResultPaths<'_>, files: Vec<Stored>) -> Result<Gone, ScanError> {
    let records = format!("{}/", paths.records());
    let parts = files.iter().filter(|file| file.path.starts_with(&records)).count() as u64;
    let bytes = files.iter().map(|file| file.bytes).sum();
    let names: Vec<String> = files.into_iter().map(|file| file.path).collect();
    sink.remove_all(&names).await?;
    Ok(Gone { lines: 0, parts, bytes })
}

async fn put_manifest(sink: &dyn Sink, path: &str, manifest: &Manifest) -> Result<(), ScanError> {
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| ScanError::Internal(error.to_string()))?;
    let mut file = sink.create(path).await?;
    file.write(text).await?;
    Ok(file.commit().await?)
}
