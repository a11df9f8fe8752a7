use crate::sink::check_path;
use fleetscan_proto::SinkError;

/// A bucket, and where in it the results lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with: empty, or names with a `/` after each.
    pub prefix: String,
}

impl BucketPlace {
    /// Reads what stands behind `s3://`: `bucket` or `bucket/some/prefix`.
    ///
    /// # Errors
    /// A sentence that says what a bucket's name or a prefix must be.
    pub fn parse(text: &str) -> Result<BucketPlace, SinkError> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        // Amazon S3 User Guide, "General purpose bucket naming rules".
        let fits = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
            && bucket.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !fits {
            return Err(SinkError::Refused(format!(
                "s3://{text}: write s3:// and the name of a bucket (3 to 63 lower-case letters, digits, dots and \
                 hyphens), as in s3://my-results/fleetscan"
            )));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(BucketPlace { bucket: bucket.to_owned(), prefix: String::new() });
        }
        if prefix.contains("//") || check_path(prefix).is_err() {
            return Err(SinkError::Refused(format!(
                "s3://{text}: the prefix {prefix:?} is no path: write names with / between them"
            )));
        }
        Ok(BucketPlace { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }

    /// The key of a path below the root.
    pub(super) fn key(&self, path: &str) -> Result<String, SinkError> {
        check_path(path)?;
        Ok(format!("{}{path}", self.prefix))
    }

    /// What the keys of a folder's files begin with.
    pub(super) fn folder(&self, folder: &str) -> Result<String, SinkError> {
        Ok(format!("{}/", self.key(folder)?))
    }

    /// `s3://bucket/prefix/path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("s3://{}/{}{path}", self.bucket, self.prefix)
    }
}
