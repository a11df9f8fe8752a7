use crate::{ScanId, StoreError};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A lease that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What is leased: `coordinator`, `shard/7`.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Grows with every change of holder, and never falls: what a holder does under an older token does not count.
    pub token: u64,
    /// When it ends unless it is renewed, by the store's clock.
    pub until: Timestamp,
}

/// What a worker says of itself every second or so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its name: unique among those alive.
    pub worker: String,
    /// Version of its program.
    pub version: String,
    /// Digest of its catalogue.
    pub catalogue: String,
    /// The newest [`WIRE_VERSION`](crate::WIRE_VERSION) of tasks that it reads.
    #[serde(default = "first_wire_version")]
    pub wire: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// Cells it may have in work at once.
    pub concurrency: u32,
    /// Tasks that it holds, begun or not.
    pub held: u64,
    /// Cells in work.
    pub in_work: u64,
    /// Calls to AWS since it began.
    pub calls: u64,
    /// Of these, throttled.
    #[serde(default)]
    pub throttled: u64,
    /// Records written since it began.
    #[serde(default)]
    pub records: u64,
    /// Calls under way.
    #[serde(default)]
    pub calls_in_flight: u64,
    /// Milliseconds that calls waited for their buckets since it began, summed.
    #[serde(default)]
    pub waited_ms: u64,
    /// Shards that it has leased, and the tasks that wait in each.
    pub shards: BTreeMap<u16, u64>,
    /// Shards of others that it would take over, because it has nothing to do.
    #[serde(default)]
    pub wants: Vec<u16>,
    /// Shards in which lie tasks that it leaves to workers of another version: it does not know what they ask for.
    #[serde(default)]
    pub leaves: BTreeSet<u16>,
    /// It is about to end, and takes nothing more.
    #[serde(default)]
    pub draining: bool,
}

/// Workers that did not say read the first.
fn first_wire_version() -> u32 {
    1
}

/// Calls that nobody makes at present, at an operator's wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitch {
    /// A service (`lambda`), or one of its operations (`lambda:ListFunctions`).
    pub what: String,
    /// Why, for those who wonder.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What every worker must know within two seconds of its being said: read in one go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Orders {
    /// Scans that are running. What is not among these is left alone.
    pub running: Vec<ScanId>,
    /// Switched off.
    pub switches: Vec<KillSwitch>,
    /// Grows with every change of an account's state that ends work in it (revoked, paused, disconnected), and maybe when
    /// such a state is written again.
    pub barred_version: u64,
}

/// How the processes of a fleet know of each other. Every method is one atomic change by the store's clock, and
/// repeating it after [`StoreError::Away`] is safe.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Names this memory: another after a wipe. Every other method answers [`StoreError::Lost`] once it is gone.
    async fn epoch(&self) -> Result<String, StoreError>;

    /// Takes a lease that is free or ended (the token grows), or that `holder` has already (it is prolonged, and the
    /// token stays). `None`: another holds it.
    async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Prolongs leases by name and token; answers, in the same order, which are still held.
    async fn renew_leases(
        &self,
        holder: &str,
        leases: &[(String, u64)],
        ttl: Duration,
    ) -> Result<Vec<bool>, StoreError>;

    /// Gives a lease back, if it is still held under this token. The next one's token is higher all the same.
    async fn release_lease(&self, name: &str, holder: &str, token: u64) -> Result<(), StoreError>;

    /// Leases that have not ended and whose name begins so, by name.
    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError>;

    /// Keeps a worker's report for `ttl`; a worker whose report has ended counts as gone.
    async fn report(&self, report: &WorkerReport, ttl: Duration) -> Result<(), StoreError>;

    /// Removes a worker's report: it ended in good order.
    async fn retire(&self, worker: &str) -> Result<(), StoreError>;

    /// Reports that have not ended, by name.
    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError>;

    /// Switches calls off; one that is off keeps its reason and time.
    async fn switch_off(&self, switch: &KillSwitch) -> Result<(), StoreError>;

    /// Switches calls on again. Answers whether they were off.
    async fn switch_on(&self, what: &str) -> Result<bool, StoreError>;

    /// A note that was kept under a name: a few lines for the fleet's processes and its operators.
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a note in place of the one before; `None` removes it.
    async fn keep_note(&self, name: &str, text: Option<&str>) -> Result<(), StoreError>;

    /// What must be known at once.
    async fn orders(&self) -> Result<Orders, StoreError>;
}
