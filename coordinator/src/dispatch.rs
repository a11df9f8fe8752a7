//! Feeds the queue: probes of waiting accounts, cells of probed ones, and what an earlier run left over.

use crate::{Described, Longest, ScanError, barred, error::insist, plan, scan::Run};
use fleetscan_proto::{
    AccountId, Cell, Lane, Outcome, Probe, ProbeFailure, QueueError, ScanAccount, ScanAccountState, Task, TaskKind,
};
use tokio::time::Instant;

/// Rows asked of the store at once.
pub(crate) const PAGE: usize = 256;

impl Run<'_> {
    /// Fills the outbox: first with cells that were left, then with probes, as far as the window allows; those of accounts
    /// that took long in earlier scans before the others'.
    pub(crate) async fn feed(&mut self) -> Result<(), ScanError> {
        if self.longest.is_none() {
            let longest = insist!(self.options, Longest::read(&self.parts.notes))?;
            self.first = longest.in_order().into();
            self.longest = Some(longest);
        }
        self.recover().await?;
        let each = self.cells_of_an_account();
        let pending = usize::try_from(self.counts.pending()).unwrap_or(usize::MAX);
        let taken = pending.saturating_add(self.probing.len() * each);
        let mut room = self.options.window.saturating_sub(taken) / each;
        if room == 0 && taken == 0 {
            room = 1;
        }
        while room > 0
            && let Some(account) = self.first.pop_front()
        {
            let row = insist!(self.options, self.parts.store.scan_account(&self.spec.id, &account))?;
            let Some(row) = row.filter(|row| row.state == ScanAccountState::Waiting) else { continue };
            room -= usize::from(self.give_probe(row));
        }
        while room > 0 && !self.all_fed {
            room -= self.feed_probes(room.min(PAGE)).await?;
        }
        Ok(())
    }

    /// Publishes a waiting account's probe, unless that was done.
    fn give_probe(&mut self, row: ScanAccount) -> bool {
        let ScanAccount { account, generation, .. } = row;
        if self.probing.contains_key(&account) {
            return false;
        }
        self.outbox.push_back(self.task(TaskKind::Probe { account: account.clone() }, generation));
        self.probing.insert(account, (generation, Instant::now()));
        true
    }

    async fn feed_probes(&mut self, limit: usize) -> Result<usize, ScanError> {
        let store = &self.parts.store;
        let waiting = ScanAccountState::Waiting;
        let page = insist!(self.options, store.scan_accounts(&self.spec.id, waiting, self.fed_up_to.as_ref(), limit))?;
        self.all_fed = page.len() < limit;
        let mut given = 0;
        for row in page {
            self.fed_up_to = Some(row.account.clone());
            given += usize::from(self.give_probe(row));
        }
        Ok(given)
    }

    pub(crate) fn task(&self, kind: TaskKind, generation: u64) -> Task {
        let mut task = Task::new(self.spec.id.clone(), kind, generation);
        let hastened = !self.hastened.is_empty() && self.hastened.contains(task.account());
        task.lane = if hastened { Lane::Urgent } else { self.spec.lane };
        if let (TaskKind::Cell(cell), Some(longest)) = (&task.kind, &self.longest) {
            task.seconds = longest.of(cell);
        }
        task
    }

    /// Hands the outbox over, as much of it as the queue takes now.
    pub(crate) async fn publish(&mut self) -> Result<(), ScanError> {
        while !self.outbox.is_empty() {
            let batch = self.outbox.len().min(self.options.publish_batch);
            let tasks = &self.outbox.make_contiguous()[..batch];
            match self.parts.queue.publish(tasks).await {
                // What was taken in spite of the error is published twice, and the second copy does nothing.
                Err(QueueError::Full) => return Ok(()),
                Err(QueueError::Away(reason)) => {
                    tracing::warn!(%reason, "the queue is away; trying again");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
                Ok(()) => drop(self.outbox.drain(..batch)),
            }
        }
        Ok(())
    }

    /// Looks at accounts whose probe has answered, a page a tick: those that let us in get their cells, of those that
    /// did not the cells end at once, and those that were denied become suspects.
    pub(crate) async fn settle_probed(&mut self) -> Result<(), ScanError> {
        let probed = ScanAccountState::Probed;
        let store = &self.parts.store;
        let page = insist!(self.options, store.scan_accounts(&self.spec.id, probed, self.probed_up_to.as_ref(), PAGE))?;
        self.probed_up_to = if page.len() < PAGE { None } else { page.last().map(|row| row.account.clone()) };
        for ScanAccount { account, probe, .. } in page {
            self.probing.remove(&account);
            self.probe_answered(&account).await?;
            match probe {
                None => {}
                Some(Ok(probe)) => self.admit(&account, &probe).await?,
                Some(Err(failure)) if was_denied(&failure) => self.suspect_probe(&account, &failure).await?,
                Some(Err(failure)) => {
                    self.suspects.clear(&account);
                    self.give_up(&account, failure.outcome, &failure.reason).await?;
                }
            }
        }
        Ok(())
    }

    /// The account let us in: note that, store its cells, publish them.
    async fn admit(&mut self, account: &AccountId, probe: &Probe) -> Result<(), ScanError> {
        if !self.welcome(account, probe).await? {
            return self.give_up(account, Outcome::Cancelled, barred::REASON).await;
        }
        // A denial that is still open is older than this answer, and would keep the cells waiting.
        insist!(self.options, self.parts.store.close_denial(&self.spec.id, account))?;
        self.suspects.let_in(account, probe.at);
        let described = insist!(self.options, self.parts.accounts.describe(account))?;
        let cells = self.cells(account, &described, &probe.regions);
        insist!(self.options, self.parts.store.plan_account(&self.spec.id, account, &cells))?;
        // Until the next look at the store, so that the window knows of them.
        self.counts.cells += cells.len() as u64;
        let mut tasks: Vec<Task> = cells.into_iter().map(|cell| self.task(TaskKind::Cell(cell), 1)).collect();
        // Those that are known to take the longest first; the others as they are.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.seconds));
        self.outbox.extend(tasks);
        Ok(())
    }

    /// Notes that the account let us in, unless an operator paused or disconnected it meanwhile: then answers false.
    async fn welcome(&mut self, account: &AccountId, probe: &Probe) -> Result<bool, ScanError> {
        let store = &self.parts.store;
        loop {
            let before = insist!(self.options, store.account_status(account))?;
            if before.as_ref().is_some_and(|status| barred::is_an_operators(status.state)) {
                return Ok(false);
            }
            let status = crate::standing::welcomed(account, before.clone(), probe.at, "probe");
            // Somebody else's change comes first, and is looked at again; there are few of them.
            if insist!(self.options, store.change_account_status(before.as_ref(), &status))? {
                return Ok(true);
            }
        }
    }

    /// A probe that nobody waits for any more: the account's cells will end with this outcome.
    pub(crate) async fn end_probe(&self, row: &ScanAccount, outcome: Outcome, reason: &str) -> Result<(), ScanError> {
        let at = self.parts.clock.now();
        let failure = ProbeFailure { outcome, reason: reason.to_owned(), code: None, request_id: None, tries: 0, at };
        let probe = || Err(failure.clone());
        let (store, scan) = (&self.parts.store, &self.spec.id);
        insist!(self.options, store.record_probe(scan, &row.account, row.generation, probe()))?;
        Ok(())
    }

    /// The account did not let us in: each of the cells that it would have had ends with this outcome.
    pub(crate) async fn give_up(
        &mut self,
        account: &AccountId,
        outcome: Outcome,
        reason: &str,
    ) -> Result<(), ScanError> {
        let described = insist!(self.options, self.parts.accounts.describe(account))?;
        let cells = self.cells(account, &described, &plan::assumed_regions(&described.regions));
        let (store, scan) = (&self.parts.store, &self.spec.id);
        insist!(self.options, store.plan_account(scan, account, &cells))?;
        let now = self.parts.clock.now();
        insist!(self.options, store.close_cells(scan, Some(account), outcome, reason, now))?;
        Ok(())
    }

    fn cells(&self, account: &AccountId, described: &Described, enabled: &[String]) -> Vec<Cell> {
        let services = match &described.told {
            Some(told) => &self.runner.services.told(&self.parts.catalogue, told),
            None => &self.runner.services,
        };
        plan::cells(account, enabled, [&described.regions, &self.spec.regions], services)
    }
}

/// AssumeRole was denied, in distinction from all else that may go wrong with a probe.
fn was_denied(failure: &ProbeFailure) -> bool {
    failure.outcome == Outcome::Unconfirmed && failure.code.as_ref().is_some_and(|c| c.starts_with("AccessDenied"))
}
