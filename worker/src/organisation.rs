//! An organisation as its management account (or a delegated administrator) sees it: its accounts, where they stand in
//! the tree, and the names of the service control policies above them.

use crate::{
    account::AccountContext,
    call::{Budget, Call, CallError},
    guard::Guard,
    reads::Reads,
    session::SessionError,
    verify::{Verifier, VerifierParts},
    wire::{next_token, page_params},
};
use fleetscan_proto::{Account, AccountId, KillSwitch, Member, MemberStanding, Organisation};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Where Organizations is signed for.
const HOME: &str = "us-east-1";
/// Pages of one list: of twenty, so some twenty thousand accounts in one unit.
const MAX_PAGES: usize = 1_000;
/// Units of a tree; AWS's own bound is 2,000 (Organizations User Guide, "Quotas").
const MAX_UNITS: usize = 10_000;

/// Why the organisation is not known at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrganisationError {
    /// No session.
    #[error("the organisation's role does not let fleetscan in: {0}")]
    Session(String),
    /// The session is of another account, or its organisation is not its to read.
    #[error("{0}")]
    NotManagement(String),
    /// It did not work.
    #[error("the organisation cannot be read: {0}")]
    Failed(String),
}

/// What is called of Organizations: without any of these, an organisation cannot be read whole.
pub const OPERATIONS: [&str; 6] = [
    "DescribeOrganization",
    "ListRoots",
    "ListOrganizationalUnitsForParent",
    "ListAccountsForParent",
    "ListPolicies",
    "ListTargetsForPolicy",
];

/// Reads organisations.
pub struct OrganisationReader(Verifier);

/// A unit whose children are to be read.
struct Unit {
    id: String,
    path: String,
    /// Itself and all above it.
    line: Vec<String>,
}

impl OrganisationReader {
    /// A reader; its calls count in no metric that anybody is shown.
    pub fn new(parts: VerifierParts) -> Self {
        Self(Verifier::new(parts))
    }

    /// From now on these calls are not made.
    pub fn heed(&self, switches: &[KillSwitch]) {
        self.0.heed(switches);
    }

    /// Reads the organisation that `account` manages, by what `reads` allows.
    ///
    /// # Errors
    /// When nothing of it can be read. What is missing of the rest is among its gaps.
    pub async fn read(&self, account: &Account, reads: Arc<Reads>) -> Result<Organisation, OrganisationError> {
        let visit = self.0.enter(account).await.map_err(|error| OrganisationError::Failed(error.to_string()))?;
        let budget = Budget::new(60, 400, false, Guard { reads: Some(reads), ..Guard::free() });
        let tree = Tree { verifier: &self.0, context: visit.context(), budget: &budget };
        let read = tree.read(account).await;
        self.0.caller.sessions.forget(&account.id);
        read
    }
}

struct Tree<'a> {
    verifier: &'a Verifier,
    context: &'a Arc<AccountContext>,
    budget: &'a Budget,
}

