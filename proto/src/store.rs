use crate::{
    AccountId, Cell, Denial, Lane, LedgerLine, Outcome, PartName, Profile, ProfileError, ScanId, WorkTotals,
    activity::Activity, catalogue::Catalogue,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

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

/// What a scan was asked to do; written once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// Its id.
    pub id: ScanId,
    /// Digest of what was asked: accounts, regions, services, catalogue, profile, sink. A scan resumes only its equal.
    pub plan: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Regional cells are limited to these; empty: all enabled ones.
    pub regions: Vec<String>,
    /// The catalogue's services to read.
    pub services: Vec<String>,
    /// Digest of the part of the catalogue that is read.
    pub catalogue: String,
    /// What that part reads, `service:Operation`, sorted: a process with another catalogue reads these operations and
    /// no others. Empty where one process does all of the scan, or where a version asked for it that did not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Name of the profile.
    pub profile: String,
    /// Text of a profile that is not one of fleetscan's own; at most [`MAX_PROFILE_FILE`] bytes.
    ///
    /// [`MAX_PROFILE_FILE`]: crate::MAX_PROFILE_FILE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_file: Option<String>,
    /// Root of its results, as the operator named it.
    pub out: String,
    /// How many accounts it has.
    pub accounts: u64,
    /// How urgent its tasks are.
    #[serde(default)]
    pub lane: Lane,
    /// Seconds after which what has no outcome gets one, counted from `started_at`; `None`: the coordinator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    /// The schedule asked for it, and not an operator.
    #[serde(default)]
    pub scheduled: bool,
}

impl ScanSpec {
    /// The part of a catalogue that the scan reads. Where the catalogue is another than the one that the scan was asked
    /// for under, its digest is another than [`ScanSpec::catalogue`], and it may lack some of
    /// [`ScanSpec::operations`].
    ///
    /// # Errors
    /// When the profile is not known here, or the catalogue has one of the operations called for another that the scan
    /// does not read.
    pub fn part(&self, catalogue: &Catalogue) -> Result<Catalogue, ProfileError> {
        if self.operations.is_empty() {
            return Profile::of_scan(&self.profile, self.profile_file.as_deref())?.of(catalogue);
        }
        let read: HashSet<&str> = self.operations.iter().map(String::as_str).collect();
        let part = catalogue.narrowed(|service, operation| operation.is_told(service, &read));
        part.map_err(|orphan| ProfileError { profile: self.profile.clone(), problem: orphan.to_string() })
    }

    /// Services of which the scan reads something that a catalogue lacks: whoever has only that catalogue cannot read
    /// their cells as they were meant. `told`: operations that alone are read, because the account's owner was told of
    /// no others.
    pub fn lacking(&self, catalogue: &Catalogue, told: Option<&HashSet<&str>>) -> BTreeSet<String> {
        let read = self.operations.iter().filter(|name| told.is_none_or(|told| told.contains(name.as_str())));
        let lacks = |(service, operation): &(&str, &str)| catalogue.operation(service, operation).is_none();
        read.filter_map(|name| name.split_once(':')).filter(lacks).map(|(service, _)| service.to_owned()).collect()
    }
}

/// Where a scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    /// Under way, or interrupted.
    Running,
    /// An operator wants it stopped: no call is begun any more, and its pending cells are about to end `cancelled`.
    Cancelling,
    /// Every cell has its outcome, and the manifest is written.
    Finished,
    /// An operator stopped it, or a newer scan took its place. It may be reopened.
    Cancelled,
    /// The store lost what it knew of it.
    Lost,
}

/// A scan as the store knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRow {
    /// What was asked.
    pub spec: ScanSpec,
    /// Where it stands.
    pub state: ScanState,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Where an account stands within one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanAccountState {
    /// Not yet probed.
    Waiting,
    /// Its probe has answered or failed; its cells are not yet stored.
    Probed,
    /// Its cells are stored.
    Planned,
}

/// Where a list of regions came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionSource {
    /// The accounts file.
    AccountsFile,
    /// `account:ListRegions`.
    AccountListRegions,
    /// `ec2:DescribeRegions`.
    Ec2DescribeRegions,
    /// The regions enabled in every new account, because nothing else would answer.
    DefaultEnabled,
}

/// What a probe learned of an account that let us in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Enabled regions, sorted.
    pub regions: Vec<String>,
    /// Where they came from.
    pub source: RegionSource,
    /// When it answered.
    pub at: Timestamp,
    /// Calls it took.
    pub calls: u64,
}

/// What a probe met in an account that did not let us in: every cell of it ends so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// The outcome that each of its cells gets.
    pub outcome: Outcome,
    /// Why, without AWS's text.
    pub reason: String,
    /// AWS's error code, where AWS answered.
    pub code: Option<String>,
    /// AWS's request id, where AWS answered.
    pub request_id: Option<String>,
    /// How many times AssumeRole was asked that was denied; 0 where it was not, or an older version did not say.
    #[serde(default)]
    pub tries: u32,
    /// When.
    pub at: Timestamp,
}

