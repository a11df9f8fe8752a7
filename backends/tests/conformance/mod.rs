//! What every queue and every store must do: each sentence of the traits' documentation is a case. A backend's own
//! test file gives a factory and names the runtime; the macros [`queue_conformance`], [`store_conformance`],
//! [`fleet_conformance`], [`events_conformance`] and [`registry_conformance`] then make one test of each case, so no
//! backend can leave one out.

pub mod events;
pub mod fleet;
pub mod queue;
pub mod registry;
pub mod store;

use async_trait::async_trait;
use fleetscan_proto::{AccountId, AccountRegistry, Cell, EventTrail, Fleet, Store, Task, TaskQueue};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long something that must not happen is given to happen. No time at all under a paused clock.
const GRACE: Duration = Duration::from_millis(300);

/// Where the queue suite gets its queues from.
#[async_trait]
pub trait QueueFactory: Send + Sync {
    /// What is tested.
    type Queue: TaskQueue + Clone;
    /// A new, empty queue for at most `capacity` tasks.
    async fn queue(&self, capacity: usize) -> Self::Queue;
    /// The same with several shards, where the backend can have them; each takes at most `capacity` tasks.
    async fn sharded(&self, capacity: usize) -> Self::Queue {
        self.queue(capacity).await
    }
    /// Closes a queue for good: its consumers get nothing more.
    async fn close(&self, queue: &Self::Queue);
    /// The dead letters, oldest first, each with its reason.
    async fn dead_letters(&self, queue: &Self::Queue) -> Vec<(Task, String)>;
    /// Lets so much of the queue's time pass.
    async fn pass(&self, time: Duration);
    /// Waits until what is ready is as near to the consumers as it comes by itself: a broker's messages take a moment,
    /// and order is promised only among those that a consumer sees.
    async fn settle(&self) {}
    /// The prefetch with which a consumer sees at least so many tasks ahead: a broker's sees no further than that.
    fn sight(&self, _tasks: u16) -> u16 {
        1
    }
    /// How many tasks more than its capacity a queue may take before it says that it is full.
    fn overshoot(&self) -> usize {
        0
    }
    /// Deliveries without a word of what became of them, after which a task is a dead letter.
    fn delivery_limit(&self) -> u32;
}

/// Where the store suite gets its stores from; one factory stands for one memory.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// What is tested.
    type Store: Store + Clone;
    /// Opens the memory, or opens it again.
    async fn open(&self) -> Self::Store;
    /// Lets so much of the store's time pass.
    async fn pass(&self, time: Duration);
}

/// Where the fleet suite gets its memories from; one factory stands for one memory.
#[async_trait]
pub trait FleetFactory: Send + Sync {
    /// What is tested; scans and accounts are what the orders and the events tell of.
    type Fleet: Fleet + Store + EventTrail + Clone;
    /// Opens the memory, or opens it again.
    async fn open(&self) -> Self::Fleet;
    /// Lets so much of the store's time pass.
    async fn pass(&self, time: Duration);
    /// How long a lease or report is kept that is to end during a case: long enough for two changes to be made in it,
    /// where time really passes.
    fn ttl(&self) -> Duration;
}

/// Where the registry suite gets its registries from; one factory stands for one memory.
#[async_trait]
pub trait RegistryFactory: Send + Sync {
    /// What is tested.
    type Registry: AccountRegistry + Clone;
    /// Opens the memory, or opens it again.
    async fn open(&self) -> Self::Registry;
}

/// The `n`th account, in the order of ids.
pub fn account(n: usize) -> AccountId {
    format!("{:012}", 100_000_000_000_u64 + n as u64).parse().expect("twelve digits")
}

/// A regional cell.
pub fn cell(n: usize, region: &str, service: &str) -> Cell {
    Cell::new(account(n), region, service)
}

/// So many seconds after a fixed moment.
pub fn at(seconds: i64) -> Timestamp {
    let epoch: Timestamp = "2026-01-31T12:00:00.25Z".parse().expect("a timestamp");
    epoch + SignedDuration::from_secs(seconds)
}