impl Tree<'_> {
    async fn read(&self, account: &Account) -> Result<Organisation, OrganisationError> {
        let described = self.begin(account).await?;
        let text = |name: &str| described.pointer(name).and_then(Value::as_str);
        let mut organisation = Organisation {
            id: text("/Organization/Id").unwrap_or_default().to_owned(),
            management: text("/Organization/MasterAccountId").and_then(|id| id.parse().ok()),
            members: BTreeMap::new(),
            gaps: Vec::new(),
        };
        let roots = match self.list("ListRoots", "Roots", &[]).await {
            (roots, None) if !roots.is_empty() => roots,
            (_, Some(CallError::Absent) | None) => {
                return Err(OrganisationError::NotManagement(format!(
                    "account {} may not read its organisation: name the role of the management account, or of a delegated administrator",
                    account.id
                )));
            }
            (_, Some(error)) => return Err(OrganisationError::Failed(said("ListRoots", &error))),
        };
        let policies = match has_control_policies(&roots) {
            true => self.policies(&mut organisation.gaps).await,
            false => BTreeMap::new(),
        };
        let mut units: VecDeque<Unit> = roots
            .iter()
            .map(|root| field(root, "Id"))
            .map(|id| Unit { line: vec![id.clone()], id, path: "/".to_owned() })
            .collect();
        let mut seen = 0;
        while let Some(unit) = units.pop_front() {
            seen += 1;
            if seen > MAX_UNITS {
                organisation.gaps.push(format!("more than {MAX_UNITS} units"));
                break;
            }
            self.children(&unit, &policies, &mut units, &mut organisation).await;
        }
        Ok(organisation)
    }

    /// The session is the right account's, and what it says of its organisation.
    async fn begin(&self, account: &Account) -> Result<Value, OrganisationError> {
        let who = self.call("sts", "GetCallerIdentity", &Map::new(), false).await.map_err(not_read)?;
        let of = who.get("Account").and_then(Value::as_str).unwrap_or_default();
        if of != account.id.as_str() {
            return Err(OrganisationError::NotManagement(format!(
                "the role is of account {of}, and not of {}",
                account.id
            )));
        }
        match self.call("organizations", "DescribeOrganization", &Map::new(), false).await {
            Err(CallError::Absent) => {
                Err(OrganisationError::NotManagement(format!("account {} is in no organisation", account.id)))
            }
            answer => answer.map_err(not_read),
        }
    }

    /// A unit's accounts, and the units below it.
    async fn children(
        &self,
        unit: &Unit,
        policies: &BTreeMap<String, BTreeSet<String>>,
        units: &mut VecDeque<Unit>,
        organisation: &mut Organisation,
    ) {
        let parent = [("ParentId", unit.id.as_str())];
        let (accounts, error) = self.list("ListAccountsForParent", "Accounts", &parent).await;
        organisation
            .gaps
            .extend(error.map(|error| format!("accounts of {}: {}", unit.path, said("ListAccountsForParent", &error))));
        for found in &accounts {
            let Ok(id) = field(found, "Id").parse::<AccountId>() else { continue };
            let above = unit
                .line
                .iter()
                .chain([&field(found, "Id")])
                .filter_map(|target| policies.get(target))
                .flatten()
                .cloned()
                .collect();
            let name = field(found, "Name");
            let member = Member { name, standing: standing(found), path: unit.path.clone(), policies: above };
            organisation.members.insert(id, member);
        }
        let (below, error) = self.list("ListOrganizationalUnitsForParent", "OrganizationalUnits", &parent).await;
        organisation.gaps.extend(
            error.map(|error| format!("units of {}: {}", unit.path, said("ListOrganizationalUnitsForParent", &error))),
        );
        for found in &below {
            let id = field(found, "Id");
            let path = format!("{}/{}", unit.path.trim_end_matches('/'), field(found, "Name"));
            let line = unit.line.iter().cloned().chain([id.clone()]).collect();
            units.push_back(Unit { id, path, line });
        }
    }

    /// Names of service control policies by what they are attached to.
    async fn policies(&self, gaps: &mut Vec<String>) -> BTreeMap<String, BTreeSet<String>> {
        let mut by_target: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (policies, error) = self.list("ListPolicies", "Policies", &[("Filter", "SERVICE_CONTROL_POLICY")]).await;
        gaps.extend(error.map(|error| format!("policies: {}", said("ListPolicies", &error))));
        for policy in &policies {
            let id = field(policy, "Id");
            let (targets, error) = self.list("ListTargetsForPolicy", "Targets", &[("PolicyId", &id)]).await;
            gaps.extend(
                error
                    .map(|error| format!("policy {}: {}", field(policy, "Name"), said("ListTargetsForPolicy", &error))),
            );
            for target in &targets {
                by_target.entry(field(target, "TargetId")).or_default().insert(field(policy, "Name"));
            }
        }
        by_target
    }

    /// A whole list; with an error, what came before it.
    async fn list(&self, operation: &str, items: &str, named: &[(&str, &str)]) -> (Vec<Value>, Option<CallError>) {
        let gate = self.verifier.caller.gate_of(self.budget);
        let spec = match gate.admit("organizations", operation) {
            Ok((_, spec)) => spec,
            Err(refused) => return (Vec::new(), Some(CallError::Failed(refused.to_string()))),
        };
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let named = named.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            let params = page_params(spec, named.collect(), token.as_deref());
            let answer = match self.call("organizations", operation, &params, token.is_some()).await {
                Ok(answer) => answer,
                Err(error) => return (all, Some(error)),
            };
            if let Some(Value::Array(list)) = answer.get(items) {
                all.extend(list.iter().cloned());
            }
            token = next_token(spec.paging.as_ref(), &answer);
            if token.is_none() {
                return (all, None);
            }
        }
        (all, Some(CallError::Failed(format!("more than {MAX_PAGES} pages"))))
    }

    async fn call(
        &self,
        service: &str,
        operation: &str,
        params: &Map<String, Value>,
        paged: bool,
    ) -> Result<Value, CallError> {
        let (account, budget) = (self.context, self.budget);
        self.verifier.caller.call(Call { account, service, operation, region: HOME, params, paged, budget }).await
    }
}

