use super::sql::{change, encode, json, limit_of, one, rows, word, word_of};
use super::{events, registry::registered};
use fleetscan_proto::{
    AccountChange, AccountId, AccountState, AccountStatus, AssumeDenial, Event, LearnedFactor, ScanId,
};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

pub(super) fn account_status(c: &Connection, account: &AccountId) -> rusqlite::Result<Option<AccountStatus>> {
    one(c, "SELECT status FROM accounts WHERE account = ?1", [account.as_str()], |row| json(row, 0))
}

pub(super) fn account_statuses(
    c: &Connection,
    after: Option<&AccountId>,
    limit: usize,
) -> rusqlite::Result<Vec<AccountStatus>> {
    let after = after.map(AccountId::as_str).unwrap_or_default();
    rows(
        c,
        "SELECT status FROM accounts WHERE account > ?1 ORDER BY account LIMIT ?2",
        params![after, limit_of(limit)],
        |row| json(row, 0),
    )
}

pub(super) fn set_account_status(c: &Connection, status: &AccountStatus) -> rusqlite::Result<()> {
    let account = status.account.as_str();
    let before = account_status(c, &status.account)?;
    change(
        c,
        "INSERT INTO accounts VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET state = excluded.state, status = excluded.status",
        params![account, word_of(&status.state)?, encode(&status)?],
    )?;
    let from = before.map(|b| b.state);
    if from != Some(status.state) {
        if let Some(event) = Event::of_account(rand::random(), from, status, registered(c, &status.account)?.as_ref()) {
            events::append(c, &event)?;
        }
        let entry = AccountChange { at: status.since, from, to: status.state, evidence: status.evidence.clone() };
        append(c, &status.account, &entry)?;
        if matches!(status.state, AccountState::Revoked | AccountState::Paused | AccountState::Disconnected) {
            change(c, "UPDATE facts SET value = value + 1 WHERE name = 'barred'", [])?;
        }
    }
    Ok(())
}

pub(super) fn change_account_status(
    c: &Connection,
    before: Option<&AccountStatus>,
    status: &AccountStatus,
) -> rusqlite::Result<bool> {
    let present = account_status(c, &status.account)?;
    if present.as_ref() == before {
        set_account_status(c, status)?;
        return Ok(true);
    }
    Ok(present.as_ref() == Some(status))
}

pub(super) fn note_act(
    c: &Connection,
    account: &AccountId,
    at: Timestamp,
    evidence: BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let from = account_status(c, account)?.map(|status| status.state);
    let act = AccountChange { at, from, to: from.unwrap_or(AccountState::Pending), evidence };
    if account_history(c, account)?.last() == Some(&act) {
        return Ok(());
    }
    append(c, account, &act)
}

fn append(c: &Connection, account: &AccountId, entry: &AccountChange) -> rusqlite::Result<()> {
    change(
        c,
        "INSERT INTO history SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2 FROM history WHERE account = ?1",
        params![account.as_str(), encode(entry)?],
    )
    .map(drop)
}

pub(super) fn account_history(c: &Connection, account: &AccountId) -> rusqlite::Result<Vec<AccountChange>> {
    rows(c, "SELECT change FROM history WHERE account = ?1 ORDER BY number", [account.as_str()], |row| json(row, 0))
}

pub(super) fn open_denial(c: &Connection, denial: &AssumeDenial) -> rusqlite::Result<()> {
    change(
        c,
        "INSERT INTO denials VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![denial.scan.as_str(), denial.account.as_str(), denial.at.as_millisecond(), encode(&denial)?],
    )?;
    Ok(())
}

pub(super) fn open_denials(
    c: &Connection,
    scan: &ScanId,
    account: Option<&AccountId>,
) -> rusqlite::Result<Vec<AssumeDenial>> {
    let read = |row: &Row<'_>| json(row, 0);
    match account {
        Some(account) => rows(
            c,
            "SELECT denial FROM denials WHERE scan = ?1 AND account = ?2",
            [scan.as_str(), account.as_str()],
            read,
        ),
        None => rows(c, "SELECT denial FROM denials WHERE scan = ?1 ORDER BY at, account", [scan.as_str()], read),
    }
}

/// Asked for each cell that a worker begins: the key leads to it.
pub(super) fn is_denied(c: &Connection, scan: &ScanId, account: &AccountId) -> rusqlite::Result<bool> {
    let found =
        one(c, "SELECT 1 FROM denials WHERE scan = ?1 AND account = ?2", [scan.as_str(), account.as_str()], |row| {
            row.get::<_, i64>(0)
        })?;
    Ok(found.is_some())
}

pub(super) fn close_denial(c: &Connection, scan: &ScanId, account: &AccountId) -> rusqlite::Result<()> {
    change(c, "DELETE FROM denials WHERE scan = ?1 AND account = ?2", params![scan.as_str(), account.as_str()])
        .map(drop)
}

pub(super) fn learned(c: &Connection, account: &AccountId) -> rusqlite::Result<Vec<LearnedFactor>> {
    rows(c, "SELECT bucket, factor, at FROM learned WHERE account = ?1 ORDER BY bucket", [account.as_str()], |row| {
        Ok(LearnedFactor { bucket: row.get(0)?, factor: row.get(1)?, at: word(row.get(2)?)? })
    })
}

pub(super) fn keep_learned(c: &Connection, account: &AccountId, factors: &[LearnedFactor]) -> rusqlite::Result<()> {
    for f in factors {
        change(
            c,
            "INSERT INTO learned VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET factor = excluded.factor, at = excluded.at",
            params![account.as_str(), f.bucket, f.factor, word_of(&f.at)?],
        )?;
    }
    Ok(())
}
