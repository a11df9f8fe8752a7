//! Whether a customer's role is what it should be: it lets us in with its ExternalId and nobody without, it is of the
//! right account, and it grants what is needed and little else.

pub mod excess;
pub mod pattern;
pub mod policy;
mod reading;
mod report;
mod resource;

pub use report::{Finding, Kind, Rights, Standing, Verification};

use crate::{
    account::{Accounts, Visit},
    archive::Archive,
    aws::Aws,
    call::{Budget, Call, CallError, CallPolicy, Caller},
    gate::Gate,
    guard::{Guard, Switches},
    hub::{AssumeFailure, AssumeFailureKind, Hub, session_name},
    metrics::Metrics,
    policy::actions,
    reads::Reads,
    retry::Backoff,
    session::{SessionError, SessionTerms, Sessions},
    slots::Slots,
    stats::StatsCell,
};
use fleetscan_proto::{Account, Clock, Grants, KillSwitch, Store, StoreError, TrailBucket, catalogue::Catalogue};
use policy::{Right, RolePolicies};
use rand::Rng as _;
use reading::{RoleReader, Unread};
use report::findings_of;
use serde_json::{Map, Value};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Calls under way at once, of all accounts.
const CALLS: usize = 16;
/// Tries of an AssumeRole that fails in passing.
const TRIES: u32 = 5;

/// What a verifier works with.
pub struct VerifierParts {
    /// Who assumes the roles.
    pub hub: Arc<Hub>,
    /// Where grants are found.
    pub grants: Arc<dyn Grants>,
    /// Where the fleet's own limits are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What may be called at all.
    pub catalogue: Arc<Catalogue>,
    /// Sessions are named `<prefix>-<account>-<epoch>`.
    pub session_prefix: String,
    /// The most of each published API limit that is used, above 0 and at most 1. Workers may be calling in the same
    /// accounts, with a share of their own.
    pub share: f64,
    /// Where log files lie of accounts that have no place of their own named: who may read them there may do no more
    /// than was asked.
    pub cloudtrail_bucket: Option<TrailBucket>,
}

/// Looks at customers' roles, one at a time or several.
pub struct Verifier {
    hub: Arc<Hub>,
    pub(crate) caller: Caller,
    accounts: Arc<Accounts>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    session_prefix: String,
    archive: Archive,
}

/// How an account is looked at.
#[derive(Debug, Clone)]
pub struct Look {
    /// What its owner was told that is read.
    pub reads: Arc<Reads>,
    /// For how long a denied AssumeRole is asked again: IAM's changes are not known everywhere at once.
    pub wait: Duration,
}

/// Why the role does not let us in, or is none of this account's.
enum Cannot {
    /// Ours or AWS's: nothing is said of the role.
    Now(String),
    /// The role's.
    Role(String),
}

