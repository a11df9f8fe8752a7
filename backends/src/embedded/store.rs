use super::writer::Writer;
use async_trait::async_trait;
use fleetscan_proto::{
    AccountChange, AccountId, AccountStatus, AssumeDenial, Begin, Cell, CellProgress, Completion, LearnedFactor,
    LedgerLine, Outcome, PendingCell, Probe, ProbeFailure, ScanAccount, ScanAccountState, ScanCounts, ScanId, ScanRow,
    ScanSpec, ScanState, Store, StoreError,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The store of one machine: a SQLite file.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    writer: Writer,
    /// Shared buckets live in the process: nobody else draws on them.
    shared: Arc<Mutex<HashMap<String, Instant>>>,
}

impl EmbeddedStore {
    /// Opens `fleetscan.db` in a data folder, making it where it is missing.
    ///
    /// # Errors
    /// A sentence: the folder cannot be written, the file is no database, or a newer version wrote it.
    pub fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
        Ok(EmbeddedStore { writer: Writer::open(&folder.join("fleetscan.db"))?, shared: Arc::default() })
    }
}

fn encode<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
fn decode<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, e.into()))
}
/// A column that holds JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    decode(row.get_ref(column)?.as_str()?)
}
/// An enumeration's or an id's text.
fn word<T: DeserializeOwned>(text: String) -> rusqlite::Result<T> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, e.into()))
}
fn word_of<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        other => Err(rusqlite::Error::ToSqlConversionFailure(format!("{other:?} is not a word").into())),
    }
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}
fn change(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}
fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row(values, read).optional()
}

fn state_number(state: ScanAccountState) -> i64 {
    match state {
        ScanAccountState::Waiting => 0,
        ScanAccountState::Probed => 1,
        ScanAccountState::Planned => 2,
    }
}
fn number_state(number: i64) -> ScanAccountState {
    match number {
        0 => ScanAccountState::Waiting,
        1 => ScanAccountState::Probed,
        _ => ScanAccountState::Planned,
    }
}

fn scan_row(row: &Row<'_>) -> rusqlite::Result<ScanRow> {
    let finished: Option<String> = row.get(2)?;
    Ok(ScanRow { spec: json(row, 0)?, state: word(row.get(1)?)?, finished_at: finished.map(word).transpose()? })
}
const SCAN: &str = "SELECT spec, state, finished FROM scans";

/// A cell's row as `begin` and `complete` need it; `None`: the scan does not have it.
struct CellRow {
    generation: u64,
    attempts: u32,
    done: bool,
    body: Option<String>,
}
fn cell_row(connection: &Connection, scan: &ScanId, cell: &Cell) -> rusqlite::Result<Option<CellRow>> {
    one(
        connection,
        "SELECT generation, attempts, outcome IS NOT NULL, body FROM cells WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
        |row| Ok(CellRow { generation: row.get(0)?, attempts: row.get(1)?, done: row.get(2)?, body: row.get(3)? }),
    )
}
fn is_running(connection: &Connection, scan: &ScanId) -> rusqlite::Result<bool> {
    Ok(one(connection, "SELECT state = 'running' FROM scans WHERE id = ?1", [scan.as_str()], |row| row.get(0))?
        .unwrap_or(false))
}

fn write_outcome(connection: &Connection, scan: &ScanId, line: &LedgerLine) -> rusqlite::Result<()> {
    let (cell, outcome) = (&line.cell, line.outcome.as_str());
    change(
        connection,
        "UPDATE cells SET outcome = ?5, body = ?6 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
        params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, outcome, encode(line)?],
    )?;
    add_totals(connection, scan, line, 1)
}

fn add_totals(connection: &Connection, scan: &ScanId, line: &LedgerLine, sign: i64) -> rusqlite::Result<()> {
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

/// What closing needs of pending cells. Naming the index keeps SQLite from going through the ended ones.
const PENDING: &str = "SELECT account, region, service, attempts, body FROM cells INDEXED BY cells_pending WHERE scan = ?1 AND outcome IS NULL";

/// Cells of a query whose first columns are account, region and service.
fn cell_of(row: &Row<'_>) -> rusqlite::Result<Cell> {
    Ok(Cell { account: word(row.get(0)?)?, region: row.get(1)?, service: row.get(2)? })
}

/// `after` of the paged queries: the place before every cell where none is given.
fn place(after: Option<&Cell>) -> (String, String, String) {
    after.map_or_else(Default::default, |c| (c.account.as_str().to_owned(), c.region.clone(), c.service.clone()))
}

/// A time of a shared bucket: not below zero, not above a year.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= Duration::from_secs(365 * 24 * 3_600))
}

