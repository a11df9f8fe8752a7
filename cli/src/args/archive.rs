//! Flags that name the bucket of CloudTrail's log files.

use fleetscan_proto::{GrantError, TrailBucket};

/// A bucket, or an empty text for none.
#[derive(Debug, Clone)]
pub struct BucketOrNone(pub Option<TrailBucket>);

pub fn bucket_or_none(text: &str) -> Result<BucketOrNone, GrantError> {
    if text.is_empty() { Ok(BucketOrNone(None)) } else { text.parse().map(|bucket| BucketOrNone(Some(bucket))) }
}
