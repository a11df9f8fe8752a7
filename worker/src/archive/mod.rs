//! The archive of CloudTrail: log files in a bucket that a customer named, read where the operator switched that on.
//!
//! Here is where they lie and what they are called. They are asked for on sessions of their own, through a gate of their
//! own ([`crate::gate::ArchiveGate`]); what is made of them is in `extract/history`.

mod call;
mod key;

pub(crate) use call::{Question, params};
pub use key::LogKey;
pub(crate) use key::{before_minute, day_folder};

use fleetscan_proto::{
    Account, TrailBucket,
    catalogue::{Catalogue, Operation, Service},
};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// The most bytes of a log file, as it lies in the bucket: CloudTrail's own are a few megabytes at most.
pub const MAX_OBJECT_BYTES: u64 = 16 << 20;
/// Log files that a worker holds in memory at once.
const OBJECTS_AT_ONCE: usize = 16;
/// Log files that are unpacked at once: each keeps a thread of those that block busy, which others need too.
const UNPACKED_AT_ONCE: usize = 2;

/// That the operator switched the archive on.
#[derive(Debug, Clone)]
pub struct Archive {
    bucket: Option<TrailBucket>,
    /// Log files in memory.
    objects: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
}

impl Archive {
    /// Switched on; `bucket` is that of accounts that have none of their own named.
    pub fn new(bucket: Option<TrailBucket>) -> Self {
        Self {
            bucket,
            objects: Arc::new(Semaphore::new(OBJECTS_AT_ONCE)),
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
        }
    }

    /// Where an account's log files lie, if anybody named a bucket. What was said of the account alone holds: that there
    /// are none to be read, too.
    pub fn bucket_of(&self, account: &Account) -> Option<TrailBucket> {
        match &account.cloudtrail_bucket {
            Some(place) => place.bucket().cloned(),
            None => self.bucket.clone(),
        }
    }

    /// Bounds the log files in memory.
    pub(crate) fn objects(&self) -> &Arc<Semaphore> {
        &self.objects
    }

    /// Bounds the log files that are unpacked.
    pub(crate) fn unpacking(&self) -> &Arc<Semaphore> {
        &self.unpacking
    }
}

/// The operations, as the catalogue's files describe theirs.
static OPERATIONS: LazyLock<Option<Catalogue>> =
    LazyLock::new(|| Catalogue::from_files([("archive/s3.toml", include_str!("s3.toml"))]).ok());

/// What S3 is asked for, with its limit.
pub(crate) fn service() -> Option<&'static Arc<Service>> {
    OPERATIONS.as_ref()?.services().first()
}

/// Its operations.
pub(crate) fn operations() -> impl Iterator<Item = &'static Operation> {
    service().into_iter().flat_map(|service| &service.operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::TrailPlace;

    #[test]
    fn the_operations_are_two_and_the_gate_of_sessions_refuses_both() {
        let names: Vec<&str> = operations().map(|operation| operation.name.as_str()).collect();
        assert_eq!(names, ["ListObjectsV2", "GetObject"]);
        let service = service().expect("well-formed");
        for operation in &service.operations {
            assert!(!crate::gate::may_read(service, operation), "{}", operation.name);
        }
    }

    #[test]
    fn an_accounts_own_bucket_goes_before_that_of_all() {
        let bucket = |text: &str| text.parse::<TrailBucket>().expect("a bucket");
        let secret = fleetscan_proto::Secret::new;
        let mut account = Account {
            id: "111122223333".parse().expect("an id"),
            grant: fleetscan_proto::Grant { role_arn: secret("arn"), external_id: secret("id") },
            name: None,
            customer: None,
            regions: Vec::new(),
            cloudtrail_bucket: None,
        };
        assert_eq!(Archive::new(None).bucket_of(&account), None);
        let archive = Archive::new(Some(bucket("of-all")));
        assert_eq!(archive.bucket_of(&account), Some(bucket("of-all")));
        account.cloudtrail_bucket = Some(TrailPlace::Bucket(bucket("its-own/x")));
        assert_eq!(archive.bucket_of(&account), Some(bucket("its-own/x")));
        for place in [TrailPlace::Never, TrailPlace::Unknown("its-own--x-s3".to_owned())] {
            account.cloudtrail_bucket = Some(place);
            assert_eq!(archive.bucket_of(&account), None, "that of all is none of this account's");
        }
    }
}
