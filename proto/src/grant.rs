use crate::{AccountId, TrailPlace};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// Text that must not be shown: its Debug and its Display say `<redacted>`, and its memory is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The hidden text, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a customer gave: the role to assume and the ExternalId to assume it with. Never serialised as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `arn:aws:iam::<account>:role/<path and name>`.
    pub role_arn: Secret,
    /// 16 to 64 characters of `[\w+=,.@:/-]`.
    pub external_id: Secret,
}

/// An account as its operator described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// The role and ExternalId.
    pub grant: Grant,
    /// A name for people.
    pub name: Option<String>,
    /// Who it belongs to; by default each account is a customer of its own.
    pub customer: Option<String>,
    /// Regional cells are limited to these; empty: every enabled region.
    pub regions: Vec<String>,
    /// Where CloudTrail's log files of it may be read, if the operator has them read, or that they never are; `None`:
    /// nothing was said, and they are read where the operator says.
    pub cloudtrail_bucket: Option<TrailPlace>,
}

impl Account {
    /// The customer, or the account itself where none was named.
    pub fn customer(&self) -> &str {
        self.customer.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Where workers find grants: an accounts file in memory, or the store's sealed registry.
#[async_trait::async_trait]
pub trait Grants: Send + Sync + 'static {
    /// The account with its grant; `None` where it was removed.
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, crate::StoreError>;

    /// On which terms the account may be read; by default on those of its scan alone.
    async fn terms(&self, _: &AccountId) -> Result<Terms, crate::StoreError> {
        Ok(Terms::default())
    }
}

/// On which terms an account may be read, beside those of its scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Only these operations (`service:Operation`), because its owner was told of no others; `None`: of all.
    pub told: Option<Vec<String>>,
    /// Sessions are narrowed by a session policy.
    pub session_policy: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { told: None, session_policy: true }
    }
}

/// What is wrong with a grant. The texts never repeat the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrantError(pub String);

/// How many characters an ExternalId has. STS takes 2 to 1,224; below 16 it can be guessed.
pub const EXTERNAL_ID_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// Checks length and characters of an ExternalId (STS API reference, AssumeRole: `[\w+=,.@:\/-]*`).
pub fn check_external_id(text: &str) -> Result<(), GrantError> {
    let length = text.chars().count();
    if !EXTERNAL_ID_LENGTH.contains(&length) {
        return Err(GrantError(format!("the ExternalId has {length} characters: use 16 to 64")));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(*c))) {
        Some(c) => {
            Err(GrantError(format!("the ExternalId has the character {c:?}: use letters, digits and _+=,.@:/-")))
        }
        None => Ok(()),
    }
}

/// The account that a role ARN names.
pub fn parse_role_arn(text: &str) -> Result<AccountId, GrantError> {
    let wrong = || GrantError("the role ARN is not one: write arn:aws:iam::<12 digits>:role/<name>".to_owned());
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = fields[..] else { return Err(wrong()) };
    let name = resource.strip_prefix("role/").ok_or_else(wrong)?;
    let last = name.rsplit('/').next().unwrap_or_default();
    let name_fits = (1..=64).contains(&last.len())
        && name.len() <= 576
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b));
    if !partition.starts_with("aws") || !name_fits {
        return Err(wrong());
    }
    account.parse().map_err(|_| wrong())
}

/// Only for the catalogue of things that may be shown: a secret serialises as `<redacted>`.
impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        let grant = Grant {
            role_arn: Secret::new("arn:aws:iam::111122223333:role/R"),
            external_id: Secret::new("hunter2hunter2hunter2"),
        };
        let shown =
            format!("{grant:?} {} {}", grant.external_id, serde_json::to_string(&grant.external_id).expect("json"));
        assert!(!shown.contains("hunter2") && !shown.contains("1111"), "{shown}");
    }

    #[test]
    fn external_ids_are_16_to_64_of_stss_characters() {
        assert!(check_external_id("abcdefghijklmnop").is_ok());
        assert!(check_external_id(&"x".repeat(64)).is_ok());
        assert!(check_external_id(&"x".repeat(15)).is_err());
        assert!(check_external_id(&"x".repeat(65)).is_err());
        let error = check_external_id("abcdefghijklmno p").expect_err("a space");
        assert!(!error.to_string().contains("abcdefgh"), "an error must not repeat the secret");
    }

    #[test]
    fn role_arns_name_their_account() {
        assert_eq!(parse_role_arn("arn:aws:iam::111122223333:role/path/Name").expect("fits").as_str(), "111122223333");
        for text in [
            "",
            "arn:aws:iam::1111:role/x",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:sts::111122223333:role/x",
        ] {
            assert!(parse_role_arn(text).is_err(), "{text}");
        }
    }
}
