use super::{
    ready::{Fetched, Ready},
    trouble::Trouble,
};
use fleetscan_proto::{Delivery, QueueError, Shards, Task};
use futures_util::FutureExt;
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicNackOptions},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// Tags of deliveries: unlike any other of the process, so no consumer can end another's.
static NEXT_TAG: AtomicU64 = AtomicU64::new(1);

/// What a consumer has fetched and handed out, shared by its callers and its pump.
#[derive(Default)]
pub(super) struct Deliveries {
    state: Mutex<State>,
    /// For those who wait in `next`.
    pub changed: Notify,
    /// For the pump: there is something to acknowledge.
    pub ended: Notify,
}

pub(super) struct State {
    pub ready: Ready,
    held: HashMap<u64, Held>,
    channel: Option<Acks>,
    pub wanted: Shards,
    /// Of which of these more than their equal part is fetched, and how much.
    pub favoured: BTreeMap<u16, u16>,
    pub trouble: Option<Trouble>,
    /// Shards with tasks of a newer wire version, since somebody last asked.
    pub newer: BTreeSet<u16>,
    pub closed: bool,
}

/// A task that was handed out.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub task: Task,
    pub redeliveries: u32,
    delivery: u64,
    /// The channel it came on; on another it is not ours any more.
    epoch: u64,
    /// Somebody is about to end it.
    ending: bool,
}

/// The acknowledgements of one channel.
struct Acks {
    channel: Channel,
    epoch: u64,
    /// The broker counts deliveries from 1 in a row; all up to this one are ended.
    low: u64,
    /// To be acknowledged.
    pending: BTreeSet<u64>,
    /// Ended one by one, above `low`.
    single: BTreeSet<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            ready: Ready::default(),
            held: HashMap::new(),
            channel: None,
            wanted: Shards::Only(BTreeSet::new()),
            favoured: BTreeMap::new(),
            trouble: None,
            newer: BTreeSet::new(),
            closed: false,
        }
    }
}

impl Deliveries {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledges in one go what was ended; does not wait until it is written.
    pub fn flush(&self) {
        if let Some(acks) = &mut self.lock().channel {
            acks.flush();
        }
    }

    /// Ends a delivery that was not handed out.
    pub fn settle(&self, epoch: u64, delivery: u64) {
        if let Some(acks) = self.lock().channel.as_mut().filter(|acks| acks.epoch == epoch) {
            acks.pending.insert(delivery);
            self.ended.notify_one();
        }
    }

    /// Gives one that was not handed out back to the broker, which counts it as a redelivery.
    pub fn reject(&self, epoch: u64, delivery: u64) {
        if let Some(acks) = self.lock().channel.as_mut().filter(|acks| acks.epoch == epoch) {
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            acks.single.insert(delivery);
            // Polled once, it is on its way.
            let _ = acks.channel.basic_nack(delivery, options).now_or_never();
        }
    }

    /// Removes what was fetched and not handed out.
    pub fn purge(&self) {
        let mut state = self.lock();
        let fetched = state.ready.take(|_| true);
        if let Some(acks) = &mut state.channel {
            acks.pending.extend(fetched.iter().map(|fetched| fetched.delivery));
            acks.flush();
        }
    }
}

impl State {
    /// A new channel takes the place of the last.
    pub fn connected(&mut self, channel: Channel, epoch: u64) {
        self.trouble = None;
        self.channel = Some(Acks { channel, epoch, low: 0, pending: BTreeSet::new(), single: BTreeSet::new() });
    }

    /// What was not handed out goes back by itself with the channel; what was is its holder's to end, in vain.
    pub fn disconnected(&mut self, trouble: Trouble) {
        self.channel = None;
        self.ready = Ready::default();
        self.trouble = Some(trouble);
    }

    pub fn epoch(&self) -> Option<u64> {
        self.channel.as_ref().filter(|acks| acks.channel.status().connected()).map(|acks| acks.epoch)
    }

