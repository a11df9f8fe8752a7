mod accounts;
mod activity;
mod cells;
mod events;
mod fleet;
mod hastened;
mod registry;
mod reopen;
mod scans;
mod shared;
mod sql;

use super::{schema, thread::Thread};
use async_trait::async_trait;
use fleetscan_proto::{
    AccountChange, AccountId, AccountStatus, AssumeDenial, Begin, Begun, Cell, CellProgress, Clock, Completion,
    LearnedFactor, LedgerLine, Outcome, PendingCell, Probe, ProbeFailure, ScanAccount, ScanAccountState, ScanCounts,
    ScanId, ScanRow, ScanSpec, ScanState, Store, StoreError, SystemClock, activity::Activity,
};
use jiff::Timestamp;
pub(crate) use shared::SharedBuckets;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Changes that share a transaction at most.
const GROUP: usize = 256;

/// The store of one machine: a SQLite file. The statements are in the modules, one transaction a function; this file
/// says what of a call goes with them to a thread. One thread writes and another reads, so that neither waits for the
/// other; what a change has answered, every later reading sees.
#[derive(Clone)]
pub struct EmbeddedStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Thread,
    reader: Thread,
    shared: Arc<SharedBuckets>,
}

impl EmbeddedStore {
    /// Opens `fleetscan.db` in a data folder, making it where it is missing.
    ///
    /// # Errors
    /// A sentence that says what to mend: the folder cannot be written, the file is damaged or another program's, or a
    /// newer version wrote it.
    pub fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
        let path = folder.join("fleetscan.db");
        let refused =
            |why: String| StoreError::Refused(format!("the data file {} cannot be used: {why}", path.display()));
        let (writing, reading) = schema::open(&path).map_err(refused)?;
        let start = |name, connection, group| {
            Thread::start(name, connection, group).map_err(|error| refused(error.to_string()))
        };
        // A reading never shares a transaction with an earlier one: it would miss what changed in between.
        let (writer, reader) = (start("store-writer", writing, GROUP)?, start("store-reader", reading, 1)?);
        Ok(EmbeddedStore { path, clock: Arc::new(SystemClock), writer, reader, shared: Arc::default() })
    }

    /// The same store with another clock for its leases and reports; without, it is the machine's.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> EmbeddedStore {
        EmbeddedStore { clock, ..self }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn create_scan(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError> {
        let (spec, accounts) = (spec.clone(), accounts.to_vec());
        self.writer.run(move |c| scans::create_scan(c, &spec, &accounts)).await
    }

    async fn scan(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError> {
        let scan = scan.clone();
        self.reader.run(move |c| scans::scan(c, &scan)).await
    }

    async fn scans(&self) -> Result<Vec<ScanRow>, StoreError> {
        self.reader.run(scans::scans).await
    }

    async fn unfinished_scan(&self, plan: &str, since: Timestamp) -> Result<Option<ScanRow>, StoreError> {
        let plan = plan.to_owned();
        self.reader.run(move |c| scans::unfinished_scan(c, &plan, since)).await
    }

    async fn end_scan(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError> {
        if state == ScanState::Running {
            return Err(StoreError::Refused("a scan cannot end as running".into()));
        }
        let scan = scan.clone();
        self.writer.run(move |c| scans::end_scan(c, &scan, state, at)).await
    }

    async fn reopen_scan(&self, scan: &ScanId) -> Result<Option<u64>, StoreError> {
        let scan = scan.clone();
        self.writer.run(move |c| reopen::reopen_scan(c, &scan)).await
    }

    async fn hasten(&self, scan: &ScanId, accounts: &[AccountId]) -> Result<(), StoreError> {
        let (scan, accounts) = (scan.clone(), accounts.to_vec());
        self.writer.run(move |c| hastened::hasten(c, &scan, &accounts)).await
    }

    async fn take_hastened(&self, scan: &ScanId, limit: usize) -> Result<Vec<AccountId>, StoreError> {
        let scan = scan.clone();
        self.writer.run(move |c| hastened::take_hastened(c, &scan, limit)).await
    }

    async fn scan_account(&self, scan: &ScanId, account: &AccountId) -> Result<Option<ScanAccount>, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.reader.run(move |c| scans::scan_account(c, &scan, &account)).await
    }

    async fn forget_scan(&self, scan: &ScanId) -> Result<(), StoreError> {
        let scan = scan.clone();
        let running = self.writer.run(move |c| scans::forget_scan(c, &scan)).await?;
        if running {
            Err(StoreError::Refused("a scan that runs or is being cancelled cannot be forgotten".into()))
        } else {
            Ok(())
        }
    }

    async fn scan_accounts(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        let (scan, after) = (scan.clone(), after.cloned());
        self.reader.run(move |c| scans::scan_accounts(c, &scan, state, after.as_ref(), limit)).await
    }

    async fn record_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> Result<bool, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| scans::record_probe(c, &scan, &account, generation, &probe)).await
    }

    async fn renew_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| scans::renew_probe(c, &scan, &account, generation)).await
    }

    async fn reopen_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| scans::reopen_probe(c, &scan, &account, generation)).await
    }

    async fn plan_account(&self, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> Result<(), StoreError> {
        let (scan, account, cells) = (scan.clone(), account.clone(), cells.to_vec());
        self.writer.run(move |c| scans::plan_account(c, &scan, &account, &cells)).await
    }

    async fn begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        worker: &str,
        at: Timestamp,
    ) -> Result<Begin, StoreError> {
        let (scan, cell, begun) = (scan.clone(), cell.clone(), Begun { worker: worker.to_owned(), at });
        self.writer.run(move |c| cells::begin(c, &scan, &cell, generation, &begun)).await
    }

    async fn checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, cell, progress) = (scan.clone(), cell.clone(), progress.clone());
        self.writer.run(move |c| cells::checkpoint(c, &scan, &cell, generation, &progress)).await
    }

    async fn renew_cell(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        attempts: Option<u32>,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, cell) = (scan.clone(), cell.clone());
        self.writer.run(move |c| cells::renew_cell(c, &scan, &cell, generation, attempts)).await
    }

    async fn complete(&self, scan: &ScanId, generation: u64, line: &LedgerLine) -> Result<Completion, StoreError> {
        let (scan, line) = (scan.clone(), line.clone());
        self.writer.run(move |c| cells::complete(c, &scan, generation, &line)).await
    }

    async fn close_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
        _at: Timestamp,
    ) -> Result<u64, StoreError> {
        let (scan, account, reason) = (scan.clone(), account.cloned(), reason.to_owned());
        self.writer.run(move |c| cells::close_cells(c, &scan, account.as_ref(), outcome, &reason)).await
    }

    async fn amend_cells(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| cells::amend_cells(c, &scan, &account, from, to)).await
    }

    async fn reopen_cell(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError> {
        let (scan, line) = (scan.clone(), line.clone());
        self.writer.run(move |c| reopen::reopen_cell(c, &scan, &line, most)).await
    }

    async fn replace_line(&self, scan: &ScanId, line: &LedgerLine, by: &LedgerLine) -> Result<bool, StoreError> {
        let (scan, line, by) = (scan.clone(), line.clone(), by.clone());
        self.writer.run(move |c| reopen::replace_line(c, &scan, &line, &by)).await
    }

    async fn pending_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError> {
        let (scan, account, after) = (scan.clone(), account.cloned(), after.cloned());
        self.reader.run(move |c| cells::pending_cells(c, &scan, account.as_ref(), after.as_ref(), limit)).await
    }

    async fn ledger(&self, scan: &ScanId, after: Option<&Cell>, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let (scan, after) = (scan.clone(), after.cloned());
        self.reader.run(move |c| cells::ledger(c, &scan, after.as_ref(), limit)).await
    }

    async fn count_assume_role(&self, scan: &ScanId, calls: u64) -> Result<(), StoreError> {
        let scan = scan.clone();
        self.writer.run(move |c| scans::count_assume_role(c, &scan, calls)).await
    }

    async fn counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError> {
        let scan = scan.clone();
        self.reader.run(move |c| cells::counts(c, &scan)).await
    }

    async fn account_status(&self, account: &AccountId) -> Result<Option<AccountStatus>, StoreError> {
        let account = account.clone();
        self.reader.run(move |c| accounts::account_status(c, &account)).await
    }

    async fn account_statuses(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountStatus>, StoreError> {
        let after = after.cloned();
        self.reader.run(move |c| accounts::account_statuses(c, after.as_ref(), limit)).await
    }

    async fn set_account_status(&self, status: &AccountStatus) -> Result<(), StoreError> {
        let status = status.clone();
        self.writer.run(move |c| accounts::set_account_status(c, &status)).await
    }

    async fn change_account_status(
        &self,
        before: Option<&AccountStatus>,
        status: &AccountStatus,
    ) -> Result<bool, StoreError> {
        let (before, status) = (before.cloned(), status.clone());
        self.writer.run(move |c| accounts::change_account_status(c, before.as_ref(), &status)).await
    }

    async fn note_act(
        &self,
        account: &AccountId,
        at: Timestamp,
        evidence: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let (account, evidence) = (account.clone(), evidence.clone());
        self.writer.run(move |c| accounts::note_act(c, &account, at, evidence)).await
    }

    async fn account_history(&self, account: &AccountId) -> Result<Vec<AccountChange>, StoreError> {
        let account = account.clone();
        self.reader.run(move |c| accounts::account_history(c, &account)).await
    }

    async fn open_denial(&self, denial: &AssumeDenial) -> Result<(), StoreError> {
        let denial = denial.clone();
        self.writer.run(move |c| accounts::open_denial(c, &denial)).await
    }

    async fn open_denials(&self, scan: &ScanId, account: Option<&AccountId>) -> Result<Vec<AssumeDenial>, StoreError> {
        let (scan, account) = (scan.clone(), account.cloned());
        self.reader.run(move |c| accounts::open_denials(c, &scan, account.as_ref())).await
    }

    async fn close_denial(&self, scan: &ScanId, account: &AccountId) -> Result<(), StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| accounts::close_denial(c, &scan, &account)).await
    }

    async fn learned(&self, account: &AccountId) -> Result<Vec<LearnedFactor>, StoreError> {
        let account = account.clone();
        self.reader.run(move |c| accounts::learned(c, &account)).await
    }

    async fn keep_learned(&self, account: &AccountId, factors: &[LearnedFactor]) -> Result<(), StoreError> {
        let (account, factors) = (account.clone(), factors.to_vec());
        self.writer.run(move |c| accounts::keep_learned(c, &account, &factors)).await
    }

    async fn activity(&self, account: &AccountId, region: &str) -> Result<Activity, StoreError> {
        let (account, region) = (account.clone(), region.to_owned());
        self.reader.run(move |c| activity::activity(c, &account, &region)).await
    }

    async fn add_activity(
        &self,
        account: &AccountId,
        region: &str,
        news: &Activity,
        oldest: Timestamp,
    ) -> Result<Activity, StoreError> {
        let (account, region, news) = (account.clone(), region.to_owned(), news.clone());
        let now = self.clock.now();
        self.writer.run(move |c| activity::add(c, &account, &region, &news, oldest, now)).await
    }

    async fn forget_activity(&self, account: &AccountId) -> Result<(), StoreError> {
        let account = account.clone();
        self.writer.run(move |c| activity::forget(c, &account)).await?;
        self.erase_traces().await;
        Ok(())
    }

    async fn take_shared(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError> {
        self.shared.take(bucket, rate, burst)
    }
}
