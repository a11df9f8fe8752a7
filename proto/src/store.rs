use crate::{
    AccountChange, AccountId, AccountStatus, AssumeDenial, Begin, Cell, CellProgress, Completion, LedgerLine, Outcome,
    PendingCell, Probe, ProbeFailure, ScanAccount, ScanAccountState, ScanCounts, ScanId, ScanRow, ScanSpec, ScanState,
    activity::Activity,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away; whether the change was made is unknown, and asking again is safe.
    #[error("the store is away: {0}")]
    Away(String),
    /// The store was wiped or replaced: nothing may go on until it is restored.
    #[error("the store has lost its memory: {0}")]
    Lost(String),
    /// Something that trying again will not mend.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// What a limiter learned of one bucket, kept for the next scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedFactor {
    /// `region/service/group`, and `/operation` where the bucket is an operation's own.
    pub bucket: String,
    /// Of the published (or assumed) rate, the part that AWS let through; above 1 only for unpublished limits.
    pub factor: f64,
    /// When it was learned.
    pub at: Timestamp,
}

/// What must be remembered. Every method is one atomic change (or one consistent reading), and repeating it after
/// [`StoreError::Away`] is safe. The store's ledger is the truth; queues are only transport.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes a new scan and its accounts, all [`ScanAccountState::Waiting`]. Repeating it changes nothing.
    async fn create_scan(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError>;

    /// One scan.
    async fn scan(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError>;

    /// All scans, newest first; but for any whose row cannot be read, because a newer version wrote it.
    async fn scans(&self) -> Result<Vec<ScanRow>, StoreError>;

    /// Those of [`Store::scans`] that are running or cancelling.
    async fn scans_under_way(&self) -> Result<Vec<ScanRow>, StoreError> {
        let mut rows = self.scans().await?;
        rows.retain(|row| row.state.is_under_way());
        Ok(rows)
    }

    /// The newest running scan with this plan that began at or after `since`.
    async fn unfinished_scan(&self, plan: &str, since: Timestamp) -> Result<Option<ScanRow>, StoreError>;

    /// Ends a running or cancelling scan, or makes a running one [`ScanState::Cancelling`]. From then on
    /// [`Store::begin`] answers [`Begin::Stale`], and its open denials are forgotten; a scan that ended keeps its state.
    async fn end_scan(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError>;

    /// Makes a cancelled scan run again: its cells that ended `cancelled` are pending under a new generation, going on
    /// from the last checkpoint that they have: what a cancelled result had beyond it is read again. An account that
    /// has cells, all of them cancelled and none ever checkpointed, may stand for regions that were only assumed: its
    /// cells are dropped, and it is [`ScanAccountState::Waiting`] again under a new generation. Answers how many cells
    /// had ended cancelled; a scan in any other state is left alone and answers `None`.
    async fn reopen_scan(&self, scan: &ScanId) -> Result<Option<u64>, StoreError>;

    /// Asks that accounts of a running scan go before the others; those that it does not have are passed over.
    async fn hasten(&self, scan: &ScanId, accounts: &[AccountId]) -> Result<(), StoreError>;

    /// Takes the accounts that [`Store::hasten`] asked for since the last time, by id, at most `limit`.
    async fn take_hastened(&self, scan: &ScanId, limit: usize) -> Result<Vec<AccountId>, StoreError>;

    /// One account within a scan; `None` where the scan has no such account.
    async fn scan_account(&self, scan: &ScanId, account: &AccountId) -> Result<Option<ScanAccount>, StoreError>;

    /// Forgets a scan that is neither running nor cancelling: its cells, ledger and accounts.
    async fn forget_scan(&self, scan: &ScanId) -> Result<(), StoreError>;

    /// Accounts of a scan in one state, by id, after `after`, at most `limit`.
    async fn scan_accounts(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError>;

    /// Keeps what a probe found, if the account is [`ScanAccountState::Waiting`] under this generation; else changes
    /// nothing and answers false.
    async fn record_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> Result<bool, StoreError>;

    /// Raises the generation of a waiting account's probe, so that older copies of its task do nothing, and answers
    /// the new one; `None` where the account is no longer waiting.
    async fn renew_probe(&self, scan: &ScanId, account: &AccountId, generation: u64)
    -> Result<Option<u64>, StoreError>;

    /// An account whose probe failed under this generation is [`ScanAccountState::Waiting`] again under a new one, which
    /// this answers: what it was denied may have been our own fault. `None` where it stands otherwise.
    async fn reopen_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError>;

    /// Stores the cells of a probed account, each pending under generation 1, and makes the account
    /// [`ScanAccountState::Planned`]. Repeating it changes nothing.
    async fn plan_account(&self, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> Result<(), StoreError>;

    /// A worker begins a cell: counts an attempt and notes who began it, where the answer is [`Begin::Go`]. A copy that
    /// is stale, or done, is so whether or not its account was denied.
    async fn begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        worker: &str,
        at: Timestamp,
    ) -> Result<Begin, StoreError>;

    /// Keeps a pending cell's progress and raises its generation, if `generation` is the present one: answers the new
    /// generation, under which the worker queues the cell again, or `None` where it was stale or done.
    async fn checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError>;

    /// Raises a pending cell's generation without touching its progress: what reconcile does before it publishes
    /// again. `None` where the generation was stale or the cell done, or where it has `attempts` other than these: somebody
    /// who looked a moment ago does not void what a worker has begun since.
    async fn renew_cell(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        attempts: Option<u32>,
    ) -> Result<Option<u64>, StoreError>;

    /// Writes a cell's ledger line, if the cell is pending under this generation.
    async fn complete(&self, scan: &ScanId, generation: u64, line: &LedgerLine) -> Result<Completion, StoreError>;

    /// Ends every pending cell of an account (of a whole scan where `account` is `None`) with one outcome, keeping
    /// the parts and totals that its progress has. Answers how many.
    async fn close_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Changes the outcome of an account's cells that ended `from`, to `to`: what a confirmed revocation does to the
    /// cells that were denied meanwhile. Answers how many.
    async fn amend_cells(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError>;

    /// A cell that ended with this line is pending again under a new generation, with nothing but what it has cost
    /// ([`CellProgress::anew`]): what the line lists cannot be read. One that ended otherwise, or was reopened so `most`
    /// times, is left alone, and so is each cell of a scan that is over. Answers whether it is pending now, which it also is
    /// where an earlier answer got lost.
    async fn reopen_cell(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError>;

    /// Puts another line in the place of the one that a cell ended with, if that still stands and the scan is not over.
    /// Answers whether the other one stands now, which it also does where an earlier answer got lost.
    async fn replace_line(&self, scan: &ScanId, line: &LedgerLine, by: &LedgerLine) -> Result<bool, StoreError>;

    /// Pending cells, in the order of [`Cell`], after `after`, at most `limit`; of one account where one is named.
    async fn pending_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError>;

    /// Ledger lines, in the order of [`Cell`], after `after`, at most `limit`.
    async fn ledger(&self, scan: &ScanId, after: Option<&Cell>, limit: usize) -> Result<Vec<LedgerLine>, StoreError>;

    /// Counts AssumeRole calls that a worker made for a task of this scan: the ones that were denied and tried again
    /// too. A session that several scans' tasks share is counted for the one whose task asked for it. Not exact: where
    /// the store's answer is lost, a call may be counted twice or not at all. Of an unknown scan nothing is counted.
    async fn count_assume_role(&self, scan: &ScanId, calls: u64) -> Result<(), StoreError>;

    /// The scan in numbers. Cheap enough for a progress display that asks twice a second.
    async fn counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError>;

    /// What is remembered of an account.
    async fn account_status(&self, account: &AccountId) -> Result<Option<AccountStatus>, StoreError>;

    /// Statuses of all accounts, by id, after `after`, at most `limit`.
    async fn account_statuses(&self, after: Option<&AccountId>, limit: usize)
    -> Result<Vec<AccountStatus>, StoreError>;

    /// Replaces an account's status; where the state differs from the one before, appends to its history, and raises
    /// [`Orders::barred_version`](crate::Orders::barred_version) if the new one ends work in the account. What others are
    /// told of is appended to the [`EventTrail`](crate::EventTrail), in one with the change.
    async fn set_account_status(&self, status: &AccountStatus) -> Result<(), StoreError>;

    /// As [`Store::set_account_status`], if the status is still `before`; else changes nothing. Answers whether the
    /// account has the new status now, which it also has where an earlier answer got lost.
    async fn change_account_status(
        &self,
        before: Option<&AccountStatus>,
        status: &AccountStatus,
    ) -> Result<bool, StoreError>;

    /// Appends an operator's act to an account's history that left its state as it is: from the state to the state.
    /// The same act once more, right after itself (its answer got lost), is not appended again.
    async fn note_act(
        &self,
        account: &AccountId,
        at: Timestamp,
        evidence: &BTreeMap<String, String>,
    ) -> Result<(), StoreError>;

    /// An account's history, oldest first.
    async fn account_history(&self, account: &AccountId) -> Result<Vec<AccountChange>, StoreError>;

    /// Opens a denial, unless one is open for this scan and account (then nothing changes).
    async fn open_denial(&self, denial: &AssumeDenial) -> Result<(), StoreError>;

    /// Open denials of a scan, oldest first; of one account where one is named.
    async fn open_denials(&self, scan: &ScanId, account: Option<&AccountId>) -> Result<Vec<AssumeDenial>, StoreError>;

    /// Closes a denial: it was decided. One that is not open is no error.
    async fn close_denial(&self, scan: &ScanId, account: &AccountId) -> Result<(), StoreError>;

    /// What limiters learned of an account's buckets.
    async fn learned(&self, account: &AccountId) -> Result<Vec<LearnedFactor>, StoreError>;

    /// Keeps what limiters learned, bucket by bucket.
    async fn keep_learned(&self, account: &AccountId, factors: &[LearnedFactor]) -> Result<(), StoreError>;

    /// What is known of who did what in an account's region.
    async fn activity(&self, account: &AccountId, region: &str) -> Result<Activity, StoreError>;

    /// Adds to it what was read, forgets what is older than `oldest` and what is too much ([`Activity::settle`]), and
    /// answers what is known now. Whoever read it, and for whichever scan: it is as true. What nobody added to for 90
    /// days is forgotten. Of a [disconnected](crate::AccountState::Disconnected) account nothing is kept, whoever still
    /// reads there, and what was read is all that is answered.
    async fn add_activity(
        &self,
        account: &AccountId,
        region: &str,
        news: &Activity,
        oldest: Timestamp,
    ) -> Result<Activity, StoreError>;

    /// Forgets it, in all regions.
    async fn forget_activity(&self, account: &AccountId) -> Result<(), StoreError>;

    /// Takes one permit of a bucket that the whole fleet shares (GCRA: `rate` a second, `burst` at once), or answers
    /// how long to wait before asking again.
    async fn take_shared(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError>;
}
