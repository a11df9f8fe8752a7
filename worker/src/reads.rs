//! What a task may call: its scan's profile, and of that what its account's owner was told of.

use crate::{
    gate::Gate,
    policy::{self, TooLong},
};
use fleetscan_proto::{
    AccountId, Grants, ProfileError, ScanId, ScanSpec, Store, StoreError,
    catalogue::{Catalogue, Orphan},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Accounts of scans whose reads are remembered.
const MAX_TASKS: usize = 4_096;
/// Different parts of the catalogue that are kept: a fleet's profiles and their versions are few.
const MAX_PARTS: usize = 32;

/// A part of the catalogue that may be called, and the session policy that narrows a session to it.
#[derive(Debug)]
pub struct Reads {
    gate: Gate,
    catalogue: Arc<Catalogue>,
    session_policy: Option<String>,
    name: Arc<str>,
    /// Services of which something is to be read that our catalogue does not know.
    lacking: BTreeSet<String>,
    /// Our catalogue's digest, where it is not the scan's.
    foreign: Option<String>,
}

impl Reads {
    /// These operations, on sessions that are narrowed to them, unless `narrowed` is false.
    pub fn new(part: Catalogue, narrowed: bool) -> Result<Reads, TooLong> {
        let session_policy = if narrowed { Some(policy::session_policy(&part)?) } else { None };
        let catalogue = Arc::new(part);
        let name = format!("{}{}", catalogue.digest(), if narrowed { "" } else { "/wide" }).into();
        let gate = Gate::new(Arc::clone(&catalogue));
        Ok(Reads { gate, catalogue, session_policy, name, lacking: BTreeSet::new(), foreign: None })
    }
    /// Whether something of the service is to be read that is not known here: then its cells are another's.
    pub fn lacks(&self, service: &str) -> bool {
        self.lacking.contains(service)
    }
    /// The digest of what is read with here, where the scan was asked for under another catalogue.
    pub fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }
    /// Lets these operations through.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
    /// The part of the catalogue.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }
    /// Narrows a session.
    pub fn session_policy(&self) -> Option<&str> {
        self.session_policy.as_deref()
    }
    /// Tells it from other reads: sessions of the one are not used for the other.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// Why it is not known what a task may call.
#[derive(Debug, thiserror::Error)]
pub enum NoReads {
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody knows the scan any more.
    #[error("the scan is not known")]
    NoScan,
    /// A newer coordinator's profile, or one that does not fit this catalogue.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// What the account's owner was told of does not fit this catalogue.
    #[error(transparent)]
    Told(#[from] Orphan),
    /// AWS would not take the session policy.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// The reads of every scan and account that a fleet's worker works on.
pub struct ReadsByScan {
    store: Arc<dyn Store>,
    grants: Arc<dyn Grants>,
    catalogue: Arc<Catalogue>,
    tasks: Mutex<HashMap<(ScanId, AccountId), Arc<Reads>>>,
    parts: Mutex<HashMap<PartKey, Arc<Reads>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct PartKey {
    profile: String,
    /// The digest of what the scan reads, and so of its operations.
    catalogue: String,
    told: Option<Vec<String>>,
    narrowed: bool,
}

impl ReadsByScan {
    /// Reads of the scans that `store` knows, in accounts as `grants` knows them.
    pub fn new(store: Arc<dyn Store>, grants: Arc<dyn Grants>, catalogue: Arc<Catalogue>) -> Self {
        Self { store, grants, catalogue, tasks: Mutex::default(), parts: Mutex::default() }
    }

    /// What a scan's tasks may call in an account.
    pub async fn of(&self, scan: &ScanId, account: &AccountId) -> Result<Arc<Reads>, NoReads> {
        let task = (scan.clone(), account.clone());
        if let Some(known) = lock(&self.tasks).get(&task) {
            return Ok(Arc::clone(known));
        }
        let row = self.store.scan(scan).await?.ok_or(NoReads::NoScan)?;
        let terms = self.grants.terms(account).await?;
        let profile = row.spec.profile_file.clone().unwrap_or_else(|| row.spec.profile.clone());
        let catalogue = row.spec.catalogue.clone();
        let key = PartKey { profile, catalogue, told: terms.told, narrowed: terms.session_policy };
        let known = lock(&self.parts).get(&key).map(Arc::clone);
        let reads = match known {
            Some(reads) => reads,
            None => {
                let reads = Arc::new(self.reads(&row.spec, key.told.as_deref(), key.narrowed)?);
                keep(&self.parts, MAX_PARTS, key, &reads);
                reads
            }
        };
        keep(&self.tasks, MAX_TASKS, task, &reads);
        Ok(reads)
    }

    fn reads(&self, spec: &ScanSpec, told: Option<&[String]>, narrowed: bool) -> Result<Reads, NoReads> {
        let mut part = spec.part(&self.catalogue)?;
        let foreign = (part.digest() != spec.catalogue).then(|| part.digest().to_owned());
        let told: Option<HashSet<&str>> = told.map(|told| told.iter().map(String::as_str).collect());
        let lacking = spec.lacking(&self.catalogue, told.as_ref());
        if let Some(told) = &told {
            part = part.narrowed(|service, operation| operation.is_told(service, told))?;
        }
        Ok(Reads { lacking, foreign, ..Reads::new(part, narrowed)? })
    }
}

fn lock<K, V>(map: &Mutex<HashMap<K, V>>) -> std::sync::MutexGuard<'_, HashMap<K, V>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<K: Eq + Hash>(map: &Mutex<HashMap<K, Arc<Reads>>>, most: usize, key: K, reads: &Arc<Reads>) {
    let mut map = lock(map);
    if map.len() >= most {
        map.clear();
    }
    map.insert(key, Arc::clone(reads));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::Profile;

    #[test]
    fn reads_of_other_operations_have_another_name_and_policy() {
        let part = |name: &str| Profile::built_in(name).expect("there").of(Catalogue::built_in()).expect("sound");
        let minimal = Reads::new(part("minimal"), true).expect("fits");
        let identity = Reads::new(part("identity"), true).expect("fits");
        let wide = Reads::new(part("minimal"), false).expect("fits");
        assert!(minimal.name() != identity.name() && minimal.name() != wide.name());
        assert_eq!(wide.session_policy(), None);
        assert!(minimal.session_policy().is_some_and(|policy| !policy.contains("iam:")));
        assert!(minimal.gate().admit("iam", "ListUsers").is_err() && identity.gate().admit("iam", "ListUsers").is_ok());
    }
}
