//! What is exported, as tables: the same columns in every format.

use fleetscan_proto::{LedgerLine, Record};
use jiff::Timestamp;
use serde::Serialize;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// JSON, as text.
    Json,
    /// A list of texts; where a format has no lists, JSON.
    Texts,
    Integer,
    Real,
    /// A time, UTC, to the microsecond.
    Time,
}

/// A column; `optional`: it may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub optional: bool,
}

/// A field of a row, of its column's kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Null,
    Text(String),
    Texts(Vec<String>),
    Integer(i64),
    Real(f64),
    Time(Timestamp),
}

impl Field {
    /// About how much memory it takes.
    pub fn size(&self) -> usize {
        match self {
            Field::Text(text) => text.len() + 32,
            Field::Texts(texts) => texts.iter().map(|text| text.len() + 32).sum::<usize>() + 16,
            _ => 16,
        }
    }

    /// As text, for formats that have nothing else; `None`: nothing.
    pub fn text(&self) -> Option<String> {
        match self {
            Field::Null => None,
            Field::Text(text) => Some(text.clone()),
            Field::Texts(texts) => Some(json(texts)),
            Field::Integer(number) => Some(number.to_string()),
            Field::Real(number) => Some(number.to_string()),
            Field::Time(at) => Some(at.to_string()),
        }
    }
}

const fn must(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, optional: false }
}

const fn may(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, optional: true }
}

/// Columns of records.
pub const RECORDS: &[Column] = &[
    must("account", Kind::Text),
    must("region", Kind::Text),
    must("service", Kind::Text),
    must("type", Kind::Text),
    must("id", Kind::Text),
    may("arn", Kind::Text),
    may("name", Kind::Text),
    must("collected_at", Kind::Time),
    must("tags", Kind::Json),
    must("denied", Kind::Texts),
    must("properties", Kind::Json),
];

/// Columns of the ledger: what was not read, and why, belongs to what was read.
pub const LEDGER: &[Column] = &[
    must("account", Kind::Text),
    must("region", Kind::Text),
    must("service", Kind::Text),
    must("outcome", Kind::Text),
    must("records", Kind::Integer),
    must("calls", Kind::Integer),
    must("throttled", Kind::Integer),
    must("denied", Kind::Json),
    may("error", Kind::Text),
    may("started_at", Kind::Time),
    must("seconds", Kind::Real),
    must("attempts", Kind::Integer),
    must("worker", Kind::Text),
    must("parts", Kind::Integer),
];

/// A record as a row of [`RECORDS`].
pub fn record_row(record: Record) -> Vec<Field> {
    let optional = |text: Option<String>| text.map_or(Field::Null, Field::Text);
    vec![
        Field::Text(record.account.to_string()),
        Field::Text(record.region),
        Field::Text(record.service),
        Field::Text(record.kind),
        Field::Text(record.id),
        optional(record.arn),
        optional(record.name),
        Field::Time(record.collected_at),
        Field::Text(json(&record.tags)),
        Field::Texts(record.denied),
        Field::Text(json(&record.properties)),
    ]
}

/// A ledger line as a row of [`LEDGER`].
pub fn ledger_row(line: &LedgerLine) -> Vec<Field> {
    let number = |n: u64| Field::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    vec![
        Field::Text(line.cell.account.to_string()),
        Field::Text(line.cell.region.clone()),
        Field::Text(line.cell.service.clone()),
        Field::Text(line.outcome.to_string()),
        number(line.totals.records),
        number(line.totals.calls),
        number(line.totals.throttled),
        Field::Text(json(&line.denied)),
        line.error.clone().map_or(Field::Null, Field::Text),
        line.started_at.map_or(Field::Null, Field::Time),
        Field::Real(line.totals.seconds),
        Field::Integer(i64::from(line.attempts)),
        Field::Text(line.worker.clone()),
        number(line.parts.len() as u64),
    ]
}

fn json(value: &impl Serialize) -> String {
    // Maps of text and values that were read from JSON always go back.
    serde_json::to_string(value).unwrap_or_default()
}
