use super::{
    connection::Live,
    message::{Outgoing, encode, routing_key},
    options::RabbitOptions,
    trouble::{Trouble, precondition},
};
use fleetscan_proto::{Lane, Task, shard_of};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{future::Future, time::Duration};

/// Part of every name: arguments of a queue cannot be changed, so other arguments are another version.
const VERSION: &str = "v1";
/// Deliveries without a word after the first, and then the message is a dead letter. The broker counts one for each
/// message that a dying consumer had fetched, the innocent ones too, so it is far more than a task is tried.
pub(super) const DELIVERY_LIMIT: u32 = 20;
/// Dead letters that are kept; older ones make room.
const MAX_DEAD: i64 = 10_000;
/// A queue for each: the broker releases from a queue's head only, so one queue has one delay.
const DELAYS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];
/// For all declarations together. A new quorum queue takes its broker some ten milliseconds and more.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest deferral; what asks for more waits for this long.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The exchanges and queues, by name and argument. Durable quorum queues all:
///
/// * `fleetscan.v1` (direct) → `fleetscan.v1.work.<shard>` and `fleetscan.v1.urgent.<shard>`
/// * `fleetscan.v1.delay.<seconds>` (fanout) → a queue of that name, which lets each message go to `fleetscan.v1`
///   after the delay, under the routing key it came with
/// * `fleetscan.v1.dead` (fanout) → a queue of that name
/// * `fleetscan.v1.shards`, always empty: its length limit is the number of shards, so that the broker itself
///   refuses a process that comes with another
/// * `fleetscan.v1.mark.<mark>`, always empty
#[derive(Debug)]
pub(super) struct Topology {
    base: String,
    exchange: ShortString,
    dead: ShortString,
    keys: Vec<[ShortString; 2]>,
    max_length: u32,
    wire_version: u32,
}

/// What is declared, in the order in which one needs the other.
struct Queue {
    name: String,
    arguments: Vec<(&'static str, AMQPValue)>,
    /// The exchange it is bound to, and the key.
    binding: Option<(String, String)>,
}

/// See [`Topology::work_of`].
pub(super) struct Work<'a> {
    topology: &'a Topology,
    tasks: std::slice::Iter<'a, Task>,
}

