//! A scan without AWS: the embedded queue and store, a sink in memory, and a worker that answers as it is told.

mod awake;
mod sink;
mod watched;

use async_trait::async_trait;
use fleetscan_backends::{
    embedded::{EmbeddedQueue, EmbeddedStore},
    memory::MemoryStore,
};
use fleetscan_coordinator::{
    HubCheck, Progress, Registry, ScanEnd, ScanError, ScanOptions, ScanParts, ScanRequest, ScanRunner,
};
use fleetscan_proto::{
    Account, AccountId, AssumeDenial, Begin, Cell, Clock, Completion, EventTrail, Fleet, Grant, LedgerLine, Manifest,
    Outcome, PartName, Probe, ProbeFailure, RegionSource, ResultPaths, ScanId, Secret, Shards, Store, Task,
    TaskConsumer, TaskKind, TaskQueue, WorkTotals, catalogue::Catalogue,
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
pub use sink::MemorySink;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
pub use watched::{Watch, WatchedStore};

/// Two regional services and a global one.
const SERVICES: [(&str, &str); 3] = [("alpha", "regional"), ("beta", "regional"), ("gamma", "global")];
pub const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
/// Cells of an account: two services in two regions, and one global.
pub const CELLS: u64 = 5;

pub fn catalogue() -> Catalogue {
    let files: Vec<(String, String)> = SERVICES
        .iter()
        .map(|(id, scope)| {
            let home = if *scope == "global" { "home = \"us-east-1\"\n" } else { "" };
            let text = format!(
                "service = \"{id}\"\ntitle = \"{id}\"\nprotocol = \"rest-json\"\nscope = \"{scope}\"\n{home}[[limit]]\ngroup = \
                 \"all\"\nrate = 10\nsource = \"test\"\n[[operation]]\nname = \"ListThings\"\nhttp = \"GET /things\"\nitems = \
                 \"Things\"\nrecord = {{ type = \"AWS::{id}::Thing\", id = \"Id\" }}\n"
            );
            (format!("{id}.toml"), text)
        })
        .collect();
    Catalogue::from_files(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).expect("a sound catalogue")
}

/// Follows Tokio's clock, so that paused time is one time.
pub struct TestClock {
    base: Timestamp,
    started: Instant,
}
impl TestClock {
    pub fn start() -> Arc<Self> {
        Arc::new(Self { base: "2026-01-31T12:00:00Z".parse().expect("time"), started: Instant::now() })
    }
}
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.base + SignedDuration::try_from(self.started.elapsed()).expect("short")
    }
}

#[derive(Default)]
pub struct TestHub {
    pub broken: AtomicBool,
}
#[async_trait]
impl HubCheck for TestHub {
    async fn check(&self) -> Result<(), String> {
        if self.broken.load(SeqCst) { Err("broken".to_owned()) } else { Ok(()) }
    }
}

/// What the worker does with a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply {
    /// The probe succeeds; the cell is complete, with this many records.
    Answer(u64),
    /// The same without records; it says that the cell took so many seconds.
    Took(f64),
    /// AssumeRole is denied.
    Denied,
    /// AssumeRole is denied by a policy of our own identity.
    OurPolicy,
    /// Some action is denied.
    Detached,
    /// AWS throttles it for so many seconds.
    Defer(u64),
}

type Script = dyn Fn(&TaskKind, Duration) -> Reply + Send + Sync;

pub struct World {
    pub store: Arc<dyn Store>,
    pub events: Arc<dyn EventTrail>,
    pub notes: Arc<dyn Fleet>,
    pub queue: Arc<dyn TaskQueue>,
    pub sink: Arc<MemorySink>,
    pub clock: Arc<TestClock>,
    pub hub: Arc<TestHub>,
    pub catalogue: Arc<Catalogue>,
    pub registry: Arc<Registry>,
    pub options: ScanOptions,
    pub fresh: bool,
    /// Cells read so far, and how often.
    pub read: Arc<Mutex<BTreeMap<Cell, u32>>>,
    /// Probes answered.
    pub probes: Arc<AtomicU64>,
    /// How long the worker takes for a task.
    pub pace: Duration,
    /// How the scan under way stands.
    pub progress: Arc<Mutex<Option<watch::Receiver<Progress>>>>,
    folder: tempfile::TempDir,
}

pub fn id(number: u64) -> AccountId {
    format!("{number:012}").parse().expect("id")
}

fn opened(folder: &tempfile::TempDir) -> (Arc<dyn Store>, Arc<dyn EventTrail>) {
    let store = EmbeddedStore::open(folder.path()).expect("opens");
    let store = Arc::new(WatchedStore { store, watch: awake::KeepAwake });
    (store.clone(), store)
}

