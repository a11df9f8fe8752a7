use super::{
    accounts::is_denied,
    scans::{is_running, number_state},
    sql::{change, decode, encode, json, limit_of, one, rows, word},
};
use fleetscan_proto::{
    AccountId, Begin, Begun, Cell, CellProgress, Completion, LedgerLine, Outcome, PendingCell, ScanCounts, ScanId,
    WorkTotals,
};
use rusqlite::{Connection, Row, params};

/// A cell's row as `begin` and `complete` need it; `None`: the scan does not have it.
struct CellRow {
    generation: u64,
    attempts: u32,
    tries: u32,
    done: bool,
    body: Option<String>,
}

fn cell_row(connection: &Connection, scan: &ScanId, cell: &Cell) -> rusqlite::Result<Option<CellRow>> {
    one(
        connection,
        "SELECT generation, attempts, tries, outcome IS NOT NULL, body FROM cells WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
        |row| {
            let (generation, attempts, tries) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(CellRow { generation, attempts, tries, done: row.get(3)?, body: row.get(4)? })
        },
    )
}

/// Where a pending cell ends cancelled, its progress stays beside the line: reopening goes on from there.
pub(super) fn write_outcome(connection: &Connection, scan: &ScanId, line: &LedgerLine) -> rusqlite::Result<()> {
    let (cell, outcome) = (&line.cell, line.outcome.as_str());
    change(
        connection,
        "UPDATE cells SET progress = CASE WHEN outcome IS NULL AND ?5 = 'cancelled' THEN body ELSE progress END,
         outcome = ?5, body = ?6 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, outcome, encode(line)?],
    )?;
    add_totals(connection, scan, line, 1)
}

pub(super) fn add_totals(connection: &Connection, scan: &ScanId, line: &LedgerLine, sign: i64) -> rusqlite::Result<()> {
    let (t, factor) = (&line.totals, if sign < 0 { -1.0 } else { 1.0 });
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX) * sign;
    change(
        connection,
        "INSERT INTO totals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET cells = cells + excluded.cells,
         calls = calls + excluded.calls, throttled = throttled + excluded.throttled, records = records + excluded.records,
         seconds = seconds + excluded.seconds",
        params![scan.as_str(), line.outcome.as_str(), sign, signed(t.calls), signed(t.throttled), signed(t.records), t.seconds * factor],
    )?;
    Ok(())
}

/// Cells that are closed at a time: what a scan that is cancelled has in memory.
const CHUNK: usize = 500;

/// What closing needs of pending cells. Naming the index keeps SQLite from going through the ended ones.
const PENDING: &str = "SELECT account, region, service, attempts, body FROM cells INDEXED BY cells_pending
    WHERE scan = ?1 AND outcome IS NULL";

/// Cells of a query whose first columns are account, region and service.
fn cell_of(row: &Row<'_>) -> rusqlite::Result<Cell> {
    Ok(Cell { account: word(row.get(0)?)?, region: row.get(1)?, service: row.get(2)? })
}

/// `after` of the paged queries: the place before every cell where none is given.
fn place(after: Option<&Cell>) -> (String, String, String) {
    after.map_or_else(Default::default, |c| (c.account.as_str().to_owned(), c.region.clone(), c.service.clone()))
}

/// No account's id is greater.
const LAST_ACCOUNT: &str = "999999999999";

pub(super) fn begin(
    c: &Connection,
    scan: &ScanId,
    cell: &Cell,
    generation: u64,
    begun: &Begun,
) -> rusqlite::Result<Begin> {
    if !is_running(c, scan)? {
        return Ok(Begin::Stale);
    }
    let Some(row) = cell_row(c, scan, cell)? else { return Ok(Begin::Stale) };
    if row.done {
        return Ok(Begin::Done);
    }
    if row.generation != generation {
        return Ok(Begin::Stale);
    }
    if is_denied(c, scan, &cell.account)? {
        return Ok(Begin::Denied);
    }
    change(
        c,
        "UPDATE cells SET attempts = attempts + 1, tries = tries + 1, begun = ?5
         WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, encode(begun)?],
    )?;
    let progress = row.body.as_deref().map(decode).transpose()?.unwrap_or_default();
    Ok(Begin::Go { progress: Box::new(progress), attempts: row.attempts + 1, unfinished: row.tries })
}

