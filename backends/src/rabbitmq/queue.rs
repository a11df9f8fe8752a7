use super::{
    connection::{Live, answered},
    consumer::RabbitConsumer,
    consumers::Consumers,
    deliveries::Deliveries,
    link::Link,
    message::{self, Body},
    options::RabbitOptions,
    publisher::Publisher,
    topology::{DELIVERY_LIMIT, Topology},
    trouble::{Trouble, is_not_found},
};
use async_trait::async_trait;
use fleetscan_proto::{Depth, Lane, QueueError, Shards, Task, TaskConsumer, TaskQueue};
use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::{FieldTable, ShortString},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

/// A broker without an alarm confirms within milliseconds.
const ALARM_TIMEOUT: Duration = Duration::from_secs(5);

/// The fleet's queue on RabbitMQ. Publishing, asking and each consumer have connections of their own, which are made
/// anew after any fault: calls answer [`QueueError::Away`] meanwhile, and consumers go on by themselves.
///
/// What was published and confirmed survives the broker's death (durable quorum queues). A consumer holds, beside what
/// it handed out, what it sees ahead, at least one task a chosen shard and lane: [`Depth`] counts it as ready in the
/// process that has it, and nowhere else; [`TaskQueue::purge`] reaches it in this process only.
#[derive(Clone)]
pub struct RabbitQueue {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<RabbitOptions>,
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
    /// For questions: it never publishes, so an alarm that blocks publishers does not block it.
    asking: Link,
    consumers: Consumers,
    closed: AtomicBool,
}

/// A message that was put aside.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The task, where it is one.
    pub task: Option<Task>,
    /// The message as it was.
    pub body: Vec<u8>,
    /// Why.
    pub reason: String,
}

impl RabbitQueue {
    /// Redeliveries of a task without a word of what became of it, after which it is a dead letter.
    pub const DELIVERY_LIMIT: u32 = DELIVERY_LIMIT;

    /// Connects and declares the exchanges and queues, which leaves those that exist as they are.
    ///
    /// Errors: `Away` where the broker cannot be reached, `Refused` where it does not let us in, is too old, or has
    /// the queues with other arguments.
    pub async fn connect(options: RabbitOptions) -> Result<Self, QueueError> {
        options.check()?;
        let topology = Arc::new(Topology::new(&options));
        let options = Arc::new(options);
        let link = |purpose| Link::new(Arc::clone(&options), Arc::clone(&topology), purpose);
        let asking = link("asking");
        asking.declare().await?;
        let publishing = Arc::new(link("publishing"));
        let publisher = Publisher::start(publishing, options.confirm_timeout, options.answer_timeout);
        Ok(Self {
            inner: Arc::new(Inner {
                publisher: Arc::new(publisher),
                asking,
                consumers: Consumers::default(),
                closed: AtomicBool::new(false),
                options: Arc::clone(&options),
                topology: Arc::clone(&topology),
            }),
        })
    }

    /// Closes it for this process: its consumers get nothing more and give back what they see ahead; what they handed
    /// out can still be ended.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.inner.consumers.close();
    }

    /// Publishes a message that no queue takes, to see whether the broker takes any: one whose alarm for memory or disk
    /// is on holds publishers back without a word.
    ///
    /// # Errors
    /// `Away` where it does not take it in time, `Refused` where this user may not publish.
    pub async fn takes_messages(&self) -> Result<(), QueueError> {
        let inner = &self.inner;
        // A connection of its own: it may be blocked for good.
        let live = Live::open(&inner.options, "asking whether messages are taken").await?;
        let channel = live.channel().await?;
        let asked = async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let nobody = ShortString::from("fleetscan.nobody");
            let (exchange, plain) = (inner.topology.exchange(), BasicPublishOptions::default());
            // The broker still takes the message with which it notices a publisher, and then reads no further.
            for _ in 0..2 {
                let (exchange, nobody) = (exchange.clone(), nobody.clone());
                channel.basic_publish(exchange, nobody, plain, b"", BasicProperties::default()).await?.await?;
            }
            Ok::<_, lapin::Error>(())
        };
        let taken = tokio::time::timeout(ALARM_TIMEOUT, asked).await;
        let blocked = live.is_blocked();
        live.cut();
        match taken {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::from(error).into()),
            Err(_) if blocked => Err(super::link::blocked().into()),
            Err(_) => Err(QueueError::Away("it does not confirm a message".into())),
        }
    }

    /// The oldest dead letters, at most so many. They stay.
    pub async fn dead_letters(&self, max: u16) -> Result<Vec<DeadLetter>, QueueError> {
        let queue = self.inner.topology.dead_queue();
        let (limit, newest) = (self.inner.options.answer_timeout, self.inner.options.wire_version);
        let got = self.inner.ask(async |channel: &Channel| {
            let mut letters = Vec::new();
            for _ in 0..max {
                let get = channel.basic_get(queue.clone(), BasicGetOptions::default());
                let Some(letter) = answered(limit, get).await? else { break };
                letters.push(dead_letter(letter.delivery, newest));
            }
            // With the channel all of them go back, in their old order.
            Ok(letters)
        });
        Ok(got.await?)
    }
}

fn dead_letter(delivery: lapin::message::Delivery, newest: u32) -> DeadLetter {
    let reason = message::reason(&delivery)
        .unwrap_or_else(|| format!("handed out more than {DELIVERY_LIMIT} times without a word of what became of it"));
    let task = match message::decode(&delivery.data, newest) {
        Body::Task(task) => Some(*task),
        Body::Newer(_) | Body::Broken(_) => None,
    };
    DeadLetter { task, body: delivery.data, reason }
}

