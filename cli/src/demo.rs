//! `fleetscan demo`: a simulated AWS, and the same scan that real accounts get, held against what is there.

use crate::{
    args::{DemoArgs, OutArgs},
    display,
    failure::{COMPLETE, FAILED, Failure},
    machine::{Ended, Machine},
    out::Out,
    profile, scan, services, signals,
    summary::Summary,
    terminal::Terminal,
    verdict::Verdict,
};
use fleetscan_coordinator::{AccountsFile, ScanOptions, ScanRequest};
use fleetscan_proto::DEFAULT_PROFILE;
use fleetscan_simulator::{Config, Limits, Simulator};
use fleetscan_worker::{Hub, HubOptions};
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Stands in the folder of a demo, so that the next one may replace what it left.
const MARK: &str = "fleetscan-demo.txt";
const MARK_TEXT: &str = "Results of `fleetscan demo`. The next demo replaces this folder's scans.\n";
/// Of an AWS that is far enough away to be believed, and near enough not to be waited for.
const LATENCY: Duration = Duration::from_millis(8);
const SHARE: f64 = 0.5;

pub async fn run(args: DemoArgs, terminal: Terminal) -> Result<u8, Failure> {
    let stop = signals::stop_in_order()?;
    prepare(&args.out)?;
    let out = Out::open(&OutArgs::folder(&args.out))?;
    out.check_writable().await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let config = Config {
        seed: args.seed,
        accounts: args.accounts as usize,
        latency: LATENCY,
        limits: Limits::Published,
        catalogue: Arc::new(services::catalogue().clone()),
        ..Config::default()
    };
    let simulator = Simulator::start(config, listener).await.map_err(Failure::failed)?;
    let file = AccountsFile::parse("the simulated accounts", &simulator.accounts_toml())
        .map_err(|problems| Failure::failed(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let hub = HubOptions {
        endpoint: Some(simulator.endpoint()),
        credentials: Some(simulator.hub_credentials()),
        ..HubOptions::default()
    };
    let hub = Hub::connect(hub).await.map_err(Failure::failed)?;
    display::note(&format!("A simulated AWS answers at {}", simulator.endpoint()));
    let part = profile::named(DEFAULT_PROFILE)?.of(services::catalogue()).map_err(Failure::failed)?;
    let machine = Machine {
        hub: Arc::new(hub),
        data: args.out.join("data"),
        worker: scan::worker_config(args.concurrency, SHARE, &part)?,
        catalogue: Arc::new(part),
        terminal,
        out,
    };
    let request = ScanRequest {
        profile: DEFAULT_PROFILE.to_owned(),
        out: machine.out.name.clone(),
        fresh: true,
        share: SHARE,
        ..ScanRequest::default()
    };
    let ended = machine.scan(file.accounts, request, ScanOptions::default(), &stop).await?;
    match ended {
        Ended::Interrupted { .. } => {
            Err(Failure::failed("the demo was stopped; its simulated AWS is gone, so the next one begins afresh"))
        }
        Ended::Finished(summary) => {
            let verdict = Verdict::of(&machine.out, &summary.manifest.scan, &simulator).await?;
            tell(&args, &summary, &verdict, terminal)
        }
    }
}

fn tell(args: &DemoArgs, summary: &Summary, verdict: &Verdict, terminal: Terminal) -> Result<u8, Failure> {
    let exit = if verdict.agrees() { COMPLETE } else { FAILED };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let mut object = summary.json();
        object["demo"] = verdict.json();
        object["exit"] = exit.into();
        writeln!(stdout, "{object}")?;
    } else {
        write!(stdout, "{}", summary.text(terminal))?;
        writeln!(stdout, "\n{}", verdict.text(terminal))?;
        writeln!(stdout, "  Your own accounts next: fleetscan scan --accounts FILE (see README.md)")?;
    }
    Ok(exit)
}

/// A fresh folder, or one that an earlier demo made: of that, its scans and its data go.
fn prepare(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{} cannot be used: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mark = folder.join(MARK);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        found.push(entry.map_err(failed)?);
    }
    if !mark.exists() && !found.is_empty() {
        return Err(Failure::usage(format!(
            "{} has other things in it than a demo: name an empty folder with --out",
            folder.display()
        )));
    }
    std::fs::write(&mark, MARK_TEXT).map_err(failed)?;
    let _lock = fleetscan_backends::embedded::DataLock::take(&folder.join("data")).map_err(Failure::failed)?;
    for entry in found {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("scan=")) {
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    for entry in std::fs::read_dir(folder.join("data")).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_lock = path.extension().is_some_and(|extension| extension == "lock") || path.ends_with("lock");
        if path.is_file() && !is_lock {
            std::fs::remove_file(path).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_replaces_what_a_demo_left_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("fleetscan-demo-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("mine")).expect("folder");
        assert!(prepare(&folder).is_err(), "a folder with other things in it is left alone");
        std::fs::remove_dir(folder.join("mine")).expect("removed");
        prepare(&folder).expect("an empty folder");
        std::fs::create_dir_all(folder.join("scan=old/records")).expect("folder");
        prepare(&folder).expect("a demo's folder");
        assert!(!folder.join("scan=old").exists());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
