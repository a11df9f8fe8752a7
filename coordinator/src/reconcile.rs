//! Publishes again what the queue lost.

use crate::{ScanError, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{AccountId, Begun, Cell, PendingCell, ScanAccountState, Task, TaskKind};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// After this many rounds in which the queue seemed to hold everything, what has waited the longest is published again all
/// the same: the queue's figures count old copies too.
const ROUNDS_OF_TRUST: u32 = 4;
/// So much of it: a copy of what does lie in the queue makes it longer, and waits as long as everything in it.
const IN_DOUBT: usize = 64;

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
    seen: HashMap<Cell, Seen>,
    trusted: u32,
}

/// A pending cell, as it stood in the last round.
#[derive(Debug, Clone, Copy)]
struct Seen {
    generation: u64,
    attempts: u32,
    /// Since when it has been so.
    since: Instant,
    /// When it was last published, as far as is known.
    published: Instant,
}

/// What may be lost.
enum Stuck {
    /// The account that is asked, and the probe's generation.
    Probe(AccountId, u64),
    Cell(PendingCell, Seen),
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
        self.seen.iter().map(|(cell, seen)| (cell, seen.since)).min_by_key(|(_, since)| *since)
    }

    /// How many tasks may be published again in this round, of which the queue lacks so many (`None`: it cannot be asked).
    fn allowance(&mut self, lacking: Option<u64>) -> usize {
        match lacking {
            Some(lacking) if lacking > 0 => {
                self.trusted = 0;
                usize::try_from(lacking).unwrap_or(usize::MAX)
            }
            _ if self.trusted + 1 >= ROUNDS_OF_TRUST => {
                self.trusted = 0;
                IN_DOUBT
            }
            _ => {
                self.trusted += 1;
                0
            }
        }
    }
}

impl Run<'_> {
    /// Once a round: of what is pending under the same generation as a round ago, as much gets a new one and is published
    /// again as the queue lacks, so that whatever copy turns up of the old one does nothing.
    pub(crate) async fn reconcile(&mut self) -> Result<(), ScanError> {
        if self.reconciler.last.elapsed() < self.options.stuck_after {
            return self.forget_what_moved().await;
        }
        self.reconciler.last = Instant::now();
        let lacking = self.lacking().await;
        let allowed = self.reconciler.allowance(lacking);
        let mut stuck = self.stuck_probes();
        stuck.extend(self.stuck_cells().await?);
        let in_doubt = lacking.is_none_or(|tasks| tasks == 0);
        if in_doubt {
            let patience = self.options.stuck_after * ROUNDS_OF_TRUST;
            stuck.retain(|(published, _)| published.elapsed() >= patience);
        }
        // In turns, so that what only waits keeps nothing from its turn that is lost.
        stuck.sort_by_key(|(published, _)| *published);
        let mut again = 0_u64;
        for (_, stuck) in stuck.into_iter().take(allowed) {
            match stuck {
                Stuck::Probe(account, generation) => self.renew_probe(account, generation).await?,
                Stuck::Cell(pending, seen) => again += u64::from(self.renew_cell(pending, seen).await?),
            }
        }
        if again > 0 && in_doubt {
            // A long queue alone does this; nobody needs to look.
            tracing::info!(scan = %self.spec.id, cells = again, "reconcile.in_doubt: those that waited the longest were published again, lest their tasks be lost");
        } else if again > 0 {
            tracing::warn!(scan = %self.spec.id, cells = again, "reconcile.published_again: the queue lacks the tasks of cells that made no progress");
        }
        Ok(())
    }

    /// Answers whether the cell was pending still.
    async fn renew_cell(&mut self, pending: PendingCell, seen: Seen) -> Result<bool, ScanError> {
        let Some(generation) = self.renewed(&pending).await? else { return Ok(false) };
        let task = self.task(TaskKind::Cell(pending.cell.clone()), generation);
        self.outbox.push_back(Task { unfinished: pending.unfinished, ..task });
        // Publishing it again is no progress of its own.
        self.reconciler.seen.insert(pending.cell, Seen { generation, published: Instant::now(), ..seen });
        Ok(true)
    }

    /// Gives a cell another generation, unless it has moved since it was looked at: it is done, or a worker has begun it.
    pub(crate) async fn renewed(&self, pending: &PendingCell) -> Result<Option<u64>, ScanError> {
        let PendingCell { cell, generation, attempts, .. } = pending;
        let store = &self.parts.store;
        Ok(insist!(self.options, store.renew_cell(&self.spec.id, cell, *generation, Some(*attempts)))?)
    }

    async fn renew_probe(&mut self, account: AccountId, generation: u64) -> Result<(), ScanError> {
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
        Ok(())
    }

    /// Probes that have been out for longer than a round, and since when.
    fn stuck_probes(&self) -> Vec<(Instant, Stuck)> {
        let is_stuck = |since: &Instant| since.elapsed() >= self.options.stuck_after;
        let stuck = self.probing.iter().filter(|(_, (_, since))| is_stuck(since));
        stuck.map(|(account, (generation, since))| (*since, Stuck::Probe(account.clone(), *generation))).collect()
    }

    /// Notes what is pending, and answers those cells that no worker reads and that are as they were a round ago, with when
    /// each was last published.
    async fn stuck_cells(&mut self) -> Result<Vec<(Instant, Stuck)>, ScanError> {
        let alive = self.workers_alive().await?;
        let before = std::mem::take(&mut self.reconciler.seen);
        let (mut after, mut stuck, now) = (None, Vec::new(), Instant::now());
        loop {
            let store = &self.parts.store;
            let page = insist!(self.options, store.pending_cells(&self.spec.id, None, after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|pending| pending.cell.clone());
            for pending in page {
                let (generation, attempts) = (pending.generation, pending.attempts);
                let stands =
                    before.get(&pending.cell).filter(|seen| (seen.generation, seen.attempts) == (generation, attempts));
                let seen = stands.copied().unwrap_or(Seen { generation, attempts, since: now, published: now });
                self.reconciler.seen.insert(pending.cell.clone(), seen);
                let in_work = pending.begun.as_ref().is_some_and(|begun| self.is_at_work(begun, &alive));
                if stands.is_some() && !in_work {
                    stuck.push((seen.published, Stuck::Cell(pending, seen)));
                }
            }
            if last_page {
                return Ok(stuck);
            }
        }
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
            self.reconciler.seen.retain(|cell, seen| {
                cell.account != oldest.account || stands.get(cell) == Some(&(seen.generation, seen.attempts))
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

    /// How many of the tasks that are to be done the queue has not, as far as its figures tell; `None`: they cannot be asked
    /// for. What workers hold, their reports tell where the broker does not.
    pub(crate) async fn lacking(&self) -> Option<u64> {
        let depth = self.parts.queue.depth().await.ok()?;
        let held = match &self.parts.fleet {
            None => depth.held,
            Some(link) => link.fleet.workers().await.ok()?.iter().map(|report| report.held).sum(),
        };
        let known = depth.ready + depth.delayed + held + self.outbox.len() as u64;
        let needed = self.counts.pending() + self.probing.len() as u64 + self.of_other_scans().await?;
        Some(needed.saturating_sub(known))
    }

    /// Cells of other scans, which lie in the same queues.
    async fn of_other_scans(&self) -> Option<u64> {
        if self.parts.fleet.is_none() {
            return Some(0);
        }
        let mut pending = 0;
        for row in self.parts.store.scans_under_way().await.ok()? {
            if row.spec.id != self.spec.id {
                pending += self.parts.store.counts(&row.spec.id).await.ok()?.pending();
            }
        }
        Some(pending)
    }
}