    /// How many are handed out: those that can still be ended.
    pub fn held(&self) -> usize {
        let epoch = self.channel.as_ref().map(|acks| acks.epoch);
        self.held.values().filter(|held| Some(held.epoch) == epoch).count()
    }

    /// Hands the next one out, where there is one and room within the prefetch.
    pub fn hand_out(&mut self, prefetch: usize) -> Option<Delivery> {
        let epoch = self.epoch()?;
        if self.held.len() >= prefetch {
            return None;
        }
        let Fetched { task, redeliveries, delivery, .. } = self.ready.pop()?;
        let tag = NEXT_TAG.fetch_add(1, Ordering::Relaxed);
        let held = Held { task: task.clone(), redeliveries, delivery, epoch, ending: false };
        self.held.insert(tag, held);
        Some(Delivery { task, redeliveries, tag })
    }

    /// What is held under the tag, for somebody who is about to end it and must first do something else.
    pub fn begin_end(&mut self, tag: u64) -> Result<Held, QueueError> {
        let epoch = self.epoch();
        let held = self.held.get_mut(&tag).filter(|held| !held.ending).ok_or(QueueError::NotHeld)?;
        if Some(held.epoch) != epoch {
            self.held.remove(&tag);
            return Err(QueueError::NotHeld);
        }
        held.ending = true;
        Ok(held.clone())
    }

    /// It stays held after all.
    pub fn cancel_end(&mut self, tag: u64) {
        if let Some(held) = self.held.get_mut(&tag) {
            held.ending = false;
        }
    }

    /// Ends it.
    pub fn end(&mut self, tag: u64) -> Result<(), QueueError> {
        let epoch = self.epoch();
        let held = self.held.remove(&tag).ok_or(QueueError::NotHeld)?;
        match &mut self.channel {
            Some(acks) if epoch == Some(held.epoch) => {
                acks.pending.insert(held.delivery);
                Ok(())
            }
            _ => Err(QueueError::NotHeld),
        }
    }
}

impl Acks {
    fn flush(&mut self) {
        for (delivery, multiple) in self.take() {
            // Polled once, it is on its way; where the channel is closed, the pump notices by itself.
            let _ = self.channel.basic_ack(delivery, BasicAckOptions { multiple }).now_or_never();
        }
    }

    /// What to acknowledge: at most one for all up to it, and the others one by one.
    fn take(&mut self) -> Vec<(u64, bool)> {
        take_acks(&mut self.low, &mut self.pending, &mut self.single)
    }
}

fn take_acks(low: &mut u64, pending: &mut BTreeSet<u64>, single: &mut BTreeSet<u64>) -> Vec<(u64, bool)> {
    let mut up_to = None;
    loop {
        let next = *low + 1;
        if pending.remove(&next) {
            up_to = Some(next);
        } else if !single.remove(&next) {
            break;
        }
        *low = next;
    }
    let rest = std::mem::take(pending);
    single.extend(&rest);
    up_to
        .map(|delivery| (delivery, true))
        .into_iter()
        .chain(rest.into_iter().map(|delivery| (delivery, false)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acknowledgement_covers_many_only_where_none_below_is_open() {
        let (mut low, mut pending, mut single) = (0, BTreeSet::new(), BTreeSet::new());
        let mut acks = |ended: &[u64]| {
            pending.extend(ended);
            take_acks(&mut low, &mut pending, &mut single)
        };
        assert_eq!(acks(&[1, 2, 3]), [(3, true)]);
        assert_eq!(acks(&[5, 7]), [(5, false), (7, false)], "4 and 6 are open");
        assert_eq!(acks(&[4]), [(4, true)], "5 was acknowledged, 6 is open");
        assert_eq!(acks(&[]), []);
        assert_eq!(acks(&[6, 8, 10]), [(8, true), (10, false)]);
        assert_eq!(acks(&[9]), [(9, true)]);
        assert_eq!(acks(&[11, 12]), [(12, true)]);
    }
}
