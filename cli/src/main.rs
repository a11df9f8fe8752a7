//! `fleetscan`: reads the configuration metadata of many AWS accounts, read-only. The commands are in files of their
//! own; [`args`] is where flags and their environment twins are read.

mod advice;
mod args;
mod catalogue;
mod coverage;
mod demo;
mod display;
mod doctor;
mod failure;
mod logging;
mod machine;
mod numbers;
mod out;
mod results;
mod scan;
mod signals;
mod simulator;
mod summary;
mod terminal;
mod verdict;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    logging::start(args.global.verbose, args.global.log.as_deref());
    let json = args.command.wants_json();
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
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
    match args.command {
        args::Command::Demo(args) => demo::run(args, terminal).await,
        args::Command::Scan(args) => scan::run(args, terminal).await,
        args::Command::Simulator(args) => simulator::run(args).await,
        args::Command::Catalogue(args) => catalogue::run(args),
        args::Command::Results(args) => results::run(args, terminal).await,
        args::Command::Doctor(args) => doctor::run(args).await,
    }
}
