use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::{path::Path, time::Duration};

/// The version that this code writes; a file of a newer one is refused.
const VERSION: i64 = 4;

/// What makes each version of the one before, beginning with an empty file: never altered once it was released.
const STEPS: [&str; 4] = [FIRST, SECOND, THIRD, FOURTH];

const FIRST: &str = "
CREATE TABLE scans (
    id TEXT PRIMARY KEY, plan TEXT NOT NULL, started INTEGER NOT NULL, state TEXT NOT NULL, finished TEXT,
    spec TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE scan_accounts (
    scan TEXT NOT NULL, account TEXT NOT NULL, state INTEGER NOT NULL, generation INTEGER NOT NULL, source TEXT,
    probe TEXT,
    PRIMARY KEY (scan, account)
) WITHOUT ROWID;
CREATE INDEX scan_accounts_by_state ON scan_accounts (scan, state, account);
-- Counting reads this, and not the probes.
CREATE INDEX scan_accounts_by_source ON scan_accounts (scan, state, source);
-- The body is the progress of a pending cell, and the ledger line of one that has its outcome.
CREATE TABLE cells (
    scan TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, service TEXT NOT NULL,
    generation INTEGER NOT NULL, attempts INTEGER NOT NULL, outcome TEXT, body TEXT,
    PRIMARY KEY (scan, account, region, service)
) WITHOUT ROWID;
CREATE INDEX cells_pending ON cells (scan, account, region, service) WHERE outcome IS NULL;
-- One row an outcome, kept with every change of one; the row without an outcome's name counts the cells known.
CREATE TABLE totals (
    scan TEXT NOT NULL, outcome TEXT NOT NULL, cells INTEGER NOT NULL, calls INTEGER NOT NULL,
    throttled INTEGER NOT NULL, records INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (scan, outcome)
) WITHOUT ROWID;
CREATE TABLE accounts (account TEXT PRIMARY KEY, state TEXT NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    account TEXT NOT NULL, number INTEGER NOT NULL, change TEXT NOT NULL,
    PRIMARY KEY (account, number)
) WITHOUT ROWID;
CREATE TABLE denials (
    scan TEXT NOT NULL, account TEXT NOT NULL, at INTEGER NOT NULL, denial TEXT NOT NULL,
    PRIMARY KEY (scan, account)
) WITHOUT ROWID;
CREATE TABLE learned (
    account TEXT NOT NULL, bucket TEXT NOT NULL, factor REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (account, bucket)
) WITHOUT ROWID;
";

const SECOND: &str = "
-- Executions begun since the last checkpoint, and who began the last one.
ALTER TABLE cells ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cells ADD COLUMN begun TEXT;
-- What a cancelled cell had as its body before its ledger line: where it goes on, should its scan be reopened.
ALTER TABLE cells ADD COLUMN progress TEXT;
CREATE TABLE hastened (scan TEXT NOT NULL, account TEXT NOT NULL, PRIMARY KEY (scan, account)) WITHOUT ROWID;
-- A lease that was given back or ended keeps its row, for the sake of its token. Times are milliseconds.
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE workers (worker TEXT PRIMARY KEY, until INTEGER NOT NULL, report TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE switches (what TEXT PRIMARY KEY, switch TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE registry (
    account TEXT PRIMARY KEY, version INTEGER NOT NULL, removed INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
-- `epoch` names this memory; `barred` counts the changes that ended work in an account.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('epoch', lower(hex(randomblob(16)))), ('barred', '0');
";

const THIRD: &str = "
-- The trail: a number that was given is never given again, so that a reader's place in it stays one.
CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
-- AssumeRole calls that were made for a scan's tasks.
ALTER TABLE scans ADD COLUMN assumed INTEGER NOT NULL DEFAULT 0;
-- Who did what last in an account's region, and which seconds of it were read; `added` is the second of the last change.
CREATE TABLE activity (
    account TEXT NOT NULL, region TEXT NOT NULL, added INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (account, region)
) WITHOUT ROWID;
CREATE INDEX activity_by_age ON activity (added);
";

const FOURTH: &str = "
-- How often the cell was opened again because what it had read could not be read back.
ALTER TABLE cells ADD COLUMN reopened INTEGER NOT NULL DEFAULT 0;
";

/// WAL with NORMAL survives any kill of the process; a power cut may cost the last moments, which are then done again.
/// The WAL's file is cut back when it has grown past 32 MiB. Caches are in KiB. What is overwritten or removed in a page
/// that is written anyway is zeroed in it.
const WRITING: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 33554432;
    PRAGMA cache_size = -3072; PRAGMA secure_delete = FAST;";
const READING: &str = "PRAGMA query_only = ON; PRAGMA cache_size = -1536;";

/// How long a connection waits for another process's lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// The statements in use are about forty; each is parsed once.
const STATEMENTS: usize = 64;

/// Opens the two connections of a data file: the one that writes, after it has made or checked the tables, and the
/// one that reads.
///
/// # Errors
/// A sentence that says what to mend. The file is then left as it was.
pub(super) fn open(path: &Path) -> Result<(Connection, Connection), String> {
    open_both(path).map_err(|error| sentence(&error))?
}

/// The outer error is SQLite's, the inner one a sentence.
fn open_both(path: &Path) -> rusqlite::Result<Result<(Connection, Connection), String>> {
    let mut writing = connect(path)?;
    if let Err(why) = check(&writing)? {
        return Ok(Err(why));
    }
    writing.execute_batch(WRITING)?;
    create(&mut writing)?;
    let reading = connect(path)?;
    reading.execute_batch(READING)?;
    Ok(Ok((writing, reading)))
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Looks before anything is set: a file of someone else's is left as it is.
fn check(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    let foreign = || "another program wrote it: move it away, or choose another folder with --data".to_owned();
    Ok(match version(connection)? {
        0 if connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))? => {
            Err(foreign())
        }
        0..=VERSION => Ok(()),
        newer if newer > VERSION => Err(format!(
            "it was written by a newer fleetscan (its version is {newer}, this one's is {VERSION}): use that one, or another --data"
        )),
        _ => Err(foreign()),
    })
}

/// Makes the tables or brings older ones up to date, unless another process does so at the same time.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let present = usize::try_from(version(&transaction)?).unwrap_or(STEPS.len());
    for step in STEPS.iter().skip(present) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn sentence(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            format!("it is damaged, or no database ({error}): restore it, or move it away to begin with an empty one")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            format!("{error}: mend its permissions, or choose another folder with --data")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("another program holds it ({error}): stop that one, or choose another folder with --data")
        }
        Some(ErrorCode::DiskFull) => format!("{error}: make room, or choose another folder with --data"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(prepare: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fleetscan.db");
        prepare(&path);
        open(&path).map(drop).expect_err("refused")
    }

    #[test]
    fn a_file_that_lost_its_middle_is_refused() {
        let why = refusal(|path| {
            drop(open(path).expect("opens"));
            let bytes = std::fs::read(path).expect("readable");
            std::fs::write(path, [&bytes[..100], &vec![0xAA; bytes.len() - 100][..]].concat()).expect("written");
        });
        assert!(why.contains("damaged"), "{why}");
    }

    #[test]
    fn a_folder_in_its_place_is_refused() {
        let why = refusal(|path| std::fs::create_dir(path).expect("made"));
        assert!(why.contains("--data"), "{why}");
    }

    #[test]
    fn a_file_of_the_first_version_is_brought_up_to_date_with_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fleetscan.db");
        let old = Connection::open(&path).expect("opens");
        old.execute_batch(FIRST).expect("made");
        old.execute_batch(
            "INSERT INTO cells VALUES ('s-1', '111122223333', 'eu-west-1', 'sqs', 4, 2, NULL, NULL); PRAGMA user_version = 1;",
        )
        .expect("written");
        drop(old);
        let (writing, _reading) = open(&path).expect("opens");
        assert_eq!(version(&writing).expect("readable"), VERSION);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (generation, tries, begun): (u64, u32, Option<String>) =
            writing.query_row("SELECT generation, tries, begun FROM cells", [], read).expect("readable");
        assert_eq!((generation, tries, begun), (4, 0, None));
    }

    #[test]
    fn the_tables_are_made_once_and_the_reader_cannot_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fleetscan.db");
        for _ in 0..2 {
            let (writing, reading) = open(&path).expect("opens");
            assert_eq!(version(&reading).expect("readable"), VERSION);
            writing.execute("DELETE FROM scans", []).expect("writes");
            reading.execute("DELETE FROM scans", []).expect_err("reads only");
        }
    }
}
