use fleetscan_proto::{
    AccountId, Begin, Begun, Cell, CellProgress, Completion, LedgerLine, Outcome, PendingCell, Probe, ProbeFailure,
    RegionSource, ScanAccount, ScanAccountState, ScanCounts, ScanRow, ScanSpec, ScanState, WorkTotals,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// One scan: its accounts, its cells, and its counts, which are kept with every change.
pub(super) struct Scan {
    pub(super) row: ScanRow,
    accounts: BTreeMap<AccountId, ScanAccount>,
    by_state: BTreeMap<ScanAccountState, BTreeSet<AccountId>>,
    regions_from: BTreeMap<RegionSource, u64>,
    hastened: BTreeSet<AccountId>,
    pending: BTreeMap<Cell, Pending>,
    ended: BTreeMap<Cell, Ended>,
    cells: u64,
    totals: BTreeMap<Outcome, (u64, WorkTotals)>,
    pub(super) assume_role_calls: u64,
}

struct Pending {
    generation: u64,
    attempts: u32,
    tries: u32,
    begun: Option<Begun>,
    progress: Option<Box<CellProgress>>,
    /// How often it was opened again because what it had read could not be read back.
    reopened: u32,
}

struct Ended {
    line: LedgerLine,
    generation: u64,
    attempts: u32,
    /// Where a cancelled cell goes on, should its scan be reopened.
    progress: Option<Box<CellProgress>>,
    reopened: u32,
}

impl Ended {
    /// The cell as a pending one, under a new generation.
    fn again(self) -> Pending {
        let Ended { generation, attempts, progress, reopened, .. } = self;
        Pending { generation: generation + 1, attempts, tries: 0, begun: None, progress, reopened }
    }
}

/// All keys after one, or all there are.
pub(super) fn beyond<K>(after: Option<&K>) -> (Bound<&K>, Bound<&K>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Scan {
    pub(super) fn new(spec: &ScanSpec, accounts: &[AccountId]) -> Self {
        let waiting = |id: &AccountId| {
            let (state, account) = (ScanAccountState::Waiting, id.clone());
            (id.clone(), ScanAccount { account, state, generation: 1, probe: None })
        };
        Self {
            row: ScanRow { spec: spec.clone(), state: ScanState::Running, finished_at: None },
            accounts: accounts.iter().map(waiting).collect(),
            by_state: [(ScanAccountState::Waiting, accounts.iter().cloned().collect())].into(),
            regions_from: BTreeMap::new(),
            hastened: BTreeSet::new(),
            pending: BTreeMap::new(),
            ended: BTreeMap::new(),
            cells: 0,
            totals: BTreeMap::new(),
            assume_role_calls: 0,
        }
    }

    fn is_running(&self) -> bool {
        self.row.state == ScanState::Running
    }

    pub(super) fn end(&mut self, state: ScanState, at: Timestamp) {
        let finished_at = (state != ScanState::Cancelling).then_some(at);
        match self.row.state {
            ScanState::Running => {}
            ScanState::Cancelling if finished_at.is_some() => {}
            _ => return,
        }
        (self.row.state, self.row.finished_at) = (state, finished_at);
    }

    pub(super) fn reopen(&mut self) -> Option<u64> {
        if self.row.state != ScanState::Cancelled {
            return None;
        }
        (self.row.state, self.row.finished_at) = (ScanState::Running, None);
        let cancelled = self.totals.remove(&Outcome::Cancelled).map(|(cells, _)| cells).unwrap_or_default();
        for account in self.never_read() {
            self.set_state(&account, ScanAccountState::Waiting);
            if let Some(row) = self.accounts.get_mut(&account) {
                row.generation += 1;
                if let Some(Ok(probe)) = row.probe.take() {
                    drop_one(&mut self.regions_from, probe.source);
                }
            }
            let before = self.ended.len();
            self.ended.retain(|cell, _| cell.account != account);
            self.cells -= (before - self.ended.len()) as u64;
        }
        let again: Vec<Cell> =
            self.ended.iter().filter(|(_, e)| e.line.outcome == Outcome::Cancelled).map(|(c, _)| c.clone()).collect();
        for cell in again {
            if let Some(ended) = self.ended.remove(&cell) {
                self.pending.insert(cell, ended.again());
            }
        }
        Some(cancelled)
    }

    /// Accounts of whose cells none was ever kept track of, and all were cancelled.
    fn never_read(&self) -> Vec<AccountId> {
        let touched = |e: &Ended| e.line.outcome != Outcome::Cancelled || e.progress.is_some();
        let mut touched_by: BTreeMap<&AccountId, bool> = BTreeMap::new();
        for (cell, ended) in &self.ended {
            *touched_by.entry(&cell.account).or_default() |= touched(ended);
        }
        for cell in self.pending.keys() {
            touched_by.insert(&cell.account, true);
        }
        touched_by.into_iter().filter(|(_, touched)| !touched).map(|(account, _)| account.clone()).collect()
    }

    pub(super) fn hasten(&mut self, accounts: &[AccountId]) {
        if self.is_running() {
            let own = accounts.iter().filter(|account| self.accounts.contains_key(*account));
            self.hastened.extend(own.cloned());
        }
    }

    pub(super) fn take_hastened(&mut self, limit: usize) -> Vec<AccountId> {
        let taken: Vec<AccountId> = self.hastened.iter().take(limit).cloned().collect();
        self.hastened.retain(|account| !taken.contains(account));
        taken
    }

    pub(super) fn account(&self, account: &AccountId) -> Option<ScanAccount> {
        self.accounts.get(account).cloned()
    }

    pub(super) fn accounts(
        &self,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Vec<ScanAccount> {
        let Some(ids) = self.by_state.get(&state) else { return Vec::new() };
        ids.range(beyond(after)).take(limit).filter_map(|id| self.account(id)).collect()
    }

    fn set_state(&mut self, account: &AccountId, state: ScanAccountState) {
        let Some(row) = self.accounts.get_mut(account) else { return };
        if let Some(ids) = self.by_state.get_mut(&row.state) {
            ids.remove(account);
        }
        row.state = state;
        self.by_state.entry(state).or_default().insert(account.clone());
    }

    /// The row of a waiting account under its present generation.
    fn waiting(&mut self, account: &AccountId, generation: u64) -> Option<&mut ScanAccount> {
        let row = self.accounts.get_mut(account)?;
        (row.state == ScanAccountState::Waiting && row.generation == generation).then_some(row)
    }

    pub(super) fn record_probe(
        &mut self,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> bool {
        let Some(row) = self.waiting(account, generation) else { return false };
        let source = probe.as_ref().ok().map(|probe| probe.source);
        row.probe = Some(probe);
        if let Some(source) = source {
            *self.regions_from.entry(source).or_default() += 1;
        }
        self.set_state(account, ScanAccountState::Probed);
        true
    }

    pub(super) fn renew_probe(&mut self, account: &AccountId, generation: u64) -> Option<u64> {
        let row = self.waiting(account, generation)?;
        row.generation += 1;
        Some(row.generation)
    }

    pub(super) fn reopen_probe(&mut self, account: &AccountId, generation: u64) -> Option<u64> {
        let row = self.accounts.get_mut(account)?;
        if row.state != ScanAccountState::Probed || row.generation != generation || !matches!(row.probe, Some(Err(_))) {
            return None;
        }
        (row.generation, row.probe) = (generation + 1, None);
        self.set_state(account, ScanAccountState::Waiting);
        Some(generation + 1)
    }

    pub(super) fn plan(&mut self, account: &AccountId, cells: &[Cell]) {
        if self.accounts.get(account).is_none_or(|row| row.state != ScanAccountState::Probed) {
            return;
        }
        self.set_state(account, ScanAccountState::Planned);
        for cell in cells {
            let fresh = Pending { generation: 1, attempts: 0, tries: 0, begun: None, progress: None, reopened: 0 };
            if !self.ended.contains_key(cell) && self.pending.insert(cell.clone(), fresh).is_none() {
                self.cells += 1;
            }
        }
    }

    pub(super) fn begin(&mut self, cell: &Cell, generation: u64, begun: Begun, denied: bool) -> Begin {
        if !self.is_running() {
            return Begin::Stale;
        }
        if self.ended.contains_key(cell) {
            return Begin::Done;
        }
        let Some(row) = self.pending.get_mut(cell).filter(|row| row.generation == generation) else {
            return Begin::Stale;
        };
        if denied {
            return Begin::Denied;
        }
        let unfinished = row.tries;
        row.attempts += 1;
        row.tries += 1;
        row.begun = Some(begun);
        Begin::Go { progress: row.progress.clone().unwrap_or_default(), attempts: row.attempts, unfinished }
    }

    fn at(&mut self, cell: &Cell, generation: u64) -> Option<&mut Pending> {
        self.pending.get_mut(cell).filter(|row| row.generation == generation)
    }

    pub(super) fn checkpoint(&mut self, cell: &Cell, generation: u64, progress: &CellProgress) -> Option<u64> {
        let row = self.at(cell, generation)?;
        row.progress = Some(Box::new(progress.clone()));
        row.generation += 1;
        (row.tries, row.begun) = (0, None);
        Some(row.generation)
    }

    pub(super) fn renew(&mut self, cell: &Cell, generation: u64, attempts: Option<u32>) -> Option<u64> {
        let row = self.at(cell, generation)?;
        if attempts.is_some_and(|attempts| attempts != row.attempts) {
            return None;
        }
        row.generation += 1;
        row.begun = None;
        Some(row.generation)
    }

    pub(super) fn complete(&mut self, generation: u64, line: &LedgerLine, keeps: bool) -> Completion {
        if self.ended.contains_key(&line.cell) {
            return Completion::Duplicate;
        }
        if self.at(&line.cell, generation).is_none() {
            return Completion::Stale;
        }
        self.end_cell(line.clone(), keeps);
        Completion::First
    }

    fn end_cell(&mut self, line: LedgerLine, keeps: bool) {
        let Some(Pending { generation, attempts, progress, reopened, .. }) = self.pending.remove(&line.cell) else {
            return;
        };
        self.count(&line);
        if keeps {
            let progress = progress.filter(|_| line.outcome == Outcome::Cancelled);
            self.ended.insert(line.cell.clone(), Ended { line, generation, attempts, progress, reopened });
        }
    }

    fn count(&mut self, line: &LedgerLine) {
        let (cells, totals) = self.totals.entry(line.outcome).or_default();
        *cells += 1;
        totals.add(&line.totals);
    }

    fn uncount(&mut self, line: &LedgerLine) {
        if let Some((cells, sum)) = self.totals.get_mut(&line.outcome) {
            *cells -= 1;
            take_from(sum, &line.totals);
        }
    }

    pub(super) fn reopen_cell(&mut self, line: &LedgerLine, most: u32) -> bool {
        if !self.row.state.is_under_way() {
            return false;
        }
        if self.pending.contains_key(&line.cell) {
            return true;
        }
        let stands = |ended: &Ended| ended.line == *line && ended.reopened < most;
        if !self.ended.get(&line.cell).is_some_and(stands) {
            return false;
        }
        self.uncount(line);
        if let Some(ended) = self.ended.remove(&line.cell) {
            let progress = Some(Box::new(CellProgress::anew(line)));
            let reopened = ended.reopened + 1;
            self.pending.insert(line.cell.clone(), Pending { progress, reopened, ..ended.again() });
        }
        true
    }

    pub(super) fn replace_line(&mut self, line: &LedgerLine, by: &LedgerLine) -> bool {
        if !self.row.state.is_under_way() {
            return false;
        }
        let Some(ended) = self.ended.get_mut(&line.cell) else { return false };
        if ended.line == *by {
            return true;
        }
        if ended.line != *line || by.cell != line.cell {
            return false;
        }
        ended.line = by.clone();
        self.uncount(line);
        self.count(by);
        true
    }

    pub(super) fn close(&mut self, account: Option<&AccountId>, outcome: Outcome, reason: &str, keeps: bool) -> u64 {
        let of = |cell: &Cell| account.is_none_or(|account| cell.account == *account);
        let open: Vec<Cell> = self.pending.keys().filter(|cell| of(cell)).cloned().collect();
        for cell in &open {
            let Some(row) = self.pending.get(cell) else { continue };
            let CellProgress { totals, denied, started_at, parts, catalogue, .. } =
                row.progress.as_deref().cloned().unwrap_or_default();
            let line = LedgerLine {
                cell: cell.clone(),
                outcome,
                totals,
                denied,
                error: (!reason.is_empty()).then(|| reason.to_owned()),
                started_at,
                attempts: row.attempts,
                worker: "coordinator".into(),
                parts,
                catalogue,
            };
            self.end_cell(line, keeps);
        }
        open.len() as u64
    }

    pub(super) fn amend(&mut self, account: &AccountId, from: Outcome, to: Outcome) -> u64 {
        let mut amended = Vec::new();
        let of = |(cell, ended): &(&Cell, &mut Ended)| cell.account == *account && ended.line.outcome == from;
        for (_, ended) in self.ended.iter_mut().filter(of) {
            amended.push(ended.line.totals.clone());
            ended.line.outcome = to;
        }
        for totals in &amended {
            if let Some((cells, sum)) = self.totals.get_mut(&from) {
                *cells -= 1;
                take_from(sum, totals);
            }
            let (cells, sum) = self.totals.entry(to).or_default();
            *cells += 1;
            sum.add(totals);
        }
        amended.len() as u64
    }

    pub(super) fn pending(&self, account: Option<&AccountId>, after: Option<&Cell>, limit: usize) -> Vec<PendingCell> {
        // The place before an account's first cell.
        let first = account.map(|account| Cell::new(account.clone(), "", ""));
        let after = after.max(first.as_ref());
        let of = |cell: &Cell| account.is_none_or(|account| cell.account == *account);
        let tell = |(cell, row): (&Cell, &Pending)| PendingCell {
            cell: cell.clone(),
            generation: row.generation,
            attempts: row.attempts,
            unfinished: row.tries,
            begun: row.begun.clone(),
        };
        self.pending.range(beyond(after)).take_while(|(cell, _)| of(cell)).take(limit).map(tell).collect()
    }

    pub(super) fn ledger(&self, after: Option<&Cell>, limit: usize) -> Vec<LedgerLine> {
        self.ended.range(beyond(after)).take(limit).map(|(_, ended)| ended.line.clone()).collect()
    }

    pub(super) fn counts(&self) -> ScanCounts {
        let mut counts = ScanCounts {
            accounts: self.by_state.iter().map(|(state, ids)| (*state, ids.len() as u64)).collect(),
            regions_from: self.regions_from.clone(),
            cells: self.cells,
            assume_role_calls: self.assume_role_calls,
            ..ScanCounts::default()
        };
        counts.accounts.retain(|_, count| *count > 0);
        for (outcome, (cells, totals)) in self.totals.iter().filter(|(_, (cells, _))| *cells > 0) {
            counts.outcomes.insert(*outcome, *cells);
            counts.totals.add(totals);
        }
        counts
    }
}

fn take_from(sum: &mut WorkTotals, totals: &WorkTotals) {
    sum.calls -= totals.calls;
    sum.throttled -= totals.throttled;
    sum.records -= totals.records;
    sum.seconds -= totals.seconds;
}

fn drop_one(counts: &mut BTreeMap<RegionSource, u64>, source: RegionSource) {
    if let Some(count) = counts.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&source);
        }
    }
}
