//! Every rule fires on one record and is silent on another, both as AWS answers, and is silent where its data was denied.

use super::*;
use crate::Record;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Records that a rule is tried on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    /// It fires on each; for an absence: these do not count as what is missed.
    fires: Vec<Value>,
    /// It is silent on each; for an absence: these count as what is missed.
    silent: Vec<Value>,
    /// What is there to be joined, for those that fire and for those that do not.
    #[serde(default)]
    joined_when_fires: Vec<Value>,
    #[serde(default)]
    joined_when_silent: Vec<Value>,
}

/// Records to join, all read.
struct These<'a>(&'a [Value], bool);

impl Joined for These<'_> {
    fn is_there(&self, _: &Rule, join: &Join, region: &str, known_by: &Value) -> Option<bool> {
        let found = self.0.iter().any(|record| {
            let (record, properties) = read(record);
            record.kind == join.kind
                && (!join.same_region || record.region == region)
                && join.theirs.of(&properties, record.account.as_str()).iter().any(|key| **key == *known_by)
                && join.when.holds(Subject::of(&record, &properties)).is_some()
        });
        if found { Some(true) } else { self.1.then_some(false) }
    }
}

fn read(value: &Value) -> (Record, Value) {
    let mut record: Record = serde_json::from_value(value.clone()).expect("a record");
    let properties = Value::Object(std::mem::take(&mut record.properties));
    (record, properties)
}

fn examples(rule: &Rule) -> Examples {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("insights/examples").join(format!("{}.json", rule.id));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_rule_fires_and_is_silent_as_its_examples_say() {
    let rules = built_in().expect("the files of a release");
    assert!(rules.len() >= 25, "{}", rules.len());
    for rule in &rules {
        let examples = examples(rule);
        assert!(!examples.silent.is_empty(), "{}", rule.id);
        if let Matter::Absence(absence) = &rule.matter {
            for (records, counts) in [(&examples.fires, false), (&examples.silent, true)] {
                for record in records {
                    let (record, properties) = read(record);
                    assert_eq!(record.kind, absence.kind, "{}", rule.id);
                    let holds = absence.when.holds(Subject::of(&record, &properties)).is_some();
                    assert_eq!(holds, counts, "{}: {properties}", rule.id);
                }
            }
            continue;
        }
        assert!(!examples.fires.is_empty(), "{}", rule.id);
        for value in &examples.fires {
            let (record, properties) = read(value);
            let joined = These(&examples.joined_when_fires, true);
            let verdict = judge(rule, &record, &properties, true, &joined);
            let Verdict::Finding(evidence) = verdict else { panic!("{}: {verdict:?} on {properties}", rule.id) };
            assert!(!evidence.is_empty(), "{}", rule.id);
            assert!(
                !serde_json::to_string(&evidence.iter().map(|e| &e.value).collect::<Vec<_>>())
                    .expect("json")
                    .contains("<redacted>")
            );
        }
        for value in &examples.silent {
            let (record, properties) = read(value);
            assert_eq!(record.kind, rule.kind(), "{}", rule.id);
            let joined = These(&examples.joined_when_silent, true);
            let verdict = judge(rule, &record, &properties, true, &joined);
            assert_eq!(verdict, Verdict::Fine, "{} on {properties}", rule.id);
        }
    }
}

#[test]
fn what_was_denied_or_not_read_is_neither_good_nor_bad() {
    for rule in built_in().expect("the files of a release") {
        if matches!(rule.matter, Matter::Absence(_)) {
            continue;
        }
        let examples = examples(&rule);
        let (record, properties) = read(&examples.fires[0]);
        let joined = These(&examples.joined_when_fires, true);
        let unread = judge(&rule, &record, &properties, false, &joined);
        assert_eq!(unread, Verdict::NotAssessed(Gap::Unread), "{}", rule.id);
        for action in &rule.needs {
            let denied = Record { denied: vec![action.clone()], ..record.clone() };
            let verdict = judge(&rule, &denied, &properties, true, &joined);
            assert_eq!(verdict, Verdict::NotAssessed(Gap::Denied(action.clone())), "{}", rule.id);
        }
        if let Some(join) = rule.join() {
            let verdict = judge(&rule, &record, &properties, true, &These(&[], false));
            assert_eq!(verdict, Verdict::NotAssessed(Gap::Joined(join.service.clone())), "{}", rule.id);
        }
    }
}

#[test]
fn what_a_rule_needs_and_joins_is_in_the_catalogue() {
    let catalogue = crate::catalogue::Catalogue::built_in();
    let actions: Vec<&str> = catalogue
        .services()
        .iter()
        .flat_map(|s| s.operations.iter().map(|operation| operation.action.as_str()))
        .collect();
    for rule in built_in().expect("the files of a release") {
        for service in [Some(&rule.service), rule.join().map(|join| &join.service)].into_iter().flatten() {
            let types: Vec<&str> = catalogue
                .service(service)
                .unwrap_or_else(|| panic!("{}: there is no service {service}", rule.id))
                .operations
                .iter()
                .flat_map(|operation| &operation.emits)
                .map(|emit| emit.kind.as_str())
                .collect();
            let kind = if *service == rule.service && rule.join().is_none_or(|join| join.service != *service) {
                rule.kind()
            } else {
                &rule.join().expect("a join").kind
            };
            assert!(types.contains(&kind), "{}: {service} has no {kind}, but {types:?}", rule.id);
        }
        for action in &rule.needs {
            assert!(actions.contains(&action.as_str()), "{}: nothing asks for {action}", rule.id);
        }
    }
}

#[test]
fn mistakes_in_a_rule_are_named() {
    let rule = |body: &str| {
        let head =
            "id = 'x'\ntitle = 't'\nseverity = 'low'\nwhy = 'w'\nfix = 'f'\nservice = 's3'\ntype = 'AWS::S3::Bucket'\n";
        Rule::parse("x.toml", &format!("{head}{body}")).map(drop).map_err(|error| error.to_string())
    };
    let wrong = |body: &str, says: &str| {
        let told = rule(body).expect_err(body);
        assert!(told.starts_with("x.toml: ") && told.contains(says), "{body}: {told}");
    };
    rule("[when]\npath = 'A'\npresent = true").expect("a rule");
    wrong("", "needs `when`");
    wrong("[when]\npath = 'A'", "tests nothing");
    wrong("[when]\npresent = true", "no `path`");
    wrong("[when]\npath = 'A[]B'\npresent = true", "not a path");
    wrong("[when]\npath = 'A'\npresnt = true", "presnt");
    wrong("needs = ['ListX']\n[when]\npath = 'A'\npresent = true", "service:Action");
    wrong("[when]\nall = []\n[absent]\nscope = 'planet'", "planet");
}
