//! `fleetscan`: reads the configuration metadata of many AWS accounts, read-only. The commands are in files of their
//! own; [`args`] is where flags and their environment twins are read.

mod accounts;
mod advice;
mod args;
mod audit_query;
mod backing;
mod breaker;
mod catalogue;
mod coordinator;
mod coverage;
mod demo;
mod deploy;
mod display;
mod doctor;
mod events;
mod failure;
mod health;
mod hub;
mod listen;
mod logging;
mod machine;
mod numbers;
mod options_page;
mod out;
mod page;
mod plan;
mod profile;
mod receivers;
mod results;
mod scan;
mod scans;
mod secrecy;
mod services;
mod shared_folder;
mod signals;
mod simulator;
mod summary;
mod switch;
mod terminal;
mod verdict;
mod vitals;
mod worker;
mod workers;

use clap::Parser as _;
use std::process::ExitCode;

/// An answer is some thousand small pieces that come and go together: glibc's allocator takes twice the time for them,
/// and gives little of it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Files that are written, synced or read at once.
const BLOCKING_THREADS: usize = 8;

fn main() -> ExitCode {
    let args = args::Args::parse();
    logging::start(&logging::Log {
        verbose: args.global.verbose,
        filter: args.global.log.as_deref(),
        format: args.global.log_format,
        serves: matches!(args.command, args::Command::Coordinator(_) | args::Command::Worker(_)),
    });
    let json = args.command.wants_json();
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Threads for files: more would only keep more memory each, and no disk is faster for it.
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(failure::Failure::failed)
        .and_then(|runtime| runtime.block_on(run(args)));
    match ran {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => failure.tell(json),
    }
}

async fn run(args: args::Args) -> Result<u8, failure::Failure> {
    let terminal = terminal::Terminal::find(args.global.no_color.is_some());
    if let Some(folder) = &args.global.catalogue {
        services::add(folder)?;
    }
    #[cfg(debug_assertions)]
    if let Some(folder) = &args.global.catalogue_instead {
        services::replace(folder)?;
    }
    match args.command {
        args::Command::Demo(args) => demo::run(args, terminal).await,
        args::Command::Scan(args) => {
            secrecy::keep_memory_private();
            scan::run(args, terminal).await
        }
        args::Command::Plan(args) => plan::run(args, terminal).await,
        args::Command::Simulator(args) => simulator::run(args).await,
        args::Command::Catalogue(args) => catalogue::run(args),
        args::Command::Results(args) => results::run(args, terminal).await,
        args::Command::Coordinator(args) => {
            secrecy::keep_memory_private();
            coordinator::run(args).await
        }
        args::Command::Worker(args) => {
            secrecy::keep_memory_private();
            worker::run(args).await
        }
        args::Command::Accounts(args) => accounts::run(args, terminal).await,
        args::Command::Scans(args) => scans::run(args, terminal).await,
        args::Command::Workers(args) => workers::run(args, terminal).await,
        args::Command::Switch(args) => switch::run(args).await,
        args::Command::Breaker(args) => breaker::run(args).await,
        args::Command::Events(args) => events::run(args, terminal).await,
        args::Command::Doctor(args) => doctor::run(args).await,
        args::Command::Health(args) => health::run(args).await,
    }
}
