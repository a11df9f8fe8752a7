use super::{FleetFactory, account, at};
use fleetscan_proto::{
    AccountState, AccountStatus, Fleet, KillSwitch, Lane, Lease, Orders, ScanId, ScanSpec, ScanState, Store,
    WorkerReport,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::task::JoinSet;

/// Makes a test of every case. `$factory` is an expression that makes a factory of its own for each test, `$runtime`
/// the attribute of each test.
macro_rules! fleet_conformance {
    ($factory:expr, $runtime:meta) => {
        $crate::conformance::fleet::fleet_conformance!(@cases $factory, $runtime,
            the_clock_goes_on
            the_epoch_stays_while_the_memory_does
            a_lease_has_one_holder_at_a_time
            a_lease_ends_when_it_says
            the_same_holder_keeps_its_token
            an_ended_lease_is_anothers_under_a_higher_token
            who_let_its_lease_end_gets_a_higher_token
            renewing_answers_lease_by_lease
            a_renewed_lease_outlives_its_first_time
            a_lease_that_ended_is_not_renewed
            what_was_released_is_free_and_its_token_is_not_used_again
            only_its_holder_releases_a_lease
            leases_are_listed_by_prefix_and_name
            of_many_takers_one_gets_the_lease
            a_report_is_kept_whole_until_its_time
            workers_are_listed_by_name_until_they_retire
            a_switch_keeps_its_reason_and_time
            a_note_is_kept_until_it_is_replaced_or_removed
            orders_name_the_scans_that_run
            orders_count_what_ends_work_in_accounts
            a_memory_opened_again_knows_its_leases_and_orders
        );
    };
    (@cases $factory:expr, $runtime:meta, $($case:ident)*) => {
        $(#[$runtime]
        async fn $case() {
            $crate::conformance::fleet::$case(&$factory).await;
        })*
    };
}
pub(crate) use fleet_conformance;

/// What does not end during a case.
const LONG: Duration = Duration::from_secs(3_600);
/// What a store's clock may be rounded by.
const ROUNDED: SignedDuration = SignedDuration::from_millis(2);

async fn take(fleet: &impl Fleet, name: &str, holder: &str, ttl: Duration) -> Option<Lease> {
    fleet.take_lease(name, holder, ttl).await.expect("answers")
}

/// Takes a lease that is free.
async fn get(fleet: &impl Fleet, name: &str, holder: &str, ttl: Duration) -> Lease {
    take(fleet, name, holder, ttl).await.expect("it is free")
}

async fn renew(fleet: &impl Fleet, lease: &Lease, ttl: Duration) -> bool {
    let asked = [(lease.name.clone(), lease.token)];
    let answers = fleet.renew_leases(&lease.holder, &asked, ttl).await.expect("answers");
    assert_eq!(answers.len(), 1);
    answers[0]
}

async fn names(fleet: &impl Fleet, prefix: &str) -> Vec<String> {
    fleet.leases(prefix).await.expect("readable").into_iter().map(|lease| lease.name).collect()
}

/// Lets what was kept for [`FleetFactory::ttl`] end.
async fn outlast(factory: &impl FleetFactory) {
    factory.pass(factory.ttl() + Duration::from_millis(50)).await;
}

pub async fn the_clock_goes_on<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let before = fleet.now().await.expect("answers");
    factory.pass(Duration::from_millis(250)).await;
    let passed = fleet.now().await.expect("answers").duration_since(before);
    assert!(passed >= SignedDuration::from_millis(250) - ROUNDED, "{passed:?}");
}

pub async fn the_epoch_stays_while_the_memory_does<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let epoch = fleet.epoch().await.expect("answers");
    assert!(!epoch.is_empty());
    drop(fleet);
    assert_eq!(factory.open().await.epoch().await.expect("answers"), epoch);
}

pub async fn a_lease_has_one_holder_at_a_time<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let lease = get(&fleet, "coordinator", "one", LONG).await;
    assert_eq!((lease.name.as_str(), lease.holder.as_str()), ("coordinator", "one"));
    assert_eq!(take(&fleet, "coordinator", "other", LONG).await, None);
    let another = get(&fleet, "shard/7", "other", LONG).await;
    assert_eq!((another.name.as_str(), another.holder.as_str()), ("shard/7", "other"));
    assert_eq!(take(&fleet, "shard/7", "one", LONG).await, None);
    assert_eq!(fleet.leases("").await.expect("readable"), [lease, another]);
}

pub async fn a_lease_ends_when_it_says<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let time = async || fleet.now().await.expect("answers");
    let hour = SignedDuration::try_from(LONG).expect("small");
    let earliest = time().await + hour - ROUNDED;
    let lease = get(&fleet, "coordinator", "one", LONG).await;
    let latest = time().await + hour + ROUNDED;
    assert!((earliest..=latest).contains(&lease.until), "{} is not within {earliest} and {latest}", lease.until);
}

