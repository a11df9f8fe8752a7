use fleetscan_proto::{Lane, Task};
use jiff::Timestamp;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use serde::Deserialize;

/// Why a dead letter is one.
pub(super) const REASON: &str = "x-fleetscan-reason";
/// When a deferred task is due, in milliseconds since 1970; only where one delay is not enough.
const DUE: &str = "x-fleetscan-due";
/// Redeliveries of the messages that this one took the place of.
const REDELIVERIES: &str = "x-fleetscan-redeliveries";
/// Kept by quorum queues; absent on the first delivery.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A message on its way to the broker.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub exchange: ShortString,
    pub key: ShortString,
    pub body: Vec<u8>,
    headers: FieldTable,
}

impl Outgoing {
    pub fn new(exchange: ShortString, key: ShortString, body: Vec<u8>) -> Self {
        Self { exchange, key, body, headers: FieldTable::default() }
    }

    pub fn with_reason(mut self, reason: &str) -> Self {
        self.headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
        self
    }

    pub fn with_due(mut self, due: Option<Timestamp>) -> Self {
        if let Some(due) = due {
            self.headers.insert(DUE.into(), AMQPValue::LongLongInt(due.as_millisecond()));
        }
        self
    }

    pub fn with_redeliveries(mut self, redeliveries: u32) -> Self {
        if redeliveries > 0 {
            self.headers.insert(REDELIVERIES.into(), AMQPValue::LongLongInt(redeliveries.into()));
        }
        self
    }

    /// Persistent, and JSON.
    pub fn properties(&self) -> BasicProperties {
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        if self.headers.inner().is_empty() { properties } else { properties.with_headers(self.headers.clone()) }
    }
}

/// The JSON of a task, of a wire version that may be newer than its own.
pub(super) fn encode(task: &Task, wire_version: u32) -> Vec<u8> {
    if task.version < wire_version {
        return encode(&Task { version: wire_version, ..task.clone() }, wire_version);
    }
    // Strings and numbers only: nothing of a task can fail to be written.
    serde_json::to_vec(task).unwrap_or_default()
}

/// What a message's body holds.
#[derive(Debug)]
pub(super) enum Body {
    Task(Box<Task>),
    /// A task of a newer wire version: another worker's.
    Newer(u64),
    /// No task at all, and why.
    Broken(String),
}

/// `newest`: the newest wire version that is read.
pub(super) fn decode(body: &[u8], newest: u32) -> Body {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    match serde_json::from_slice::<Task>(body) {
        Ok(task) if task.version == 0 => Body::Broken("not a task: there is no wire version 0".into()),
        Ok(task) if task.version <= newest => Body::Task(Box::new(task)),
        Ok(task) => Body::Newer(task.version.into()),
        Err(error) => match serde_json::from_slice::<Version>(body) {
            Ok(Version { version }) if version > u64::from(newest) => Body::Newer(version),
            _ => Body::Broken(format!("not a task: {error}")),
        },
    }
}

fn integer(headers: Option<&FieldTable>, name: &str) -> Option<i64> {
    match *headers?.inner().get(name)? {
        AMQPValue::LongLongInt(n) => Some(n),
        AMQPValue::LongInt(n) => Some(n.into()),
        AMQPValue::LongUInt(n) => Some(n.into()),
        AMQPValue::ShortInt(n) => Some(n.into()),
        AMQPValue::ShortUInt(n) => Some(n.into()),
        AMQPValue::ShortShortInt(n) => Some(n.into()),
        AMQPValue::ShortShortUInt(n) => Some(n.into()),
        _ => None,
    }
}

/// When the message is due, where one delay was not enough for it.
pub(super) fn due(delivery: &Delivery) -> Option<Timestamp> {
    let millisecond = integer(delivery.properties.headers().as_ref(), DUE)?;
    Some(Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::MAX))
}

/// How often the message, or one whose place it took, was handed out before without a word of what became of it.
pub(super) fn redeliveries(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    let count = |name| integer(headers, name).map_or(0, |n| u32::try_from(n).unwrap_or(0));
    count(DELIVERY_COUNT).saturating_add(count(REDELIVERIES))
}

/// The reason in a dead letter's headers; `None` where the broker itself put it aside.
pub(super) fn reason(delivery: &Delivery) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(REASON)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The routing key of a shard's lane.
pub(super) fn routing_key(lane: Lane, shard: u16) -> String {
    match lane {
        Lane::Normal => format!("work.{shard}"),
        Lane::Urgent => format!("urgent.{shard}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::{TaskKind, WIRE_VERSION};

    #[test]
    fn a_task_survives_and_what_is_none_says_why() {
        let kind = TaskKind::Probe { account: "111122223333".parse().expect("an id") };
        let task = Task::new("s-1".parse().expect("an id"), kind, 3);
        assert!(matches!(decode(&encode(&task, WIRE_VERSION), WIRE_VERSION), Body::Task(read) if *read == task));
        let newer = Task { version: WIRE_VERSION + 1, ..task.clone() };
        assert!(matches!(decode(&encode(&newer, WIRE_VERSION), WIRE_VERSION), Body::Newer(_)));
        let written = encode(&task, WIRE_VERSION + 1);
        assert!(matches!(decode(&written, WIRE_VERSION), Body::Newer(_)));
        assert!(matches!(decode(&written, WIRE_VERSION + 1), Body::Task(read) if *read == newer));
        assert!(matches!(decode(br#"{"version": 7, "what": "the future brings"}"#, WIRE_VERSION), Body::Newer(7)));
        for broken in [&b"hello"[..], b"", b"{}", br#"{"version": 1}"#, &encode(&Task { version: 0, ..task }, 0)] {
            assert!(matches!(decode(broken, WIRE_VERSION), Body::Broken(_)), "{:?}", String::from_utf8_lossy(broken));
        }
    }
}