fn has_control_policies(roots: &[Value]) -> bool {
    let types = roots.iter().filter_map(|root| root.get("PolicyTypes")?.as_array()).flatten();
    types.into_iter().any(|kind| field(kind, "Type") == "SERVICE_CONTROL_POLICY" && field(kind, "Status") == "ENABLED")
}

/// `State` is newer, and tells closed accounts from suspended ones; `Status` is what there was before (Organizations API
/// reference, "Account").
fn standing(account: &Value) -> MemberStanding {
    match (field(account, "State").as_str(), field(account, "Status").as_str()) {
        ("ACTIVE", _) | ("", "ACTIVE") => MemberStanding::Active,
        ("PENDING_CLOSURE", _) | ("", "PENDING_CLOSURE") => MemberStanding::Closing,
        ("CLOSED", _) => MemberStanding::Closed,
        ("PENDING_ACTIVATION", _) => MemberStanding::Pending,
        _ => MemberStanding::Suspended,
    }
}

/// A text that people may be shown: names in an organisation are whatever its owner made of them.
fn field(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).collect()
}

fn not_read(error: CallError) -> OrganisationError {
    match error {
        CallError::Session(SessionError::Denied { code, .. }) => OrganisationError::Session(format!(
            "AssumeRole was denied ({code}): check the role, its trust and its ExternalId"
        )),
        CallError::Session(error) => OrganisationError::Session(error.to_string()),
        CallError::Denied(_) => {
            OrganisationError::Failed("the role may not call organizations:DescribeOrganization".to_owned())
        }
        other => OrganisationError::Failed(said("DescribeOrganization", &other)),
    }
}

fn said(operation: &str, error: &CallError) -> String {
    match error {
        CallError::Denied(_) => format!("the role may not call organizations:{operation}"),
        CallError::Absent => "it is not there any more".to_owned(),
        CallError::Failed(why) => why.clone(),
        CallError::Session(error) => error.to_string(),
        CallError::ThrottledOut | CallError::Defer(_) => "Organizations is throttling".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_say_nothing_to_a_terminal() {
        let unit = json!({ "Id": "ou-1", "Name": "Work\u{1b}[2J\u{7}loads\n" });
        assert_eq!((field(&unit, "Name"), field(&unit, "Id")), ("Work[2Jloads".to_owned(), "ou-1".to_owned()));
    }

    #[test]
    fn suspended_and_closed_are_told_apart_where_aws_does() {
        for (account, expected) in [
            (json!({ "Status": "ACTIVE" }), MemberStanding::Active),
            (json!({ "Status": "SUSPENDED" }), MemberStanding::Suspended),
            (json!({ "Status": "PENDING_CLOSURE" }), MemberStanding::Closing),
            (json!({ "Status": "SUSPENDED", "State": "CLOSED" }), MemberStanding::Closed),
            (json!({ "Status": "SUSPENDED", "State": "SUSPENDED" }), MemberStanding::Suspended),
            (json!({ "Status": "ACTIVE", "State": "PENDING_ACTIVATION" }), MemberStanding::Pending),
            (json!({ "Status": "ACTIVE", "State": "ACTIVE" }), MemberStanding::Active),
        ] {
            assert_eq!(standing(&account), expected, "{account}");
        }
    }
}
