use super::sql::{change, decode, encode, json, limit_of, one, rows, word, word_of};
use fleetscan_proto::{
    AccountId, Cell, Probe, ProbeFailure, ScanAccount, ScanAccountState, ScanId, ScanRow, ScanSpec, ScanState,
};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

fn scan_row(row: &Row<'_>) -> rusqlite::Result<ScanRow> {
    let finished: Option<String> = row.get(2)?;
    Ok(ScanRow { spec: json(row, 0)?, state: word(row.get(1)?)?, finished_at: finished.map(word).transpose()? })
}

const SCAN: &str = "SELECT spec, state, finished FROM scans";

pub(super) fn state_number(state: ScanAccountState) -> i64 {
    match state {
        ScanAccountState::Waiting => 0,
        ScanAccountState::Probed => 1,
        ScanAccountState::Planned => 2,
    }
}

pub(super) fn number_state(number: i64) -> ScanAccountState {
    match number {
        0 => ScanAccountState::Waiting,
        1 => ScanAccountState::Probed,
        _ => ScanAccountState::Planned,
    }
}

/// Running, or being cancelled: not over.
pub(super) fn is_under_way(connection: &Connection, scan: &ScanId) -> rusqlite::Result<bool> {
    let asked = "SELECT state IN ('running', 'cancelling') FROM scans WHERE id = ?1";
    Ok(one(connection, asked, [scan.as_str()], |row| row.get(0))?.unwrap_or_default())
}

pub(super) fn is_running(connection: &Connection, scan: &ScanId) -> rusqlite::Result<bool> {
    Ok(one(connection, "SELECT state = 'running' FROM scans WHERE id = ?1", [scan.as_str()], |row| row.get(0))?
        .unwrap_or(false))
}

pub(super) fn create_scan(c: &Connection, spec: &ScanSpec, accounts: &[AccountId]) -> rusqlite::Result<()> {
    let id = spec.id.as_str();
    let new = change(
        c,
        "INSERT INTO scans (id, plan, started, state, finished, spec) VALUES (?1, ?2, ?3, 'running', NULL, ?4)
         ON CONFLICT DO NOTHING",
        params![id, spec.plan, spec.started_at.as_millisecond(), encode(spec)?],
    )?;
    if new > 0 {
        for account in accounts {
            change(
                c,
                "INSERT INTO scan_accounts VALUES (?1, ?2, 0, 1, NULL, NULL) ON CONFLICT DO NOTHING",
                params![id, account.as_str()],
            )?;
        }
    }
    Ok(())
}

pub(super) fn scan(c: &Connection, scan: &ScanId) -> rusqlite::Result<Option<ScanRow>> {
    one(c, &format!("{SCAN} WHERE id = ?1"), [scan.as_str()], scan_row)
}

pub(super) fn scans(c: &Connection) -> rusqlite::Result<Vec<ScanRow>> {
    rows(c, &format!("{SCAN} ORDER BY started DESC, id DESC"), [], scan_row)
}

pub(super) fn unfinished_scan(c: &Connection, plan: &str, since: Timestamp) -> rusqlite::Result<Option<ScanRow>> {
    one(
        c,
        &format!(
            "{SCAN} WHERE plan = ?1 AND state = 'running' AND started >= ?2 ORDER BY started DESC, id DESC LIMIT 1"
        ),
        params![plan, since.as_millisecond()],
        scan_row,
    )
}

pub(super) fn end_scan(c: &Connection, scan: &ScanId, state: ScanState, at: Timestamp) -> rusqlite::Result<()> {
    let finished = if state == ScanState::Cancelling { None } else { Some(word_of(&at)?) };
    change(
        c,
        "UPDATE scans SET state = ?2, finished = ?3
         WHERE id = ?1 AND (state = 'running' OR state = 'cancelling' AND ?3 IS NOT NULL)",
        params![scan.as_str(), word_of(&state)?, finished],
    )?;
    change(c, "DELETE FROM denials WHERE scan = ?1", [scan.as_str()])?;
    Ok(())
}

pub(super) fn count_assume_role(c: &Connection, scan: &ScanId, calls: u64) -> rusqlite::Result<()> {
    change(c, "UPDATE scans SET assumed = assumed + ?2 WHERE id = ?1", params![scan.as_str(), calls]).map(drop)
}

