//! Whole scans in virtual time: created, resumed, fed within the window, reconciled and finished.

use crate::world::{CELLS, Reply, World, id};
use fleetscan_coordinator::{ScanEnd, ScanError};
use fleetscan_proto::{AccountState, Cell, Outcome, ResultPaths, ScanState, Shards, Sink as _, TaskKind};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[tokio::test(start_paused = true)]
async fn a_scan_ends_with_a_line_for_each_cell_and_a_manifest_that_counts_them() {
    let world = World::of(3);
    let (scan, manifest) = world.scan(|_, _| Reply::Answer(2)).await;
    assert!(manifest.complete);
    assert_eq!((manifest.accounts, manifest.cells["complete"]), (3, 3 * CELLS));
    assert_eq!(manifest.records["AWS::alpha::Thing"], 3 * 2 * 2);
    assert_eq!(manifest.records["AWS::gamma::Thing"], 3 * 2);
    assert_eq!((manifest.assume_role_calls, manifest.regions_from["account_list_regions"]), (Some(3), 3));
    let ledger = world.ledger(&scan).await;
    let cells: BTreeSet<&Cell> = ledger.iter().map(|line| &line.cell).collect();
    assert_eq!((ledger.len(), cells.len()), (15, 15));
    assert_eq!(world.state(1).await, Some(AccountState::Active));
    assert_eq!(world.store.scan(&scan).await.unwrap().unwrap().state, ScanState::Finished);
}

#[tokio::test(start_paused = true)]
async fn files_that_no_ledger_line_lists_are_gone_at_the_end() {
    let mut world = World::of(1);
    let stop = CancellationToken::new();
    stop.cancel();
    let (scan, _) = world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap();
    let cell = Cell::new(id(1), "eu-west-1", "alpha");
    let stray = ResultPaths(&scan).part(&cell, "part-stray-0000.jsonl.zst");
    world.sink.put(&stray, b"left by a killed worker".to_vec());
    world.restart();
    let (again, _) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_eq!(scan, again);
    let paths = world.sink.paths();
    assert!(!paths.contains(&stray));
    assert_eq!(paths.iter().filter(|path| path.contains("/records/")).count() as u64, CELLS);
}

#[tokio::test(start_paused = true)]
async fn files_that_could_not_be_removed_are_owned_up_to() {
    let mut world = World::of(2);
    let stop = CancellationToken::new();
    stop.cancel();
    let (scan, _) = world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap();
    let stray = ResultPaths(&scan).part(&Cell::new(id(1), "eu-west-1", "alpha"), "part-stray-0000.jsonl.zst");
    world.sink.put(&stray, b"left by a killed worker".to_vec());
    world.sink.refuse_removing();
    world.restart();
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(manifest.complete);
    assert_eq!(manifest.untidied, 1);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_another_process_ends_meanwhile_loses_no_files() {
    let mut world = World::of(1);
    world.sink.refuse(Some("manifest.json"));
    let (scan, _) = {
        let _ = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
        let row = world.store.scans().await.unwrap().remove(0);
        (row.spec.id, row.state)
    };
    world.sink.refuse(None);
    let stray = ResultPaths(&scan).part(&Cell::new(id(1), "eu-west-1", "alpha"), "part-of-theirs-0000.jsonl.zst");
    world.sink.put(&stray, b"listed by the other's ledger".to_vec());
    world.restart();
    // While its parts are asked for again.
    world.sink.fail_reads(3);
    let store = world.store.clone();
    let ended = scan.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        store.end_scan(&ended, ScanState::Finished, "2026-01-31T13:00:00Z".parse().unwrap()).await.unwrap();
    });
    let end = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    assert!(matches!(end, Err(ScanError::Refused(_))), "{end:?}");
    assert!(world.sink.paths().contains(&stray));
}

