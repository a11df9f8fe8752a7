//! What the simulated AWS was asked.

use crate::world::AccountIndex;
use fleetscan_proto::catalogue::Service;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CallResult {
    /// Answered.
    Ok,
    /// Answered: there is none.
    Absent,
    /// Too fast.
    Throttled,
    /// No permission.
    Denied,
    /// A service control policy forbids it.
    DeniedByScp,
    /// The session was over.
    Expired,
    /// The session was not known, or its region not enabled.
    UnknownToken,
    /// The signature, its form or its scope was wrong.
    BadSignature,
    /// No such item, page, parameter.
    Invalid,
    /// No such operation: what the catalogue lacks.
    UnknownOperation,
}

impl CallResult {
    const ALL: [CallResult; 10] = [
        CallResult::Ok,
        CallResult::Absent,
        CallResult::Throttled,
        CallResult::Denied,
        CallResult::DeniedByScp,
        CallResult::Expired,
        CallResult::UnknownToken,
        CallResult::BadSignature,
        CallResult::Invalid,
        CallResult::UnknownOperation,
    ];
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            CallResult::Ok => "ok",
            CallResult::Absent => "absent",
            CallResult::Throttled => "throttled",
            CallResult::Denied => "denied",
            CallResult::DeniedByScp => "denied_by_scp",
            CallResult::Expired => "expired",
            CallResult::UnknownToken => "unknown_token",
            CallResult::BadSignature => "bad_signature",
            CallResult::Invalid => "invalid",
            CallResult::UnknownOperation => "unknown_operation",
        }
    }
}

/// What was asked, summed up. Accounts that were never asked are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// All calls, STS's included.
    pub calls: u64,
    /// Of these, throttled.
    pub throttled: u64,
    /// Calls by `service:Operation` (`service:?` where that cannot be told) and result.
    pub operations: BTreeMap<String, BTreeMap<String, u64>>,
    /// By account id.
    pub accounts: BTreeMap<String, AccountCounters>,
    /// Connections opened: `http/1.1` and `http/2`.
    pub connections: BTreeMap<String, u64>,
}

impl Counters {
    /// All calls, STS's included.
    pub fn calls(&self) -> u64 {
        self.calls
    }
    /// Calls of one operation (`lambda:ListFunctions`) that ended so.
    pub fn of(&self, operation: &str, result: CallResult) -> u64 {
        self.operations.get(operation).and_then(|results| results.get(result.as_str())).copied().unwrap_or(0)
    }
}

/// What was asked of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCounters {
    /// Calls on its sessions.
    pub calls: u64,
    /// Of these, throttled.
    pub throttled: u64,
    /// AssumeRole calls for its role, whatever the answer.
    pub assume_role: u64,
    /// Calls on its sessions after its role was deleted.
    pub after_revocation: u64,
    /// How many milliseconds after the deletion the last of these came.
    pub last_after_revocation_ms: u64,
}

#[derive(Debug, Default)]
struct AccountTally {
    calls: AtomicU64,
    throttled: AtomicU64,
    assume_role: AtomicU64,
    after_revocation: AtomicU64,
    /// Milliseconds of the clock; 0: not deleted.
    deleted_at: AtomicU64,
    last_after: AtomicU64,
}

/// Where calls are counted; nothing here waits for anybody.
#[derive(Debug)]
pub(crate) struct Tally {
    names: Vec<String>,
    operations: Vec<[AtomicU64; CallResult::ALL.len()]>,
    /// Where the operations of each service begin; the last are of STS and of nobody.
    starts: Vec<usize>,
    accounts: Vec<AccountTally>,
    /// Connections of HTTP/1.1 and of HTTP/2.
    connections: [AtomicU64; 2],
}

/// The names of [`Tally::connections`].
const HTTP: [&str; 2] = ["http/1.1", "http/2"];

/// STS's operations that the simulator knows itself.
const STS: [&str; 3] = ["sts:AssumeRole", "sts:GetCallerIdentity", "sts:?"];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Service and operation by their places in the catalogue; an operation that it lacks is `None`.
    Operation(usize, Option<usize>),
    AssumeRole,
    GetCallerIdentity,
    OtherSts,
    Unknown,
}

