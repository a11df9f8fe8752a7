use super::{deliveries::Deliveries, pump::Choice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{mpsc, oneshot};

/// The consumers of a queue that still live.
#[derive(Default)]
pub(super) struct Consumers(Mutex<Vec<(Weak<Deliveries>, mpsc::WeakSender<Choice>)>>);

impl Consumers {
    fn lock(&self) -> MutexGuard<'_, Vec<(Weak<Deliveries>, mpsc::WeakSender<Choice>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, deliveries: &Arc<Deliveries>, choices: mpsc::WeakSender<Choice>) {
        let mut all = self.lock();
        all.retain(|(one, _)| one.strong_count() > 0);
        all.push((Arc::downgrade(deliveries), choices));
    }

    pub fn all(&self) -> Vec<Arc<Deliveries>> {
        self.lock().iter().filter_map(|(one, _)| one.upgrade()).collect()
    }

    /// Nothing more is handed out, and what was not goes back.
    pub fn close(&self) {
        for (deliveries, choices) in self.lock().iter() {
            let Some(deliveries) = deliveries.upgrade() else { continue };
            deliveries.lock().closed = true;
            deliveries.changed.notify_waiters();
            if let Some(choices) = choices.upgrade() {
                // Where there is no room, the pump is about to look anyway.
                let _ = choices.try_send(oneshot::channel().0);
            }
        }
    }
}
