use super::{Connections, Listed, Pages};
use fleetscan_proto::{AccountId, AccountStatus, RegisteredAccount, Store, StoreError};
use std::collections::VecDeque;

/// A way past every account with its standing, a page at a time: however many there are, one page is held.
pub struct Walk<'a> {
    accounts: Pages<'a>,
    store: &'a dyn Store,
    /// Statuses that were read and not yet met; both lists go by id.
    statuses: VecDeque<AccountStatus>,
    /// The last account whose status was read.
    statuses_after: Option<AccountId>,
    statuses_over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn of(desk: &'a Connections) -> Self {
        let (accounts, store) = (Pages::of(desk.registry.as_ref()), desk.store.as_ref());
        Self { accounts, store, statuses: VecDeque::new(), statuses_after: None, statuses_over: false }
    }

    /// The next accounts by id, disconnected ones included; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, StoreError> {
        let Some(accounts) = self.accounts.next().await? else { return Ok(None) };
        let mut page = Vec::with_capacity(accounts.len());
        for account in accounts {
            page.push(self.with_standing(account).await?);
        }
        Ok(Some(page))
    }

    async fn with_standing(&mut self, account: RegisteredAccount) -> Result<Listed, StoreError> {
        loop {
            // Those before it are of accounts that are not registered.
            while self.statuses.pop_front_if(|status| status.account < account.id).is_some() {}
            if !self.statuses.is_empty() || self.statuses_over {
                break;
            }
            let page = self.store.account_statuses(self.statuses_after.as_ref(), Pages::SIZE).await?;
            self.statuses_over = page.len() < Pages::SIZE;
            self.statuses_after = page.last().map(|status| status.account.clone());
            self.statuses.extend(page);
        }
        let status = self.statuses.pop_front_if(|status| status.account == account.id);
        Ok(Listed { account, status })
    }
}