#[tokio::test(start_paused = true)]
async fn a_killed_scan_goes_on_where_it_was_and_reads_no_complete_cell_again() {
    let mut world = World::of(20);
    let mut kills = 0;
    let (scan, manifest) = loop {
        let stop = CancellationToken::new();
        let killer = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            killer.cancel();
        });
        match world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap() {
            (scan, ScanEnd::Finished(manifest)) => break (scan, manifest),
            (_, ScanEnd::Interrupted) => kills += 1,
        }
        world.restart();
        assert!(kills < 20, "it never ends");
    };
    assert!(kills >= 2, "killed {kills} times");
    assert!(manifest.complete);
    assert_eq!(manifest.cells["complete"], 20 * CELLS);
    assert_eq!(world.ledger(&scan).await.len() as u64, 20 * CELLS);
    let read = world.read.lock().unwrap();
    assert_eq!(read.len() as u64, 20 * CELLS);
    assert!(read.values().all(|times| *times == 1), "a complete cell was read again");
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_died_while_finalising_is_finished_by_the_next_run() {
    let mut world = World::of(2);
    world.sink.refuse(Some("manifest.json"));
    let died = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    assert!(matches!(died, Err(ScanError::Sink(_))), "{died:?}");
    world.sink.refuse(None);
    world.restart();
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete);
    assert_eq!(manifest.records.values().sum::<u64>(), 2 * CELLS);
}

/// Everything is read, and the scan cannot be ended.
async fn all_but_ended(world: &mut World) {
    world.sink.refuse(Some("manifest.json"));
    let _ = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    world.sink.refuse(None);
}

/// So it stands, and a part is damaged before another process goes on.
async fn damaged_before_its_end(world: &mut World) {
    all_but_ended(world).await;
    let part = world.sink.paths().into_iter().find(|path| path.contains("/records/")).unwrap();
    world.sink.put(&part, b"damaged".to_vec());
    world.restart();
}