impl Tally {
    pub(crate) fn new(services: &[Arc<Service>], accounts: usize) -> Self {
        let mut names = Vec::new();
        let mut starts = Vec::new();
        for service in services {
            starts.push(names.len());
            names.extend(service.operations.iter().map(|o| format!("{}:{}", service.id, o.name)));
            names.push(format!("{}:?", service.id));
        }
        starts.push(names.len());
        names.extend(STS.map(str::to_owned));
        names.push("?:?".to_owned());
        Self {
            operations: names.iter().map(|_| Default::default()).collect(),
            names,
            starts,
            accounts: std::iter::repeat_with(AccountTally::default).take(accounts).collect(),
            connections: Default::default(),
        }
    }

    pub(crate) fn connected(&self, http2: bool) {
        self.connections[usize::from(http2)].fetch_add(1, Relaxed);
    }

    pub(crate) fn count(&self, slot: Slot, account: Option<AccountIndex>, result: CallResult, now_ms: i64) {
        let sts = self.starts[self.starts.len() - 1];
        let at = match slot {
            Slot::Operation(service, Some(operation)) => self.starts[service] + operation,
            Slot::Operation(service, None) => self.starts[service + 1] - 1,
            Slot::AssumeRole => sts,
            Slot::GetCallerIdentity => sts + 1,
            Slot::OtherSts => sts + 2,
            Slot::Unknown => sts + 3,
        };
        self.operations[at][result as usize].fetch_add(1, Relaxed);
        let Some(account) = account else { return };
        let tally = &self.accounts[account as usize];
        if slot == Slot::AssumeRole {
            tally.assume_role.fetch_add(1, Relaxed);
            return;
        }
        tally.calls.fetch_add(1, Relaxed);
        if result == CallResult::Throttled {
            tally.throttled.fetch_add(1, Relaxed);
        }
        let deleted = tally.deleted_at.load(Relaxed);
        if deleted > 0 {
            tally.after_revocation.fetch_add(1, Relaxed);
            tally.last_after.fetch_max((now_ms as u64).saturating_sub(deleted), Relaxed);
        }
    }

    pub(crate) fn deleted(&self, account: AccountIndex, now_ms: i64) {
        self.accounts[account as usize].deleted_at.store(now_ms.max(1) as u64, Relaxed);
    }
    pub(crate) fn restored(&self, account: AccountIndex) {
        self.accounts[account as usize].deleted_at.store(0, Relaxed);
    }

    pub(crate) fn counters(&self, id: impl Fn(AccountIndex) -> String) -> Counters {
        let mut counters = Counters::default();
        let opened = HTTP.iter().zip(&self.connections).map(|(name, count)| ((*name).to_owned(), count.load(Relaxed)));
        counters.connections = opened.filter(|(_, count)| *count > 0).collect();
        for (name, results) in self.names.iter().zip(&self.operations) {
            for result in CallResult::ALL {
                let count = results[result as usize].load(Relaxed);
                if count > 0 {
                    counters.calls += count;
                    counters.throttled += if result == CallResult::Throttled { count } else { 0 };
                    counters.operations.entry(name.clone()).or_default().insert(result.as_str().to_owned(), count);
                }
            }
        }
        for (index, tally) in self.accounts.iter().enumerate() {
            let account = AccountCounters {
                calls: tally.calls.load(Relaxed),
                throttled: tally.throttled.load(Relaxed),
                assume_role: tally.assume_role.load(Relaxed),
                after_revocation: tally.after_revocation.load(Relaxed),
                last_after_revocation_ms: tally.last_after.load(Relaxed),
            };
            if account != AccountCounters::default() {
                counters.accounts.insert(id(index as AccountIndex), account);
            }
        }
        counters
    }

    /// Back to zero; deletions stay known.
    pub(crate) fn reset(&self) {
        self.operations.iter().flatten().chain(&self.connections).for_each(|count| count.store(0, Relaxed));
        for tally in &self.accounts {
            for count in
                [&tally.calls, &tally.throttled, &tally.assume_role, &tally.after_revocation, &tally.last_after]
            {
                count.store(0, Relaxed);
            }
        }
    }
}