pub async fn the_same_holder_keeps_its_token<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let first = get(&fleet, "coordinator", "one", factory.ttl()).await;
    let again = get(&fleet, "coordinator", "one", LONG).await;
    assert_eq!(again.token, first.token);
    assert!(again.until > first.until);
    outlast(factory).await;
    assert_eq!(take(&fleet, "coordinator", "other", LONG).await, None, "it was prolonged");
    assert_eq!(fleet.leases("coordinator").await.expect("readable"), [again]);
}

pub async fn an_ended_lease_is_anothers_under_a_higher_token<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let first = get(&fleet, "coordinator", "one", factory.ttl()).await;
    assert_eq!(take(&fleet, "coordinator", "other", LONG).await, None);
    outlast(factory).await;
    assert_eq!(fleet.leases("").await.expect("readable"), []);
    let second = get(&fleet, "coordinator", "other", LONG).await;
    assert!(second.token > first.token, "{second:?} after {first:?}");
    assert_eq!(take(&fleet, "coordinator", "one", LONG).await, None);
    assert!(!renew(&fleet, &first, LONG).await, "it lost it");
    fleet.release_lease("coordinator", "one", first.token).await.expect("no error");
    assert_eq!(fleet.leases("").await.expect("readable"), [second], "what the first does no longer counts");
}

pub async fn who_let_its_lease_end_gets_a_higher_token<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let mut last = get(&fleet, "coordinator", "one", factory.ttl()).await;
    for _ in 0..2 {
        outlast(factory).await;
        let next = get(&fleet, "coordinator", "one", factory.ttl()).await;
        assert!(next.token > last.token, "{next:?} after {last:?}");
        last = next;
    }
}

pub async fn renewing_answers_lease_by_lease<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let mine = get(&fleet, "shard/1", "one", LONG).await;
    let others = get(&fleet, "shard/2", "other", LONG).await;
    let also_mine = get(&fleet, "shard/3", "one", LONG).await;
    let asked = [
        (also_mine.name.clone(), also_mine.token),
        (others.name.clone(), others.token),
        ("shard/4".to_owned(), 1),
        (mine.name.clone(), mine.token + 1),
        (mine.name.clone(), mine.token),
        (mine.name.clone(), mine.token.saturating_sub(1)),
    ];
    let answers = fleet.renew_leases("one", &asked, LONG).await.expect("answers");
    assert_eq!(answers, [true, false, false, false, true, false]);
    assert!(fleet.renew_leases("one", &[], LONG).await.expect("answers").is_empty());
    assert_eq!(names(&fleet, "").await, ["shard/1", "shard/2", "shard/3"], "renewing takes nothing");
}

pub async fn a_renewed_lease_outlives_its_first_time<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let lease = get(&fleet, "shard/1", "one", factory.ttl()).await;
    assert!(renew(&fleet, &lease, LONG).await);
    outlast(factory).await;
    assert_eq!(take(&fleet, "shard/1", "other", LONG).await, None);
    let listed = fleet.leases("").await.expect("readable");
    assert_eq!((listed[0].token, listed[0].holder.as_str()), (lease.token, "one"));
    assert!(listed[0].until > lease.until);
    assert!(renew(&fleet, &lease, factory.ttl()).await);
    outlast(factory).await;
    assert_eq!(names(&fleet, "").await, Vec::<String>::new(), "the last renewal counts");
}

pub async fn a_lease_that_ended_is_not_renewed<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let lease = get(&fleet, "shard/1", "one", factory.ttl()).await;
    outlast(factory).await;
    assert!(!renew(&fleet, &lease, LONG).await, "nobody took it, and yet another may have had it");
    assert_eq!(names(&fleet, "").await, Vec::<String>::new());
}

pub async fn what_was_released_is_free_and_its_token_is_not_used_again<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let mut token = 0;
    for holder in ["one", "other", "other"] {
        let lease = get(&fleet, "coordinator", holder, LONG).await;
        assert!(lease.token > token, "{lease:?}");
        token = lease.token;
        for _ in 0..2 {
            fleet.release_lease("coordinator", holder, token).await.expect("repeating is no error");
        }
        assert_eq!(fleet.leases("").await.expect("readable"), []);
        assert!(!renew(&fleet, &lease, LONG).await);
    }
    fleet.release_lease("shard/9", "one", 1).await.expect("one that never was is no error");
}

pub async fn only_its_holder_releases_a_lease<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let lease = get(&fleet, "coordinator", "one", LONG).await;
    for (holder, token) in [("other", lease.token), ("one", lease.token + 1), ("one", lease.token - 1)] {
        fleet.release_lease("coordinator", holder, token).await.expect("no error");
    }
    assert_eq!(fleet.leases("").await.expect("readable"), [lease]);
}

