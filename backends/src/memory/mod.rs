//! A store in memory, for what need not outlive its process: scans in virtual time, and tests. It answers at once, by
//! whatever clock it is given, and never hands over to another thread; so Tokio's paused clock stands still meanwhile.

mod events;
mod fleet;
mod scan;

use crate::embedded::SharedBuckets;
use async_trait::async_trait;
use events::Events;
use fleet::FleetState;
use fleetscan_proto::{
    AccountChange, AccountId, AccountState, AccountStatus, AssumeDenial, Begin, Begun, Cell, CellProgress, Clock,
    Completion, Event, LearnedFactor, LedgerLine, Outcome, PendingCell, Probe, ProbeFailure, ScanAccount,
    ScanAccountState, ScanCounts, ScanId, ScanRow, ScanSpec, ScanState, Store, StoreError, SystemClock,
    activity::Activity,
};
use jiff::Timestamp;
use scan::Scan;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A store in memory. Its clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    shared: Arc<SharedBuckets>,
    clock: Arc<dyn Clock>,
    keeps_ledger: bool,
}

#[derive(Default)]
struct State {
    scans: BTreeMap<ScanId, Scan>,
    statuses: BTreeMap<AccountId, AccountStatus>,
    history: HashMap<AccountId, Vec<AccountChange>>,
    denials: BTreeMap<(ScanId, AccountId), AssumeDenial>,
    learned: HashMap<AccountId, BTreeMap<String, LearnedFactor>>,
    activity: HashMap<AccountId, BTreeMap<String, Activity>>,
    fleet: FleetState,
    events: Events,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Arc::default(), shared: Arc::default(), clock: Arc::new(SystemClock), keeps_ledger: true }
    }
}