pub(super) fn checkpoint(
    c: &Connection,
    scan: &ScanId,
    cell: &Cell,
    generation: u64,
    progress: &CellProgress,
) -> rusqlite::Result<Option<u64>> {
    let changed = change(
        c,
        "UPDATE cells SET generation = generation + 1, tries = 0, begun = NULL, body = ?6
         WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4 AND generation = ?5 AND outcome IS NULL",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, generation, encode(progress)?],
    )?;
    Ok((changed > 0).then_some(generation + 1))
}

pub(super) fn renew_cell(
    c: &Connection,
    scan: &ScanId,
    cell: &Cell,
    generation: u64,
    attempts: Option<u32>,
) -> rusqlite::Result<Option<u64>> {
    let changed = change(
        c,
        "UPDATE cells SET generation = generation + 1, begun = NULL
         WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4 AND generation = ?5 AND outcome IS NULL
         AND attempts = ifnull(?6, attempts)",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, generation, attempts],
    )?;
    Ok((changed > 0).then_some(generation + 1))
}

pub(super) fn complete(
    c: &Connection,
    scan: &ScanId,
    generation: u64,
    line: &LedgerLine,
) -> rusqlite::Result<Completion> {
    match cell_row(c, scan, &line.cell)? {
        Some(row) if row.done => return Ok(Completion::Duplicate),
        Some(row) if row.generation == generation => {}
        _ => return Ok(Completion::Stale),
    }
    write_outcome(c, scan, line)?;
    Ok(Completion::First)
}

pub(super) fn close_cells(
    c: &Connection,
    scan: &ScanId,
    account: Option<&AccountId>,
    outcome: Outcome,
    reason: &str,
) -> rusqlite::Result<u64> {
    let mut closed = 0;
    loop {
        // What was closed is pending no more, so each chunk is of others.
        let chunk = pending_chunk(c, scan, account)?;
        for (cell, attempts, body) in &chunk {
            let progress: CellProgress = body.as_deref().map(decode).transpose()?.unwrap_or_default();
            let line = LedgerLine {
                cell: cell.clone(),
                outcome,
                totals: progress.totals,
                denied: progress.denied,
                error: (!reason.is_empty()).then(|| reason.to_owned()),
                started_at: progress.started_at,
                attempts: *attempts,
                worker: "coordinator".into(),
                parts: progress.parts,
                catalogue: progress.catalogue,
            };
            write_outcome(c, scan, &line)?;
            closed += 1;
        }
        if chunk.len() < CHUNK {
            return Ok(closed);
        }
    }
}

type PendingRow = (Cell, u32, Option<String>);

fn pending_chunk(c: &Connection, scan: &ScanId, account: Option<&AccountId>) -> rusqlite::Result<Vec<PendingRow>> {
    let read = |row: &Row<'_>| Ok((cell_of(row)?, row.get(3)?, row.get(4)?));
    let limit = limit_of(CHUNK);
    match account {
        Some(account) => rows(
            c,
            &format!("{PENDING} AND account = ?2 LIMIT ?3"),
            params![scan.as_str(), account.as_str(), limit],
            read,
        ),
        None => rows(c, &format!("{PENDING} LIMIT ?2"), params![scan.as_str(), limit], read),
    }
}

