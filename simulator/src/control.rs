//! What tests and operators may change while the simulation runs.

use crate::{
    counters::Counters,
    engine::{Engine, now_ms},
    live::HubBreakage,
    region::RegionId,
    world::AccountIndex,
};
use serde::Deserialize;
use std::sync::Arc;

/// A hand on the simulated AWS.
#[derive(Debug, Clone)]
pub struct Control {
    engine: Arc<Engine>,
}

/// Something that is not simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSimulated(String);

impl std::fmt::Display for NotSimulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not simulated", self.0)
    }
}
impl std::error::Error for NotSimulated {}

/// The same as one value: the body of `POST /_simulator/control`, as in
/// `{"do": "delete_role", "account": "111122223333"}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// [`Control::delete_role`]
    DeleteRole {
        /// Account id.
        account: String,
    },
    /// [`Control::restore_role`]
    RestoreRole {
        /// Account id.
        account: String,
    },
    /// [`Control::rotate_external_id`]
    RotateExternalId {
        /// Account id.
        account: String,
    },
    /// [`Control::restore_external_id`]
    RestoreExternalId {
        /// Account id.
        account: String,
    },
    /// [`Control::detach_actions`]
    DetachActions {
        /// Account id.
        account: String,
        /// `lambda:GetPolicy`, or `lambda:*`.
        actions: Vec<String>,
    },
    /// [`Control::attach_actions`]
    AttachActions {
        /// Account id.
        account: String,
        /// As they were detached.
        actions: Vec<String>,
    },
    /// [`Control::scp`]
    Scp {
        /// Account id.
        account: String,
        /// The catalogue's id of the service.
        service: String,
        /// Whether it is forbidden from now on, or no more.
        deny: bool,
    },
    /// [`Control::switch_region`]
    SwitchRegion {
        /// Account id.
        account: String,
        /// Region name.
        region: String,
        /// Whether it is enabled.
        on: bool,
    },
    /// [`Control::switch_sts`]
    SwitchSts {
        /// Account id.
        account: String,
        /// Whether STS is active.
        on: bool,
    },
    /// [`Control::ignore_external_id`]
    IgnoreExternalId {
        /// Account id.
        account: String,
        /// Whether the trust asks for none.
        on: bool,
    },
    /// [`Control::settle_role`]
    SettleRole {
        /// Account id.
        account: String,
        /// From now.
        seconds: u32,
    },
    /// [`Control::attach_policy`]
    AttachPolicy {
        /// Account id.
        account: String,
        /// The policy's name.
        name: String,
        /// Its document.
        document: serde_json::Value,
    },
    /// [`Control::bound_role`]
    BoundRole {
        /// Account id.
        account: String,
        /// The boundary's document; none: no boundary.
        document: Option<serde_json::Value>,
    },
    /// [`Control::break_hub`]
    BreakHub {
        /// How; `none` mends it.
        how: HubBreakage,
    },
    /// [`Control::expire_sessions`]
    ExpireSessions,
    /// [`Control::fill_buckets`]
    FillBuckets,
}

impl Control {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    fn account(&self, id: &str) -> Result<AccountIndex, NotSimulated> {
        self.engine.world.account(id).ok_or_else(|| NotSimulated(format!("account {id}")))
    }

