//! The breaker as operators see it, and their hand on it.

use fleetscan_proto::{Event, EventTrail, Fleet, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const STANDING: &str = "breaker";
const FORCED: &str = "breaker/forced";

/// Whether a denied AssumeRole can mark an account at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// While it is open, no account is marked.
    pub open: bool,
    /// Since when it stands so.
    pub since: Timestamp,
    /// Why it is open.
    pub why: Option<String>,
    /// Accounts that wait for it to close.
    pub waiting: u64,
}

/// What an operator decided in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// Mark nobody.
    Open,
    /// Mark who is denied, though many are: they did leave.
    Closed,
}

/// A decision, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// The decision.
    pub force: Force,
    /// Why, for those who wonder.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// How it stands, as the leading coordinator last said; `None`: it never opened.
pub async fn breaker(fleet: &dyn Fleet) -> Result<Option<Breaker>, StoreError> {
    read(fleet.note(STANDING).await?.as_deref())
}

/// What an operator decided.
pub async fn forced(fleet: &dyn Fleet) -> Result<Option<Forced>, StoreError> {
    read(fleet.note(FORCED).await?.as_deref())
}

/// Decides in its place; `None` leaves it to itself again.
pub async fn force(fleet: &dyn Fleet, forced: Option<&Forced>) -> Result<(), StoreError> {
    let text = forced.map(write).transpose()?;
    fleet.keep_note(FORCED, text.as_deref()).await
}

/// Says how it stands, where that changed.
pub(super) async fn tell(fleet: &dyn Fleet, now: &Breaker) -> Result<(), StoreError> {
    fleet.keep_note(STANDING, Some(&write(now)?)).await
}

/// Says that it opened or closed, here and to those who are told of events: both or neither.
pub(super) async fn announce(events: &dyn EventTrail, now: &Breaker) -> Result<(), StoreError> {
    let event = Event::of_breaker(rand::random(), now.since, now.open, now.why.as_deref(), now.waiting);
    events.append_event(&event, Some((STANDING, &write(now)?))).await
}

fn read<T: serde::de::DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, StoreError> {
    // What a newer version wrote and this one cannot read is no reason to stop a fleet.
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

fn write(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}
