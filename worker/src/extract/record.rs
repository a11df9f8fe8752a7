//! From an item to a record: what is kept, what is hidden, how it is named.

use super::item::without_paging;
use fleetscan_proto::{
    Cell, Record,
    catalogue::{Emit, Merge, Operation},
    redact::{REDACTED, external_ids, parse_document},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What children's calls added to a record in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) merged: Map<String, Value>,
    denied: Vec<String>,
}

impl Draft {
    pub(super) fn deny(&mut self, action: &str) {
        if !self.denied.iter().any(|a| a == action) {
            self.denied.push(action.to_owned());
        }
    }

    /// Adds a page of a child's answer. `of_record`: the child is called once for the record, not once for each of
    /// several items within it.
    pub(super) fn merge(&mut self, child: &Operation, merge: &Merge, spec: &Emit, of_record: bool, items: Vec<Value>) {
        if spec.items.as_str() != "." {
            let name = merge.into.as_deref().or(spec.items.last_key()).unwrap_or(&child.name);
            return self.append(name, items);
        }
        for item in items {
            let Value::Object(members) = item else { continue };
            let mut members = without_paging(child, members);
            if !merge.keep.is_empty() {
                members.retain(|name, _| merge.keep.contains(name));
            }
            let Some(into) = &merge.into else {
                self.merged.extend(members);
                continue;
            };
            let value = match merge.keep.as_slice() {
                [only] => members.shift_remove(only).unwrap_or(Value::Null),
                _ => Value::Object(members),
            };
            if of_record {
                self.merged.insert(into.clone(), value);
            } else {
                self.append(into, vec![value]);
            }
        }
    }

    fn append(&mut self, name: &str, items: Vec<Value>) {
        match self.merged.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.extend(items),
            other => *other = Value::Array(items),
        }
    }
}

/// Lifts, decodes, drops and hides what the catalogue says of an operation's item.
pub(super) fn scrub(operation: &Operation, item: &mut Value) {
    if let (Some(member), Value::Object(map)) = (&operation.lift, &mut *item)
        && let Some(Value::Object(lifted)) = map.shift_remove(member)
    {
        map.extend(lifted);
    }
    for path in &operation.decode {
        path.edit(item, &mut |value| {
            if let Some((mut document, _)) = value.as_str().and_then(parse_document) {
                external_ids(&mut document);
                *value = document;
            }
        });
    }
    operation.drop.iter().for_each(|path| path.remove(item));
    for path in &operation.redact {
        path.edit(item, &mut |value| {
            if !value.is_null() {
                *value = Value::from(REDACTED);
            }
        });
    }
}

/// Makes the record of an item; the error says why there can be none.
pub(super) fn build(
    spec: &Emit,
    item: Value,
    draft: Draft,
    cell: &Cell,
    now: jiff::Timestamp,
    variables: &dyn Fn(&str) -> String,
) -> Result<Record, String> {
    // An item that is a bare text (an ARN, a name) is its own id.
    let bare = item.as_str().map(str::to_owned);
    let mut properties = match item {
        Value::Object(map) => Value::Object(map),
        Value::String(text) => Value::Object(Map::from_iter([("Name".to_owned(), Value::String(text))])),
        _ => return Err(format!("an item of {} is not an object", spec.items.as_str())),
    };
    if let Value::Object(map) = &mut properties {
        map.extend(draft.merged);
    }
    let id = spec
        .id
        .fill(&properties, variables)
        .or(bare)
        .filter(|id| !id.is_empty())
        .ok_or_else(|| format!("an item of {} has no id", spec.items.as_str()))?;
    let filled = |template: &Option<fleetscan_proto::catalogue::Template>| {
        template.as_ref().and_then(|t| t.fill(&properties, variables))
    };
    let (arn, name) = (filled(&spec.arn), filled(&spec.name));
    let region = spec.region.as_ref().and_then(|path| path.get(&properties)).and_then(Value::as_str).map(region_named);
    Ok(Record {
        account: cell.account.clone(),
        region: region.unwrap_or(&cell.region).to_owned(),
        service: cell.service.clone(),
        kind: spec.kind.clone(),
        id,
        // Some answers have a word in its place: an SNS subscription that nobody confirmed is "PendingConfirmation".
        arn: arn.filter(|a| a.starts_with("arn:")),
        name: name.filter(|n| !n.is_empty()),
        tags: tags(spec.tags.get(&properties)),
        collected_at: now,
        properties: match properties {
            Value::Object(map) => map,
            _ => Map::new(),
        },
        denied: draft.denied,
    })
}

/// The region that an item names: S3 has names from before it had regions.
pub(super) fn region_named(name: &str) -> &str {
    match name {
        "" | "US" => "us-east-1",
        "EU" => "eu-west-1",
        region => region,
    }
}

/// Tags come as a list of pairs (whose members every service spells its own way) or as an object.
fn tags(value: Option<&Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Some(Value::Object(map)) => map.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|pair| {
                let member = |names: [&str; 3]| names.iter().find_map(|name| pair.get(*name));
                let key = text(member(["Key", "key", "TagKey"])?);
                Some((key, member(["Value", "value", "TagValue"]).map(text).unwrap_or_default()))
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_are_read_in_every_spelling() {
        let expected = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for value in [
            json!({"a": "1"}),
            json!([{"Key": "a", "Value": "1"}]),
            json!([{"key": "a", "value": "1"}]),
            json!([{"TagKey": "a", "TagValue": "1"}]),
        ] {
            assert_eq!(tags(Some(&value)), expected);
        }
    }
}