impl Inner {
    /// Asks on a throwaway channel. A connection that did not answer is given up.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Channel) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let live: Arc<Live> = self.asking.get().await?;
        let answer = match live.channel().await {
            Ok(channel) => question(&channel).await,
            Err(trouble) => Err(trouble),
        };
        if let Err(Trouble::Away(_)) = &answer {
            self.asking.discard(&live).await;
        }
        answer
    }

    /// How many messages are ready in each of these queues, in their order.
    async fn ready(&self, queues: Vec<ShortString>) -> Result<Vec<u64>, Trouble> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let limit = self.options.answer_timeout;
        self.ask(async |channel: &Channel| {
            let asked = queues.into_iter().map(|queue| channel.queue_declare(queue, options, FieldTable::default()));
            let found = answered(limit, async { Ok(join_all(asked).await) }).await?;
            found.into_iter().map(|queue| Ok(u64::from(queue?.message_count()))).collect()
        })
        .await
    }

    /// What this process's consumers see ahead, by shard, and how much they hold.
    fn seen_ahead(&self) -> (Vec<u64>, u64) {
        let mut ahead = vec![0; usize::from(self.topology.shards())];
        let mut held = 0;
        for deliveries in self.consumers.all() {
            let state = deliveries.lock();
            held += state.held() as u64;
            for fetched in state.ready.iter() {
                if let Some(count) = ahead.get_mut(usize::from(fetched.shard)) {
                    *count += 1;
                }
            }
        }
        (ahead, held)
    }
}

#[async_trait]
impl TaskQueue for RabbitQueue {
    async fn publish(&self, tasks: &[Task]) -> Result<(), QueueError> {
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(QueueError::Refused("it is closed".into()));
        }
        self.inner.publisher.publish(self.inner.topology.work_of(tasks)).await
    }

    async fn consume(&self, worker: &str, prefetch: u16, shards: Shards) -> Result<Box<dyn TaskConsumer>, QueueError> {
        if prefetch == 0 {
            return Err(QueueError::Refused("a prefetch of 0 would deliver nothing".into()));
        }
        let Inner { options, topology, publisher, consumers, closed, .. } = &*self.inner;
        let deliveries = Arc::new(Deliveries::default());
        {
            let mut state = deliveries.lock();
            state.wanted = shards;
            state.closed = closed.load(Ordering::SeqCst);
        }
        let consumer = RabbitConsumer::start(
            worker,
            prefetch,
            Arc::clone(options),
            Arc::clone(topology),
            Arc::clone(publisher),
            Arc::clone(&deliveries),
        );
        let consumer = consumer.await?;
        consumers.add(&deliveries, consumer.choices());
        if closed.load(Ordering::SeqCst) {
            consumers.close();
        }
        Ok(Box::new(consumer))
    }

    fn shards(&self) -> u16 {
        self.inner.topology.shards()
    }

    async fn backlog(&self) -> Result<Vec<u64>, QueueError> {
        let topology = &self.inner.topology;
        let lanes = |shard| [topology.queue(Lane::Normal, shard), topology.queue(Lane::Urgent, shard)];
        // First what lies here: a task on its way here is then missed rather than counted twice.
        let (ahead, _) = self.inner.seen_ahead();
        let ready = self.inner.ready((0..self.shards()).flat_map(lanes).collect()).await?;
        Ok(ready.chunks(2).zip(ahead).map(|(lanes, ahead)| lanes.iter().sum::<u64>() + ahead).collect())
    }

    async fn is_marked(&self, mark: &str) -> Result<bool, QueueError> {
        let queue = self.inner.topology.mark_queue(mark)?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let limit = self.inner.options.answer_timeout;
        let found = self.inner.ask(async |channel: &Channel| {
            let asked = async { Ok(channel.queue_declare(queue, options, FieldTable::default()).await) };
            match answered(limit, asked).await? {
                Ok(_) => Ok(true),
                Err(error) if is_not_found(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        });
        Ok(found.await?)
    }

    async fn mark(&self, mark: &str) -> Result<(), QueueError> {
        let queue = self.inner.topology.mark_queue(mark)?;
        let limit = self.inner.options.answer_timeout;
        let marked = self.inner.ask(async |channel: &Channel| {
            let declared = tokio::time::timeout(limit, self.inner.topology.declare_mark(channel, queue)).await;
            declared.unwrap_or_else(|_| Err(Trouble::Away("the broker does not answer".into())))
        });
        Ok(marked.await?)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let topology = &self.inner.topology;
        let (ahead, held) = self.inner.seen_ahead();
        let counts = self.inner.ready(topology.all_queues()).await?;
        let (work, rest) = counts.split_at(2 * usize::from(topology.shards()));
        let (delayed, dead) = rest.split_at(topology.delay_queues().count());
        Ok(Depth {
            ready: work.iter().sum::<u64>() + ahead.iter().sum::<u64>(),
            delayed: delayed.iter().sum(),
            held,
            dead: dead.iter().sum(),
        })
    }

    async fn purge(&self) -> Result<(), QueueError> {
        let queues = self.inner.topology.all_queues();
        let limit = self.inner.options.answer_timeout;
        let purged = self.inner.ask(async |channel: &Channel| {
            let asked = queues.into_iter().map(|queue| channel.queue_purge(queue, QueuePurgeOptions::default()));
            let purged = answered(limit, async { Ok(join_all(asked).await) }).await?;
            purged.into_iter().try_for_each(|one| one.map(drop).map_err(Trouble::from))
        });
        purged.await?;
        self.inner.consumers.all().iter().for_each(|deliveries| deliveries.purge());
        Ok(())
    }
}
