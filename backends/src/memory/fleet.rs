use super::MemoryStore;
use async_trait::async_trait;
use fleetscan_proto::{Fleet, KillSwitch, Lease, Orders, ScanState, StoreError, WorkerReport};
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// What the processes of a fleet know of each other.
#[derive(Default)]
pub(super) struct FleetState {
    /// A lease that was given back or ended keeps its row, for the sake of its token.
    leases: BTreeMap<String, Lease>,
    workers: BTreeMap<String, (Timestamp, WorkerReport)>,
    switches: BTreeMap<String, KillSwitch>,
    pub(super) notes: BTreeMap<String, String>,
    /// Counts the changes that ended work in an account.
    pub(super) barred: u64,
}

/// What ends later than there are dates ends with the last of them.
fn end(now: Timestamp, ttl: Duration) -> Timestamp {
    SignedDuration::try_from(ttl).ok().and_then(|ttl| now.checked_add(ttl).ok()).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl Fleet for MemoryStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    async fn epoch(&self) -> Result<String, StoreError> {
        // It lives as long as the memory that it names.
        Ok(format!("memory-{:p}", std::sync::Arc::as_ptr(&self.state)))
    }

    async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let now = self.clock.now();
        let mut all = self.lock();
        let row = all.fleet.leases.entry(name.to_owned()).or_insert_with(|| Lease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            token: 0,
            until: Timestamp::MIN,
        });
        let ended = row.until <= now;
        if !ended && row.holder != holder {
            return Ok(None);
        }
        let token = row.token + u64::from(ended);
        *row = Lease { name: name.to_owned(), holder: holder.to_owned(), token, until: end(now, ttl) };
        Ok(Some(row.clone()))
    }

    async fn renew_leases(
        &self,
        holder: &str,
        leases: &[(String, u64)],
        ttl: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.clock.now();
        let mut all = self.lock();
        let renew = |(name, token): &(String, u64)| {
            let held = |lease: &&mut Lease| lease.holder == holder && lease.token == *token && lease.until > now;
            all.fleet.leases.get_mut(name).filter(held).map(|lease| lease.until = end(now, ttl)).is_some()
        };
        Ok(leases.iter().map(renew).collect())
    }

    async fn release_lease(&self, name: &str, holder: &str, token: u64) -> Result<(), StoreError> {
        let mut all = self.lock();
        let held = |lease: &&mut Lease| lease.holder == holder && lease.token == token;
        if let Some(lease) = all.fleet.leases.get_mut(name).filter(held) {
            lease.until = Timestamp::MIN;
        }
        Ok(())
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let now = self.clock.now();
        let all = self.lock();
        let live = |lease: &&Lease| lease.until > now && lease.name.starts_with(prefix);
        Ok(all.fleet.leases.values().filter(live).cloned().collect())
    }

    async fn report(&self, report: &WorkerReport, ttl: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut all = self.lock();
        all.fleet.workers.retain(|_, (until, _)| *until > now);
        all.fleet.workers.insert(report.worker.clone(), (end(now, ttl), report.clone()));
        Ok(())
    }

    async fn retire(&self, worker: &str) -> Result<(), StoreError> {
        self.lock().fleet.workers.remove(worker);
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let now = self.clock.now();
        let all = self.lock();
        Ok(all.fleet.workers.values().filter(|(until, _)| *until > now).map(|(_, report)| report.clone()).collect())
    }

    async fn switch_off(&self, switch: &KillSwitch) -> Result<(), StoreError> {
        self.lock().fleet.switches.entry(switch.what.clone()).or_insert_with(|| switch.clone());
        Ok(())
    }

    async fn switch_on(&self, what: &str) -> Result<bool, StoreError> {
        Ok(self.lock().fleet.switches.remove(what).is_some())
    }

    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.lock().fleet.notes.get(name).cloned())
    }

    async fn keep_note(&self, name: &str, text: Option<&str>) -> Result<(), StoreError> {
        let mut all = self.lock();
        match text {
            Some(text) => drop(all.fleet.notes.insert(name.to_owned(), text.to_owned())),
            None => drop(all.fleet.notes.remove(name)),
        }
        Ok(())
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        let all = self.lock();
        let running = all.scans.values().filter(|scan| scan.row.state == ScanState::Running);
        Ok(Orders {
            running: running.map(|scan| scan.row.spec.id.clone()).collect(),
            switches: all.fleet.switches.values().cloned().collect(),
            barred_version: all.fleet.barred,
        })
    }
}