impl World {
    pub fn of(accounts: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, events) = opened(&folder);
        Self {
            store,
            events,
            notes: Arc::new(MemoryStore::default()),
            queue: Arc::new(EmbeddedQueue::new(10_000)),
            sink: Arc::default(),
            clock: TestClock::start(),
            hub: Arc::default(),
            catalogue: Arc::new(catalogue()),
            registry: Arc::new(Registry::new((1..=accounts).map(account).collect())),
            options: ScanOptions::default(),
            fresh: false,
            read: Arc::default(),
            probes: Arc::default(),
            pace: Duration::from_millis(50),
            progress: Arc::default(),
            folder,
        }
    }

    /// Accounts of the customers that `customer` names.
    pub fn of_customers(accounts: u64, customer: impl Fn(u64) -> &'static str) -> Self {
        let named = |number| Account { customer: Some(customer(number).to_owned()), ..account(number) };
        Self { registry: Arc::new(Registry::new((1..=accounts).map(named).collect())), ..Self::of(0) }
    }

    pub fn runner(&self) -> ScanRunner {
        let parts = ScanParts {
            fleet: None,
            queue: self.queue.clone(),
            store: self.store.clone(),
            events: self.events.clone(),
            notes: self.notes.clone(),
            sink: self.sink.clone(),
            hub: self.hub.clone(),
            clock: self.clock.clone(),
            catalogue: self.catalogue.clone(),
            accounts: self.registry.clone(),
        };
        let request = ScanRequest { out: "memory".into(), fresh: self.fresh, share: 0.5, ..ScanRequest::default() };
        ScanRunner::new(parts, request, self.options.clone())
    }

    /// What a killed process leaves: the store and the results, and nothing of the queue.
    pub async fn restart(&mut self) {
        // A process takes its store's threads along when it is killed. Here they live on, with requests of callers that
        // are gone: one that ran late would write beside the new store. This request is behind them all.
        self.store.keep_learned(&id(0), &[]).await.expect("the store is through");
        self.queue = Arc::new(EmbeddedQueue::new(10_000));
        (self.store, self.events) = opened(&self.folder);
    }

    /// Scans with four fake workers, until the end or `stop`.
    pub async fn scan_until(
        &self,
        stop: CancellationToken,
        script: impl Fn(&TaskKind, Duration) -> Reply + Send + Sync + 'static,
    ) -> Result<(ScanId, ScanEnd), ScanError> {
        let runner = self.runner();
        *self.progress.lock().expect("progress") = Some(runner.progress());
        let opened = runner.open(&self.registry).await?;
        let script: Arc<Script> = Arc::new(script);
        let mut workers = tokio::task::JoinSet::new();
        for number in 0..4 {
            let consumer = self.queue.consume(&format!("w{number}"), 4, Shards::All).await.expect("consumes");
            let worker = FakeWorker {
                store: self.store.clone(),
                sink: self.sink.clone(),
                clock: self.clock.clone(),
                read: self.read.clone(),
                probes: self.probes.clone(),
                pace: self.pace,
                script: script.clone(),
                started: Instant::now(),
            };
            workers.spawn(async move { worker.run(consumer).await });
        }
        let end = runner.run(&opened, stop).await;
        workers.shutdown().await;
        Ok((opened.spec.id, end?))
    }

    pub async fn scan(
        &self,
        script: impl Fn(&TaskKind, Duration) -> Reply + Send + Sync + 'static,
    ) -> (ScanId, Manifest) {
        let (id, end) = self.scan_until(CancellationToken::new(), script).await.expect("ends");
        match end {
            ScanEnd::Finished(manifest) => (id, *manifest),
            ScanEnd::Interrupted => panic!("nobody stopped it"),
        }
    }

    /// The ledger file of a scan.
    pub async fn ledger(&self, scan: &ScanId) -> Vec<LedgerLine> {
        let path = ResultPaths(scan).ledger();
        let lines = fleetscan_coordinator::read_ledger(self.sink.as_ref(), &path).await.expect("a ledger");
        lines.map(|line| line.expect("a line")).collect()
    }

    pub async fn state(&self, account: u64) -> Option<fleetscan_proto::AccountState> {
        self.store.account_status(&id(account)).await.expect("status").map(|status| status.state)
    }
}

fn account(number: u64) -> Account {
    Account {
        id: id(number),
        grant: Grant {
            role_arn: Secret::new(format!("arn:aws:iam::{}:role/R", id(number))),
            external_id: Secret::new("abcdefghijklmnop"),
        },
        name: None,
        customer: None,
        regions: Vec::new(),
        cloudtrail_bucket: None,
    }
}

struct FakeWorker {
    store: Arc<dyn Store>,
    sink: Arc<MemorySink>,
    clock: Arc<TestClock>,
    read: Arc<Mutex<BTreeMap<Cell, u32>>>,
    probes: Arc<AtomicU64>,
    pace: Duration,
    script: Arc<Script>,
    started: Instant,
}

