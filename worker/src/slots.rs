//! Places for calls to AWS, of which a worker makes only so many at once.
//!
//! A worker that is busy shares its places among hundreds of buckets. Were each served in its turn, an account with tens of
//! thousands of calls for one bucket would get no more of them than one with three, fall behind what its bucket allows, and
//! be alone at the end, with nothing that could be done beside it. So every second place goes to the call of the longest
//! work: as an earlier scan found, or else by how long its bucket has worked so far, for what has taken long is likely to take
//! longer still. The others go to whoever waits the longest, so that small accounts need not wait for large ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// Places for so many calls.
#[derive(Debug)]
pub struct Slots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    /// Counts those who waited; who came first has the lower number.
    count: u64,
    line: BTreeMap<u64, Waiter>,
    /// The same, the shortest work first, and of equals who came last.
    by_work: BTreeSet<(Duration, std::cmp::Reverse<u64>)>,
    /// Whether the next place is for the longest work.
    by_work_next: bool,
}

#[derive(Debug)]
struct Waiter {
    work: Duration,
    tell: oneshot::Sender<()>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when it is dropped"]
pub struct Slot<'a>(&'a Slots);

/// A place in the line. Whoever gives up leaves it, and a place that was given to them meanwhile goes to the next.
struct Place<'a> {
    slots: &'a Slots,
    number: u64,
    served: bool,
}

impl Slots {
    /// Places for `count` calls at once, at least one.
    pub fn new(count: usize) -> Self {
        Self { state: Mutex::new(State { free: count.max(1), ..State::default() }) }
    }

    /// Waits for a place. `work`: how long the work takes that the call is part of, as far as is known.
    pub async fn take(&self, work: Duration) -> Slot<'_> {
        let Some((mut place, told)) = self.stand_in_line(work) else { return Slot(self) };
        // Its sender is dropped with these slots alone, or having told.
        let _ = told.await;
        place.served = true;
        Slot(self)
    }

    /// `None`: one was free.
    fn stand_in_line(&self, work: Duration) -> Option<(Place<'_>, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        if state.free > 0 {
            state.free -= 1;
            return None;
        }
        let (tell, told) = oneshot::channel();
        state.count += 1;
        let number = state.count;
        state.by_work.insert((work, std::cmp::Reverse(number)));
        state.line.insert(number, Waiter { work, tell });
        Some((Place { slots: self, number, served: false }, told))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A place is free: the next in line has it.
    fn pass_on(&mut self) {
        let longest_work = self.by_work.last().map(|(_, number)| number.0).filter(|_| self.by_work_next);
        self.by_work_next = !self.by_work_next;
        let Some(next) = longest_work.or_else(|| self.line.keys().next().copied()) else {
            self.free += 1;
            return;
        };
        if let Some(waiter) = self.leave(next) {
            // Whoever does not listen any more passes it on, in leaving.
            let _ = waiter.tell.send(());
        }
    }

    fn leave(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.line.remove(&number)?;
        self.by_work.remove(&(waiter.work, std::cmp::Reverse(number)));
        Some(waiter)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.lock().pass_on();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.served {
            return;
        }
        let mut state = self.slots.lock();
        if state.leave(self.number).is_none() {
            state.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::{pin::pin, sync::Arc};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_in_turn_to_who_waits_and_to_who_has_worked_the_longest() {
        let slots = Arc::new(Slots::new(1));
        let held = slots.take(seconds(0)).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        for (name, work) in [("small 1", 0), ("small 2", 1), ("giant", 900), ("large", 60), ("small 3", 1)] {
            let (slots, order) = (Arc::clone(&slots), Arc::clone(&order));
            tokio::spawn(async move {
                let _slot = slots.take(seconds(work)).await;
                order.lock().expect("lock").push(name);
            });
            tokio::task::yield_now().await;
        }
        drop(held);
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(*order.lock().expect("lock"), ["small 1", "giant", "small 2", "large", "small 3"]);
        assert_eq!(slots.lock().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_there_are_places_are_taken_at_once() {
        let slots = Arc::new(Slots::new(3));
        let at_once = Arc::new(Mutex::new((0, 0)));
        let calls = (0..100_u64).map(|number| {
            let (slots, at_once) = (Arc::clone(&slots), Arc::clone(&at_once));
            tokio::spawn(async move {
                let _slot = slots.take(seconds(number % 7)).await;
                {
                    let mut now = at_once.lock().expect("lock");
                    now.0 += 1;
                    now.1 = now.1.max(now.0);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                at_once.lock().expect("lock").0 -= 1;
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("a call");
        }
        assert_eq!(*at_once.lock().expect("lock"), (0, 3));
        let state = slots.lock();
        assert_eq!((state.free, state.line.len(), state.by_work.len()), (3, 0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_line_and_passes_on_what_was_theirs_meanwhile() {
        let slots = Slots::new(1);
        let held = slots.take(seconds(0)).await;
        {
            let waiting = pin!(slots.take(seconds(5)));
            assert!(waiting.now_or_never().is_none());
        }
        assert!(slots.lock().line.is_empty() && slots.lock().by_work.is_empty(), "it gave up in line");
        {
            let mut first = pin!(slots.take(seconds(5)));
            assert!(first.as_mut().now_or_never().is_none());
            let mut second = pin!(slots.take(seconds(1)));
            assert!(second.as_mut().now_or_never().is_none());
            drop(held);
            // Given to one of them, who is never asked again.
        }
        assert_eq!(slots.lock().free, 1);
        drop(slots.take(seconds(0)).now_or_never().expect("it is free again"));
    }
}
