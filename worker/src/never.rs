//! What is never done on a customer's session, whatever a catalogue file or a customer's policy would allow: readers of
//! secrets, of data and of credentials that begin like readers of configuration, and the doers that are asked about
//! most. Writers need no list: what does not begin with a reading verb does not leave ([`crate::gate`]).

/// IAM actions; a `*` at the end stands for whatever follows. Gate, session policy, permissions boundary and the
/// customer's page are made of this one list.
pub const NEVER: &[&str] = &[
    "secretsmanager:GetSecretValue",
    "secretsmanager:BatchGetSecretValue",
    "secretsmanager:GetRandomPassword",
    "ssm:GetParameter*",
    "ssm:GetCommandInvocation",
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:GetRecords",
    "dynamodb:Query",
    "dynamodb:Scan",
    "s3:GetObject*",
    "s3:ListBucket*",
    "lambda:Invoke*",
    "lambda:GetLayerVersion",
    "states:Start*",
    "states:GetActivityTask",
    "events:PutEvents",
    "bedrock:Invoke*",
    "bedrock:GetAgentMemory",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ec2:GetPasswordData",
    "ec2:GetConsole*",
    "kms:Decrypt",
    "kms:GenerateDataKey*",
    "kms:GenerateMac",
    "kms:GenerateRandom",
    "kms:GetParametersForImport",
    "sts:GetSessionToken",
    "sts:GetFederationToken",
    "sts:GetWebIdentityToken",
    "cloudtrail:GetQueryResults",
    "kinesis:GetRecords",
    "logs:GetLogEvents",
    "codecommit:GetFile",
];

/// Operations that would match the list by their name, and whose IAM action is another one: S3's own names for what IAM
/// calls s3:ListBucket are those of [`ALIASES`].
const NAMESAKES: &[&str] = &[
    "s3:GetObjectLockConfiguration",
    "s3:ListBuckets",
    "s3:ListBucketAnalyticsConfigurations",
    "s3:ListBucketIntelligentTieringConfigurations",
    "s3:ListBucketInventoryConfigurations",
    "s3:ListBucketMetricsConfigurations",
];

/// Names of operations that the list means, and that IAM knows by another name or under another service's.
const ALIASES: &[&str] = &[
    "s3:ListObjects",
    "s3:ListObjectsV2",
    "s3:ListObjectVersions",
    "s3:SelectObjectContent",
    "config:GetResourceConfigHistory",
    "config:GetAggregateResourceConfig",
    "config:BatchGetResourceConfig",
    "bedrock:GetAsyncInvoke",
    "bedrock:GetInvocationStep",
    "states:DescribeExecution",
    "states:DescribeMapRun",
    "states:GetExecutionHistory",
    "*:BatchGetImage",
    "*:GetDownloadUrlForLayer",
    "*:GetAuthorizationToken",
    "*:GetRecords",
    "*:GetLogEvents",
    "*:GetRoleCredentials",
    // Of services that only an operator's own files could bring: answers of queries, contents, credentials.
    "*:GetQueryResults",
    "*:GetStatementResult",
    "*:GetStatementResultV2",
    "*:GetLogRecord",
    "*:GetObject",
    "*:GetBlob",
    "*:GetFile",
    "*:GetMedia",
    "*:GetClip",
    "*:GetLatestConfiguration",
    "*:GetClusterCredentials",
    "*:GetClusterCredentialsWithIAM",
    "*:GetCredentials",
    "*:GetCredentialsForIdentity",
    "*:GetOpenIdToken",
    "*:GetFederationToken",
    "*:GetRelationalDatabaseMasterUserPassword",
    "sdb:Select",
    "sdb:GetAttributes",
    "apigateway:GetApiKey",
    "apigateway:GetApiKeys",
];

/// Whether an IAM action (`lambda:Invoke`) is on the list.
pub fn forbids_action(action: &str) -> bool {
    NEVER.iter().any(|pattern| matches(pattern, action))
}

/// Whether an operation, by its service's name and its own, is on the list.
pub fn forbids_operation(service: &str, operation: &str) -> bool {
    let name = format!("{service}:{operation}");
    let alias = |alias: &&str| match alias.split_once(':') {
        Some(("*", of_any)) => of_any == operation,
        _ => **alias == name,
    };
    ALIASES.iter().any(alias) || (forbids_action(&name) && !NAMESAKES.contains(&name.as_str()))
}

/// IAM compares actions without case.
fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => action.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)),
        None => action.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_knows_actions_and_operations() {
        for action in ["ssm:GetParameter", "ssm:getparametersbypath", "s3:GetObjectVersion", "lambda:InvokeFunction"] {
            assert!(forbids_action(action), "{action}");
        }
        for action in ["ssm:DescribeParameters", "s3:ListAllMyBuckets", "s3:GetBucketPolicy", "lambda:GetPolicy", ""] {
            assert!(!forbids_action(action), "{action}");
        }
        assert!(forbids_operation("s3", "ListObjectsV2") && forbids_operation("anything", "GetAuthorizationToken"));
        assert!(forbids_operation("athena", "GetQueryResults") && forbids_operation("sdb", "Select"));
        assert!(!forbids_operation("s3", "GetObjectLockConfiguration") && !forbids_operation("s3", "ListBuckets"));
    }
}