pub async fn leases_are_listed_by_prefix_and_name<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let all = ["a*", "a*b", "account/7", "coordinator", "shard/1", "shard/10", "shard/2", "shar_/1", "shard?1"];
    for name in all.iter().rev() {
        get(&fleet, name, "one", LONG).await;
    }
    get(&fleet, "shard/3", "one", factory.ttl()).await;
    let released = get(&fleet, "shard/4", "one", LONG).await;
    fleet.release_lease("shard/4", "one", released.token).await.expect("released");
    outlast(factory).await;
    assert_eq!(names(&fleet, "shard/").await, ["shard/1", "shard/10", "shard/2"]);
    assert_eq!(names(&fleet, "shard/1").await, ["shard/1", "shard/10"]);
    assert_eq!(names(&fleet, "a*").await, ["a*", "a*b"], "no character stands for others");
    assert_eq!(names(&fleet, "shar_").await, ["shar_/1"]);
    assert_eq!(names(&fleet, "shard?").await, ["shard?1"]);
    assert_eq!(names(&fleet, "Shard").await, Vec::<String>::new());
    let sorted: BTreeSet<_> = all.into_iter().collect();
    assert!(names(&fleet, "").await.iter().eq(sorted));
}

pub async fn of_many_takers_one_gets_the_lease<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let mut takers = JoinSet::new();
    for n in 0..32 {
        let fleet = fleet.clone();
        takers.spawn(async move { take(&fleet, "coordinator", &format!("holder-{n}"), LONG).await });
    }
    let taken: Vec<Lease> = takers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(fleet.leases("").await.expect("readable"), taken);
}

fn worker(name: &str) -> WorkerReport {
    WorkerReport {
        worker: name.into(),
        version: "0.1.0".into(),
        catalogue: "sha256:ab".into(),
        wire: 3,
        leaves: [7].into(),
        started_at: at(7),
        concurrency: 16,
        held: 40,
        in_work: 16,
        calls: u64::from(u32::MAX) + 5,
        throttled: 11,
        records: 12,
        calls_in_flight: 13,
        waited_ms: 14,
        shards: BTreeMap::from([(3, 0), (65_535, 12_000)]),
        wants: vec![4, 9],
        draining: true,
    }
}

pub async fn a_report_is_kept_whole_until_its_time<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let workers = async || fleet.workers().await.expect("readable");
    assert_eq!(workers().await, []);
    fleet.report(&worker("one"), factory.ttl()).await.expect("kept");
    fleet.report(&worker("other"), LONG).await.expect("kept");
    assert_eq!(workers().await, [worker("one"), worker("other")]);
    outlast(factory).await;
    assert_eq!(workers().await, [worker("other")], "who says nothing is gone");
    let idle = WorkerReport { held: 0, in_work: 0, shards: BTreeMap::new(), draining: false, ..worker("one") };
    fleet.report(&idle, factory.ttl()).await.expect("kept");
    fleet.report(&idle, LONG).await.expect("prolonged");
    outlast(factory).await;
    assert_eq!(workers().await, [idle, worker("other")], "and may come back");
}

pub async fn workers_are_listed_by_name_until_they_retire<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    for name in ["c", "a", "b"] {
        fleet.report(&worker(name), LONG).await.expect("kept");
    }
    assert_eq!(fleet.workers().await.expect("readable"), ["a", "b", "c"].map(worker));
    for _ in 0..2 {
        fleet.retire("b").await.expect("repeating is no error");
    }
    assert_eq!(fleet.workers().await.expect("readable"), ["a", "c"].map(worker));
}

fn switch(what: &str, reason: &str, since: Timestamp) -> KillSwitch {
    KillSwitch { what: what.into(), reason: reason.into(), since }
}

async fn orders(fleet: &impl Fleet) -> Orders {
    let mut orders = fleet.orders().await.expect("readable");
    orders.running.sort();
    orders.switches.sort_by(|a, b| a.what.cmp(&b.what));
    orders
}

pub async fn a_switch_keeps_its_reason_and_time<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    assert_eq!(orders(&fleet).await, Orders::default());
    let lambda = switch("lambda", "AWS says that it is \"unwell\"", at(1));
    let operation = switch("lambda:ListFunctions", "too many calls", at(2));
    for switch in [&operation, &lambda] {
        fleet.switch_off(switch).await.expect("kept");
    }
    fleet.switch_off(&switch("lambda", "another reason", at(9))).await.expect("no error");
    assert_eq!(orders(&fleet).await.switches, [lambda, operation.clone()]);
    assert!(fleet.switch_on("lambda").await.expect("answers"));
    assert!(!fleet.switch_on("lambda").await.expect("answers"), "it was on");
    assert!(!fleet.switch_on("sqs").await.expect("answers"), "it was never off");
    assert_eq!(orders(&fleet).await.switches, std::slice::from_ref(&operation));
    let again = switch("lambda", "another reason", at(9));
    fleet.switch_off(&again).await.expect("kept");
    assert_eq!(orders(&fleet).await.switches, [again, operation]);
}

