//! What tests and operators change while the simulation runs.

use crate::{region::RegionId, world::AccountIndex};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
};

/// How the hub's own side is broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum HubBreakage {
    /// It works.
    #[default]
    None,
    /// Its credentials have expired: ExpiredToken.
    Expired,
    /// Its access key was deleted: InvalidClientTokenId.
    Invalid,
    /// Its identity policy lost sts:AssumeRole; AWS says so.
    PolicyLost,
    /// An SCP of its organisation forbids sts:AssumeRole; AWS says so.
    Scp,
    /// Every AssumeRole is denied with the same words as for a deleted role; GetCallerIdentity works.
    Mistrusted,
    /// Customers trust the hub's role alone: what the hub asks of them without it is denied.
    RoleOnly,
    /// The hub's role cannot be assumed.
    RoleLost,
}

impl HubBreakage {
    const ALL: [HubBreakage; 8] = [
        HubBreakage::None,
        HubBreakage::Expired,
        HubBreakage::Invalid,
        HubBreakage::PolicyLost,
        HubBreakage::Scp,
        HubBreakage::Mistrusted,
        HubBreakage::RoleOnly,
        HubBreakage::RoleLost,
    ];
}

/// Changes to one account's policies and regions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// Actions, or `service:*`, that the role's policy lacks.
    pub(crate) detached: BTreeSet<String>,
    /// Services that an SCP forbids.
    pub(crate) scp: BTreeSet<String>,
    /// Regions switched on and off.
    pub(crate) regions_on: u64,
    pub(crate) regions_off: u64,
    /// STS is switched off for the account.
    pub(crate) sts_off: bool,
    /// The role's trust asks for no ExternalId.
    pub(crate) open_trust: bool,
    /// AssumeRole is denied until then, in milliseconds since 1970: IAM's changes take a while to be known everywhere.
    pub(crate) settles_at: i64,
    /// Policies that are attached to the role beside its own, by name: documents.
    pub(crate) attached: BTreeMap<String, String>,
    /// The document of its permissions boundary.
    pub(crate) boundary: Option<String>,
}

#[derive(Debug, Default)]
struct AccountLive {
    deleted: AtomicBool,
    changed: AtomicBool,
    /// Counts deletions: a role made anew does not know the old one's sessions.
    generation: AtomicU32,
    rotation: AtomicU32,
}

/// The state of all accounts and of the hub.
#[derive(Debug)]
pub(crate) struct Live {
    accounts: Vec<AccountLive>,
    changes: RwLock<HashMap<AccountIndex, Changes>>,
    hub: AtomicU8,
    /// Sessions issued at this millisecond or before are over.
    expired_until: AtomicI64,
}

impl Live {
    pub(crate) fn new(accounts: usize) -> Self {
        Self {
            accounts: (0..accounts).map(|_| AccountLive::default()).collect(),
            changes: RwLock::default(),
            hub: AtomicU8::new(0),
            expired_until: AtomicI64::new(i64::MIN),
        }
    }

    fn account(&self, account: AccountIndex) -> &AccountLive {
        &self.accounts[account as usize]
    }
    pub(crate) fn is_deleted(&self, account: AccountIndex) -> bool {
        self.account(account).deleted.load(Relaxed)
    }
    /// Answers whether it was there.
    pub(crate) fn delete_role(&self, account: AccountIndex) -> bool {
        let live = self.account(account);
        let was_there = !live.deleted.swap(true, Relaxed);
        if was_there {
            live.generation.fetch_add(1, Relaxed);
        }
        was_there
    }
    pub(crate) fn restore_role(&self, account: AccountIndex) {
        self.account(account).deleted.store(false, Relaxed);
    }
    pub(crate) fn generation(&self, account: AccountIndex) -> u32 {
        self.account(account).generation.load(Relaxed)
    }
    pub(crate) fn rotation(&self, account: AccountIndex) -> u32 {
        self.account(account).rotation.load(Relaxed)
    }
    pub(crate) fn set_rotation(&self, account: AccountIndex, rotation: u32) {
        self.account(account).rotation.store(rotation, Relaxed);
    }

    /// What was changed of an account; `None` for most.
    pub(crate) fn changes(&self, account: AccountIndex) -> Option<Changes> {
        if !self.account(account).changed.load(Relaxed) {
            return None;
        }
        self.changes.read().unwrap_or_else(PoisonError::into_inner).get(&account).cloned()
    }
    pub(crate) fn change(&self, account: AccountIndex, change: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        change(changes.entry(account).or_default());
        self.account(account).changed.store(true, Relaxed);
    }

    pub(crate) fn hub(&self) -> HubBreakage {
        HubBreakage::ALL.get(usize::from(self.hub.load(Relaxed))).copied().unwrap_or_default()
    }
    pub(crate) fn set_hub(&self, breakage: HubBreakage) {
        self.hub.store(breakage as u8, Relaxed);
    }
    pub(crate) fn expire_sessions(&self, now_ms: i64) {
        self.expired_until.store(now_ms, Relaxed);
    }
    pub(crate) fn expired_until(&self) -> i64 {
        self.expired_until.load(Relaxed)
    }
}

impl Changes {
    /// The enabled regions after the changes.
    pub(crate) fn regions(&self, enabled: u64) -> u64 {
        (enabled | self.regions_on) & !self.regions_off
    }
    pub(crate) fn switch_region(&mut self, region: RegionId, on: bool) {
        let (to, from) = if on {
            (&mut self.regions_on, &mut self.regions_off)
        } else {
            (&mut self.regions_off, &mut self.regions_on)
        };
        *to |= region.bit();
        *from &= !region.bit();
    }
}
