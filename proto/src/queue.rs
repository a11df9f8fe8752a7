use crate::{AccountId, Task};
use async_trait::async_trait;
use std::{collections::BTreeSet, time::Duration};

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

/// Which shards a consumer takes tasks from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shards {
    /// Every one.
    All,
    /// Only these; none at all where the set is empty.
    Only(BTreeSet<u16>),
}

impl Shards {
    /// Whether a shard is among them.
    pub fn contains(&self, shard: u16) -> bool {
        match self {
            Shards::All => true,
            Shards::Only(some) => some.contains(&shard),
        }
    }
}

/// The shard of an account, of `shards` (at least 1): all of its tasks go there. Never changes for the same two
/// arguments, whatever the machine or the version (FNV-1a over the digits).
pub fn shard_of(account: &AccountId, shards: u16) -> u16 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = account.as_str().bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The low bits of FNV are its weakest; the high half mixed in makes neighbouring ids spread.
    u16::try_from((hash ^ (hash >> 32)) % u64::from(shards.max(1))).unwrap_or_default()
}

/// Transport of tasks. At least once: a task may be delivered twice, and a broker may lose all; the store knows the
/// truth. Bounded: [`TaskQueue::publish`] answers [`QueueError::Full`] rather than grow.
#[async_trait]
pub trait TaskQueue: Send + Sync + 'static {
    /// Hands tasks over. After `Ok` they survive whatever the queue promises to survive; after an error any of them
    /// may or may not have been taken.
    async fn publish(&self, tasks: &[Task]) -> Result<(), QueueError>;

    /// Begins to consume from `shards`. `prefetch` (at least 1) bounds how many deliveries `next` has handed out and
    /// that were not ended. Dropping the consumer returns what it holds.
    async fn consume(&self, worker: &str, prefetch: u16, shards: Shards) -> Result<Box<dyn TaskConsumer>, QueueError>;

    /// How many shards there are; a task lies in the one that [`shard_of`] its account names.
    fn shards(&self) -> u16;

    /// Tasks that are ready, by shard: as many figures as there are shards.
    async fn backlog(&self) -> Result<Vec<u64>, QueueError>;

    /// Whether the mark was left in this queue: a queue that lost its tasks has lost its marks too.
    async fn is_marked(&self, mark: &str) -> Result<bool, QueueError>;

    /// Leaves a mark (letters, digits and `-`) that lives as long as the queue's memory. Leaving it twice is no error.
    async fn mark(&self, mark: &str) -> Result<(), QueueError>;

    /// How many tasks lie where.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Removes every task of the queue, ready, delayed and dead; what is held stays held.
    async fn purge(&self) -> Result<(), QueueError>;
}

/// One consumer of a queue. Every method but `next` names a delivery that `next` gave, and ends it.
#[async_trait]
pub trait TaskConsumer: Send + Sync {
    /// The next task of the chosen shards; waits for one, and for room within the prefetch. `None`: the queue was
    /// closed. Urgent tasks come first; among the others, accounts take turns, as far as the consumer sees ahead.
    async fn next(&self) -> Result<Option<Delivery>, QueueError>;

    /// Deliveries that this consumer holds, handed out or not.
    fn held(&self) -> u64;

    /// Shards in which, since it was last asked, lay tasks of a newer [`WIRE_VERSION`](crate::WIRE_VERSION) than this
    /// consumer reads. They went back for others, later; nothing was handed out.
    fn take_newer(&self) -> BTreeSet<u16> {
        BTreeSet::new()
    }

    /// The newest wire version of tasks that it hands out.
    fn wire_version(&self) -> u32 {
        crate::WIRE_VERSION
    }

    /// Takes from these shards from now on. What `next` handed out of other shards stays the caller's to end; what
    /// it had not yet handed out of them goes back.
    async fn choose(&self, shards: Shards) -> Result<(), QueueError>;

    /// Fetches more of these of the chosen shards, in which tasks wait: the prefetch is divided among them. None: each of the
    /// chosen ones has its equal part again, as after a choice. Where the prefetch is not divided among shards, this does
    /// nothing.
    async fn favour(&self, shards: BTreeSet<u16>) -> Result<(), QueueError> {
        drop(shards);
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_spread_over_shards_and_stay_where_they_are() {
        let id = |n: u64| -> AccountId { format!("{:012}", 100_000_000_000 + n).parse().expect("twelve digits") };
        let mut each = [0_u32; 32];
        for n in 0..3_200 {
            each[usize::from(shard_of(&id(n), 32))] += 1;
        }
        assert!(each.iter().all(|n| (60..=140).contains(n)), "{each:?}");
        assert_eq!(
            shard_of(&"111122223333".parse().expect("id"), 32),
            shard_of(&"111122223333".parse().expect("id"), 32)
        );
        assert_eq!(shard_of(&id(7), 1), 0);
    }
}
