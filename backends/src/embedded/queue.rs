use async_trait::async_trait;
use fleetscan_proto::{AccountId, Delivery, Depth, Lane, QueueError, Shards, Task, TaskConsumer, TaskQueue, shard_of};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// The longest deferral; what asks for more waits for this long. Past it, time could not be added up.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Dead letters that are kept; older ones make room.
const MAX_DEAD: usize = 10_000;
/// Marks at most: one a scan is what is asked of it.
const MAX_MARKS: usize = 10_000;
/// A queue in the process. It forgets all when the process ends: the store knows what is still to be done.
#[derive(Debug, Clone)]
pub struct EmbeddedQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    capacity: usize,
    shards: u16,
}

#[derive(Debug, Clone)]
struct Entry {
    task: Task,
    redeliveries: u32,
}

/// The tasks of one shard that nobody holds.
#[derive(Debug, Default)]
struct Shard {
    urgent: VecDeque<Entry>,
    /// Waiting tasks by account; the accounts take turns.
    waiting: HashMap<AccountId, VecDeque<Entry>>,
    turns: VecDeque<AccountId>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed_tasks: HashMap<u64, Entry>,
    ready: usize,
    /// Consumers that take from it, each with what wakes it.
    takers: Vec<(u64, Arc<Notify>)>,
}

impl Shard {
    fn push(&mut self, entry: Entry, front: bool) {
        self.ready += 1;
        self.takers.iter().for_each(|(_, wake)| wake.notify_one());
        if entry.task.lane == Lane::Urgent {
            return if front { self.urgent.push_front(entry) } else { self.urgent.push_back(entry) };
        }
        let account = entry.task.account().clone();
        let line = self.waiting.entry(account.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(account);
        }
        if front { line.push_front(entry) } else { line.push_back(entry) }
    }
    fn pop(&mut self) -> Option<Entry> {
        if let Some(entry) = self.urgent.pop_front() {
            self.ready -= 1;
            return Some(entry);
        }
        let account = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&account)?;
        let entry = line.pop_front()?;
        self.ready -= 1;
        if line.is_empty() {
            self.waiting.remove(&account);
        } else {
            self.turns.push_back(account);
        }
        Some(entry)
    }
    /// Moves what is due from the delayed to the ready; answers when the next one is.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((due, number))) = self.delayed.peek().copied() {
            if due > now {
                return Some(due);
            }
            self.delayed.pop();
            if let Some(entry) = self.delayed_tasks.remove(&number) {
                self.push(entry, false);
            }
        }
        None
    }
}

