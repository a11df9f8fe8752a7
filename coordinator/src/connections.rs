//! The accounts that customers connected, as an operator works with them: connect, pause, resume, disconnect, and take
//! a copy of it all.

mod pages;
mod walk;
mod word;

pub(crate) use pages::Pages;
pub use walk::Walk;

use crate::{ScanError, dispatch::PAGE};
use fleetscan_backends::{KeyError, Keyring};
use fleetscan_proto::{
    Account, AccountId, AccountRegistry, AccountState, AccountStatus, Clock, Profile, ProfileError, RegisteredAccount,
    Store, StoreError, Told, catalogue::Catalogue,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How often a change is tried again that another operator's change came before.
const TRIES: usize = 5;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The store is away or refuses.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A key is missing, or does not open what it should.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// What was asked cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl From<ConnectionError> for ScanError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Store(error) => ScanError::Store(error),
            other => ScanError::Refused(other.to_string()),
        }
    }
}

/// What owners are told that is read: a version of a profile, as this catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The profile's name.
    pub profile: String,
    /// Digest of what it reads.
    pub catalogue: String,
    /// Its version, and every operation.
    pub told: Told,
}

impl Offered {
    /// What a profile reads of a catalogue.
    pub fn of(profile: &Profile, catalogue: &Catalogue) -> Result<Offered, ProfileError> {
        let part = profile.of(catalogue)?;
        Ok(Offered {
            profile: profile.name().to_owned(),
            catalogue: part.digest().to_owned(),
            told: Told { version: profile.version(), operations: part.operation_names() },
        })
    }

    /// Operations that an account's owner was not told of.
    pub fn beyond(&self, account: &RegisteredAccount) -> Vec<String> {
        let Some(told) = &account.told else { return Vec::new() };
        let known: BTreeSet<&String> = told.operations.iter().collect();
        self.told.operations.iter().filter(|operation| !known.contains(operation)).cloned().collect()
    }
}

/// What became of an account that was to be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connected {
    /// It is new.
    Added,
    /// It was there, and is now as it was given.
    Updated,
    /// It was there, and exactly so.
    Unchanged,
    /// It had been disconnected, and is back.
    Reconnected,
}

/// An account with its standing: one line of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// As it is registered.
    pub account: RegisteredAccount,
    /// As scans know it.
    pub status: Option<AccountStatus>,
}

impl Listed {
    /// Where it stands.
    pub fn state(&self) -> AccountState {
        match &self.status {
            _ if self.account.grant.is_none() => AccountState::Disconnected,
            Some(status) => status.state,
            None => AccountState::Pending,
        }
    }
}

/// A registry as it is carried away. Grants stay sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryCopy {
    /// Layout of this copy.
    pub format: u32,
    /// When it was made.
    pub at: jiff::Timestamp,
    /// Every account, disconnected ones included: their tombstones keep them from coming back.
    pub accounts: Vec<RegisteredAccount>,
}

/// Layout of a [`RegistryCopy`].
pub const COPY_FORMAT: u32 = 1;

/// The desk at which accounts are connected.
pub struct Connections {
    /// Where accounts are kept.
    pub registry: Arc<dyn AccountRegistry>,
    /// Where their standing is kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl Connections {
    /// Connects an account, or makes it what it is now said to be.
    pub async fn connect(
        &self,
        keys: &Keyring,
        account: &Account,
        offered: &Offered,
    ) -> Result<Connected, ConnectionError> {
        for _ in 0..TRIES {
            let before = self.registry.registered(&account.id).await?;
            let opened = match before.as_ref().and_then(|known| known.grant.as_ref()) {
                Some(sealed) => Some(keys.open(&account.id, sealed)?),
                None => None,
            };
            // What was said once of the log files holds until something else is said.
            let known_place = || before.as_ref().and_then(|known| known.cloudtrail_bucket.clone());
            let cloudtrail_bucket = account.cloudtrail_bucket.clone().or_else(known_place);
            if let Some(known) = &before
                && opened.as_ref() == Some(&account.grant)
                && (&known.name, &known.customer, &known.regions, &known.cloudtrail_bucket)
                    == (&account.name, &account.customer, &account.regions, &cloudtrail_bucket)
            {
                return Ok(Connected::Unchanged);
            }
            let new = RegisteredAccount {
                id: account.id.clone(),
                name: account.name.clone(),
                customer: account.customer.clone(),
                regions: account.regions.clone(),
                cloudtrail_bucket,
                // An account stays on the profile that its owner was told of.
                profile: before.as_ref().map_or_else(|| offered.profile.clone(), |known| known.profile.clone()),
                catalogue: before.as_ref().map_or_else(|| offered.catalogue.clone(), |known| known.catalogue.clone()),
                told: before.as_ref().map_or_else(|| Some(offered.told.clone()), |known| known.told.clone()),
                no_session_policy: before.as_ref().is_some_and(|known| known.no_session_policy),
                organisation: before.as_ref().and_then(|known| known.organisation.clone()),
                added_at: before.as_ref().map_or_else(|| self.clock.now(), |known| known.added_at),
                grant: Some(keys.seal(&account.id, &account.grant)?),
                removed_at: None,
                version: before.as_ref().map_or(0, |known| known.version) + 1,
            };
            if !self.registry.put_registered(&new).await? {
                continue;
            }
            let connected = match &before {
                None => Connected::Added,
                Some(known) if known.grant.is_none() => Connected::Reconnected,
                Some(_) => Connected::Updated,
            };
            match connected {
                Connected::Updated => {
                    let mut changed = changes(before.as_ref(), &new);
                    if opened.as_ref() != Some(&account.grant) {
                        changed.push("grant");
                    }
                    self.note(&account.id, "connect", &changed).await?;
                }
                _ => {
                    self.set_state(&account.id, "connect", |_| Ok(AccountState::Pending)).await?;
                }
            }
            return Ok(connected);
        }
        Err(busy(&account.id))
    }

