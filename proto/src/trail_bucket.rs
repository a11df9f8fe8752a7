use crate::GrantError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The bucket into which CloudTrail delivers an account's log files, and the prefix that its trail puts before
/// `AWSLogs/`. Written `bucket` or `bucket/prefix`.
///
/// Its characters are such that neither IAM's wildcards nor its variables can stand in it: session policies are made of
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrailBucket {
    bucket: String,
    /// Empty, or names with a `/` after each.
    prefix: String,
}

/// What the name of a bucket that CloudTrail delivers to neither begins nor ends with (Amazon S3 User Guide, "General
/// purpose bucket naming rules"): an SDK takes such a name for something else, and may ask elsewhere, by other rules and on
/// other sessions.
const NO_BEGINNINGS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const NO_ENDINGS: [&str; 5] = ["--x-s3", "-s3alias", "--ol-s3", ".mrap", "--table-s3"];

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
        if let Some(part) = NO_BEGINNINGS
            .iter()
            .find(|part| bucket.starts_with(**part))
            .or_else(|| NO_ENDINGS.iter().find(|part| bucket.ends_with(**part)))
        {
            return Err(GrantError(format!(
                "the CloudTrail bucket has {part} in its name, which S3 keeps for other things (directory and table \
                 buckets, access points): write the general purpose bucket that the trail delivers to"
            )));
        }
        if bucket.parse::<std::net::Ipv4Addr>().is_ok()
            || (bucket.split('.').count() == 4 && bucket.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        {
            return Err(GrantError(
                "the CloudTrail bucket has the form of an IP address, which no bucket's name has: write its name"
                    .to_owned(),
            ));
        }
        if bucket == NEVER {
            return Err(GrantError(format!(
                "the CloudTrail bucket is called {NEVER}, which says that there is none: write a bucket's name here"
            )));
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

/// The word that says that an account's log files are never read.
const NEVER: &str = "none";

/// What was said of an account's log files; where nothing was, the operator's own bucket is looked into.
///
/// As text it is the bucket, or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum TrailPlace {
    /// They are never read, wherever the operator says that they lie.
    Never,
    /// They lie there.
    Bucket(TrailBucket),
    /// Kept as it was written once; it is no bucket by today's rules, so nothing is read.
    Unknown(String),
}

impl TrailPlace {
    /// The bucket, if it is one.
    pub fn bucket(&self) -> Option<&TrailBucket> {
        match self {
            Self::Bucket(bucket) => Some(bucket),
            Self::Never | Self::Unknown(_) => None,
        }
    }
}

impl FromStr for TrailPlace {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        if text == NEVER { Ok(Self::Never) } else { text.parse().map(Self::Bucket) }
    }
}

/// As it is kept: a row that was written by other rules is still read.
impl From<String> for TrailPlace {
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Unknown(text))
    }
}

impl From<TrailPlace> for String {
    fn from(place: TrailPlace) -> Self {
        place.to_string()
    }
}

impl fmt::Display for TrailPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str(NEVER),
            Self::Bucket(bucket) => bucket.fmt(f),
            Self::Unknown(text) => f.write_str(text),
        }
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
            let place = TrailPlace::Bucket(read);
            let kept = serde_json::to_string(&place).expect("json");
            assert_eq!(kept, format!("{shown:?}"));
            assert_eq!(serde_json::from_str::<TrailPlace>(&kept).expect("read again"), place);
        }
    }

    #[test]
    fn what_is_kept_is_read_and_kept_again_even_if_it_is_no_bucket_any_more() {
        assert_eq!("none".parse::<TrailPlace>().expect("a word"), TrailPlace::Never);
        for (kept, place) in
            [("\"none\"", TrailPlace::Never), ("\"logs--x-s3/org\"", TrailPlace::Unknown("logs--x-s3/org".to_owned()))]
        {
            let read: TrailPlace = serde_json::from_str(kept).expect("read");
            assert_eq!((&read, read.bucket()), (&place, None));
            assert_eq!(serde_json::to_string(&read).expect("json"), kept);
        }
        assert!("logs--x-s3".parse::<TrailPlace>().is_err(), "nobody names it anew");
    }

    #[test]
    fn names_that_s3_keeps_for_other_things_are_refused() {
        for text in [
            "logs--use1-az4--x-s3",
            "logs-s3alias",
            "logs--ol-s3",
            "logs.mrap",
            "logs--table-s3",
            "xn--logs",
            "sthree-logs",
            "amzn-s3-demo-logs",
            "192.168.5.4",
            "999.999.999.999",
            "none",
        ] {
            for text in [text.to_owned(), format!("s3://{text}/org")] {
                let error = text.parse::<TrailBucket>().expect_err(&text).to_string();
                assert!(error.contains("write"), "{text}: {error}");
            }
        }
        for text in ["logs-x-s3", "logs-xn--a", "10.20.30", "logs-192.168.5.4"] {
            assert!(text.parse::<TrailBucket>().is_ok(), "{text}");
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
