//! CloudTrail's history of events: what `LookupEvents` answers.
//!
//! A cell with `n` events has `n` in any ninety days: they happen in rounds at fixed distances since 1970, several in one
//! second where there are many, and each principal has its turn. So the same events are there whenever it is asked, new
//! ones come as time goes on, and the principals are always the same. An event is told up to ten minutes late, as AWS
//! tells it.

use crate::{
    dice::Dice,
    engine::Engine,
    expression::SECRET_MARK,
    problem::{Kind, Problem},
    region::RegionId,
    request::Params,
    world::{AccountIndex, ListKey, ROLE, World},
};
use fleetscan_proto::catalogue::Operation;
use serde_json::{Value, json};

/// Seconds that CloudTrail tells of.
const DAYS_90: i64 = 90 * 86_400;
/// Events of one second, where there are many of them.
const AT_ONCE: i64 = 7;
/// From so many on they come several in a second.
const MANY: i64 = 50;
/// The most principals of a cell.
const PRINCIPALS: i64 = 12;
/// The most events of a page, and how many there are where the request does not say.
const PAGE: usize = 50;
/// The most seconds until an event is told.
const LATEST: i64 = 600;

/// The events of a cell.
pub(crate) struct Events {
    account: String,
    region: &'static str,
    dice: Dice,
    /// In ninety days.
    count: i64,
}

/// A place among the events: the first one has the number of its round since 1970.
type Number = i64;

impl Events {
    pub(crate) fn of(
        world: &World,
        account: AccountIndex,
        region: RegionId,
        operation: &Operation,
        spread: &crate::world::Spread,
    ) -> Self {
        let key = ListKey { service: "cloudtrail", operation: &operation.name, seed: "cloudtrail/events" };
        let count = i64::try_from(world.count(account, region, key, spread)).unwrap_or(i64::MAX).min(DAYS_90);
        Self {
            account: world.id(account),
            region: region.name(),
            dice: world.cell(account, region, "cloudtrail").text("events"),
            // Whole rounds, and each principal more than once.
            count: match count {
                0 => 0,
                1..MANY => count.max(3),
                many => many - many % AT_ONCE,
            },
        }
    }

    /// Events of one second.
    fn at_once(&self) -> i64 {
        if self.count >= MANY { AT_ONCE } else { 1 }
    }
    /// Seconds from round to round.
    fn distance(&self) -> i64 {
        (DAYS_90 * self.at_once() / self.count.max(1)).max(1)
    }
    fn offset(&self) -> i64 {
        self.dice.text("offset").below(self.distance().unsigned_abs()) as i64
    }
    /// When an event happens.
    fn second(&self, number: Number) -> i64 {
        number.div_euclid(self.at_once()) * self.distance() + self.offset()
    }
    /// When it can be told.
    fn told(&self, number: Number) -> i64 {
        self.second(number) + self.dice.text("late").number(number.unsigned_abs()).below(LATEST as u64 + 1) as i64
    }
    /// The last event that happens up to a second.
    fn last_until(&self, second: i64) -> Number {
        let round = (second - self.offset()).div_euclid(self.distance());
        round * self.at_once() + self.at_once() - 1
    }

    /// How many principals there are.
    fn principals(&self) -> i64 {
        if self.count == 0 { 0 } else { (self.count / 3).clamp(1, PRINCIPALS) }
    }

    /// What the scanner must call each principal. The first is the role that it reads by itself, which it leaves out.
    pub(crate) fn names(&self) -> Vec<String> {
        (1..self.principals()).map(|which| self.name(which)).collect()
    }

    fn name(&self, which: i64) -> String {
        let Self { account, .. } = self;
        match which {
            0 => format!("arn:aws:iam::{account}:role/{ROLE}"),
            1 => format!("arn:aws:iam::{account}:user/{}", self.word(which)),
            2 => "autoscaling.amazonaws.com".to_owned(),
            3 => format!("arn:aws:iam::{account}:root"),
            4 => self.dice.text("vendor").letters(b"123456789", 12),
            _ => format!("arn:aws:iam::{account}:role/team/{}", self.word(which)),
        }
    }

    fn word(&self, which: i64) -> String {
        format!(
            "{}-{which:02}",
            self.dice.text("word").number(which.unsigned_abs()).letters(b"abcdefghijklmnopqrstuvwxyz", 8)
        )
    }

