//! `fleetscan results insights`: what a reviewer would flag in a scan's records, by rules that are files.

mod account;
mod report;
mod trend;

use crate::{
    args::InsightsArgs,
    failure::{COMPLETE, Failure, HOLES},
    out::Out,
    terminal::Terminal,
};
use account::Examined;
use fleetscan_coordinator::{PartError, read_ledger, read_part};
use fleetscan_proto::{
    LedgerLine, Manifest, Record, ResultPaths, SinkError,
    insight::{Matter, Rule, Severity, built_in, rules},
};
use futures_util::{StreamExt as _, stream};
use report::Report;
use serde_json::Value;
use std::{collections::HashSet, io::Write as _, path::Path, sync::Arc};

/// Parts that are fetched ahead of the one that is read.
const AHEAD: usize = 4;

pub async fn run(args: InsightsArgs, terminal: Terminal) -> Result<u8, Failure> {
    let rules = chosen_rules(&args)?;
    let out = Out::open_existing(&args.out)?;
    if args.trend {
        return trend::run(&args, &rules, &out, terminal).await;
    }
    let manifest = out.manifest(args.scan.as_deref()).await?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let mut report = Report::new(&rules, args.limit);
    let json = args.json.then_some(&mut stdout as &mut dyn std::io::Write);
    examine(&args, &rules, &out, &manifest, &mut report, json).await?;
    match args.json {
        true => report.write_gaps(&mut stdout)?,
        false => write!(stdout, "{}", report.text(&manifest.scan, terminal))?,
    }
    stdout.flush()?;
    let grave = |severity: Severity| report.worst().is_some_and(|worst| worst >= severity);
    Ok(if args.fail_on.is_some_and(|severity| grave(severity.0)) { HOLES } else { COMPLETE })
}

/// The rules that fleetscan brings along and those of `--rules`, of these the ones that were asked for.
fn chosen_rules(args: &InsightsArgs) -> Result<Vec<Rule>, Failure> {
    let mut all = built_in().map_err(Failure::failed)?;
    if let Some(folder) = &args.rules {
        let own = rules(files_of(folder)?).map_err(Failure::usage)?;
        if own.is_empty() {
            return Err(Failure::usage(format!("--rules {}: there is no *.toml in it", folder.display())));
        }
        // One of the user's own replaces the one of that name.
        all.retain(|rule| own.iter().all(|other| other.id != rule.id));
        all.extend(own);
        all.sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
    }
    if let Some(unknown) = args.rule.iter().find(|id| all.iter().all(|rule| rule.id != **id)) {
        return Err(Failure::usage(format!(
            "there is no rule {unknown}: `fleetscan results insights --list-rules` names them"
        )));
    }
    all.retain(|rule| args.rule.is_empty() || args.rule.contains(&rule.id));
    all.retain(|rule| args.severity.is_none_or(|least| rule.severity >= least.0));
    Ok(all)
}

fn files_of(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let trouble = |error: std::io::Error| Failure::usage(format!("--rules {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).map_err(trouble)?));
        }
    }
    files.sort();
    Ok(files)
}

/// Prints the rules.
pub fn list(args: &InsightsArgs, terminal: Terminal) -> Result<u8, Failure> {
    let rules = chosen_rules(args)?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    for rule in &rules {
        if args.json {
            writeln!(stdout, "{}", report::about(rule))?;
        } else {
            let severity = report::coloured(rule.severity, &format!("{:8}", rule.severity), terminal);
            writeln!(stdout, "{severity}  {:44}  {}", rule.id, rule.title)?;
        }
    }
    stdout.flush()?;
    Ok(COMPLETE)
}

/// Looks at one account after another, as the ledger has them; findings go to `json` as they come, where it is.
async fn examine(
    args: &InsightsArgs,
    rules: &[Rule],
    out: &Out,
    manifest: &Manifest,
    report: &mut Report<'_>,
    mut json: Option<&mut dyn std::io::Write>,
) -> Result<(), Failure> {
    let services: HashSet<&str> = rules
        .iter()
        .flat_map(|rule| [Some(rule.service.as_str()), rule.join().map(|join| join.service.as_str())])
        .flatten()
        .collect();
    let mut ledger = read_ledger(out.sink.as_ref(), &ResultPaths(&manifest.scan).ledger()).await?.peekable();
    // The ledger has the cells of an account together.
    while let Some(first) = ledger.next().transpose()? {
        let account = first.cell.account.clone();
        let mut lines = vec![first];
        while let Some(next) =
            ledger.next_if(|line| line.as_ref().map_or(true, |line| line.cell.account == account)).transpose()?
        {
            lines.push(next);
        }
        if !args.account.is_empty() && args.account.iter().all(|id| id != account.as_str()) {
            continue;
        }
        lines.retain(|line| services.contains(line.cell.service.as_str()));
        report.accounts += 1;
        let mut examined = Examined::new(rules, account.as_str(), &lines);
        // First what joins ask for: it may lie behind what asks.
        let joined: HashSet<&str> = rules.iter().filter_map(|rule| Some(rule.join()?.service.as_str())).collect();
        for_each_record(out, manifest, &lines, &joined, &mut |_, record, properties| {
            examined.note_joined(record, properties);
            Ok(())
        })
        .await?;
        let of_rules: HashSet<&str> = rules.iter().map(|rule| rule.service.as_str()).collect();
        for_each_record(out, manifest, &lines, &of_rules, &mut |line, record, properties| {
            examined.look_at(line, record, properties, &mut |outcome| report.take(outcome, &mut json))
        })
        .await?;
        examined.conclude(&mut |outcome| report.take(outcome, &mut json))?;
    }
    Ok(())
}

/// Every record of these services, with the line of its cell; one part after another.
async fn for_each_record(
    out: &Out,
    manifest: &Manifest,
    lines: &[LedgerLine],
    services: &HashSet<&str>,
    each: &mut dyn FnMut(&LedgerLine, &Record, &Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let paths = ResultPaths(&manifest.scan);
    let parts = lines.iter().filter(|line| services.contains(line.cell.service.as_str())).flat_map(|line| {
        line.parts.iter().map(|part| (line, part, paths.part(&line.cell, &part.name))).collect::<Vec<_>>()
    });
    let mut readings = stream::iter(parts)
        .map(|(line, part, path)| {
            let sink = Arc::clone(&out.sink);
            async move { (sink.read(&path).await, line, part, path) }
        })
        .buffered(AHEAD);
    while let Some((bytes, line, part, path)) = readings.next().await {
        let place = out.sink.locate(&path);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(SinkError::Missing(_)) => {
                return Err(Failure::failed(format!(
                    "{place} is listed in the ledger, and is not there: if the scan was pruned meanwhile, ask again"
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let mut failure = None;
        let read = read_part(&bytes, part, &mut |text| {
            let mut record: Record =
                serde_json::from_str(text).map_err(|error| PartError(format!("a line is not a record: {error}")))?;
            let properties = Value::Object(std::mem::take(&mut record.properties));
            each(line, &record, &properties).map_err(|error| {
                let text = PartError(error.message().to_owned());
                failure = Some(error);
                text
            })
        });
        match (failure, read) {
            (Some(failure), _) => return Err(failure),
            (None, Err(error)) => return Err(Failure::failed(format!("{place}: {error}; scan again"))),
            (None, Ok(())) => {}
        }
    }
    Ok(())
}

/// Whether a rule is about something that should be there.
fn is_about_absence(rule: &Rule) -> bool {
    matches!(rule.matter, Matter::Absence(_))
}
