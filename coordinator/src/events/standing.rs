//! How far a receiver was told, as the store keeps it: for the next leader, for doctors and for operators.

use fleetscan_proto::{Event, EventReceiver, Fleet, NumberedEvent, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::Arc};

/// Undelivered events that are listed, the newest; the others are counted.
const LISTED: usize = 100;
const NAMES: &str = "events/receivers";

/// How a receiver stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverStanding {
    /// Its name.
    pub name: String,
    /// Where it is, without what may be secret in its address.
    pub place: String,
    /// Number of the newest event that is behind it: taken, not for it, or given up.
    pub told_up_to: u64,
    /// Events that it took.
    pub delivered: u64,
    /// When it last took one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered: Option<Timestamp>,
    /// The event that it does not take at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
    /// Events that were given up, since it is known.
    pub given_up: u64,
    /// The newest of these, oldest first.
    #[serde(default)]
    pub undelivered: VecDeque<Undelivered>,
}

/// An event that a receiver does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Which.
    pub event: String,
    /// When it was first tried.
    pub since: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// How often the receiver would have nothing of it.
    pub refusals: u32,
    /// Why the last try failed.
    pub problem: String,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// Which.
    pub event: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When it was given up.
    pub given_up_at: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub problem: String,
}

impl ReceiverStanding {
    pub(super) async fn load(fleet: &dyn Fleet, name: &str) -> Result<Option<Self>, StoreError> {
        let text = fleet.note(&note(name)).await?;
        // What a newer version wrote and this one cannot read is no reason to tell nobody.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(super) async fn keep(&self, fleet: &dyn Fleet) -> Result<(), StoreError> {
        let text = serde_json::to_string(self).map_err(|error| StoreError::Refused(error.to_string()))?;
        fleet.keep_note(&note(&self.name), Some(&text)).await
    }

    pub(super) fn took(&mut self, number: u64, now: Timestamp) {
        self.told_up_to = number;
        self.delivered += 1;
        self.last_delivered = Some(now);
        self.failing = None;
    }

    /// Answers what is known of the event's failures, this one included.
    pub(super) fn failed(&mut self, event: &Event, now: Timestamp, refused: bool, problem: &str) -> &Failing {
        let before = self.failing.take().filter(|failing| failing.event == event.id);
        let (since, tries, refusals) = before.map_or((now, 0, 0), |b| (b.since, b.tries, b.refusals));
        self.failing.insert(Failing {
            event: event.id.clone(),
            since,
            tries: tries + 1,
            refusals: refusals + u32::from(refused),
            problem: problem.to_owned(),
        })
    }

    pub(super) fn gave_up(&mut self, given_up: &NumberedEvent, now: Timestamp) {
        let (tries, problem) = self.failing.take().map_or((0, String::new()), |f| (f.tries, f.problem));
        self.told_up_to = given_up.number;
        self.given_up += 1;
        self.undelivered.push_back(Undelivered {
            event: given_up.event.id.clone(),
            kind: given_up.event.kind.clone(),
            timestamp: given_up.event.timestamp,
            given_up_at: now,
            tries,
            problem,
        });
        if self.undelivered.len() > LISTED {
            self.undelivered.pop_front();
        }
    }
}

fn note(name: &str) -> String {
    format!("events/receiver/{name}")
}

/// Says who is told of events, for doctors and operators.
pub(crate) async fn name_receivers(fleet: &dyn Fleet, receivers: &[Arc<dyn EventReceiver>]) -> Result<(), StoreError> {
    let names: Vec<&str> = receivers.iter().map(|receiver| receiver.name()).collect();
    let text = serde_json::to_string(&names).map_err(|error| StoreError::Refused(error.to_string()))?;
    fleet.keep_note(NAMES, (!names.is_empty()).then_some(text.as_str())).await
}

/// How those stand who are told of events, in their order.
pub async fn receivers(fleet: &dyn Fleet) -> Result<Vec<ReceiverStanding>, StoreError> {
    let names = fleet.note(NAMES).await?;
    let names: Vec<String> = names.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let standing = ReceiverStanding::load(fleet, &name).await?;
        all.push(standing.unwrap_or_else(|| ReceiverStanding { name, ..ReceiverStanding::default() }));
    }
    Ok(all)
}
