use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Logs to stderr: warnings, or more where asked. A filter that cannot be read is ignored, and said so.
pub fn start(verbose: u8, filter: Option<&str>) {
    let usual = match verbose {
        0 => "warn",
        1 => "warn,fleetscan=info,fleetscan_coordinator=info,fleetscan_worker=info,fleetscan_backends=info",
        _ => "info,fleetscan=debug,fleetscan_coordinator=debug,fleetscan_worker=debug,fleetscan_backends=debug",
    };
    let (filter, wrong) = match filter.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(usual), Some(error)),
        None => (EnvFilter::new(usual), None),
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
