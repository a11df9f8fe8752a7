use rusqlite::Connection;

/// The version that this code writes; a file of a newer one is refused.
pub(super) const VERSION: i64 = 1;

/// Prepared statements that are kept: more than there are different ones.
const STATEMENTS: usize = 64;

const TABLES: &str = "
CREATE TABLE scans (
    id TEXT PRIMARY KEY, plan TEXT NOT NULL, started INTEGER NOT NULL, state TEXT NOT NULL, finished TEXT, spec TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE scan_accounts (
    scan TEXT NOT NULL, account TEXT NOT NULL, state INTEGER NOT NULL, generation INTEGER NOT NULL, source TEXT, probe TEXT,
    PRIMARY KEY (scan, account)
) WITHOUT ROWID;
CREATE INDEX scan_accounts_by_state ON scan_accounts (scan, state, account);
CREATE TABLE cells (
    scan TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, service TEXT NOT NULL,
    generation INTEGER NOT NULL, attempts INTEGER NOT NULL, outcome TEXT, body TEXT,
    PRIMARY KEY (scan, account, region, service)
) WITHOUT ROWID;
CREATE INDEX cells_pending ON cells (scan, account, region, service) WHERE outcome IS NULL;
CREATE TABLE totals (
    scan TEXT NOT NULL, outcome TEXT NOT NULL, cells INTEGER NOT NULL, calls INTEGER NOT NULL, throttled INTEGER NOT NULL,
    records INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (scan, outcome)
) WITHOUT ROWID;
CREATE TABLE accounts (account TEXT PRIMARY KEY, state TEXT NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE history (account TEXT NOT NULL, number INTEGER NOT NULL, change TEXT NOT NULL, PRIMARY KEY (account, number)) WITHOUT ROWID;
CREATE TABLE denials (scan TEXT NOT NULL, account TEXT NOT NULL, at INTEGER NOT NULL, denial TEXT NOT NULL, PRIMARY KEY (scan, account)) WITHOUT ROWID;
CREATE TABLE learned (account TEXT NOT NULL, bucket TEXT NOT NULL, factor REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (account, bucket)) WITHOUT ROWID;
";

/// Opens a connection's settings and makes or checks the tables; the error is a sentence.
pub(super) fn prepare(connection: &Connection) -> Result<(), String> {
    let text = |e: rusqlite::Error| e.to_string();
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(text)?;
    // Looked at first: a file of someone else's is left as it is.
    let new = match version {
        0 if has_tables(connection).map_err(text)? => {
            return Err("another program wrote it: move it away, or choose another folder with --data".into());
        }
        0 => true,
        VERSION => false,
        newer => {
            return Err(format!(
                "it was written by a newer fleetscan (its version is {newer}, this one's is {VERSION}): use that one, or another --data"
            ));
        }
    };
    // WAL with NORMAL survives any kill of the process; a power cut may cost the last moments, which are then done again.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8192; PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY;")
        .map_err(text)?;
    if new {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))
            .map_err(text)?;
    }
    Ok(())
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))
}
