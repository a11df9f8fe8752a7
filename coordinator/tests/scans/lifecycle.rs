//! Whole scans in virtual time: created, resumed, fed within the window and finished.

use crate::world::{CELLS, Reply, World, id};
use fleetscan_coordinator::{ScanEnd, ScanError};
use fleetscan_proto::{AccountState, Cell, Outcome, ResultPaths, ScanState, Sink as _, TaskKind};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
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
    world.restart().await;
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
    world.restart().await;
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
    world.restart().await;
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
        world.restart().await;
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
    world.restart().await;
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete);
    assert_eq!(manifest.records.values().sum::<u64>(), 2 * CELLS);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_scan_cancels_the_unfinished_one() {
    let mut world = World::of(2);
    let stop = CancellationToken::new();
    stop.cancel();
    let (old, _) = world.scan_until(stop, |_, _| Reply::Answer(1)).await.unwrap();
    world.restart().await;
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
    world.restart().await;
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
        world.restart().await;
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

#[tokio::test(start_paused = true)]
async fn accounts_that_took_long_go_first_in_the_next_scan() {
    let mut world = World::of(60);
    world.options.window = 25;
    let took = |kind: &TaskKind, _| match kind {
        TaskKind::Cell(cell) if cell.account == id(33) && cell.service == "gamma" => Reply::Took(90.0),
        TaskKind::Cell(cell) if cell.account == id(57) && cell.service == "beta" => Reply::Took(600.0),
        _ => Reply::Answer(0),
    };
    world.scan(took).await;
    assert_eq!(world.probes.load(SeqCst), 60);
    let order = Arc::new(Mutex::new(Vec::new()));
    let probes = Arc::clone(&order);
    let (_, manifest) = world
        .scan(move |kind, at| {
            if let TaskKind::Probe { account } = kind {
                probes.lock().unwrap().push(account.clone());
            }
            took(kind, at)
        })
        .await;
    let order = order.lock().unwrap();
    assert_eq!(order[..3], [id(57), id(33), id(1)]);
    assert_eq!((order.len(), manifest.cells["complete"]), (60, 60 * CELLS), "each once");
}
