//! Publishes again what the queue lost.

use crate::{ScanError, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{AccountId, Begun, Cell, ScanAccountState, Task, TaskKind};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// After this many rounds in which the queue seemed to hold everything, cells without progress are published again
/// all the same: the queue's figures count old copies too.
const ROUNDS_OF_TRUST: u32 = 4;

/// How often, between two rounds, it is asked whether the cells still stand that have done so the longest.
const OLDEST_EVERY: Duration = Duration::from_secs(5);
/// Accounts that are looked at for that at most.
const OLDEST_ACCOUNTS: usize = 8;

/// What was pending a round ago. As large as the window, not as the scan.
#[derive(Debug)]
pub(crate) struct Reconciler {
    last: Instant,
    /// When it was last asked whether the oldest still stand.
    asked: Instant,
    /// Generation and attempts of each pending cell, and since when they are so.
    seen: HashMap<Cell, (u64, u32, Instant)>,
    trusted: u32,
}

impl Reconciler {
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now, asked: now, seen: HashMap::new(), trusted: 0 }
    }

    /// For how long the cell has stood still that has done so the longest.
    pub(crate) fn stood_still(&self) -> Option<Duration> {
        self.oldest().map(|(_, since)| since.elapsed())
    }

    fn oldest(&self) -> Option<(&Cell, Instant)> {
        let since = |(_, (_, _, since)): &(&Cell, &(u64, u32, Instant))| *since;
        self.seen.iter().min_by_key(since).map(|(cell, (_, _, since))| (cell, *since))
    }
}

impl Run<'_> {
    /// Once a round: cells that are pending under the same generation as a round ago get a new one and are published
    /// again, so that whatever copy turns up of the old one does nothing.
    pub(crate) async fn reconcile(&mut self) -> Result<(), ScanError> {
        if self.reconciler.last.elapsed() < self.options.stuck_after {
            return self.forget_what_moved().await;
        }
        self.reconciler.last = Instant::now();
        self.reconcile_probes().await?;
        let all_held = self.queue_holds_everything().await;
        self.reconciler.trusted = if all_held { self.reconciler.trusted + 1 } else { 0 };
        let trust = all_held && self.reconciler.trusted < ROUNDS_OF_TRUST;
        let alive = self.workers_alive().await?;
        let before = std::mem::take(&mut self.reconciler.seen);
        let (mut after, mut again, now) = (None, 0_u64, Instant::now());
        loop {
            let store = &self.parts.store;
            let page = insist!(self.options, store.pending_cells(&self.spec.id, None, after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|pending| pending.cell.clone());
            for pending in page {
                let mut generation = pending.generation;
                let stands = before.get(&pending.cell).filter(|(g, a, _)| (*g, *a) == (generation, pending.attempts));
                let (stood_still, since) = (stands.is_some(), stands.map_or(now, |(_, _, since)| *since));
                let in_work = pending.begun.as_ref().is_some_and(|begun| self.is_at_work(begun, &alive));
                if !trust && stood_still && !in_work {
                    let renewed = insist!(self.options, store.renew_cell(&self.spec.id, &pending.cell, generation))?;
                    let Some(new) = renewed else { continue };
                    generation = new;
                    let task = self.task(TaskKind::Cell(pending.cell.clone()), new);
                    self.outbox.push_back(Task { unfinished: pending.unfinished, ..task });
                    again += 1;
                }
                // Publishing it again is no progress of its own.
                self.reconciler.seen.insert(pending.cell, (generation, pending.attempts, since));
            }
            if last_page {
                break;
            }
        }
        if again > 0 {
            tracing::warn!(scan = %self.spec.id, cells = again, "reconcile.published_again: cells made no progress");
        }
        Ok(())
    }

    /// Forgets of the cells that stood still the longest those that have moved since the last round, so that nobody is
    /// told for a minute of what is long done.
    async fn forget_what_moved(&mut self) -> Result<(), ScanError> {
        if self.reconciler.asked.elapsed() < OLDEST_EVERY {
            return Ok(());
        }
        self.reconciler.asked = Instant::now();
        for _ in 0..OLDEST_ACCOUNTS {
            let Some((oldest, _)) = self.reconciler.oldest() else { break };
            let oldest = oldest.clone();
            let stands = self.pending_of(&oldest.account).await?;
            self.reconciler.seen.retain(|cell, (generation, attempts, _)| {
                cell.account != oldest.account || stands.get(cell) == Some(&(*generation, *attempts))
            });
            if self.reconciler.seen.contains_key(&oldest) {
                break;
            }
        }
        Ok(())
    }

    /// Generation and attempts of an account's pending cells.
    async fn pending_of(&self, account: &AccountId) -> Result<HashMap<Cell, (u64, u32)>, ScanError> {
        let (mut found, mut after) = (HashMap::new(), None);
        loop {
            let store = &self.parts.store;
            let page = insist!(self.options, store.pending_cells(&self.spec.id, Some(account), after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|pending| pending.cell.clone());
            found.extend(page.into_iter().map(|pending| (pending.cell, (pending.generation, pending.attempts))));
            if last_page {
                return Ok(found);
            }
        }
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
                // It has answered, or somebody else gave it another generation: a worker that left it to others, or we
                // ourselves, where the store's answer was lost. Then it is that one which is looked after from now on.
                None => match insist!(self.options, store.scan_account(&self.spec.id, &account))? {
                    Some(row) if row.state == ScanAccountState::Waiting => {
                        self.probing.insert(account, (row.generation, Instant::now()));
                    }
                    _ => drop(self.probing.remove(&account)),
                },
                Some(renewed) => {
                    self.outbox.push_back(self.task(TaskKind::Probe { account: account.clone() }, renewed));
                    self.probing.insert(account, (renewed, Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// Names of the workers that report, where there is a fleet.
    async fn workers_alive(&self) -> Result<Option<HashSet<String>>, ScanError> {
        let Some(link) = &self.parts.fleet else { return Ok(None) };
        let reports = insist!(self.options, link.fleet.workers())?;
        Ok(Some(reports.into_iter().map(|report| report.worker).collect()))
    }

    /// Whether the worker that began a cell may still be reading it: it is alive, and its time slice is not over.
    fn is_at_work(&self, begun: &Begun, alive: &Option<HashSet<String>>) -> bool {
        const MARGIN: Duration = Duration::from_secs(120);
        let (Some(alive), Some(link)) = (alive, &self.parts.fleet) else { return false };
        let since = self.parts.clock.now().duration_since(begun.at);
        alive.contains(&begun.worker) && Duration::try_from(since).unwrap_or_default() < link.slice + MARGIN
    }

    /// Whether the queue has at least as many tasks as there are cells and probes to be done. What workers hold, their
    /// reports tell where the broker does not.
    pub(crate) async fn queue_holds_everything(&self) -> bool {
        let Ok(depth) = self.parts.queue.depth().await else { return false };
        let held = match &self.parts.fleet {
            None => depth.held,
            Some(link) => match link.fleet.workers().await {
                Ok(reports) => reports.iter().map(|report| report.held).sum(),
                Err(_) => return false,
            },
        };
        let known = depth.ready + depth.delayed + held + self.outbox.len() as u64;
        known >= self.counts.pending() + self.probing.len() as u64
    }
}
