//! The conformance suites on the queue and the store of one machine.

mod conformance;

use async_trait::async_trait;
use conformance::{FleetFactory, QueueFactory, StoreFactory};
use fleetscan_backends::embedded::{EmbeddedQueue, EmbeddedStore};
use fleetscan_proto::{Clock, Task};
use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Queues in the process; their time is Tokio's.
struct InProcess;

#[async_trait]
impl QueueFactory for InProcess {
    type Queue = EmbeddedQueue;
    async fn queue(&self, capacity: usize) -> EmbeddedQueue {
        EmbeddedQueue::new(capacity)
    }
    async fn sharded(&self, capacity: usize) -> EmbeddedQueue {
        EmbeddedQueue::sharded(capacity, 4)
    }
    async fn close(&self, queue: &EmbeddedQueue) {
        queue.close();
    }
    async fn dead_letters(&self, queue: &EmbeddedQueue) -> Vec<(Task, String)> {
        queue.dead_letters()
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    fn delivery_limit(&self) -> u32 {
        EmbeddedQueue::DELIVERY_LIMIT
    }
}

/// A SQLite file in a folder of its own; the time of its shared buckets is Tokio's.
struct InFolder(TempDir);

impl InFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
}

#[async_trait]
impl StoreFactory for InFolder {
    type Store = EmbeddedStore;
    async fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.0.path()).expect("opens")
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl conformance::RegistryFactory for InFolder {
    type Registry = EmbeddedStore;
    async fn open(&self) -> EmbeddedStore {
        StoreFactory::open(self).await
    }
}

/// A time that goes on when it is told to.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

/// A SQLite file whose leases and reports go by a clock of the test's.
struct ByHand {
    folder: InFolder,
    clock: Arc<Hand>,
}

impl ByHand {
    fn new() -> Self {
        Self { folder: InFolder::new(), clock: Arc::new(Hand(Mutex::new(conformance::at(0)))) }
    }
}

#[async_trait]
impl FleetFactory for ByHand {
    type Fleet = EmbeddedStore;
    async fn open(&self) -> EmbeddedStore {
        let clock: Arc<dyn Clock> = self.clock.clone();
        StoreFactory::open(&self.folder).await.with_clock(clock)
    }
    async fn pass(&self, time: Duration) {
        *self.clock.0.lock().expect("not poisoned") += SignedDuration::try_from(time).expect("small");
    }
    fn ttl(&self) -> Duration {
        Duration::from_secs(15)
    }
}

mod events {
    use super::*;

    conformance::events::events_conformance!(ByHand::new(), tokio::test(flavor = "multi_thread", worker_threads = 2));
}

mod fleet {
    use super::*;
    use fleetscan_proto::Fleet as _;

    conformance::fleet::fleet_conformance!(ByHand::new(), tokio::test(flavor = "multi_thread", worker_threads = 2));

    #[tokio::test]
    async fn every_data_file_has_an_epoch_of_its_own() {
        let (one, other) = (ByHand::new(), ByHand::new());
        let [one, other] = [one.open().await, other.open().await];
        assert_ne!(one.epoch().await.expect("answers"), other.epoch().await.expect("answers"));
    }

    #[tokio::test]
    async fn without_another_clock_it_is_the_machines() {
        let folder = InFolder::new();
        let before = Timestamp::now();
        let store = StoreFactory::open(&folder).await;
        let now = store.now().await.expect("answers");
        assert!((before..=Timestamp::now()).contains(&now), "{now}");
    }
}

mod registry {
    use super::*;
    use crate::conformance::{account, at};
    use fleetscan_proto::{AccountRegistry as _, RegisteredAccount, SealedGrant};

    conformance::registry::registry_conformance!(
        InFolder::new(),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );

