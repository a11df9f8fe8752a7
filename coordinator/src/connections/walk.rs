use super::{Connections, Listed};
use fleetscan_proto::{AccountId, AccountStatus, RegisteredAccount, StoreError};
use std::collections::VecDeque;

/// Accounts of a page: each carries some ten thousand bytes of what its owner was told of.
const PAGE: usize = 64;

/// A way past every account with its standing, a page at a time: however many there are, one page is held.
pub struct Walk<'a> {
    desk: &'a Connections,
    /// The last account of the page before.
    after: Option<AccountId>,
    over: bool,
    /// Statuses that were read and not yet met; both lists go by id.
    statuses: VecDeque<AccountStatus>,
    /// The last account whose status was read.
    statuses_after: Option<AccountId>,
    statuses_over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn of(desk: &'a Connections) -> Self {
        let statuses = VecDeque::new();
        Self { desk, after: None, over: false, statuses, statuses_after: None, statuses_over: false }
    }

    /// The next accounts by id, disconnected ones included; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let accounts = self.desk.registry.registered_accounts(self.after.as_ref(), PAGE).await?;
        self.over = accounts.len() < PAGE;
        self.after = accounts.last().map(|account| account.id.clone());
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
            let page = self.desk.store.account_statuses(self.statuses_after.as_ref(), PAGE).await?;
            self.statuses_over = page.len() < PAGE;
            self.statuses_after = page.last().map(|status| status.account.clone());
            self.statuses.extend(page);
        }
        let status = self.statuses.pop_front_if(|status| status.account == account.id);
        Ok(Listed { account, status })
    }
}
