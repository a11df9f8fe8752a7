use crate::{
    AccountId, AccountState, AccountStatus, Denial, Outcome, RegisteredAccount, ScanId, ScanState, StoreError,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// Layout of an event's `data`. What is added leaves it as it is; what means something else raises it.
pub const EVENT_SCHEMA: u32 = 1;

/// Events that a store keeps: older ones make room. The histories of the accounts are kept whole beside them.
pub const EVENTS_KEPT: u64 = 10_000;

/// Evidence that leaves with an event; whatever else a status may hold one day stays.
const EVIDENCE: [&str; 9] =
    ["code", "request_id", "denied_at", "tries", "doing", "hub", "organisation", "reinstated", "denied_actions"];

/// What events tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// An account's role no longer lets us in, and that is confirmed.
    AccountRevoked,
    /// A revoked account lets us in again.
    AccountReinstated,
    /// An account lets us in, and denies some actions that it had allowed.
    AccountDegraded,
    /// A degraded account allows everything again.
    AccountRecovered,
    /// So many accounts deny AssumeRole that none is marked revoked.
    BreakerOpened,
    /// Denied accounts can be marked revoked again.
    BreakerClosed,
    /// A scan has ended, and its results are whole: finished or cancelled.
    ScanFinished,
    /// Somebody wants to see whether a receiver takes events.
    Test,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 8] = [
        EventKind::AccountRevoked,
        EventKind::AccountReinstated,
        EventKind::AccountDegraded,
        EventKind::AccountRecovered,
        EventKind::BreakerOpened,
        EventKind::BreakerClosed,
        EventKind::ScanFinished,
        EventKind::Test,
    ];

    /// The name in payloads, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::AccountRevoked => "account.revoked",
            EventKind::AccountReinstated => "account.reinstated",
            EventKind::AccountDegraded => "account.degraded",
            EventKind::AccountRecovered => "account.recovered",
            EventKind::BreakerOpened => "breaker.opened",
            EventKind::BreakerClosed => "breaker.closed",
            EventKind::ScanFinished => "scan.finished",
            EventKind::Test => "fleetscan.test",
        }
    }

    /// What a change of an account's state is told as; `None`: nobody is told of it.
    pub fn of_change(from: Option<AccountState>, to: AccountState) -> Option<Self> {
        use AccountState::{Active, Degraded, Paused, Revoked};
        match (from, to) {
            (Some(before), after) if before == after => None,
            // An operator ended a pause: the account is what it was before, and that was told then.
            (Some(Paused), _) => None,
            (_, Revoked) => Some(EventKind::AccountRevoked),
            (Some(Revoked), Active | Degraded) => Some(EventKind::AccountReinstated),
            (_, Degraded) => Some(EventKind::AccountDegraded),
            (Some(Degraded), Active) => Some(EventKind::AccountRecovered),
            _ => None,
        }
    }

    /// Whether a change to this state may be told, from whatever state.
    pub fn may_tell(to: AccountState) -> bool {
        matches!(to, AccountState::Revoked | AccountState::Active | AccountState::Degraded)
    }
}

/// Something that others may want to know, as it is kept and as it is sent: its JSON is the payload of the webhook. It
/// holds no grant and no text of AWS's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`EVENT_SCHEMA`] of whoever wrote it.
    pub schema: u32,
    /// `evt_` and 32 hexadecimal digits: the same each time that it is sent, so that receivers know it again.
    pub id: String,
    /// [`EventKind::as_str`]; a text, so that an older program hands on what a newer one wrote.
    #[serde(rename = "type")]
    pub kind: String,
    /// When what it tells of happened.
    pub timestamp: Timestamp,
    /// What happened.
    pub data: Map<String, Value>,
}

/// A scan at its end, as an event tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanEnding<'a> {
    /// Which scan.
    pub scan: &'a ScanId,
    /// [`ScanState::Finished`] or [`ScanState::Cancelled`].
    pub state: ScanState,
    /// It has no holes.
    pub complete: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When its manifest was written.
    pub finished_at: Timestamp,
    /// Its accounts.
    pub accounts: u64,
    /// Cells by outcome.
    pub cells: &'a BTreeMap<Outcome, u64>,
    /// Records written.
    pub records: u64,
    /// Root of its results, as the operator named it.
    pub out: &'a str,
}

impl Event {
    /// An event with an id of its own, made of 128 random bits.
    pub fn new(random: u128, kind: EventKind, timestamp: Timestamp, data: Value) -> Self {
        Self::with_id(format!("evt_{random:032x}"), kind, timestamp, data)
    }

