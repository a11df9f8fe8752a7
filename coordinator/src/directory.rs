use crate::Registry;
use async_trait::async_trait;
use fleetscan_proto::{AccountId, AccountRegistry, MemberStanding, StoreError};
use std::sync::Arc;

/// What the coordinator must know of an account. No grant: only workers need that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// Who it belongs to: its `customer`, or itself.
    pub customer: String,
    /// Regional cells are limited to these; empty: every enabled region.
    pub regions: Vec<String>,
    /// Only these operations (`service:Operation`) may be called; `None`: all that the scan reads.
    pub told: Option<Vec<String>>,
    /// Where its organisation says that it is, if that is not in use: `suspended`.
    pub away: Option<MemberStanding>,
}

/// Where accounts are described: an accounts file in memory, or the store's registry.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// One account. What was removed meanwhile is a customer of its own, with every region.
    async fn describe(&self, id: &AccountId) -> Result<Described, StoreError>;
}

#[async_trait]
impl Directory for Registry {
    async fn describe(&self, id: &AccountId) -> Result<Described, StoreError> {
        let regions = self.get(id).map(|account| account.regions.clone()).unwrap_or_default();
        Ok(Described { customer: self.customer(id), regions, told: None, away: None })
    }
}

/// The accounts of the store's registry.
#[derive(Clone)]
pub struct Registered(pub Arc<dyn AccountRegistry>);

#[async_trait]
impl Directory for Registered {
    async fn describe(&self, id: &AccountId) -> Result<Described, StoreError> {
        let found = self.0.registered(id).await?;
        let customer = found.as_ref().and_then(|account| account.customer.clone()).unwrap_or_else(|| id.to_string());
        let standing = found.as_ref().and_then(|account| account.organisation.as_ref()).map(|member| member.standing);
        let away = standing.filter(|standing| *standing != MemberStanding::Active);
        let (regions, told) = found.map(|account| (account.regions, account.told)).unwrap_or_default();
        Ok(Described { customer, regions, told: told.map(|told| told.operations), away })
    }
}
