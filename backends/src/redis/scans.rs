use super::{
    RedisStore, script,
    store::{bytes, decode, encode, word, word_of},
};
use fleetscan_proto::{
    AccountId, LedgerLine, Outcome, RegionSource, ScanAccount, ScanAccountState, ScanCounts, ScanId, ScanRow, ScanSpec,
    ScanState, StoreError,
};
use jiff::Timestamp;
use redis::Cmd;
use std::collections::BTreeMap;

/// Accounts that go to the server at once.
const CHUNK: usize = 1_024;

impl RedisStore {
    pub(super) async fn scan_create(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError> {
        // The lists first: a scan that is listed and has no row is passed over.
        let at = spec.started_at.as_millisecond();
        let listed = vec![
            Cmd::zadd(self.keys.fleet("scans"), spec.id.as_str(), at),
            Cmd::sadd(self.keys.fleet("running"), spec.id.as_str()),
        ];
        self.link.commands::<u64>(listed).await?;
        let keys = self.keys.scan(&spec.id);
        let keys = [keys.row(), keys.accounts(ScanAccountState::Waiting), keys.details(), keys.counts()];
        let mut arguments = vec![encode(spec)?];
        arguments.extend(accounts.iter().map(bytes));
        self.link.run::<u64>(&script::CREATE_SCAN, &keys, &arguments).await.map(drop)
    }

    pub(super) async fn scan_row(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError> {
        let row: Vec<Option<String>> = self.link.command(self.row_command(scan)).await?;
        row_of(&row)
    }

    fn row_command(&self, scan: &ScanId) -> Cmd {
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys.scan(scan).row()).arg("spec").arg("state").arg("finished");
        get
    }

    async fn scan_ids(&self) -> Result<Vec<ScanId>, StoreError> {
        let ids: Vec<String> = self.link.command(Cmd::zrange(self.keys.fleet("scans"), 0, -1)).await?;
        ids.iter().map(|id| word(id)).collect()
    }

    pub(super) async fn scan_rows(&self) -> Result<Vec<ScanRow>, StoreError> {
        let ids = self.scan_ids().await?;
        self.rows_of(&ids).await
    }

    /// Of the others only the state is read.
    pub(super) async fn scan_rows_under_way(&self) -> Result<Vec<ScanRow>, StoreError> {
        let mut under_way = Vec::new();
        for chunk in self.scan_ids().await?.chunks(CHUNK) {
            let states = chunk.iter().map(|id| Cmd::hget(self.keys.scan(id).row(), "state")).collect();
            let states: Vec<Option<String>> = self.link.commands(states).await?;
            let goes_on = |state: &Option<String>| matches!(state.as_deref(), Some("running" | "cancelling"));
            under_way.extend(chunk.iter().zip(states).filter(|(_, state)| goes_on(state)).map(|(id, _)| id.clone()));
        }
        let mut rows = self.rows_of(&under_way).await?;
        // Some may have ended in between.
        rows.retain(|row| row.state.is_under_way());
        Ok(rows)
    }

    /// The rows of scans, newest first. One that cannot be read does not hide the others.
    async fn rows_of(&self, ids: &[ScanId]) -> Result<Vec<ScanRow>, StoreError> {
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let gets = chunk.iter().map(|id| self.row_command(id)).collect();
            for (id, row) in chunk.iter().zip(self.link.commands::<Vec<Option<String>>>(gets).await?) {
                match row_of(&row) {
                    Ok(row) => rows.extend(row),
                    Err(error) => tracing::warn!(scan = %id, %error, "scan.unreadable: left to a newer version"),
                }
            }
        }
        rows.sort_by(|a, b| (b.spec.started_at, &b.spec.id).cmp(&(a.spec.started_at, &a.spec.id)));
        Ok(rows)
    }

