//! IAM policies, made of the catalogue (or a profile's part of it): what a role may do, what a session is narrowed to,
//! what no role can be given, and what the hub itself needs.

mod archive;
mod boundary;
mod managed;
mod session;

pub use archive::archive_policy;
pub use boundary::{BoundaryStatement, boundary, boundary_document};
pub use managed::{Statement, role_document, role_policies};
pub use session::{TooLong, session_policy};

use crate::sink::{BucketPlace, S3_ACTIONS};
use fleetscan_proto::catalogue::{Catalogue, Category};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// AWS's bound for an inline session policy (STS API reference, AssumeRole: `Policy`).
pub const MAX_SESSION_CHARACTERS: usize = 2_048;
/// AWS's bound for a managed policy, white space not counted (IAM User Guide, "IAM and AWS STS quotas").
pub const MAX_MANAGED_CHARACTERS: usize = 6_144;
/// The role that customers' templates make, where nobody renames it.
pub const ROLE_NAME: &str = "SecurityV0ReadOnly";
/// Version of IAM's policy language.
pub const POLICY_VERSION: &str = "2012-10-17";

/// Every IAM action that a catalogue needs, under its service's category. The hub's AssumeRole is not among them.
pub fn actions(catalogue: &Catalogue) -> BTreeMap<Category, BTreeSet<&str>> {
    let mut all: BTreeMap<Category, BTreeSet<&str>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for service in catalogue.services() {
        for operation in &service.operations {
            let action = operation.action.as_str();
            if action != "sts:AssumeRole" && seen.insert(action) {
                all.entry(service.category).or_default().insert(action);
            }
        }
    }
    all
}

/// The hub's whole policy: it may assume roles of this name, in any account, and nothing else.
pub fn hub(role_name: &str) -> Value {
    document(vec![json!({
        "Sid": "AssumeCustomersRoles",
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": format!("arn:aws:iam::*:role/{role_name}"),
    })])
}

/// The policy of whoever writes and reads results in a bucket: the sink's own actions, below its prefix.
pub fn sink(place: &BucketPlace) -> Value {
    let bucket = format!("arn:aws:s3:::{}", place.bucket);
    let [on_objects, on_bucket] = S3_ACTIONS;
    // Only listing objects knows the condition (Service Authorization Reference, "Condition keys for Amazon S3"): beside
    // another action it would never hold, and deny it.
    let (list, others): (Vec<&str>, Vec<&str>) = on_bucket.iter().partition(|action| **action == "s3:ListBucket");
    let mut objects = json!({ "Sid": "ListResults", "Effect": "Allow", "Action": list, "Resource": bucket });
    if !place.prefix.is_empty() {
        objects["Condition"] = json!({ "StringLike": { "s3:prefix": format!("{}*", place.prefix) } });
    }
    document(vec![
        json!({
            "Sid": "WriteAndReadResults",
            "Effect": "Allow",
            "Action": on_objects,
            "Resource": format!("{bucket}/{}*", place.prefix),
        }),
        objects,
        json!({ "Sid": "ListUploads", "Effect": "Allow", "Action": others, "Resource": bucket }),
    ])
}

/// A policy of these statements.
fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": POLICY_VERSION, "Statement": statements })
}

/// `lambda:ListFunctions` → `lambda:List*`.
fn with_wildcard(action: &str) -> String {
    let (service, name) = action.split_once(':').unwrap_or((action, ""));
    let verb: String =
        name.chars().enumerate().take_while(|(n, c)| *n == 0 || c.is_lowercase()).map(|(_, c)| c).collect();
    format!("{service}:{verb}*")
}

/// The service that an action belongs to.
fn prefix(action: &str) -> &str {
    action.split_once(':').map_or(action, |(prefix, _)| prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_after_the_verb() {
        assert_eq!(with_wildcard("lambda:ListFunctions"), "lambda:List*");
        assert_eq!(with_wildcard("iam:GetSSHPublicKey"), "iam:Get*");
    }

    #[test]
    fn the_hub_may_assume_roles_of_one_name_and_nothing_else() {
        let policy = hub(ROLE_NAME);
        assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(1));
        assert_eq!(policy["Statement"][0]["Action"], "sts:AssumeRole");
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:iam::*:role/SecurityV0ReadOnly");
    }

    #[test]
    fn the_sink_may_touch_its_own_prefix_and_no_setting_of_the_bucket() {
        let policy = sink(&BucketPlace::parse("results/a").expect("a place"));
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::results/a/*");
        assert_eq!(policy["Statement"][1]["Condition"]["StringLike"]["s3:prefix"], "a/*");
        let whole = sink(&BucketPlace::parse("results").expect("a place"));
        assert_eq!(whole["Statement"][0]["Resource"], "arn:aws:s3:::results/*");
        assert!(whole["Statement"][1].get("Condition").is_none());
        for action in S3_ACTIONS.into_iter().flatten() {
            assert!(
                action.contains("Object") || action.contains("Multipart") || *action == "s3:ListBucket",
                "{action}"
            );
        }
    }

    #[test]
    fn every_action_of_the_catalogue_is_there_once_and_assume_role_is_not() {
        let all = actions(Catalogue::built_in());
        let listed: Vec<&str> = all.values().flatten().copied().collect();
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(listed.len(), unique.len());
        assert!(unique.contains("iam:ListUsers") && !unique.contains("sts:AssumeRole"));
    }
}