    /// Deletes the customer's role: AssumeRole is denied, and so is whatever its sessions ask.
    pub fn delete_role(&self, account: &str) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        if self.engine.live.delete_role(account) {
            self.engine.tally.deleted(account, now_ms());
        }
        Ok(())
    }
    /// Makes the role anew. Sessions of the old one stay unknown.
    pub fn restore_role(&self, account: &str) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.restore_role(account);
        self.engine.tally.restored(account);
        Ok(())
    }
    /// The customer chooses another ExternalId than the accounts file has; answers it.
    pub fn rotate_external_id(&self, account: &str) -> Result<String, NotSimulated> {
        let account = self.account(account)?;
        let rotation = self.engine.live.rotation(account) + 1;
        self.set_rotation(account, rotation);
        Ok(self.engine.world.external_id(account, rotation))
    }
    /// Back to the ExternalId of the accounts file (an account that never fitted fits from now on).
    pub fn restore_external_id(&self, account: &str) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.set_rotation(account, 0);
        Ok(())
    }
    fn set_rotation(&self, account: AccountIndex, rotation: u32) {
        self.engine.live.set_rotation(account, rotation);
        self.engine.stocks.clear();
    }
    /// Takes actions (`lambda:GetPolicy`, or `lambda:*`) from the role's policy.
    pub fn detach_actions<S: AsRef<str>>(
        &self,
        account: &str,
        actions: impl IntoIterator<Item = S>,
    ) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        let actions: Vec<String> = actions.into_iter().map(|action| action.as_ref().to_owned()).collect();
        self.engine.live.change(account, |changes| changes.detached.extend(actions));
        Ok(())
    }
    /// Gives back what [`Control::detach_actions`] took, spelled as it was there.
    pub fn attach_actions<S: AsRef<str>>(
        &self,
        account: &str,
        actions: impl IntoIterator<Item = S>,
    ) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        let actions: Vec<String> = actions.into_iter().map(|action| action.as_ref().to_owned()).collect();
        self.engine.live.change(account, |changes| changes.detached.retain(|action| !actions.contains(action)));
        Ok(())
    }
    /// An SCP of the account's organisation forbids a service, or no longer does.
    pub fn scp(&self, account: &str, service: &str, deny: bool) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| {
            if deny {
                changes.scp.insert(service.to_owned());
            } else {
                changes.scp.remove(service);
            }
        });
        Ok(())
    }
    /// Enables or disables a region.
    pub fn switch_region(&self, account: &str, region: &str, on: bool) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        let region = RegionId::parse(region).filter(|r| *r != RegionId::GLOBAL);
        let region = region.ok_or_else(|| NotSimulated("that region".to_owned()))?;
        self.engine.live.change(account, |changes| changes.switch_region(region, on));
        self.engine.stocks.clear();
        Ok(())
    }
    /// Switches STS on or off for an account: AssumeRole answers RegionDisabledException.
    pub fn switch_sts(&self, account: &str, on: bool) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| changes.sts_off = !on);
        Ok(())
    }
    /// The role's trust asks for an ExternalId no more, or does again.
    pub fn ignore_external_id(&self, account: &str, on: bool) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| changes.open_trust = on);
        Ok(())
    }
    /// AssumeRole is denied for so many seconds, as it is while a new role is not known everywhere yet.
    pub fn settle_role(&self, account: &str, seconds: u32) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| changes.settles_at = now_ms() + i64::from(seconds) * 1_000);
        Ok(())
    }
    /// Attaches a policy to the role, as IAM's readers see it; what the role may do stays as it is.
    pub fn attach_policy(&self, account: &str, name: &str, document: &serde_json::Value) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| {
            changes.attached.insert(name.to_owned(), document.to_string());
        });
        Ok(())
    }
    /// Gives the role a permissions boundary, as IAM's readers see it.
    pub fn bound_role(&self, account: &str, document: Option<&serde_json::Value>) -> Result<(), NotSimulated> {
        let account = self.account(account)?;
        self.engine.live.change(account, |changes| changes.boundary = document.map(ToString::to_string));
        Ok(())
    }
    /// Breaks the hub's own side, or mends it.
    pub fn break_hub(&self, how: HubBreakage) {
        self.engine.live.set_hub(how);
    }
    /// Ends every session that was issued until now.
    pub fn expire_sessions(&self) {
        self.engine.live.expire_sessions(now_ms());
    }
    /// Fills every token bucket.
    pub fn fill_buckets(&self) {
        self.engine.buckets.reset();
    }
    /// Sets the counters to zero.
    pub fn reset_counters(&self) {
        self.engine.tally.reset();
    }
    /// What was asked so far.
    pub fn counters(&self) -> Counters {
        self.engine.tally.counters(|account| self.engine.world.id(account))
    }

    /// Carries out a command.
    pub fn carry_out(&self, command: &Command) -> Result<(), NotSimulated> {
        match command {
            Command::DeleteRole { account } => self.delete_role(account),
            Command::RestoreRole { account } => self.restore_role(account),
            Command::RotateExternalId { account } => self.rotate_external_id(account).map(drop),
            Command::RestoreExternalId { account } => self.restore_external_id(account),
            Command::DetachActions { account, actions } => self.detach_actions(account, actions),
            Command::AttachActions { account, actions } => self.attach_actions(account, actions),
            Command::Scp { account, service, deny } => self.scp(account, service, *deny),
            Command::SwitchRegion { account, region, on } => self.switch_region(account, region, *on),
            Command::SwitchSts { account, on } => self.switch_sts(account, *on),
            Command::IgnoreExternalId { account, on } => self.ignore_external_id(account, *on),
            Command::SettleRole { account, seconds } => self.settle_role(account, *seconds),
            Command::AttachPolicy { account, name, document } => self.attach_policy(account, name, document),
            Command::BoundRole { account, document } => self.bound_role(account, document.as_ref()),
            Command::BreakHub { how } => {
                self.break_hub(*how);
                Ok(())
            }
            Command::ExpireSessions => {
                self.expire_sessions();
                Ok(())
            }
            Command::FillBuckets => {
                self.fill_buckets();
                Ok(())
            }
        }
    }
}