/// No account's id is greater.
const LAST_ACCOUNT: &str = "999999999999";

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn create_scan(&self, spec: &ScanSpec, accounts: &[AccountId]) -> Result<(), StoreError> {
        let (spec, accounts) = (spec.clone(), accounts.to_vec());
        self.writer
            .run(move |c| {
                let id = spec.id.as_str();
                let new = change(
                    c,
                    "INSERT INTO scans VALUES (?1, ?2, ?3, 'running', NULL, ?4) ON CONFLICT DO NOTHING",
                    params![id, spec.plan, spec.started_at.as_millisecond(), encode(&spec)?],
                )?;
                if new > 0 {
                    for account in &accounts {
                        change(
                            c,
                            "INSERT INTO scan_accounts VALUES (?1, ?2, 0, 1, NULL, NULL) ON CONFLICT DO NOTHING",
                            params![id, account.as_str()],
                        )?;
                    }
                }
                Ok(())
            })
            .await
    }

    async fn scan(&self, scan: &ScanId) -> Result<Option<ScanRow>, StoreError> {
        let scan = scan.clone();
        self.writer.run(move |c| one(c, &format!("{SCAN} WHERE id = ?1"), [scan.as_str()], scan_row)).await
    }

    async fn scans(&self) -> Result<Vec<ScanRow>, StoreError> {
        self.writer.run(|c| rows(c, &format!("{SCAN} ORDER BY started DESC, id DESC"), [], scan_row)).await
    }

    async fn unfinished_scan(&self, plan: &str, since: Timestamp) -> Result<Option<ScanRow>, StoreError> {
        let plan = plan.to_owned();
        self.writer.run(move |c| {
            one(
                c,
                &format!("{SCAN} WHERE plan = ?1 AND state = 'running' AND started >= ?2 ORDER BY started DESC, id DESC LIMIT 1"),
                params![plan, since.as_millisecond()],
                scan_row,
            )
        }).await
    }

    async fn end_scan(&self, scan: &ScanId, state: ScanState, at: Timestamp) -> Result<(), StoreError> {
        if state == ScanState::Running {
            return Err(StoreError::Refused("a scan cannot end as running".into()));
        }
        let scan = scan.clone();
        self.writer
            .run(move |c| {
                change(
                    c,
                    "UPDATE scans SET state = ?2, finished = ?3 WHERE id = ?1 AND state = 'running'",
                    params![scan.as_str(), word_of(&state)?, word_of(&at)?],
                )?;
                change(c, "DELETE FROM denials WHERE scan = ?1", [scan.as_str()])?;
                Ok(())
            })
            .await
    }

    async fn forget_scan(&self, scan: &ScanId) -> Result<(), StoreError> {
        let scan = scan.clone();
        let running = self
            .writer
            .run(move |c| {
                if is_running(c, &scan)? {
                    return Ok(true);
                }
                for table in ["cells", "scan_accounts", "totals", "denials"] {
                    change(c, &format!("DELETE FROM {table} WHERE scan = ?1"), [scan.as_str()])?;
                }
                change(c, "DELETE FROM scans WHERE id = ?1", [scan.as_str()])?;
                Ok(false)
            })
            .await?;
        if running { Err(StoreError::Refused("a scan that runs cannot be forgotten".into())) } else { Ok(()) }
    }

    async fn scan_accounts(
        &self,
        scan: &ScanId,
        state: ScanAccountState,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<ScanAccount>, StoreError> {
        let (scan, after) = (scan.clone(), after.map(|a| a.as_str().to_owned()).unwrap_or_default());
        self.writer.run(move |c| {
            rows(
                c,
                "SELECT account, state, generation, probe FROM scan_accounts WHERE scan = ?1 AND state = ?2 AND account > ?3 ORDER BY account LIMIT ?4",
                params![scan.as_str(), state_number(state), after, limit_of(limit)],
                |row| {
                    let probe: Option<String> = row.get(3)?;
                    Ok(ScanAccount {
                        account: word(row.get(0)?)?,
                        state: number_state(row.get(1)?),
                        generation: row.get(2)?,
                        probe: probe.as_deref().map(decode).transpose()?,
                    })
                },
            )
        }).await
    }

    async fn record_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        probe: Result<Probe, ProbeFailure>,
    ) -> Result<bool, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| {
            let source = probe.as_ref().ok().map(|p| word_of(&p.source)).transpose()?;
            let changed = change(
                c,
                "UPDATE scan_accounts SET state = 1, source = ?4, probe = ?5 WHERE scan = ?1 AND account = ?2 AND generation = ?3 AND state = 0",
                params![scan.as_str(), account.as_str(), generation, source, encode(&probe)?],
            )?;
            Ok(changed > 0)
        }).await
    }

    async fn renew_probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer.run(move |c| {
            let changed = change(
                c,
                "UPDATE scan_accounts SET generation = generation + 1 WHERE scan = ?1 AND account = ?2 AND generation = ?3 AND state = 0",
                params![scan.as_str(), account.as_str(), generation],
            )?;
            Ok((changed > 0).then_some(generation + 1))
        }).await
    }

    async fn plan_account(&self, scan: &ScanId, account: &AccountId, cells: &[Cell]) -> Result<(), StoreError> {
        let (scan, account, cells) = (scan.clone(), account.clone(), cells.to_vec());
        self.writer.run(move |c| {
            let planned = change(c, "UPDATE scan_accounts SET state = 2 WHERE scan = ?1 AND account = ?2 AND state = 1", params![scan.as_str(), account.as_str()])?;
            if planned == 0 {
                return Ok(());
            }
            // A cell that is named twice is stored, and counted, once.
            let mut stored = 0;
            for cell in &cells {
                stored += change(
                    c,
                    "INSERT INTO cells VALUES (?1, ?2, ?3, ?4, 1, 0, NULL, NULL) ON CONFLICT DO NOTHING",
                    params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
                )?;
            }
            change(
                c,
                "INSERT INTO totals VALUES (?1, '', ?2, 0, 0, 0, 0) ON CONFLICT DO UPDATE SET cells = cells + excluded.cells",
                params![scan.as_str(), stored],
            )?;
            Ok(())
        }).await
    }

    async fn begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        _worker: &str,
        _at: Timestamp,
    ) -> Result<Begin, StoreError> {
        let (scan, cell) = (scan.clone(), cell.clone());
        self.writer.run(move |c| {
            if !is_running(c, &scan)? {
                return Ok(Begin::Stale);
            }
            let Some(row) = cell_row(c, &scan, &cell)? else { return Ok(Begin::Stale) };
            if row.done {
                return Ok(Begin::Done);
            }
            if row.generation != generation {
                return Ok(Begin::Stale);
            }
            change(
                c,
                "UPDATE cells SET attempts = attempts + 1 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4",
                params![scan.as_str(), cell.account.as_str(), cell.region, cell.service],
            )?;
            let progress = row.body.as_deref().map(decode).transpose()?.unwrap_or_default();
            Ok(Begin::Go { progress: Box::new(progress), attempts: row.attempts + 1 })
        }).await
    }

    async fn checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError> {
        let (scan, cell, progress) = (scan.clone(), cell.clone(), progress.clone());
        self.writer.run(move |c| {
            let changed = change(
                c,
                "UPDATE cells SET generation = generation + 1, body = ?6
                 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4 AND generation = ?5 AND outcome IS NULL",
                params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, generation, encode(&progress)?],
            )?;
            Ok((changed > 0).then_some(generation + 1))
        }).await
    }

    async fn renew_cell(&self, scan: &ScanId, cell: &Cell, generation: u64) -> Result<Option<u64>, StoreError> {
        let (scan, cell) = (scan.clone(), cell.clone());
        self.writer.run(move |c| {
            let changed = change(
                c,
                "UPDATE cells SET generation = generation + 1
                 WHERE scan = ?1 AND account = ?2 AND region = ?3 AND service = ?4 AND generation = ?5 AND outcome IS NULL",
                params![scan.as_str(), cell.account.as_str(), cell.region, cell.service, generation],
            )?;
            Ok((changed > 0).then_some(generation + 1))
        }).await
    }

    async fn complete(&self, scan: &ScanId, generation: u64, line: &LedgerLine) -> Result<Completion, StoreError> {
        let (scan, line) = (scan.clone(), line.clone());
        self.writer
            .run(move |c| {
                match cell_row(c, &scan, &line.cell)? {
                    Some(row) if row.done => return Ok(Completion::Duplicate),
                    Some(row) if row.generation == generation => {}
                    _ => return Ok(Completion::Stale),
                }
                write_outcome(c, &scan, &line)?;
                Ok(Completion::First)
            })
            .await
    }

    async fn close_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
        _at: Timestamp,
    ) -> Result<u64, StoreError> {
        let (scan, account, reason) = (scan.clone(), account.cloned(), reason.to_owned());
        self.writer
            .run(move |c| {
                let read = |row: &Row<'_>| Ok((cell_of(row)?, row.get(3)?, row.get(4)?));
                let pending: Vec<(Cell, u32, Option<String>)> = match &account {
                    Some(account) => {
                        rows(c, &format!("{PENDING} AND account = ?2"), params![scan.as_str(), account.as_str()], read)?
                    }
                    None => rows(c, PENDING, [scan.as_str()], read)?,
                };
                let count = pending.len();
                for (cell, attempts, body) in pending {
                    let progress: CellProgress = body.as_deref().map(decode).transpose()?.unwrap_or_default();
                    let line = LedgerLine {
                        cell,
                        outcome,
                        totals: progress.totals,
                        denied: progress.denied,
                        error: (!reason.is_empty()).then(|| reason.clone()),
                        started_at: progress.started_at,
                        attempts,
                        worker: "coordinator".into(),
                        parts: progress.parts,
                    };
                    write_outcome(c, &scan, &line)?;
                }
                Ok(u64::try_from(count).unwrap_or(u64::MAX))
            })
            .await
    }

    async fn amend_cells(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer
            .run(move |c| {
                let lines: Vec<LedgerLine> = rows(
                    c,
                    "SELECT body FROM cells WHERE scan = ?1 AND account = ?2 AND outcome = ?3",
                    params![scan.as_str(), account.as_str(), from.as_str()],
                    |row| json(row, 0),
                )?;
                let count = lines.len();
                for mut line in lines {
                    add_totals(c, &scan, &line, -1)?;
                    line.outcome = to;
                    write_outcome(c, &scan, &line)?;
                }
                Ok(u64::try_from(count).unwrap_or(u64::MAX))
            })
            .await
    }

    async fn pending_cells(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError> {
        let (scan, (first, r, s)) = (scan.clone(), place(after));
        // The pages of one account begin and end with it, so that the index leads to them and nothing is passed over.
        let (first, r, s, last) = match account.map(AccountId::as_str) {
            None => (first, r, s, LAST_ACCOUNT.to_owned()),
            Some(account) if account < first.as_str() => return Ok(Vec::new()),
            Some(account) if account > first.as_str() => {
                (account.to_owned(), String::new(), String::new(), account.to_owned())
            }
            Some(account) => (first, r, s, account.to_owned()),
        };
        self.writer
            .run(move |c| {
                rows(
                    c,
                    "SELECT account, region, service, generation FROM cells INDEXED BY cells_pending
                 WHERE scan = ?1 AND outcome IS NULL AND (account, region, service) > (?2, ?3, ?4) AND account <= ?5
                 ORDER BY account, region, service LIMIT ?6",
                    params![scan.as_str(), first, r, s, last, limit_of(limit)],
                    |row| Ok(PendingCell { cell: cell_of(row)?, generation: row.get(3)? }),
                )
            })
            .await
    }

    async fn ledger(&self, scan: &ScanId, after: Option<&Cell>, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let (scan, (a, r, s)) = (scan.clone(), place(after));
        self.writer.run(move |c| {
            rows(
                c,
                "SELECT body FROM cells WHERE scan = ?1 AND (account, region, service) > (?2, ?3, ?4) AND outcome IS NOT NULL
                 ORDER BY account, region, service LIMIT ?5",
                params![scan.as_str(), a, r, s, limit_of(limit)],
                |row| json(row, 0),
            )
        }).await
    }

    async fn counts(&self, scan: &ScanId) -> Result<ScanCounts, StoreError> {
        let scan = scan.clone();
        self.writer
            .run(move |c| {
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
                        let totals = fleetscan_proto::WorkTotals {
                            calls: row.get(2)?,
                            throttled: row.get(3)?,
                            records: row.get(4)?,
                            seconds: row.get(5)?,
                        };
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
                Ok(counts)
            })
            .await
    }

    async fn account_status(&self, account: &AccountId) -> Result<Option<AccountStatus>, StoreError> {
        let account = account.clone();
        self.writer
            .run(move |c| {
                one(c, "SELECT status FROM accounts WHERE account = ?1", [account.as_str()], |row| json(row, 0))
            })
            .await
    }

    async fn account_statuses(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountStatus>, StoreError> {
        let after = after.map(|a| a.as_str().to_owned()).unwrap_or_default();
        self.writer
            .run(move |c| {
                rows(
                    c,
                    "SELECT status FROM accounts WHERE account > ?1 ORDER BY account LIMIT ?2",
                    params![after, limit_of(limit)],
                    |row| json(row, 0),
                )
            })
            .await
    }

    async fn set_account_status(&self, status: &AccountStatus) -> Result<(), StoreError> {
        let status = status.clone();
        self.writer.run(move |c| {
            let account = status.account.as_str();
            let before: Option<AccountStatus> = one(c, "SELECT status FROM accounts WHERE account = ?1", [account], |row| json(row, 0))?;
            change(
                c,
                "INSERT INTO accounts VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET state = excluded.state, status = excluded.status",
                params![account, word_of(&status.state)?, encode(&status)?],
            )?;
            let from = before.map(|b| b.state);
            if from != Some(status.state) {
                let entry = AccountChange { at: status.since, from, to: status.state, evidence: status.evidence.clone() };
                change(
                    c,
                    "INSERT INTO history SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2 FROM history WHERE account = ?1",
                    params![account, encode(&entry)?],
                )?;
            }
            Ok(())
        }).await
    }

    async fn account_history(&self, account: &AccountId) -> Result<Vec<AccountChange>, StoreError> {
        let account = account.clone();
        self.writer
            .run(move |c| {
                rows(c, "SELECT change FROM history WHERE account = ?1 ORDER BY number", [account.as_str()], |row| {
                    json(row, 0)
                })
            })
            .await
    }

    async fn open_denial(&self, denial: &AssumeDenial) -> Result<(), StoreError> {
        let denial = denial.clone();
        self.writer
            .run(move |c| {
                change(
                    c,
                    "INSERT INTO denials VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    params![
                        denial.scan.as_str(),
                        denial.account.as_str(),
                        denial.at.as_millisecond(),
                        encode(&denial)?
                    ],
                )?;
                Ok(())
            })
            .await
    }

    async fn open_denials(&self, scan: &ScanId, account: Option<&AccountId>) -> Result<Vec<AssumeDenial>, StoreError> {
        let (scan, account) = (scan.clone(), account.cloned());
        self.writer
            .run(move |c| {
                let read = |row: &Row<'_>| json(row, 0);
                match &account {
                    // Asked for each cell that a worker begins: the key leads to it.
                    Some(account) => rows(
                        c,
                        "SELECT denial FROM denials WHERE scan = ?1 AND account = ?2",
                        [scan.as_str(), account.as_str()],
                        read,
                    ),
                    None => rows(
                        c,
                        "SELECT denial FROM denials WHERE scan = ?1 ORDER BY at, account",
                        [scan.as_str()],
                        read,
                    ),
                }
            })
            .await
    }

    async fn close_denial(&self, scan: &ScanId, account: &AccountId) -> Result<(), StoreError> {
        let (scan, account) = (scan.clone(), account.clone());
        self.writer
            .run(move |c| {
                change(
                    c,
                    "DELETE FROM denials WHERE scan = ?1 AND account = ?2",
                    params![scan.as_str(), account.as_str()],
                )
                .map(drop)
            })
            .await
    }

    async fn learned(&self, account: &AccountId) -> Result<Vec<LearnedFactor>, StoreError> {
        let account = account.clone();
        self.writer
            .run(move |c| {
                rows(
                    c,
                    "SELECT bucket, factor, at FROM learned WHERE account = ?1 ORDER BY bucket",
                    [account.as_str()],
                    |row| Ok(LearnedFactor { bucket: row.get(0)?, factor: row.get(1)?, at: word(row.get(2)?)? }),
                )
            })
            .await
    }

    async fn keep_learned(&self, account: &AccountId, factors: &[LearnedFactor]) -> Result<(), StoreError> {
        let (account, factors) = (account.clone(), factors.to_vec());
        self.writer.run(move |c| {
            for f in &factors {
                change(
                    c,
                    "INSERT INTO learned VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET factor = excluded.factor, at = excluded.at",
                    params![account.as_str(), f.bucket, f.factor, word_of(&f.at)?],
                )?;
            }
            Ok(())
        }).await
    }

    async fn take_shared(&self, bucket: &str, rate: f64, burst: f64) -> Result<Option<Duration>, StoreError> {
        let refused = || StoreError::Refused(format!("the shared bucket {bucket} has no sensible rate or burst"));
        let (Some(interval), Some(tolerance)) = (seconds(1.0 / rate), seconds((burst - 1.0) / rate)) else {
            return Err(refused());
        };
        if interval.is_zero() {
            return Err(refused());
        }
        let now = Instant::now();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let next = shared.entry(bucket.to_owned()).or_insert(now);
        let wait = next.saturating_duration_since(now).saturating_sub(tolerance);
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        *next = (*next).max(now) + interval;
        Ok(None)
    }
}
