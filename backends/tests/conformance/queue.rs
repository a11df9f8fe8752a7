mod ending;
mod shards;

use super::{GRACE, QueueFactory, account, cell};
pub use ending::*;
use fleetscan_proto::{
    AccountId, Delivery, Depth, Lane, QueueError, ScanId, Shards, Task, TaskConsumer, TaskKind, TaskQueue,
    WIRE_VERSION, shard_of,
};
pub use shards::*;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Makes a test of every case. `$factory` is an expression, `$runtime` the attribute of each test.
macro_rules! queue_conformance {
    ($factory:expr, $runtime:meta) => {
        $crate::conformance::queue::queue_conformance!(@cases $factory, $runtime,
            a_task_arrives_as_it_was_published
            publishing_nothing_is_no_error
            a_publish_beyond_the_bound_answers_full_until_there_is_room
            no_more_than_the_prefetch_is_held
            the_prefetch_is_each_consumers_own
            a_prefetch_of_nothing_is_refused
            urgent_tasks_come_first
            accounts_take_turns
            an_account_that_joins_late_does_not_wait_for_the_others
            next_waits_until_a_task_is_published
            a_cancelled_next_loses_nothing
            what_was_acknowledged_is_gone
            a_delivery_ends_once
            only_its_consumer_can_end_a_delivery
            a_released_task_is_anothers_at_once_and_as_it_was
            a_deferred_task_waits_and_comes_back_as_it_was_given
            a_deferral_without_delay_comes_back_at_once
            deferred_tasks_come_back_in_the_order_of_their_time
            an_endless_deferral_never_comes_back
            a_deferred_task_loses_its_count_of_redeliveries
            a_dropped_consumers_tasks_are_redelivered_and_counted
            what_no_consumer_survives_becomes_a_dead_letter
            a_dead_letter_keeps_its_reason_and_is_not_delivered
            purge_removes_all_but_what_is_held
            depth_tells_where_tasks_lie
            a_consumer_takes_from_its_shards_only
            a_consumer_of_no_shard_gets_nothing_until_it_chooses
            what_is_no_longer_chosen_goes_back_and_what_was_handed_out_stays
            backlog_tells_what_is_ready_in_each_shard
            a_mark_is_found_in_its_queue_and_in_no_other
            a_closed_queue_gives_and_takes_nothing
            a_delivery_can_be_ended_after_the_queue_closed
        );
    };
    (@cases $factory:expr, $runtime:meta, $($case:ident)*) => {
        $(#[$runtime]
        async fn $case() {
            $crate::conformance::queue::$case(&$factory).await;
        })*
    };
}
pub(crate) use queue_conformance;

fn task(n: usize, service: &str) -> Task {
    let scan: ScanId = "s-1".parse().expect("an id");
    Task::new(scan, TaskKind::Cell(cell(n, "eu-west-1", service)), 1)
}

fn urgent(n: usize, service: &str) -> Task {
    Task { lane: Lane::Urgent, ..task(n, service) }
}

async fn queue_with<F: QueueFactory>(factory: &F, tasks: &[Task]) -> F::Queue {
    let queue = factory.queue(1_000).await;
    queue.publish(tasks).await.expect("there is room");
    queue
}

async fn consumer(queue: &impl TaskQueue, prefetch: u16) -> Box<dyn TaskConsumer> {
    queue.consume("worker-1", prefetch, Shards::All).await.expect("consumes")
}

/// The next delivery, which is about to come.
async fn take(consumer: &dyn TaskConsumer) -> Delivery {
    let next = timeout(Duration::from_secs(30), consumer.next()).await;
    next.expect("a task comes").expect("the broker is there").expect("the queue is open")
}

async fn nothing_comes(consumer: &dyn TaskConsumer) {
    if let Ok(next) = timeout(GRACE, consumer.next()).await {
        panic!("nothing was to come, but {next:?} did");
    }
}

/// Waits until the queue's depth is the expected one: a broker counts a little behind.
async fn depth_becomes(factory: &impl QueueFactory, queue: &impl TaskQueue, expected: Depth) {
    let mut depth = Depth::default();
    for _ in 0..200 {
        depth = queue.depth().await.expect("the broker is there");
        if depth == expected {
            return;
        }
        factory.pass(Duration::from_millis(25)).await;
    }
    panic!("the depth is {depth:?}, not {expected:?}");
}

/// A way to end a delivery.
#[derive(Debug, Clone, Copy)]
enum End {
    Ack,
    Defer,
    Release,
    DeadLetter,
}

