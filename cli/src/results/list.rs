//! `fleetscan results list`: the scans that are kept, and why.

use crate::{
    args::ListArgs,
    failure::{COMPLETE, Failure},
    numbers::{bytes, grouped, many},
    out::Out,
    terminal::Terminal,
};
use fleetscan_coordinator::read_manifest;
use fleetscan_proto::{Manifest, Outcome, ResultPaths, ScanId, SinkError};
use serde_json::{Value, json};
use std::io::Write as _;

struct Kept {
    id: ScanId,
    manifest: Option<Manifest>,
    /// Its manifest is there and cannot be read.
    damaged: bool,
    bytes: u64,
}

pub async fn run(args: ListArgs, terminal: Terminal) -> Result<u8, Failure> {
    let out = Out::open_existing(&args.out)?;
    let mut all = Vec::new();
    for id in out.scans().await? {
        let (manifest, damaged) = match read_manifest(out.sink.as_ref(), &id).await {
            Err(SinkError::Damaged(_)) => (None, true),
            manifest => (manifest?, false),
        };
        let bytes = out.sink.size(&ResultPaths(&id).root()).await?;
        all.push(Kept { id, manifest, damaged, bytes });
    }
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if args.json {
        writeln!(stdout, "{}", Value::Array(all.iter().map(Kept::json).collect()))?;
        stdout.flush()?;
        return Ok(COMPLETE);
    }
    let head = format!(
        "{:24}  {:>8}  {:>9}  {:>10}  {:>7}  {:>9}  kept as",
        "scan", "accounts", "cells", "records", "holes", "size"
    );
    writeln!(stdout, "{}", terminal.bold(&head))?;
    for kept in &all {
        writeln!(stdout, "{}", kept.row(terminal))?;
    }
    let sum = all.iter().map(|kept| kept.bytes).sum();
    let last = format!("{}, {} in {}", many(all.len() as u64, "scan"), bytes(sum), out.name);
    writeln!(stdout, "{}", terminal.dim(&last))?;
    stdout.flush()?;
    Ok(COMPLETE)
}

impl Kept {
    fn state(&self) -> &'static str {
        match &self.manifest {
            None if self.damaged => "damaged",
            None => "unfinished",
            Some(manifest) if manifest.thinned.is_some() => "thinned",
            Some(_) => "whole",
        }
    }

    /// Why it is still there.
    fn why(&self) -> String {
        let thinned = self.manifest.as_ref().map(|manifest| (manifest, manifest.thinned.as_ref()));
        match thinned {
            None if self.damaged => "damaged: its manifest cannot be read".to_owned(),
            None => "not finished, or being changed".to_owned(),
            Some((_, None)) => "one of the newest".to_owned(),
            Some((manifest, Some(thinned))) => {
                format!("last full reading of {} of {} cells", grouped(cells(manifest)), grouped(thinned.of_cells))
            }
        }
    }

    fn row(&self, terminal: Terminal) -> String {
        let Some(m) = &self.manifest else {
            let dash = "-";
            return terminal.yellow(&format!(
                "{:24}  {dash:>8}  {dash:>9}  {dash:>10}  {dash:>7}  {:>9}  {}",
                self.id.as_str(),
                bytes(self.bytes),
                self.why()
            ));
        };
        format!(
            "{:24}  {:>8}  {:>9}  {:>10}  {:>7}  {:>9}  {}",
            self.id.as_str(),
            grouped(m.accounts),
            grouped(cells(m)),
            grouped(m.records.values().sum()),
            grouped(holes(m)),
            bytes(self.bytes),
            self.why()
        )
    }

    fn json(&self) -> Value {
        let m = self.manifest.as_ref();
        json!({
            "id": self.id, "state": self.state(), "kept_as": self.why(), "bytes": self.bytes,
            "started_at": m.map(|m| m.started_at), "finished_at": m.map(|m| m.finished_at),
            "accounts": m.map(|m| m.accounts), "cells": m.map(cells), "holes": m.map(holes),
            "records": m.map(|m| m.records.values().sum::<u64>()), "complete": m.map(|m| m.complete),
            "cells_then": m.and_then(|m| m.thinned.as_ref()).map(|thinned| thinned.of_cells),
        })
    }
}

fn cells(manifest: &Manifest) -> u64 {
    manifest.cells.values().sum()
}

fn holes(manifest: &Manifest) -> u64 {
    let is_hole = |name: &str| Outcome::ALL.iter().any(|outcome| outcome.as_str() == name && outcome.is_hole());
    manifest.cells.iter().filter(|(name, _)| is_hole(name)).map(|(_, count)| count).sum()
}
