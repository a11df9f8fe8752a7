use super::{
    connection::{Live, answered},
    deliveries::Deliveries,
    message::{self, Body, Outgoing},
    options::RabbitOptions,
    publisher::Publisher,
    ready::Fetched,
    topology::Topology,
    trouble::{Trouble, backoff, is_not_found},
};
use fleetscan_proto::{Lane, QueueError};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use jiff::Timestamp;
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, interval, sleep_until},
};

/// Asks the pump to look at the shards that are wanted now.
pub(super) type Choice = oneshot::Sender<()>;

/// How long a task of a newer wire version waits for a newer worker.
const NEWER_DELAY: Duration = Duration::from_secs(15);
/// Between two tries to put something that must not stay elsewhere.
const RETRY: Duration = Duration::from_secs(1);
/// Deliveries that are taken in before anything else is looked at.
const BATCH: usize = 128;

/// Keeps a consumer connected and subscribed, and takes in what comes.
pub(super) struct Pump {
    worker: String,
    prefetch: u16,
    options: Arc<RabbitOptions>,
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
    deliveries: Arc<Deliveries>,
}

type Source = (Lane, u16);

/// What a subscription gives; `None` at its end.
type Item = (Source, ShortString, Option<Result<lapin::message::Delivery, lapin::Error>>);

struct Subscription {
    tag: ShortString,
    prefetch: u16,
}

/// One connection's life.
pub(super) struct Session {
    channel: Channel,
    subscriptions: HashMap<Source, Subscription>,
    streams: SelectAll<BoxStream<'static, Item>>,
    /// What moves messages elsewhere; at most as many as are fetched.
    chores: FuturesUnordered<BoxFuture<'static, ()>>,
    subscribed: u64,
    // Dropped after the channel.
    live: Live,
}

impl Pump {
    pub fn new(
        worker: &str,
        prefetch: u16,
        options: Arc<RabbitOptions>,
        topology: Arc<Topology>,
        publisher: Arc<Publisher>,
        deliveries: &Arc<Deliveries>,
    ) -> Self {
        // With a number it is a consumer tag, of at most 255 bytes.
        let worker = worker.chars().take(50).collect();
        Self { worker, prefetch, options, topology, publisher, deliveries: Arc::clone(deliveries) }
    }

    /// Connects and subscribes. Where a queue is missing, all are declared.
    pub async fn connect(&self) -> Result<Session, Trouble> {
        match self.try_connect().await {
            Err(Missing(None)) => {
                let live = Live::open(&self.options, &self.worker).await?;
                self.topology.declare(&live).await?;
                drop(live);
                self.try_connect().await.map_err(|Missing(trouble)| {
                    trouble.unwrap_or_else(|| Trouble::Away("its queues went while they were declared".into()))
                })
            }
            tried => {
                tried.map_err(|Missing(trouble)| trouble.unwrap_or_else(|| Trouble::Away("a queue is missing".into())))
            }
        }
    }

    async fn try_connect(&self) -> Result<Session, Missing> {
        let live = Live::open(&self.options, &self.worker).await?;
        let channel = live.channel().await?;
        let mut session = Session {
            channel,
            subscriptions: HashMap::new(),
            streams: SelectAll::new(),
            chores: FuturesUnordered::new(),
            subscribed: 0,
            live,
        };
        self.subscribe(&mut session).await?;
        self.deliveries.lock().connected(session.channel.clone(), session.live.id);
        Ok(session)
    }

    /// Serves until the consumer is dropped, over any number of connections.
    pub async fn run(self, session: Session, mut choices: mpsc::Receiver<Choice>) {
        let mut session = Some(session);
        let mut failures = 0;
        loop {
            if let Some(mut connected) = session.take() {
                let began = Instant::now();
                let trouble = self.serve(&mut connected, &mut choices).await;
                if began.elapsed() > Duration::from_secs(10) {
                    failures = 0;
                }
                tracing::warn!(?trouble, worker = self.worker, "lost the broker; connecting again");
                self.deliveries.lock().disconnected(trouble);
                connected.live.cut();
            }
            let pause = Instant::now() + backoff(failures);
            loop {
                tokio::select! {
                    () = sleep_until(pause) => break,
                    // There is nothing to do now: the next connection subscribes to what is wanted then.
                    Some(choice) = choices.recv() => drop(choice.send(())),
                }
            }
            match self.connect().await {
                Ok(connected) => {
                    tracing::info!(worker = self.worker, "connected to the broker again");
                    session = Some(connected);
                }
                Err(trouble) => self.deliveries.lock().trouble = Some(trouble),
            }
            failures = failures.saturating_add(1);
            self.deliveries.changed.notify_waiters();
        }
    }

