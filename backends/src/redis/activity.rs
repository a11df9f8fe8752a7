//! Who did what last, by region: one hash an account, so that it is forgotten in one step.

use super::{
    script,
    store::{RedisStore, bytes, decode, encode},
};
use fleetscan_proto::{AccountId, StoreError, activity::Activity};
use jiff::Timestamp;
use redis::Cmd;

/// Seconds after which what nobody added to is forgotten.
const KEPT: u64 = 90 * 24 * 3_600;
/// Tries to add to what others add to as well: two workers seldom read one account's region.
const TRIES: usize = 32;

impl RedisStore {
    pub(super) async fn activity_known(&self, account: &AccountId, region: &str) -> Result<Activity, StoreError> {
        self.activity_versioned(account, region).await.map(|(_, known)| known)
    }

    /// What is known, and the name of its version.
    async fn activity_versioned(&self, account: &AccountId, region: &str) -> Result<(u64, Activity), StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys.account(account, "activity")).arg(format!("version {region}")).arg(format!("body {region}"));
        let (version, body): (Option<u64>, Option<Vec<u8>>) = self.link.command(get).await?;
        // Another version's words: read anew, rather than a hindrance to the cell for ever.
        let known = body.and_then(|text| decode(&text).ok()).unwrap_or_default();
        Ok((version.unwrap_or_default(), known))
    }

    pub(super) async fn activity_add(
        &self,
        account: &AccountId,
        region: &str,
        news: &Activity,
        oldest: Timestamp,
    ) -> Result<Activity, StoreError> {
        let keys = ["activity", "state"].map(|what| self.keys.account(account, what));
        for _ in 0..TRIES {
            let (version, mut known) = self.activity_versioned(account, region).await?;
            known.merge(news);
            known.settle(oldest.as_second());
            let arguments = [
                bytes(region),
                bytes(version.to_string()),
                bytes((version + 1).to_string()),
                encode(&known)?,
                bytes(KEPT.to_string()),
            ];
            // Asked again after its answer was lost, it merges with itself.
            match self.link.run::<i64>(&script::KEEP_ACTIVITY, &keys, &arguments).await? {
                1 => return Ok(known),
                0 => {}
                _ => return Ok(news.clone()),
            }
        }
        Err(StoreError::Away(format!("too many add to the activity of {account} at once")))
    }

    pub(super) async fn activity_forget(&self, account: &AccountId) -> Result<(), StoreError> {
        self.link.command::<u64>(Cmd::del(self.keys.account(account, "activity"))).await.map(drop)
    }
}