    fn with_id(id: String, kind: EventKind, timestamp: Timestamp, data: Value) -> Self {
        let data = match data {
            Value::Object(map) => map,
            other => [("value".to_owned(), other)].into_iter().collect(),
        };
        Self { schema: EVENT_SCHEMA, id, kind: kind.as_str().to_owned(), timestamp, data }
    }

    /// What a change of an account's state tells; `None`: nobody is told of it. Name and customer are the registry's.
    pub fn of_account(
        random: u128,
        from: Option<AccountState>,
        status: &AccountStatus,
        registered: Option<&RegisteredAccount>,
    ) -> Option<Self> {
        let kind = EventKind::of_change(from, status.state)?;
        let evidence: BTreeMap<&String, &String> =
            status.evidence.iter().filter(|(what, _)| EVIDENCE.contains(&what.as_str())).collect();
        let denied: &[Denial] = if status.state == AccountState::Degraded { &status.denied } else { &[] };
        let data = json!({
            "account": status.account,
            "name": registered.and_then(|account| account.name.as_ref()),
            "customer": registered.and_then(|account| account.customer.as_ref()),
            "previous": from.map(AccountState::as_str),
            "status": status.state.as_str(),
            "since": status.since,
            "denied": denied,
            "evidence": evidence,
        });
        Some(Self::new(random, kind, status.since, data))
    }

    /// That the breaker opened or closed; `waiting`: denied accounts that wait for it to close.
    pub fn of_breaker(random: u128, at: Timestamp, open: bool, why: Option<&str>, waiting: u64) -> Self {
        let kind = if open { EventKind::BreakerOpened } else { EventKind::BreakerClosed };
        Self::new(random, kind, at, json!({ "open": open, "why": why, "waiting": waiting }))
    }

    /// That a scan has ended. Told again with the same cells, it is the same event: whoever ends a scan may be killed,
    /// and another does it again.
    pub fn of_scan(ending: &ScanEnding<'_>) -> Self {
        let cells: Map<String, Value> =
            ending.cells.iter().map(|(outcome, count)| (outcome.to_string(), json!(count))).collect();
        let cancelled = ending.state == ScanState::Cancelled;
        let data = json!({
            "scan": ending.scan,
            "state": if cancelled { "cancelled" } else { "finished" },
            "complete": ending.complete,
            "started_at": ending.started_at,
            "finished_at": ending.finished_at,
            "accounts": ending.accounts,
            "cells": cells,
            "records": ending.records,
            "out": ending.out,
        });
        let same = format!("{} {cancelled} {cells:?}", ending.scan);
        let id = Sha256::digest(same).iter().take(16).fold("evt_".to_owned(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        });
        Self::with_id(id, EventKind::ScanFinished, ending.finished_at, data)
    }

    /// For whoever wants to see whether a receiver takes events.
    pub fn test(random: u128, at: Timestamp) -> Self {
        Self::new(random, EventKind::Test, at, json!({ "says": "a test event: nothing happened" }))
    }

    /// The account that it is about, where it is about one.
    pub fn account(&self) -> Option<AccountId> {
        self.data.get("account")?.as_str()?.parse().ok()
    }
}

/// An event with its place in the trail.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedEvent {
    /// 1, 2, 3 and so on, without a gap but for those that made room.
    pub number: u64,
    /// The event.
    pub event: Event,
}

/// What happened, in the order in which it was noted: appended to, never altered. The newest [`EVENTS_KEPT`] are kept.
///
/// [`Store::set_account_status`](crate::Store::set_account_status) appends what it changes by itself, in one with the
/// change: neither is ever there without the other, though a reader may see the event a few seconds later where the
/// writer was killed. Repeating any method after [`StoreError::Away`] is safe.
#[async_trait]
pub trait EventTrail: Send + Sync + 'static {
    /// Appends an event, unless one with its id is there; and keeps a note with it, as
    /// [`Fleet::keep_note`](crate::Fleet::keep_note) does: both or neither.
    async fn append_event(&self, event: &Event, note: Option<(&str, &str)>) -> Result<(), StoreError>;

    /// Events after this number, oldest first, at most `limit`.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<NumberedEvent>, StoreError>;

    /// The newest event's number; 0 where there is none.
    async fn newest_event(&self) -> Result<u64, StoreError>;
}

