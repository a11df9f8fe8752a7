//! What others say of an account: its role, when it is looked at, and its organisation.

use super::{ConnectionError, Connections, TRIES, busy};
use crate::standing::welcomed;
use fleetscan_proto::{AccountId, AccountState, AccountStatus, Membership};
use jiff::Timestamp;

impl Connections {
    /// Notes what a look at an account's role found. One that let us in stands as after a probe that it answered, unless
    /// its state changed since then; one that did not is marked by nothing: that takes the evidence of a scan.
    pub async fn verified(
        &self,
        id: &AccountId,
        let_in_at: Option<Timestamp>,
        found: &str,
    ) -> Result<(), ConnectionError> {
        if let Some(at) = let_in_at {
            self.let_in(id, at).await?;
        }
        let evidence = [("by", "operator"), ("act", "verify"), ("found", found)];
        let evidence = evidence.map(|(what, value)| (what.to_owned(), value.to_owned())).into();
        Ok(self.store.note_act(id, self.clock.now(), &evidence).await?)
    }

    async fn let_in(&self, id: &AccountId, at: Timestamp) -> Result<(), ConnectionError> {
        for _ in 0..TRIES {
            let before = self.store.account_status(id).await?;
            // What was known later, or is an operator's wish, stands: a look may have waited long before it is noted.
            let stands = |status: &AccountStatus| {
                status.since > at || matches!(status.state, AccountState::Paused | AccountState::Disconnected)
            };
            if before.as_ref().is_some_and(stands) {
                return Ok(());
            }
            let after = welcomed(id, before.clone(), at, "verify");
            if self.store.change_account_status(before.as_ref(), &after).await? {
                return Ok(());
            }
        }
        Err(busy(id))
    }

    /// Keeps what an account's organisation says of it.
    pub async fn joined(&self, id: &AccountId, membership: &Membership) -> Result<(), ConnectionError> {
        for _ in 0..TRIES {
            let mut account = self.known(id).await?;
            if account.organisation.as_ref() == Some(membership) {
                return Ok(());
            }
            account.organisation = Some(membership.clone());
            account.version += 1;
            if self.registry.put_registered(&account).await? {
                let standing = membership.standing.as_str();
                let evidence = [
                    ("by", "operator"),
                    ("act", "sync-org"),
                    ("organisation", membership.organisation.as_str()),
                    ("standing", standing),
                    ("path", membership.path.as_str()),
                ];
                let evidence = evidence.map(|(what, value)| (what.to_owned(), value.to_owned())).into();
                return Ok(self.store.note_act(id, self.clock.now(), &evidence).await?);
            }
        }
        Err(busy(id))
    }
}
