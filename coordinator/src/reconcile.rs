//! Publishes again what the queue lost.

use crate::{ScanError, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{AccountId, Cell, TaskKind};
use std::collections::HashMap;
use tokio::time::Instant;

/// After this many rounds in which the queue seemed to hold everything, cells without progress are published again
/// all the same: the queue's figures count old copies too.
const ROUNDS_OF_TRUST: u32 = 4;

/// What was pending a round ago. As large as the window, not as the scan.
#[derive(Debug)]
pub(crate) struct Reconciler {
    last: Instant,
    seen: HashMap<Cell, u64>,
    trusted: u32,
}

impl Reconciler {
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now, seen: HashMap::new(), trusted: 0 }
    }
}

impl Run<'_> {
    /// Once a round: cells that are pending under the same generation as a round ago get a new one and are published
    /// again, so that whatever copy turns up of the old one does nothing.
    pub(crate) async fn reconcile(&mut self) -> Result<(), ScanError> {
        if self.reconciler.last.elapsed() < self.options.stuck_after {
            return Ok(());
        }
        self.reconciler.last = Instant::now();
        self.reconcile_probes().await?;
        let all_held = self.queue_holds_everything().await;
        self.reconciler.trusted = if all_held { self.reconciler.trusted + 1 } else { 0 };
        let trust = all_held && self.reconciler.trusted < ROUNDS_OF_TRUST;
        let before = std::mem::take(&mut self.reconciler.seen);
        let (mut after, mut again) = (None, 0_u64);
        loop {
            let store = &self.parts.store;
            let page = insist!(self.options, store.pending_cells(&self.spec.id, None, after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|pending| pending.cell.clone());
            for pending in page {
                let mut generation = pending.generation;
                if !trust && before.get(&pending.cell) == Some(&generation) {
                    let renewed = insist!(self.options, store.renew_cell(&self.spec.id, &pending.cell, generation))?;
                    let Some(new) = renewed else { continue };
                    generation = new;
                    self.outbox.push_back(self.task(TaskKind::Cell(pending.cell.clone()), new));
                    again += 1;
                }
                self.reconciler.seen.insert(pending.cell, generation);
            }
            if last_page {
                break;
            }
        }
        if again > 0 {
            tracing::warn!(cells = again, "cells made no progress: published again");
        }
        Ok(())
    }

    async fn reconcile_probes(&mut self) -> Result<(), ScanError> {
        let stuck_after = self.options.stuck_after;
        let stuck: Vec<(AccountId, u64)> = self
            .probing
            .iter()
            .filter(|(_, (_, since))| since.elapsed() >= stuck_after)
            .map(|(account, (generation, _))| (account.clone(), *generation))
            .collect();
        for (account, generation) in stuck {
            let store = &self.parts.store;
            match insist!(self.options, store.renew_probe(&self.spec.id, &account, generation))? {
                None => drop(self.probing.remove(&account)),
                Some(renewed) => {
                    self.outbox.push_back(self.task(TaskKind::Probe { account: account.clone() }, renewed));
                    self.probing.insert(account, (renewed, Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// Whether the queue has at least as many tasks as there are cells and probes to be done.
    async fn queue_holds_everything(&self) -> bool {
        let Ok(depth) = self.parts.queue.depth().await else { return false };
        let held = depth.ready + depth.delayed + depth.held + self.outbox.len() as u64;
        held >= self.counts.pending() + self.probing.len() as u64
    }
}
