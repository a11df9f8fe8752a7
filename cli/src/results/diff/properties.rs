//! Two readings of one resource, property by property.

use super::paths::Paths;
use fleetscan_proto::Record;
use serde_json::{Map, Value};

/// A property that differs; `None` where it is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub path: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What differs between two readings.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    pub changes: Vec<Change>,
    /// Paths that one side has, and the other may not have been able to read.
    pub unknown: Vec<String>,
}

/// What counts as a difference.
pub struct Rules {
    pub ignored: Paths,
    pub ordered: Paths,
}

/// Whether each side was read in full: what is missing where it was not is unknown.
#[derive(Debug, Clone, Copy)]
pub struct Full {
    pub before: bool,
    pub after: bool,
}

impl Rules {
    /// Compares two records of one resource. A record that names denied actions was not read in full, whatever its
    /// cell: what it lacks is unknown.
    pub fn compare(&self, before: &Record, after: &Record, full: Full) -> Differences {
        let full =
            Full { before: full.before && before.denied.is_empty(), after: full.after && after.denied.is_empty() };
        let mut walk = Walk { rules: self, kind: &after.kind, full, path: Vec::new(), found: Differences::default() };
        let text = |text: &Option<String>| text.clone().map(Value::String);
        walk.step("arn", text(&before.arn).as_ref(), text(&after.arn).as_ref());
        walk.step("name", text(&before.name).as_ref(), text(&after.name).as_ref());
        if before.tags != after.tags {
            let tags = |record: &Record| {
                Value::Object(record.tags.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect())
            };
            walk.step("tags", Some(&tags(before)), Some(&tags(after)));
        }
        if before.properties != after.properties {
            walk.path.push("properties".to_owned());
            walk.objects(&before.properties, &after.properties);
        }
        walk.found
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    kind: &'a str,
    full: Full,
    path: Vec<String>,
    found: Differences,
}

impl Walk<'_> {
    fn step(&mut self, name: &str, before: Option<&Value>, after: Option<&Value>) {
        self.path.push(name.to_owned());
        if !self.rules.ignored.has(self.kind, &self.path) {
            self.values(before, after);
        }
        self.path.pop();
    }

    fn objects(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        for (name, value) in before {
            self.step(name, Some(value), after.get(name));
        }
        for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            self.step(name, None, Some(value));
        }
    }

    fn values(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => return self.objects(before, after),
            (Some(before), Some(after)) if before == after => return,
            (None, None) => return,
            _ => {}
        }
        let path = self.path.join(".");
        if (before.is_none() && !self.full.before) || (after.is_none() && !self.full.after) {
            self.found.unknown.push(path);
            return;
        }
        let mut plain = |value: Option<&Value>| value.map(|value| self.plain(value));
        let (before, after) = (plain(before), plain(after));
        if before != after {
            self.found.changes.push(Change { path, before, after });
        }
    }

    /// The value without what is ignored, and with the elements of its set-like lists in one order.
    fn plain(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let mut names: Vec<&String> = object.keys().collect();
                names.sort();
                let mut kept = Map::new();
                for name in names {
                    self.path.push(name.clone());
                    if !self.rules.ignored.has(self.kind, &self.path)
                        && let Some(value) = object.get(name)
                    {
                        let value = self.plain(value);
                        kept.insert(name.clone(), value);
                    }
                    self.path.pop();
                }
                Value::Object(kept)
            }
            Value::Array(list) => {
                let mut list: Vec<Value> = list.iter().map(|value| self.plain(value)).collect();
                // The order of lists of lists has a meaning: they are tables.
                if !list.iter().any(Value::is_array) && !self.rules.ordered.has(self.kind, &self.path) {
                    list.sort_by_cached_key(Value::to_string);
                }
                Value::Array(list)
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FULL: Full = Full { before: true, after: true };

    fn record(properties: Value) -> Record {
        serde_json::from_value(json!({
            "account": "111122223333", "region": "eu-west-1", "service": "x", "type": "AWS::X::Y", "id": "1",
            "tags": {}, "collected_at": "2026-01-01T00:00:00Z", "properties": properties,
        }))
        .expect("a record")
    }

    fn rules() -> Rules {
        Rules { ignored: Paths::volatile(), ordered: Paths::ordered() }
    }

    fn paths(found: &Differences) -> Vec<&str> {
        found.changes.iter().map(|change| change.path.as_str()).collect()
    }

    #[test]
    fn order_of_sets_and_what_changes_by_itself_are_no_change() {
        let a = record(json!({"S": [{"a": 1, "b": [1, 2]}, {"a": 2}], "ItemCount": 4, "Role": {"x": "y"}}));
        let mut b = record(json!({"Role": {"x": "y"}, "S": [{"a": 2}, {"b": [2, 1], "a": 1}], "ItemCount": 9}));
        b.collected_at = "2026-02-01T00:00:00Z".parse().expect("time");
        assert_eq!(rules().compare(&a, &b, FULL), Differences::default());
        let all = Rules { ignored: Paths::default(), ordered: Paths::ordered() };
        assert_eq!(paths(&all.compare(&a, &b, FULL)), ["properties.ItemCount"]);
    }

    #[test]
    fn sets_count_their_elements_and_ordered_lists_keep_their_order() {
        let found = rules().compare(&record(json!({"S": [1, 1, 2]})), &record(json!({"S": [1, 2, 2]})), FULL);
        assert_eq!(paths(&found), ["properties.S"]);
        let found =
            rules().compare(&record(json!({"Layers": ["a", "b"]})), &record(json!({"Layers": ["b", "a"]})), FULL);
        assert_eq!(paths(&found), ["properties.Layers"]);
    }

    #[test]
    fn changes_tell_path_before_and_after() {
        let mut a = record(json!({"P": {"Q": 1}, "Gone": null}));
        a.tags.insert("env".into(), "dev".into());
        let mut b = record(json!({"P": {"Q": 2}}));
        b.tags.insert("env".into(), "prod".into());
        let found = rules().compare(&a, &b, FULL);
        let change = |path: &str, before, after| Change { path: path.into(), before, after };
        let expected = [
            change("tags.env", Some(json!("dev")), Some(json!("prod"))),
            change("properties.P.Q", Some(json!(1)), Some(json!(2))),
            change("properties.Gone", Some(json!(null)), None),
        ];
        assert_eq!(found.changes, expected);
    }

    #[test]
    fn what_a_denied_reading_lacks_is_unknown_and_what_both_have_is_compared() {
        let a = record(json!({"Policy": {"x": 1}, "Size": 1}));
        let mut b = record(json!({"Size": 2}));
        b.denied.push("x:GetPolicy".into());
        let found = rules().compare(&a, &b, FULL);
        assert_eq!(paths(&found), ["properties.Size"]);
        assert_eq!(found.unknown, ["properties.Policy"]);
        let found = rules().compare(&b, &a, FULL);
        assert_eq!(found.unknown, ["properties.Policy"]);
    }
}
