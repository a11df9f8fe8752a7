use super::{
    EmbeddedStore,
    sql::{change, encode, json, limit_of, one, rows},
};
use async_trait::async_trait;
use fleetscan_proto::{AccountId, AccountRegistry, RegisteredAccount, StoreError};
use rusqlite::{Connection, params};

fn found(c: &Connection, account: &AccountId) -> rusqlite::Result<Option<RegisteredAccount>> {
    one(c, "SELECT body FROM registered WHERE account = ?1", [account.as_str()], |row| json(row, 0))
}

fn write(c: &Connection, account: &RegisteredAccount) -> rusqlite::Result<()> {
    change(
        c,
        "INSERT OR REPLACE INTO registered VALUES (?1, ?2, ?3)",
        params![account.id.as_str(), account.version, encode(account)?],
    )
    .map(drop)
}

fn put(c: &Connection, account: &RegisteredAccount) -> rusqlite::Result<bool> {
    let before = found(c, &account.id)?;
    // The same change once more, after an answer that got lost.
    if before.as_ref() == Some(account) {
        return Ok(true);
    }
    if before.map_or(0, |known| known.version) + 1 != account.version {
        return Ok(false);
    }
    write(c, account)?;
    Ok(true)
}

fn restore(c: &Connection, accounts: &[RegisteredAccount]) -> rusqlite::Result<u64> {
    let mut written = 0;
    for account in accounts {
        let stays = found(c, &account.id)?.is_some_and(|known| {
            (known.removed_at.is_some() && account.removed_at.is_none()) || known.version >= account.version
        });
        if !stays {
            write(c, account)?;
            written += 1;
        }
    }
    Ok(written)
}

#[async_trait]
impl AccountRegistry for EmbeddedStore {
    async fn registered(&self, account: &AccountId) -> Result<Option<RegisteredAccount>, StoreError> {
        let account = account.clone();
        self.reader.run(move |c| found(c, &account)).await
    }

    async fn registered_accounts(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<RegisteredAccount>, StoreError> {
        let after = after.map(|id| id.as_str().to_owned()).unwrap_or_default();
        let page = "SELECT body FROM registered WHERE account > ?1 ORDER BY account LIMIT ?2";
        self.reader.run(move |c| rows(c, page, params![after, limit_of(limit)], |row| json(row, 0))).await
    }

    async fn put_registered(&self, account: &RegisteredAccount) -> Result<bool, StoreError> {
        let account = account.clone();
        self.writer.run(move |c| put(c, &account)).await
    }

    async fn restore_registered(&self, accounts: &[RegisteredAccount]) -> Result<u64, StoreError> {
        let accounts = accounts.to_vec();
        self.writer.run(move |c| restore(c, &accounts)).await
    }
}