pub(super) fn amend_cells(
    c: &Connection,
    scan: &ScanId,
    account: &AccountId,
    from: Outcome,
    to: Outcome,
) -> rusqlite::Result<u64> {
    let lines: Vec<LedgerLine> = rows(
        c,
        "SELECT body FROM cells WHERE scan = ?1 AND account = ?2 AND outcome = ?3",
        params![scan.as_str(), account.as_str(), from.as_str()],
        |row| json(row, 0),
    )?;
    let count = lines.len();
    for mut line in lines {
        add_totals(c, scan, &line, -1)?;
        line.outcome = to;
        write_outcome(c, scan, &line)?;
    }
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

pub(super) fn pending_cells(
    c: &Connection,
    scan: &ScanId,
    account: Option<&AccountId>,
    after: Option<&Cell>,
    limit: usize,
) -> rusqlite::Result<Vec<PendingCell>> {
    let (first, r, s) = place(after);
    // The pages of one account begin and end with it, so that the index leads to them and nothing is passed over.
    let (first, r, s, last) = match account.map(AccountId::as_str) {
        None => (first, r, s, LAST_ACCOUNT.to_owned()),
        Some(account) if account < first.as_str() => return Ok(Vec::new()),
        Some(account) if account > first.as_str() => {
            (account.to_owned(), String::new(), String::new(), account.to_owned())
        }
        Some(account) => (first, r, s, account.to_owned()),
    };
    rows(
        c,
        "SELECT account, region, service, generation, attempts, begun, tries FROM cells INDEXED BY cells_pending
         WHERE scan = ?1 AND outcome IS NULL AND (account, region, service) > (?2, ?3, ?4) AND account <= ?5
         ORDER BY account, region, service LIMIT ?6",
        params![scan.as_str(), first, r, s, last, limit_of(limit)],
        |row| {
            let begun: Option<String> = row.get(5)?;
            let begun = begun.as_deref().map(decode).transpose()?;
            let (generation, attempts, unfinished) = (row.get(3)?, row.get(4)?, row.get(6)?);
            Ok(PendingCell { cell: cell_of(row)?, generation, attempts, unfinished, begun })
        },
    )
}

pub(super) fn ledger(
    c: &Connection,
    scan: &ScanId,
    after: Option<&Cell>,
    limit: usize,
) -> rusqlite::Result<Vec<LedgerLine>> {
    let (a, r, s) = place(after);
    rows(
        c,
        "SELECT body FROM cells WHERE scan = ?1 AND (account, region, service) > (?2, ?3, ?4) AND outcome IS NOT NULL
         ORDER BY account, region, service LIMIT ?5",
        params![scan.as_str(), a, r, s, limit_of(limit)],
        |row| json(row, 0),
    )
}

pub(super) fn counts(c: &Connection, scan: &ScanId) -> rusqlite::Result<ScanCounts> {
    let mut counts = ScanCounts::default();
    let by_state = rows(
        c,
        "SELECT state, source, count(*) FROM scan_accounts WHERE scan = ?1 GROUP BY state, source",
        [scan.as_str()],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, u64>(2)?)),
    )?;
    for (state, source, count) in by_state {
        *counts.accounts.entry(number_state(state)).or_default() += count;
        if let Some(source) = source {
            *counts.regions_from.entry(word(source)?).or_default() += count;
        }
    }
    let totals = rows(
        c,
        "SELECT outcome, cells, calls, throttled, records, seconds FROM totals WHERE scan = ?1",
        [scan.as_str()],
        |row| {
            let totals =
                WorkTotals { calls: row.get(2)?, throttled: row.get(3)?, records: row.get(4)?, seconds: row.get(5)? };
            Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?, totals))
        },
    )?;
    for (outcome, cells, totals) in totals {
        if outcome.is_empty() {
            counts.cells = cells;
        } else if cells > 0 {
            counts.outcomes.insert(word(outcome)?, cells);
            counts.totals.add(&totals);
        }
    }
    let assumed = one(c, "SELECT assumed FROM scans WHERE id = ?1", [scan.as_str()], |row| row.get(0))?;
    counts.assume_role_calls = assumed.unwrap_or_default();
    Ok(counts)
}
