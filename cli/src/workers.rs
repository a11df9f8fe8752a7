//! `fleetscan workers`: who works for the fleet, and at what.

use crate::{
    args::WorkersArgs,
    backing::Memory,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many},
    services,
    terminal::Terminal,
};
use std::io::Write as _;

pub async fn run(args: WorkersArgs, terminal: Terminal) -> Result<u8, Failure> {
    let memory = Memory::open(&args.store).await?;
    let workers = memory.fleet.workers().await?;
    let leads = memory.fleet.leases("coordinator").await?.into_iter().next();
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string(&workers).map_err(Failure::failed)?)?;
        return Ok(COMPLETE);
    }
    match leads {
        Some(lease) => writeln!(stdout, "Coordinator {} leads.", lease.holder)?,
        None => writeln!(stdout, "No coordinator leads: scans wait until one is started.")?,
    }
    let head = format!(
        "{:24}  {:>7}  {:>8}  {:>8}  {:>8}  {:>12}  {:8}",
        "worker", "shards", "waiting", "held", "in work", "calls", "version"
    );
    writeln!(stdout, "{}", terminal.bold(&head))?;
    for worker in &workers {
        let waiting: u64 = worker.shards.values().sum();
        writeln!(
            stdout,
            "{:24}  {:>7}  {:>8}  {:>8}  {:>8}  {:>12}  {:8}{}",
            worker.worker,
            worker.shards.len(),
            grouped(waiting),
            grouped(worker.held),
            grouped(worker.in_work),
            grouped(worker.calls),
            worker.version,
            match (worker.draining, services::differs(worker)) {
                (true, _) => "  draining",
                (false, true) => "  another catalogue than this command's",
                (false, false) => "",
            }
        )?;
    }
    writeln!(stdout, "{}", many(workers.len() as u64, "worker"))?;
    Ok(COMPLETE)
}
