use crate::Task;
use async_trait::async_trait;
use std::time::Duration;

/// Why the queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue is at its bound: publish less, later.
    #[error("the queue is full")]
    Full,
    /// The broker is away; the caller may try again.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The delivery is no longer this consumer's; the task is, or will be, delivered again.
    #[error("the delivery is no longer held")]
    NotHeld,
    /// Nothing that trying again would mend.
    #[error("the queue refused: {0}")]
    Refused(String),
}

/// A task handed to a consumer, which holds it until it says what became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What to do.
    pub task: Task,
    /// How often it was handed out before without a word of what became of it (a consumer died, or merely held it).
    pub redeliveries: u32,
    /// Names the delivery to its consumer.
    pub tag: u64,
}

/// How many tasks lie where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting to be handed out.
    pub ready: u64,
    /// Deferred: waiting for their time.
    pub delayed: u64,
    /// Handed out, not acknowledged.
    pub held: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Transport of tasks. At least once: a task may be delivered twice, and a broker may lose all; the store knows the
/// truth. Bounded: [`TaskQueue::publish`] answers [`QueueError::Full`] rather than grow.
#[async_trait]
pub trait TaskQueue: Send + Sync + 'static {
    /// Hands tasks over. After `Ok` they survive whatever the queue promises to survive; after an error any of them
    /// may or may not have been taken.
    async fn publish(&self, tasks: &[Task]) -> Result<(), QueueError>;

    /// Begins to consume. `prefetch` (at least 1) bounds how many deliveries are held at once. Dropping the consumer
    /// returns what it holds.
    async fn consume(&self, worker: &str, prefetch: u16) -> Result<Box<dyn TaskConsumer>, QueueError>;

    /// How many tasks lie where.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Removes every task of the queue, ready, delayed and dead; what is held stays held.
    async fn purge(&self) -> Result<(), QueueError>;
}

/// One consumer of a queue. Every method but `next` names a delivery that `next` gave, and ends it.
#[async_trait]
pub trait TaskConsumer: Send + Sync {
    /// The next task; waits for one, and never holds more than the prefetch. `None`: the queue was closed.
    /// Urgent tasks come first; among the others, accounts take turns.
    async fn next(&self) -> Result<Option<Delivery>, QueueError>;

    /// The task is done (or needs nothing more), and its result is recorded.
    async fn ack(&self, tag: u64) -> Result<(), QueueError>;

    /// Puts `task`, usually the delivered one under a new generation, into the queue again after `delay`, and only
    /// then ends the delivery. Costs no attempt.
    async fn defer(&self, tag: u64, task: Task, delay: Duration) -> Result<(), QueueError>;

    /// Gives the task back as it is, for another to take at once: a drain, not a failure.
    async fn release(&self, tag: u64) -> Result<(), QueueError>;

    /// Puts the task aside for a person to look at.
    async fn dead_letter(&self, tag: u64, reason: &str) -> Result<(), QueueError>;
}
