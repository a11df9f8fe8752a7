use super::{
    Target,
    table::{Column, Field, Kind, LEDGER, RECORDS},
};
use crate::failure::Failure;
use fleetscan_proto::Manifest;
use rusqlite::{Connection, ToSql, params_from_iter, types::ToSqlOutput};
use std::path::Path;

/// Rows in one transaction.
const ROWS: u64 = 20_000;
const INDEXES: &str = "
CREATE INDEX records_by_type ON records (type, account);
CREATE INDEX records_by_account ON records (account, service);
CREATE INDEX records_by_id ON records (id);
CREATE INDEX records_by_arn ON records (arn);
CREATE INDEX ledger_by_account ON ledger (account, service);
CREATE INDEX ledger_by_outcome ON ledger (outcome);
";

/// One SQLite database: tables `records`, `ledger` and `scan`; times are text, lists and nested values JSON.
pub struct SqliteFile {
    connection: Connection,
    rows: u64,
}

fn failed(error: rusqlite::Error) -> Failure {
    Failure::failed(format!("the database cannot be written: {error}"))
}

impl SqliteFile {
    /// A new database. It is not seen before it is whole, so it needs no journal.
    pub fn create(file: &Path) -> Result<Self, Failure> {
        let connection = Connection::open(file).map_err(failed)?;
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(failed)?;
        for (name, columns) in [("records", RECORDS), ("ledger", LEDGER)] {
            connection.execute_batch(&table(name, columns)).map_err(failed)?;
        }
        connection
            .execute_batch(
                "CREATE TABLE scan (id TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT NOT NULL, complete \
                 INTEGER NOT NULL, profile TEXT NOT NULL, accounts INTEGER NOT NULL, manifest TEXT NOT NULL); BEGIN;",
            )
            .map_err(failed)?;
        Ok(Self { connection, rows: 0 })
    }

    fn add(&mut self, table: &str, row: &[Field]) -> Result<(), Failure> {
        let marks = vec!["?"; row.len()].join(", ");
        let mut statement =
            self.connection.prepare_cached(&format!("INSERT INTO {table} VALUES ({marks})")).map_err(failed)?;
        statement.execute(params_from_iter(row)).map_err(failed)?;
        drop(statement);
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS) {
            self.connection.execute_batch("COMMIT; BEGIN;").map_err(failed)?;
        }
        Ok(())
    }
}

impl Target for SqliteFile {
    fn record(&mut self, _kind: &str, row: Vec<Field>) -> Result<(), Failure> {
        self.add("records", &row)
    }

    fn ledger(&mut self, row: Vec<Field>) -> Result<(), Failure> {
        self.add("ledger", &row)
    }

    fn finish(self: Box<Self>, manifest: &Manifest) -> Result<(), Failure> {
        let text = serde_json::to_string(manifest).map_err(Failure::failed)?;
        let row = [
            Field::Text(manifest.scan.to_string()),
            Field::Time(manifest.started_at),
            Field::Time(manifest.finished_at),
            Field::Integer(i64::from(manifest.complete)),
            Field::Text(manifest.profile.clone()),
            Field::Integer(i64::try_from(manifest.accounts).unwrap_or(i64::MAX)),
            Field::Text(text),
        ];
        self.connection
            .execute("INSERT INTO scan VALUES (?, ?, ?, ?, ?, ?, ?)", params_from_iter(&row))
            .map_err(failed)?;
        self.connection.execute_batch("COMMIT;").map_err(failed)?;
        self.connection.execute_batch(INDEXES).map_err(failed)?;
        self.connection.close().map_err(|(_, error)| failed(error))
    }
}

impl ToSql for Field {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Field::Null => ToSqlOutput::from(rusqlite::types::Null),
            Field::Text(text) => ToSqlOutput::from(text.as_str()),
            Field::Integer(number) => ToSqlOutput::from(*number),
            Field::Real(number) => ToSqlOutput::from(*number),
            Field::Texts(_) | Field::Time(_) => ToSqlOutput::from(self.text().unwrap_or_default()),
        })
    }
}

fn table(name: &str, columns: &[Column]) -> String {
    let column = |column: &Column| {
        let kind = match column.kind {
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
            Kind::Text | Kind::Json | Kind::Texts | Kind::Time => "TEXT",
        };
        format!("{} {kind}{}", column.name, if column.optional { "" } else { " NOT NULL" })
    };
    let columns: Vec<String> = columns.iter().map(column).collect();
    format!("CREATE TABLE {name} ({});", columns.join(", "))
}