const ENDS: [End; 4] = [End::Ack, End::Defer, End::Release, End::DeadLetter];

impl End {
    async fn use_on(self, consumer: &dyn TaskConsumer, tag: u64, task: &Task) -> Result<(), QueueError> {
        match self {
            End::Ack => consumer.ack(tag).await,
            End::Defer => consumer.defer(tag, task.clone(), Duration::from_secs(3_600)).await,
            End::Release => consumer.release(tag).await,
            End::DeadLetter => consumer.dead_letter(tag, "a case of the suite").await,
        }
    }
}

pub async fn a_task_arrives_as_it_was_published<F: QueueFactory>(factory: &F) {
    let probe = Task {
        unfinished: 3,
        seconds: 700,
        version: WIRE_VERSION,
        scan: "20260131T120000Z-1a2b3c".parse().expect("an id"),
        kind: TaskKind::Probe { account: account(7) },
        generation: 42,
        attempt: 3,
        lane: Lane::Urgent,
    };
    let queue = queue_with(factory, &[probe.clone(), task(1, "lambda")]).await;
    let consumer = consumer(&queue, 2).await;
    let (first, second) = (take(&*consumer).await, take(&*consumer).await);
    assert_eq!((first.task, first.redeliveries), (probe, 0));
    assert_eq!((second.task, second.redeliveries), (task(1, "lambda"), 0));
    assert_ne!(first.tag, second.tag);
}

pub async fn publishing_nothing_is_no_error<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[]).await;
    nothing_comes(&*consumer(&queue, 1).await).await;
}

pub async fn a_publish_beyond_the_bound_answers_full_until_there_is_room<F: QueueFactory>(factory: &F) {
    let queue = factory.queue(3).await;
    queue.publish(&[task(1, "a"), task(1, "b")]).await.expect("there is room");
    queue.publish(&[task(1, "c")]).await.expect("the bound itself is allowed");
    let mut more = 0;
    let refused = loop {
        match queue.publish(&[task(1, &format!("d{more}"))]).await {
            Ok(()) => more += 1,
            Err(refused) => break refused,
        }
        assert!(more <= factory.overshoot(), "{more} more than its bound");
    };
    assert!(matches!(refused, QueueError::Full), "{refused:?}");
    let consumer = consumer(&queue, 1).await;
    for _ in 0..=more {
        consumer.ack(take(&*consumer).await.tag).await.expect("held");
    }
    factory.settle().await;
    queue.publish(&[task(1, "e")]).await.expect("one left, so one fits");
}

pub async fn no_more_than_the_prefetch_is_held<F: QueueFactory>(factory: &F) {
    for end in ENDS {
        let queue = queue_with(factory, &[task(1, "a"), task(1, "b"), task(1, "c")]).await;
        let consumer = consumer(&queue, 2).await;
        let (first, second) = (take(&*consumer).await, take(&*consumer).await);
        nothing_comes(&*consumer).await;
        end.use_on(&*consumer, first.tag, &first.task).await.expect("held");
        let third = take(&*consumer).await;
        assert_ne!(third.task, second.task, "after {end:?}");
        nothing_comes(&*consumer).await;
    }
}

pub async fn the_prefetch_is_each_consumers_own<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a"), task(2, "b")]).await;
    let (one, other) = (consumer(&queue, 1).await, consumer(&queue, 1).await);
    let (first, second) = (take(&*one).await, take(&*other).await);
    assert_ne!(first.task, second.task);
}

pub async fn a_prefetch_of_nothing_is_refused<F: QueueFactory>(factory: &F) {
    let queue = factory.queue(10).await;
    let refused = queue.consume("worker-1", 0, Shards::All).await.map(drop);
    assert!(matches!(refused, Err(QueueError::Refused(_))), "{refused:?}");
}

pub async fn urgent_tasks_come_first<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a"), task(2, "b"), urgent(3, "c"), urgent(4, "d")]).await;
    let consumer = consumer(&queue, 1).await;
    let mut order = Vec::new();
    for number in 0..5 {
        factory.settle().await;
        let delivery = take(&*consumer).await;
        if number == 2 {
            queue.publish(&[urgent(5, "e")]).await.expect("there is room");
        }
        order.push(delivery.task.lane);
        consumer.ack(delivery.tag).await.expect("held");
    }
    assert_eq!(order, [Lane::Urgent, Lane::Urgent, Lane::Normal, Lane::Urgent, Lane::Normal]);
}

