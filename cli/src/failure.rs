use std::{fmt::Display, io::Write as _, process::ExitCode};

/// Complete.
pub const COMPLETE: u8 = 0;
/// Failed, or stopped before the end.
pub const FAILED: u8 = 1;
/// Wrong usage or input.
pub const USAGE: u8 = 2;
/// Finished with holes.
pub const HOLES: u8 = 3;

/// Why a command ends: a sentence (or several, one a line) and the exit code.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    message: String,
}

impl Failure {
    /// What was asked cannot be: exit 2.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: USAGE, message: message.to_string() }
    }
    /// What was asked did not work: exit 1.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: FAILED, message: message.to_string() }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it on stderr, and with `--json` also as an object on stdout.
    pub fn tell(&self, json: bool) -> ExitCode {
        // Nobody may be reading any more; then there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "fleetscan: {}", self.message);
        if json {
            let object = serde_json::json!({ "error": self.message, "exit": self.exit });
            let _ = writeln!(std::io::stdout(), "{object}");
        }
        ExitCode::from(self.exit)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // The reader had enough (`| head`): that is no failure of ours, but there is nothing left to do.
            std::process::exit(i32::from(COMPLETE));
        }
        Failure::failed(error)
    }
}
impl From<fleetscan_proto::SinkError> for Failure {
    fn from(error: fleetscan_proto::SinkError) -> Self {
        Failure::failed(error)
    }
}
impl From<fleetscan_proto::StoreError> for Failure {
    fn from(error: fleetscan_proto::StoreError) -> Self {
        Failure::failed(error)
    }
}
impl From<fleetscan_coordinator::ScanError> for Failure {
    fn from(error: fleetscan_coordinator::ScanError) -> Self {
        Failure::failed(error)
    }
}
