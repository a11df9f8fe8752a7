use crate::{AccountId, Membership, StoreError, TrailPlace};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A grant as it lies in the store: role ARN and ExternalId under AES-256-GCM, the account's id as associated data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedGrant {
    /// Names the key that sealed it; tells nothing of it.
    pub key: String,
    /// Nonce and ciphertext, base64.
    pub sealed: String,
}

/// What an account's owner was told that is read: the words of a version stay, whatever later versions add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Version of the profile.
    pub version: u32,
    /// `service:Operation`, sorted.
    pub operations: Vec<String>,
}

/// An account as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredAccount {
    /// Twelve digits.
    pub id: AccountId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who it belongs to; by default each account is a customer of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Regional cells are limited to these; empty: every enabled region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Where CloudTrail's log files of it may be read, if the operator has them read, or that they never are; `None`:
    /// nothing was said, and they are read where the operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudtrail_bucket: Option<TrailPlace>,
    /// The profile that its owner was told of.
    pub profile: String,
    /// Version of that profile's catalogue, as a digest.
    pub catalogue: String,
    /// What that version read; `None`: everything, in accounts that were connected before there were profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// The organisation forbids session policies: sessions are not narrowed.
    #[serde(default)]
    pub no_session_policy: bool,
    /// What its organisation said of it; `None`: it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Membership>,
    /// When it was connected.
    pub added_at: Timestamp,
    /// `None`: disconnected, and the grant erased for good.
    pub grant: Option<SealedGrant>,
    /// When it was disconnected: a tombstone, which outlives every restore of an older copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// Grows with every change.
    pub version: u64,
}

/// The accounts that customers connected. Every method is one atomic change, and repeating it after
/// [`StoreError::Away`] is safe.
#[async_trait]
pub trait AccountRegistry: Send + Sync + 'static {
    /// One account, disconnected ones included.
    async fn registered(&self, account: &AccountId) -> Result<Option<RegisteredAccount>, StoreError>;

    /// Accounts by id, disconnected ones included, after `after`, at most `limit`.
    async fn registered_accounts(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<RegisteredAccount>, StoreError>;

    /// Writes an account whose `version` is one above what the registry has (1 where it has none); else changes
    /// nothing and answers false.
    async fn put_registered(&self, account: &RegisteredAccount) -> Result<bool, StoreError>;

    /// Writes accounts as they were exported, but never over a tombstone, and never over a higher version. Answers how
    /// many were written.
    async fn restore_registered(&self, accounts: &[RegisteredAccount]) -> Result<u64, StoreError>;
}