    /// An event as `LookupEvents` lists it.
    fn event(&self, number: Number) -> Value {
        let dice = self.dice.text("event").number(number.unsigned_abs());
        let which = number.rem_euclid(self.principals().max(1));
        let arn = self.name(which);
        let name = arn.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
        let key =
            |prefix: &str, dice: Dice| format!("{prefix}{}", dice.letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16));
        let session = format!("session-{}", dice.hex(6));
        let (identity, access_key, user) = match which {
            1 => {
                let key = key("AKIA", self.dice.text("key"));
                let identity = json!({
                    "type": "IAMUser", "arn": arn, "accountId": self.account, "userName": name, "accessKeyId": key,
                });
                (identity, key, name)
            }
            2 => (json!({ "type": "AWSService", "invokedBy": arn }), String::new(), String::new()),
            3 => (json!({ "type": "Root", "arn": arn, "accountId": self.account }), String::new(), "root".to_owned()),
            4 => (
                json!({ "type": "AWSAccount", "accountId": arn, "principalId": "AIDAVENDOR" }),
                String::new(),
                String::new(),
            ),
            _ => {
                let key = key("ASIA", dice);
                let identity = json!({
                    "type": "AssumedRole", "accessKeyId": key, "accountId": self.account,
                    "arn": format!("arn:aws:sts::{}:assumed-role/{name}/{session}", self.account),
                    "sessionContext": { "sessionIssuer": { "type": "Role", "arn": arn, "userName": name } },
                });
                (identity, key, session)
            }
        };
        const DEEDS: [(&str, &str, bool); 6] = [
            ("DescribeInstances", "ec2.amazonaws.com", true),
            ("CreateUser", "iam.amazonaws.com", false),
            ("AssumeRole", "sts.amazonaws.com", true),
            ("ListBuckets", "s3.amazonaws.com", true),
            ("UpdateFunctionConfiguration20150331v2", "lambda.amazonaws.com", false),
            ("ConsoleLogin", "signin.amazonaws.com", false),
        ];
        let (deed, source, read_only) = DEEDS[dice.text("deed").below(DEEDS.len() as u64) as usize];
        let second = self.second(number);
        let time = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
        let id = dice.text("id").hex(32);
        let id = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
        let secret = || format!("{SECRET_MARK}{}", dice.text("secret").hex(12));
        let document = json!({
            "eventVersion": "1.11", "userIdentity": identity, "eventTime": time, "eventSource": source, "eventName": deed,
            "awsRegion": self.region, "sourceIPAddress": "192.0.2.7", "eventID": id, "readOnly": read_only,
            "requestParameters": { "password": secret() }, "responseElements": { "secret": secret() },
            "recipientAccountId": self.account, "eventType": "AwsApiCall", "eventCategory": "Management",
        });
        let mut event = json!({
            "EventId": id, "EventName": deed, "EventSource": source, "EventTime": second, "Resources": [],
            "ReadOnly": read_only.to_string(), "CloudTrailEvent": document.to_string(),
        });
        for (member, text) in [("AccessKeyId", access_key), ("Username", user)] {
            if !text.is_empty() {
                event[member] = Value::from(text);
            }
        }
        event
    }

    /// A page, newest first.
    fn page(&self, asked: &Asked, now: i64) -> Value {
        let oldest = asked.from.max(now - DAYS_90);
        let mut number = asked.before.map_or_else(|| self.last_until(asked.to.min(now)), |before| before - 1);
        let mut events = Vec::new();
        let mut next = None;
        while self.count > 0 && self.second(number) >= oldest {
            if self.told(number) <= now {
                let event = self.event(number);
                if asked.wants(&event) {
                    if events.len() == asked.size {
                        next = Some(asked.token(number + 1));
                        break;
                    }
                    events.push(event);
                }
            }
            number -= 1;
        }
        let mut page = json!({ "Events": events });
        if let Some(next) = next {
            page["NextToken"] = Value::from(next);
        }
        page
    }
}

/// What a request asks for. Source: CloudTrail API reference, "LookupEvents".
struct Asked {
    from: i64,
    to: i64,
    size: usize,
    /// Only events before this one.
    before: Option<Number>,
    /// A member, and what it must be.
    attribute: Option<(String, String)>,
}

