//! Flags of the commands that look at events.

use super::StoreArgs;
use clap::{Args as ClapArgs, Subcommand};
use fleetscan_proto::EventKind;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub struct EventsArgs {
    #[command(subcommand)]
    pub command: EventsCommand,
    #[command(flatten)]
    pub store: StoreArgs,
    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// What happened, oldest first: accounts revoked, reinstated, degraded, recovered; the breaker; scans that ended
    List {
        /// Only of this account
        #[arg(long, value_name = "ID")]
        account: Option<String>,
        /// Only of this type, such as account.revoked
        #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
        kind: Option<String>,
        /// The newest so many
        #[arg(long, default_value_t = 50, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Who is told, how far, and what could not be delivered
    Receivers,
    /// Send a test event to the receivers of a file, and say what each answers. Exit code 1: one did not take it
    Test {
        /// File of the receivers
        #[arg(long, env = "FLEETSCAN_RECEIVERS", value_name = "FILE")]
        receivers: PathBuf,
        /// Only this one
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
}

fn kind(text: &str) -> Result<String, String> {
    let names = EventKind::ALL.map(EventKind::as_str);
    match names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("write one of {}", names.join(", "))),
    }
}
