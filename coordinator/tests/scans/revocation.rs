//! Denied accounts within whole scans, in virtual time.

use crate::world::{CELLS, Reply, World, id};
use fleetscan_proto::{AccountId, AccountState, Outcome, TaskKind};
use std::{
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio::time::Instant;

fn account(task: &TaskKind) -> &AccountId {
    match task {
        TaskKind::Probe { account } => account,
        TaskKind::Cell(cell) => &cell.account,
    }
}

fn answer(_: &TaskKind, _: Duration) -> Reply {
    Reply::Answer(1)
}

#[tokio::test(start_paused = true)]
async fn a_role_deleted_in_mid_scan_is_revoked_within_seconds_and_the_others_go_on() {
    let world = World::of(10);
    let script = |task: &TaskKind, _: Duration| match task {
        TaskKind::Cell(cell) if cell.account == id(3) && cell.service != "gamma" => Reply::Denied,
        _ => Reply::Answer(1),
    };
    let started = Instant::now();
    let (scan, manifest) = world.scan(script).await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(manifest.complete, "a revoked account is no hole");
    assert_eq!((manifest.cells["revoked"], manifest.cells["complete"]), (4, 10 * CELLS - 4));
    let status = world.store.account_status(&id(3)).await.unwrap().unwrap();
    assert_eq!(status.state, AccountState::Revoked);
    assert_eq!((status.evidence["code"].as_str(), status.evidence["tries"].as_str()), ("AccessDenied", "2"));
    assert!(world.store.open_denials(&scan, None).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_deleted_between_scans_is_revoked_by_one_probe_and_reinstated_by_another() {
    let mut world = World::of(4);
    world.scan(answer).await;
    world.restart().await;
    let gone = |task: &TaskKind, _: Duration| if *account(task) == id(2) { Reply::Denied } else { Reply::Answer(1) };
    let (scan, manifest) = world.scan(gone).await;
    assert!(manifest.complete);
    let status = world.store.account_status(&id(2)).await.unwrap().unwrap();
    assert_eq!((status.state, status.evidence["tries"].as_str()), (AccountState::Revoked, "2"));
    let lines = world.ledger(&scan).await;
    let revoked = lines.iter().filter(|line| line.outcome == Outcome::Revoked);
    assert!(revoked.clone().count() > 0 && revoked.clone().all(|line| line.cell.account == id(2)));
    let before = world.probes.load(SeqCst);
    world.restart().await;
    world.scan(gone).await;
    assert_eq!(world.probes.load(SeqCst) - before, 4, "one probe an account");
    world.restart().await;
    world.scan(answer).await;
    assert_eq!(world.state(2).await, Some(AccountState::Active));
    let states: Vec<_> = world.store.account_history(&id(2)).await.unwrap().iter().map(|change| change.to).collect();
    assert_eq!(states, [AccountState::Active, AccountState::Revoked, AccountState::Active]);
    let told: Vec<String> = world.events.events(0, 100).await.unwrap().into_iter().map(|one| one.event.kind).collect();
    let scan = "scan.finished";
    assert_eq!(told, [scan, "account.revoked", scan, scan, "account.reinstated", scan]);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_never_let_us_in_is_unconfirmed() {
    let world = World::of(2);
    let (_, manifest) =
        world.scan(|task, _| if *account(task) == id(1) { Reply::Denied } else { Reply::Answer(1) }).await;
    assert!(!manifest.complete);
    assert!(manifest.cells["unconfirmed"] > 0);
    assert_eq!(world.state(1).await, Some(AccountState::Pending));
}

#[tokio::test(start_paused = true)]
async fn many_denied_at_once_mark_nobody() {
    let mut world = World::of(12);
    world.scan(answer).await;
    world.restart().await;
    let ours = |task: &TaskKind, _: Duration| if *account(task) <= id(8) { Reply::Denied } else { Reply::Answer(1) };
    let (_, manifest) = world.scan(ours).await;
    assert_eq!(manifest.cells.get("revoked"), None);
    assert!(manifest.cells["unconfirmed"] > 0 && manifest.cells["complete"] == 4 * CELLS);
    for number in 1..=12 {
        assert_eq!(world.state(number).await, Some(AccountState::Active), "account {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_hub_marks_nobody() {
    let mut world = World::of(3);
    world.scan(answer).await;
    world.restart().await;
    world.hub.broken.store(true, SeqCst);
    let (_, manifest) =
        world.scan(|task, _| if *account(task) == id(1) { Reply::Denied } else { Reply::Answer(1) }).await;
    assert!(manifest.cells["unconfirmed"] > 0);
    assert_eq!(world.state(1).await, Some(AccountState::Active));
}

/// How the breaker stood, each time that it changed: why it was open, or that it was not.
fn watch_the_breaker(world: &World) -> Arc<Mutex<Vec<Option<String>>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (progress, told) = (world.progress.clone(), seen.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = progress.lock().unwrap().as_ref().map(|progress| progress.borrow().breaker_why.clone());
            let mut told = told.lock().unwrap();
            if let Some(now) = now
                && told.last() != Some(&now)
            {
                told.push(now);
            }
        }
    });
    seen
}

#[tokio::test(start_paused = true)]
async fn a_hub_whose_policy_is_lost_before_the_first_probe_opens_the_breaker_until_it_is_back() {
    for known in [true, false] {
        let mut world = World::of(9);
        if known {
            world.scan(answer).await;
            world.restart().await;
        }
        // So that the breaker is looked at before all is read.
        world.pace = Duration::from_secs(3);
        // For half an hour: longer than a verdict may be wanting.
        let script = |_: &TaskKind, since: Duration| match since < Duration::from_secs(1_800) {
            true => Reply::OurPolicy,
            false => Reply::Answer(1),
        };
        let seen = watch_the_breaker(&world);
        let (scan, manifest) = world.scan(script).await;
        assert_eq!(manifest.cells, [("complete".to_owned(), 9 * CELLS)].into());
        let why = Some("a policy of our own identity denies AssumeRole".to_owned());
        assert_eq!(*seen.lock().unwrap(), [None, why, None], "known: {known}");
        assert!(world.store.open_denials(&scan, None).await.unwrap().is_empty());
        for number in 1..=9 {
            let history = world.store.account_history(&id(number)).await.unwrap();
            assert_eq!(history.iter().map(|change| change.to).collect::<Vec<_>>(), [AccountState::Active]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_account_that_our_policy_does_not_cover_keeps_no_deleted_role_from_being_marked() {
    // Whether it is the first that is probed or the last.
    for (uncovered, deleted) in [(1, 5), (5, 1)] {
        let mut world = World::of(5);
        world.scan(answer).await;
        world.restart().await;
        let script = move |task: &TaskKind, _: Duration| match account(task) {
            account if *account == id(uncovered) => Reply::OurPolicy,
            account if *account == id(deleted) => Reply::Denied,
            _ => Reply::Answer(1),
        };
        let seen = watch_the_breaker(&world);
        let started = Instant::now();
        let ((scan, manifest), marked) = tokio::join!(world.scan(script), async {
            while world.state(deleted).await != Some(AccountState::Revoked) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            started.elapsed()
        });
        assert!(marked < Duration::from_secs(10), "{marked:?}");
        assert!(started.elapsed() < Duration::from_secs(15 * 60), "{:?}", started.elapsed());
        assert_eq!(*seen.lock().unwrap(), [None], "our side is not in doubt");
        assert_eq!(manifest.cells["complete"], 3 * CELLS);
        assert!(manifest.cells["unconfirmed"] > 0 && manifest.cells["revoked"] > 0, "{:?}", manifest.cells);
        let lines = world.ledger(&scan).await;
        let unconfirmed = lines.iter().filter(|line| line.outcome == Outcome::Unconfirmed);
        assert!(unconfirmed.clone().all(|line| line.cell.account == id(uncovered)));
        assert_eq!(world.state(uncovered).await, Some(AccountState::Active));
        assert!(world.store.open_denials(&scan, None).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_ours_that_is_lost_in_mid_scan_marks_nobody() {
    let mut world = World::of(9);
    world.scan(answer).await;
    world.restart().await;
    world.pace = Duration::from_secs(7);
    const LOST: std::ops::Range<Duration> = Duration::from_secs(12)..Duration::from_secs(1_200);
    // Named by AWS for some, and not for others.
    let script = |task: &TaskKind, since: Duration| match LOST.contains(&since) {
        true if *account(task) <= id(6) => Reply::OurPolicy,
        true => Reply::Denied,
        false => Reply::Answer(1),
    };
    world.scan(script).await;
    for number in 1..=9 {
        assert_eq!(world.state(number).await, Some(AccountState::Active), "account {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_fails_before_the_first_probe_opens_the_breaker_until_it_works() {
    let mut world = World::of(4);
    world.scan(answer).await;
    world.restart().await;
    world.hub.broken.store(true, SeqCst);
    // The hub is asked again before all is read.
    world.pace = Duration::from_secs(3);
    let hub = world.hub.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(300)).await;
        hub.broken.store(false, SeqCst);
    });
    // A worker without credentials of its own puts each probe off.
    let script = |_: &TaskKind, since: Duration| match since < Duration::from_secs(300) {
        true => Reply::Defer(15),
        false => Reply::Answer(1),
    };
    let seen = watch_the_breaker(&world);
    let (_, manifest) = world.scan(script).await;
    assert!(manifest.complete);
    let why = Some("our own identity, or a canary, does not work".to_owned());
    assert_eq!(*seen.lock().unwrap(), [None, why, None]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_our_own_policy_denies_at_the_deadline_is_unconfirmed() {
    let mut world = World::of(2);
    world.options.deadline = Duration::from_secs(600);
    let (_, manifest) =
        world.scan(|task, _| if *account(task) == id(1) { Reply::OurPolicy } else { Reply::Answer(1) }).await;
    assert!(!manifest.complete);
    assert_eq!(manifest.cells["complete"], CELLS);
    assert!(manifest.cells["unconfirmed"] > 0, "{:?}", manifest.cells);
}

#[tokio::test(start_paused = true)]
async fn cells_go_on_when_what_broke_on_our_side_is_mended() {
    let world = World::of(9);
    // For three minutes after the start AssumeRole is denied for six accounts, once each is admitted.
    let script = |task: &TaskKind, since: Duration| match task {
        TaskKind::Cell(cell) if cell.account <= id(6) && since < Duration::from_secs(180) => Reply::Denied,
        _ => Reply::Answer(1),
    };
    let (_, manifest) = world.scan(script).await;
    assert!(manifest.complete, "{:?}", manifest.cells);
    assert_eq!(manifest.cells["complete"], 9 * CELLS);
}

#[tokio::test(start_paused = true)]
async fn accounts_denied_while_something_of_ours_was_broken_are_asked_again_before_any_is_marked() {
    const BROKEN: Duration = Duration::from_secs(180);
    for in_mid_scan in [false, true] {
        let mut world = World::of(9);
        world.scan(answer).await;
        world.restart().await;
        world.hub.broken.store(true, SeqCst);
        let hub = world.hub.clone();
        tokio::spawn(async move {
            tokio::time::sleep(BROKEN).await;
            hub.broken.store(false, SeqCst);
        });
        // Three are denied for as long as the hub is broken; one of them for good.
        let script = move |task: &TaskKind, since: Duration| match task {
            TaskKind::Probe { .. } if in_mid_scan => Reply::Answer(1),
            _ if *account(task) == id(1) => Reply::Denied,
            _ if *account(task) <= id(3) && since < BROKEN => Reply::Denied,
            _ => Reply::Answer(1),
        };
        let (_, manifest) = world.scan(script).await;
        assert!(manifest.complete, "{:?}", manifest.cells);
        assert_eq!(manifest.cells["complete"], 8 * CELLS, "in mid-scan: {in_mid_scan}");
        assert_eq!(world.state(1).await, Some(AccountState::Revoked), "this one did leave");
        for number in 2..=9 {
            assert_eq!(world.state(number).await, Some(AccountState::Active), "account {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_customer_who_removes_three_hundred_accounts_opens_no_breaker() {
    let mut world = World::of_customers(400, |number| if number <= 300 { "leaver" } else { "others" });
    world.scan(answer).await;
    world.restart().await;
    let gone = |task: &TaskKind, _: Duration| if *account(task) <= id(300) { Reply::Denied } else { Reply::Answer(1) };
    let started = Instant::now();
    let (_, manifest) = world.scan(gone).await;
    assert!(manifest.complete, "revoked accounts are no holes: {:?}", manifest.cells);
    assert_eq!(manifest.cells["complete"], 100 * CELLS);
    for number in [1, 150, 300] {
        assert_eq!(world.state(number).await, Some(AccountState::Revoked));
    }
    assert!(started.elapsed() < Duration::from_secs(120), "none waited for a breaker: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_import_before_its_stack_set_has_run_opens_no_breaker() {
    let world = World::of(50);
    // Forty were never let in; one of the others leaves in mid-scan, and is noticed.
    let script = |task: &TaskKind, _: Duration| match task {
        TaskKind::Probe { account } if *account <= id(40) => Reply::Denied,
        TaskKind::Cell(cell) if cell.account == id(45) => Reply::Denied,
        _ => Reply::Answer(1),
    };
    let (_, manifest) = world.scan(script).await;
    assert_eq!(world.state(45).await, Some(AccountState::Revoked));
    assert_eq!(world.state(1).await, Some(AccountState::Pending));
    assert!(manifest.cells["unconfirmed"] > 0 && manifest.cells["complete"] == 9 * CELLS);
}

#[tokio::test(start_paused = true)]
async fn a_detached_policy_degrades_and_its_return_restores() {
    let mut world = World::of(2);
    let detached = |task: &TaskKind, _: Duration| match task {
        TaskKind::Cell(cell) if cell.account == id(1) && cell.service == "alpha" => Reply::Detached,
        _ => Reply::Answer(1),
    };
    let (_, manifest) = world.scan(detached).await;
    assert_eq!(manifest.cells["denied"], 2);
    let status = world.store.account_status(&id(1)).await.unwrap().unwrap();
    assert_eq!((status.state, status.denied.len()), (AccountState::Degraded, 1));
    world.restart().await;
    world.scan(answer).await;
    assert_eq!(world.state(1).await, Some(AccountState::Active));
}
