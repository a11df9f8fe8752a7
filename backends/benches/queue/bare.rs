//! The ways that use the clients alone.

use crate::PREFETCH;
use fleetscan_proto::{Task, shard_of};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::FieldTable,
};
use redis::aio::MultiplexedConnection;
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const SHARDS: u16 = 32;
const CHANNELS: usize = 4;
const UNCONFIRMED: usize = 1_000;
const EXCHANGE: &str = "fleetscan.v1";

pub struct Bare {
    broker: Connection,
    redis: MultiplexedConnection,
    /// Channels that consumed. Closed too early, they would take acknowledgements with them.
    consumed: Mutex<Vec<Channel>>,
}

impl Bare {
    pub async fn new(broker: &str, redis: &str) -> Self {
        let broker = Connection::connect(broker, ConnectionProperties::default()).await.expect("the broker answers");
        let client = redis::Client::open(redis).expect("a URL");
        let consumed = Mutex::default();
        Self { broker, consumed, redis: client.get_multiplexed_async_connection().await.expect("the store answers") }
    }

    /// Each channel its share, with a window of messages that wait for their confirms.
    pub async fn publish(&self, tasks: &[Task]) -> Duration {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            let channel = self.broker.create_channel().await.expect("a channel");
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
            channels.push(channel);
        }
        let began = Instant::now();
        let mut publishers = tokio::task::JoinSet::new();
        for (channel, tasks) in channels.into_iter().zip(tasks.chunks(tasks.len().div_ceil(CHANNELS))) {
            publishers.spawn(publish(channel, tasks.to_vec()));
        }
        while let Some(done) = publishers.join_next().await {
            done.expect("published");
        }
        began.elapsed()
    }

    /// Consumes and acknowledges, with a worker's prefetch; in between it may ask Redis once, for many messages at the same time.
    pub async fn consume(&self, tasks: usize, ask: bool) -> Duration {
        let channel = self.broker.create_channel().await.expect("a channel");
        channel.basic_qos(PREFETCH / SHARDS, BasicQosOptions::default()).await.expect("a prefetch");
        let began = Instant::now();
        let mut consumers = Vec::new();
        for shard in 0..SHARDS {
            let (queue, tag) = (format!("{EXCHANGE}.work.{shard}"), format!("bare-{shard}"));
            let consume = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(queue.into(), tag.into(), consume, FieldTable::default()).await;
            consumers.push(consumer.expect("consumes"));
        }
        let mut deliveries = futures_util::stream::select_all(consumers);
        let mut acks = FuturesUnordered::new();
        let mut under_way = tokio::task::JoinSet::new();
        for _ in 0..tasks {
            let delivery = deliveries.next().await.expect("a delivery").expect("the broker answers");
            let mut redis = self.redis.clone();
            if ask {
                under_way.spawn(async move {
                    let _: i64 = redis::cmd("INCR").arg("bare").query_async(&mut redis).await.expect("answered");
                    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
                });
                while under_way.try_join_next().is_some() {}
            } else {
                // No wait for one acknowledgement before the next; polling sends it.
                acks.push(async move { delivery.ack(BasicAckOptions::default()).await.expect("acknowledged") });
                while let Some(Some(_acknowledged)) = acks.next().now_or_never() {}
            }
        }
        while under_way.join_next().await.is_some() {}
        while acks.next().await.is_some() {}
        let took = began.elapsed();
        for shard in 0..SHARDS {
            let tag = format!("bare-{shard}");
            channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await.expect("cancelled");
        }
        self.consumed.lock().expect("no panic").push(channel);
        took
    }
}

async fn publish(channel: Channel, tasks: Vec<Task>) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = FuturesUnordered::new();
    for task in tasks {
        while confirms.len() >= UNCONFIRMED {
            let _: Option<()> = confirms.next().await;
        }
        let key = format!("work.{}", shard_of(task.account(), SHARDS));
        let body = serde_json::to_vec(&task).expect("JSON");
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let sent = channel.basic_publish(EXCHANGE.into(), key.into(), options, &body, persistent).await;
        let sent = sent.expect("sent");
        confirms.push(async move {
            sent.await.expect("confirmed");
        });
    }
    while confirms.next().await.is_some() {}
}