/// Takes and acknowledges so many tasks; answers whose they were.
async fn accounts_of(consumer: &dyn TaskConsumer, count: usize) -> Vec<AccountId> {
    let mut accounts = Vec::new();
    for _ in 0..count {
        let delivery = take(consumer).await;
        accounts.push(delivery.task.account().clone());
        consumer.ack(delivery.tag).await.expect("held");
    }
    accounts
}

pub async fn accounts_take_turns<F: QueueFactory>(factory: &F) {
    let tasks: Vec<Task> = (1..=3).flat_map(|n| ["a", "b", "c", "d"].map(|service| task(n, service))).collect();
    let queue = queue_with(factory, &tasks).await;
    let consumer = consumer(&queue, factory.sight(12)).await;
    factory.settle().await;
    let order = accounts_of(&*consumer, 12).await;
    for round in order.chunks(3) {
        let mut round = round.to_vec();
        round.sort();
        assert_eq!(round, [account(1), account(2), account(3)], "in {order:?}");
    }
}

pub async fn an_account_that_joins_late_does_not_wait_for_the_others<F: QueueFactory>(factory: &F) {
    let many: Vec<Task> = (0..200).map(|n| task(1, &format!("s{n}"))).collect();
    let queue = queue_with(factory, &many).await;
    let consumer = consumer(&queue, factory.sight(250)).await;
    accounts_of(&*consumer, 5).await;
    queue.publish(&[task(2, "a")]).await.expect("there is room");
    factory.settle().await;
    let next = accounts_of(&*consumer, 2).await;
    assert!(next.contains(&account(2)), "{next:?}");
}

pub async fn next_waits_until_a_task_is_published<F: QueueFactory>(factory: &F) {
    let queue = factory.queue(10).await;
    let (one, other) = (consumer(&queue, 1).await, consumer(&queue, 1).await);
    let (first, second, published) = tokio::join!(take(&*one), take(&*other), async {
        tokio::task::yield_now().await;
        queue.publish(&[task(1, "a"), task(2, "b")]).await
    });
    published.expect("there is room");
    assert_ne!(first.task, second.task);
}

pub async fn a_cancelled_next_loses_nothing<F: QueueFactory>(factory: &F) {
    let queue = factory.queue(10).await;
    let consumer = consumer(&queue, 1).await;
    nothing_comes(&*consumer).await;
    queue.publish(&[task(1, "a")]).await.expect("there is room");
    assert_eq!(take(&*consumer).await.task, task(1, "a"));
}

pub async fn purge_removes_all_but_what_is_held<F: QueueFactory>(factory: &F) {
    let tasks: Vec<Task> = (1..=5).map(|n| task(n, "a")).chain([urgent(6, "a")]).collect();
    let queue = queue_with(factory, &tasks).await;
    let worker = consumer(&queue, 3).await;
    let (held, deferred, dead) = (take(&*worker).await, take(&*worker).await, take(&*worker).await);
    worker.defer(deferred.tag, deferred.task, Duration::from_secs(1)).await.expect("held");
    worker.dead_letter(dead.tag, "a case of the suite").await.expect("held");
    queue.purge().await.expect("the broker is there");
    depth_becomes(factory, &queue, Depth { held: 1, ..Depth::default() }).await;
    factory.pass(Duration::from_secs(2)).await;
    nothing_comes(&*worker).await;
    queue.publish(&[task(9, "z")]).await.expect("it is a queue still");
    assert_eq!(take(&*worker).await.task, task(9, "z"));
    drop(worker);
    let heir = consumer(&queue, 2).await;
    let both = [take(&*heir).await.task, take(&*heir).await.task];
    assert!(both.contains(&held.task), "what was held outlives the purge, and its consumer");
}

pub async fn depth_tells_where_tasks_lie<F: QueueFactory>(factory: &F) {
    let tasks: Vec<Task> = (1..=7).map(|n| task(n, "a")).collect();
    let queue = queue_with(factory, &tasks).await;
    depth_becomes(factory, &queue, Depth { ready: 7, ..Depth::default() }).await;
    let worker = consumer(&queue, 3).await;
    let (deferred, dead, _held) = (take(&*worker).await, take(&*worker).await, take(&*worker).await);
    worker.defer(deferred.tag, deferred.task, Duration::from_secs(5)).await.expect("held");
    worker.dead_letter(dead.tag, "a case of the suite").await.expect("held");
    let (_held, done) = (take(&*worker).await, take(&*worker).await);
    worker.ack(done.tag).await.expect("held");
    depth_becomes(factory, &queue, Depth { ready: 2, delayed: 1, held: 2, dead: 1 }).await;
    factory.pass(Duration::from_secs(6)).await;
    depth_becomes(factory, &queue, Depth { ready: 3, delayed: 0, held: 2, dead: 1 }).await;
    drop(worker);
    depth_becomes(factory, &queue, Depth { ready: 5, delayed: 0, held: 0, dead: 1 }).await;
}