    /// Changes what is known of an account beside its grant.
    pub async fn change(
        &self,
        id: &AccountId,
        change: impl Fn(&mut RegisteredAccount),
    ) -> Result<RegisteredAccount, ConnectionError> {
        for _ in 0..TRIES {
            let mut account = self.known(id).await?;
            let before = account.clone();
            change(&mut account);
            if account == before {
                return Ok(account);
            }
            account.version = before.version + 1;
            if self.registry.put_registered(&account).await? {
                self.note(id, "update", &changes(Some(&before), &account)).await?;
                return Ok(account);
            }
        }
        Err(busy(id))
    }

    /// From now on an account is read as its owner was told now. Answers what that adds.
    pub async fn upgrade(&self, id: &AccountId, offered: &Offered) -> Result<Vec<String>, ConnectionError> {
        let before = self.known(id).await?;
        let added = offered.beyond(&before);
        self.change(id, |account| {
            account.profile.clone_from(&offered.profile);
            account.catalogue.clone_from(&offered.catalogue);
            account.told = Some(offered.told.clone());
        })
        .await?;
        Ok(added)
    }

    /// Leaves an account alone from now on.
    pub async fn pause(&self, id: &AccountId) -> Result<(), ConnectionError> {
        if self.known(id).await?.grant.is_none() {
            return Err(ConnectionError::Refused(format!("account {id} is disconnected: nothing is read there")));
        }
        self.set_state(id, "pause", |before| match before.map(|status| status.state) {
            // It was removed since it was looked up.
            Some(AccountState::Disconnected) => Err(busy(id)),
            _ => Ok(AccountState::Paused),
        })
        .await
    }

    /// Ends a pause. The account is what it was before, as far as is known: one that was revoked is so until it lets us in.
    pub async fn resume(&self, id: &AccountId) -> Result<(), ConnectionError> {
        self.known(id).await?;
        let history = self.store.account_history(id).await?;
        let before_pause =
            history.iter().rev().find(|change| change.to == AccountState::Paused && change.from != Some(change.to));
        let was_revoked = before_pause.is_some_and(|change| change.from == Some(AccountState::Revoked));
        self.set_state(id, "resume", |before| match before {
            Some(status) if status.state == AccountState::Paused => Ok(match status.last_success {
                _ if was_revoked => AccountState::Revoked,
                None => AccountState::Pending,
                Some(_) if !status.denied.is_empty() => AccountState::Degraded,
                Some(_) => AccountState::Active,
            }),
            _ => Err(ConnectionError::Refused(format!("account {id} is not paused"))),
        })
        .await
    }

    /// Disconnects an account: its grant is erased at once, and for good.
    pub async fn remove(&self, id: &AccountId) -> Result<(), ConnectionError> {
        for _ in 0..TRIES {
            let mut account = self.known(id).await?;
            let connected = account.grant.is_some();
            if connected {
                account.grant = None;
                account.removed_at = Some(self.clock.now());
                account.version += 1;
            }
            if !connected || self.registry.put_registered(&account).await? {
                // Said again, it ends what was cut off.
                let state = self.store.account_status(id).await?.map(|status| status.state);
                if connected || state.is_some_and(|state| state != AccountState::Disconnected) {
                    self.set_state(id, "remove", |_| Ok(AccountState::Disconnected)).await?;
                }
                // After the state: from then on nothing more is kept, whoever still reads there.
                return Ok(self.store.forget_activity(id).await?);
            }
        }
        Err(busy(id))
    }

    /// Seals every grant with the first key that another one sealed. Answers how many.
    pub async fn rekey(&self, keys: &Keyring) -> Result<u64, ConnectionError> {
        let accounts = self.accounts().await?;
        let mut stale = Vec::new();
        // All are opened before any is sealed: a key that is missing changes nothing.
        for account in accounts {
            if let Some(sealed) = account.grant.as_ref().filter(|sealed| sealed.key != keys.sealing_key()) {
                stale.push((keys.open(&account.id, sealed)?, account));
            }
        }
        let mut sealed = 0;
        for (grant, mut account) in stale {
            account.grant = Some(keys.seal(&account.id, &grant)?);
            account.version += 1;
            if !self.registry.put_registered(&account).await? {
                return Err(busy(&account.id));
            }
            self.note(&account.id, "rekey", &[]).await?;
            sealed += 1;
        }
        Ok(sealed)
    }

