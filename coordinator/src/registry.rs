use async_trait::async_trait;
use fleetscan_proto::{Account, AccountId, Grants, StoreError};
use std::collections::BTreeMap;

/// The accounts of an accounts file, in memory: workers find their grants here, and nothing of it is stored.
#[derive(Debug, Default)]
pub struct Registry {
    accounts: BTreeMap<AccountId, Account>,
}

impl Registry {
    /// Accounts by id; of two with the same id the last stays.
    pub fn new(accounts: Vec<Account>) -> Self {
        Self { accounts: accounts.into_iter().map(|account| (account.id.clone(), account)).collect() }
    }
    /// One account.
    pub fn get(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }
    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }
    /// Their ids, in order.
    pub fn ids(&self) -> Vec<AccountId> {
        self.accounts.keys().cloned().collect()
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
    /// Who an account belongs to: its `customer`, or itself.
    pub fn customer(&self, id: &AccountId) -> String {
        self.get(id).map_or_else(|| id.to_string(), |account| account.customer().to_owned())
    }
}

#[async_trait]
impl Grants for Registry {
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.get(id).cloned())
    }
}
