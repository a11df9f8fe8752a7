//! What a role grants beyond what is needed, and how bad that is.

use super::{
    pattern::{covers, meet},
    policy::{Actions, RolePolicies},
};
use crate::{
    gate::{READ_VERBS, REPORTS},
    never::NEVER,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Whoever has the role has the account, or can let strangers in.
    Critical,
    /// It can change things, or read secrets and data.
    High,
    /// Something that is needed is missing or uncertain.
    Medium,
    /// More than need be, and harmless by itself.
    Low,
}

impl Severity {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        }
    }
}

/// A kind of right that nobody needs for reading configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Excess {
    /// Everything.
    Administrator,
    /// Rights over rights: IAM's and the organisation's writers, PassRole, AssumeRole.
    Escalation,
    /// Secrets, data and credentials.
    Secrets,
    /// Changes.
    Writing,
    /// Configuration that the profile does not read.
    Reading,
}

impl Excess {
    /// How bad.
    pub fn severity(self) -> Severity {
        match self {
            Excess::Administrator | Excess::Escalation => Severity::Critical,
            Excess::Secrets | Excess::Writing => Severity::High,
            Excess::Reading => Severity::Low,
        }
    }
}

/// Verbs of readers beside those that fleetscan uses itself.
const OTHER_READ_VERBS: &[&str] = &["View", "Check", "Estimate", "Preview", "Simulate", "Validate"];

/// Services whose writers hand out rights.
const RIGHTS: &[&str] = &["iam", "organizations", "sso", "sso-directory", "identitystore"];

/// Every pattern of the role's policies beyond the needed actions, by kind, with the policies that grant it.
pub fn excess(role: &RolePolicies, needed: &BTreeSet<&str>) -> BTreeMap<Excess, BTreeMap<String, BTreeSet<String>>> {
    let mut found: BTreeMap<Excess, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for policy in &role.identity {
        for statement in policy.statements.iter().filter(|statement| statement.allow) {
            let everything = ["*".to_owned()];
            let patterns = match &statement.actions {
                Actions::Only(patterns) => patterns.as_slice(),
                Actions::AllBut(_) => &everything,
            };
            let left = patterns.iter().flat_map(|pattern| role.left_of(pattern));
            for pattern in left.filter(|pattern| statement.allows_any(pattern) && !role.rules_out(pattern)) {
                if needed.iter().any(|action| action.eq_ignore_ascii_case(&pattern)) {
                    continue;
                }
                for (kind, what) in kinds(role, &pattern) {
                    found.entry(kind).or_default().entry(what).or_default().insert(policy.name.clone());
                }
            }
        }
    }
    found
}

/// What a pattern gives, each with the words for it.
fn kinds(role: &RolePolicies, pattern: &str) -> Vec<(Excess, String)> {
    let (service, name) = pattern.split_once(':').unwrap_or((pattern, "*"));
    if service.contains(['*', '?']) && name.chars().all(|c| c == '*') {
        return vec![(Excess::Administrator, pattern.to_owned())];
    }
    let mut found = Vec::new();
    let secrets = NEVER.iter().filter(|never| meet(pattern, never) && !role.rules_out(never));
    let secrets: Vec<&str> = secrets.copied().collect();
    for never in &secrets {
        // The narrower of the two says what is granted.
        let what = if covers(pattern, never) { *never } else { pattern };
        found.push((Excess::Secrets, what.to_owned()));
    }
    let hands_out = RIGHTS.iter().any(|rights| meet(service, rights));
    if ["iam:PassRole", "sts:AssumeRole*"].iter().any(|action| meet(pattern, action) && !role.rules_out(action)) {
        found.push((Excess::Escalation, pattern.to_owned()));
    } else if !reads(name) && !reports(service, name) {
        // What is on the list of secrets is told of there; a reader of them by any other verb is no writer.
        let only_secrets = !pattern.contains('*') && !secrets.is_empty();
        let kind = if hands_out { Excess::Escalation } else { Excess::Writing };
        if !only_secrets {
            found.push((kind, pattern.to_owned()));
        }
    } else if secrets.is_empty() {
        found.push((Excess::Reading, pattern.to_owned()));
    }
    found
}

/// Whether it is about reports that IAM draws up to be read, which is all that it generates.
fn reports(service: &str, name: &str) -> bool {
    REPORTS.iter().any(|(of, _)| service.eq_ignore_ascii_case(of))
        && name.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("Generate"))
}

/// Whether every action of that name begins with a reader's verb.
fn reads(name: &str) -> bool {
    let certain = name.split(['*', '?']).next().unwrap_or_default();
    let begins = |verb: &&str| certain.get(..verb.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(verb));
    READ_VERBS.iter().chain(OTHER_READ_VERBS).any(begins)
}

#[cfg(test)]
mod tests {
    use super::{super::policy::Policy, *};
    use fleetscan_proto::catalogue::Catalogue;
    use serde_json::{Value, json};

