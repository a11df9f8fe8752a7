use crate::GrantError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The bucket into which CloudTrail delivers an account's log files, and the prefix that its trail puts before
/// `AWSLogs/`. Written `bucket` or `bucket/prefix`.
///
/// Its characters are such that neither IAM's wildcards nor its variables can stand in it: session policies are made of
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrailBucket {
    bucket: String,
    /// Empty, or names with a `/` after each.
    prefix: String,
}

/// The most characters of a trail's prefix (AWS CloudTrail API Reference, CreateTrail: `S3KeyPrefix`).
const LONGEST_PREFIX: usize = 200;

impl TrailBucket {
    /// Name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What keys begin with before `AWSLogs/`: empty, or names with a `/` after each.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for TrailBucket {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let place = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        // Amazon S3 User Guide, "General purpose bucket naming rules".
        let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let fits = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
            && is_end(bucket.bytes().next())
            && is_end(bucket.bytes().last())
            && !bucket.contains("..");
        if !fits {
            return Err(GrantError(
                "the CloudTrail bucket has a name that no bucket has: write its name (3 to 63 lower-case letters, \
                 digits, dots and hyphens), and behind a / the trail's prefix if it has one, as in my-logs/prefix"
                    .to_owned(),
            ));
        }
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.split('/').any(|name| name == "AWSLogs") {
            return Err(GrantError(
                "the CloudTrail bucket's prefix has AWSLogs in it: write what the trail puts before AWSLogs, and nothing \
                 behind it"
                    .to_owned(),
            ));
        }
        let is_name = |name: &str| {
            !["", ".", ".."].contains(&name)
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!-_.'()+=@,: ".contains(&b))
        };
        if prefix.len() > LONGEST_PREFIX || !prefix.split('/').all(is_name) {
            return Err(GrantError(format!(
                "the CloudTrail bucket's prefix is none that is read: write at most {LONGEST_PREFIX} letters, digits and \
                 !-_.'()+=@,: with a / between names"
            )));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

impl TryFrom<String> for TrailBucket {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        text.parse()
    }
}

impl From<TrailBucket> for String {
    fn from(bucket: TrailBucket) -> Self {
        bucket.to_string()
    }
}

impl fmt::Display for TrailBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.strip_suffix('/') {
            None => f.write_str(&self.bucket),
            Some(prefix) => write!(f, "{}/{prefix}", self.bucket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_with_and_without_a_prefix() {
        for (text, bucket, prefix, shown) in [
            ("my-logs", "my-logs", "", "my-logs"),
            ("s3://my.logs/", "my.logs", "", "my.logs"),
            ("my-logs/org/eu", "my-logs", "org/eu/", "my-logs/org/eu"),
            ("my-logs/org/", "my-logs", "org/", "my-logs/org"),
        ] {
            let read: TrailBucket = text.parse().expect(text);
            assert_eq!((read.bucket(), read.prefix(), read.to_string().as_str()), (bucket, prefix, shown));
            let kept = serde_json::to_string(&read).expect("json");
            assert_eq!(kept, format!("{shown:?}"));
            assert_eq!(serde_json::from_str::<TrailBucket>(&kept).expect("read again"), read);
        }
    }

    #[test]
    fn nothing_is_read_that_a_policy_or_a_key_would_take_otherwise() {
        for text in [
            "",
            "ab",
            "Logs",
            "my_logs",
            "-logs",
            "logs-",
            "my..logs",
            "arn:aws:s3:::logs",
            "lo*gs",
            "https://logs",
            "logs/*",
            "logs/a?",
            "logs/${aws:username}",
            "logs/a//b",
            "logs/../b",
            "logs/.",
            "logs//",
            "logs/a\nb",
            "logs/ä",
            "logs/AWSLogs",
            "logs/a/AWSLogs/111122223333",
        ] {
            let error = text.parse::<TrailBucket>().expect_err(text).to_string();
            assert!(error.contains("write"), "{text:?}: {error}");
        }
        assert!(format!("logs/{}", "x".repeat(201)).parse::<TrailBucket>().is_err());
    }
}