    async fn serve(&self, session: &mut Session, choices: &mut mpsc::Receiver<Choice>) -> Trouble {
        let mut tick = interval((self.options.hold / 4).max(Duration::from_millis(10)));
        loop {
            tokio::select! {
                Some(item) = session.streams.next(), if !session.streams.is_empty() => {
                    if let Err(trouble) = self.take_in(session, item) {
                        return trouble;
                    }
                }
                () = self.deliveries.ended.notified() => self.deliveries.flush(),
                Some(choice) = choices.recv() => {
                    if let Err(trouble) = self.choose(session).await {
                        return trouble;
                    }
                    // Who asked may have given up.
                    let _ = choice.send(());
                }
                Some(()) = session.chores.next(), if !session.chores.is_empty() => {}
                _ = tick.tick() => {
                    if !session.live.is_up() {
                        return Trouble::Away("the connection is closed".into());
                    }
                    let old = self.deliveries.lock().ready.take_older(self.options.hold);
                    self.give_back(session, old);
                }
            }
        }
    }

    /// Takes in an item, and what else has come meanwhile.
    fn take_in(&self, session: &mut Session, item: Item) -> Result<(), Trouble> {
        let mut item = Some(item);
        let mut taken = 0;
        while let Some((source, tag, given)) = item {
            match given {
                Some(Ok(delivery)) => self.fetched(session, source, delivery),
                Some(Err(error)) => return Err(Trouble::Away(Trouble::from(error).words())),
                None if session.subscriptions.get(&source).is_some_and(|ours| ours.tag == tag) => {
                    return Err(Trouble::Away("the broker ended a subscription: a queue was deleted".into()));
                }
                None => {}
            }
            taken += 1;
            item = if taken < BATCH && !session.streams.is_empty() {
                session.streams.next().now_or_never().flatten()
            } else {
                None
            };
        }
        self.deliveries.changed.notify_waiters();
        Ok(())
    }

    fn fetched(&self, session: &mut Session, (_, shard): Source, delivery: lapin::message::Delivery) {
        let number = delivery.delivery_tag;
        let redeliveries = message::redeliveries(&delivery);
        let task = match message::decode(&delivery.data, self.options.wire_version) {
            Body::Task(task) => *task,
            Body::Newer(version) => {
                if self.deliveries.lock().newer.insert(shard) {
                    tracing::warn!(version, shard, "tasks of a newer fleetscan go back for a newer worker");
                }
                let key = delivery.routing_key;
                let later = self.topology.delayed(key, delivery.data, NEWER_DELAY, Timestamp::now());
                return self.move_on(session, number, later);
            }
            Body::Broken(why) => {
                tracing::warn!(why, "a message is put aside");
                let aside = self.topology.dead_letter(delivery.routing_key, delivery.data, &why);
                return self.move_on(session, number, aside);
            }
        };
        let now = Timestamp::now();
        if let Some(rest) = message::due(&delivery).and_then(|due| Duration::try_from(due.duration_since(now)).ok())
            && !rest.is_zero()
        {
            let later = self.topology.deferred(&task, rest, now);
            return self.move_on(session, number, later);
        }
        let fetched = Fetched { task, redeliveries, shard, delivery: number, since: Instant::now() };
        let mut state = self.deliveries.lock();
        if state.closed || !state.wanted.contains(shard) {
            drop(state);
            return self.give_back(session, vec![fetched]);
        }
        state.ready.push(fetched);
    }

    /// Publishes what takes a delivery's place, however often it takes, and then ends the delivery.
    fn move_on(&self, session: &Session, delivery: u64, message: Outgoing) {
        let (publisher, deliveries, epoch) =
            (Arc::clone(&self.publisher), Arc::clone(&self.deliveries), session.live.id);
        session.chores.push(
            async move {
                while let Err(error) = publisher.publish([message.clone()]).await {
                    tracing::warn!(%error, "a message cannot be moved; it is tried again");
                    tokio::time::sleep(RETRY).await;
                }
                deliveries.settle(epoch, delivery);
            }
            .boxed(),
        );
    }

    /// Puts what was not handed out back into the queue, with no redelivery counted; where the broker takes no
    /// messages, it gives them back by itself, and counts one.
    fn give_back(&self, session: &Session, fetched: Vec<Fetched>) {
        if fetched.is_empty() {
            return;
        }
        let (publisher, deliveries, epoch) =
            (Arc::clone(&self.publisher), Arc::clone(&self.deliveries), session.live.id);
        let back: Vec<Outgoing> =
            fetched.iter().map(|f| self.topology.work(&f.task).with_redeliveries(f.redeliveries)).collect();
        session.chores.push(
            async move {
                let published: Result<(), QueueError> = publisher.publish(back).await;
                for fetched in fetched {
                    match published {
                        Ok(()) => deliveries.settle(epoch, fetched.delivery),
                        Err(_) => deliveries.reject(epoch, fetched.delivery),
                    }
                }
            }
            .boxed(),
        );
    }