/// An account within a scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanAccount {
    /// Which account.
    pub account: AccountId,
    /// Where it stands.
    pub state: ScanAccountState,
    /// Generation of its probe task.
    pub generation: u64,
    /// What the probe learned: `None` before it answered.
    pub probe: Option<Result<Probe, ProbeFailure>>,
}

/// Where one walk over an operation's pages stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkCursor {
    /// The next page's token; `None`: the first page.
    pub token: Option<String>,
    /// Items of that page that are already done, should the page be only half done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Nothing is left of it.
    #[serde(default)]
    pub finished: bool,
}

/// What a cell's earlier executions achieved: enough to go on from there, and to write its ledger line at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CellProgress {
    /// By operation, where its walk stands.
    pub walks: BTreeMap<String, WalkCursor>,
    /// Parts that are durable and count.
    pub parts: Vec<PartName>,
    /// Cost so far.
    pub totals: WorkTotals,
    /// Denied so far.
    pub denied: Vec<Denial>,
    /// By operation, why it failed for good.
    pub errors: BTreeMap<String, String>,
    /// Operations that answered.
    pub answered: Vec<String>,
    /// When the first execution began.
    pub started_at: Option<Timestamp>,
    /// Digest of the catalogue that some of it was read with, where that is not its scan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
}

impl CellProgress {
    /// What is left of a result that is to be read anew: its cost.
    pub fn anew(line: &LedgerLine) -> Self {
        let totals = WorkTotals { records: 0, ..line.totals.clone() };
        Self { totals, started_at: line.started_at, ..Self::default() }
    }
}

/// What a worker may do with a cell that it was handed.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// Read it, from where `progress` stands.
    Go {
        /// From where.
        progress: Box<CellProgress>,
        /// Executions begun, this one included.
        attempts: u32,
        /// Of those, the ones since the last checkpoint that never came to an end: their workers died, or lost touch.
        /// What tells a poison task from an innocent one.
        unfinished: u32,
    },
    /// It has its outcome already: acknowledge the message.
    Done,
    /// A newer copy is about, or the scan is not running: acknowledge the message and do nothing.
    Stale,
    /// A denial of its account is open ([`Store::open_denial`]): nothing was begun, and it is not yet known whether
    /// there is anything to read. Come back later.
    Denied,
}

/// What became of a result that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// It is the cell's outcome.
    First,
    /// The cell had its outcome already; this one does not count, and neither do its parts.
    Duplicate,
    /// The generation was stale; this one does not count, and neither do its parts.
    Stale,
}

/// Who began a cell last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The worker.
    pub worker: String,
    /// When.
    pub at: Timestamp,
}

/// A cell without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCell {
    /// Which cell.
    pub cell: Cell,
    /// Its present generation.
    pub generation: u64,
    /// Executions begun.
    pub attempts: u32,
    /// Of those, the ones since the last checkpoint that never came to an end, as far as the store knows.
    pub unfinished: u32,
    /// Who began it under the present generation; `None`: its task waits to be taken.
    pub begun: Option<Begun>,
}

/// A scan in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanCounts {
    /// Accounts by [`ScanAccountState`] (`waiting`, `probed`, `planned`).
    pub accounts: BTreeMap<ScanAccountState, u64>,
    /// Accounts by source of their regions.
    pub regions_from: BTreeMap<RegionSource, u64>,
    /// Cells known.
    pub cells: u64,
    /// Cells by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Cost of the cells that have an outcome.
    pub totals: WorkTotals,
    /// AssumeRole calls that were counted for it: see [`Store::count_assume_role`].
    pub assume_role_calls: u64,
}

impl ScanCounts {
    /// Cells that have no outcome yet, of those known.
    pub fn pending(&self) -> u64 {
        self.cells - self.outcomes.values().sum::<u64>()
    }
}

/// The life of an account, beyond one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Never let us in yet.
    Pending,
    /// Lets us in.
    Active,
    /// Lets us in, and denies some actions.
    Degraded,
    /// Took the role away.
    Revoked,
    /// Left alone at the operator's wish.
    Paused,
    /// The grant was erased.
    Disconnected,
}

impl AccountState {
    /// All of them, in the order in which people are shown them.
    pub const ALL: [AccountState; 6] = [
        AccountState::Active,
        AccountState::Degraded,
        AccountState::Revoked,
        AccountState::Pending,
        AccountState::Paused,
        AccountState::Disconnected,
    ];

    /// The name in tables, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AccountState::Pending => "pending",
            AccountState::Active => "active",
            AccountState::Degraded => "degraded",
            AccountState::Revoked => "revoked",
            AccountState::Paused => "paused",
            AccountState::Disconnected => "disconnected",
        }
    }
}

