//! What the ledger lists is read back before its scan ends. A cell whose parts cannot be read is read anew, a few times;
//! then it is failed. Results that cannot be reached at all say nothing of a part, and are waited for.

use crate::{
    ScanError, barred,
    error::insist,
    finalise::{READERS, count_part},
    parts::PartTrouble,
    scan::Run,
};
use fleetscan_proto::{Count, LedgerLine, Outcome, ResultPaths, SinkError, WorkTotals};
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;

/// How often a cell is read anew whose parts cannot be read: what damages them may do so again.
const READ_ANEW: u32 = 3;
/// What is written and read to see whether the results can be reached at all.
const TRIAL: &[u8] = b"fleetscan tries whether this can be read\n";

/// What reading the ledger's parts has come to so far.
#[derive(Default)]
pub(crate) struct Readback {
    /// Records by type.
    pub(crate) records: Count,
    /// Parts that are what the ledger says.
    sound: u64,
    /// Cells that are to be read anew, or whose line was changed by somebody else: the scan is not over.
    pub(crate) anew: u64,
}

/// What was found of a ledger line's parts.
#[derive(Default)]
struct Found {
    records: Count,
    trouble: Option<String>,
}

impl Run<'_> {
    /// Reads the parts of a page of the ledger once: each must be what its line says. The line of a cell that is failed
    /// for it is replaced in the page too.
    pub(crate) async fn read_back(
        &self,
        paths: &ResultPaths<'_>,
        page: &mut [LedgerLine],
        readback: &mut Readback,
    ) -> Result<(), ScanError> {
        let found = self.read_parts(paths, page, readback).await?;
        for (line, Found { records, trouble }) in page.iter_mut().zip(found) {
            match trouble {
                Some(problem) => self.give_back(line, &problem, readback).await?,
                None => {
                    for (kind, count) in records {
                        *readback.records.entry(kind).or_default() += count;
                    }
                }
            }
        }
        Ok(())
    }

    async fn read_parts(
        &self,
        paths: &ResultPaths<'_>,
        page: &[LedgerLine],
        readback: &mut Readback,
    ) -> Result<Vec<Found>, ScanError> {
        let mut parts = Vec::new();
        for (number, line) in page.iter().enumerate() {
            parts.extend(line.parts.iter().map(|part| (number, paths.part(&line.cell, &part.name), part.clone())));
        }
        let (all, mut missing) = (parts.len(), 0);
        let mut readings = stream::iter(parts)
            .map(|(number, path, part)| {
                let sink = Arc::clone(&self.parts.sink);
                async move { (number, count_part(sink.as_ref(), &path, part).await, path) }
            })
            .buffer_unordered(READERS);
        let mut found: Vec<Found> = page.iter().map(|_| Found::default()).collect();
        let mut reachable = false;
        while let Some((number, reading, path)) = readings.next().await {
            let problem = match reading {
                Ok(counts) => {
                    readback.sound += 1;
                    for (kind, count) in counts {
                        *found[number].records.entry(kind).or_default() += count;
                    }
                    continue;
                }
                Err(PartTrouble::Damaged(problem)) => problem,
                Err(PartTrouble::Missing(problem)) => {
                    missing += 1;
                    problem
                }
                Err(PartTrouble::Unread(error)) => {
                    // Nothing is known of the part, unless it alone cannot be read.
                    if !reachable && let Err(trial) = self.try_results(paths).await {
                        tracing::warn!(scan = %self.spec.id, %error, %trial, "results.unreachable: the scan waits for them");
                        return Err(error.into());
                    }
                    reachable = true;
                    error.to_string()
                }
            };
            found[number].trouble.get_or_insert(format!("{path}: {problem}"));
        }
        // Likelier than that somebody removed them all: a folder that is not mounted here, and workers still write to.
        if missing == all && all > 1 && readback.sound == 0 && self.may_wait() {
            let place = self.parts.sink.locate(&paths.root());
            let why = format!("none of the scan's files is at {place}: mount what is missing, or cancel the scan");
            tracing::warn!(scan = %self.spec.id, error = why, "results.unreachable: the scan waits for them");
            return Err(SinkError::Unavailable(why).into());
        }
        Ok(found)
    }

    /// Whether there is time for anything but ending the scan.
    fn may_wait(&self) -> bool {
        self.cancelling.is_none() && !self.is_past_deadline()
    }

    /// Whether a file can be written and read beside the parts.
    async fn try_results(&self, paths: &ResultPaths<'_>) -> Result<(), SinkError> {
        let sink = self.parts.sink.as_ref();
        let path = paths.trial();
        let mut file = sink.create(&path).await?;
        file.write(TRIAL.to_vec()).await?;
        file.commit().await?;
        let read = sink.read(&path).await?;
        if let Err(error) = sink.remove(&path).await {
            // It does not count, and the next trial replaces it.
            tracing::debug!(path, %error, "results.trial_left");
        }
        match read == TRIAL {
            true => Ok(()),
            false => Err(SinkError::Damaged(format!("{path}: it is not what was written"))),
        }
    }

    /// A cell of which a part cannot be read is opened again, or ends failed: where it was opened again too often, or
    /// nothing is read any more.
    async fn give_back(&self, line: &mut LedgerLine, problem: &str, readback: &mut Readback) -> Result<(), ScanError> {
        let (store, scan) = (&self.parts.store, &self.spec.id);
        let status = insist!(self.options, store.account_status(&line.cell.account))?;
        let is_left_alone = status.is_some_and(|status| barred::is_an_operators(status.state));
        if self.may_wait() && !is_left_alone && insist!(self.options, store.reopen_cell(scan, line, READ_ANEW))? {
            tracing::warn!(%scan, cell = %line.cell, error = problem, "cell.read_anew: what was read of it cannot be read back");
            readback.anew += 1;
            return Ok(());
        }
        let failed = LedgerLine {
            outcome: Outcome::Failed,
            totals: WorkTotals { records: 0, ..line.totals.clone() },
            error: Some(format!("what was read of it cannot be read back: {problem}")),
            parts: Vec::new(),
            ..line.clone()
        };
        match insist!(self.options, store.replace_line(scan, line, &failed))? {
            true => {
                tracing::error!(%scan, cell = %line.cell, error = problem, "cell.failed: what was read of it cannot be read back");
                *line = failed;
            }
            // Somebody else's change comes first, and is looked at again.
            false => readback.anew += 1,
        }
        Ok(())
    }
}