impl Asked {
    fn of(params: &Params) -> Result<Self, Problem> {
        let wrong = |code: &str, text: &str| Problem::coded(Kind::Invalid, code, text);
        let time = |name: &str| {
            let Some(text) = params.one(name) else { return Ok(None) };
            let seconds: f64 = text.parse().map_err(|_| wrong("SerializationException", "a time is a number"))?;
            Ok(Some(seconds))
        };
        let from = time("StartTime")?.map_or(i64::MIN, |seconds| seconds.ceil() as i64);
        let to = time("EndTime")?.map_or(i64::MAX, |seconds| seconds.floor() as i64);
        if from > to {
            return Err(wrong("InvalidTimeRangeException", "The start time is after the end time."));
        }
        let size = match params.one("MaxResults") {
            None => PAGE,
            Some(text) => match text.parse::<usize>() {
                Ok(size @ 1..=PAGE) => size,
                _ => return Err(wrong("InvalidMaxResultsException", "MaxResults is from 1 to 50.")),
            },
        };
        let attributes = match params {
            Params::Json(map) => map.get("LookupAttributes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice),
            Params::Flat(_) => &[],
        };
        let text = |attribute: &Value, member: &str| attribute.get(member).and_then(Value::as_str).map(str::to_owned);
        let attribute = match attributes {
            [] => None,
            [one] => text(one, "AttributeKey").zip(text(one, "AttributeValue")),
            _ => None,
        };
        if attribute.is_none() && !attributes.is_empty() {
            return Err(wrong("InvalidLookupAttributesException", "One attribute is taken, with its key and value."));
        }
        let mut asked = Self { from, to, size, before: None, attribute };
        if let Some(token) = params.one("NextToken").filter(|token| !token.is_empty()) {
            let text = "Invalid or expired next token.";
            let bad = || Problem::coded(Kind::BadPageToken, "InvalidNextTokenException", text);
            let number: Number = token.split('.').next().and_then(|number| number.parse().ok()).ok_or_else(bad)?;
            if asked.token(number) != *token {
                return Err(bad());
            }
            asked.before = Some(number);
        }
        Ok(asked)
    }

    /// Leads to what comes before an event, for whoever asks with the same parameters.
    fn token(&self, number: Number) -> String {
        let dice = Dice::new(number.unsigned_abs()).number(self.from.unsigned_abs()).number(self.to.unsigned_abs());
        let (key, value) = self.attribute.as_ref().map_or(("", ""), |(key, value)| (key, value));
        format!("{number}.{}", dice.text(key).text(value).hex(16))
    }

    fn wants(&self, event: &Value) -> bool {
        let Some((key, value)) = &self.attribute else { return true };
        event.get(key).and_then(Value::as_str) == Some(value)
    }
}

/// Answers a call of `LookupEvents`; `None`: it is about something else.
pub(crate) fn answer(
    engine: &Engine,
    account: AccountIndex,
    region: RegionId,
    target: &crate::route::Target,
    params: &Params,
    now_ms: i64,
) -> Option<Result<Value, Problem>> {
    let operation = target.operation().filter(|operation| operation.history.is_some())?;
    let events = engine.events(account, region, target.index, operation)?;
    // Insight events, of which there are none, are asked for by name.
    if params.one("EventCategory").is_some() {
        return Some(Ok(json!({ "Events": [] })));
    }
    Some(Asked::of(params).map(|asked| events.page(&asked, now_ms / 1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, config::WorldKind, world::Spread};
    use fleetscan_proto::catalogue::Catalogue;

    fn events(count: usize) -> Events {
        let items = [("cloudtrail:LookupEvents".to_owned(), count)].into();
        let world = World::new(&Config { world: WorldKind::Counts { items, regions: 17 }, ..Config::default() });
        let operation = Catalogue::built_in().operation("cloudtrail", "LookupEvents").expect("in the catalogue");
        Events::of(&world, 0, RegionId::parse("us-east-1").expect("a region"), operation, &Spread::default())
    }

    fn asked(from: i64, to: i64, size: usize) -> Asked {
        Asked { from, to, size, before: None, attribute: None }
    }

    #[test]
    fn any_ninety_days_have_the_same_number_of_events_and_the_same_principals() {
        for (count, expected) in [(0, 0), (1, 3), (12, 12), (49, 49), (100, 98), (2_000, 1_995)] {
            let events = events(count);
            for now in [1_700_000_000, 1_712_345_678] {
                let all = events.page(&asked(i64::MIN, now - 1_000, usize::MAX), now - 1_000 + LATEST);
                let found = all["Events"].as_array().expect("a list");
                assert!(found.len().abs_diff(expected) <= AT_ONCE as usize, "{} of {count}", found.len());
                let times: Vec<i64> = found.iter().filter_map(|event| event["EventTime"].as_i64()).collect();
                assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
            }
            assert_eq!(events.names().len(), if count == 0 { 0 } else { (expected / 3).clamp(1, 12) - 1 });
        }
    }

    #[test]
    fn both_ends_are_included_and_pages_lose_nothing_within_a_second() {
        let events = events(100);
        let now = 1_700_000_000;
        let all = events.page(&asked(i64::MIN, i64::MAX, usize::MAX), now);
        let all = all["Events"].as_array().expect("a list").clone();
        let second = all[30]["EventTime"].as_i64().expect("a time");
        let one = events.page(&asked(second, second, 50), now);
        assert_eq!(one["Events"].as_array().expect("a list").len(), AT_ONCE as usize);
        let mut paged = Vec::new();
        let mut ask = asked(i64::MIN, i64::MAX, 50);
        loop {
            let page = events.page(&ask, now);
            paged.extend(page["Events"].as_array().expect("a list").clone());
            let Some(token) = page["NextToken"].as_str() else { break };
            ask.before = token.split('.').next().and_then(|number| number.parse().ok());
        }
        assert_eq!(paged, all);
    }
}
