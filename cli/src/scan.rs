//! `fleetscan scan`: every check that can be made before an account is touched, then the scan.

use crate::{
    args::ScanArgs,
    display,
    failure::{FAILED, Failure},
    hub,
    machine::{Ended, Machine},
    numbers::many,
    out::Out,
    profile, services, signals,
    summary::shell_word,
    terminal::Terminal,
};
use fleetscan_coordinator::{AccountsFile, ScanOptions, ScanRequest, distance};
use fleetscan_proto::{DEFAULT_PROFILE, KNOWN_REGIONS, Profile, catalogue::Catalogue, is_region_shaped};
use fleetscan_worker::{WorkerConfig, policy};
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

pub async fn run(args: ScanArgs, terminal: Terminal) -> Result<u8, Failure> {
    let profile = profile::named(&args.profile)?;
    let part = profile.of(services::catalogue()).map_err(Failure::usage)?;
    let file = read_accounts(&args, &profile, &part)?;
    for warning in &file.warnings {
        display::note(&format!("warning: {warning}"));
    }
    let out = Out::open_through(&args.out, crate::hub::network(&args.hub)?)?;
    out.check_writable().await?;
    let hub = hub::connect(&args.hub).await?;
    let stop = signals::stop_in_order()?;
    let identity = tokio::select! {
        identity = hub.identity() => identity.map_err(Failure::failed)?,
        () = stop.cancelled() => return Err(Failure::failed("stopped before any account was touched")),
    };
    tracing::info!(arn = %identity.arn, "the hub works");
    let request = ScanRequest {
        regions: args.regions.clone(),
        services: args.services.clone(),
        profile: profile.name().to_owned(),
        out: out.name.clone(),
        fresh: args.new,
        share: args.share,
    };
    let options = ScanOptions {
        deadline: Duration::from_secs(args.deadline_minutes * 60),
        denial_wait: Duration::from_secs(args.denial_wait_seconds),
        keep_scans: args.keep,
        ..ScanOptions::default()
    };
    let part = Arc::new(part);
    let worker = WorkerConfig {
        session_prefix: args.hub.session_prefix.clone(),
        history: args.activity.limit(),
        archive: args.archive.archive(),
        ..worker_config(args.concurrency, args.share, &narrowed(&part, &args.services)?)?
    };
    let machine = Machine { hub: Arc::new(hub), out, data: args.data.clone(), catalogue: part, worker, terminal };
    let ended = machine.scan(file.accounts, request, options, &stop).await?;
    tell(ended, args.json, terminal, &resume_command(&args))
}

/// What is left of a part of the catalogue where only these services (none: all) are read.
fn narrowed(part: &Catalogue, services: &[String]) -> Result<Catalogue, Failure> {
    let reads = |id: &String| services.is_empty() || services.contains(id);
    part.narrowed(|service, operation| reads(&service.id) || operation.probe).map_err(Failure::failed)
}

/// How a worker of this machine is set, whose sessions are narrowed to this part of the catalogue.
pub fn worker_config(concurrency: Option<usize>, share: f64, part: &Catalogue) -> Result<WorkerConfig, Failure> {
    let session_policy = Some(policy::session_policy(part).map_err(Failure::failed)?);
    let usual = WorkerConfig::default();
    Ok(WorkerConfig {
        name: format!("local-{}", std::process::id()),
        concurrency: concurrency.unwrap_or(usual.concurrency),
        // Most cells wait for their buckets; but what a worker holds, no other can help with.
        cells: concurrency.map_or(usual.cells, |calls| u16::try_from(calls.saturating_mul(3)).unwrap_or(u16::MAX)),
        share,
        session_policy,
        ..usual
    })
}

/// Says how a scan ended, on stdout, and answers the exit code.
pub fn tell(ended: Ended, json: bool, terminal: Terminal, resume: &str) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    match ended {
        Ended::Finished(summary) => {
            if json {
                writeln!(stdout, "{}", summary.json())?;
            } else {
                write!(stdout, "{}", summary.text(terminal))?;
            }
            Ok(summary.exit())
        }
        Ended::Interrupted { id, done } => {
            let cells = many(done, "cell");
            display::note(&format!("Scan {id} stopped; {cells} are kept. To go on:\n  {resume}"));
            if json {
                let object = serde_json::json!({
                    "id": id, "state": "interrupted", "counts": { "cells_done": done }, "resume": resume, "exit": FAILED,
                });
                writeln!(stdout, "{object}")?;
            }
            Ok(FAILED)
        }
    }
}

