//! The conformance suites on the store in memory.

// The queues' and registries' suites are not for it.
#[allow(dead_code, unused_macros, unused_imports)]
mod conformance;

use async_trait::async_trait;
use conformance::{FleetFactory, StoreFactory};
use fleetscan_backends::memory::MemoryStore;
use fleetscan_proto::Clock;
use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// One memory; opening it again is the same one.
struct InMemory(MemoryStore);

#[async_trait]
impl StoreFactory for InMemory {
    type Store = MemoryStore;
    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A time that goes on when it is told to.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

struct ByHand {
    memory: MemoryStore,
    clock: Arc<Hand>,
}

impl ByHand {
    fn new() -> Self {
        let clock = Arc::new(Hand(Mutex::new(conformance::at(0))));
        Self { memory: MemoryStore::default().with_clock(clock.clone()), clock }
    }
}

#[async_trait]
impl FleetFactory for ByHand {
    type Fleet = MemoryStore;
    async fn open(&self) -> MemoryStore {
        self.memory.clone()
    }
    async fn pass(&self, time: Duration) {
        *self.clock.0.lock().expect("not poisoned") += SignedDuration::try_from(time).expect("small");
    }
    fn ttl(&self) -> Duration {
        Duration::from_secs(15)
    }
}

mod store {
    use super::*;

    conformance::store::store_conformance!(
        InMemory(MemoryStore::default()),
        tokio::test(flavor = "multi_thread", worker_threads = 2),
        tokio::test(start_paused = true)
    );
}

mod events {
    use super::*;

    conformance::events::events_conformance!(ByHand::new(), tokio::test(flavor = "multi_thread", worker_threads = 2));
}

mod fleet {
    use super::*;

    conformance::fleet::fleet_conformance!(ByHand::new(), tokio::test(flavor = "multi_thread", worker_threads = 2));
}
