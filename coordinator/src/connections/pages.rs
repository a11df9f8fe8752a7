use fleetscan_proto::{AccountId, AccountRegistry, RegisteredAccount, StoreError};

/// Every registered account by id, disconnected ones included, a page at a time.
pub(crate) struct Pages<'a> {
    registry: &'a dyn AccountRegistry,
    /// The last account of the page before.
    after: Option<AccountId>,
    over: bool,
}

impl<'a> Pages<'a> {
    /// Accounts of a page: each carries some ten thousand bytes of what its owner was told of.
    pub(crate) const SIZE: usize = 64;

    pub(crate) fn of(registry: &'a dyn AccountRegistry) -> Self {
        Self { registry, after: None, over: false }
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<RegisteredAccount>>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let page = self.registry.registered_accounts(self.after.as_ref(), Self::SIZE).await?;
        self.over = page.len() < Self::SIZE;
        self.after = page.last().map(|account| account.id.clone());
        Ok(Some(page))
    }
}
