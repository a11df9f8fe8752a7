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
    BROKER.get_or_init(|| Broker::start(""))
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
        tokio::time::sleep(Duration::from_millis(300)).await;
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

    conformance::queue::queue_conformance!(OnBroker, tokio::test(flavor = "multi_thread", worker_threads = 2));

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn each_task_is_acknowledged_once_by_several_consumers() {
        conformance::queue::each_task_is_acknowledged_once_by_several_consumers(&OnBroker).await;
    }
}
