//! Flags that have CloudTrail's log files read.

use clap::Args as ClapArgs;
use fleetscan_proto::{GrantError, TrailBucket, TrailPlace};
use fleetscan_worker::archive::Archive;

/// Whether CloudTrail's log files are read, and where they lie. They are read where both is said: that, and where.
#[derive(Debug, Clone, ClapArgs)]
pub struct ArchiveArgs {
    /// Read CloudTrail's log files too, in accounts that have a bucket of them named: objects of that bucket are then
    /// read, on sessions of their own
    #[arg(long, env = "FLEETSCAN_CLOUDTRAIL_ENABLED", value_parser = clap::builder::BoolishValueParser::new())]
    pub cloudtrail_enabled: bool,
    /// CloudTrail bucket of every account that has none of its own named, as an organisation's trail has one
    #[arg(long, env = "FLEETSCAN_CLOUDTRAIL_BUCKET_NAME", value_name = "BUCKET[/PREFIX]", value_parser = bucket_or_none)]
    pub cloudtrail_bucket_name: Option<BucketOrNone>,
}

impl ArchiveArgs {
    /// What the operator switched on.
    pub fn archive(&self) -> Option<Archive> {
        let bucket = self.cloudtrail_bucket_name.as_ref().and_then(|named| named.0.clone());
        self.cloudtrail_enabled.then(|| Archive::new(bucket))
    }
}

/// What is said of an account's log files; an empty text takes back whatever was.
#[derive(Debug, Clone)]
pub struct PlaceOrNothing(pub Option<TrailPlace>);

pub fn place_or_nothing(text: &str) -> Result<PlaceOrNothing, GrantError> {
    if text.is_empty() { Ok(PlaceOrNothing(None)) } else { text.parse().map(|place| PlaceOrNothing(Some(place))) }
}

/// A bucket, or an empty text for none.
#[derive(Debug, Clone)]
pub struct BucketOrNone(pub Option<TrailBucket>);

pub fn bucket_or_none(text: &str) -> Result<BucketOrNone, GrantError> {
    if text.is_empty() { Ok(BucketOrNone(None)) } else { text.parse().map(|bucket| BucketOrNone(Some(bucket))) }
}
