use crate::{AccountId, Denial, ScanId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The life of an account, beyond one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Never let us in yet.
    Pending,
    /// Lets us in.
    Active,
    /// Lets us in, and denies some actions.
    Degraded,
    /// Took the role away.
    Revoked,
    /// Left alone at the operator's wish.
    Paused,
    /// The grant was erased.
    Disconnected,
}

impl AccountState {
    /// All of them, in the order in which people are shown them.
    pub const ALL: [AccountState; 6] = [
        AccountState::Active,
        AccountState::Degraded,
        AccountState::Revoked,
        AccountState::Pending,
        AccountState::Paused,
        AccountState::Disconnected,
    ];

    /// The name in tables, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AccountState::Pending => "pending",
            AccountState::Active => "active",
            AccountState::Degraded => "degraded",
            AccountState::Revoked => "revoked",
            AccountState::Paused => "paused",
            AccountState::Disconnected => "disconnected",
        }
    }
}

/// What the store remembers of an account. Holds no grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Which account.
    pub account: AccountId,
    /// Where it stands.
    pub state: AccountState,
    /// Since when.
    pub since: Timestamp,
    /// When AssumeRole last worked.
    pub last_success: Option<Timestamp>,
    /// What `degraded` lacks.
    pub denied: Vec<Denial>,
    /// Evidence of the newest change: error code, AWS request id, tries, what it was doing. Never AWS's text.
    pub evidence: BTreeMap<String, String>,
}

/// A change of an account's state, or (from a state to the same) an operator's act: appended to its history, never
/// altered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountChange {
    /// When.
    pub at: Timestamp,
    /// From which state; `None`: the store met the account for the first time.
    pub from: Option<AccountState>,
    /// To which.
    pub to: AccountState,
    /// Evidence, as in [`AccountStatus`].
    pub evidence: BTreeMap<String, String>,
}

/// AssumeRole was denied for an account that is part of a scan: evidence for whoever decides what that means. While it
/// is open, the account's cells wait. Of a probe one is opened where a policy of our own identity denies it: the probe
/// is put off and asked again by its worker, however long that takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssumeDenial {
    /// In which scan.
    pub scan: ScanId,
    /// Which account.
    pub account: AccountId,
    /// When it was first denied.
    pub at: Timestamp,
    /// AWS's error code.
    pub code: String,
    /// AWS's request id.
    pub request_id: Option<String>,
    /// How many times AssumeRole was tried.
    pub tries: u32,
    /// What the worker was doing: [`AssumeDenial::PROBE`], or the cell.
    pub doing: String,
    /// AWS's text says that our own identity's policy denies it.
    pub our_fault: bool,
}

impl AssumeDenial {
    /// What [`AssumeDenial::doing`] says of an account's probe.
    pub const PROBE: &str = "probe";
}
