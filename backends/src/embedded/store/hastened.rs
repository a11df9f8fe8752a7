use super::{
    scans::is_running,
    sql::{change, limit_of, rows, word},
};
use fleetscan_proto::{AccountId, ScanId};
use rusqlite::{Connection, params};

pub(super) fn hasten(c: &Connection, scan: &ScanId, accounts: &[AccountId]) -> rusqlite::Result<()> {
    if !is_running(c, scan)? {
        return Ok(());
    }
    for account in accounts {
        change(
            c,
            "INSERT OR IGNORE INTO hastened SELECT scan, account FROM scan_accounts WHERE scan = ?1 AND account = ?2",
            [scan.as_str(), account.as_str()],
        )?;
    }
    Ok(())
}

pub(super) fn take_hastened(c: &Connection, scan: &ScanId, limit: usize) -> rusqlite::Result<Vec<AccountId>> {
    let taken: Vec<AccountId> = rows(
        c,
        "SELECT account FROM hastened WHERE scan = ?1 ORDER BY account LIMIT ?2",
        params![scan.as_str(), limit_of(limit)],
        |row| word(row.get(0)?),
    )?;
    if let Some(last) = taken.last() {
        let before = [scan.as_str(), last.as_str()];
        change(c, "DELETE FROM hastened WHERE scan = ?1 AND account <= ?2", before)?;
    }
    Ok(taken)
}
