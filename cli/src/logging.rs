use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Logs to stderr: warnings, or more where asked. A filter that cannot be read is ignored, and said so.
pub fn start(verbose: u8, filter: Option<&str>) {
    // The SDK's own log may quote answers and is nobody's business but a developer's: FLEETSCAN_LOG brings it back.
    let (ours, others) = match verbose {
        0 => ("warn", "off"),
        1 => ("info", "off"),
        _ => ("debug", "warn"),
    };
    let crates = ["", "_coordinator", "_worker", "_backends", "_simulator"];
    let usual = crates.iter().fold(others.to_owned(), |all, name| format!("{all},fleetscan{name}={ours}"));
    let (filter, wrong) = match filter.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(&usual), Some(error)),
        None => (EnvFilter::new(&usual), None),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(crate::display::LogWriter::default)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 0);
    // Somebody who watches knows what time it is; whoever reads it later does not.
    if std::io::stderr().is_terminal() && verbose == 0 {
        log.without_time().init()
    } else {
        log.init()
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "FLEETSCAN_LOG is not a filter: ignored");
    }
}
