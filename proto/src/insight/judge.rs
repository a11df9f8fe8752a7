use super::{
    condition::{Evidence, Subject},
    rule::{Join, Matter, Rule},
};
use crate::Record;
use serde_json::Value;

/// What a rule says of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It fires, by this.
    Finding(Vec<Evidence>),
    /// It does not.
    Fine,
    /// What it needs could not be read.
    NotAssessed(Gap),
}

/// What a rule lacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gap {
    /// An action was denied on the record.
    Denied(String),
    /// The record's cell was not read to its end.
    Unread,
    /// The records that are joined to it were not all read.
    Joined(String),
}

/// What is known of the records that joins ask for.
pub trait Joined {
    /// Whether one is there that is known by this and for which the join's condition holds; `None`: they were not all
    /// read, and none of those that were is it. `rule`: whose join it is; `region`: the record's.
    fn is_there(&self, rule: &Rule, join: &Join, region: &str, known_by: &Value) -> Option<bool>;
}

/// What a rule over records says of one of them. `whole`: its cell was read to its end, denials apart.
/// A rule about absence says nothing of a record.
pub fn judge(rule: &Rule, record: &Record, properties: &Value, whole: bool, joined: &dyn Joined) -> Verdict {
    let Matter::Record { kind, when, join } = &rule.matter else { return Verdict::Fine };
    if *kind != record.kind {
        return Verdict::Fine;
    }
    if let Some(action) = rule.needs.iter().find(|action| record.denied.contains(action)) {
        return Verdict::NotAssessed(Gap::Denied(action.clone()));
    }
    if !whole {
        // What is missing of the record may be missing only because it was not read.
        return Verdict::NotAssessed(Gap::Unread);
    }
    let Some(mut evidence) = when.holds(Subject::of(record, properties)) else { return Verdict::Fine };
    if let Some(join) = join {
        let keys = join.ours.of(properties, record.account.as_str());
        let answers: Vec<_> = keys.iter().map(|key| (key, joined.is_there(rule, join, &record.region, key))).collect();
        let there = answers.iter().find(|(_, there)| *there == Some(true));
        match there {
            Some((key, _)) if join.some => {
                evidence.push(Evidence { path: join.ours.to_string(), value: Value::clone(key) });
            }
            Some(_) => return Verdict::Fine,
            None if answers.iter().any(|(_, there)| there.is_none()) => {
                return Verdict::NotAssessed(Gap::Joined(join.service.clone()));
            }
            None if join.some => return Verdict::Fine,
            None => evidence.push(Evidence { path: join.kind.clone(), value: Value::Null }),
        }
    }
    Verdict::Finding(evidence)
}
