use serde::{Deserialize, Serialize};
use std::fmt;

/// How a cell of a scan ended. Every cell ends with exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every operation answered; "absent" is an answer.
    Complete,
    /// Some operations answered; the ledger line lists which did not, and why.
    Partial,
    /// None answered, all for want of permission.
    Denied,
    /// None answered, and a service control policy of the organisation forbade them.
    DeniedByScp,
    /// The region is not enabled in the account.
    RegionDisabled,
    /// The budget, or the scan's deadline, ran out while AWS was throttling.
    ThrottledOut,
    /// Poison, malformed answers, or retries spent.
    Failed,
    /// AssumeRole was denied, and that was not confirmed to be a revocation.
    Unconfirmed,
    /// The customer took the role away.
    Revoked,
    /// The scan was cancelled before the cell was read.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order in which people are shown them.
    pub const ALL: [Outcome; 10] = [
        Outcome::Complete,
        Outcome::Partial,
        Outcome::Denied,
        Outcome::DeniedByScp,
        Outcome::RegionDisabled,
        Outcome::ThrottledOut,
        Outcome::Failed,
        Outcome::Unconfirmed,
        Outcome::Revoked,
        Outcome::Cancelled,
    ];

    /// Whether a scan with such a cell has a hole, and so must exit 3.
    pub fn is_hole(self) -> bool {
        match self {
            Outcome::Partial
            | Outcome::Denied
            | Outcome::ThrottledOut
            | Outcome::Failed
            | Outcome::Unconfirmed
            | Outcome::Cancelled => true,
            Outcome::Complete | Outcome::DeniedByScp | Outcome::RegionDisabled | Outcome::Revoked => false,
        }
    }

    /// The name in ledgers, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Partial => "partial",
            Outcome::Denied => "denied",
            Outcome::DeniedByScp => "denied_by_scp",
            Outcome::RegionDisabled => "region_disabled",
            Outcome::ThrottledOut => "throttled_out",
            Outcome::Failed => "failed",
            Outcome::Unconfirmed => "unconfirmed",
            Outcome::Revoked => "revoked",
            Outcome::Cancelled => "cancelled",
        }
    }
}
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which policy denied a call, as far as AWS's error text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeniedBy {
    /// The role's own policies do not allow it.
    Identity,
    /// A service control policy of the organisation.
    Scp,
    /// A resource's own policy.
    Resource,
    /// A permissions boundary, or a session policy.
    Boundary,
    /// AWS did not say.
    Unknown,
}

/// An action that was denied in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Denial {
    /// IAM action, `lambda:ListFunctions`.
    pub action: String,
    /// By which policy.
    pub by: DeniedBy,
}
