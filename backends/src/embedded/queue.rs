use async_trait::async_trait;
use fleetscan_proto::{AccountId, Delivery, Depth, Lane, QueueError, Shards, Task, TaskConsumer, TaskQueue};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
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
/// All there is lies in one shard: there is but one process.
const ONLY_SHARD: u16 = 0;

/// A queue in the process. It forgets all when the process ends: the store knows what is still to be done.
#[derive(Debug, Clone)]
pub struct EmbeddedQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    capacity: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    task: Task,
    redeliveries: u32,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<Entry>,
    /// Waiting tasks by account; the accounts take turns.
    waiting: HashMap<AccountId, VecDeque<Entry>>,
    turns: VecDeque<AccountId>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed_tasks: HashMap<u64, Entry>,
    held: BTreeMap<u64, (u64, Entry)>,
    dead: VecDeque<(Task, String)>,
    marks: HashSet<String>,
    ready: usize,
    next_number: u64,
    closed: bool,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
    fn push(&mut self, entry: Entry, front: bool) {
        self.ready += 1;
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
        if self.dead.len() >= MAX_DEAD {
            self.dead.pop_front();
        }
        self.dead.push_back((task, reason));
    }
    fn size(&self) -> usize {
        self.ready + self.delayed_tasks.len() + self.held.len()
    }
}

impl EmbeddedQueue {
    /// Deliveries without a word of what became of them, after which a task is a dead letter.
    pub const DELIVERY_LIMIT: u32 = 20;

    /// A queue for at most `capacity` tasks, waiting, delayed and held together.
    pub fn new(capacity: usize) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), capacity }) }
    }
    /// Closes it: consumers get nothing more.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_waiters();
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
        if state.size() + tasks.len() > self.shared.capacity {
            return Err(QueueError::Full);
        }
        for task in tasks {
            state.push(Entry { task: task.clone(), redeliveries: 0 }, false);
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn consume(&self, _worker: &str, prefetch: u16, shards: Shards) -> Result<Box<dyn TaskConsumer>, QueueError> {
        if prefetch == 0 {
            return Err(QueueError::Refused("a prefetch of 0 would deliver nothing".into()));
        }
        let id = self.shared.lock().number();
        let takes = AtomicBool::new(shards.contains(ONLY_SHARD));
        Ok(Box::new(EmbeddedConsumer { shared: Arc::clone(&self.shared), id, prefetch: usize::from(prefetch), takes }))
    }

    fn shards(&self) -> u16 {
        1
    }

    async fn backlog(&self) -> Result<Vec<u64>, QueueError> {
        Ok(vec![self.depth().await?.ready])
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
        let mut state = self.shared.lock();
        state.promote(Instant::now());
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Depth {
            ready: count(state.ready),
            delayed: count(state.delayed_tasks.len()),
            held: count(state.held.len()),
            dead: count(state.dead.len()),
        })
    }

    async fn purge(&self) -> Result<(), QueueError> {
        let mut state = self.shared.lock();
        let (held, marks) = (std::mem::take(&mut state.held), std::mem::take(&mut state.marks));
        *state = State { held, marks, next_number: state.next_number, closed: state.closed, ..State::default() };
        Ok(())
    }
}

struct EmbeddedConsumer {
    shared: Arc<Shared>,
    id: u64,
    prefetch: usize,
    /// Whether it takes from the only shard.
    takes: AtomicBool,
}

impl EmbeddedConsumer {
    fn end(&self, state: &mut State, tag: u64) -> Result<Entry, QueueError> {
        match state.held.get(&tag) {
            Some((consumer, _)) if *consumer == self.id => {
                state.held.remove(&tag).map(|(_, entry)| entry).ok_or(QueueError::NotHeld)
            }
            _ => Err(QueueError::NotHeld),
        }
    }
    fn finish(&self, tag: u64, then: impl FnOnce(&mut State, Entry)) -> Result<(), QueueError> {
        let mut state = self.shared.lock();
        let entry = self.end(&mut state, tag)?;
        then(&mut state, entry);
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait]
impl TaskConsumer for EmbeddedConsumer {
    async fn next(&self) -> Result<Option<Delivery>, QueueError> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let due = {
                let mut state = self.shared.lock();
                if state.closed {
                    return Ok(None);
                }
                let due = state.promote(Instant::now());
                let held = state.held.values().filter(|(consumer, _)| *consumer == self.id).count();
                if self.takes.load(Ordering::Acquire)
                    && held < self.prefetch
                    && let Some(entry) = state.pop()
                {
                    let tag = state.number();
                    let delivery = Delivery { task: entry.task.clone(), redeliveries: entry.redeliveries, tag };
                    state.held.insert(tag, (self.id, entry));
                    return Ok(Some(delivery));
                }
                due
            };
            match due {
                None => changed.await,
                Some(due) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    async fn choose(&self, shards: Shards) -> Result<(), QueueError> {
        self.takes.store(shards.contains(ONLY_SHARD), Ordering::Release);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn ack(&self, tag: u64) -> Result<(), QueueError> {
        self.finish(tag, |_, _| {})
    }

    async fn defer(&self, tag: u64, task: Task, delay: Duration) -> Result<(), QueueError> {
        self.finish(tag, |state, _| {
            let entry = Entry { task, redeliveries: 0 };
            if delay.is_zero() {
                return state.push(entry, false);
            }
            let number = state.number();
            state.delayed.push(Reverse((Instant::now() + delay.min(LONGEST_DELAY), number)));
            state.delayed_tasks.insert(number, entry);
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
        let mut state = self.shared.lock();
        let mine: Vec<u64> =
            state.held.iter().filter(|(_, (consumer, _))| *consumer == self.id).map(|(tag, _)| *tag).collect();
        for tag in mine.into_iter().rev() {
            if let Some((_, entry)) = state.held.remove(&tag) {
                state.redeliver(entry);
            }
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }
}