/// What one consumer holds, and where it takes from.
#[derive(Debug)]
struct Holder {
    held: BTreeMap<u64, Entry>,
    prefetch: usize,
    takes: Vec<u16>,
    /// The shard that it looks into first: shards take turns, as accounts do.
    turn: usize,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    shards: Vec<Shard>,
    holders: HashMap<u64, Holder>,
    dead: VecDeque<(Task, String)>,
    marks: HashSet<String>,
    /// Tasks that wait, ready or delayed, and that are held.
    size: usize,
    next_number: u64,
    closed: bool,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
    fn shard(&mut self, task: &Task) -> &mut Shard {
        let shard = shard_of(task.account(), u16::try_from(self.shards.len()).unwrap_or(u16::MAX));
        &mut self.shards[usize::from(shard)]
    }
    fn push(&mut self, entry: Entry, front: bool) {
        self.shard(&entry.task).push(entry, front);
    }
    /// The next task for a consumer that has room; else, when the next deferral of its shards ends.
    fn pop(&mut self, consumer: u64, now: Instant) -> Result<Delivery, Option<Instant>> {
        let tag = self.number();
        let Some(holder) = self.holders.get_mut(&consumer) else { return Err(None) };
        let mut next = None;
        for shard in &holder.takes {
            let due = self.shards[usize::from(*shard)].promote(now);
            next = [next, due].into_iter().flatten().min();
        }
        if holder.held.len() >= holder.prefetch {
            return Err(next);
        }
        // Urgent tasks of any shard come first.
        let count = holder.takes.len();
        let order = (0..count).map(|n| holder.takes[(holder.turn + n) % count]);
        let is_urgent = |shard: &u16| !self.shards[usize::from(*shard)].urgent.is_empty();
        let is_ready = |shard: &u16| self.shards[usize::from(*shard)].ready > 0;
        let Some(shard) = order.clone().find(is_urgent).or_else(|| order.clone().find(is_ready)) else {
            return Err(next);
        };
        let Some(entry) = self.shards[usize::from(shard)].pop() else { return Err(next) };
        holder.turn = (holder.turn + 1) % count.max(1);
        let delivery = Delivery { task: entry.task.clone(), redeliveries: entry.redeliveries, tag };
        holder.held.insert(tag, entry);
        // Another that waits in the same consumer's `next` may find more.
        holder.wake.notify_one();
        Ok(delivery)
    }
    fn choose(&mut self, consumer: u64, shards: &Shards) {
        let count = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        let Some(holder) = self.holders.get_mut(&consumer) else { return };
        holder.takes = (0..count).filter(|shard| shards.contains(*shard)).collect();
        holder.turn = 0;
        holder.wake.notify_one();
        for (number, shard) in (0..count).zip(&mut self.shards) {
            shard.takers.retain(|(id, _)| *id != consumer);
            if shards.contains(number) {
                shard.takers.push((consumer, Arc::clone(&holder.wake)));
            }
        }
    }
    /// A consumer is gone: what it held goes back.
    fn leave(&mut self, consumer: u64) {
        self.choose(consumer, &Shards::Only(BTreeSet::new()));
        let Some(holder) = self.holders.remove(&consumer) else { return };
        for (_, entry) in holder.held.into_iter().rev() {
            self.redeliver(entry);
        }
    }
    fn redeliver(&mut self, mut entry: Entry) {
        entry.redeliveries += 1;
        if entry.redeliveries >= EmbeddedQueue::DELIVERY_LIMIT {
            let reason = format!("handed out {} times without a word of what became of it", entry.redeliveries);
            self.bury(entry.task, reason);
        } else {
            self.push(entry, true);
        }
    }
    fn bury(&mut self, task: Task, reason: String) {
        self.size -= 1;
        if self.dead.len() >= MAX_DEAD {
            self.dead.pop_front();
        }
        self.dead.push_back((task, reason));
    }
}

impl EmbeddedQueue {
    /// Deliveries without a word of what became of them, after which a task is a dead letter.
    pub const DELIVERY_LIMIT: u32 = 20;

    /// A queue for at most `capacity` tasks, waiting, delayed and held together.
    pub fn new(capacity: usize) -> Self {
        Self::sharded(capacity, 1)
    }
    /// The same with several shards, for several workers in one process; all of them together take `capacity` tasks.
    pub fn sharded(capacity: usize, shards: u16) -> Self {
        let shards = shards.max(1);
        let state = State { shards: (0..shards).map(|_| Shard::default()).collect(), ..State::default() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), capacity, shards }) }
    }
    /// Closes it: consumers get nothing more.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.holders.values().for_each(|holder| holder.wake.notify_one());
    }
    /// The dead letters, oldest first, each with its reason.
    pub fn dead_letters(&self) -> Vec<(Task, String)> {
        self.shared.lock().dead.iter().cloned().collect()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TaskQueue for EmbeddedQueue {
    async fn publish(&self, tasks: &[Task]) -> Result<(), QueueError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(QueueError::Refused("it is closed".into()));
        }
        if state.size + tasks.len() > self.shared.capacity {
            return Err(QueueError::Full);
        }
        for task in tasks {
            state.push(Entry { task: task.clone(), redeliveries: 0 }, false);
        }
        state.size += tasks.len();
        Ok(())
    }

    async fn consume(&self, _worker: &str, prefetch: u16, shards: Shards) -> Result<Box<dyn TaskConsumer>, QueueError> {
        if prefetch == 0 {
            return Err(QueueError::Refused("a prefetch of 0 would deliver nothing".into()));
        }
        let wake = Arc::new(Notify::new());
        let mut state = self.shared.lock();
        let id = state.number();
        let (held, takes) = (BTreeMap::new(), Vec::new());
        let holder = Holder { held, prefetch: usize::from(prefetch), takes, turn: 0, wake: Arc::clone(&wake) };
        state.holders.insert(id, holder);
        state.choose(id, &shards);
        drop(state);
        Ok(Box::new(EmbeddedConsumer { shared: Arc::clone(&self.shared), id, wake, held: AtomicU64::new(0) }))
    }

    fn shards(&self) -> u16 {
        self.shared.shards
    }

    async fn backlog(&self) -> Result<Vec<u64>, QueueError> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let ready = state.shards.iter_mut().map(|shard| {
            shard.promote(now);
            shard.ready as u64
        });
        Ok(ready.collect())
    }

    async fn is_marked(&self, mark: &str) -> Result<bool, QueueError> {
        Ok(self.shared.lock().marks.contains(mark))
    }

    async fn mark(&self, mark: &str) -> Result<(), QueueError> {
        if mark.is_empty() || !mark.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(QueueError::Refused(format!("{mark:?} is no mark: letters, digits and - are")));
        }
        let mut state = self.shared.lock();
        if state.marks.len() >= MAX_MARKS && !state.marks.contains(mark) {
            return Err(QueueError::Full);
        }
        state.marks.insert(mark.to_owned());
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let mut depth = Depth { dead: state.dead.len() as u64, ..Depth::default() };
        for shard in &mut state.shards {
            shard.promote(now);
            depth.ready += shard.ready as u64;
            depth.delayed += shard.delayed_tasks.len() as u64;
        }
        depth.held = state.holders.values().map(|holder| holder.held.len() as u64).sum();
        Ok(depth)
    }

    async fn purge(&self) -> Result<(), QueueError> {
        let mut state = self.shared.lock();
        for shard in &mut state.shards {
            let takers = std::mem::take(&mut shard.takers);
            *shard = Shard { takers, ..Shard::default() };
        }
        state.dead.clear();
        state.size = state.holders.values().map(|holder| holder.held.len()).sum();
        Ok(())
    }
}

