//! The role itself, as IAM's readers see it from within: its policies, which a look at the role's own rights reads.

use crate::{
    engine::Engine,
    policy,
    problem::{Kind, Problem},
    request::Params,
    route::Target,
    world::{AccountIndex, ROLE},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Name of the inline policy that grants what the catalogue reads.
const OWN: &str = "SecurityV0ReadOnly";
/// AWS's own policy that grants everything.
const ADMINISTRATOR: &str = "AdministratorAccess";
const BOUNDARY: &str = "SecurityV0Boundary";
const VERSION: &str = "v1";

/// The answer to a question about the role or about what is attached to it; `None`: the question is about others.
pub(crate) fn answer(
    engine: &Engine,
    account: AccountIndex,
    target: &Target,
    params: &Params,
) -> Option<Result<Value, Problem>> {
    let operation = target.operation()?;
    if target.service.id != "iam" {
        return None;
    }
    let role = Role::of(engine, account);
    if let Some(arn) = params.one("PolicyArn") {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let document = role.managed.get(name).filter(|_| role.arn_of(name) == arn)?;
        return Some(Ok(match operation.name.as_str() {
            "GetPolicy" => json!({ "Policy": {
                "PolicyName": name, "PolicyId": "ANPASIMULATEDPOLICYX", "Arn": arn, "Path": "/",
                "DefaultVersionId": VERSION, "AttachmentCount": 1, "IsAttachable": true,
            } }),
            "GetPolicyVersion" => json!({ "PolicyVersion": {
                "Document": encoded(document), "VersionId": VERSION, "IsDefaultVersion": true,
            } }),
            _ => return None,
        }));
    }
    if params.one("RoleName")? != ROLE {
        return None;
    }
    let known = || Problem::new(Kind::NotFound, "The role policy cannot be found.");
    Some(Ok(match operation.name.as_str() {
        "GetRole" => role.described(),
        "ListRolePolicies" => json!({ "PolicyNames": [OWN], "IsTruncated": false }),
        "GetRolePolicy" if params.one("PolicyName").as_deref() != Some(OWN) => return Some(Err(known())),
        "GetRolePolicy" => {
            json!({ "RoleName": ROLE, "PolicyName": OWN, "PolicyDocument": encoded(&role.own) })
        }
        "ListAttachedRolePolicies" => {
            let attached = role.managed.keys().filter(|name| *name != BOUNDARY);
            let attached = attached.map(|name| json!({ "PolicyName": name, "PolicyArn": role.arn_of(name) }));
            json!({ "AttachedPolicies": attached.collect::<Vec<_>>(), "IsTruncated": false })
        }
        _ => return None,
    }))
}

struct Role {
    account: String,
    arn: String,
    /// The document of its inline policy.
    own: String,
    /// Documents of managed policies by name, the boundary's among them.
    managed: BTreeMap<String, String>,
}

impl Role {
    fn of(engine: &Engine, account: AccountIndex) -> Self {
        let changes = engine.live.changes(account).unwrap_or_default();
        let persona = engine.world.persona(account);
        let services = engine.services().iter();
        let actions: BTreeSet<&str> = services
            .flat_map(|service| service.operations.iter().map(move |operation| (service, operation)))
            .filter(|(service, operation)| {
                let denied = policy::denied(persona, Some(&changes), &service.id, &operation.action);
                denied != Some(policy::DeniedBy::Identity)
            })
            .map(|(_, operation)| operation.action.as_str())
            .filter(|action| *action != "sts:AssumeRole")
            .collect();
        let own = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
        });
        let mut managed = changes.attached;
        managed.extend(changes.boundary.map(|document| (BOUNDARY.to_owned(), document)));
        Self { account: engine.world.id(account), arn: engine.world.role_arn(account), own: own.to_string(), managed }
    }

    fn arn_of(&self, policy: &str) -> String {
        let owner = if policy == ADMINISTRATOR { "aws" } else { &self.account };
        format!("arn:aws:iam::{owner}:policy/{policy}")
    }

    fn described(&self) -> Value {
        let mut role = json!({
            "Path": "/", "RoleName": ROLE, "RoleId": "AROASIMULATEDROLEXXX", "Arn": self.arn,
            "CreateDate": "2026-01-05T09:00:00Z", "MaxSessionDuration": 3_600,
        });
        if self.managed.contains_key(BOUNDARY) {
            role["PermissionsBoundary"] = json!({
                "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": self.arn_of(BOUNDARY),
            });
        }
        json!({ "Role": role })
    }
}

/// A document as IAM's answers have it.
fn encoded(document: &str) -> String {
    percent_encoding::utf8_percent_encode(document, percent_encoding::NON_ALPHANUMERIC).to_string()
}