#[tokio::test(start_paused = true)]
async fn a_cell_whose_part_is_damaged_is_read_anew() {
    let mut world = World::of(1);
    damaged_before_its_end(&mut world).await;
    let (scan, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(manifest.complete);
    assert_eq!(manifest.records.values().sum::<u64>(), CELLS);
    let read = world.read.lock().unwrap().clone();
    assert_eq!(read.values().copied().collect::<Vec<_>>(), [2, 1, 1, 1, 1]);
    let ledger = world.ledger(&scan).await;
    assert_eq!((ledger[0].attempts, ledger[0].outcome), (2, Outcome::Complete));
    let paths = world.sink.paths();
    assert_eq!(paths.iter().filter(|path| path.contains("/records/")).count() as u64, CELLS, "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cell_whose_parts_can_never_be_read_ends_failed() {
    let world = World::of(2);
    let unreadable = "cell_account=a000000000001/cell_region=eu-west-1/cell_service=alpha";
    world.sink.refuse_reading(Some(unreadable));
    let (scan, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(!manifest.complete);
    assert_eq!((manifest.cells["complete"], manifest.cells["failed"]), (2 * CELLS - 1, 1));
    let ledger = world.ledger(&scan).await;
    let failed = &ledger[0];
    assert_eq!((failed.outcome, failed.attempts, failed.totals.records), (Outcome::Failed, 4, 0));
    assert!(failed.parts.is_empty() && failed.error.as_ref().unwrap().contains("permission denied"), "{failed:?}");
    assert!(!world.sink.paths().iter().any(|path| path.contains(unreadable)), "what does not count is removed");
    assert_eq!(manifest.records.values().sum::<u64>(), 2 * CELLS - 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_scan_ends_though_a_part_cannot_be_read() {
    let world = World::of(1);
    let (store, sink) = (world.store.clone(), world.sink.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let part = sink.paths().into_iter().find(|path| path.contains("/records/")).unwrap();
        sink.put(&part, b"damaged".to_vec());
        let scan = store.scans().await.unwrap().remove(0).spec;
        store.end_scan(&scan.id, ScanState::Cancelling, scan.started_at).await.unwrap();
    });
    let script = |task: &TaskKind, _: Duration| match task {
        TaskKind::Cell(cell) if cell.service == "beta" => Reply::Defer(3_600),
        _ => Reply::Answer(1),
    };
    let (scan, manifest) = world.scan(script).await;
    assert_eq!(world.store.scan(&scan).await.unwrap().unwrap().state, ScanState::Cancelled);
    assert_eq!((manifest.cells["failed"], manifest.cells["cancelled"], manifest.cells["complete"]), (1, 2, 2));
    let ledger = world.ledger(&scan).await;
    assert!(ledger[0].error.as_ref().unwrap().contains("SHA-256"), "{:?}", ledger[0]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_without_any_of_the_files_is_waited_for_until_the_deadline() {
    let mut world = World::of(1);
    all_but_ended(&mut world).await;
    let files = world.sink.take("/records/");
    world.restart();
    let ended = world.scan_until(CancellationToken::new(), |_, _| panic!("nothing is read anew")).await;
    let why = ended.map(drop).expect_err("it waits").to_string();
    assert!(why.contains("none of the scan's files is at memory://"), "{why}");
    for (path, bytes) in files {
        world.sink.put(&path, bytes);
    }
    world.restart();
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete, "it was mounted again");
    world.restart();
    (world.fresh, world.options.deadline) = (true, Duration::from_secs(60));
    world.sink.refuse(Some("manifest.json"));
    let sink = world.sink.clone();
    let _ = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    sink.refuse(None);
    sink.take("/records/");
    world.restart();
    (world.fresh, world.options.deadline) = (false, Duration::ZERO);
    let (_, manifest) = world.scan(|_, _| panic!("it is too late")).await;
    assert_eq!(manifest.cells, [("failed".to_owned(), CELLS)].into());
}

#[tokio::test(start_paused = true)]
async fn files_that_are_gone_are_read_anew_though_a_whole_page_of_the_ledger_lists_only_them() {
    // More lines than a page of the ledger has, and what is left is on the second.
    let mut world = World::of(54);
    all_but_ended(&mut world).await;
    for number in 1..=52 {
        assert!(!world.sink.take(&format!("cell_account=a{}", id(number))).is_empty());
    }
    world.restart();
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(manifest.complete);
    assert_eq!(manifest.records.values().sum::<u64>(), 54 * CELLS);
    let read = world.read.lock().unwrap();
    for (cell, times) in read.iter() {
        assert_eq!(*times, if cell.account <= id(52) { 2 } else { 1 }, "{cell}");
    }
}

#[tokio::test(start_paused = true)]
async fn results_that_were_away_for_as_long_as_parts_are_asked_for_open_no_cell_again() {
    let world = World::of(2);
    // Four parts are read at once, five times each: the last try of one of them fails, and the next read succeeds.
    world.sink.fail_reads(4 * 4 + 1);
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(manifest.complete);
    assert!(world.read.lock().unwrap().values().all(|times| *times == 1), "a sound cell was read again");
}

#[tokio::test(start_paused = true)]
async fn a_paused_account_is_not_read_anew() {
    let mut world = World::of(1);
    damaged_before_its_end(&mut world).await;
    let mut status = world.store.account_status(&id(1)).await.unwrap().unwrap();
    status.state = AccountState::Paused;
    world.store.set_account_status(&status).await.unwrap();
    let (_, manifest) = world.scan(|_, _| panic!("an operator left it alone")).await;
    assert_eq!((manifest.cells["failed"], manifest.cells["complete"]), (1, CELLS - 1));
}

#[tokio::test(start_paused = true)]
async fn results_that_cannot_be_read_for_a_moment_are_not_damaged() {
    let mut world = World::of(1);
    world.sink.fail_reads(3);
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert!(manifest.complete, "they are asked for again");
    world.restart();
    world.fresh = true;
    world.sink.fail_reads(u32::MAX);
    let ended = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    assert!(matches!(ended, Err(ScanError::Sink(_))), "nothing is known of them: {ended:?}");
    world.sink.fail_reads(0);
    world.restart();
    world.fresh = false;
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete, "the scan goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_scan_cancels_the_unfinished_one() {
    let mut world = World::of(2);
    let stop = CancellationToken::new();
    stop.cancel();
    let (old, _) = world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap();
    world.restart();
    world.fresh = true;
    let (new, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_ne!(old, new);
    assert!(manifest.complete);
    assert_eq!(world.store.scan(&old).await.unwrap().unwrap().state, ScanState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_scan_of_yesterday_is_not_resumed() {
    let mut world = World::of(2);
    let stop = CancellationToken::new();
    stop.cancel();
    let (old, _) = world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap();
    world.restart();
    tokio::time::advance(Duration::from_secs(24 * 3600 + 1)).await;
    let (new, _) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_ne!(old, new);
}

#[tokio::test(start_paused = true)]
async fn no_more_cells_are_outstanding_than_the_window_holds() {
    let mut world = World::of(60);
    world.options.window = 100;
    world.pace = Duration::from_millis(400);
    let runner_sees = Arc::new(AtomicU64::new(0));
    let (store, most) = (world.store.clone(), runner_sees.clone());
    let watching = tokio::spawn(async move {
        loop {
            if let Some(row) = store.scans().await.unwrap().first() {
                most.fetch_max(store.counts(&row.spec.id).await.unwrap().pending(), SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let (_, manifest) = world.scan(|_, _| Reply::Answer(0)).await;
    watching.abort();
    assert_eq!(manifest.cells["complete"], 60 * CELLS);
    let most = runner_sees.load(SeqCst);
    assert!((20..=100).contains(&most), "{most} cells were outstanding");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_slows_the_scan_down_and_loses_nothing() {
    let mut world = World::of(30);
    world.queue = Arc::new(fleetscan_backends::embedded::EmbeddedQueue::new(12));
    world.options.publish_batch = 8;
    let (_, manifest) = world.scan(|_, _| Reply::Answer(0)).await;
    assert_eq!(manifest.cells["complete"], 30 * CELLS);
}

#[tokio::test(start_paused = true)]
async fn what_a_wiped_queue_lost_is_published_again() {
    let mut world = World::of(5);
    world.pace = Duration::from_secs(20);
    let queue = world.queue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(45)).await;
        queue.purge().await.unwrap();
    });
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_eq!(manifest.cells["complete"], 5 * CELLS);
    assert!(world.read.lock().unwrap().values().all(|times| *times == 1));
}

/// A thousand cells that all wait for a quarter of an hour, many rounds of reconciling.
fn long_queue() -> World {
    let mut world = World::of(200);
    world.options.stuck_after = Duration::from_secs(60);
    world.pace = Duration::from_secs(4);
    world
}

/// The most tasks that a queue has had.
fn watch_the_depth(world: &World) -> Arc<AtomicU64> {
    let (queue, most) = (world.queue.clone(), Arc::new(AtomicU64::new(0)));
    let deepest = most.clone();
    tokio::spawn(async move {
        loop {
            let depth = queue.depth().await.unwrap();
            deepest.fetch_max(depth.ready + depth.delayed + depth.held, SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    most
}

#[tokio::test(start_paused = true)]
async fn what_only_waits_is_not_published_again() {
    let world = long_queue();
    let deepest = watch_the_depth(&world);
    let began = Instant::now();
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_eq!(manifest.cells["complete"], 200 * CELLS);
    assert!(began.elapsed() > Duration::from_secs(900), "it was no long wait: {:?}", began.elapsed());
    assert!(world.read.lock().unwrap().values().all(|times| *times == 1));
    // A few are published again all the same.
    let probes = world.probes.load(SeqCst);
    assert!(probes < 264, "200 accounts were probed {probes} times");
    let deepest = deepest.load(SeqCst);
    assert!(deepest <= 200 * CELLS * 3 / 2, "the queue had {deepest} tasks");
}

#[tokio::test(start_paused = true)]
async fn what_a_long_queue_lost_of_many_is_found() {
    let world = long_queue();
    let (deepest, queue) = (watch_the_depth(&world), world.queue.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(300)).await;
        let thief = queue.consume("thief", 50, Shards::All).await.unwrap();
        for _ in 0..50 {
            let stolen = thief.next().await.unwrap().unwrap();
            thief.ack(stolen.tag).await.unwrap();
        }
    });
    let (_, manifest) = world.scan(|_, _| Reply::Answer(1)).await;
    assert_eq!(manifest.cells["complete"], 200 * CELLS);
    assert!(world.read.lock().unwrap().values().all(|times| *times == 1));
    let deepest = deepest.load(SeqCst);
    assert!(deepest <= 200 * CELLS * 3 / 2, "the queue had {deepest} tasks");
}

/// Looks each second how old the oldest pending cell is, and that nothing older is told than was true a moment ago.
/// Answers how often an age was told.
fn watch_the_oldest(world: &World) -> tokio::task::JoinHandle<u32> {
    let (store, progress) = (world.store.clone(), world.progress.clone());
    tokio::spawn(async move {
        let mut since: BTreeMap<(Cell, u64, u32), Instant> = BTreeMap::new();
        // When the oldest of a moment ago began to stand still.
        let mut begun: VecDeque<Instant> = VecDeque::new();
        let mut told_of = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(row) = store.scans().await.unwrap().into_iter().next() else { continue };
            if row.state != ScanState::Running {
                return told_of;
            }
            let pending = store.pending_cells(&row.spec.id, None, None, 1_000).await.unwrap();
            let now = Instant::now();
            let known = std::mem::take(&mut since);
            for one in pending {
                let key = (one.cell, one.generation, one.attempts);
                let first = known.get(&key).copied().unwrap_or(now);
                since.insert(key, first);
            }
            begun.push_back(since.values().min().copied().unwrap_or(now));
            if begun.len() > 8 {
                begun.pop_front();
            }
            let most = begun.iter().map(|begun| now - *begun).max().unwrap_or_default() + Duration::from_secs(1);
            let told = progress.lock().unwrap().as_ref().and_then(|progress| progress.borrow().stood_still);
            if let Some(told) = told {
                told_of += 1;
                assert!(told <= most, "told {told:?} at {now:?}, and in the last seconds it was {most:?} at most");
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_has_moved_is_no_longer_told_to_stand_still() {
    let mut world = World::of(24);
    world.pace = Duration::from_secs(9);
    // Few at a time, so that the ones that begin later are younger.
    world.options.window = 16;
    world.options.stuck_after = Duration::from_secs(60);
    let watched = watch_the_oldest(&world);
    let (_, manifest) = world.scan(|_, _| Reply::Answer(0)).await;
    assert_eq!(manifest.cells["complete"], 24 * CELLS);
    assert!(watched.await.expect("what is told is true") > 30, "it was never told");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_not_read_is_throttled_out() {
    let mut world = World::of(4);
    world.options.deadline = Duration::from_secs(600);
    let script = |task: &TaskKind, _: Duration| match task {
        TaskKind::Cell(cell) if cell.service == "beta" => Reply::Defer(60),
        TaskKind::Probe { account } if *account == id(4) => Reply::Defer(60),
        _ => Reply::Answer(0),
    };
    let (scan, manifest) = world.scan(script).await;
    assert!(!manifest.complete);
    assert_eq!(manifest.cells["complete"], 3 * 3);
    let ledger = world.ledger(&scan).await;
    let late = ledger.iter().filter(|line| line.outcome == Outcome::ThrottledOut);
    assert!(late.clone().any(|line| line.cell.account == id(4)), "an account that was never probed has lines too");
    assert_eq!(late.filter(|line| line.cell.account != id(4)).count(), 3 * 2);
}

#[tokio::test(start_paused = true)]
async fn the_five_newest_scans_are_kept_and_each_cells_newest_complete_reading() {
    let mut world = World::of(2);
    let mut scans = Vec::new();
    for round in 0..8 {
        // Account 2 denies everything after the second scan: what that one read of it is the newest there is.
        let script = move |task: &TaskKind, _: Duration| match task {
            TaskKind::Cell(cell) if cell.account == id(2) && round >= 2 => Reply::Detached,
            _ => Reply::Answer(1),
        };
        scans.push(world.scan(script).await.0);
        tokio::time::advance(Duration::from_secs(60)).await;
        world.restart();
    }
    let left = |n: usize| world.sink.paths().iter().filter(|p| p.starts_with(&ResultPaths(&scans[n]).root())).count();
    assert_eq!(left(0), 0, "the first scan has nothing that is newest");
    assert_eq!(left(2), 0);
    assert_eq!(left(1) as u64, 2 + CELLS, "manifest, ledger and the parts of account 2");
    let kept = world.ledger(&scans[1]).await;
    assert!(kept.iter().all(|line| line.cell.account == id(2)) && kept.len() as u64 == CELLS);
    for line in &kept {
        for part in &line.parts {
            world.sink.read(&ResultPaths(&scans[1]).part(&line.cell, &part.name)).await.unwrap();
        }
    }
    assert!((3..8).all(|n| left(n) as u64 == 2 + CELLS), "the five newest are whole");
}
