//! Parts that cannot be read when a scan is to end: damaged, gone, or away with all results.

use crate::world::{CELLS, Reply, World, id};
use fleetscan_coordinator::ScanError;
use fleetscan_proto::{AccountState, Outcome, ScanState, TaskKind};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
    world.restart().await;
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
    world.restart().await;
    let ended = world.scan_until(CancellationToken::new(), |_, _| panic!("nothing is read anew")).await;
    let why = ended.map(drop).expect_err("it waits").to_string();
    assert!(why.contains("none of the scan's files is at memory://"), "{why}");
    for (path, bytes) in files {
        world.sink.put(&path, bytes);
    }
    world.restart().await;
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete, "it was mounted again");
    world.restart().await;
    (world.fresh, world.options.deadline) = (true, Duration::from_secs(60));
    world.sink.refuse(Some("manifest.json"));
    let sink = world.sink.clone();
    let _ = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    sink.refuse(None);
    sink.take("/records/");
    world.restart().await;
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
    world.restart().await;
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
    world.restart().await;
    world.fresh = true;
    world.sink.fail_reads(u32::MAX);
    let ended = world.scan_until(CancellationToken::new(), |_, _| Reply::Answer(1)).await;
    assert!(matches!(ended, Err(ScanError::Sink(_))), "nothing is known of them: {ended:?}");
    world.sink.fail_reads(0);
    world.restart().await;
    world.fresh = false;
    let (_, manifest) = world.scan(|_, _| panic!("nothing is left to read")).await;
    assert!(manifest.complete, "the scan goes on where it was");
}
