//! What the ledger lists is read back before its scan ends. A cell whose parts cannot be read is read anew, a few times;
//! then it is failed. Results that cannot be reached at all say nothing of a part, and are waited for.

use crate::{
    ScanError, barred,
    dispatch::PAGE,
    error::insist,
    finalise::{READERS, count_part},
    parts::PartTrouble,
    scan::Run,
};
use fleetscan_proto::{Cell, Count, LedgerLine, Outcome, PartName, ResultPaths, SinkError, WorkTotals};
use futures_util::{StreamExt as _, stream};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often a cell is read anew whose parts cannot be read: what damages them may do so again.
const READ_ANEW: u32 = 3;
/// What is written and read to see whether the results can be reached at all.
const TRIAL: &[u8] = b"fleetscan tries whether this can be read\n";

/// How long a good trial is believed.
const TRIAL_HOLDS: Duration = Duration::from_secs(5);

/// What reading the ledger's parts has come to so far.
#[derive(Default)]
pub(crate) struct Readback {
    /// Records by type.
    pub(crate) records: Count,
    /// Some part is there, be it damaged: the results are mounted.
    mounted: bool,
    /// When it was last tried whether the results can be reached, and they could.
    reached: Option<Instant>,
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
        let parts = parts_of(paths, page);
        let (all, mut missing) = (parts.len(), 0);
        let mut readings = stream::iter(parts)
            .map(|(number, path, part)| {
                let sink = Arc::clone(&self.parts.sink);
                async move { (number, count_part(sink.as_ref(), &path, part.clone()).await, path, part) }
            })
            .buffer_unordered(READERS);
        let mut found: Vec<Found> = page.iter().map(|_| Found::default()).collect();
        while let Some((number, reading, path, part)) = readings.next().await {
            let reading = match reading {
                // Nothing is known of the part, unless it alone cannot be read: what was away may be back by now.
                Err(PartTrouble::Unread(error)) => {
                    if !self.can_be_reached(paths, &error, readback).await {
                        return Err(error.into());
                    }
                    count_part(self.parts.sink.as_ref(), &path, part).await
                }
                reading => reading,
            };
            let problem = match reading {
                Ok(counts) => {
                    readback.mounted = true;
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
                    // The results went away again since the trial, or it is this part alone.
                    if matches!(error, SinkError::Unavailable(_)) && !self.can_be_reached(paths, &error, readback).await
                    {
                        return Err(error.into());
                    }
                    error.to_string()
                }
            };
            found[number].trouble.get_or_insert(format!("{path}: {problem}"));
        }
        // Likelier than that somebody removed them all: a folder that is not mounted here, and workers still write to.
        readback.mounted |= missing < all;
        if missing > 0
            && !readback.mounted
            && self.may_wait()
            && !self.is_mounted(paths, page, missing, readback).await?
        {
            let place = self.parts.sink.locate(&paths.root());
            let why = format!("none of the scan's files is at {place}: mount what is missing, or cancel the scan");
            tracing::warn!(scan = %self.spec.id, error = why, "results.unreachable: the scan waits for them");
            return Err(SinkError::Unavailable(why).into());
        }
        Ok(found)
    }

    /// Looks at the ledger's other pages where none of a page's parts is there: whether any of theirs is. Of a scan that has
    /// a single part, nothing can be said.
    async fn is_mounted(
        &self,
        paths: &ResultPaths<'_>,
        page: &[LedgerLine],
        mut missing: usize,
        readback: &mut Readback,
    ) -> Result<bool, ScanError> {
        let (mut after, mut is_last): (Option<Cell>, bool) =
            (page.last().map(|line| line.cell.clone()), page.len() < PAGE);
        while !is_last {
            let next = insist!(self.options, self.parts.store.ledger(&self.spec.id, after.as_ref(), PAGE))?;
            is_last = next.len() < PAGE;
            after = next.last().map(|line| line.cell.clone());
            let mut readings = stream::iter(parts_of(paths, &next))
                .map(|(_, path, part)| {
                    let sink = Arc::clone(&self.parts.sink);
                    async move { count_part(sink.as_ref(), &path, part).await }
                })
                .buffer_unordered(READERS);
            while let Some(reading) = readings.next().await {
                match reading {
                    Err(PartTrouble::Missing(_)) => missing += 1,
                    Err(PartTrouble::Unread(error @ SinkError::Unavailable(_)))
                        if !self.can_be_reached(paths, &error, readback).await =>
                    {
                        return Err(error.into());
                    }
                    Ok(_) | Err(PartTrouble::Damaged(_) | PartTrouble::Unread(_)) => {
                        readback.mounted = true;
                        return Ok(true);
                    }
                }
            }
        }
        Ok(missing < 2)
    }

    /// Where a part cannot be read: whether the results can be reached at all. What was refused is believed to be the
    /// part's own for a while; results that are away are tried each time.
    async fn can_be_reached(&self, paths: &ResultPaths<'_>, error: &SinkError, readback: &mut Readback) -> bool {
        let refused = matches!(error, SinkError::Refused(_));
        if refused && readback.reached.is_some_and(|at| at.elapsed() < TRIAL_HOLDS) {
            return true;
        }
        if let Err(trial) = self.try_results(paths).await {
            tracing::warn!(scan = %self.spec.id, %error, %trial, "results.unreachable: the scan waits for them");
            return false;
        }
        readback.reached = Some(Instant::now());
        true
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

/// Each part of these lines: the line's number, the part's path, and the part.
fn parts_of(paths: &ResultPaths<'_>, lines: &[LedgerLine]) -> Vec<(usize, String, PartName)> {
    let of = |(number, line): (usize, &LedgerLine)| {
        let cell = line.cell.clone();
        line.parts
            .clone()
            .into_iter()
            .map(move |part| (number, paths.part(&cell, &part.name), part))
            .collect::<Vec<_>>()
    };
    lines.iter().enumerate().flat_map(of).collect()
}
