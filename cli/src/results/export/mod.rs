//! `fleetscan results export`: a scan's records as Parquet, CSV or SQLite, for tools that do not read JSON Lines.
//!
//! One part after another is read, checked and written; what is exported appears at its place when it is whole.

mod csv_files;
mod parquet_files;
mod sqlite_file;
mod table;

use crate::{
    args::{ExportArgs, ExportFormat},
    display,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many},
    out::Out,
    terminal::Terminal,
};
use csv_files::CsvFiles;
use fleetscan_coordinator::{PartError, read_ledger, read_part};
use fleetscan_proto::{LedgerLine, Manifest, PartName, Record, ResultPaths, SinkError};
use futures_util::{StreamExt as _, stream};
use parquet_files::ParquetFiles;
use serde_json::json;
use sqlite_file::SqliteFile;
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use table::{Field, ledger_row, record_row};

/// Parts that are fetched ahead of the one that is written.
const AHEAD: usize = 4;
/// What the ledger's file is called beside those of the types.
const LEDGER_NAME: &str = "ledger";

/// Where rows go.
trait Target {
    /// A row of a type's records.
    fn record(&mut self, kind: &str, row: Vec<Field>) -> Result<(), Failure>;
    /// A row of the ledger.
    fn ledger(&mut self, row: Vec<Field>) -> Result<(), Failure>;
    /// Everything is there.
    fn finish(self: Box<Self>, manifest: &Manifest) -> Result<(), Failure>;
}

pub async fn run(args: ExportArgs, terminal: Terminal) -> Result<u8, Failure> {
    check_place(&args)?;
    let out = Out::open_existing(&args.out)?;
    let manifest = out.manifest(args.scan.as_deref()).await?;
    let parent = args.to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Failure::usage(format!("{}: {e}", parent.display())))?;
    // Beside its place, so that it can be moved there in one step; an export that fails leaves nothing.
    let work = tempfile::Builder::new().prefix(".fleetscan-export-").tempdir_in(parent)?;
    let made = work.path().join("made");
    let mut target: Box<dyn Target> = match args.format {
        ExportFormat::Sqlite => Box::new(SqliteFile::create(&made)?),
        format => {
            fs::create_dir(&made)?;
            match format {
                ExportFormat::Csv => Box::new(CsvFiles::create(made.clone())),
                _ => Box::new(ParquetFiles::create(made.clone())),
            }
        }
    };
    let counts = write_all(&args, &out, &manifest, target.as_mut()).await?;
    target.finish(&manifest)?;
    if args.to.is_dir() {
        fs::remove_dir(&args.to)?; // an empty one
    }
    fs::rename(&made, &args.to).map_err(|e| Failure::failed(format!("{}: {e}", args.to.display())))?;
    tell(&args, &manifest, &counts, terminal)
}

/// What is there already is not written over.
fn check_place(args: &ExportArgs) -> Result<(), Failure> {
    let to = args.to.display();
    let taken = match (args.format, fs::read_dir(&args.to)) {
        (ExportFormat::Sqlite, _) => args.to.exists(),
        (_, Ok(mut entries)) => entries.next().is_some(),
        (_, Err(_)) => args.to.exists(),
    };
    match taken {
        true => Err(Failure::usage(format!("--to {to} is there already: name a place where nothing is"))),
        false => Ok(()),
    }
}

/// What was exported.
#[derive(Default)]
struct Counts {
    types: BTreeMap<String, u64>,
    cells: u64,
    holes: u64,
}

/// A part, and where it lies.
struct Part {
    path: String,
    name: PartName,
}

