//! How fast an account may be asked: a bucket for each of AWS's own.

mod bucket;

pub use bucket::{Bucket, Permit, Turn};

use fleetscan_proto::{
    AccountId, LearnedFactor,
    catalogue::{Operation, Service},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    region: String,
    service: String,
    group: String,
    /// Where each operation of the group has a bucket of its own.
    operation: Option<String>,
}

/// The buckets of one account.
#[derive(Debug)]
pub struct AccountBuckets {
    account: AccountId,
    share: f64,
    learned: HashMap<String, f64>,
    /// Buckets begin without a token: another process drew on AWS's a moment ago.
    empty: bool,
    buckets: Mutex<HashMap<Key, Arc<Bucket>>>,
}

/// Stands for the region of a bucket that all regions share.
const EVERY_REGION: &str = "*";

impl AccountBuckets {
    /// Buckets of `account` at `share`, beginning with what earlier scans learned.
    /// `empty`: another process called here a moment ago, so nothing is assumed to be left of any burst.
    pub fn new(account: AccountId, share: f64, learned: Vec<LearnedFactor>, empty: bool) -> Self {
        let learned = learned.into_iter().map(|l| (l.bucket, l.factor)).collect();
        Self { account, share, learned, empty, buckets: Mutex::default() }
    }

    /// Whose they are.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The bucket that an operation draws on in a region.
    pub fn bucket(&self, service: &Service, operation: &Operation, region: &str) -> Arc<Bucket> {
        let limit = &service.limits[operation.limit];
        let key = Key {
            region: if limit.every_region { EVERY_REGION } else { region }.to_owned(),
            service: service.id.clone(),
            group: limit.group.clone(),
            operation: (!limit.shared).then(|| operation.name.clone()),
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(buckets.entry(key).or_insert_with_key(|key| {
            let learned = self.learned.get(&bucket_name(key)).copied();
            let bucket = Bucket::new(limit, region, self.share, learned);
            if self.empty {
                bucket.drain();
            }
            Arc::new(bucket)
        }))
    }

    /// Shows each bucket's present factor, with its service.
    pub(crate) fn each_factor(&self, show: &mut dyn FnMut(&str, f64)) {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().for_each(|(key, bucket)| show(&key.service, bucket.factor()));
    }

    /// Forgets a finished cell's buckets and answers what they learned.
    pub fn retire(&self, service: &Service, region: &str, now: jiff::Timestamp) -> Vec<LearnedFactor> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut learned = Vec::new();
        buckets.retain(|key, bucket| {
            let ends = key.service == service.id
                && (key.region == region || key.region == EVERY_REGION || region == fleetscan_proto::GLOBAL);
            if ends && let Some(factor) = bucket.learned() {
                learned.push(LearnedFactor { bucket: bucket_name(key), factor, at: now });
            }
            !ends
        });
        // Hundreds of accounts are kept whose cells are done: the room of their buckets would be more than they are.
        if buckets.len() < buckets.capacity() / 4 {
            buckets.shrink_to_fit();
        }
        learned
    }
}

fn bucket_name(key: &Key) -> String {
    let Key { region, service, group, operation } = key;
    match operation {
        None => format!("{region}/{service}/{group}"),
        Some(operation) => format!("{region}/{service}/{group}/{operation}"),
    }
}
