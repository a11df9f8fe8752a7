use super::{
    Verifier,
    policy::{Policy, RolePolicies},
};
use crate::{
    account::AccountContext,
    call::{Budget, Call, CallError},
    wire::{next_token, page_params},
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Pages of a list of a role's policies; IAM lets a role have twenty or so.
const MAX_PAGES: usize = 10;
/// Where IAM is signed for.
const IAM_REGION: &str = "us-east-1";

/// Why the role's policies are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// The profile does not read IAM.
    NotAsked,
    /// The profile reads this action, and the role may not.
    Denied(String),
    /// It did not work.
    Failed(String),
}

/// A look at the role's own policies, by the catalogue's operations alone.
pub(super) struct RoleReader<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) context: &'a Arc<AccountContext>,
    pub(super) budget: &'a Budget,
    pub(super) role: &'a str,
}

impl RoleReader<'_> {
    /// All that decides what the role may do within its account.
    pub(super) async fn read(&self) -> Result<RolePolicies, Unread> {
        let mut policies = RolePolicies::default();
        let role = self.call("GetRole", &[("RoleName", self.role)]).await?;
        let boundary = role.pointer("/Role/PermissionsBoundary/PermissionsBoundaryArn").and_then(Value::as_str);
        if let Some(arn) = boundary {
            policies.boundary = Some(self.managed("permissions boundary", arn).await?);
        }
        for attached in self.list("ListAttachedRolePolicies", "AttachedPolicies").await? {
            let text = |name: &str| attached.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            policies.identity.push(self.managed(&text("PolicyName"), &text("PolicyArn")).await?);
        }
        for name in self.list("ListRolePolicies", "PolicyNames").await? {
            let name = name.as_str().unwrap_or_default();
            let answer = self.call("GetRolePolicy", &[("RoleName", self.role), ("PolicyName", name)]).await?;
            policies.identity.push(parsed(name, answer.get("PolicyDocument"))?);
        }
        Ok(policies)
    }

    /// The version of a managed policy that is in force.
    async fn managed(&self, name: &str, arn: &str) -> Result<Policy, Unread> {
        let policy = self.call("GetPolicy", &[("PolicyArn", arn)]).await?;
        let version = policy.pointer("/Policy/DefaultVersionId").and_then(Value::as_str).unwrap_or_default();
        let answer = self.call("GetPolicyVersion", &[("PolicyArn", arn), ("VersionId", version)]).await?;
        parsed(name, answer.pointer("/PolicyVersion/Document"))
    }

    async fn list(&self, operation: &str, items: &str) -> Result<Vec<Value>, Unread> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let answer = self.page(operation, &[("RoleName", self.role)], token.as_deref()).await?;
            if let Some(Value::Array(list)) = answer.get(items) {
                all.extend(list.iter().cloned());
            }
            let gate = self.verifier.caller.gate_of(self.budget);
            token = gate.admit("iam", operation).ok().and_then(|(_, o)| next_token(o.paging.as_ref(), &answer));
            if token.is_none() {
                return Ok(all);
            }
        }
        Err(Unread::Failed(format!("iam:{operation} has no end")))
    }

    async fn call(&self, operation: &str, named: &[(&str, &str)]) -> Result<Value, Unread> {
        self.page(operation, named, None).await
    }

    async fn page(&self, operation: &str, named: &[(&str, &str)], token: Option<&str>) -> Result<Value, Unread> {
        let gate = self.verifier.caller.gate_of(self.budget);
        let Ok((_, spec)) = gate.admit("iam", operation) else {
            return Err(Unread::NotAsked);
        };
        let named = named.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        let params: Map<String, Value> = page_params(spec, named.collect(), token);
        let call = Call {
            account: self.context,
            service: "iam",
            operation,
            region: IAM_REGION,
            params: &params,
            paged: token.is_some(),
            budget: self.budget,
        };
        self.verifier.caller.call(call).await.map_err(|error| match error {
            CallError::Denied(_) => Unread::Denied(spec.action.clone()),
            CallError::Absent => Unread::Failed(format!("iam:{operation} finds nothing")),
            CallError::Failed(why) => Unread::Failed(format!("iam:{operation}: {why}")),
            CallError::Session(why) => Unread::Failed(why.to_string()),
            CallError::ThrottledOut | CallError::Defer(_) => Unread::Failed("IAM is throttling".to_owned()),
            other => Unread::Failed(format!("iam:{operation}: {other:?}")),
        })
    }
}

fn parsed(name: &str, document: Option<&Value>) -> Result<Policy, Unread> {
    Policy::parse(name, document.unwrap_or(&Value::Null)).map_err(|error| Unread::Failed(error.to_string()))
}