impl MemoryStore {
    /// The same store with another clock for its leases and reports; without, it is the machine's.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same store without a ledger: of a cell that has its outcome only the counts remain, and its copies are stale.
    /// Memory then grows with what is pending, and not with the scan.
    pub fn without_ledger(self) -> Self {
        Self { keeps_ledger: false, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on a scan; what there is not answers `T::default()`.
    fn with<T: Default>(&self, scan: &ScanId, work: impl FnOnce(&mut Scan) -> T) -> T {
        self.lock().scans.get_mut(scan).map(work).unwrap_or_default()
    }
}

impl State {
    fn append(&mut self, account: &AccountId, change: AccountChange) {
        self.history.entry(account.clone()).or_default().push(change);
    }

    fn set_status(&mut self, status: &AccountStatus) {
        let from = self.statuses.insert(status.account.clone(), status.clone()).map(|before| before.state);
        if from != Some(status.state) {
            // There is no registry here to name the account.
            if let Some(event) = Event::of_account(rand::random(), from, status, None) {
                self.events.append(&event);
            }
            let (at, to, evidence) = (status.since, status.state, status.evidence.clone());
            self.append(&status.account, AccountChange { at, from, to, evidence });
            if matches!(to, AccountState::Revoked | AccountState::Paused | AccountState::Disconnected) {
                self.fleet.barred += 1;
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create_scan(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.lock().scans.entry(spec.id.clone()).or_insert_with(|| Scan::new(spec, accounts));
        Ok(())
    }

    async fn scan(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError> {
        Ok(self.with(scan, |s| Some(s.row.clone())))
    }

    async fn scans(&self) -> Result<Vec<ScanRow>, StoreError> {
        let mut rows: Vec<ScanRow> = self.lock().scans.values().map(|s| s.row.clone()).collect();
        rows.sort_by(|a, b| newest_first(a).cmp(&newest_first(b)));
        Ok(rows)
    }

    async fn unfinished_scan(&self, plan: &str, since: Timestamp) -> Result<Option<ScanRow>, StoreError> {
        let fits =
            |row: &ScanRow| row.spec.plan == plan && row.state == ScanState::Running && row.spec.started_at >= since;
        Ok(self.scans().await?.into_iter().find(fits))
    }

    async fn end_scan(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError> {
        if state == ScanState::Running {
            return Err(StoreError::Refused("a scan cannot end as running".into()));
        }
        let mut all = self.lock();
        all.denials.retain(|(of, _), _| of != scan);
        if let Some(scan) = all.scans.get_mut(scan) {
            scan.end(state, at);
        }
        Ok(())
    }

    async fn reopen_scan(&self, scan: &ScanId) -> Result<Option<u64>, StoreError> {
        Ok(self.with(scan, Scan::reopen))
    }

    async fn hasten(&self, scan: &ScanId, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.with(scan, |s| s.hasten(accounts));
        Ok(())
    }

    async fn take_hastened(&self, scan: &ScanId, limit: usize) -> Result<Vec<AccountId>, StoreError> {
        Ok(self.with(scan, |s| s.take_hastened(limit)))
    }

    async fn scan_account(&self, scan: &ScanId, account: &AccountId) -> Result<Option<ScanAccount>, StoreError> {
        Ok(self.with(scan, |s| s.account(account)))
    }

    async fn forget_scan(&self, scan: &ScanId) -> Result<(), StoreError> {
        let mut all = self.lock();
        let live = [ScanState::Running, ScanState::Cancelling];
        if all.scans.get(scan).is_some_and(|s| live.contains(&s.row.state)) {
            return Err(StoreError::Refused(format!("scan {scan} is still under way")));
        }
        all.scans.remove(scan);
        all.denials.retain(|(of, _), _| of != scan);
        Ok(())
    }

    async fn scan_accounts(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        Ok(self.with(scan, |s| s.accounts(state, after, limit)))
    }

    async fn record_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> Result<bool, StoreError> {
        Ok(self.with(scan, |s| s.record_probe(account, generation, probe)))
    }

    async fn renew_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        Ok(self.with(scan, |s| s.renew_probe(account, generation)))
    }

    async fn reopen_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        Ok(self.with(scan, |s| s.reopen_probe(account, generation)))
    }

    async fn plan_account(&self, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> Result<(), StoreError> {
        self.with(scan, |s| s.plan(account, cells));
        Ok(())
    }

    async fn begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        worker: &str,
        at: Timestamp,
    ) -> Result<Begin, StoreError> {
        let begun = Begun { worker: worker.to_owned(), at };
        let denied = {
            let all = self.lock();
            !all.denials.is_empty() && all.denials.contains_key(&(scan.clone(), cell.account.clone()))
        };
        Ok(self.with(scan, |s| Some(s.begin(cell, generation, begun, denied))).unwrap_or(Begin::Stale))
    }

    async fn checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError> {
        Ok(self.with(scan, |s| s.checkpoint(cell, generation, progress)))
    }

    async fn renew_cell(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        attempts: Option<u32>,
    ) -> Result<Option<u64>, StoreError> {
        Ok(self.with(scan, |s| s.renew(cell, generation, attempts)))
    }

    async fn complete(&self, scan: &ScanId, generation: u64, line: &LedgerLine) -> Result<Completion, StoreError> {
        let keeps = self.keeps_ledger;
        Ok(self.with(scan, |s| Some(s.complete(generation, line, keeps))).unwrap_or(Completion::Stale))
    }

    async fn close_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
        _at: Timestamp,
    ) -> Result<u64, StoreError> {
        let keeps = self.keeps_ledger;
        Ok(self.with(scan, |s| s.close(account, outcome, reason, keeps)))
    }

    async fn amend_cells(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError> {
        Ok(self.with(scan, |s| s.amend(account, from, to)))
    }

    async fn reopen_cell(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError> {
        Ok(self.with(scan, |s| s.reopen_cell(line, most)))
    }

    async fn replace_line(&self, scan: &ScanId, line: &LedgerLine, by: &LedgerLine) -> Result<bool, StoreError> {
        Ok(self.with(scan, |s| s.replace_line(line, by)))
    }

    async fn pending_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError> {
        Ok(self.with(scan, |s| s.pending(account, after, limit)))
    }

    async fn ledger(&self, scan: &ScanId, after: Option<&Cell>, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        Ok(self.with(scan, |s| s.ledger(after, limit)))
    }

    async fn count_assume_role(&self, scan: &ScanId, calls: u64) -> Result<(), StoreError> {
        self.with(scan, |s| s.assume_role_calls += calls);
        Ok(())
    }

    async fn counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError> {
        Ok(self.with(scan, |s| s.counts()))
    }

    async fn account_status(&self, account: &AccountId) -> Result<Option<AccountStatus>, StoreError> {
        Ok(self.lock().statuses.get(account).cloned())
    }

    async fn account_statuses(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountStatus>, StoreError> {
        let all = self.lock();
        Ok(all.statuses.range(scan::beyond(after)).take(limit).map(|(_, status)| status.clone()).collect())
    }

    async fn set_account_status(&self, status: &AccountStatus) -> Result<(), StoreError> {
        self.lock().set_status(status);
        Ok(())
    }

    async fn change_account_status(
        &self,
        before: Option<&AccountStatus>,
        status: &AccountStatus,
    ) -> Result<bool, StoreError> {
        let mut all = self.lock();
        let present = all.statuses.get(&status.account);
        if present == before {
            all.set_status(status);
            return Ok(true);
        }
        Ok(present == Some(status))
    }

    async fn note_act(
        &self,
        account: &AccountId,
        at: Timestamp,
        evidence: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let mut all = self.lock();
        let from = all.statuses.get(account).map(|status| status.state);
        let to = from.unwrap_or(AccountState::Pending);
        let act = AccountChange { at, from, to, evidence: evidence.clone() };
        if all.history.get(account).and_then(|history| history.last()) != Some(&act) {
            all.append(account, act);
        }
        Ok(())
    }

    async fn account_history(&self, account: &AccountId) -> Result<Vec<AccountChange>, StoreError> {
        Ok(self.lock().history.get(account).cloned().unwrap_or_default())
    }

    async fn open_denial(&self, denial: &AssumeDenial) -> Result<(), StoreError> {
        let key = (denial.scan.clone(), denial.account.clone());
        self.lock().denials.entry(key).or_insert_with(|| denial.clone());
        Ok(())
    }

    async fn open_denials(&self, scan: &ScanId, account: Option<&AccountId>) -> Result<Vec<AssumeDenial>, StoreError> {
        let all = self.lock();
        // Asked for each cell that a worker begins, and there is seldom one.
        if all.denials.is_empty() {
            return Ok(Vec::new());
        }
        let of = |key: &(ScanId, AccountId)| key.0 == *scan && account.is_none_or(|account| key.1 == *account);
        let mut open: Vec<AssumeDenial> =
            all.denials.iter().filter(|(key, _)| of(key)).map(|(_, denial)| denial.clone()).collect();
        open.sort_by(|a, b| (a.at, &a.account).cmp(&(b.at, &b.account)));
        Ok(open)
    }

    async fn close_denial(&self, scan: &ScanId, account: &AccountId) -> Result<(), StoreError> {
        self.lock().denials.remove(&(scan.clone(), account.clone()));
        Ok(())
    }

    async fn learned(&self, account: &AccountId) -> Result<Vec<LearnedFactor>, StoreError> {
        Ok(self.lock().learned.get(account).map(|all| all.values().cloned().collect()).unwrap_or_default())
    }

    async fn keep_learned(&self, account: &AccountId, factors: &[LearnedFactor]) -> Result<(), StoreError> {
        let mut all = self.lock();
        let kept = all.learned.entry(account.clone()).or_default();
        kept.extend(factors.iter().map(|factor| (factor.bucket.clone(), factor.clone())));
        Ok(())
    }

    async fn activity(&self, account: &AccountId, region: &str) -> Result<Activity, StoreError> {
        Ok(self.lock().activity.get(account).and_then(|regions| regions.get(region)).cloned().unwrap_or_default())
    }

    async fn add_activity(
        &self,
        account: &AccountId,
        region: &str,
        news: &Activity,
        oldest: Timestamp,
    ) -> Result<Activity, StoreError> {
        let mut all = self.lock();
        if all.statuses.get(account).is_some_and(|status| status.state == AccountState::Disconnected) {
            return Ok(news.clone());
        }
        let known = all.activity.entry(account.clone()).or_default().entry(region.to_owned()).or_default();
        known.merge(news);
        known.settle(oldest.as_second());
        Ok(known.clone())
    }

    async fn forget_activity(&self, account: &AccountId) -> Result<(), StoreError> {
        self.lock().activity.remove(account);
        Ok(())
    }

    async fn take_shared(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError> {
        self.shared.take(bucket, rate, burst)
    }
}

/// Sorts rows so that the newest comes first.
fn newest_first(row: &ScanRow) -> std::cmp::Reverse<(i64, &ScanId)> {
    std::cmp::Reverse((row.spec.started_at.as_millisecond(), &row.spec.id))
}