    /// Subscribes to the wanted shards, ends the other subscriptions, and gives back what lies ready of those.
    async fn choose(&self, session: &mut Session) -> Result<(), Trouble> {
        self.subscribe(session)
            .await
            .map_err(|Missing(trouble)| trouble.unwrap_or_else(|| Trouble::Away("a queue is missing".into())))?;
        let unwanted = {
            let mut state = self.deliveries.lock();
            let (wanted, closed) = (state.wanted.clone(), state.closed);
            state.ready.take(|fetched| closed || !wanted.contains(fetched.shard))
        };
        self.give_back(session, unwanted);
        Ok(())
    }

    async fn subscribe(&self, session: &mut Session) -> Result<(), Missing> {
        let target = self.target();
        let gone: Vec<Source> = session
            .subscriptions
            .iter()
            .filter(|(source, ours)| target.get(source) != Some(&ours.prefetch))
            .map(|(source, _)| *source)
            .collect();
        for source in gone {
            if let Some(Subscription { tag, .. }) = session.subscriptions.remove(&source) {
                answered(self.options.answer_timeout, session.channel.basic_cancel(tag, BasicCancelOptions::default()))
                    .await?;
            }
        }
        // Urgent ones first: they are to be the first that come.
        for lane in [Lane::Urgent, Lane::Normal] {
            let mut missing: BTreeMap<u16, Vec<Source>> = BTreeMap::new();
            for (source, prefetch) in &target {
                if source.0 == lane && !session.subscriptions.contains_key(source) {
                    missing.entry(*prefetch).or_default().push(*source);
                }
            }
            for (prefetch, sources) in missing.into_iter().rev() {
                // Quorum queues know a prefetch of each subscription only, set by the last word before it.
                let qos = session.channel.basic_qos(prefetch, BasicQosOptions::default());
                answered(self.options.answer_timeout, qos).await?;
                self.consume(session, sources, prefetch).await?;
            }
        }
        Ok(())
    }

    async fn consume(&self, session: &mut Session, sources: Vec<Source>, prefetch: u16) -> Result<(), Missing> {
        let channel = session.channel.clone();
        let requests = sources.iter().enumerate().map(|(n, (lane, shard))| {
            let tag: ShortString = format!("{}/{}", self.worker, session.subscribed + n as u64).into();
            let queue = self.topology.queue(*lane, *shard);
            channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default())
        });
        let answers = answered(self.options.answer_timeout, async { Ok(join_all(requests).await) }).await?;
        session.subscribed += sources.len() as u64;
        for (source, consumer) in sources.into_iter().zip(answers) {
            let consumer = consumer.map_err(|error| Missing((!is_not_found(&error)).then(|| error.into())))?;
            let tag = consumer.tag();
            let (each, end) = (tag.clone(), tag.clone());
            let items = consumer.map(move |given| (source, each.clone(), Some(given)));
            let ended = futures_util::stream::once(async move { (source, end, None) });
            session.streams.push(items.chain(ended).boxed());
            session.subscriptions.insert(source, Subscription { tag, prefetch });
        }
        Ok(())
    }

    /// The prefetch of each subscription: together about what was asked for, at least one each, and more of the favoured
    /// ones; a quarter as much of the urgent ones, which are few.
    fn target(&self) -> HashMap<Source, u16> {
        let (wanted, favoured, closed) = {
            let state = self.deliveries.lock();
            (state.wanted.clone(), state.favoured.clone(), state.closed)
        };
        let shards: Vec<u16> = (0..self.topology.shards()).filter(|shard| !closed && wanted.contains(*shard)).collect();
        let share = self.prefetch.div_ceil(u16::try_from(shards.len()).unwrap_or(u16::MAX).max(1)).max(1);
        let sources = shards.iter().flat_map(|shard| {
            let more = favoured.get(shard).copied().unwrap_or_default();
            [((Lane::Normal, *shard), share.max(more)), ((Lane::Urgent, *shard), share.div_ceil(4))]
        });
        sources.collect()
    }
}

/// Something failed; without a word, because a queue is missing.
struct Missing(Option<Trouble>);

impl From<Trouble> for Missing {
    fn from(trouble: Trouble) -> Self {
        Missing(Some(trouble))
    }
}
