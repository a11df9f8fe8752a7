//! Consumers of some shards and not of others.

use super::*;

/// Tasks of twenty accounts, and how many of them lie in each shard.
fn spread(queue: &impl TaskQueue) -> (Vec<Task>, Vec<u64>) {
    let tasks: Vec<Task> = (0..20).map(|n| if n % 5 == 0 { urgent(n, "a") } else { task(n, "a") }).collect();
    let mut each = vec![0; usize::from(queue.shards())];
    for task in &tasks {
        each[usize::from(shard_of(task.account(), queue.shards()))] += 1;
    }
    (tasks, each)
}

pub async fn a_consumer_takes_from_its_shards_only<F: QueueFactory>(factory: &F) {
    let queue = factory.sharded(100).await;
    let (tasks, each) = spread(&queue);
    queue.publish(&tasks).await.expect("there is room");
    let (mut taken, shards) = (0, queue.shards());
    for chosen in 0..shards {
        let only = Shards::Only(BTreeSet::from([chosen]));
        let consumer = queue.consume("worker-1", 100, only).await.expect("consumes");
        for _ in 0..each[usize::from(chosen)] {
            let delivery = take(&*consumer).await;
            assert_eq!(shard_of(delivery.task.account(), shards), chosen);
            consumer.ack(delivery.tag).await.expect("held");
            taken += 1;
        }
        nothing_comes(&*consumer).await;
    }
    assert_eq!(taken, tasks.len());
}

pub async fn a_consumer_of_no_shard_gets_nothing_until_it_chooses<F: QueueFactory>(factory: &F) {
    let queue = factory.sharded(100).await;
    let (tasks, _) = spread(&queue);
    queue.publish(&tasks).await.expect("there is room");
    let consumer = queue.consume("worker-1", 100, Shards::Only(BTreeSet::new())).await.expect("consumes");
    nothing_comes(&*consumer).await;
    let (all, first) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            consumer.choose(Shards::All).await
        },
        take(&*consumer),
    );
    all.expect("the broker is there");
    let mut taken = vec![first.task];
    for _ in 1..tasks.len() {
        taken.push(take(&*consumer).await.task);
    }
    assert!(tasks.iter().all(|task| taken.contains(task)), "{taken:?}");
}

pub async fn what_is_no_longer_chosen_goes_back_and_what_was_handed_out_stays<F: QueueFactory>(factory: &F) {
    let queue = factory.sharded(100).await;
    let (tasks, _) = spread(&queue);
    queue.publish(&tasks).await.expect("there is room");
    let (one, other) = (consumer(&queue, 100).await, consumer(&queue, 100).await);
    other.choose(Shards::Only(BTreeSet::new())).await.expect("the broker is there");
    let mut held = vec![take(&*one).await, take(&*one).await];
    factory.settle().await;
    let kept = shard_of(held[0].task.account(), queue.shards());
    one.choose(Shards::Only(BTreeSet::from([kept]))).await.expect("the broker is there");
    other.choose(Shards::All).await.expect("the broker is there");
    one.choose(Shards::Only(BTreeSet::new())).await.expect("the broker is there");
    nothing_comes(&*one).await;
    for _ in held.len()..tasks.len() {
        let delivery = take(&*other).await;
        assert_eq!(delivery.redeliveries, 0, "it was never handed out");
        assert!(held.iter().all(|held| held.task != delivery.task), "{:?} is held", delivery.task);
        held.push(delivery);
    }
    assert!(tasks.iter().all(|task| held.iter().any(|held| held.task == *task)));
    for delivery in held.drain(..2) {
        one.ack(delivery.tag).await.expect("still held");
    }
}

pub async fn backlog_tells_what_is_ready_in_each_shard<F: QueueFactory>(factory: &F) {
    let queue = factory.sharded(100).await;
    let (tasks, mut each) = spread(&queue);
    queue.publish(&tasks).await.expect("there is room");
    let consumer = consumer(&queue, 1).await;
    let held = take(&*consumer).await;
    each[usize::from(shard_of(held.task.account(), queue.shards()))] -= 1;
    let mut backlog = Vec::new();
    for _ in 0..200 {
        backlog = queue.backlog().await.expect("the broker is there");
        if backlog == each {
            return;
        }
        factory.pass(Duration::from_millis(25)).await;
    }
    panic!("the backlog is {backlog:?}, not {each:?}");
}
