//! A log file of CloudTrail: gzip, and in it `{"Records": […]}`. Its events are read one by one and none is kept, so that
//! what a file takes does not grow with what it unpacks to.

use super::event::Event;
use flate2::read::MultiGzDecoder;
use fleetscan_proto::activity::Activity;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{
    fmt,
    io::{self, BufReader, Read},
};

/// The most bytes that a log file unpacks to: CloudTrail's own have some 50 MB at most.
const MAX_UNPACKED_BYTES: u64 = 128 << 20;
/// The most bytes of one text in it: as many as a whole event has at most (AWS CloudTrail User Guide, "CloudTrail record
/// contents").
const MAX_TEXT_BYTES: usize = 256 << 10;
/// How deep it may be nested.
const MAX_DEPTH: usize = 512;

/// Of whom and of when a log file tells, by its name.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) account: String,
    pub(super) region: String,
    /// The last second of the minute in which it was delivered: nothing in it was done later.
    pub(super) until: i64,
}

/// Who did something by a log file, and when last. What is not of its account, region and time is passed over.
///
/// # Errors
/// What is wrong with the file, without a word of it.
pub(super) fn read(packed: &[u8], label: &Label) -> Result<Activity, String> {
    within(packed, label, MAX_UNPACKED_BYTES)
}

fn within(packed: &[u8], label: &Label, most: u64) -> Result<Activity, String> {
    let mut unpacked = Watched::new(MultiGzDecoder::new(packed).take(most + 1));
    let mut parser = serde_json::Deserializer::from_reader(BufReader::new(&mut unpacked));
    let read = LogFile { label }.deserialize(&mut parser).and_then(|read| parser.end().map(|()| read));
    drop(parser);
    if unpacked.inner.limit() == 0 {
        return Err(format!("it unpacks to more than {} MiB", most >> 20));
    }
    if unpacked.too_much {
        return Err("it has a text longer than any event, or is nested deeper".to_owned());
    }
    match read {
        Ok(activity) => Ok(activity),
        // The parser's own words may repeat the document's.
        Err(error) if error.is_io() => Err("it is not gzip, or damaged".to_owned()),
        Err(error) if error.is_eof() => Err("it breaks off".to_owned()),
        Err(_) => Err("it is not what CloudTrail writes".to_owned()),
    }
}

/// JSON on its way to the parser, which would keep a text whole in memory before anybody could refuse it.
struct Watched<R> {
    inner: R,
    in_text: bool,
    escaped: bool,
    length: usize,
    depth: usize,
    too_much: bool,
}

impl<R> Watched<R> {
    fn new(inner: R) -> Self {
        Self { inner, in_text: false, escaped: false, length: 0, depth: 0, too_much: false }
    }

    fn see(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => {
                self.in_text = !self.in_text;
                self.length = 0;
            }
            b'[' | b'{' if !self.in_text => self.depth += 1,
            b']' | b'}' if !self.in_text => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.length += usize::from(self.in_text);
        self.too_much |= self.length > MAX_TEXT_BYTES || self.depth > MAX_DEPTH;
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        buffer[..read].iter().for_each(|byte| self.see(*byte));
        if self.too_much { Err(io::ErrorKind::InvalidData.into()) } else { Ok(read) }
    }
}

/// The document: `Records` in it, and whatever else.
struct LogFile<'a> {
    label: &'a Label,
}

impl<'de> DeserializeSeed<'de> for LogFile<'_> {
    type Value = Activity;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Activity, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LogFile<'_> {
    type Value = Activity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Activity, A::Error> {
        let mut folded = None;
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "Records" if folded.is_some() => return Err(A::Error::custom("two lists of events")),
                "Records" => folded = Some(members.next_value_seed(Folding { label: self.label })?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        folded.ok_or_else(|| A::Error::custom("no list of events"))
    }
}

/// A list of events, of which only the last of each principal is left.
struct Folding<'a> {
    label: &'a Label,
}