async fn write_all(
    args: &ExportArgs,
    out: &Out,
    manifest: &Manifest,
    target: &mut dyn Target,
) -> Result<Counts, Failure> {
    let paths = ResultPaths(&manifest.scan);
    let mut counts = Counts::default();
    let mut ledger = read_ledger(out.sink.as_ref(), &paths.ledger()).await?;
    loop {
        // A few lines' parts at a time are fetched side by side, and written in their order.
        let mut parts = Vec::new();
        let mut over = false;
        while parts.len() < AHEAD * 8 {
            let Some(line) = ledger.next().transpose()? else {
                over = true;
                break;
            };
            if !chosen(args, &line) {
                continue;
            }
            counts.cells += 1;
            counts.holes += u64::from(line.outcome.is_hole());
            target.ledger(ledger_row(&line))?;
            let part = |name: &PartName| Part { path: paths.part(&line.cell, &name.name), name: name.clone() };
            parts.extend(line.parts.iter().map(part));
        }
        let mut readings = stream::iter(parts)
            .map(|part| {
                let sink = Arc::clone(&out.sink);
                async move { (sink.read(&part.path).await, part) }
            })
            .buffered(AHEAD);
        while let Some((bytes, part)) = readings.next().await {
            write_part(args, out, &part, bytes, target, &mut counts)?;
        }
        if over {
            return Ok(counts);
        }
    }
}

fn write_part(
    args: &ExportArgs,
    out: &Out,
    part: &Part,
    bytes: Result<Vec<u8>, SinkError>,
    target: &mut dyn Target,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let place = out.sink.locate(&part.path);
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(SinkError::Missing(_)) => {
            return Err(Failure::failed(format!(
                "{place} is listed in the ledger, and is not there: if the scan was pruned meanwhile, export again"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let mut failure = None;
    let read = read_part(&bytes, &part.name, &mut |line| {
        let record: Record =
            serde_json::from_str(line).map_err(|error| PartError(format!("a line is not a record: {error}")))?;
        if !args.types.is_empty() && !args.types.contains(&record.kind) {
            return Ok(());
        }
        let kind = record.kind.clone();
        target.record(&kind, record_row(record)).map_err(|error| {
            let text = PartError(error.message().to_owned());
            failure = Some(error);
            text
        })?;
        *counts.types.entry(kind).or_default() += 1;
        Ok(())
    });
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(Failure::failed(format!("{place}: {error}; scan again"))),
        (None, Ok(())) => Ok(()),
    }
}

fn chosen(args: &ExportArgs, line: &LedgerLine) -> bool {
    let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
    among(&args.account, line.cell.account.as_str())
        && among(&args.service, &line.cell.service)
        && among(&args.region, &line.cell.region)
}

fn tell(args: &ExportArgs, manifest: &Manifest, counts: &Counts, terminal: Terminal) -> Result<u8, Failure> {
    let records: u64 = counts.types.values().sum();
    let mut stdout = std::io::stdout().lock();
    let to: PathBuf = fs::canonicalize(&args.to)?;
    if args.json {
        let object = json!({
            "scan": manifest.scan, "format": args.format.name(), "to": to, "records": records, "cells": counts.cells,
            "holes": counts.holes, "types": counts.types,
        });
        writeln!(stdout, "{object}")?;
        return Ok(COMPLETE);
    }
    let width = counts.types.keys().map(String::len).max().unwrap_or_default().max(4);
    writeln!(stdout, "{}", terminal.bold(&format!("{:width$}  {:>10}", "type", "records")))?;
    for (kind, count) in &counts.types {
        writeln!(stdout, "{kind:width$}  {:>10}", grouped(*count))?;
    }
    writeln!(
        stdout,
        "{} of {} from scan {} in {}",
        many(records, "record"),
        many(counts.types.len() as u64, "type"),
        manifest.scan,
        to.display()
    )?;
    if counts.holes > 0 {
        display::note(&format!(
            "{} of the scan not fully read: the table `{LEDGER_NAME}` of the export says which, and why",
            many(counts.holes, "cell")
        ));
    }
    Ok(COMPLETE)
}

/// `AWS::Lambda::Function` → `AWS_Lambda_Function`: whatever a type is called, it stays one name below the folder.
fn file_name(kind: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    kind.replace("::", "_").chars().map(plain).collect()
}