/// What the store remembers of an account. Holds no grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Which account.
    pub account: AccountId,
    /// Where it stands.
    pub state: AccountState,
    /// Since when.
    pub since: Timestamp,
    /// When AssumeRole last worked.
    pub last_success: Option<Timestamp>,
    /// What `degraded` lacks.
    pub denied: Vec<Denial>,
    /// Evidence of the newest change: error code, AWS request id, tries, what it was doing. Never AWS's text.
    pub evidence: BTreeMap<String, String>,
}

/// A change of an account's state, or (from a state to the same) an operator's act: appended to its history, never
/// altered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountChange {
    /// When.
    pub at: Timestamp,
    /// From which state; `None`: the store met the account for the first time.
    pub from: Option<AccountState>,
    /// To which.
    pub to: AccountState,
    /// Evidence, as in [`AccountStatus`].
    pub evidence: BTreeMap<String, String>,
}

/// AssumeRole was denied for an account that is part of a scan: evidence for whoever decides what that means. While it
/// is open, the account's cells wait. Of a probe one is opened where a policy of our own identity denies it: the probe
/// is put off and asked again by its worker, however long that takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssumeDenial {
    /// In which scan.
    pub scan: ScanId,
    /// Which account.
    pub account: AccountId,
    /// When it was first denied.
    pub at: Timestamp,
    /// AWS's error code.
    pub code: String,
    /// AWS's request id.
    pub request_id: Option<String>,
    /// How many times AssumeRole was tried.
    pub tries: u32,
    /// What the worker was doing: [`AssumeDenial::PROBE`], or the cell.
    pub doing: String,
    /// AWS's text says that our own identity's policy denies it.
    pub our_fault: bool,
}

impl AssumeDenial {
    /// What [`AssumeDenial::doing`] says of an account's probe.
    pub const PROBE: &str = "probe";
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
        rows.retain(|row| matches!(row.state, ScanState::Running | ScanState::Cancelling));
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
    /// again. `None` where the generation was stale or the cell done.
    async fn renew_cell(&self, scan: &ScanId, cell: &Cell, generation: u64) -> Result<Option<u64>, StoreError>;

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
    /// times, is left alone. Answers whether it is pending now, which it also is where an earlier answer got lost.
    async fn reopen_cell(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError>;

    /// Puts another line in the place of the one that a cell ended with, if that still stands. Answers whether the other
    /// one stands now, which it also does where an earlier answer got lost.
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
    /// days is forgotten. Of an account that is [`AccountState::Disconnected`] nothing is kept, whoever still reads
    /// there, and what was read is all that is answered.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A scan that was asked for under the built-in catalogue.
    fn asked(operations: &[&str]) -> ScanSpec {
        ScanSpec {
            id: "s-1".parse().expect("an id"),
            plan: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            regions: Vec::new(),
            services: Vec::new(),
            catalogue: String::new(),
            operations: operations.iter().map(|name| (*name).to_owned()).collect(),
            profile: "of a later version".into(),
            profile_file: None,
            out: String::new(),
            accounts: 1,
            lane: Lane::Normal,
            deadline_seconds: None,
            scheduled: false,
        }
    }

    #[test]
    fn another_catalogue_reads_what_was_asked_for_and_no_more() {
        let spec = asked(&["lambda:ListFunctions", "sns:ListTopics", "sts:GetCallerIdentity"]);
        let whole = Catalogue::built_in();
        let older = whole.narrowed(|service, _| service.id != "sns").expect("no orphans");
        let names = |part: &Catalogue| part.operation_names();
        let part = spec.part(whole).expect("sound");
        assert_eq!(names(&part), spec.operations, "whatever the profile may be");
        assert_eq!(names(&spec.part(&older).expect("sound")), ["lambda:ListFunctions", "sts:GetCallerIdentity"]);
        assert_ne!(part.digest(), spec.part(&older).expect("sound").digest());
        assert!(asked(&[]).part(whole).is_err(), "without them, it is the profile that tells");
    }

    #[test]
    fn a_catalogue_lacks_what_an_account_may_be_read_with_and_it_does_not_know() {
        let spec = asked(&["lambda:ListFunctions", "lambda:FromTheFuture", "sns:ListTopics", "tea:BrewPot"]);
        let lacking = |told: Option<&[&str]>| {
            let told: Option<HashSet<&str>> = told.map(|told| told.iter().copied().collect());
            spec.lacking(Catalogue::built_in(), told.as_ref()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(lacking(None), ["lambda", "tea"]);
        assert_eq!(lacking(Some(&["lambda:ListFunctions", "tea:BrewPot"])), ["tea"]);
        assert!(lacking(Some(&["sns:ListTopics"])).is_empty());
    }
}
