use super::sql::{change, one};
use fleetscan_proto::ScanId;
use rusqlite::Connection;

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
