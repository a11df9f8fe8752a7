use super::MemoryStore;
use async_trait::async_trait;
use fleetscan_proto::{EVENTS_KEPT, Event, EventTrail, NumberedEvent, StoreError};
use std::collections::{HashSet, VecDeque};

/// What happened: the newest events, oldest first.
#[derive(Default)]
pub(super) struct Events {
    kept: VecDeque<NumberedEvent>,
    ids: HashSet<String>,
}

impl Events {
    pub(super) fn append(&mut self, event: &Event) {
        if !self.ids.insert(event.id.clone()) {
            return;
        }
        self.kept.push_back(NumberedEvent { number: self.newest() + 1, event: event.clone() });
        if self.kept.len() as u64 > EVENTS_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.ids.remove(&oldest.event.id);
        }
    }

    fn newest(&self) -> u64 {
        self.kept.back().map_or(0, |newest| newest.number)
    }
}

#[async_trait]
impl EventTrail for MemoryStore {
    async fn append_event(&self, event: &Event, note: Option<(&str, &str)>) -> Result<(), StoreError> {
        let mut all = self.lock();
        all.events.append(event);
        if let Some((name, text)) = note {
            all.fleet.notes.insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<NumberedEvent>, StoreError> {
        Ok(self.lock().events.kept.iter().filter(|event| event.number > after).take(limit).cloned().collect())
    }

    async fn newest_event(&self) -> Result<u64, StoreError> {
        Ok(self.lock().events.newest())
    }
}
