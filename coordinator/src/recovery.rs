//! Cells that are pending and may lie in no queue: those of a run that was killed, or of a broker that was wiped.

use crate::{Longest, ScanError, ScanParts, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{Cell, ScanAccountState, Task, TaskKind};

/// A round through the pending cells.
#[derive(Debug)]
pub(crate) struct Recovery {
    after: Option<Cell>,
    kind: Kind,
}

/// Why cells may be missing from the queue, and so what may lie in it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The queue is new, or has nothing of these cells: nothing lies in it. What a worker had begun it hands in, or reconcile finds.
    EmptyQueue,
    /// The queue outlived the process that filled it. What it lacks, if anything, is published under a new generation,
    /// so that copies that do lie in it do nothing.
    LivingQueue,
}

impl Recovery {
    /// Another process began this scan.
    pub(crate) fn of_an_earlier_run(parts: &ScanParts) -> Self {
        Self { after: None, kind: if parts.fleet.is_some() { Kind::LivingQueue } else { Kind::EmptyQueue } }
    }

    /// All that is pending was opened again, under generations of which no queue has a copy.
    pub(crate) fn of_reopened_cells() -> Self {
        Self { after: None, kind: Kind::EmptyQueue }
    }
}

impl Run<'_> {
    /// The broker lost its queues: what lay in them is published again.
    pub(crate) fn meet_losses(&mut self) {
        let Some(link) = &self.parts.fleet else { return };
        let losses = *link.losses.borrow();
        if losses != self.losses_met {
            tracing::warn!(scan = %self.spec.id, "the broker has lost its queues: what lay in them is published again");
            self.losses_met = losses;
            self.outbox.clear();
            self.recovery = Some(Recovery { after: None, kind: Kind::EmptyQueue });
            // Waiting accounts are fed again from the first.
            self.probing.clear();
            (self.fed_up_to, self.all_fed) = (None, false);
            self.first = self.longest.as_ref().map(Longest::in_order).unwrap_or_default().into();
        }
    }

    /// Goes on with the round, as far as the window allows.
    pub(crate) async fn recover(&mut self) -> Result<(), ScanError> {
        while let Some(Recovery { after, kind }) = &self.recovery {
            let (after, kind) = (after.clone(), *kind);
            if self.outbox.len() >= self.options.window {
                return Ok(());
            }
            if kind == Kind::LivingQueue && after.is_none() && self.lacking().await == Some(0) {
                self.recovery = None;
                return Ok(());
            }
            let store = &self.parts.store;
            let page = insist!(self.options, store.pending_cells(&self.spec.id, None, after.as_ref(), PAGE))?;
            let last = page.last().map(|pending| pending.cell.clone());
            self.recovery = (page.len() == PAGE).then_some(Recovery { after: last, kind });
            for pending in page {
                let in_work = self.parts.fleet.is_some() && pending.begun.is_some();
                let generation = match kind {
                    _ if in_work => continue,
                    Kind::EmptyQueue => Some(pending.generation),
                    Kind::LivingQueue => self.renewed(&pending).await?,
                };
                if let Some(generation) = generation {
                    let task = self.task(TaskKind::Cell(pending.cell), generation);
                    self.outbox.push_back(Task { unfinished: pending.unfinished, ..task });
                }
            }
        }
        Ok(())
    }

    /// Accounts that an operator wants read first: their probe, or their cells that wait, go by the urgent lane.
    pub(crate) async fn hasten(&mut self) -> Result<(), ScanError> {
        let (store, scan) = (&self.parts.store, &self.spec.id);
        for account in insist!(self.options, store.take_hastened(scan, PAGE))? {
            let Some(row) = insist!(self.options, store.scan_account(scan, &account))? else { continue };
            self.hastened.insert(account.clone());
            if row.state == ScanAccountState::Waiting {
                let renewed = insist!(self.options, store.renew_probe(scan, &account, row.generation))?;
                if let Some(generation) = renewed {
                    self.outbox.push_front(self.task(TaskKind::Probe { account: account.clone() }, generation));
                    self.probing.insert(account, (generation, tokio::time::Instant::now()));
                }
                continue;
            }
            let mut after = None;
            loop {
                let page = insist!(self.options, store.pending_cells(scan, Some(&account), after.as_ref(), PAGE))?;
                after = page.last().map(|pending| pending.cell.clone());
                let last_page = page.len() < PAGE;
                for pending in page.into_iter().filter(|pending| pending.begun.is_none()) {
                    if let Some(generation) = self.renewed(&pending).await? {
                        let task = self.task(TaskKind::Cell(pending.cell), generation);
                        self.outbox.push_front(Task { unfinished: pending.unfinished, ..task });
                    }
                }
                if last_page {
                    break;
                }
            }
        }
        Ok(())
    }
}