pub async fn a_mark_is_found_in_its_queue_and_in_no_other<F: QueueFactory>(factory: &F) {
    let (queue, other) = (factory.queue(10).await, factory.queue(10).await);
    assert!(!queue.is_marked("scan-1").await.expect("the broker is there"));
    for _ in 0..2 {
        queue.mark("scan-1").await.expect("left, once and again");
        assert!(queue.is_marked("scan-1").await.expect("the broker is there"));
    }
    assert!(!queue.is_marked("scan-2").await.expect("the broker is there"));
    assert!(!other.is_marked("scan-1").await.expect("the broker is there"));
}

pub async fn a_closed_queue_gives_and_takes_nothing<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[]).await;
    let waiting = consumer(&queue, 1).await;
    let (next, ()) = tokio::join!(waiting.next(), async {
        tokio::task::yield_now().await;
        factory.close(&queue).await;
    });
    assert!(matches!(next, Ok(None)), "{next:?}");
    assert!(matches!(waiting.next().await, Ok(None)), "and so it stays");
    assert!(queue.publish(&[task(1, "a")]).await.is_err());
}

pub async fn a_delivery_can_be_ended_after_the_queue_closed<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let worker = consumer(&queue, 1).await;
    let delivery = take(&*worker).await;
    factory.close(&queue).await;
    worker.ack(delivery.tag).await.expect("held");
}

/// Eight consumers end tasks in every way, and some die; each task is acknowledged exactly once, and no two hold it at
/// the same time. Needs a runtime of several threads, so it is not one of the macro's.
pub async fn each_task_is_acknowledged_once_by_several_consumers<F: QueueFactory>(factory: &F) {
    const TASKS: usize = 2_000;
    let queue = factory.queue(TASKS).await;
    let tasks: Vec<Task> = (0..TASKS).map(|n| task(n % 40, &format!("s{n}"))).collect();
    queue.publish(&tasks).await.expect("there is room");
    let crowd = Arc::new(Crowd::default());
    let consumers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, crowd) = (queue.clone(), Arc::clone(&crowd));
            tokio::spawn(async move { while !crowd.works(&queue, TASKS).await {} })
        })
        .collect();
    for consumer in consumers {
        timeout(Duration::from_secs(120), consumer).await.expect("it ends").expect("it does not panic");
    }
    let times: Vec<u32> = crowd.acked.lock().expect("not poisoned").values().copied().collect();
    assert_eq!(times, [1; TASKS], "each once");
    depth_becomes(factory, &queue, Depth::default()).await;
}

#[derive(Default)]
struct Crowd {
    acked: Mutex<HashMap<Task, u32>>,
    held: Mutex<HashMap<Task, ()>>,
    turns: AtomicUsize,
}

impl Crowd {
    /// The life of one consumer, which ends after some fifty tasks; answers whether all work is done.
    async fn works(&self, queue: &impl TaskQueue, all: usize) -> bool {
        let consumer = consumer(queue, 4).await;
        for _ in 0..50 {
            if self.acked.lock().expect("not poisoned").len() == all {
                return true;
            }
            let Ok(next) = timeout(Duration::from_millis(20), consumer.next()).await else { continue };
            let delivery = next.expect("the broker is there").expect("the queue is open");
            let original = Task { generation: 1, ..delivery.task.clone() };
            let before = self.held.lock().expect("not poisoned").insert(original.clone(), ());
            assert!(before.is_none(), "two hold {original:?}");
            tokio::task::yield_now().await;
            self.held.lock().expect("not poisoned").remove(&original);
            match self.turns.fetch_add(1, Ordering::Relaxed) % 7 {
                0 => consumer.release(delivery.tag).await.expect("held"),
                1 => {
                    let renewed = Task { generation: delivery.task.generation + 1, ..delivery.task };
                    consumer.defer(delivery.tag, renewed, Duration::from_millis(5)).await.expect("held");
                }
                2 => return false,
                _ => {
                    // Counted first: another must not find the work done while this word is on its way.
                    *self.acked.lock().expect("not poisoned").entry(original).or_default() += 1;
                    consumer.ack(delivery.tag).await.expect("held");
                }
            }
        }
        false
    }
}
