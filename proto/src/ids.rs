use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The region that stands in a cell of a global service.
pub const GLOBAL: &str = "global";

/// Text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub String);

/// An AWS account: exactly twelve digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId(format!("{text:?} is not an AWS account id: write its 12 digits, in quotes")))
        }
    }
}
impl TryFrom<String> for AccountId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<AccountId> for String {
    fn from(id: AccountId) -> String {
        id.0
    }
}
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One pass over a set of accounts. Sorts by the time it was made: `20260131T120000Z-1a2b3c`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScanId(String);

impl ScanId {
    /// Makes the id of a scan that starts at `now`; `salt` tells apart scans of one second.
    pub fn new(now: jiff::Timestamp, salt: u32) -> Self {
        Self(format!("{}-{:06x}", now.strftime("%Y%m%dT%H%M%SZ"), salt & 0xff_ffff))
    }
    /// The id as text, safe in a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for ScanId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidId(format!("{text:?} is not a scan id"))) }
    }
}
impl TryFrom<String> for ScanId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<ScanId> for String {
    fn from(id: ScanId) -> String {
        id.0
    }
}
impl fmt::Display for ScanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for ScanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one task reads: a service of an account in a region ([`GLOBAL`] for a global service).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The customer's account.
    pub account: AccountId,
    /// Region name, or [`GLOBAL`].
    pub region: String,
    /// The catalogue's id of the service.
    pub service: String,
}

impl Cell {
    /// A cell from its three coordinates.
    pub fn new(account: AccountId, region: impl Into<String>, service: impl Into<String>) -> Self {
        Self { account, region: region.into(), service: service.into() }
    }
}
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account, self.region, self.service)
    }
}