impl Verifier {
    /// A verifier. Its calls count in no metric that anybody is shown.
    pub fn new(parts: VerifierParts) -> Self {
        let (stats, metrics) = (Arc::new(StatsCell::default()), Arc::new(Metrics::new(&parts.catalogue)));
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&parts.hub) as Arc<dyn Aws>,
            parts.grants,
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
            Arc::clone(&stats),
            Arc::clone(&metrics),
            SessionTerms { prefix: parts.session_prefix.clone(), policy: None },
        ));
        let caller = Caller {
            aws: Arc::clone(&parts.hub) as Arc<dyn Aws>,
            gate: Gate::new(parts.catalogue),
            sessions: Arc::clone(&sessions),
            clock: Arc::clone(&parts.clock),
            stats,
            slots: Slots::new(CALLS),
            policy: CallPolicy::default(),
            switches: Arc::new(Switches::default()),
            metrics,
        };
        let accounts = Arc::new(Accounts::new(parts.share, sessions));
        let (hub, session_prefix) = (parts.hub, parts.session_prefix);
        let archive = Archive::new(parts.cloudtrail_bucket);
        Self { hub, caller, accounts, store: parts.store, clock: parts.clock, session_prefix, archive }
    }

    /// From now on these calls are not made.
    pub fn heed(&self, switches: &[KillSwitch]) {
        self.caller.switches.heed(switches);
    }

    /// Looks at an account's role.
    pub async fn verify(&self, account: &Account, look: &Look) -> Verification {
        let mut found = Verification::new(account.id.clone());
        if let Err(cannot) = self.let_in(account, look.wait, &mut found).await {
            return found.ended(cannot);
        }
        let visit = match self.enter(account).await {
            Ok(visit) => visit,
            Err(error) => return found.ended(Cannot::Now(error.to_string())),
        };
        let guard = Guard { reads: Some(Arc::clone(&look.reads)), ..Guard::free() };
        let budget = Budget::new(10, 40, false, guard);
        if let Err(cannot) = self.identity(account, visit.context(), &budget, &mut found).await {
            return found.ended(cannot);
        }
        self.refused_without(account, &mut found).await;
        let role = account.grant.role_arn.expose().rsplit('/').next().unwrap_or_default();
        let reader = RoleReader { verifier: self, context: visit.context(), budget: &budget, role };
        let needed: BTreeSet<&str> = actions(look.reads.catalogue()).into_values().flatten().collect();
        match reader.read().await {
            Ok(policies) => {
                let policies = match self.archive.bucket_of(account) {
                    Some(bucket) => policies.without_log_files(&bucket),
                    None => policies,
                };
                judge(&policies, &needed, &mut found);
            }
            Err(Unread::NotAsked) => found.unread = Some("its profile does not read IAM".to_owned()),
            Err(Unread::Denied(action)) => {
                found.unread = Some(format!("the role may not call {action}"));
                found.findings.push(Finding::denied(&action));
            }
            Err(Unread::Failed(why)) => {
                found.findings.push(Finding::unknown(
                    Kind::PoliciesUnread,
                    format!("The role's policies could not be read: {why}."),
                ));
                found.unread = Some(why);
            }
        }
        self.caller.sessions.forget(&account.id);
        found
    }

    /// Begins work in an account. A worker may have called there a moment ago: no bucket is taken to be full.
    pub(crate) async fn enter(&self, account: &Account) -> Result<Visit, StoreError> {
        self.accounts.enter(self.store.as_ref(), &account.id, true).await
    }

    /// The positive probe: AssumeRole with the ExternalId, for as long as IAM may take to know of a change.
    async fn let_in(&self, account: &Account, wait: Duration, found: &mut Verification) -> Result<(), Cannot> {
        let began = Instant::now();
        let mut waits = Backoff::new(Duration::from_millis(500), Duration::from_secs(8));
        let mut failures = 0;
        loop {
            let name = self.session_name(account).await?;
            let Err(AssumeFailure { kind, code, .. }) = self.hub.lets_in(account, &name).await else { break };
            match kind {
                AssumeFailureKind::Denied { our_fault: true } => {
                    return Err(Cannot::Now(format!(
                        "our own identity may not assume the role ({code}): its policy must allow sts:AssumeRole on it"
                    )));
                }
                AssumeFailureKind::HubExpired => {
                    return Err(Cannot::Now(format!("our own credentials do not work ({code})")));
                }
                AssumeFailureKind::Permanent => {
                    return Err(Cannot::Role(format!("AssumeRole cannot work with this role ({code})")));
                }
                AssumeFailureKind::Denied { .. } if began.elapsed() >= wait => {
                    return Err(Cannot::Role(format!(
                        "AssumeRole was denied ({code}): the role is not there, does not trust fleetscan's identity, or has another ExternalId"
                    )));
                }
                AssumeFailureKind::Denied { .. } => {}
                AssumeFailureKind::Throttled | AssumeFailureKind::Transient => {
                    failures += 1;
                    if failures >= TRIES {
                        return Err(Cannot::Now(format!("STS does not answer as it should ({code})")));
                    }
                }
            }
            let left = wait.saturating_sub(began.elapsed()).max(Duration::from_millis(50));
            tokio::time::sleep(waits.next_wait().min(left)).await;
            found.tries += 1;
        }
        found.waited = if found.tries > 0 { began.elapsed() } else { Duration::ZERO };
        Ok(())
    }

    /// The name of a session to ask STS for, as fast as the fleet may.
    async fn session_name(&self, account: &Account) -> Result<String, Cannot> {
        self.caller.sessions.permit().await.map_err(|error| Cannot::Now(error.to_string()))?;
        Ok(session_name(&self.session_prefix, &account.id, self.clock.now()))
    }

    /// The session that scans would have: of the right account.
    async fn identity(
        &self,
        account: &Account,
        context: &Arc<crate::account::AccountContext>,
        budget: &Budget,
        found: &mut Verification,
    ) -> Result<(), Cannot> {
        let mut answer = Err(CallError::Failed("there is no region of STS".into()));
        for region in self.hub.sts_regions() {
            let params = Map::new();
            let (service, operation) = ("sts", "GetCallerIdentity");
            let call = Call { account: context, service, operation, region, params: &params, paged: false, budget };
            answer = self.caller.call(call).await;
            if !matches!(answer, Err(CallError::Failed(_))) {
                break;
            }
        }
        match answer {
            Ok(answer) => {
                let of = answer.get("Account").and_then(Value::as_str).unwrap_or_default();
                if of != account.id.as_str() {
                    return Err(Cannot::Role(format!("the role is of account {of}, and not of this one")));
                }
                found.let_in_at = Some(self.clock.now());
                Ok(())
            }
            // It let us in a moment ago, without a session policy.
            Err(CallError::Session(SessionError::Denied { .. } | SessionError::Unusable(_)))
                if budget.guard().reads.as_ref().is_some_and(|reads| reads.session_policy().is_some()) =>
            {
                Err(Cannot::Role(format!(
                    "the role lets us in, but not with a session that is narrowed by a policy: where the organisation forbids that, `fleetscan accounts update {} --session-policy false`",
                    account.id
                )))
            }
            Err(CallError::Session(error)) => Err(Cannot::Now(error.to_string())),
            Err(CallError::Failed(why)) => Err(Cannot::Now(format!("GetCallerIdentity: {why}"))),
            Err(other) => Err(Cannot::Now(format!("GetCallerIdentity: {other:?}"))),
        }
    }

    /// The negative probes: without the ExternalId and with a wrong one, the role must not let us in. Only after the
    /// positive one: a role that is not there refuses whoever asks.
    async fn refused_without(&self, account: &Account, found: &mut Verification) {
        let wrong: String = rand::rng().sample_iter(rand::distr::Alphanumeric).take(40).map(char::from).collect();
        found.refuses_none = self.refuses(account, None).await;
        found.refuses_wrong = self.refuses(account, Some(&wrong)).await;
        found.judge_trust();
    }

    /// Whether it refuses; `None`: AWS gave no answer to that.
    async fn refuses(&self, account: &Account, external_id: Option<&str>) -> Option<bool> {
        let mut waits = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
        for _ in 0..TRIES {
            let name = self.session_name(account).await.ok()?;
            match self.hub.lets_in_with(account, external_id, &name).await {
                Ok(let_in) => return Some(!let_in),
                Err(failure) => match failure.kind {
                    AssumeFailureKind::Throttled | AssumeFailureKind::Transient => {
                        tokio::time::sleep(waits.next_wait()).await;
                    }
                    _ => return None,
                },
            }
        }
        None
    }
}

/// What the role's policies give, against what is needed.
fn judge(policies: &RolePolicies, needed: &BTreeSet<&str>, found: &mut Verification) {
    let mut rights = Rights::default();
    for action in needed {
        let list = match policies.right(action) {
            Right::Allowed => {
                rights.allowed += 1;
                continue;
            }
            Right::SomeResources => &mut rights.some_resources,
            Right::Conditional => &mut rights.conditional,
            Right::Lacking => &mut rights.lacking,
            Right::Bounded => &mut rights.bounded,
            Right::Denied => &mut rights.denied,
        };
        list.push((*action).to_owned());
    }
    found.findings.extend(findings_of(&rights));
    found.findings.extend(excess::excess(policies, needed).into_iter().map(|(kind, what)| Finding::excess(kind, what)));
    found.findings.sort_by_key(|finding| finding.severity);
    found.rights = Some(rights);
}
