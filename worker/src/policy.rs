//! The inline session policy: narrows every session to what a scan may call, even where the customer attached more.

use fleetscan_proto::catalogue::{Catalogue, Service};
use serde_json::json;
use std::collections::BTreeSet;

/// AWS's bound for an inline session policy (STS API reference, AssumeRole: `Policy`).
pub const MAX_CHARACTERS: usize = 2_048;

/// What no session may do, should verb wildcards be needed: readers of secrets and data that begin like readers of
/// configuration.
const NEVER: [&str; 29] = [
    "secretsmanager:GetSecretValue",
    "secretsmanager:BatchGetSecretValue",
    "ssm:GetParameter*",
    "ssm:GetCommandInvocation",
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:GetRecords",
    "dynamodb:Query",
    "dynamodb:Scan",
    "s3:GetObject*",
    "s3:ListBucket*",
    "lambda:GetLayerVersion",
    "ec2:GetPasswordData",
    "ec2:GetConsole*",
    "ec2:DescribeInstanceAttribute",
    "kms:Decrypt",
    "kms:GetParametersForImport",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "states:DescribeExecution",
    "states:DescribeMapRun",
    "states:GetExecutionHistory",
    "states:GetActivityTask",
    "bedrock:GetAsyncInvoke",
    "bedrock:GetInvocationStep",
    "bedrock:GetAgentMemory",
    "config:GetResourceConfigHistory",
    "config:GetAggregateResourceConfig",
    "cloudtrail:GetQueryResults",
];

/// A policy that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session policy has {0} characters, and AWS takes {MAX_CHARACTERS}")]
pub struct TooLong(pub usize);

/// The policy for a scan of these services: their exact actions where they fit, else their verbs with a wildcard and
/// a Deny of what must never be read.
pub fn session_policy(catalogue: &Catalogue, services: &[String]) -> Result<String, TooLong> {
    let wanted = |s: &&std::sync::Arc<Service>| services.contains(&s.id) || !s.cells;
    let mut actions: BTreeSet<&str> =
        catalogue.services().iter().filter(wanted).flat_map(|s| &s.operations).map(|o| o.action.as_str()).collect();
    // The probe's second way to a list of regions.
    actions.insert("ec2:DescribeRegions");
    actions.remove("sts:AssumeRole");
    let exact =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
            .to_string();
    if exact.len() <= MAX_CHARACTERS {
        return Ok(exact);
    }
    let verbs: BTreeSet<String> = actions.iter().map(|action| with_wildcard(action)).collect();
    let short = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": verbs, "Resource": "*"},
        {"Effect": "Deny", "Action": NEVER, "Resource": "*"},
    ]})
    .to_string();
    if short.len() <= MAX_CHARACTERS { Ok(short) } else { Err(TooLong(short.len())) }
}

/// `lambda:ListFunctions` → `lambda:List*`.
fn with_wildcard(action: &str) -> String {
    let (service, name) = action.split_once(':').unwrap_or((action, ""));
    let verb: String =
        name.chars().enumerate().take_while(|(n, c)| *n == 0 || c.is_lowercase()).map(|(_, c)| c).collect();
    format!("{service}:{verb}*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selection_of_the_catalogue_fits_aws_bound() {
        let catalogue = Catalogue::built_in();
        let all: Vec<String> = catalogue.scanned().map(|s| s.id.clone()).collect();
        let policy = session_policy(catalogue, &all).expect("fits");
        assert!(
            policy.len() <= MAX_CHARACTERS
                && policy.contains("\"Deny\"")
                && policy.contains("secretsmanager:GetSecretValue")
                && policy.contains("ecr:GetAuthorizationToken")
        );
        let few = session_policy(catalogue, &["sns".to_owned()]).expect("fits");
        assert!(!few.contains('*') || few.contains("\"Resource\":\"*\""), "{few}");
    }

    #[test]
    fn wildcards_stand_after_the_verb() {
        assert_eq!(with_wildcard("lambda:ListFunctions"), "lambda:List*");
        assert_eq!(with_wildcard("iam:GetSSHPublicKey"), "iam:Get*");
    }
}
