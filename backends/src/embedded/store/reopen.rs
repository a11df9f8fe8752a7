use super::{
    cells::{add_totals, write_outcome},
    scans::is_under_way,
    sql::{change, decode, encode, one},
};
use fleetscan_proto::{CellProgress, LedgerLine, ScanId};
use rusqlite::{Connection, params};

/// Statements over the whole scan, rather than cell by cell: a cancelled scan may have millions.
pub(super) fn reopen_scan(c: &Connection, scan: &ScanId) -> rusqlite::Result<Option<u64>> {
    let id = [scan.as_str()];
    let again = "UPDATE scans SET state = 'running', finished = NULL WHERE id = ?1 AND state = 'cancelled'";
    if change(c, again, id)? == 0 {
        return Ok(None);
    }
    let cancelled = one(c, "SELECT cells FROM totals WHERE scan = ?1 AND outcome = 'cancelled'", id, |row| row.get(0))?;
    probe_untouched_anew(c, scan)?;
    change(
        c,
        "UPDATE cells SET generation = generation + 1, tries = 0, begun = NULL, outcome = NULL, body = progress,
         progress = NULL WHERE scan = ?1 AND outcome = 'cancelled'",
        id,
    )?;
    // No cell has that outcome any more.
    change(c, "DELETE FROM totals WHERE scan = ?1 AND outcome = 'cancelled'", id)?;
    Ok(Some(cancelled.unwrap_or_default()))
}

/// Accounts of whose cells none was ever kept track of: they may stand for regions that were assumed when the scan was
/// cancelled, because no probe had answered yet.
fn probe_untouched_anew(c: &Connection, scan: &ScanId) -> rusqlite::Result<()> {
    let id = [scan.as_str()];
    change(
        c,
        "UPDATE scan_accounts SET state = 0, generation = generation + 1, source = NULL, probe = NULL
         WHERE scan = ?1 AND account IN (
             SELECT account FROM cells WHERE scan = ?1 GROUP BY account
             HAVING min(coalesce(outcome, '') = 'cancelled' AND progress IS NULL) = 1
         )",
        id,
    )?;
    // A waiting account has no other cells.
    let dropped = change(
        c,
        "DELETE FROM cells WHERE scan = ?1 AND account IN (SELECT account FROM scan_accounts WHERE scan = ?1 AND state = 0)",
        id,
    )?;
    change(c, "UPDATE totals SET cells = cells - ?2 WHERE scan = ?1 AND outcome = ''", (scan.as_str(), dropped))
        .map(drop)
}

/// The line that a cell ended with (`None`: it is pending), and how often it was reopened.
fn ended(c: &Connection, scan: &ScanId, line: &LedgerLine) -> rusqlite::Result<Option<(Option<LedgerLine>, u32)>> {
    let cell = &line.cell;
    let found = one(
        c,
        "SELECT CASE WHEN outcome IS NOT NULL THEN body END, reopened FROM cells
         WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
        |row| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?)),
    )?;
    found.map(|(body, reopened)| Ok((body.as_deref().map(decode).transpose()?, reopened))).transpose()
}

pub(super) fn reopen_cell(c: &Connection, scan: &ScanId, line: &LedgerLine, most: u32) -> rusqlite::Result<bool> {
    if !is_under_way(c, scan)? {
        return Ok(false);
    }
    match ended(c, scan, line)? {
        None => return Ok(false),
        Some((None, _)) => return Ok(true),
        Some((Some(stands), reopened)) if stands == *line && reopened < most => {}
        Some(_) => return Ok(false),
    }
    add_totals(c, scan, line, -1)?;
    let cell = &line.cell;
    change(
        c,
        "UPDATE cells SET generation = generation + 1, tries = 0, begun = NULL, outcome = NULL, body = ?5, progress = NULL,
         reopened = reopened + 1 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, encode(&CellProgress::anew(line))?],
    )?;
    Ok(true)
}

pub(super) fn replace_line(
    c: &Connection,
    scan: &ScanId,
    line: &LedgerLine,
    by: &LedgerLine,
) -> rusqlite::Result<bool> {
    if !is_under_way(c, scan)? {
        return Ok(false);
    }
    match ended(c, scan, line)? {
        Some((Some(stands), _)) if stands == *by => return Ok(true),
        Some((Some(stands), _)) if stands == *line && by.cell == line.cell => {}
        _ => return Ok(false),
    }
    add_totals(c, scan, line, -1)?;
    write_outcome(c, scan, by)?;
    Ok(true)
}
