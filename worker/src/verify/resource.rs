//! Resources of a policy's statement: which patterns stand for all that there is.

use super::{
    pattern::{covers, meet},
    policy::Actions,
};

/// Actions without resource types (Service Authorization Reference, each service's "Actions defined by"), of those that
/// fleetscan never calls: their resource is `*`, which no pattern of ARNs stands for.
const WITHOUT_RESOURCES: &[&str] = &[
    "ecr:GetAuthorizationToken",
    "kms:GenerateRandom",
    "secretsmanager:BatchGetSecretValue",
    "secretsmanager:GetRandomPassword",
    "ssm:GetCommandInvocation",
    "sts:GetSessionToken",
    "sts:GetWebIdentityToken",
];

/// Whether a pattern stands for everything, whatever the action.
pub fn is_everything(resource: &str) -> bool {
    !resource.is_empty() && resource.chars().all(|c| c == '*')
}

/// Whether a pattern stands for every ARN that these actions can be about. May say no where it is hard to tell.
pub fn is_every_arn(resource: &str, actions: &Actions) -> bool {
    // A role is in one partition, and its policies speak of that one.
    let partition = resource.split(':').nth(1).filter(|partition| partition.starts_with("aws")).unwrap_or("aws");
    let covers = |rest: &str| covers(resource, &format!("arn:{partition}:{rest}"));
    let of_service = |service: String| match service.as_str() {
        // Buckets and what is in them are global names; IAM has no regions (Service Authorization Reference).
        "s3" if are_of_objects(actions) => covers("s3:::*/*"),
        "s3" => covers("s3:::*"),
        "iam" => covers("iam::*:*"),
        other => covers(&format!("{other}:*:*:*")),
    };
    is_everything(resource) || covers("*:*:*:*") || only_service(actions).is_some_and(of_service)
}

/// Whether there is anything among what a pattern of actions stands for that no pattern of ARNs reaches.
pub fn may_have_no_arn(pattern: &str) -> bool {
    WITHOUT_RESOURCES.iter().any(|action| meet(pattern, action))
}

/// The one service that a statement is about.
fn only_service(actions: &Actions) -> Option<String> {
    let Actions::Only(patterns) = actions else { return None };
    let service = |pattern: &String| Some(pattern.split_once(':')?.0.to_ascii_lowercase());
    let first = service(patterns.first()?)?;
    let same = patterns.iter().all(|pattern| service(pattern).as_ref() == Some(&first));
    (same && !first.contains(['*', '?'])).then_some(first)
}

/// Whether all of them are about S3's objects: `s3:GetObject*`, and not `s3:GetBucketObjectLockConfiguration`.
fn are_of_objects(actions: &Actions) -> bool {
    let Actions::Only(patterns) = actions else { return false };
    patterns.iter().all(|pattern| {
        let certain = pattern.split(['*', '?']).next().unwrap_or_default().to_ascii_lowercase();
        certain.contains("object") && !certain.contains("bucket")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(resource: &str, actions: &[&str]) -> bool {
        is_every_arn(resource, &Actions::Only(actions.iter().map(|action| (*action).to_owned()).collect()))
    }

    #[test]
    fn some_patterns_of_arns_stand_for_all_that_there_is() {
        for (resource, action) in [
            ("*", "s3:*"),
            ("arn:*", "s3:*"),
            ("arn:aws*:*", "kms:Decrypt"),
            ("arn:aws:*", "*"),
            ("arn:*:secretsmanager:*:*:*", "secretsmanager:GetSecretValue"),
            ("arn:aws-us-gov:kms:*:*:*", "KMS:Decrypt"),
            ("arn:aws:s3:::*", "s3:GetBucketPolicy"),
            ("arn:aws:s3:::*", "s3:GetObject*"),
            ("arn:aws:s3:::*/*", "s3:GetObject*"),
            ("arn:aws:iam::*:*", "iam:PassRole"),
        ] {
            assert!(every(resource, &[action]), "{resource} {action}");
        }
    }

    #[test]
    fn others_stand_for_some() {
        for (resource, actions) in [
            ("arn:aws:s3:::mine/*", vec!["s3:GetObject*"]),
            ("arn:aws:s3:::*/*", vec!["s3:Get*"]),
            ("arn:aws:s3:::*/*", vec!["s3:GetObject", "s3:PutBucketPolicy"]),
            ("arn:aws:s3:::*", vec!["s3:GetObject", "kms:Decrypt"]),
            ("arn:aws:kms:eu-west-1:*:*", vec!["kms:Decrypt"]),
            ("arn:aws:kms:*:111122223333:*", vec!["kms:Decrypt"]),
            ("arn:aws:kms:*:*:*", vec!["k*:Decrypt"]),
        ] {
            assert!(!every(resource, &actions), "{resource} {actions:?}");
        }
        assert!(!is_every_arn("arn:aws:kms:*:*:*", &Actions::AllBut(vec!["kms:Decrypt".into()])));
        assert!(may_have_no_arn("ecr:Get*") && !may_have_no_arn("s3:GetObject*"));
    }
}