impl<'de> DeserializeSeed<'de> for Folding<'_> {
    type Value = Activity;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Activity, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Folding<'_> {
    type Value = Activity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Activity, A::Error> {
        let mut folded = Activity::default();
        while let Some(event) = events.next_element::<Event>()? {
            let at = event.at().ok_or_else(|| A::Error::custom("an event without a time"))?;
            let Label { account, region, until } = self.label;
            if at > *until || !event.is_of(account, region) {
                continue;
            }
            if event.changes_trail() {
                folded.note_trail_changed(at);
            }
            let (id, principal) = event.principal(at);
            folded.note(&id, principal);
        }
        Ok(folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use fleetscan_proto::activity::MAX_PRINCIPALS;
    use serde_json::{Value, json};
    use std::io::Write as _;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("packed");
        encoder.finish().expect("packed")
    }

    fn label() -> Label {
        Label { account: "111122223333".into(), region: "eu-west-1".into(), until: 1_767_323_099 }
    }

    fn read(packed: &[u8]) -> Result<Activity, String> {
        super::read(packed, &label())
    }

    fn event(time: &str, name: &str) -> Value {
        json!({
            "eventVersion": "1.11", "eventTime": time, "eventName": name, "eventSource": "iam.amazonaws.com",
            "userIdentity": { "type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/ann", "accessKeyId": "AKIAEXAMPLE" },
            "requestParameters": { "password": "hunter2" }, "responseElements": null, "readOnly": false,
        })
    }

    #[test]
    fn the_last_event_of_each_principal_is_left() {
        let events = [event("2026-01-02T03:04:05Z", "CreateUser"), event("2026-01-02T03:03:00Z", "DeleteUser")];
        let read = read(&packed(&json!({ "Records": events }).to_string())).expect("whole");
        let ann = &read.principals["arn:aws:iam::111122223333:user/ann"];
        assert_eq!((ann.last.at, ann.last.event.as_str()), (1_767_323_045, "CreateUser"));
        assert_eq!(ann.keys["AKIAEXAMPLE"], 1_767_323_045);
        assert!(read.read.spans().is_empty() && !format!("{read:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_damaged_is_said_without_a_word_of_it() {
        let whole = json!({ "Records": [event("2026-01-02T03:04:05Z", "hunter2")] }).to_string();
        let cut = packed(&whole);
        for (bytes, why) in [
            (whole.clone().into_bytes(), "not gzip"),
            (cut[..cut.len() - 20].to_vec(), "not gzip, or damaged"),
            (packed(&whole[..whole.len() - 9]), "breaks off"),
            (packed("{\"Records\": \"hunter2\"}"), "not what CloudTrail writes"),
            (packed("{}"), "not what CloudTrail writes"),
            (packed(&json!({ "Records": [{ "eventName": "hunter2" }] }).to_string()), "not what CloudTrail writes"),
            (packed(&json!({ "Records": [event("hunter2", "x")] }).to_string()), "not what CloudTrail writes"),
        ] {
            let error = read(&bytes).expect_err(why);
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_giant_text_is_refused_before_it_is_in_memory() {
        let mut one = event("2026-01-02T03:04:05Z", "Do");
        one["eventName"] = Value::from("\\\"x".repeat(MAX_TEXT_BYTES / 2));
        let giant = json!({ "Records": [one] }).to_string();
        for text in [giant, format!("{{\"Records\": [], \"x\": {}", "[".repeat(MAX_DEPTH + 1))] {
            let error = read(&packed(&text)).expect_err("too much");
            assert_eq!(error, "it has a text longer than any event, or is nested deeper");
        }
        let mut seen = Watched::new(io::repeat(b'x'));
        seen.see(b'"');
        let taken = io::copy(&mut seen, &mut io::sink());
        assert!(taken.is_err() && seen.length < 2 * MAX_TEXT_BYTES, "however long it is");
        let mut one = event("2026-01-02T03:04:05Z", "Do");
        one["requestParameters"]["policy"] = Value::from("\\\"[{".repeat(MAX_TEXT_BYTES / 8));
        assert!(read(&packed(&json!({ "Records": [one] }).to_string())).is_ok(), "what an event may have");
    }

    #[test]
    fn of_very_many_principals_few_are_held() {
        let events: Vec<Value> = (0..5 * MAX_PRINCIPALS)
            .map(|n| {
                let mut one = event("2026-01-02T03:04:05Z", "Do");
                one["userIdentity"]["arn"] = Value::from(format!("arn:aws:iam::111122223333:user/u{n}"));
                one
            })
            .collect();
        let read = read(&packed(&json!({ "Records": events }).to_string())).expect("whole");
        assert!(read.principals.len() <= 2 * MAX_PRINCIPALS && read.left_out == Some(1_767_323_045));
    }

    #[test]
    fn what_a_file_cannot_tell_of_is_passed_over() {
        let mut later = event("2026-01-02T03:05:00Z", "Later");
        later["userIdentity"]["arn"] = Value::from("later");
        let with = |name: &str, value: &str| {
            let mut event = event("2026-01-02T03:04:30Z", "Elsewhere");
            event[name] = Value::from(value);
            event
        };
        let others = [later, with("recipientAccountId", "444455556666"), with("awsRegion", "us-east-1")];
        let kept = [with("recipientAccountId", "111122223333"), with("awsRegion", "eu-west-1")];
        let of = |events: &[Value]| read(&packed(&json!({ "Records": events }).to_string())).expect("whole");
        assert!(of(&others).is_empty());
        assert_eq!(of(&kept).principals.len(), 1);
    }

    #[test]
    fn a_trail_that_was_changed_is_told() {
        let by = |name: &str, change: &dyn Fn(&mut Value)| {
            let mut one = event("2026-01-02T03:04:05Z", name);
            one["eventSource"] = Value::from("cloudtrail.amazonaws.com");
            change(&mut one);
            read(&packed(&json!({ "Records": [one] }).to_string())).expect("whole").trail_changed
        };
        for name in ["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"] {
            assert_eq!(by(name, &|_| {}), Some(1_767_323_045), "{name}");
        }
        assert_eq!(by("StartLogging", &|_| {}), None);
        assert_eq!(by("StopLogging", &|event| event["errorCode"] = Value::from("AccessDenied")), None);
        assert_eq!(by("StopLogging", &|event| event["eventSource"] = Value::from("x.amazonaws.com")), None);
    }

    #[test]
    fn a_file_that_unpacks_without_end_is_left() {
        let bomb = packed(&format!("{{\"Records\": [{}]}}", " ".repeat(4 << 20)));
        assert!(bomb.len() < 64 << 10);
        assert_eq!(within(&bomb, &label(), 1 << 20).expect_err("too long"), "it unpacks to more than 1 MiB");
        assert!(within(&bomb, &label(), 8 << 20).is_ok());
    }
}
