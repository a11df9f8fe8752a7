use super::{RedisOptions, keys::Keys, link::Link, script};
use async_trait::async_trait;
use fleetscan_proto::{
    AccountChange, AccountId, AccountState, AccountStatus, AssumeDenial, Begin, Cell, CellProgress, Completion,
    LearnedFactor, LedgerLine, Outcome, PendingCell, Probe, ProbeFailure, ScanAccount, ScanAccountState, ScanCounts,
    ScanId, ScanRow, ScanSpec, ScanState, Store, StoreError, activity::Activity,
};
use jiff::Timestamp;
use redis::Cmd;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, time::Duration};

/// The store of a fleet.
#[derive(Clone)]
pub struct RedisStore {
    pub(super) link: Link,
    pub(super) keys: Keys,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects.
    ///
    /// # Errors
    /// `Away` where the server cannot be reached, `Lost` where it holds no memory and none was to be founded, `Refused`
    /// with a sentence that says what to mend.
    pub async fn connect(options: RedisOptions) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&options.prefix);
        Ok(RedisStore { link: Link::connect(options, &keys).await?, keys })
    }

    /// A page of a set's members, in their order.
    pub(super) async fn page(&self, key: String, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut page = redis::cmd("ZRANGEBYLEX");
        page.arg(key).arg(from).arg("+").arg("LIMIT").arg(0).arg(i64::try_from(limit).unwrap_or(i64::MAX));
        self.link.command(page).await
    }
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Refused(format!("what is to be stored has no JSON: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text)
        .map_err(|error| StoreError::Refused(format!("the store holds something else: {error}")))
}

pub(super) fn bytes(text: impl ToString) -> Vec<u8> {
    text.to_string().into_bytes()
}

/// A word of an enumeration, as JSON writes it.
pub(super) fn word_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|error| StoreError::Refused(format!("the store holds something else: {error}")))
}

#[async_trait]
impl Store for RedisStore {
    async fn create_scan(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.scan_create(spec, accounts).await
    }