impl Iterator for Work<'_> {
    type Item = Outgoing;
    fn next(&mut self) -> Option<Outgoing> {
        self.tasks.next().map(|task| self.topology.work(task))
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table(arguments: &[(&'static str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

impl Topology {
    pub fn new(options: &RabbitOptions) -> Self {
        let base = format!("{}.{VERSION}", options.prefix);
        let key = |lane, shard| ShortString::from(routing_key(lane, shard));
        Self {
            exchange: base.as_str().into(),
            dead: format!("{base}.dead").into(),
            keys: (0..options.shards).map(|n| [key(Lane::Normal, n), key(Lane::Urgent, n)]).collect(),
            max_length: options.max_length,
            wire_version: options.wire_version,
            base,
        }
    }

    pub fn shards(&self) -> u16 {
        u16::try_from(self.keys.len()).unwrap_or(u16::MAX)
    }

    /// The queue of a shard's lane.
    pub fn queue(&self, lane: Lane, shard: u16) -> ShortString {
        format!("{}.{}", self.base, routing_key(lane, shard)).into()
    }

    /// Where work is published to.
    pub fn exchange(&self) -> ShortString {
        self.exchange.clone()
    }

    pub fn dead_queue(&self) -> ShortString {
        self.dead.clone()
    }

    pub fn delay_queues(&self) -> impl Iterator<Item = ShortString> {
        DELAYS.iter().map(|delay| self.delay(*delay).into())
    }

    fn delay(&self, delay: Duration) -> String {
        format!("{}.delay.{}", self.base, delay.as_secs())
    }

    pub fn mark_queue(&self, mark: &str) -> Result<ShortString, Trouble> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if mark.is_empty() || mark.len() > 100 || !mark.chars().all(plain) {
            return Err(Trouble::Refused("a mark is 1 to 100 letters, digits and '-'".into()));
        }
        Ok(format!("{}.mark.{mark}", self.base).into())
    }

    /// Every queue that may hold a task.
    pub fn all_queues(&self) -> Vec<ShortString> {
        let work = (0..self.shards()).flat_map(|n| [self.queue(Lane::Normal, n), self.queue(Lane::Urgent, n)]);
        work.chain(self.delay_queues()).chain([self.dead_queue()]).collect()
    }

    fn key(&self, task: &Task) -> ShortString {
        let shard = shard_of(task.account(), self.shards());
        let lane = match task.lane {
            Lane::Normal => 0,
            Lane::Urgent => 1,
        };
        self.keys[usize::from(shard)][lane].clone()
    }

    /// The message that puts a task into its shard.
    pub fn work(&self, task: &Task) -> Outgoing {
        Outgoing::new(self.exchange.clone(), self.key(task), encode(task, self.wire_version))
    }

    /// The messages that put tasks into their shards, each made when it is asked for.
    pub fn work_of<'a>(&'a self, tasks: &'a [Task]) -> Work<'a> {
        Work { topology: self, tasks: tasks.iter() }
    }

    /// The message that puts a task aside.
    pub fn dead_letter(&self, key: ShortString, body: Vec<u8>, reason: &str) -> Outgoing {
        Outgoing::new(self.dead.clone(), key, body).with_reason(reason)
    }

    pub fn dead_task(&self, task: &Task, reason: &str) -> Outgoing {
        self.dead_letter(self.key(task), encode(task, self.wire_version), reason)
    }

    /// The message that puts a task into its shard after `delay`.
    pub fn deferred(&self, task: &Task, delay: Duration, now: Timestamp) -> Outgoing {
        if delay.is_zero() {
            return self.work(task);
        }
        self.delayed(self.key(task), encode(task, self.wire_version), delay, now)
    }

    /// The message that waits for `delay`, or for the first part of it.
    pub fn delayed(&self, key: ShortString, body: Vec<u8>, delay: Duration, now: Timestamp) -> Outgoing {
        let delay = delay.min(LONGEST_DELAY);
        let (first, whole) = first_delay(delay);
        let due = SignedDuration::try_from(delay).ok().and_then(|delay| now.checked_add(delay).ok());
        let message = Outgoing::new(self.delay(first).into(), key, body);
        if whole { message } else { message.with_due(Some(due.unwrap_or(Timestamp::MAX))) }
    }

    /// Declares all of it; what is there already is only compared.
    pub async fn declare(&self, live: &Live) -> Result<(), Trouble> {
        let declared = tokio::time::timeout(DECLARE_TIMEOUT, async {
            self.declare_shards(live).await?;
            let channel = live.channel().await?;
            self.declare_exchanges(&channel).await?;
            let queues = self.queues();
            all(queues.iter().map(|queue| declare(&channel, queue))).await.map_err(|error| self.refusal(error))?;
            all(queues.iter().filter_map(|queue| bind(&channel, queue))).await?;
            Ok(())
        });
        declared.await.unwrap_or_else(|_| Err(Trouble::Away("it took too long to declare the queues".into())))
    }

    async fn declare_shards(&self, live: &Live) -> Result<(), Trouble> {
        let shards = Queue {
            name: format!("{}.shards", self.base),
            arguments: vec![("x-max-length", AMQPValue::LongLongInt(self.shards().into()))],
            binding: None,
        };
        let channel = live.channel().await?;
        let declared = declare(&channel, &shards).await;
        declared.map_err(|error| match precondition(&error).as_deref().and_then(existing) {
            Some(theirs) => Trouble::Refused(format!(
                "the queues {}.* are of a fleet with {theirs} shards, and this process was told {}: start every \
                 process with the same number of shards, or stop the fleet and delete these queues when they are empty",
                self.base,
                self.shards()
            )),
            None => self.refusal(error),
        })
    }

    async fn declare_exchanges(&self, channel: &Channel) -> Result<(), Trouble> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let fanouts = DELAYS.iter().map(|delay| (self.delay(*delay).into(), ExchangeKind::Fanout));
        let exchanges = [(self.exchange.clone(), ExchangeKind::Direct), (self.dead.clone(), ExchangeKind::Fanout)];
        let declared = exchanges.into_iter().chain(fanouts);
        all(declared.map(|(name, kind)| channel.exchange_declare(name, kind, options, FieldTable::default())))
            .await
            .map_err(|error| self.refusal(error))
    }

    fn queues(&self) -> Vec<Queue> {
        let bounded = |max: i64| ("x-max-length", AMQPValue::LongLongInt(max));
        // At-least-once dead-lettering silently becomes at-most-once without this overflow.
        let safely = || [("x-dead-letter-strategy", text("at-least-once")), ("x-overflow", text("reject-publish"))];
        let work = self.keys.iter().flatten().map(|key| {
            let mut arguments = vec![
                bounded(self.max_length.into()),
                ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT.into())),
                ("x-dead-letter-exchange", text(self.dead.as_str())),
            ];
            arguments.extend(safely());
            let binding = Some((self.base.clone(), key.to_string()));
            Queue { name: format!("{}.{key}", self.base), arguments, binding }
        });
        let delays = DELAYS.iter().map(|delay| {
            let name = self.delay(*delay);
            let shards = i64::from(self.shards());
            let milliseconds = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            let mut arguments = vec![
                bounded(i64::from(self.max_length).saturating_mul(shards)),
                ("x-message-ttl", AMQPValue::LongLongInt(milliseconds)),
                // No routing key of its own: the message keeps the one that names its shard.
                ("x-dead-letter-exchange", text(&self.base)),
            ];
            arguments.extend(safely());
            Queue { binding: Some((name.clone(), String::new())), name, arguments }
        });
        let dead = Queue {
            name: self.dead.to_string(),
            arguments: vec![bounded(MAX_DEAD), ("x-overflow", text("drop-head"))],
            binding: Some((self.dead.to_string(), String::new())),
        };
        work.chain(delays).chain([dead]).collect()
    }

    /// Declares the queue of a mark.
    pub async fn declare_mark(&self, channel: &Channel, queue: ShortString) -> Result<(), Trouble> {
        let queue = Queue {
            name: queue.to_string(),
            arguments: vec![("x-max-length", AMQPValue::LongLongInt(1))],
            binding: None,
        };
        declare(channel, &queue).await.map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: lapin::Error) -> Trouble {
        let Some(words) = precondition(&error) else { return error.into() };
        let queue = between(&words, "for queue '", "'").unwrap_or(&self.base);
        if words.contains("invalid arg") {
            return Trouble::Refused(format!(
                "the broker cannot have the queue {queue}: fleetscan needs RabbitMQ 3.10 or later ({words})"
            ));
        }
        Trouble::Refused(format!(
            "{queue} exists with other arguments: start every process of the fleet with the same settings, or delete \
             it when it is empty, and it is declared anew ({words})"
        ))
    }
}