fn resume_command(args: &ScanArgs) -> String {
    let mut command = format!("fleetscan scan --accounts {}", shell_word(&args.accounts.display().to_string()));
    command.push_str(&format!(
        " --out {} --data {}",
        shell_word(&args.out.out),
        shell_word(&args.data.display().to_string())
    ));
    let s3 = &args.out.s3;
    for (flag, value) in
        [("--out-region", &s3.out_region), ("--out-endpoint", &s3.out_endpoint), ("--out-kms-key", &s3.out_kms_key)]
    {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {}", shell_word(value)));
        }
    }
    if args.profile != DEFAULT_PROFILE {
        command.push_str(&format!(" --profile {}", shell_word(&args.profile)));
    }
    for (flag, list) in [("--regions", &args.regions), ("--services", &args.services)] {
        if !list.is_empty() {
            command.push_str(&format!(" {flag} {}", list.join(",")));
        }
    }
    command
}

/// Reads the accounts file and checks the lists, and says every mistake at once.
fn read_accounts(args: &ScanArgs, profile: &Profile, part: &Catalogue) -> Result<AccountsFile, Failure> {
    let mut mistakes = Vec::new();
    let file = match read_text(&args.accounts) {
        Err(mistake) => {
            mistakes.push(mistake);
            None
        }
        Ok(text) => match AccountsFile::parse(&args.accounts.display().to_string(), &text) {
            Ok(file) => Some(file),
            Err(problems) => {
                mistakes.extend(problems.iter().map(ToString::to_string));
                None
            }
        },
    };
    mistakes.extend(args.services.iter().filter_map(|name| not_read(name, profile, part)));
    for name in &args.regions {
        // AWS adds regions; one that is merely unknown may be newer than this build.
        match unknown("region", name, &KNOWN_REGIONS) {
            Some(mistake) if !is_region_shaped(name) => mistakes.push(mistake),
            Some(doubt) => display::note(&format!("warning: {doubt}")),
            None => {}
        }
    }
    match file {
        Some(file) if mistakes.is_empty() => Ok(file),
        _ if mistakes.len() == 1 => Err(Failure::usage(mistakes.remove(0))),
        _ => Err(Failure::usage(format!(
            "{}, and no account was touched:\n  {}",
            many(mistakes.len() as u64, "mistake"),
            mistakes.join("\n  ")
        ))),
    }
}

pub fn read_text(path: &Path) -> Result<String, String> {
    read_named("accounts", path)
}

/// Reads a file that is called the `what` file in mistakes.
pub fn read_named(what: &str, path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no {what} file {}", path.display()),
        std::io::ErrorKind::InvalidData => format!("{} is not a text file", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    })
}

/// A service that is in no catalogue, or not in this profile.
pub fn not_read(name: &str, profile: &Profile, part: &Catalogue) -> Option<String> {
    let services: Vec<&str> = services::catalogue().scanned().map(|service| service.id.as_str()).collect();
    unknown("service", name, &services).or_else(|| {
        let reads = part.scanned().any(|service| service.id == name);
        (!reads).then(|| format!("--services: profile {} does not read {name}", profile.name()))
    })
}

pub fn unknown(what: &str, name: &str, known: &[&str]) -> Option<String> {
    if known.contains(&name) {
        return None;
    }
    let nearest = known.iter().min_by_key(|candidate| distance(name, candidate))?;
    let hint = if distance(name, nearest) <= 3 {
        format!("did you mean {nearest:?}?")
    } else {
        let listed = if known.len() <= 30 { known.join(", ") } else { format!("{}, …", known[..8].join(", ")) };
        format!("there are {listed}")
    };
    Some(format!("--{what}s: there is no {what} {name:?}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest_one() {
        let mistake = unknown("region", "eu-wset-1", &KNOWN_REGIONS).expect("unknown");
        assert!(mistake.contains("\"eu-west-1\""), "{mistake}");
        assert_eq!(unknown("region", "eu-west-1", &KNOWN_REGIONS), None);
        assert!(unknown("service", "xyzzyxyzzy", &["lambda", "sns"]).expect("unknown").contains("lambda, sns"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!((distance("lambda", "lambda"), distance("lamda", "lambda"), distance("", "sns")), (0, 1, 3));
    }
}
