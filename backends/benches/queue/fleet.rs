//! The ways that go through fleetscan's own queue and store.

use crate::{ACCOUNTS, PREFETCH};
use fleetscan_backends::{
    rabbitmq::{RabbitOptions, RabbitQueue},
    redis::{RedisOptions, RedisStore},
};
use fleetscan_proto::{
    AccountId, Begin, Cell, Completion, Delivery, LedgerLine, Outcome, Probe, RegionSource, ScanId, ScanSpec, Shards,
    Store as _, Task, TaskConsumer, TaskKind, TaskQueue as _, WorkTotals,
};
use jiff::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// What the coordinator hands over at once.
const BATCH: usize = 2_048;

pub struct Fleet {
    queue: RabbitQueue,
    store: Arc<RedisStore>,
    scan: ScanId,
    accounts: Vec<AccountId>,
    pub tasks: Vec<Task>,
}

impl Fleet {
    pub async fn new(broker: &str, redis: &str, round: usize, tasks: usize) -> Self {
        let limits = RabbitOptions { max_length: 4_000_000, ..RabbitOptions::new(broker) };
        let queue = RabbitQueue::connect(limits).await.expect("the broker answers");
        let store = RedisStore::connect(RedisOptions { found: true, ..RedisOptions::new(redis) }).await;
        let scan: ScanId = format!("round-{round}").parse().expect("an id");
        let accounts: Vec<AccountId> =
            (0..ACCOUNTS).map(|n| format!("{:012}", 100_000_000_000 + n).parse().expect("twelve digits")).collect();
        let tasks = (0..tasks)
            .map(|n| {
                let (account, service) = (accounts[n % ACCOUNTS].clone(), format!("service-{}", n / ACCOUNTS));
                let cell = Cell { account, region: "eu-west-1".into(), service };
                Task::new(scan.clone(), TaskKind::Cell(cell), 1)
            })
            .collect();
        Self { queue, store: Arc::new(store.expect("the store answers")), scan, accounts, tasks }
    }

    /// As the coordinator does: a batch after the other, each confirmed.
    pub async fn publish(&self) -> Duration {
        let began = Instant::now();
        for batch in self.tasks.chunks(BATCH) {
            self.queue.publish(batch).await.expect("published");
        }
        began.elapsed()
    }

    /// The store learns of the cells.
    pub async fn plan(&self) {
        let (store, scan, at) = (&self.store, &self.scan, Timestamp::now());
        let spec = ScanSpec {
            id: scan.clone(),
            plan: "plan".into(),
            started_at: at,
            regions: Vec::new(),
            services: Vec::new(),
            catalogue: "catalogue".into(),
            operations: Vec::new(),
            profile: "full".into(),
            profile_file: None,
            out: "file:///nowhere".into(),
            accounts: ACCOUNTS as u64,
            lane: fleetscan_proto::Lane::Normal,
            deadline_seconds: None,
            scheduled: false,
        };
        store.create_scan(&spec, &self.accounts).await.expect("created");
        for account in &self.accounts {
            let regions = vec!["eu-west-1".to_owned()];
            let probe = Probe { regions, source: RegionSource::AccountListRegions, at, calls: 3 };
            assert!(store.record_probe(scan, account, 1, Ok(probe)).await.expect("recorded"));
            let own: Vec<Cell> = self.cells().filter(|cell| cell.account == *account).cloned().collect();
            store.plan_account(scan, account, &own).await.expect("planned");
        }
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.tasks.iter().filter_map(|task| match &task.kind {
            TaskKind::Cell(cell) => Some(cell),
            TaskKind::Probe { .. } => None,
        })
    }

    /// As a worker does with cells that need no call: begin, complete, acknowledge.
    pub async fn complete(&self) -> Duration {
        let began = Instant::now();
        let consumer = self.queue.consume("worker", PREFETCH, Shards::All).await.expect("consumes");
        let consumer: Arc<dyn TaskConsumer> = Arc::from(consumer);
        let mut under_way = JoinSet::new();
        for _ in 0..self.tasks.len() {
            let delivery = consumer.next().await.expect("the broker answers").expect("not closed");
            let (consumer, store) = (Arc::clone(&consumer), Arc::clone(&self.store));
            under_way.spawn(async move { one(&store, consumer.as_ref(), delivery).await });
            while let Some(done) = under_way.try_join_next() {
                done.expect("done");
            }
        }
        while let Some(done) = under_way.join_next().await {
            done.expect("done");
        }
        began.elapsed()
    }
}

async fn one(store: &RedisStore, consumer: &dyn TaskConsumer, delivery: Delivery) {
    let Task { scan, kind: TaskKind::Cell(cell), generation, .. } = delivery.task else { panic!("a cell") };
    let at = Timestamp::now();
    let begun = store.begin(&scan, &cell, generation, "worker", at).await.expect("begun");
    assert!(matches!(begun, Begin::Go { .. }), "{begun:?}");
    let line = LedgerLine {
        cell,
        outcome: Outcome::Complete,
        totals: WorkTotals { calls: 1, ..WorkTotals::default() },
        denied: Vec::new(),
        error: None,
        started_at: Some(at),
        attempts: 1,
        worker: "worker".into(),
        parts: Vec::new(),
        catalogue: None,
    };
    assert_eq!(store.complete(&scan, generation, &line).await.expect("completed"), Completion::First);
    consumer.ack(delivery.tag).await.expect("acknowledged");
}