/// The delay queue to wait in, and whether that is all of the wait. Never shorter than asked, and at most half as long
/// again, but that the shortest is a second; for the rest of what is not all, the consumer defers anew.
fn first_delay(delay: Duration) -> (Duration, bool) {
    let next = DELAYS.iter().find(|tier| **tier >= delay);
    let shorter = DELAYS.iter().rev().find(|tier| **tier < delay);
    match (next, shorter) {
        (Some(next), Some(shorter)) if *next > delay.mul_f64(1.5) => (*shorter, false),
        (Some(next), _) => (*next, true),
        (None, _) => (DELAYS[DELAYS.len() - 1], false),
    }
}

/// Sends all before it waits for any; the first error is the one that closed the channel.
async fn all<F>(requests: impl Iterator<Item = F>) -> Result<(), lapin::Error>
where
    F: Future<Output = Result<(), lapin::Error>>,
{
    join_all(requests).await.into_iter().collect()
}

async fn declare(channel: &Channel, queue: &Queue) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.name.as_str().into(), options, table(&queue.arguments)).await.map(drop)
}

fn bind(channel: &Channel, queue: &Queue) -> Option<impl Future<Output = Result<(), lapin::Error>>> {
    let (exchange, key) = queue.binding.clone()?;
    let name = ShortString::from(queue.name.as_str());
    Some(channel.queue_bind(name, exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default()))
}

/// What the broker says a queue's argument is: "…: received '32' but current is '16'".
fn existing(words: &str) -> Option<&str> {
    between(words, "but current is '", "'")
}

fn between<'a>(words: &'a str, before: &str, after: &str) -> Option<&'a str> {
    words.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_and_at_most_half_as_long_again() {
        for asked in 1..=4_000_u64 {
            let asked = Duration::from_secs(asked);
            let (mut waited, mut hops) = (Duration::ZERO, 0);
            while waited < asked {
                waited += first_delay(asked - waited).0;
                hops += 1;
            }
            assert!(waited <= asked.mul_f64(1.5), "{asked:?} became {waited:?}");
            assert!(hops <= 12, "{asked:?} took {hops} hops");
        }
        assert_eq!(first_delay(Duration::from_millis(10)), (Duration::from_secs(1), true));
        assert_eq!(first_delay(Duration::from_secs(1)), (Duration::from_secs(1), true));
        assert_eq!(first_delay(Duration::from_secs(12)), (Duration::from_secs(15), true));
        assert_eq!(first_delay(Duration::from_secs(20)), (Duration::from_secs(15), false));
        assert_eq!(first_delay(Duration::MAX), (Duration::from_secs(900), false));
    }

    #[test]
    fn a_mark_is_letters_digits_and_hyphens() {
        let topology = Topology::new(&RabbitOptions::new("amqp://localhost"));
        assert_eq!(topology.mark_queue("Scan-1").expect("a mark").as_str(), "fleetscan.v1.mark.Scan-1");
        for bad in ["", "a.b", "a b", "ä"] {
            assert!(topology.mark_queue(bad).is_err(), "{bad:?}");
        }
    }
}
