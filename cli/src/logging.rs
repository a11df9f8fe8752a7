//! The log, on stderr: for people on a terminal; for programs elsewhere, one JSON object a line, with the fields of the
//! spans around an event beside its own (`scan`, `account`, `region`, `service`, `worker`, `attempt`,
//! `aws.request_id`). What repeats itself without end is counted and not written.

mod json;
mod storm;

use clap::ValueEnum;
use std::io::IsTerminal as _;
use storm::Storm;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, and of commands that people run; JSON of coordinators and workers elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is logged, and how.
pub struct Log<'a> {
    pub verbose: u8,
    /// As tracing-subscriber takes it, in place of `verbose`.
    pub filter: Option<&'a str>,
    pub format: LogFormat,
    /// The process is one of the fleet's: nobody reads its stderr but programs.
    pub serves: bool,
}

/// Logs to stderr: warnings, or more where asked. A filter that cannot be read is ignored, and said so.
pub fn start(log: &Log<'_>) {
    // The SDK's own log may quote answers and is nobody's business but a developer's: FLEETSCAN_LOG brings it back.
    let (ours, others) = match log.verbose {
        0 => ("warn", "off"),
        1 => ("info", "off"),
        _ => ("debug", "warn"),
    };
    let crates = ["", "_coordinator", "_worker", "_backends", "_simulator", "_telemetry"];
    let usual = crates.iter().fold(others.to_owned(), |all, name| format!("{all},fleetscan{name}={ours}"));
    let (filter, wrong) = match log.filter.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(&usual), Some(error)),
        None => (EnvFilter::new(&usual), None),
    };
    let terminal = std::io::stderr().is_terminal();
    let as_json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => log.serves && !terminal,
    };
    let storm = Storm::begin();
    let registry = tracing_subscriber::registry().with(filter);
    if as_json {
        registry.with(json::JsonLines::new(crate::display::LogWriter::default).with_filter(storm)).init();
    } else {
        let text = tracing_subscriber::fmt::layer()
            .with_writer(crate::display::LogWriter::default)
            .with_ansi(terminal)
            .with_target(log.verbose > 0);
        // Somebody who watches knows what time it is; whoever reads it later does not.
        if terminal && log.verbose == 0 {
            registry.with(text.without_time().with_filter(storm)).init();
        } else {
            registry.with(text.with_filter(storm)).init();
        }
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "FLEETSCAN_LOG is not a filter: ignored");
    }
}
