use crate::AccountId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// `o-…`.
    pub id: String,
    /// Its management account, where it says so.
    pub management: Option<AccountId>,
    /// By id.
    pub members: BTreeMap<AccountId, Member>,
    /// What could not be read; with any of these, an account that is missing may be there.
    pub gaps: Vec<String>,
}

/// An account of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As the organisation calls it.
    pub name: String,
    /// Where it is in its life.
    pub standing: MemberStanding,
    /// The units above it, from the root: `/Workloads/Production`; `/` is the root itself.
    pub path: String,
    /// Service control policies that hold for it, by name.
    pub policies: BTreeSet<String>,
}

/// Where an account is in its life, by its organisation's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStanding {
    /// Not in use yet.
    Pending,
    /// In use.
    Active,
    /// AWS lets nobody in, for a while.
    Suspended,
    /// About to be closed.
    Closing,
    /// Closed for good, or until its owner asks AWS to open it again.
    Closed,
    /// No longer in the organisation.
    Left,
}

impl MemberStanding {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberStanding::Pending => "pending",
            MemberStanding::Active => "active",
            MemberStanding::Suspended => "suspended",
            MemberStanding::Closing => "closing",
            MemberStanding::Closed => "closed",
            MemberStanding::Left => "left",
        }
    }
}

/// What an account's organisation said of it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// `o-…`.
    pub organisation: String,
    /// The units above it, from the root: `/Workloads/Production`.
    pub path: String,
    /// Where it is in its life.
    pub standing: MemberStanding,
    /// Names of the service control policies that hold for it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Since when it is known to be so.
    pub since: Timestamp,
}
