//! A log file of CloudTrail: gzip, and in it `{"Records": […]}`. Its events are read one by one and none is kept, so that
//! what a file takes does not grow with what it unpacks to.

use super::event::Event;
use flate2::read::MultiGzDecoder;
use fleetscan_proto::activity::Activity;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{
    fmt,
    io::{BufReader, Read as _},
};

/// The most bytes that a log file unpacks to: CloudTrail's own have some 50 MB at most.
const MAX_UNPACKED_BYTES: u64 = 512 << 20;

/// Who did something by a log file, and when last.
///
/// # Errors
/// What is wrong with the file, without a word of it.
pub(super) fn read(packed: &[u8]) -> Result<Activity, String> {
    within(packed, MAX_UNPACKED_BYTES)
}

fn within(packed: &[u8], most: u64) -> Result<Activity, String> {
    let mut unpacked = MultiGzDecoder::new(packed).take(most + 1);
    let read = serde_json::from_reader::<_, LogFile>(BufReader::new(&mut unpacked));
    if unpacked.limit() == 0 {
        return Err(format!("it unpacks to more than {} MiB", most >> 20));
    }
    match read {
        Ok(file) => Ok(file.records.0),
        // The parser's own words may repeat the document's.
        Err(error) if error.is_io() => Err("it is not gzip, or damaged".to_owned()),
        Err(error) if error.is_eof() => Err("it breaks off".to_owned()),
        Err(_) => Err("it is not what CloudTrail writes".to_owned()),
    }
}

#[derive(Deserialize)]
struct LogFile {
    #[serde(rename = "Records")]
    records: Folded,
}

/// A list of events, of which only the last of each principal is left.
struct Folded(Activity);

impl<'de> Deserialize<'de> for Folded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Folding)
    }
}

struct Folding;

impl<'de> Visitor<'de> for Folding {
    type Value = Folded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Folded, A::Error> {
        let mut folded = Activity::default();
        while let Some(event) = events.next_element::<Event>()? {
            let at = event.at().ok_or_else(|| A::Error::custom("an event without a time"))?;
            let (id, principal) = event.principal(at);
            folded.note(&id, principal);
        }
        Ok(Folded(folded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use serde_json::{Value, json};
    use std::io::Write as _;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("packed");
        encoder.finish().expect("packed")
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
    fn a_file_that_unpacks_without_end_is_left() {
        let bomb = packed(&format!("{{\"Records\": [{}]}}", " ".repeat(4 << 20)));
        assert!(bomb.len() < 64 << 10);
        assert_eq!(within(&bomb, 1 << 20).expect_err("too long"), "it unpacks to more than 1 MiB");
        assert!(within(&bomb, 8 << 20).is_ok());
    }
}