/// Why a receiver did not take an event. The texts name no address and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Perhaps it takes it later: it is away, busy, or not set up yet.
    #[error("{0}")]
    Later(String),
    /// It will have nothing of this very event.
    #[error("{0}")]
    Refused(String),
}

/// Somebody who is told of events.
#[async_trait]
pub trait EventReceiver: Send + Sync + 'static {
    /// Its name: its place in the trail is kept under it.
    fn name(&self) -> &str;

    /// Where it is, for operators: without what may be secret in its address.
    fn place(&self) -> &str;

    /// Whether it is to be told of events of this [type](Event::kind).
    fn wants(&self, kind: &str) -> bool;

    /// How old an event may become before it is given up, should the receiver not take it.
    fn gives_up_after(&self) -> Duration;

    /// Tells it, once. It may be told twice of the same event, under the same id.
    async fn deliver(&self, event: &Event) -> Result<(), DeliveryError>;

    /// Waits between tries: they grow up to a bound, and never end.
    fn waits(&self) -> Box<dyn Iterator<Item = Duration> + Send>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: AccountState) -> AccountStatus {
        let evidence = [("code", "AccessDenied"), ("role", "arn:aws:iam::111122223333:role/planted")];
        AccountStatus {
            account: "111122223333".parse().expect("id"),
            state,
            since: Timestamp::UNIX_EPOCH,
            last_success: None,
            denied: vec![Denial { action: "sns:ListTopics".into(), by: crate::DeniedBy::Scp }],
            evidence: evidence.map(|(what, value)| (what.to_owned(), value.to_owned())).into(),
        }
    }
    fn told(from: Option<AccountState>, to: AccountState) -> Option<String> {
        Event::of_account(7, from, &status(to), None).map(|event| event.kind)
    }

    #[test]
    fn changes_that_matter_to_others_are_told_and_no_more() {
        use AccountState::{Active, Degraded, Disconnected, Paused, Pending, Revoked};
        assert_eq!(told(Some(Active), Revoked).as_deref(), Some("account.revoked"));
        assert_eq!(told(Some(Degraded), Revoked).as_deref(), Some("account.revoked"));
        assert_eq!(told(Some(Revoked), Active).as_deref(), Some("account.reinstated"));
        assert_eq!(told(Some(Active), Degraded).as_deref(), Some("account.degraded"));
        assert_eq!(told(Some(Degraded), Active).as_deref(), Some("account.recovered"));
        for (from, to) in [(None, Active), (Some(Pending), Active), (Some(Paused), Active), (Some(Active), Active)] {
            assert_eq!(told(from, to), None, "{from:?} to {to:?}");
        }
        for to in [Active, Degraded, Revoked] {
            assert_eq!(told(Some(Paused), to), None, "a pause ends, and {to:?} was told before it");
        }
        for to in [Pending, Paused, Disconnected] {
            assert_eq!(told(Some(Active), to), None);
            assert!(!EventKind::may_tell(to));
        }
    }

    #[test]
    fn only_evidence_that_is_known_to_be_harmless_leaves() {
        let event =
            Event::of_account(1, Some(AccountState::Active), &status(AccountState::Revoked), None).expect("told");
        let text = serde_json::to_string(&event).expect("JSON");
        assert!(text.contains("AccessDenied") && !text.contains("planted"), "{text}");
        assert_eq!(event.id, "evt_00000000000000000000000000000001");
        assert_eq!(serde_json::from_str::<Event>(&text).expect("reads back"), event);
    }

    #[test]
    fn a_scan_that_is_ended_twice_is_told_once_and_one_that_went_on_anew() {
        let (scan, now) = (ScanId::new(Timestamp::UNIX_EPOCH, 1), Timestamp::UNIX_EPOCH);
        let cells = BTreeMap::from([(Outcome::Complete, 3)]);
        let ending = ScanEnding {
            scan: &scan,
            state: ScanState::Finished,
            complete: true,
            started_at: now,
            finished_at: now,
            accounts: 1,
            cells: &cells,
            records: 9,
            out: "/results",
        };
        let first = Event::of_scan(&ending);
        let later = ScanEnding { finished_at: Timestamp::from_second(9).expect("time"), ..ending.clone() };
        assert_eq!(Event::of_scan(&later).id, first.id);
        assert_ne!(Event::of_scan(&ScanEnding { state: ScanState::Cancelled, ..ending.clone() }).id, first.id);
        let more = BTreeMap::from([(Outcome::Complete, 4)]);
        assert_ne!(Event::of_scan(&ScanEnding { cells: &more, ..ending }).id, first.id);
    }
}