/// Answers whether it runs or is being cancelled, and so was not forgotten.
pub(super) fn forget_scan(c: &Connection, scan: &ScanId) -> rusqlite::Result<bool> {
    let live = "SELECT EXISTS (SELECT 1 FROM scans WHERE id = ?1 AND state IN ('running', 'cancelling'))";
    if one(c, live, [scan.as_str()], |row| row.get(0))?.unwrap_or(false) {
        return Ok(true);
    }
    for table in ["cells", "scan_accounts", "totals", "denials", "hastened"] {
        change(c, &format!("DELETE FROM {table} WHERE scan = ?1"), [scan.as_str()])?;
    }
    change(c, "DELETE FROM scans WHERE id = ?1", [scan.as_str()])?;
    Ok(false)
}

pub(super) fn scan_accounts(
    c: &Connection,
    scan: &ScanId,
    state: ScanAccountState,
    after: Option<&AccountId>,
    limit: usize,
) -> rusqlite::Result<Vec<ScanAccount>> {
    let after = after.map(AccountId::as_str).unwrap_or_default();
    rows(
        c,
        &format!("{SCAN_ACCOUNT} WHERE scan = ?1 AND state = ?2 AND account > ?3 ORDER BY account LIMIT ?4"),
        params![scan.as_str(), state_number(state), after, limit_of(limit)],
        account_row,
    )
}

const SCAN_ACCOUNT: &str = "SELECT account, state, generation, probe FROM scan_accounts";

fn account_row(row: &Row<'_>) -> rusqlite::Result<ScanAccount> {
    let probe: Option<String> = row.get(3)?;
    Ok(ScanAccount {
        account: word(row.get(0)?)?,
        state: number_state(row.get(1)?),
        generation: row.get(2)?,
        probe: probe.as_deref().map(decode).transpose()?,
    })
}

pub(super) fn scan_account(
    c: &Connection,
    scan: &ScanId,
    account: &AccountId,
) -> rusqlite::Result<Option<ScanAccount>> {
    one(c, &format!("{SCAN_ACCOUNT} WHERE scan = ?1 AND account = ?2"), [scan.as_str(), account.as_str()], account_row)
}

pub(super) fn record_probe(
    c: &Connection,
    scan: &ScanId,
    account: &AccountId,
    generation: u64,
    probe: &Result<Probe, ProbeFailure>,
) -> rusqlite::Result<bool> {
    let source = probe.as_ref().ok().map(|p| word_of(&p.source)).transpose()?;
    let changed = change(
        c,
        "UPDATE scan_accounts SET state = 1, source = ?4, probe = ?5 WHERE scan = ?1 AND account = ?2 AND generation = ?3 AND state = 0",
        params![scan.as_str(), account.as_str(), generation, source, encode(probe)?],
    )?;
    Ok(changed > 0)
}

pub(super) fn renew_probe(
    c: &Connection,
    scan: &ScanId,
    account: &AccountId,
    generation: u64,
) -> rusqlite::Result<Option<u64>> {
    let changed = change(
        c,
        "UPDATE scan_accounts SET generation = generation + 1 WHERE scan = ?1 AND account = ?2 AND generation = ?3 AND state = 0",
        params![scan.as_str(), account.as_str(), generation],
    )?;
    Ok((changed > 0).then_some(generation + 1))
}

pub(super) fn reopen_probe(
    c: &Connection,
    scan: &ScanId,
    account: &AccountId,
    generation: u64,
) -> rusqlite::Result<Option<u64>> {
    // One that let us in has a source of its regions.
    let changed = change(
        c,
        "UPDATE scan_accounts SET state = 0, generation = generation + 1, probe = NULL
         WHERE scan = ?1 AND account = ?2 AND generation = ?3 AND state = 1 AND source IS NULL",
        params![scan.as_str(), account.as_str(), generation],
    )?;
    Ok((changed > 0).then_some(generation + 1))
}

pub(super) fn plan_account(c: &Connection, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> rusqlite::Result<()> {
    let planned = change(
        c,
        "UPDATE scan_accounts SET state = 2 WHERE scan = ?1 AND account = ?2 AND state = 1",
        params![scan.as_str(), account.as_str()],
    )?;
    if planned == 0 {
        return Ok(());
    }
    // A cell that is named twice is stored, and counted, once.
    let mut stored = 0;
    for cell in cells {
        stored += change(
            c,
            "INSERT INTO cells (scan, account, region, service, generation, attempts) VALUES (?1, ?2, ?3, ?4, 1, 0)
             ON CONFLICT DO NOTHING",
            params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
        )?;
    }
    change(
        c,
        "INSERT INTO totals VALUES (?1, '', ?2, 0, 0, 0, 0) ON CONFLICT DO UPDATE SET cells = cells + excluded.cells",
        params![scan.as_str(), stored],
    )?;
    Ok(())
}
