use super::{
    RedisStore, script,
    store::{bytes, decode, encode, word},
};
use async_trait::async_trait;
use fleetscan_proto::{AccountId, AccountRegistry, RegisteredAccount, StoreError};
use redis::Cmd;

impl RedisStore {
    fn registered_key(&self, account: &AccountId) -> String {
        self.keys.account(account, "registered")
    }

    /// Listed first: an id without an account is passed over.
    async fn list_registered(&self, account: &AccountId) -> Result<(), StoreError> {
        self.link.command::<u64>(Cmd::zadd(self.keys.fleet("registered"), account.as_str(), 0)).await.map(drop)
    }
}

#[async_trait]
impl AccountRegistry for RedisStore {
    async fn registered(&self, account: &AccountId) -> Result<Option<RegisteredAccount>, StoreError> {
        let body: Option<Vec<u8>> = self.link.command(Cmd::hget(self.registered_key(account), "body")).await?;
        body.map(|text| decode(&text)).transpose()
    }

    async fn registered_accounts(
        &self,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<RegisteredAccount>, StoreError> {
        let ids = self.page(self.keys.fleet("registered"), after.map(AccountId::as_str), limit).await?;
        let ids: Vec<AccountId> = ids.iter().map(|id| word(id)).collect::<Result<_, _>>()?;
        let gets = ids.iter().map(|id| Cmd::hget(self.registered_key(id), "body")).collect();
        let bodies: Vec<Option<Vec<u8>>> = self.link.commands(gets).await?;
        bodies.into_iter().flatten().map(|text| decode(&text)).collect()
    }

    async fn put_registered(&self, account: &RegisteredAccount) -> Result<bool, StoreError> {
        self.list_registered(&account.id).await?;
        let arguments = [encode(account)?, bytes(account.version)];
        let key = [self.registered_key(&account.id)];
        Ok(self.link.run::<u64>(&script::PUT_REGISTERED, &key, &arguments).await? == 1)
    }

    async fn restore_registered(&self, accounts: &[RegisteredAccount]) -> Result<u64, StoreError> {
        let mut written = 0;
        for account in accounts {
            self.list_registered(&account.id).await?;
            let arguments = [encode(account)?, bytes(account.version)];
            let key = [self.registered_key(&account.id)];
            written += self.link.run::<u64>(&script::RESTORE_REGISTERED, &key, &arguments).await?;
        }
        Ok(written)
    }
}
