//! How fast is a call through the whole path (gate, limiter, session, signature, HTTP, parsing, redaction), beside a
//! bare loop of signed requests with the same HTTP client that parses the same answers to the same JSON, and beside
//! the typed SDK client and boto3 (sixteen threads) making the same calls?
//!
//! The simulator is a process on one core, the client a process on the other; rounds are interleaved, and the table
//! shows medians. Every figure is worth something only beside the others of the same run.

mod bare;
mod client;
mod engine;
mod sdk;
mod table;

use anyhow::{Context as _, bail};
use fleetscan_simulator::{Config, Limits, Simulator, WorldKind};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use table::Sample;

/// As the command has it, for all three ways.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const SECONDS: u64 = 4;

/// The way that is not this program's: `tests/bench/caller.py`, by the tests' Python.
const BOTO3: &str = "boto3";

/// What is called: an id for the table, the catalogue's service and operation, and who can call it.
///
/// In the last, every item holds a trust policy with an ExternalId to hide, which neither the bare loop nor the SDK does:
/// the price of that, at its highest.
const CALLS: [(&str, &str, &str, &[&str]); 3] = [
    ("json", "lambda", "ListFunctions", &["bare", "engine", BOTO3]),
    ("xml", "iam", "ListUsers", &["bare", "engine", "sdk", BOTO3]),
    ("hiding", "iam", "ListRoles", &["bare", "engine", "sdk", BOTO3]),
];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.as_slice() {
        [] => compare(),
        ["simulate"] => runtime.block_on(simulate()),
        ["client", way, service, operation, endpoint, key, secret, accounts] => {
            let target = client::Target { service, operation, endpoint, hub: (key, secret), accounts };
            runtime.block_on(client::run(way, target, Duration::from_secs(SECONDS)))
        }
        other => bail!("unknown arguments {other:?}"),
    }
}

/// The simulator's process: no limits, no latency, fifty items in each list.
async fn simulate() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let config = Config {
        accounts: 1,
        limits: Limits::Off,
        world: WorldKind::Uniform { items: 50, regions: 1 },
        holes: false,
        verify_signatures: false,
        ..Config::default()
    };
    let simulator = Simulator::start(config, listener).await?;
    let folder = tempfile::tempdir()?;
    let accounts = folder.path().join("accounts.toml");
    std::fs::write(&accounts, simulator.accounts_toml())?;
    let (key, secret) = simulator.hub_credentials();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{} {key} {secret} {}", simulator.endpoint(), accounts.display())?;
    stdout.flush()?;
    // Until the parent closes our standard input.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

/// A program on one core.
fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// The tests' Python, where `tests/run` has installed it.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Some(target.join("test-venv/bin/python")).filter(|python| python.exists())
}

fn compare() -> anyhow::Result<()> {
    let mut simulator = pinned(1, &std::env::current_exe()?)
        .arg("simulate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("taskset (util-linux) is needed")?;
    let stdout = simulator.stdout.take().context("piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let target: Vec<&str> = line.split_whitespace().collect();
    let samples = measure(&target);
    end(&mut simulator)?;
    let mut stdout = std::io::stdout();
    stdout.write_all(table::render(&samples?).as_bytes())?;
    Ok(())
}

fn end(simulator: &mut Child) -> anyhow::Result<()> {
    drop(simulator.stdin.take());
    simulator.wait()?;
    Ok(())
}

fn measure(target: &[&str]) -> anyhow::Result<Vec<Sample>> {
    let (own, python) = (std::env::current_exe()?, python());
    if python.is_none() {
        writeln!(std::io::stderr(), "without boto3: ./tests/run installs the Python packages that it needs")?;
    }
    let caller = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/caller.py");
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        for (id, service, operation, ways) in CALLS {
            for way in ways {
                let mut client = match (*way, &python) {
                    (BOTO3, None) => continue,
                    (BOTO3, Some(python)) => pinned(0, python),
                    _ => pinned(0, &own),
                };
                let seconds = SECONDS.to_string();
                let output = match *way {
                    BOTO3 => client.arg(caller).args([service, operation]).args(target).arg(seconds).output()?,
                    _ => client.args(["client", way, service, operation]).args(target).output()?,
                };
                if !output.status.success() {
                    bail!("{way} {id}: {}", String::from_utf8_lossy(&output.stderr));
                }
                let text = String::from_utf8(output.stdout)?;
                let mut figures = text.split_whitespace().map(str::parse::<f64>);
                let (Some(Ok(rate)), Some(Ok(cpu))) = (figures.next(), figures.next()) else {
                    bail!("{way} {id}: {text}")
                };
                samples.push(Sample { call: id, way: (*way).to_owned(), rate, cpu });
                writeln!(std::io::stderr(), "round {}: {id} {way}: {rate:.0} calls/s", round + 1)?;
            }
        }
    }
    Ok(samples)
}