    /// Whether a text lies in any file of the data folder.
    fn on_disk(folder: &InFolder, text: &str) -> bool {
        std::fs::read_dir(folder.0.path()).expect("readable").any(|file| {
            let bytes = std::fs::read(file.expect("readable").path()).expect("readable");
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    #[tokio::test]
    async fn an_erased_grant_leaves_the_disk_while_the_store_is_open() {
        let folder = InFolder::new();
        let store = StoreFactory::open(&folder).await;
        let connected = |n: usize| RegisteredAccount {
            id: account(n),
            name: None,
            customer: None,
            regions: Vec::new(),
            profile: "everything".into(),
            catalogue: "catalogue".into(),
            told: None,
            cloudtrail_bucket: None,
            no_session_policy: false,
            organisation: None,
            added_at: at(1),
            grant: Some(SealedGrant { key: "k-1".into(), sealed: format!("sealed-of-{n}-").repeat(9) }),
            removed_at: None,
            version: 1,
        };
        for n in 0..200 {
            assert!(store.put_registered(&connected(n)).await.expect("answers"));
        }
        assert!(on_disk(&folder, "sealed-of-77-"));
        let erased = RegisteredAccount { grant: None, removed_at: Some(at(9)), version: 2, ..connected(77) };
        assert!(store.put_registered(&erased).await.expect("answers"));
        assert!(!on_disk(&folder, "sealed-of-77-"), "neither in the file nor in its log");
        assert!(on_disk(&folder, "sealed-of-78-"), "the others stay");
    }
}

mod queue {
    use super::*;
    use crate::conformance::{account, cell};
    use fleetscan_proto::{QueueError, Shards, TaskKind, TaskQueue as _};

    conformance::queue::queue_conformance!(InProcess, tokio::test(start_paused = true));

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn each_task_is_acknowledged_once_by_several_consumers() {
        conformance::queue::each_task_is_acknowledged_once_by_several_consumers(&InProcess).await;
    }

    fn task(n: usize, service: &str) -> Task {
        Task::new("s-1".parse().expect("an id"), TaskKind::Cell(cell(n, "eu-west-1", service)), 1)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_or_deferred_counts_to_the_bound_and_a_refused_batch_leaves_nothing() {
        let queue = EmbeddedQueue::new(2);
        queue.publish(&[task(1, "a"), task(2, "b")]).await.expect("there is room");
        let consumer = queue.consume("worker-1", 2, Shards::All).await.expect("consumes");
        let held = consumer.next().await.expect("there").expect("open");
        let deferred = consumer.next().await.expect("there").expect("open");
        consumer.defer(deferred.tag, deferred.task, Duration::from_secs(60)).await.expect("held");
        assert!(matches!(queue.publish(&[task(3, "c")]).await, Err(QueueError::Full)));
        consumer.ack(held.tag).await.expect("held");
        assert!(matches!(queue.publish(&[task(3, "c"), task(4, "d")]).await, Err(QueueError::Full)));
        assert_eq!(queue.depth().await.expect("there").ready, 0, "all of a batch or nothing");
        queue.publish(&[task(3, "c")]).await.expect("there is room");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_unfinished_is_the_next_of_its_account() {
        let queue = EmbeddedQueue::new(10);
        queue.publish(&[task(1, "a"), task(1, "b"), task(1, "c")]).await.expect("there is room");
        let dying = queue.consume("worker-1", 2, Shards::All).await.expect("consumes");
        dying.next().await.expect("there").expect("open");
        dying.next().await.expect("there").expect("open");
        drop(dying);
        let heir = queue.consume("worker-2", 3, Shards::All).await.expect("consumes");
        for service in ["a", "b", "c"] {
            let delivery = heir.next().await.expect("there").expect("open");
            assert_eq!(delivery.task, task(1, service));
            assert_eq!(*delivery.task.account(), account(1));
        }
    }
}

mod store {
    use super::*;
    use crate::conformance::{account, at, cell};
    use fleetscan_proto::{Begin, Cell, Completion, Lane, LedgerLine, Outcome, Probe, RegionSource, ScanId, ScanSpec};
    use fleetscan_proto::{Store as _, StoreError, WorkTotals};
    use std::{path::Path, time::Instant};

    conformance::store::store_conformance!(
        InFolder::new(),
        tokio::test(flavor = "multi_thread", worker_threads = 2),
        tokio::test(start_paused = true)
    );

    fn refusal(folder: &Path) -> String {
        match EmbeddedStore::open(folder) {
            Err(StoreError::Refused(why)) => why,
            other => panic!("it was to be refused: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
        let factory = InFolder::new();
        drop(factory.open().await);
        let file = factory.0.path().join("fleetscan.db");
        let connection = rusqlite::Connection::open(&file).expect("opens");
        connection.pragma_update(None, "user_version", 99).expect("written");
        drop(connection);
        let why = refusal(factory.0.path());
        assert!(why.contains("newer fleetscan") && why.contains("99"), "{why}");
        assert!(why.contains(&file.display().to_string()), "{why}");
        let connection = rusqlite::Connection::open(&file).expect("opens");
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
        assert_eq!(version, 99);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
        let factory = InFolder::new();
        let file = factory.0.path().join("fleetscan.db");
        let notes = "Remember the milk.\n".repeat(500);
        std::fs::write(&file, &notes).expect("written");
        let why = refusal(factory.0.path());
        assert!(why.contains("not a database") && why.contains(&file.display().to_string()), "{why}");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), notes);
    }

    #[tokio::test]
    async fn another_programs_database_is_refused_and_left_as_it_is() {
        let factory = InFolder::new();
        let file = factory.0.path().join("fleetscan.db");
        let connection = rusqlite::Connection::open(&file).expect("opens");
        connection.execute_batch("CREATE TABLE milk (litres INTEGER)").expect("written");
        drop(connection);
        let before = std::fs::read(&file).expect("read");
        let why = refusal(factory.0.path());
        assert!(why.contains("another program"), "{why}");
        assert!(std::fs::read(&file).expect("read") == before, "it was written to");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_refused_by_name() {
        let factory = InFolder::new();
        let missing = factory.0.path().join("missing");
        assert!(refusal(&missing).contains("missing"));
    }

    /// The files as they lie while the process still has them open are those that a kill leaves.
    #[tokio::test]
    async fn what_a_kill_leaves_behind_holds_all_that_was_answered() {
        let (living, left) = (InFolder::new(), InFolder::new());
        let store = living.open().await;
        let scan = planned(&store, 20).await;
        for n in 0..10 {
            assert_eq!(store.complete(&scan, 1, &line(n)).await.expect("answers"), Completion::First);
        }
        for file in std::fs::read_dir(living.0.path()).expect("readable") {
            let file = file.expect("readable");
            std::fs::copy(file.path(), left.0.path().join(file.file_name())).expect("copied");
        }
        let survivor = left.open().await;
        let expected: Vec<LedgerLine> = (0..10).map(line).collect();
        assert_eq!(survivor.ledger(&scan, None, 100).await.expect("readable"), expected);
        assert_eq!(survivor.counts(&scan).await.expect("readable"), store.counts(&scan).await.expect("readable"));
    }

    /// The `n`th of a planned scan's cells, a hundred to an account.
    fn nth(n: usize) -> Cell {
        cell(n / 100, "eu-west-1", &format!("service-{:02}", n % 100))
    }

    fn line(n: usize) -> LedgerLine {
        LedgerLine {
            cell: nth(n),
            outcome: Outcome::Complete,
            totals: WorkTotals { calls: 3, throttled: 0, records: 10, seconds: 0.5 },
            denied: Vec::new(),
            error: None,
            started_at: Some(at(1)),
            attempts: 1,
            worker: "worker-1".into(),
            parts: Vec::new(),
            catalogue: None,
        }
    }

    async fn planned(store: &EmbeddedStore, cells: usize) -> ScanId {
        let scan: ScanId = "s-1".parse().expect("an id");
        let spec = ScanSpec {
            id: scan.clone(),
            plan: "plan".into(),
            started_at: at(0),
            regions: Vec::new(),
            services: Vec::new(),
            catalogue: "catalogue".into(),
            operations: Vec::new(),
            profile: "everything".into(),
            out: "results".into(),
            accounts: 1,
            lane: Lane::Normal,
            deadline_seconds: None,
            profile_file: None,
            scheduled: false,
        };
        let accounts: Vec<_> = (0..cells.div_ceil(100)).map(account).collect();
        store.create_scan(&spec, &accounts).await.expect("created");
        for (n, account) in accounts.iter().enumerate() {
            let probe = Probe { regions: vec![], source: RegionSource::AccountsFile, at: at(1), calls: 1 };
            store.record_probe(&scan, account, 1, Ok(probe)).await.expect("recorded");
            let own: Vec<Cell> = (n * 100..cells.min((n + 1) * 100)).map(nth).collect();
            store.plan_account(&scan, account, &own).await.expect("planned");
        }
        scan
    }

    /// What a worker asks of the store for one cell.
    async fn work(store: &EmbeddedStore, scan: &ScanId, n: usize) {
        let begun = store.begin(scan, &nth(n), 1, "worker-1", at(1)).await.expect("begun");
        assert!(matches!(begun, Begin::Go { .. }), "{begun:?}");
        assert_eq!(store.complete(scan, 1, &line(n)).await.expect("answers"), Completion::First);
    }

    /// Prints its times (`--nocapture` shows them): they are the machine's, so nothing is asserted of them.
    #[expect(clippy::print_stderr, reason = "the times are for whoever runs it")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_hundred_thousand_cells_stay_countable_while_64_callers_work() {
        const CELLS: usize = 200_000;
        const WORKED: usize = 12_800;
        let factory = InFolder::new();
        let store = factory.open().await;
        let began = Instant::now();
        let scan = planned(&store, CELLS).await;
        eprintln!("{CELLS} cells planned in {:?}", began.elapsed());

        let began = Instant::now();
        let callers = (0..64).map(|caller| {
            let (store, scan) = (store.clone(), scan.clone());
            tokio::spawn(async move {
                for n in (caller..WORKED).step_by(64) {
                    work(&store, &scan, n).await;
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.expect("no panic");
        }
        let each_second = WORKED as f64 / began.elapsed().as_secs_f64();
        eprintln!("{each_second:.0} cells a second: begin and complete of 64 callers");

        let began = Instant::now();
        let counts = store.counts(&scan).await.expect("readable");
        eprintln!("counts in {:?}", began.elapsed());
        assert_eq!((counts.cells, counts.pending()), (CELLS as u64, (CELLS - WORKED) as u64));

        let began = Instant::now();
        let own = store.pending_cells(&scan, Some(&account(1_999)), None, 1_000).await.expect("readable");
        eprintln!("the pending cells of the last account in {:?}", began.elapsed());
        assert_eq!(own.len(), 100);

        let began = Instant::now();
        let last = account(1_999);
        let closed = store.close_cells(&scan, Some(&last), Outcome::Revoked, "gone", at(9)).await.expect("answers");
        eprintln!("the last account closed in {:?}", began.elapsed());
        assert_eq!(closed, 100);

        let began = Instant::now();
        let closed = store.close_cells(&scan, None, Outcome::Cancelled, "stopped", at(9)).await.expect("answers");
        eprintln!("{closed} cells closed in {:?}", began.elapsed());
        assert_eq!(store.counts(&scan).await.expect("readable").pending(), 0);
    }
}
