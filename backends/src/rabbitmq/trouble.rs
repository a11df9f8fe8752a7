use fleetscan_proto::QueueError;
use lapin::ErrorKind;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    time::Duration,
};

/// AMQP's reply codes, where their meaning decides what is done.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// Why the broker cannot be used now; what [`QueueError`] says, but it can be told more than once.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// Trying again may mend it.
    Away(String),
    /// Somebody must change something.
    Refused(String),
}

impl Trouble {
    /// What happened, without the verdict.
    pub fn words(self) -> String {
        match self {
            Trouble::Away(why) | Trouble::Refused(why) => why,
        }
    }
}

impl From<Trouble> for QueueError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(why) => QueueError::Away(why),
            Trouble::Refused(why) => QueueError::Refused(why),
        }
    }
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(amqp) => match amqp.get_id() {
                ACCESS_REFUSED | PRECONDITION_FAILED | NOT_ALLOWED => Trouble::Refused(amqp.get_message().to_string()),
                _ => Trouble::Away(amqp.get_message().to_string()),
            },
            // What rustls makes of a certificate it does not trust.
            ErrorKind::IOError(io) if io.kind() == io::ErrorKind::InvalidData => Trouble::Refused(io.to_string()),
            _ => Trouble::Away(error.to_string()),
        }
    }
}

/// Whether the broker says that there is no such queue or exchange.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == NOT_FOUND)
}

/// The broker's words, where a declaration has other arguments than what exists.
pub(super) fn precondition(error: &lapin::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) if amqp.get_id() == PRECONDITION_FAILED => Some(amqp.get_message().to_string()),
        _ => None,
    }
}

/// How long to wait after so many failures in a row: doubles from a fifth of a second to ten seconds, and some chance,
/// lest a whole fleet knock at once.
pub(super) fn backoff(failures: u32) -> Duration {
    let ceiling = Duration::from_millis(200).saturating_mul(1 << failures.min(6)).min(Duration::from_secs(10));
    // A new hasher's keys are random: chance enough, without a generator.
    let chance = RandomState::new().build_hasher().finish() % 1_000;
    ceiling.mul_f64(0.5 + chance as f64 / 2_000.0)
}
