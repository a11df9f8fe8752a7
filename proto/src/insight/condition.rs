use super::{
    network::Exposure,
    policy::{Allowance, allowed},
};
use crate::{Record, catalogue::FieldPath};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;

/// What can be said of a value.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Each of these holds; none at all holds too.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// Of the values at a path.
    At(FieldPath, Test),
}

/// What can be said of the values at a path. Where there are several, one for which it holds will do.
#[derive(Debug, Clone)]
pub enum Test {
    /// There is one that is not null; or, with `false`, none.
    Present(bool),
    /// There is nothing, or what there is holds nothing: an empty list, object or text. With `false`, the contrary.
    Empty(bool),
    /// It is one of these.
    In(Vec<Value>),
    /// It is a text like one of these, in which `*` stands for any text and `?` for any character; case does not count.
    Like(Vec<String>),
    /// It is a number, or a text that is one, of at least this.
    AtLeast(f64),
    /// It is a number, or a text that is one, below this.
    Below(f64),
    /// It is a time (RFC 3339, or seconds since 1970) so many days or more before the record was read.
    OlderThanDays(f64),
    /// It is there, and the record was read on this day (UTC) or later: for what a published date makes wrong.
    ReadSince(Timestamp),
    /// It holds the element for which this holds.
    Has(Box<Condition>),
    /// It is an ARN of the record's own account; or, with `false`, of another.
    Own(bool),
    /// It is an IAM policy that allows this.
    Allows(Allowance),
    /// It is an EC2 permission that lets the whole world in.
    OpenToWorld(Exposure),
}

/// What a condition is asked of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The value: a record's properties, or something within them.
    pub value: &'a Value,
    /// The account of the record.
    pub account: &'a str,
    /// When the record was read.
    pub at: Timestamp,
}

/// A value for which a condition held.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Where it lies.
    pub path: String,
    /// It, cut short where it is long; null where its absence is the evidence.
    pub value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    all: Option<Vec<RawCondition>>,
    any: Option<Vec<RawCondition>>,
    not: Option<Box<RawCondition>>,
    path: Option<String>,
    present: Option<bool>,
    empty: Option<bool>,
    equals: Option<Value>,
    #[serde(rename = "in")]
    among: Option<Vec<Value>>,
    like: Option<OneOrMany>,
    at_least: Option<f64>,
    below: Option<f64>,
    older_than_days: Option<f64>,
    read_since: Option<Date>,
    has: Option<Box<RawCondition>>,
    own: Option<bool>,
    allows: Option<Allowance>,
    open_to_world: Option<Exposure>,
}

/// Texts, of which one alone may stand without brackets.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        };
        texts.iter().map(String::as_str)
    }
}

impl Condition {
    pub(super) fn read(raw: RawCondition) -> Result<Self, String> {
        let many = |list: Vec<RawCondition>| list.into_iter().map(Self::read).collect::<Result<Vec<_>, _>>();
        let mut found = Vec::new();
        if let Some(list) = raw.all {
            found.push(Self::All(many(list)?));
        }
        if let Some(list) = raw.any {
            found.push(Self::Any(many(list)?));
        }
        if let Some(inner) = raw.not {
            found.push(Self::Not(Box::new(Self::read(*inner)?)));
        }
        let mut tests = Vec::new();
        tests.extend(raw.present.map(Test::Present));
        tests.extend(raw.empty.map(Test::Empty));
        tests.extend(raw.equals.map(|value| Test::In(vec![value])));
        tests.extend(raw.among.map(Test::In));
        tests.extend(raw.like.map(|like| Test::Like(like.iter().map(str::to_owned).collect())));
        tests.extend(raw.at_least.map(Test::AtLeast));
        tests.extend(raw.below.map(Test::Below));
        tests.extend(raw.older_than_days.map(Test::OlderThanDays));
        if let Some(day) = raw.read_since {
            let start = day.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
            tests.push(Test::ReadSince(start.timestamp()));
        }
        if let Some(inner) = raw.has {
            tests.push(Test::Has(Box::new(Self::read(*inner)?)));
        }
        tests.extend(raw.own.map(Test::Own));
        tests.extend(raw.allows.map(Test::Allows));
        tests.extend(raw.open_to_world.map(Test::OpenToWorld));
        match (raw.path, tests.len()) {
            (None, 0) => {}
            (None, _) => return Err("a condition says what it tests, and at no `path`".into()),
            (Some(path), 0) => return Err(format!("the condition at {path:?} tests nothing")),
            (Some(path), _) => {
                let path = FieldPath::parse(&path).map_err(|error| error.to_string())?;
                found.extend(tests.into_iter().map(|test| Self::At(path.clone(), test)));
            }
        }
        match found.len() {
            0 => Err("a condition says nothing".into()),
            1 => Ok(found.remove(0)),
            _ => Ok(Self::All(found)),
        }
    }

