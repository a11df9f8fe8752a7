use crate::Outcome;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a list of regions came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionSource {
    /// The accounts file.
    AccountsFile,
    /// `account:ListRegions`.
    AccountListRegions,
    /// `ec2:DescribeRegions`.
    Ec2DescribeRegions,
    /// The regions enabled in every new account, because nothing else would answer.
    DefaultEnabled,
}

/// What a probe learned of an account that let us in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Enabled regions, sorted.
    pub regions: Vec<String>,
    /// Where they came from.
    pub source: RegionSource,
    /// When it answered.
    pub at: Timestamp,
    /// Calls it took.
    pub calls: u64,
}

/// What a probe met in an account that did not let us in: every cell of it ends so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// The outcome that each of its cells gets.
    pub outcome: Outcome,
    /// Why, without AWS's text.
    pub reason: String,
    /// AWS's error code, where AWS answered.
    pub code: Option<String>,
    /// AWS's request id, where AWS answered.
    pub request_id: Option<String>,
    /// How many times AssumeRole was asked that was denied; 0 where it was not, or an older version did not say.
    #[serde(default)]
    pub tries: u32,
    /// When.
    pub at: Timestamp,
}