    pub(super) async fn scan_end(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError> {
        let keys = self.keys.scan(scan);
        let arguments = [bytes(word_of(&state)), bytes(at)];
        let now: Option<String> = self.link.run(&script::END_SCAN, &[keys.row(), keys.denials()], &arguments).await?;
        if now.is_some_and(|now| now != "running") {
            self.link.command::<u64>(Cmd::srem(self.keys.fleet("running"), scan.as_str())).await?;
        }
        Ok(())
    }

    pub(super) async fn scan_reopen(&self, scan: &ScanId) -> Result<Option<u64>, StoreError> {
        match self.scan_row(scan).await? {
            Some(row) if row.state == ScanState::Cancelled => {}
            _ => return Ok(None),
        }
        // The cells first, account by account; the scan runs again when all are pending. Killed in between, it is a
        // cancelled scan still, and reopening it goes on.
        let keys = self.keys.scan(scan);
        let [waiting, planned] =
            [ScanAccountState::Waiting, ScanAccountState::Planned].map(|state| keys.accounts(state));
        let mut reopened = 0;
        let mut after: Option<AccountId> = None;
        loop {
            let page = self.page(planned.clone(), after.as_ref().map(AccountId::as_str), CHUNK).await?;
            let last_page = page.len() < CHUNK;
            for id in &page {
                let account: AccountId = word(id)?;
                let mut arguments = vec![bytes(&account)];
                for line in self.lines_of(scan, &account).await? {
                    if line.outcome == Outcome::Cancelled {
                        arguments.extend(cost(&line));
                    }
                }
                after = Some(account.clone());
                if arguments.len() == 1 {
                    continue;
                }
                let keys = [
                    keys.row(),
                    waiting.clone(),
                    planned.clone(),
                    keys.details(),
                    keys.cells(&account),
                    keys.pending(),
                    keys.counts(),
                ];
                let count: Option<u64> = self.link.run(&script::REOPEN_ACCOUNT, &keys, &arguments).await?;
                reopened += count.unwrap_or_default();
            }
            if last_page {
                break;
            }
        }
        self.link.command::<u64>(Cmd::sadd(self.keys.fleet("running"), scan.as_str())).await?;
        let mut run = redis::cmd("HSET");
        run.arg(keys.row()).arg("state").arg("running");
        self.link.commands::<u64>(vec![Cmd::hdel(keys.row(), "finished"), run]).await?;
        Ok(Some(reopened))
    }

    pub(super) async fn scan_forget(&self, scan: &ScanId) -> Result<(), StoreError> {
        let Some(row) = self.scan_row(scan).await? else { return Ok(()) };
        if row.state.is_under_way() {
            return Err(StoreError::Refused("a scan that runs cannot be forgotten".into()));
        }
        let keys = self.keys.scan(scan);
        loop {
            let page = self.page(keys.accounts(ScanAccountState::Planned), None, CHUNK).await?;
            if page.is_empty() {
                break;
            }
            let mut commands = Vec::with_capacity(page.len() + 1);
            for id in &page {
                commands.push(Cmd::unlink(keys.cells(&word(id)?)));
            }
            commands.push(Cmd::zrem(keys.accounts(ScanAccountState::Planned), &page));
            self.link.commands::<u64>(commands).await?;
        }
        let mut rest = vec![keys.details(), keys.pending(), keys.counts(), keys.denials(), keys.hastened()];
        rest.extend([ScanAccountState::Waiting, ScanAccountState::Probed].map(|state| keys.accounts(state)));
        // The row last: killed before, the scan is there to be forgotten once more.
        rest.push(keys.row());
        let mut commands: Vec<Cmd> = rest.into_iter().map(Cmd::unlink).collect();
        commands.push(Cmd::zrem(self.keys.fleet("scans"), scan.as_str()));
        self.link.commands::<u64>(commands).await.map(drop)
    }

    pub(super) async fn account_in_scan(
        &self,
        scan: &ScanId,
        account: &AccountId,
    ) -> Result<Option<ScanAccount>, StoreError> {
        let keys = self.keys.scan(scan);
        let states = [ScanAccountState::Waiting, ScanAccountState::Probed, ScanAccountState::Planned];
        let scores = states.iter().map(|state| Cmd::zscore(keys.accounts(*state), account.as_str())).collect();
        let scores: Vec<Option<f64>> = self.link.commands(scores).await?;
        match states.into_iter().zip(scores).find(|(_, score)| score.is_some()) {
            None => Ok(None),
            Some((state, _)) => Ok(self.details(scan, state, vec![account.clone()]).await?.pop()),
        }
    }

    pub(super) async fn accounts_in_scan(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        let ids = self.page(self.keys.scan(scan).accounts(state), after.map(AccountId::as_str), limit).await?;
        let ids: Vec<AccountId> = ids.iter().map(|id| word(id)).collect::<Result<_, _>>()?;
        self.details(scan, state, ids).await
    }

    async fn details(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        ids: Vec<AccountId>,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys.scan(scan).details());
        for id in &ids {
            get.arg(format!("{id}|g")).arg(format!("{id}|p"));
        }
        let values: Vec<Option<String>> = self.link.command(get).await?;
        let mut found = Vec::with_capacity(ids.len());
        for (account, pair) in ids.into_iter().zip(values.chunks(2)) {
            let [generation, probe] = pair else { continue };
            found.push(ScanAccount {
                account,
                state,
                generation: generation.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
                probe: probe.as_ref().map(|text| decode(text.as_bytes())).transpose()?,
            });
        }
        Ok(found)
    }

    pub(super) async fn scan_counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError> {
        let fields: BTreeMap<String, String> = self.link.command(Cmd::hgetall(self.keys.scan(scan).counts())).await?;
        let mut counts = ScanCounts::default();
        for (field, value) in &fields {
            let number = || value.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
            match field.split_once(':') {
                Some(("accounts", state)) if number() > 0 => {
                    counts.accounts.insert(word::<ScanAccountState>(state)?, number());
                }
                Some(("source", source)) if number() > 0 => {
                    counts.regions_from.insert(word::<RegionSource>(source)?, number());
                }
                Some(("outcome", outcome)) if number() > 0 => {
                    counts.outcomes.insert(word::<Outcome>(outcome)?, number());
                }
                Some(_) => {}
                None => match field.as_str() {
                    "assumed" => counts.assume_role_calls = number(),
                    "cells" => counts.cells = number(),
                    "calls" => counts.totals.calls = number(),
                    "throttled" => counts.totals.throttled = number(),
                    "records" => counts.totals.records = number(),
                    "seconds" => counts.totals.seconds = value.parse().unwrap_or_default(),
                    _ => {}
                },
            }
        }
        Ok(counts)
    }
}

fn row_of(row: &[Option<String>]) -> Result<Option<ScanRow>, StoreError> {
    let [Some(spec), Some(state), finished] = row else { return Ok(None) };
    let finished_at = finished.as_deref().map(word).transpose()?;
    Ok(Some(ScanRow { spec: decode(spec.as_bytes())?, state: word(state)?, finished_at }))
}

/// A cell and what its line added to the counts, as `reopen_account.lua` takes them.
fn cost(line: &LedgerLine) -> [Vec<u8>; 5] {
    let totals = &line.totals;
    [
        bytes(super::keys::field(&line.cell)),
        bytes(totals.calls),
        bytes(totals.throttled),
        bytes(totals.records),
        bytes(totals.seconds),
    ]
}