impl FakeWorker {
    async fn run(&self, consumer: Box<dyn TaskConsumer>) {
        while let Ok(Some(delivery)) = consumer.next().await {
            tokio::time::sleep(self.pace).await;
            let reply = (self.script)(&delivery.task.kind, self.started.elapsed());
            let Task { scan, kind, generation, .. } = delivery.task.clone();
            let put_off = match kind {
                TaskKind::Probe { account } => self.probe(&scan, &account, generation, reply).await,
                TaskKind::Cell(cell) => self.cell(&scan, &cell, generation, reply).await,
            };
            match put_off {
                None => consumer.ack(delivery.tag).await.expect("acks"),
                Some((generation, wait)) => {
                    let again = Task { generation, ..delivery.task };
                    consumer.defer(delivery.tag, again, wait).await.expect("defers");
                }
            }
        }
    }

    async fn probe(&self, scan: &ScanId, account: &AccountId, gen_: u64, reply: Reply) -> Option<(u64, Duration)> {
        self.probes.fetch_add(1, SeqCst);
        self.store.count_assume_role(scan, 1).await.expect("counted");
        let at = self.clock.now();
        let found = match reply {
            Reply::Denied => Err(ProbeFailure {
                outcome: Outcome::Unconfirmed,
                reason: "AssumeRole was denied".into(),
                code: Some("AccessDenied".into()),
                request_id: None,
                tries: 2,
                at,
            }),
            Reply::Defer(seconds) => return Some((gen_, Duration::from_secs(seconds))),
            Reply::OurPolicy => {
                let denial = AssumeDenial { our_fault: true, ..self.denial(scan, account, AssumeDenial::PROBE) };
                self.store.open_denial(&denial).await.expect("opened");
                return Some((gen_, Duration::from_secs(15)));
            }
            _ => Ok(Probe {
                regions: REGIONS.map(str::to_owned).to_vec(),
                source: RegionSource::AccountListRegions,
                at,
                calls: 1,
            }),
        };
        self.store.record_probe(scan, account, gen_, found).await.expect("recorded");
        None
    }

    async fn cell(&self, scan: &ScanId, cell: &Cell, gen_: u64, reply: Reply) -> Option<(u64, Duration)> {
        let store = &self.store;
        let attempts = match store.begin(scan, cell, gen_, "w", self.clock.now()).await.expect("begins") {
            Begin::Go { attempts, .. } => attempts,
            Begin::Denied => return Some((gen_, Duration::from_secs(2))),
            Begin::Done | Begin::Stale => return None,
        };
        let seconds = if let Reply::Took(seconds) = reply { seconds } else { 0.1 };
        let (outcome, records, denied) = match reply {
            Reply::Answer(records) => (Outcome::Complete, records, vec![]),
            Reply::Took(_) => (Outcome::Complete, 0, vec![]),
            Reply::Detached => (Outcome::Denied, 0, vec![denial("alpha:ListThings")]),
            Reply::Defer(seconds) => return Some((gen_, Duration::from_secs(seconds))),
            Reply::Denied | Reply::OurPolicy => {
                let our_fault = reply == Reply::OurPolicy;
                let denial = self.denial(scan, &cell.account, &cell.to_string());
                store.open_denial(&AssumeDenial { our_fault, ..denial }).await.expect("opened");
                return Some((gen_, Duration::from_secs(2)));
            }
        };
        *self.read.lock().expect("lock").entry(cell.clone()).or_default() += 1;
        let parts = if records == 0 { vec![] } else { vec![self.part(scan, cell, records).await] };
        let line = LedgerLine {
            cell: cell.clone(),
            outcome,
            totals: WorkTotals { calls: 1, throttled: 0, records, seconds },
            denied,
            error: None,
            started_at: Some(self.clock.now()),
            attempts,
            worker: "w".into(),
            parts,
            catalogue: None,
        };
        let done = store.complete(scan, gen_, &line).await.expect("completes");
        assert_ne!(done, Completion::Duplicate);
        None
    }

    fn denial(&self, scan: &ScanId, account: &AccountId, doing: &str) -> AssumeDenial {
        AssumeDenial {
            scan: scan.clone(),
            account: account.clone(),
            at: self.clock.now(),
            code: "AccessDenied".into(),
            request_id: Some("r-1".into()),
            tries: 2,
            doing: doing.to_owned(),
            our_fault: false,
        }
    }

    async fn part(&self, scan: &ScanId, cell: &Cell, records: u64) -> PartName {
        let text: String =
            (0..records).map(|n| format!("{{\"type\":\"AWS::{}::Thing\",\"id\":\"{n}\"}}\n", cell.service)).collect();
        let bytes = zstd::encode_all(text.as_bytes(), 1).expect("packs");
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let name = format!("part-{:08x}-0000.jsonl.zst", rand::random::<u32>());
        self.sink.put(&ResultPaths(scan).part(cell, &name), bytes);
        PartName { name, records, sha256 }
    }
}

fn denial(action: &str) -> fleetscan_proto::Denial {
    fleetscan_proto::Denial { action: action.into(), by: fleetscan_proto::DeniedBy::Identity }
}
