use super::{
    RedisStore, script,
    store::{bytes, decode, encode, word_of},
};
use fleetscan_proto::{AccountChange, AccountId, AccountState, AccountStatus, EventKind, StoreError};
use redis::Cmd;

impl RedisStore {
    pub(super) async fn status_text(&self, account: &AccountId) -> Result<Option<Vec<u8>>, StoreError> {
        self.link.command(Cmd::get(self.keys.account(account, "status"))).await
    }

    /// Writes a status; with `expected` only in place of this text (empty: of none). Answers whether it was written.
    pub(super) async fn status_put(
        &self,
        status: &AccountStatus,
        expected: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let id = &status.account;
        // The list first: one that is listed and has no status is passed over.
        self.link.command::<u64>(Cmd::zadd(self.keys.fleet("statuses"), id.as_str(), 0)).await?;
        // Noted before, struck out after: see `events`.
        let debt = match EventKind::may_tell(status.state) {
            true => Some(self.owe(id).await?),
            false => None,
        };
        let keys = ["status", "state", "history", "untold"].map(|what| self.keys.account(id, what));
        let change =
            AccountChange { at: status.since, from: None, to: status.state, evidence: status.evidence.clone() };
        let state = word_of(&status.state);
        let event = debt.as_ref().map(|_| format!("{:032x}", rand::random::<u128>())).unwrap_or_default();
        let mut arguments = vec![encode(status)?, bytes(&state), encode(&change)?, bytes(event)];
        arguments.extend(expected);
        let written: Option<(String, u64)> = self.link.run(&script::STATUS, &keys, &arguments).await?;
        // Before anything else that may fail: whoever repeats this finds the state as it is to be, and workers must hear of
        // it all the same. Once too often costs them a look.
        if written.is_some() {
            self.announce(status.state).await?;
        }
        let untold = written.as_ref().is_some_and(|(_, untold)| *untold > 0);
        match if untold { self.tell(id).await } else { Ok(()) } {
            Ok(()) => {
                if let Some(debt) = debt {
                    self.strike_out(&debt).await?;
                }
            }
            // The change stands: what is to be told of it is carried by whoever reads the trail, as soon as that can be.
            Err(StoreError::Refused(why)) => {
                tracing::warn!(account = %id, error = why, "events.not_carried: tried again later");
                self.owe_instead(id, debt.as_deref()).await?;
            }
            Err(error) => {
                self.owe_instead(id, debt.as_deref()).await?;
                return Err(error);
            }
        }
        if written.is_none() {
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) async fn status_change(
        &self,
        before: Option<&AccountStatus>,
        status: &AccountStatus,
    ) -> Result<bool, StoreError> {
        let text = self.status_text(&status.account).await?;
        let present: Option<AccountStatus> = text.as_deref().map(decode).transpose()?;
        if present.as_ref() == before {
            // The text itself is compared: an older program may have written the same in other words.
            return self.status_put(status, Some(text.unwrap_or_default())).await;
        }
        let stands = present.as_ref() == Some(status);
        if stands {
            // Perhaps it was this that wrote it, and died, or was told of a failure, before workers were.
            self.announce(status.state).await?;
        }
        Ok(stands)
    }

    /// Has workers look which accounts are to be left alone, where this state is one of those.
    async fn announce(&self, state: AccountState) -> Result<(), StoreError> {
        if matches!(state, AccountState::Revoked | AccountState::Paused | AccountState::Disconnected) {
            self.link.command::<u64>(Cmd::incr(self.keys.fleet("barred"), 1)).await?;
        }
        Ok(())
    }
}