pub async fn a_note_is_kept_until_it_is_replaced_or_removed<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let note = async |name: &str| fleet.note(name).await.expect("readable");
    assert_eq!(note("breaker").await, None);
    for text in ["{\"open\": true}", "closed"] {
        fleet.keep_note("breaker", Some(text)).await.expect("kept");
        assert_eq!(note("breaker").await.as_deref(), Some(text));
    }
    assert_eq!(note("another").await, None);
    for _ in 0..2 {
        fleet.keep_note("breaker", None).await.expect("removed");
        assert_eq!(note("breaker").await, None);
    }
}

fn scan_id(n: i64) -> ScanId {
    format!("scan-{n}").parse().expect("an id")
}

async fn create(store: &impl Store, n: i64) {
    let spec = ScanSpec {
        id: scan_id(n),
        plan: "plan".into(),
        started_at: at(n),
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
    store.create_scan(&spec, &[account(1)]).await.expect("created");
}

pub async fn orders_name_the_scans_that_run<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    for n in 1..=4 {
        create(&fleet, n).await;
    }
    create(&fleet, 2).await;
    let running = async || orders(&fleet).await.running;
    assert_eq!(running().await, [1, 2, 3, 4].map(scan_id));
    for (n, state) in [(1, ScanState::Finished), (2, ScanState::Cancelling), (3, ScanState::Cancelled)] {
        fleet.end_scan(&scan_id(n), state, at(50)).await.expect("ended");
    }
    assert_eq!(running().await, [scan_id(4)], "a scan that is being cancelled is left alone too");
    fleet.forget_scan(&scan_id(1)).await.expect("forgotten");
    assert_eq!(fleet.reopen_scan(&scan_id(3)).await.expect("answers"), Some(0));
    assert_eq!(running().await, [3, 4].map(scan_id));
    fleet.end_scan(&scan_id(4), ScanState::Lost, at(60)).await.expect("ended");
    assert_eq!(running().await, [scan_id(3)]);
}

pub async fn orders_count_what_ends_work_in_accounts<F: FleetFactory>(factory: &F) {
    use AccountState::{Active, Degraded, Disconnected, Paused, Pending, Revoked};
    let fleet = factory.open().await;
    // Each with whether it is a change that ends work.
    let changes = [
        (Pending, false),
        (Active, false),
        (Revoked, true),
        (Revoked, false),
        (Active, false),
        (Degraded, false),
        (Paused, true),
        (Paused, false),
        (Active, false),
        (Disconnected, true),
        (Disconnected, false),
        (Paused, true),
    ];
    let mut version = orders(&fleet).await.barred_version;
    for (n, (state, ends_work)) in changes.into_iter().enumerate() {
        let status = AccountStatus {
            account: account(1),
            state,
            since: at(i64::try_from(n).expect("small")),
            last_success: None,
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        };
        fleet.set_account_status(&status).await.expect("set");
        let now = orders(&fleet).await.barred_version;
        // A state that ends work may be told of again when it is written again: the first time may not have been heard.
        let again = !ends_work && matches!(state, Revoked | Paused | Disconnected);
        assert!(again || (now > version) == ends_work, "{state:?}, number {n}: from {version} to {now}");
        assert!(now >= version, "it never falls");
        version = now;
    }
    let first = AccountStatus {
        account: account(2),
        state: Revoked,
        since: at(1),
        last_success: None,
        denied: Vec::new(),
        evidence: BTreeMap::new(),
    };
    fleet.set_account_status(&first).await.expect("set");
    assert!(orders(&fleet).await.barred_version > version, "an account that is met for the first time");
}

pub async fn a_memory_opened_again_knows_its_leases_and_orders<F: FleetFactory>(factory: &F) {
    let fleet = factory.open().await;
    let lease = get(&fleet, "coordinator", "one", LONG).await;
    let ended = get(&fleet, "shard/1", "one", LONG).await;
    fleet.release_lease("shard/1", "one", ended.token).await.expect("released");
    fleet.switch_off(&switch("lambda", "unwell", at(1))).await.expect("kept");
    create(&fleet, 1).await;
    let before = orders(&fleet).await;
    drop(fleet);
    let fleet = factory.open().await;
    assert_eq!(fleet.leases("").await.expect("readable"), [lease]);
    assert_eq!(orders(&fleet).await, before);
    assert!(get(&fleet, "shard/1", "other", LONG).await.token > ended.token, "tokens never fall");
}
