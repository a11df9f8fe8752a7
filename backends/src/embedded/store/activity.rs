use super::{
    accounts::account_status,
    sql::{change, encode, json, one},
};
use fleetscan_proto::{AccountId, AccountState, activity::Activity};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

/// What nobody added to for so long is forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) fn activity(c: &Connection, account: &AccountId, region: &str) -> rusqlite::Result<Activity> {
    let found = one(
        c,
        "SELECT body FROM activity WHERE account = ?1 AND region = ?2",
        params![account.as_str(), region],
        |row| json(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

pub(super) fn add(
    c: &Connection,
    account: &AccountId,
    region: &str,
    news: &Activity,
    oldest: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<Activity> {
    // In one with the writing: whoever disconnects an account erases what was written before.
    if account_status(c, account)?.is_some_and(|status| status.state == AccountState::Disconnected) {
        return Ok(news.clone());
    }
    let mut known = activity(c, account, region)?;
    known.merge(news);
    known.settle(oldest.as_second());
    change(
        c,
        "INSERT OR REPLACE INTO activity VALUES (?1, ?2, ?3, ?4)",
        params![account.as_str(), region, now.as_second(), encode(&known)?],
    )?;
    change(c, "DELETE FROM activity WHERE added < ?1", [(now - KEPT).as_second()])?;
    Ok(known)
}

pub(super) fn forget(c: &Connection, account: &AccountId) -> rusqlite::Result<()> {
    change(c, "DELETE FROM activity WHERE account = ?1", [account.as_str()]).map(drop)
}
