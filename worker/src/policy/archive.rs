use super::document;
use crate::gate::ArchiveGate;
use fleetscan_proto::partition_of;
use serde_json::json;

/// The session policy for reading CloudTrail's log files of an account: the list of their folders and they themselves, in
/// one bucket. Of an organisation's id it knows no more than how one begins; the gate does.
pub fn archive_policy(gate: &ArchiveGate) -> String {
    let (name, prefix, account) = (gate.bucket().bucket(), gate.bucket().prefix(), gate.account());
    let arn = format!("arn:{}:s3:::{name}", partition_of(gate.region()).0);
    let folders = [format!("{account}/CloudTrail/*"), format!("o-*/{account}/CloudTrail/*")];
    let below = |root: &str| folders.each_ref().map(|folder| format!("{root}{prefix}AWSLogs/{folder}"));
    let [own, organisations] = below("");
    document(vec![
        json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": { "StringLike": { "s3:prefix": [gate.organisations(), own, organisations] } },
        }),
        json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": below(&format!("{arn}/")) }),
    ])
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::MAX_SESSION_CHARACTERS;
    use serde_json::Value;

    #[test]
    fn a_session_for_log_files_may_list_and_read_them_and_nothing_else() {
        let gate = |bucket: &str, region: &str| {
            let bucket = bucket.parse().expect("a bucket");
            archive_policy(&ArchiveGate::new(bucket, "111122223333".parse().expect("an id"), region))
        };
        let policy: Value = serde_json::from_str(&gate("logs/org", "eu-west-1")).expect("json");
        let statements = policy["Statement"].as_array().expect("statements");
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0]["Resource"], "arn:aws:s3:::logs");
        assert_eq!(
            statements[0]["Condition"]["StringLike"]["s3:prefix"],
            json!([
                "org/AWSLogs/o-",
                "org/AWSLogs/111122223333/CloudTrail/*",
                "org/AWSLogs/o-*/111122223333/CloudTrail/*"
            ])
        );
        assert_eq!(
            statements[1]["Resource"],
            json!([
                "arn:aws:s3:::logs/org/AWSLogs/111122223333/CloudTrail/*",
                "arn:aws:s3:::logs/org/AWSLogs/o-*/111122223333/CloudTrail/*"
            ])
        );
        assert!(gate("logs", "cn-north-1").contains("arn:aws-cn:s3:::logs/AWSLogs/111122223333/"));
        let longest = format!("{}/{}", "b".repeat(63), "p".repeat(200));
        assert!(gate(&longest, "us-gov-west-1").len() <= MAX_SESSION_CHARACTERS);
    }
}