    /// Whether it holds, and by what; nothing: it does not.
    pub fn holds(&self, subject: Subject<'_>) -> Option<Vec<Evidence>> {
        match self {
            Self::All(conditions) => {
                let mut all = Vec::new();
                for condition in conditions {
                    all.extend(condition.holds(subject)?);
                }
                Some(all)
            }
            Self::Any(conditions) => conditions.iter().find_map(|condition| condition.holds(subject)),
            Self::Not(condition) => match condition.holds(subject) {
                Some(_) => None,
                None => Some(condition.places().map(Evidence::missing).collect()),
            },
            Self::At(path, test) => test.holds(path, subject),
        }
    }

    /// The paths that it looks at.
    fn places(&self) -> Box<dyn Iterator<Item = &FieldPath> + '_> {
        match self {
            Self::All(conditions) | Self::Any(conditions) => Box::new(conditions.iter().flat_map(Self::places)),
            Self::Not(condition) => condition.places(),
            Self::At(path, _) => Box::new(std::iter::once(path)),
        }
    }
}

impl Evidence {
    fn missing(path: &FieldPath) -> Self {
        Self { path: path.as_str().to_owned(), value: Value::Null }
    }

    fn found(path: &FieldPath, value: &Value) -> Self {
        const LONG: usize = 300;
        let text = value.to_string();
        let value = match text.char_indices().nth(LONG) {
            Some((at, _)) => Value::String(format!("{}…", &text[..at])),
            None => value.clone(),
        };
        Self { path: path.as_str().to_owned(), value }
    }
}

impl Test {
    fn holds(&self, path: &FieldPath, subject: Subject<'_>) -> Option<Vec<Evidence>> {
        let one = |holds: &dyn Fn(&Value) -> bool| {
            let found = path.items(subject.value).into_iter().find(|value| holds(value))?;
            Some(vec![Evidence::found(path, found)])
        };
        let there = |wanted: bool, is: bool| match (wanted == is, path.get(subject.value)) {
            (false, _) => None,
            (true, Some(value)) => Some(vec![Evidence::found(path, value)]),
            (true, None) => Some(vec![Evidence::missing(path)]),
        };
        match self {
            Self::Present(wanted) => there(*wanted, path.get(subject.value).is_some()),
            Self::Empty(wanted) => there(*wanted, path.get(subject.value).is_none_or(is_empty)),
            Self::In(values) => one(&|value| values.contains(value)),
            Self::Like(patterns) => {
                one(&|value| value.as_str().is_some_and(|text| patterns.iter().any(|p| like(p, text))))
            }
            Self::AtLeast(bound) => one(&|value| number(value).is_some_and(|n| n >= *bound)),
            Self::Below(bound) => one(&|value| number(value).is_some_and(|n| n < *bound)),
            Self::OlderThanDays(days) => {
                one(&|value| time(value).is_some_and(|then| days_between(then, subject.at) >= *days))
            }
            Self::ReadSince(start) => one(&|value| !value.is_null() && subject.at >= *start),
            Self::Has(condition) => path.items(subject.value).into_iter().find_map(|value| {
                condition.holds(Subject { value, ..subject })?;
                Some(vec![Evidence::found(path, value)])
            }),
            Self::Own(wanted) => one(&|value| {
                let account = value.as_str().and_then(|arn| arn.split(':').nth(4));
                account.is_some_and(|account| (account == subject.account) == *wanted)
            }),
            Self::Allows(allowance) => path.items(subject.value).into_iter().find_map(|document| {
                let statement = allowed(document, allowance, subject.account)?;
                Some(vec![Evidence::found(path, &statement)])
            }),
            Self::OpenToWorld(exposure) => one(&|value| exposure.is(value)),
        }
    }
}

impl<'a> Subject<'a> {
    /// A record's properties, as `properties` has them.
    pub fn of(record: &'a Record, properties: &'a Value) -> Self {
        Self { value: properties, account: record.account.as_str(), at: record.collected_at }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970; AWS gives fractions")]
        Value::Number(seconds) => Timestamp::from_second(seconds.as_f64()? as i64).ok(),
        _ => None,
    }
}

fn days_between(then: Timestamp, now: Timestamp) -> f64 {
    (now.as_second() - then.as_second()) as f64 / 86_400.0
}

/// Whether a text is like a pattern: `*` is any text, `?` any character, case does not count.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