    async fn scan(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError> {
        self.scan_row(scan).await
    }

    async fn scans(&self) -> Result<Vec<ScanRow>, StoreError> {
        self.scan_rows().await
    }

    async fn scans_under_way(&self) -> Result<Vec<ScanRow>, StoreError> {
        self.scan_rows_under_way().await
    }

    async fn unfinished_scan(&self, plan: &str, since: Timestamp) -> Result<Option<ScanRow>, StoreError> {
        let rows = self.scan_rows_under_way().await?;
        let fits =
            |row: &ScanRow| row.state == ScanState::Running && row.spec.plan == plan && row.spec.started_at >= since;
        Ok(rows.into_iter().find(fits))
    }

    async fn end_scan(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError> {
        if state == ScanState::Running {
            return Err(StoreError::Refused("a scan cannot end as running".into()));
        }
        self.scan_end(scan, state, at).await
    }

    async fn reopen_scan(&self, scan: &ScanId) -> Result<Option<u64>, StoreError> {
        self.scan_reopen(scan).await
    }

    async fn hasten(&self, scan: &ScanId, accounts: &[AccountId]) -> Result<(), StoreError> {
        let keys = self.keys.scan(scan);
        let [waiting, probed, planned] =
            [ScanAccountState::Waiting, ScanAccountState::Probed, ScanAccountState::Planned].map(|s| keys.accounts(s));
        let keys = [keys.row(), keys.hastened(), waiting, probed, planned];
        let arguments: Vec<Vec<u8>> = accounts.iter().map(bytes).collect();
        self.link.run::<Option<u64>>(&script::HASTEN, &keys, &arguments).await.map(drop)
    }

    async fn take_hastened(&self, scan: &ScanId, limit: usize) -> Result<Vec<AccountId>, StoreError> {
        let limit = [bytes(limit.min(4_096))];
        let taken: Vec<String> =
            self.link.run(&script::TAKE_HASTENED, &[self.keys.scan(scan).hastened()], &limit).await?;
        taken.iter().map(|id| word(id)).collect()
    }

    async fn scan_account(&self, scan: &ScanId, account: &AccountId) -> Result<Option<ScanAccount>, StoreError> {
        self.account_in_scan(scan, account).await
    }

    async fn forget_scan(&self, scan: &ScanId) -> Result<(), StoreError> {
        self.scan_forget(scan).await
    }

    async fn scan_accounts(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        self.accounts_in_scan(scan, state, after, limit).await
    }

    async fn record_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> Result<bool, StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [
            keys.row(),
            keys.accounts(ScanAccountState::Waiting),
            keys.accounts(ScanAccountState::Probed),
            keys.details(),
            keys.counts(),
        ];
        let source = probe.as_ref().map(|probe| word_of(&probe.source)).unwrap_or_default();
        let arguments = [bytes(account), bytes(generation), encode(&probe)?, bytes(source)];
        Ok(self.link.run::<Option<u64>>(&script::PROBE, &keys, &arguments).await? == Some(1))
    }

    async fn renew_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.accounts(ScanAccountState::Waiting), keys.details()];
        let renewed: Option<u64> =
            self.link.run(&script::RENEW_PROBE, &keys, &[bytes(account), bytes(generation)]).await?;
        Ok(renewed.filter(|generation| *generation > 0))
    }

    async fn reopen_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        let keys = self.keys.scan(scan);
        let [waiting, probed] = [ScanAccountState::Waiting, ScanAccountState::Probed].map(|s| keys.accounts(s));
        let keys = [keys.row(), waiting, probed, keys.details(), keys.counts()];
        let reopened: Option<u64> =
            self.link.run(&script::REOPEN_PROBE, &keys, &[bytes(account), bytes(generation)]).await?;
        Ok(reopened.filter(|generation| *generation > 0))
    }

    async fn plan_account(&self, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> Result<(), StoreError> {
        self.cells_plan(scan, account, cells).await
    }

    async fn begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        worker: &str,
        at: Timestamp,
    ) -> Result<Begin, StoreError> {
        self.cell_begin(scan, cell, generation, worker, at).await
    }

    async fn checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError> {
        self.cell_checkpoint(scan, cell, generation, progress).await
    }

    async fn renew_cell(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        attempts: Option<u32>,
    ) -> Result<Option<u64>, StoreError> {
        self.cell_renew(scan, cell, generation, attempts).await
    }

    async fn complete(&self, scan: &ScanId, generation: u64, line: &LedgerLine) -> Result<Completion, StoreError> {
        self.cell_complete(scan, generation, line).await
    }

    async fn close_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
        _at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.cells_close(scan, account, outcome, reason).await
    }

    async fn amend_cells(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError> {
        self.cells_amend(scan, account, from, to).await
    }

    async fn reopen_cell(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError> {
        self.cell_reopen(scan, line, most).await
    }

    async fn replace_line(&self, scan: &ScanId, line: &LedgerLine, by: &LedgerLine) -> Result<bool, StoreError> {
        self.cell_replace(scan, line, by).await
    }

    async fn pending_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError> {
        self.cells_pending(scan, account, after, limit).await
    }

    async fn ledger(&self, scan: &ScanId, after: Option<&Cell>, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        self.ledger_page(scan, after, limit).await
    }

    async fn count_assume_role(&self, scan: &ScanId, calls: u64) -> Result<(), StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.counts()];
        self.link.run::<u64>(&script::COUNT_ASSUMED, &keys, &[bytes(calls)]).await.map(drop)
    }

    async fn counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError> {
        self.scan_counts(scan).await
    }

    async fn account_status(&self, account: &AccountId) -> Result<Option<AccountStatus>, StoreError> {
        self.status_text(account).await?.map(|text| decode(&text)).transpose()
    }

    async fn account_statuses(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountStatus>, StoreError> {
        let ids = self.page(self.keys.fleet("statuses"), after.map(AccountId::as_str), limit).await?;
        let ids: Vec<AccountId> = ids.iter().map(|id| word(id)).collect::<Result<_, _>>()?;
        let gets = ids.iter().map(|id| Cmd::get(self.keys.account(id, "status"))).collect();
        let found: Vec<Option<Vec<u8>>> = self.link.commands(gets).await?;
        found.into_iter().flatten().map(|text| decode(&text)).collect()
    }

    async fn set_account_status(&self, status: &AccountStatus) -> Result<(), StoreError> {
        self.status_put(status, None).await.map(drop)
    }

    async fn change_account_status(
        &self,
        before: Option<&AccountStatus>,
        status: &AccountStatus,
    ) -> Result<bool, StoreError> {
        self.status_change(before, status).await
    }

    async fn note_act(
        &self,
        account: &AccountId,
        at: Timestamp,
        evidence: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let keys = ["state", "history"].map(|what| self.keys.account(account, what));
        let act = AccountChange { at, from: None, to: AccountState::Pending, evidence: evidence.clone() };
        self.link.run::<()>(&script::NOTE_ACT, &keys, &[encode(&act)?]).await
    }

    async fn account_history(&self, account: &AccountId) -> Result<Vec<AccountChange>, StoreError> {
        let entries: Vec<String> = self.link.command(Cmd::lrange(self.keys.account(account, "history"), 0, -1)).await?;
        let read = |entry: &String| {
            let (from, change) = entry.split_once(' ').unwrap_or_default();
            let mut change: AccountChange = decode(change.as_bytes())?;
            let state = from.trim_start_matches('=');
            change.from = if state.is_empty() { None } else { Some(word(state)?) };
            if from.starts_with('=') {
                change.to = change.from.unwrap_or(change.to);
            }
            Ok(change)
        };
        entries.iter().map(read).collect()
    }

    async fn open_denial(&self, denial: &AssumeDenial) -> Result<(), StoreError> {
        let key = self.keys.scan(&denial.scan).denials();
        self.link.command::<u64>(Cmd::hset_nx(key, denial.account.as_str(), encode(denial)?)).await.map(drop)
    }

    async fn open_denials(&self, scan: &ScanId, account: Option<&AccountId>) -> Result<Vec<AssumeDenial>, StoreError> {
        let key = self.keys.scan(scan).denials();
        let texts: Vec<Vec<u8>> = match account {
            Some(account) => {
                let one: Option<Vec<u8>> = self.link.command(Cmd::hget(key, account.as_str())).await?;
                one.into_iter().collect()
            }
            None => self.link.command(Cmd::hvals(key)).await?,
        };
        let mut denials: Vec<AssumeDenial> = texts.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
        denials.sort_by(|a, b| (a.at, &a.account).cmp(&(b.at, &b.account)));
        Ok(denials)
    }

    async fn close_denial(&self, scan: &ScanId, account: &AccountId) -> Result<(), StoreError> {
        let key = self.keys.scan(scan).denials();
        self.link.command::<u64>(Cmd::hdel(key, account.as_str())).await.map(drop)
    }

    async fn learned(&self, account: &AccountId) -> Result<Vec<LearnedFactor>, StoreError> {
        let texts: Vec<Vec<u8>> = self.link.command(Cmd::hvals(self.keys.account(account, "learned"))).await?;
        let mut factors: Vec<LearnedFactor> = texts.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
        factors.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        Ok(factors)
    }

    async fn keep_learned(&self, account: &AccountId, factors: &[LearnedFactor]) -> Result<(), StoreError> {
        if factors.is_empty() {
            return Ok(());
        }
        let mut keep = redis::cmd("HSET");
        keep.arg(self.keys.account(account, "learned"));
        for factor in factors {
            keep.arg(&factor.bucket).arg(encode(factor)?);
        }
        self.link.command::<u64>(keep).await.map(drop)
    }

    async fn activity(&self, account: &AccountId, region: &str) -> Result<Activity, StoreError> {
        self.activity_known(account, region).await
    }

    async fn add_activity(
        &self,
        account: &AccountId,
        region: &str,
        news: &Activity,
        oldest: Timestamp,
    ) -> Result<Activity, StoreError> {
        self.activity_add(account, region, news, oldest).await
    }

    async fn forget_activity(&self, account: &AccountId) -> Result<(), StoreError> {
        self.activity_forget(account).await
    }

    async fn take_shared(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError> {
        const LONGEST: f64 = 365.0 * 24.0 * 3_600.0;
        let (interval, ahead) = (1.0 / rate, (burst - 1.0) / rate);
        let sensible = |seconds: f64| seconds.is_finite() && (0.0..=LONGEST).contains(&seconds);
        if !sensible(interval) || !sensible(ahead) || interval <= 0.0 {
            return Err(StoreError::Refused(format!("the shared bucket {bucket} has no sensible rate or burst")));
        }
        let micros = |seconds: f64| bytes(format!("{:.0}", (seconds * 1e6).max(0.0)));
        let arguments = [micros(interval.max(1e-6)), micros(ahead)];
        let wait: u64 = self.link.run(&script::TAKE_SHARED, &[self.keys.bucket(bucket)], &arguments).await?;
        Ok((wait > 0).then(|| Duration::from_micros(wait)))
    }
}
