//! What the queue lost is published again, and what only waits is not.

use crate::world::{CELLS, Reply, World};
use fleetscan_proto::{Cell, ScanState, Shards};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::Instant;

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
