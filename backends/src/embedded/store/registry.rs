use super::{
    EmbeddedStore,
    sql::{change, encode, json, limit_of, one, rows},
};
use crate::embedded::schema;
use async_trait::async_trait;
use fleetscan_proto::{AccountId, AccountRegistry, RegisteredAccount, StoreError};
use rusqlite::{Connection, params};
use std::path::Path;

pub(super) fn registered(c: &Connection, account: &AccountId) -> rusqlite::Result<Option<RegisteredAccount>> {
    one(c, "SELECT body FROM registry WHERE account = ?1", [account.as_str()], |row| json(row, 0))
}

fn registered_accounts(
    c: &Connection,
    after: Option<&AccountId>,
    limit: usize,
) -> rusqlite::Result<Vec<RegisteredAccount>> {
    let after = after.map(AccountId::as_str).unwrap_or_default();
    let page = "SELECT body FROM registry WHERE account > ?1 ORDER BY account LIMIT ?2";
    rows(c, page, params![after, limit_of(limit)], |row| json(row, 0))
}

fn write(c: &Connection, account: &RegisteredAccount) -> rusqlite::Result<()> {
    let (id, removed) = (account.id.as_str(), account.removed_at.is_some());
    let put = "INSERT OR REPLACE INTO registry VALUES (?1, ?2, ?3, ?4)";
    change(c, put, params![id, account.version, removed, encode(account)?]).map(drop)
}

fn put(c: &Connection, account: &RegisteredAccount) -> rusqlite::Result<bool> {
    let present = registered(c, &account.id)?;
    // Asked again after its answer was lost, the same change is no conflict.
    if present.as_ref() == Some(account) {
        return Ok(true);
    }
    if account.version != present.map_or(0, |p| p.version) + 1 {
        return Ok(false);
    }
    write(c, account)?;
    Ok(true)
}

fn restore(c: &Connection, accounts: &[RegisteredAccount]) -> rusqlite::Result<u64> {
    let protected = "SELECT removed OR version > ?2 FROM registry WHERE account = ?1";
    let mut written = 0;
    for account in accounts {
        let kept = one(c, protected, params![account.id.as_str(), account.version], |row| row.get(0))?;
        if !kept.unwrap_or(false) {
            write(c, account)?;
            written += 1;
        }
    }
    Ok(written)
}

/// Empties the write-ahead log: what was overwritten in the file lies in it still.
fn empty_log(path: &Path) -> rusqlite::Result<bool> {
    let busy: bool = schema::connect(path)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(!busy)
}

impl EmbeddedStore {
    /// What was erased is to leave the disk too. Where something holds up the log, its next turn overwrites it.
    pub(super) async fn erase_traces(&self) {
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || empty_log(&path)).await {
            Ok(Ok(true)) => {}
            other => tracing::warn!(outcome = ?other, "registry.erasure.delayed"),
        }
    }
}

#[async_trait]
impl AccountRegistry for EmbeddedStore {
    async fn registered(&self, account: &AccountId) -> Result<Option<RegisteredAccount>, StoreError> {
        let account = account.clone();
        self.reader.run(move |c| registered(c, &account)).await
    }

    async fn registered_accounts(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<RegisteredAccount>, StoreError> {
        let after = after.cloned();
        self.reader.run(move |c| registered_accounts(c, after.as_ref(), limit)).await
    }

    async fn put_registered(&self, account: &RegisteredAccount) -> Result<bool, StoreError> {
        let (account, erases) = (account.clone(), account.grant.is_none());
        let written = self.writer.run(move |c| put(c, &account)).await?;
        if written && erases {
            self.erase_traces().await;
        }
        Ok(written)
    }

    async fn restore_registered(&self, accounts: &[RegisteredAccount]) -> Result<u64, StoreError> {
        let accounts = accounts.to_vec();
        self.writer.run(move |c| restore(c, &accounts)).await
    }
}
