//! What others say of an account: its role, when it is looked at, and its organisation.

use super::{ConnectionError, Connections, TRIES, busy};
use crate::standing::welcomed;
use fleetscan_proto::{AccountId, AccountState, AccountStatus, Membership, StoreError};
use jiff::Timestamp;

impl Connections {
    /// Notes what a look at an account's role found. One that let us in stands as after a probe that it answered; one
    /// that did not is marked by nothing: that takes the evidence of a scan.
    pub async fn verified(&self, id: &AccountId, let_in_at: Option<Timestamp>, found: &str) -> Result<(), StoreError> {
        let before = self.store.account_status(id).await?;
        let left_alone =
            |status: &AccountStatus| matches!(status.state, AccountState::Paused | AccountState::Disconnected);
        if let Some(at) = let_in_at
            && !before.as_ref().is_some_and(left_alone)
        {
            self.store.set_account_status(&welcomed(id, before, at, "verify")).await?;
        }
        let evidence = [("by", "operator"), ("act", "verify"), ("found", found)];
        let evidence = evidence.map(|(what, value)| (what.to_owned(), value.to_owned())).into();
        self.store.note_act(id, self.clock.now(), &evidence).await
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