struct EmbeddedConsumer {
    shared: Arc<Shared>,
    id: u64,
    wake: Arc<Notify>,
    /// Deliveries that it holds, for whoever only wants the number.
    held: AtomicU64,
}

impl EmbeddedConsumer {
    fn finish(&self, tag: u64, then: impl FnOnce(&mut State, Entry)) -> Result<(), QueueError> {
        let mut state = self.shared.lock();
        let holder = state.holders.get_mut(&self.id).ok_or(QueueError::NotHeld)?;
        let entry = holder.held.remove(&tag).ok_or(QueueError::NotHeld)?;
        self.held.store(holder.held.len() as u64, Ordering::Release);
        then(&mut state, entry);
        // There is room again.
        self.wake.notify_one();
        Ok(())
    }
}

#[async_trait]
impl TaskConsumer for EmbeddedConsumer {
    async fn next(&self) -> Result<Option<Delivery>, QueueError> {
        loop {
            let due = {
                let mut state = self.shared.lock();
                if state.closed {
                    self.wake.notify_one();
                    return Ok(None);
                }
                match state.pop(self.id, Instant::now()) {
                    Ok(delivery) => {
                        self.held.fetch_add(1, Ordering::AcqRel);
                        return Ok(Some(delivery));
                    }
                    Err(due) => due,
                }
            };
            // A word that came since the look is kept until it is asked for.
            match due {
                None => self.wake.notified().await,
                Some(due) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    async fn choose(&self, shards: Shards) -> Result<(), QueueError> {
        self.shared.lock().choose(self.id, &shards);
        Ok(())
    }

    async fn ack(&self, tag: u64) -> Result<(), QueueError> {
        self.finish(tag, |state, _| state.size -= 1)
    }

    async fn defer(&self, tag: u64, task: Task, delay: Duration) -> Result<(), QueueError> {
        self.finish(tag, |state, _| {
            let entry = Entry { task, redeliveries: 0 };
            if delay.is_zero() {
                return state.push(entry, false);
            }
            let number = state.number();
            let shard = state.shard(&entry.task);
            shard.delayed.push(Reverse((Instant::now() + delay.min(LONGEST_DELAY), number)));
            shard.delayed_tasks.insert(number, entry);
            // Whoever waits must know when it ends.
            shard.takers.iter().for_each(|(_, wake)| wake.notify_one());
        })
    }

    async fn release(&self, tag: u64) -> Result<(), QueueError> {
        self.finish(tag, |state, entry| state.push(entry, true))
    }

    async fn dead_letter(&self, tag: u64, reason: &str) -> Result<(), QueueError> {
        self.finish(tag, |state, entry| state.bury(entry.task, reason.to_owned()))
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id);
    }
}