    fn of(statements: Value, boundary: Option<Value>) -> BTreeMap<Excess, Vec<String>> {
        let policy = |statements| Policy::parse("p", &json!({ "Statement": statements })).expect("a policy");
        let role = RolePolicies { identity: vec![policy(statements)], boundary: boundary.map(policy) };
        let found = excess(&role, &["lambda:ListFunctions", "iam:ListUsers"].into());
        found.into_iter().map(|(kind, what)| (kind, what.into_keys().collect())).collect()
    }
    fn allows(actions: Value) -> BTreeMap<Excess, Vec<String>> {
        of(json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }]), None)
    }

    #[test]
    fn what_is_needed_is_no_excess_in_any_case() {
        assert!(allows(json!(["lambda:ListFunctions", "IAM:listusers"])).is_empty());
    }

    #[test]
    fn what_was_asked_for_to_read_log_files_is_no_excess_and_the_same_elsewhere_is() {
        let grant = |bucket: &str, action: &str| {
            let on = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
            json!({ "Effect": "Allow", "Action": ["s3:ListBucket", action], "Resource": on })
        };
        let excess_of = |statement: Value| {
            let policy = Policy::parse("p", &json!({ "Statement": [statement] })).expect("a policy");
            let role = RolePolicies { identity: vec![policy], boundary: None };
            excess(&role.without_log_files(&"logs/org".parse().expect("a bucket")), &[].into()).len()
        };
        assert_eq!(excess_of(grant("logs", "s3:GetObject")), 0);
        for (bucket, action) in
            [("other", "s3:GetObject"), ("logs", "s3:GetObject*"), ("logs", "s3:PutObject"), ("*", "s3:GetObject")]
        {
            assert!(excess_of(grant(bucket, action)) > 0, "{action} on {bucket}");
        }
    }

    #[test]
    fn each_kind_has_its_name() {
        for (actions, kind) in [
            (json!("*"), Excess::Administrator),
            (json!("*:*"), Excess::Administrator),
            (json!("iam:PassRole"), Excess::Escalation),
            (json!("iam:*"), Excess::Escalation),
            (json!("iam:Attach*"), Excess::Escalation),
            (json!("sts:AssumeRole"), Excess::Escalation),
            (json!("organizations:Leave*"), Excess::Escalation),
            (json!("s3:GetObject"), Excess::Secrets),
            (json!("s3:Get*"), Excess::Secrets),
            (json!("secretsmanager:*"), Excess::Secrets),
            (json!("kms:Decrypt"), Excess::Secrets),
            (json!("ec2:RunInstances"), Excess::Writing),
            (json!("ec2:*"), Excess::Writing),
            (json!("sns:G*"), Excess::Writing),
            (json!("sns:List*"), Excess::Reading),
            (json!("iam:GenerateServiceLastAccessedDetails"), Excess::Reading),
            (json!("rds:DescribeDBInstances"), Excess::Reading),
        ] {
            let found = allows(actions.clone());
            assert!(found.contains_key(&kind), "{actions}: {found:?}");
        }
        assert_eq!(allows(json!("kms:Decrypt")).len(), 1, "a reader of secrets is no writer as well");
        assert_eq!(allows(json!("sns:List*")).len(), 1);
        assert_eq!(allows(json!("s3:Get*"))[&Excess::Secrets], ["s3:GetObject*"], "named by what it gives");
    }

    #[test]
    fn what_is_denied_or_outside_the_boundary_is_not_granted() {
        let broad = json!({ "Effect": "Allow", "Action": ["s3:Get*", "ec2:RunInstances"], "Resource": "*" });
        let deny = |more: Value| {
            let mut deny = json!({ "Effect": "Deny", "Action": ["s3:GetObject*", "ec2:Run*"], "Resource": "*" });
            deny.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
            json!([broad, deny])
        };
        assert_eq!(of(deny(json!({})), None).into_keys().collect::<Vec<_>>(), [Excess::Reading]);
        let conditional = of(deny(json!({ "Condition": { "Bool": { "aws:SecureTransport": "false" } } })), None);
        assert!(conditional.contains_key(&Excess::Writing) && conditional.contains_key(&Excess::Secrets));
        let boundary = json!([{ "Effect": "Allow", "Action": "s3:GetBucket*", "Resource": "*" }]);
        assert_eq!(of(json!([broad]), Some(boundary)).into_keys().collect::<Vec<_>>(), [Excess::Reading]);
        let not_action = json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" });
        assert!(of(not_action, None).contains_key(&Excess::Administrator));
    }

    #[test]
    fn of_everything_within_a_boundary_only_what_lies_within_it_is_granted() {
        let administrator = json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]);
        let own = crate::policy::boundary(Catalogue::built_in()).expect("fits");
        let own = crate::policy::boundary_document(&own)["Statement"].clone();
        assert_eq!(of(administrator.clone(), Some(own)).into_keys().collect::<Vec<_>>(), [Excess::Reading]);
        let wide = json!([{ "Effect": "Allow", "Action": ["ec2:*", "iam:Get*"], "Resource": "*" }]);
        let found = of(administrator.clone(), Some(wide));
        assert_eq!(found[&Excess::Writing], ["ec2:*"]);
        assert!(!found.contains_key(&Excess::Administrator) && !found.contains_key(&Excess::Escalation));
        let all_but = json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" });
        let within = json!([{ "Effect": "Allow", "Action": ["iam:*", "sns:List*"], "Resource": "*" }]);
        assert_eq!(of(all_but, Some(within)).into_keys().collect::<Vec<_>>(), [Excess::Reading]);
        let denied = json!([administrator[0], { "Effect": "Deny", "NotAction": "sns:List*", "Resource": "*" }]);
        assert_eq!(of(denied, None)[&Excess::Reading], ["sns:List*"]);
    }
}
