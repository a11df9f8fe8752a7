//! How a delivery ends, and what becomes of its task.

use super::*;

pub async fn what_was_acknowledged_is_gone<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let first = consumer(&queue, 1).await;
    first.ack(take(&*first).await.tag).await.expect("held");
    drop(first);
    depth_becomes(factory, &queue, Depth::default()).await;
    nothing_comes(&*consumer(&queue, 1).await).await;
}

pub async fn a_delivery_ends_once<F: QueueFactory>(factory: &F) {
    for first in ENDS {
        for second in ENDS {
            let queue = queue_with(factory, &[task(1, "a")]).await;
            let consumer = consumer(&queue, 1).await;
            let Delivery { tag, task, .. } = take(&*consumer).await;
            first.use_on(&*consumer, tag, &task).await.expect("held");
            let again = second.use_on(&*consumer, tag, &task).await;
            assert!(matches!(again, Err(QueueError::NotHeld)), "{first:?}, then {second:?}: {again:?}");
            let Depth { ready, delayed, held, dead } = queue.depth().await.expect("the broker is there");
            assert!(ready + delayed + held + dead <= 1, "{first:?}, then {second:?} made two of one");
        }
    }
}

pub async fn only_its_consumer_can_end_a_delivery<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let (holder, stranger) = (consumer(&queue, 1).await, consumer(&queue, 1).await);
    let Delivery { tag, task, .. } = take(&*holder).await;
    for end in ENDS {
        let refused = end.use_on(&*stranger, tag, &task).await;
        assert!(matches!(refused, Err(QueueError::NotHeld)), "{end:?}: {refused:?}");
        let refused = end.use_on(&*holder, tag + 1_000, &task).await;
        assert!(matches!(refused, Err(QueueError::NotHeld)), "{end:?} of an unknown tag: {refused:?}");
    }
    holder.ack(tag).await.expect("still held");
}

pub async fn a_released_task_is_anothers_at_once_and_as_it_was<F: QueueFactory>(factory: &F) {
    let released = Task { generation: 5, attempt: 2, ..urgent(1, "a") };
    let queue = queue_with(factory, std::slice::from_ref(&released)).await;
    let (one, other) = (consumer(&queue, 1).await, consumer(&queue, 1).await);
    one.release(take(&*one).await.tag).await.expect("held");
    let delivery = take(&*other).await;
    assert_eq!((delivery.task, delivery.redeliveries), (released, 0), "a drain is not a failure");
}

pub async fn a_deferred_task_waits_and_comes_back_as_it_was_given<F: QueueFactory>(factory: &F) {
    const DELAY: Duration = Duration::from_secs(2);
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let consumer = consumer(&queue, 2).await;
    let delivery = take(&*consumer).await;
    let renewed = Task { generation: 2, ..delivery.task };
    let deferred = Instant::now();
    consumer.defer(delivery.tag, renewed.clone(), DELAY).await.expect("held");
    depth_becomes(factory, &queue, Depth { delayed: 1, ..Depth::default() }).await;
    nothing_comes(&*consumer).await;
    let back = take(&*consumer).await;
    let waited = deferred.elapsed();
    assert!(waited >= DELAY && waited < DELAY * 2, "it waited {waited:?}");
    assert_eq!((back.task, back.redeliveries), (renewed, 0), "a deferral costs no attempt");
}

pub async fn a_deferral_without_delay_comes_back_at_once<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let consumer = consumer(&queue, 1).await;
    let delivery = take(&*consumer).await;
    consumer.defer(delivery.tag, delivery.task, Duration::ZERO).await.expect("held");
    assert_eq!(take(&*consumer).await.task, task(1, "a"));
}

pub async fn deferred_tasks_come_back_in_the_order_of_their_time<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a"), task(2, "b"), task(3, "c")]).await;
    let consumer = consumer(&queue, 3).await;
    for _ in 0..3 {
        let Delivery { task, tag, .. } = take(&*consumer).await;
        // The first asked for waits longest: it must not hold up the others.
        let seconds = if *task.account() == account(1) { 3 } else { 1 };
        let task = if *task.account() == account(3) { Task { lane: Lane::Urgent, ..task } } else { task };
        consumer.defer(tag, task, Duration::from_secs(seconds)).await.expect("held");
    }
    factory.pass(Duration::from_millis(1_500)).await;
    let order = accounts_of(&*consumer, 3).await;
    assert_eq!(order, [account(3), account(2), account(1)], "an urgent task is urgent after its deferral too");
}

pub async fn an_endless_deferral_never_comes_back<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let consumer = consumer(&queue, 1).await;
    let delivery = take(&*consumer).await;
    consumer.defer(delivery.tag, delivery.task, Duration::MAX).await.expect("held");
    factory.pass(Duration::from_secs(1)).await;
    nothing_comes(&*consumer).await;
}

pub async fn a_deferred_task_loses_its_count_of_redeliveries<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    let first = consumer(&queue, 1).await;
    take(&*first).await;
    drop(first);
    let second = consumer(&queue, 1).await;
    let delivery = take(&*second).await;
    assert_eq!(delivery.redeliveries, 1);
    second.defer(delivery.tag, delivery.task, Duration::ZERO).await.expect("held");
    assert_eq!(take(&*second).await.redeliveries, 0, "something was said of it");
}

pub async fn a_dropped_consumers_tasks_are_redelivered_and_counted<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a"), task(2, "b"), task(3, "c")]).await;
    let dying = consumer(&queue, 2).await;
    let (acked, held) = (take(&*dying).await, take(&*dying).await);
    dying.ack(acked.tag).await.expect("held");
    drop(dying);
    for deaths in 1..=3 {
        let next = consumer(&queue, 2).await;
        let both = [take(&*next).await, take(&*next).await];
        let again = both.iter().find(|d| d.task == held.task).expect("what was held comes again");
        assert_eq!(again.redeliveries, deaths);
        assert!(both.iter().all(|d| d.task != acked.task), "what was acknowledged does not");
    }
}

pub async fn what_no_consumer_survives_becomes_a_dead_letter<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a")]).await;
    for deaths in 0..factory.delivery_limit() {
        let dying = consumer(&queue, 1).await;
        assert_eq!(take(&*dying).await.redeliveries, deaths);
    }
    depth_becomes(factory, &queue, Depth { dead: 1, ..Depth::default() }).await;
    nothing_comes(&*consumer(&queue, 1).await).await;
    let dead = factory.dead_letters(&queue).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].0, task(1, "a"));
}

pub async fn a_dead_letter_keeps_its_reason_and_is_not_delivered<F: QueueFactory>(factory: &F) {
    let queue = queue_with(factory, &[task(1, "a"), task(2, "b")]).await;
    let consumer = consumer(&queue, 1).await;
    for reason in ["it cannot be read", "nor can this"] {
        consumer.dead_letter(take(&*consumer).await.tag, reason).await.expect("held");
    }
    nothing_comes(&*consumer).await;
    depth_becomes(factory, &queue, Depth { dead: 2, ..Depth::default() }).await;
    let dead = factory.dead_letters(&queue).await;
    let expected = [(task(1, "a"), "it cannot be read".to_owned()), (task(2, "b"), "nor can this".to_owned())];
    assert_eq!(dead, expected);
}
