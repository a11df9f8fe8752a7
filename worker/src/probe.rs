//! An account's first task in a scan: is the role still there, is it the right account, which regions are enabled.

use crate::{
    account::AccountContext,
    call::{Budget, Call, CallError, Caller},
    guard::Guard,
    hub::STS_REGION,
    session::SessionError,
    wire::{next_token, page_params},
};
use fleetscan_proto::{
    Account, DEFAULT_REGIONS, Outcome, Probe, ProbeFailure, RegionSource,
    catalogue::{FieldPath, Operation},
    is_region_shaped,
};
use serde_json::{Map, Value};
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// Pages of a list of regions; AWS has some forty regions, and fifty fit a page.
const MAX_PAGES: usize = 10;

/// Nothing was learned of the account, and the probe is to be tried later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotNow {
    /// Our own side is at fault (credentials, STS's limit, the store): however long it takes.
    Ours(String),
    /// AWS says that a policy of our own identity denies AssumeRole: however long it takes, and whoever watches over the
    /// scan must know.
    OurPolicy {
        /// AWS's code.
        code: String,
        /// AWS's request id.
        request_id: Option<String>,
        /// How many times AssumeRole was asked.
        tries: u32,
    },
    /// AWS answered with an error, again and again: a few more times.
    Failing(String),
}

/// Probes an account.
pub async fn probe(
    caller: &Caller,
    context: &Arc<AccountContext>,
    account: &Account,
    guard: Guard,
) -> Result<Result<Probe, ProbeFailure>, NotNow> {
    let budget = Budget::new(10, 40, false, guard);
    let prober = Prober { caller, context, budget };
    if let Err(failure) = prober.identity(account).await? {
        return Ok(Err(failure));
    }
    let (mut regions, source) = prober.regions(account).await?;
    regions.sort();
    regions.dedup();
    Ok(Ok(Probe { regions, source, at: caller.clock.now(), calls: prober.budget.calls.load(Relaxed) }))
}

struct Prober<'a> {
    caller: &'a Caller,
    context: &'a Arc<AccountContext>,
    budget: Budget,
}

impl Prober<'_> {
    fn failure(&self, outcome: Outcome, reason: impl Into<String>) -> ProbeFailure {
        let at = self.caller.clock.now();
        ProbeFailure { outcome, reason: reason.into(), code: None, request_id: None, tries: 0, at }
    }

    async fn call(&self, service: &str, operation: &str, params: &Map<String, Value>) -> Result<Value, CallError> {
        self.call_in(STS_REGION, service, operation, params).await
    }

    /// Who the session is, by the hub's STS, or by the one that stands in for it.
    async fn who(&self) -> Result<Value, CallError> {
        let mut answer = Err(CallError::Failed("there is no region of STS".into()));
        for region in self.caller.sessions.sts_regions() {
            answer = self.call_in(&region, "sts", "GetCallerIdentity", &Map::new()).await;
            if !matches!(answer, Err(CallError::Failed(_))) {
                break;
            }
        }
        answer
    }

    async fn call_in(
        &self,
        region: &str,
        service: &str,
        operation: &str,
        params: &Map<String, Value>,
    ) -> Result<Value, CallError> {
        let call =
            Call { account: self.context, service, operation, region, params, paged: false, budget: &self.budget };
        self.caller.call(call).await
    }

    async fn identity(&self, account: &Account) -> Result<Result<(), ProbeFailure>, NotNow> {
        match self.who().await {
            Ok(answer) => {
                let found = answer.get("Account").and_then(Value::as_str).unwrap_or_default();
                if found == account.id.as_str() {
                    return Ok(Ok(()));
                }
                Ok(Err(self.failure(
                    Outcome::Failed,
                    format!("the role belongs to account {found:?}, not to this one: nothing was read"),
                )))
            }
            Err(CallError::Session(error)) => self.no_session(error),
            // GetCallerIdentity needs no permission: a session that may not even do this is as good as none.
            Err(CallError::Denied(_)) => {
                Ok(Err(self.failure(Outcome::Unconfirmed, "the session was denied its own identity")))
            }
            Err(CallError::Failed(why)) => Err(NotNow::Failing(why)),
            Err(CallError::Stopped) => Err(NotNow::Ours("the probe is no longer ours to make".into())),
            Err(other) => Err(NotNow::Failing(format!("{other:?}"))),
        }
    }

    fn no_session(&self, error: SessionError) -> Result<Result<(), ProbeFailure>, NotNow> {
        let reason = error.to_string();
        match error {
            SessionError::Unavailable(why) => Err(NotNow::Ours(why)),
            SessionError::Denied { our_fault: true, code, request_id, tries } => {
                Err(NotNow::OurPolicy { code, request_id, tries })
            }
            SessionError::Denied { code, request_id, tries, .. } => {
                let mut failure = self.failure(Outcome::Unconfirmed, format!("AssumeRole was denied, asked {tries} times: the role is gone, or its trust or ExternalId is another"));
                (failure.code, failure.request_id, failure.tries) = (Some(code), request_id, tries);
                Ok(Err(failure))
            }
            SessionError::NoGrant => Ok(Err(self.failure(Outcome::Cancelled, reason))),
            SessionError::Unusable(code) => {
                let mut failure = self.failure(Outcome::Failed, reason);
                failure.code = Some(code);
                Ok(Err(failure))
            }
        }
    }

    async fn regions(&self, account: &Account) -> Result<(Vec<String>, RegionSource), NotNow> {
        if !account.regions.is_empty() {
            return Ok((account.regions.clone(), RegionSource::AccountsFile));
        }
        if let Some(regions) = self
            .listed("account", "ListRegions", "RegionOptStatus", &["ENABLED", "ENABLED_BY_DEFAULT", "DISABLING"])
            .await?
        {
            return Ok((regions, RegionSource::AccountListRegions));
        }
        if let Some(regions) =
            self.listed("ec2", "DescribeRegions", "OptInStatus", &["opt-in-not-required", "opted-in"]).await?
        {
            return Ok((regions, RegionSource::Ec2DescribeRegions));
        }
        Ok((DEFAULT_REGIONS.map(str::to_owned).to_vec(), RegionSource::DefaultEnabled))
    }

    /// Regions that a service lists with one of these states; `None` where it may not or cannot be asked.
    async fn listed(
        &self,
        service: &str,
        operation: &str,
        state: &str,
        enabled: &[&str],
    ) -> Result<Option<Vec<String>>, NotNow> {
        let Ok((_, spec)) = self.caller.gate_of(&self.budget).admit(service, operation) else { return Ok(None) };
        let spec: Operation = spec.clone();
        let mut regions = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let params = page_params(&spec, spec.input.clone(), token.as_deref());
            let answer = match self.call(service, operation, &params).await {
                Ok(answer) => answer,
                Err(CallError::Session(SessionError::Unavailable(why))) => return Err(NotNow::Ours(why)),
                Err(_) => return Ok(None),
            };
            let items: &FieldPath = &spec.emits[0].items;
            regions.extend(items.items(&answer).into_iter().filter_map(|item| {
                let name = item.get("RegionName")?.as_str()?;
                let is_enabled = item.get(state).and_then(Value::as_str).is_none_or(|s| enabled.contains(&s));
                (is_enabled && is_region_shaped(name)).then(|| name.to_owned())
            }));
            token = next_token(spec.paging.as_ref(), &answer);
            if token.is_none() {
                break;
            }
        }
        Ok((!regions.is_empty()).then_some(regions))
    }
}
