//! The client's side: some calls at once, for some seconds, counted.

use crate::{bare, engine, sdk};
use anyhow::bail;
use fleetscan_coordinator::AccountsFile;
use fleetscan_proto::{Account, catalogue::Catalogue};
use std::{
    cell::Cell,
    io::Write as _,
    time::{Duration, Instant},
};

/// Calls under way at once.
const AT_ONCE: usize = 16;

/// What to call, where, as whom.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub service: &'a str,
    pub operation: &'a str,
    pub endpoint: &'a str,
    pub hub: (&'a str, &'a str),
    pub accounts: &'a str,
}

impl Target<'_> {
    /// The one account.
    pub fn account(&self) -> anyhow::Result<Account> {
        let text = std::fs::read_to_string(self.accounts)?;
        match AccountsFile::parse(self.accounts, &text) {
            Ok(file) => file.accounts.into_iter().next().ok_or_else(|| anyhow::anyhow!("no account")),
            Err(problems) => bail!("{problems:?}"),
        }
    }
}

/// The catalogue with every service as data, and no limit that would hold back a call.
pub fn catalogue() -> anyhow::Result<Catalogue> {
    let files =
        [include_str!("../../../proto/catalogue/lambda.toml"), include_str!("../../../proto/catalogue/iam.toml")]
            .map(unbound);
    Ok(Catalogue::from_files([("lambda.toml", files[0].as_str()), ("iam.toml", files[1].as_str())])?)
}

fn unbound(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("typed") && !line.starts_with("burst") && !line.starts_with("by_region"))
        .map(|line| if line.starts_with("rate =") || line.starts_with("start =") { "rate = 1000000" } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Calls in one way for some time, and prints calls a second and microseconds of CPU a call.
pub async fn run(way: &str, target: Target<'_>, time: Duration) -> anyhow::Result<()> {
    let (calls, seconds, cpu) = match way {
        "bare" => {
            let bare = bare::Bare::new(target).await?;
            count(time, || bare.call()).await?
        }
        "engine" => {
            let engine = engine::Engine::new(target).await?;
            count(time, || engine.call()).await?
        }
        "sdk" => {
            let sdk = sdk::Sdk::new(target).await?;
            count(time, || sdk.call()).await?
        }
        other => bail!("{other}: no such way"),
    };
    writeln!(std::io::stdout(), "{} {}", calls / seconds, cpu * 1e6 / calls)?;
    Ok(())
}

async fn count<F: Future<Output = anyhow::Result<()>>>(
    time: Duration,
    call: impl Fn() -> F,
) -> anyhow::Result<(f64, f64, f64)> {
    for _ in 0..200 {
        call().await?;
    }
    let (calls, began, before) = (Cell::new(0_u32), Instant::now(), cpu_seconds()?);
    let ends = began + time;
    let line = || async {
        while Instant::now() < ends {
            call().await?;
            calls.set(calls.get() + 1);
        }
        anyhow::Ok(())
    };
    let mut lines = Vec::new();
    for _ in 0..AT_ONCE {
        lines.push(Box::pin(line()));
    }
    for ended in join_all(lines).await {
        ended?;
    }
    Ok((f64::from(calls.get()), began.elapsed().as_secs_f64(), cpu_seconds()? - before))
}

async fn join_all<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<(F, Option<F::Output>)> = futures.into_iter().map(|f| (f, None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match std::pin::Pin::new(future).poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

/// User and system time of this process, from /proc (in hundredths of a second).
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
