//! The conformance suite on a real RabbitMQ, and what only a broker can do to its clients.

#[allow(dead_code, unused_imports, unused_macros, reason = "the suite of stores is of no use here")]
mod conformance;
mod servers {
    pub mod rabbitmq;
}

use async_trait::async_trait;
use conformance::QueueFactory;
use fleetscan_backends::rabbitmq::{RabbitOptions, RabbitQueue};
use fleetscan_proto::Task;
use servers::rabbitmq::Broker;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The broker of all tests that do it no harm.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}

/// Options for queues of its own on a broker.
fn options(broker: &Broker) -> RabbitOptions {
    static PREFIXES: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("test-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
    RabbitOptions { prefix, shards: 1, name: "test".into(), ..RabbitOptions::new(broker.url()) }
}

/// Queues on the broker, each under a prefix of its own; their time is everybody's.
struct OnBroker;

#[async_trait]
impl QueueFactory for OnBroker {
    type Queue = RabbitQueue;
    async fn queue(&self, capacity: usize) -> RabbitQueue {
        let max_length = u32::try_from(capacity).expect("a small capacity");
        RabbitQueue::connect(RabbitOptions { max_length, ..options(broker()) }).await.expect("connects")
    }
    async fn sharded(&self, capacity: usize) -> RabbitQueue {
        let max_length = u32::try_from(capacity).expect("a small capacity");
        let options = RabbitOptions { max_length, shards: 4, ..options(broker()) };
        RabbitQueue::connect(options).await.expect("connects")
    }
    async fn close(&self, queue: &RabbitQueue) {
        queue.close();
    }
    async fn dead_letters(&self, queue: &RabbitQueue) -> Vec<(Task, String)> {
        let letters = queue.dead_letters(100).await.expect("the broker is there");
        letters.into_iter().map(|letter| (letter.task.expect("a task"), letter.reason)).collect()
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    async fn settle(&self) {
        // A broker gives no sign that it has sent all it will.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    fn sight(&self, tasks: u16) -> u16 {
        tasks
    }
    fn overshoot(&self) -> usize {
        50
    }
    fn delivery_limit(&self) -> u32 {
        // The limit is one of redeliveries.
        RabbitQueue::DELIVERY_LIMIT + 1
    }
}

mod queue {
    use super::*;
    use crate::conformance::cell;
    use fleetscan_proto::{Shards, TaskKind, TaskQueue as _, shard_of};
    use std::collections::BTreeSet;

    conformance::queue::queue_conformance!(OnBroker, tokio::test(flavor = "multi_thread", worker_threads = 2));

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn each_task_is_acknowledged_once_by_several_consumers() {
        conformance::queue::each_task_is_acknowledged_once_by_several_consumers(&OnBroker).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_is_fetched_of_a_favoured_shard_until_all_have_their_part_again() {
        let queue = OnBroker.sharded(100).await;
        let of_one_account = |n: usize| cell(1, "eu-west-1", &format!("service-{n}"));
        let tasks: Vec<Task> =
            (0..20).map(|n| Task::new("s-1".parse().expect("an id"), TaskKind::Cell(of_one_account(n)), 1)).collect();
        queue.publish(&tasks).await.expect("there is room");
        let consumer = queue.consume("worker-1", 8, Shards::All).await.expect("consumes");
        let holds = async |wanted: u64| {
            for _ in 0..100 {
                if consumer.held() == wanted {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            OnBroker.settle().await;
            assert_eq!(consumer.held(), wanted);
        };
        holds(2).await;
        let own = shard_of(tasks[0].account(), queue.shards());
        let other = (own + 1) % queue.shards();
        consumer.favour(BTreeSet::from([own, other])).await.expect("the broker is there");
        // What was fetched before stays, and the new subscription has its part beside it.
        holds(2 + 4).await;
        for _ in 0..6 {
            let delivery = consumer.next().await.expect("the broker is there").expect("open");
            consumer.ack(delivery.tag).await.expect("held");
        }
        holds(4).await;
        consumer.favour(BTreeSet::new()).await.expect("the broker is there");
        holds(4 + 2).await;
        for _ in 0..6 {
            let delivery = consumer.next().await.expect("the broker is there").expect("open");
            consumer.ack(delivery.tag).await.expect("held");
        }
        holds(2).await;
    }
}

/// What only a broker does to its clients.
mod broker {
    use super::*;
    use crate::conformance::cell;
    use fleetscan_proto::{Delivery, Depth, QueueError, Shards, TaskConsumer, TaskKind, TaskQueue as _, WIRE_VERSION};
    use lapin::{BasicProperties, Connection, ConnectionProperties, options::BasicPublishOptions};
    use std::collections::HashSet;
    use tokio::{
        sync::{Mutex, MutexGuard},
        time::{Instant, sleep, timeout},
    };

    /// The broker of the tests that do it harm, one after the other.
    async fn victim() -> MutexGuard<'static, Broker> {
        static VICTIM: OnceLock<Mutex<Broker>> = OnceLock::new();
        VICTIM.get_or_init(|| Mutex::new(Broker::start())).lock().await
    }

    /// A queue of several shards, whose clients are impatient.
    async fn queue(broker: &Broker) -> RabbitQueue {
        let options = RabbitOptions {
            shards: 4,
            answer_timeout: Duration::from_secs(3),
            confirm_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            ..options(broker)
        };
        RabbitQueue::connect(options).await.expect("connects")
    }

    fn tasks(numbers: std::ops::Range<usize>) -> Vec<Task> {
        let scan = || "s-1".parse().expect("an id");
        numbers.map(|n| Task::new(scan(), TaskKind::Cell(cell(n, "eu-west-1", "lambda")), 1)).collect()
    }

    async fn consumer(queue: &RabbitQueue, prefetch: u16) -> Box<dyn TaskConsumer> {
        queue.consume("worker-1", prefetch, Shards::All).await.expect("consumes")
    }

    /// The next delivery, however often the broker is away meanwhile.
    async fn take(consumer: &dyn TaskConsumer) -> Delivery {
        let next = async {
            loop {
                match consumer.next().await {
                    Ok(delivery) => return delivery.expect("the queue is open"),
                    Err(QueueError::Away(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        timeout(Duration::from_secs(60), next).await.expect("a task comes")
    }

    /// Publishes until it is confirmed.
    async fn publish(queue: &RabbitQueue, tasks: &[Task]) {
        let began = Instant::now();
        while let Err(error) = queue.publish(tasks).await {
            assert!(matches!(error, QueueError::Away(_)), "{error}");
            assert!(began.elapsed() < Duration::from_secs(60), "{error}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Publishes, which must be refused for the time being, and soon.
    async fn is_away(queue: &RabbitQueue) -> String {
        let answer = timeout(Duration::from_secs(12), queue.publish(&tasks(0..1))).await.expect("it answers");
        match answer {
            Err(QueueError::Away(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Takes and acknowledges until each of these was there.
    async fn finish(consumer: &dyn TaskConsumer, mut missing: HashSet<Task>) {
        while !missing.is_empty() {
            let delivery = take(consumer).await;
            match consumer.ack(delivery.tag).await {
                Ok(()) => drop(missing.remove(&delivery.task)),
                Err(error) => assert!(matches!(error, QueueError::NotHeld), "{error}"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_confirmed_is_lost_when_it_is_killed_and_consumers_go_on_by_themselves() {
        let broker = victim().await;
        let queue = queue(&broker).await;
        queue.mark("scan-1").await.expect("marked");
        queue.publish(&tasks(0..500)).await.expect("confirmed");
        let consumer = consumer(&queue, 40).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(take(&*consumer).await);
        }
        broker.kill();
        is_away(&queue).await;
        assert!(matches!(queue.depth().await, Err(QueueError::Away(_))));
        broker.start_again();
        publish(&queue, &tasks(500..600)).await;
        assert!(queue.is_marked("scan-1").await.expect("it is there"));
        finish(&*consumer, tasks(0..600).into_iter().collect()).await;
        for delivery in held {
            let late = consumer.ack(delivery.tag).await;
            assert!(matches!(late, Err(QueueError::NotHeld)), "{late:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_lost_everything_gets_its_queues_again_and_no_mark() {
        let broker = victim().await;
        let queue = queue(&broker).await;
        queue.mark("scan-1").await.expect("marked");
        queue.publish(&tasks(0..10)).await.expect("confirmed");
        let consumer = consumer(&queue, 4).await;
        take(&*consumer).await;
        broker.kill();
        broker.wipe();
        broker.start_again();
        publish(&queue, &tasks(10..20)).await;
        finish(&*consumer, tasks(10..20).into_iter().collect()).await;
        let began = Instant::now();
        let marked = loop {
            match queue.is_marked("scan-1").await {
                Ok(marked) => break marked,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
            }
        };
        assert!(!marked, "what was lost must show");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_freezes_is_away_until_it_thaws() {
        let broker = victim().await;
        let queue = queue(&broker).await;
        queue.publish(&tasks(0..50)).await.expect("confirmed");
        let consumer = consumer(&queue, 4).await;
        let held = take(&*consumer).await;
        broker.freeze();
        is_away(&queue).await;
        is_away(&queue).await;
        broker.thaw();
        consumer.ack(held.tag).await.expect("its connection was only slow");
        publish(&queue, &tasks(50..60)).await;
        let missing: HashSet<Task> = tasks(0..60).into_iter().filter(|task| *task != held.task).collect();
        finish(&*consumer, missing).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_alarm_stops_publishers_and_no_consumer() {
        let broker = victim().await;
        let queue = queue(&broker).await;
        queue.publish(&tasks(0..50)).await.expect("confirmed");
        let consumer = consumer(&queue, 4).await;
        broker.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
        let began = Instant::now();
        while queue.publish(&tasks(50..60)).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(30), "the alarm does not come");
        }
        for _ in 0..3 {
            let why = is_away(&queue).await;
            assert!(why.contains("memory"), "{why}");
        }
        finish(&*consumer, tasks(0..50).into_iter().collect()).await;
        assert!(queue.depth().await.is_ok(), "questions are answered");
        let held = take_any(&queue, &*consumer).await;
        if let Some(held) = &held {
            let refused = consumer.release(held.tag).await;
            assert!(matches!(refused, Err(QueueError::Away(_))), "{refused:?}");
        }
        broker.control(&["set_vm_memory_high_watermark", "0.6"]);
        publish(&queue, &tasks(60..70)).await;
        if let Some(held) = held {
            consumer.ack(held.tag).await.expect("it stayed held");
        }
        finish(&*consumer, tasks(60..70).into_iter().collect()).await;
    }

    /// A task, where one is left.
    async fn take_any(queue: &RabbitQueue, consumer: &dyn TaskConsumer) -> Option<Delivery> {
        let left = queue.depth().await.expect("it is there").ready;
        if left == 0 { None } else { Some(take(consumer).await) }
    }

    async fn refusal(options: RabbitOptions) -> String {
        match RabbitQueue::connect(options).await.map(drop) {
            Err(QueueError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn queues_with_other_arguments_are_refused_by_name_with_what_to_do() {
        let options = RabbitOptions { shards: 2, max_length: 100, ..options(broker()) };
        RabbitQueue::connect(options.clone()).await.expect("declares");
        RabbitQueue::connect(options.clone()).await.expect("declaring again is no error");
        let why = refusal(RabbitOptions { max_length: 200, ..options.clone() }).await;
        assert!(why.contains(&format!("{}.v1.work.0", options.prefix)) && why.contains("delete"), "{why}");
        let why = refusal(RabbitOptions { shards: 3, ..options.clone() }).await;
        assert!(why.contains("2 shards") && why.contains("told 3"), "{why}");
        RabbitQueue::connect(options).await.expect("they are as they were");
    }

    #[tokio::test]
    async fn who_is_not_let_in_is_told_so_without_the_password() {
        let url = broker().url().replace("guest:guest", "guest:planted-word");
        let why = refusal(RabbitOptions { url, ..options(broker()) }).await;
        assert!(why.contains("ACCESS_REFUSED") && !why.contains("planted"), "{why}");
        let url = format!("{}/nowhere", broker().url());
        let why = refusal(RabbitOptions { url, ..options(broker()) }).await;
        assert!(why.contains("nowhere"), "{why}");
        let nobody = RabbitOptions { url: "amqp://guest:planted-word@127.0.0.1:1".into(), ..options(broker()) };
        match RabbitQueue::connect(nobody).await.map(drop) {
            Err(QueueError::Away(why)) => assert!(why.contains("127.0.0.1:1") && !why.contains("planted"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tls_needs_a_certificate_that_the_given_authority_signed() {
        let stranger = RabbitOptions { url: broker().tls_url(), ..options(broker()) };
        let why = refusal(stranger.clone()).await;
        assert!(why.contains("certificate"), "{why}");
        let why = refusal(RabbitOptions { ca_file: Some("/nowhere/ca.pem".into()), ..stranger.clone() }).await;
        assert!(why.contains("/nowhere/ca.pem"), "{why}");
        let friend = RabbitOptions { ca_file: Some(broker().authority()), ..stranger };
        let queue = RabbitQueue::connect(friend).await.expect("connects");
        queue.publish(&tasks(0..300)).await.expect("confirmed");
        finish(&*consumer(&queue, 10).await, tasks(0..300).into_iter().collect()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_no_task_is_put_aside_and_what_is_newer_waits_for_a_newer_worker() {
        let options = options(broker());
        let exchange = format!("{}.v1", options.prefix);
        let queue = RabbitQueue::connect(options).await.expect("connects");
        let consumer = consumer(&queue, 10).await;
        let connection = Connection::connect(&broker().url(), ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("opens");
        let newer = format!(r#"{{"version": {}, "what": "the future brings"}}"#, WIRE_VERSION + 1);
        for body in ["no task", newer.as_str()] {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let sent =
                channel.basic_publish(exchange.as_str().into(), "work.0".into(), options, body.as_bytes(), properties);
            drop(sent.await.expect("sent"));
        }
        queue.publish(&tasks(0..1)).await.expect("confirmed");
        let task = take(&*consumer).await;
        let began = Instant::now();
        let expected = Depth { ready: 0, delayed: 1, held: 1, dead: 1 };
        while queue.depth().await.expect("it is there") != expected {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", queue.depth().await);
        }
        let dead = queue.dead_letters(10).await.expect("it is there");
        assert_eq!((dead.len(), dead[0].body.as_slice(), dead[0].task.is_some()), (1, &b"no task"[..], false));
        assert!(dead[0].reason.contains("not a task"), "{}", dead[0].reason);
        // It is told once, so that the shard may go to somebody who reads it.
        assert_eq!((consumer.take_newer(), consumer.take_newer()), ([0].into(), [].into()));
        consumer.ack(task.tag).await.expect("held");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_fetched_and_not_handed_out_in_time_goes_back_as_it_was() {
        let options = RabbitOptions { hold: Duration::from_millis(200), ..options(broker()) };
        let queue = RabbitQueue::connect(options).await.expect("connects");
        let idle = consumer(&queue, 10).await;
        queue.publish(&tasks(0..10)).await.expect("confirmed");
        let began = Instant::now();
        let busy = consumer(&queue, 10).await;
        let mut missing: HashSet<Task> = tasks(0..10).into_iter().collect();
        while !missing.is_empty() {
            let delivery = take(&*busy).await;
            assert_eq!(delivery.redeliveries, 0, "nobody had it in hand");
            busy.ack(delivery.tag).await.expect("held");
            missing.remove(&delivery.task);
        }
        assert!(began.elapsed() >= Duration::from_millis(100), "the idle one had them first");
        drop(idle);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_deleted_queue_is_declared_again() {
        let options = options(broker());
        let work = format!("{}.v1.work.0", options.prefix);
        let queue = RabbitQueue::connect(options).await.expect("connects");
        let consumer = consumer(&queue, 10).await;
        queue.publish(&tasks(0..1)).await.expect("confirmed");
        finish(&*consumer, tasks(0..1).into_iter().collect()).await;
        let connection = Connection::connect(&broker().url(), ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("opens");
        channel.queue_delete(work.into(), Default::default()).await.expect("deleted");
        publish(&queue, &tasks(1..2)).await;
        finish(&*consumer, tasks(1..2).into_iter().collect()).await;
    }
}