    /// Every account, disconnected ones included.
    pub async fn accounts(&self) -> Result<Vec<RegisteredAccount>, StoreError> {
        let (mut all, mut pages) = (Vec::new(), Pages::of(self.registry.as_ref()));
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// One account with its standing; `None`: it was never connected.
    pub async fn find(&self, id: &AccountId) -> Result<Option<Listed>, StoreError> {
        let Some(account) = self.registry.registered(id).await? else { return Ok(None) };
        Ok(Some(Listed { account, status: self.store.account_status(id).await? }))
    }

    /// Every account with its standing.
    pub async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let (mut all, mut walk) = (Vec::new(), self.walk());
        while let Some(page) = walk.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// Every account with its standing, for who need not hold them all.
    pub fn walk(&self) -> Walk<'_> {
        Walk::of(self)
    }

    /// A copy of the registry, to be restored elsewhere or after a loss.
    pub async fn copy(&self) -> Result<RegistryCopy, StoreError> {
        Ok(RegistryCopy { format: COPY_FORMAT, at: self.clock.now(), accounts: self.accounts().await? })
    }

    /// Brings a copy back; what is newer here, or was disconnected, stays as it is. Answers how many were written.
    pub async fn restore(&self, copy: &RegistryCopy) -> Result<u64, ConnectionError> {
        if copy.format != COPY_FORMAT {
            return Err(ConnectionError::Refused(format!(
                "the copy has the layout {}, and this fleetscan reads {COPY_FORMAT}: use the version that made it",
                copy.format
            )));
        }
        let mut written = 0;
        for chunk in copy.accounts.chunks(PAGE) {
            written += self.registry.restore_registered(chunk).await?;
        }
        Ok(written)
    }

    async fn known(&self, id: &AccountId) -> Result<RegisteredAccount, ConnectionError> {
        self.registry.registered(id).await?.ok_or_else(|| {
            ConnectionError::Refused(format!(
                "account {id} is not known: `fleetscan accounts list` lists those that are"
            ))
        })
    }

    /// Notes an act that left the account's state as it is.
    async fn note(&self, id: &AccountId, act: &str, changed: &[&str]) -> Result<(), ConnectionError> {
        let mut evidence =
            BTreeMap::from([("by".to_owned(), "operator".to_owned()), ("act".to_owned(), act.to_owned())]);
        if !changed.is_empty() {
            evidence.insert("changed".to_owned(), changed.join(", "));
        }
        Ok(self.store.note_act(id, self.clock.now(), &evidence).await?)
    }

    /// Makes of an account's state what `wanted` says of its status, unless that changed meanwhile: then it is asked anew.
    async fn set_state(
        &self,
        id: &AccountId,
        act: &str,
        wanted: impl Fn(Option<&AccountStatus>) -> Result<AccountState, ConnectionError>,
    ) -> Result<(), ConnectionError> {
        let now = self.clock.now();
        for _ in 0..TRIES {
            let before = self.store.account_status(id).await?;
            let state = wanted(before.as_ref())?;
            let evidence = [("by", "operator"), ("act", act)];
            let keeps_memory = !matches!(state, AccountState::Pending | AccountState::Disconnected);
            let status = AccountStatus {
                account: id.clone(),
                state,
                since: now,
                last_success: before.as_ref().filter(|_| keeps_memory).and_then(|status| status.last_success),
                denied: before.clone().filter(|_| keeps_memory).map(|status| status.denied).unwrap_or_default(),
                evidence: evidence.map(|(what, value)| (what.to_owned(), value.to_owned())).into(),
            };
            if self.store.change_account_status(before.as_ref(), &status).await? {
                return Ok(());
            }
        }
        Err(busy(id))
    }
}

/// What differs, beside the grant, by the names that operators use.
fn changes(before: Option<&RegisteredAccount>, after: &RegisteredAccount) -> Vec<&'static str> {
    let Some(before) = before else { return Vec::new() };
    [
        ("name", before.name != after.name),
        ("customer", before.customer != after.customer),
        ("regions", before.regions != after.regions),
        ("CloudTrail bucket", before.cloudtrail_bucket != after.cloudtrail_bucket),
        ("profile", (&before.profile, &before.catalogue) != (&after.profile, &after.catalogue)),
        ("organisation", before.organisation != after.organisation),
        ("session policy", before.no_session_policy != after.no_session_policy),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

fn busy(id: &AccountId) -> ConnectionError {
    ConnectionError::Refused(format!("account {id} is being changed by somebody else: try again"))
}
