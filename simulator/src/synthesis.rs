//! Items for operations without a fixture: every member that the catalogue's file asks for, and nothing else. So a
//! service that was added yesterday is served today.

use crate::{
    expression::SECRET_MARK,
    fixture::{ListFixture, OperationFixture, keys, page, paged},
    template::Template,
    world::Spread,
    xml::Wire,
};
use fleetscan_proto::catalogue::{Binding, Emit, FieldPath, Operation, Service};
use serde_json::{Map, Value, json};

/// A fixture made of what the catalogue says of an operation.
pub(crate) fn operation(service: &Service, operation: &Operation) -> Result<OperationFixture, String> {
    let mut answer = Value::Object(Map::new());
    let mut lists = Vec::new();
    for (index, emit) in operation.emits.iter().enumerate() {
        let item = item(service, operation, index, emit)?;
        match keys(emit.items.as_str()) {
            Some(path) if is_list(operation, emit) => lists.push(ListFixture {
                seed: format!("{}/{}/{}", service.id, operation.name, path.join(".")),
                each: Template::of(&nested(emit.items.as_str(), item))?,
                path,
                spread: Spread::default(),
                count: (0, 3),
                of_regions: false,
            }),
            Some(path) => put(&mut answer, &path, item),
            None => answer = item,
        }
    }
    Ok(OperationFixture {
        present: if operation.absent.is_empty() { 1.0 } else { 0.5 },
        answer: Template::of(&answer)?,
        paged: paged(operation, &lists),
        lists,
        token: None,
        page: page(operation),
        wire: Wire::default(),
    })
}

fn is_list(operation: &Operation, emit: &Emit) -> bool {
    let batched = operation.parent.as_ref().is_some_and(|p| p.batch.is_some());
    let listing = operation.name.starts_with("List");
    emit.items.as_str().contains("[]") || operation.paging.is_some() || batched || listing
}

/// An item with a member for every path that the catalogue reads of it.
fn item(service: &Service, operation: &Operation, index: usize, emit: &Emit) -> Result<Value, String> {
    let mut item = Value::Object(Map::new());
    let mut whole = None;
    let mut want = |path: &FieldPath, value: Value| match path.as_str() {
        // The item is a text, and has no members.
        "." => whole = Some(value),
        path => merge(&mut item, along(&path.split('|').next().unwrap_or(path).split('.').collect::<Vec<_>>(), value)),
    };
    if emit.is_record() {
        let named = [Some(&emit.id), emit.arn.as_ref(), emit.name.as_ref()];
        for path in named.into_iter().flatten().flat_map(|template| template.paths()) {
            want(path, guess(service, path));
        }
        if let Some(path) = &emit.region {
            want(path, json!("${home_region}"));
        }
        want(&emit.tags, json!([{"Key": "team", "Value": "${pick:blue|green|red}"}]));
    }
    for child in service.children(operation.index, index) {
        let own = child.with.iter().filter_map(|(_, binding)| match binding {
            Binding::Item { up: 0, path } => Some(path),
            _ => None,
        });
        for path in own {
            want(path, guess(service, path));
        }
        if let Some((path, values)) = child.parent.as_ref().and_then(|p| p.only.as_ref()) {
            want(path, json!(values.first()));
        }
    }
    for path in &operation.redact {
        want(path, json!("${secret}"));
    }
    let is_whole = |path: &&FieldPath| path.as_str() == ".";
    for path in operation.decode.iter().filter(|path| !is_whole(path)) {
        want(path, json!({"$json": {"Version": "2012-10-17", "Statement": []}}));
    }
    if let Some(merge) = &operation.merge {
        for name in &merge.keep {
            want(&FieldPath::parse(name).map_err(|e| e.to_string())?, json!("${hex:8}"));
        }
    }
    match whole {
        Some(whole) => Ok(whole),
        // What is to be decoded as a whole is a text that holds all this.
        None if operation.decode.iter().any(|path| is_whole(&path)) => Ok(json!({ "$json": item })),
        None => Ok(item),
    }
}

/// A value where the parts of a path lead: `A[].*` is a list in `A` whose one element has a member with it.
fn along(parts: &[&str], value: Value) -> Value {
    let Some((part, rest)) = parts.split_first() else { return value };
    let name = part.trim_end_matches("[]");
    let lists = (part.len() - name.len()) / 2;
    let inner = (0..lists).fold(along(rest, value), |inner, _| Value::Array(vec![inner]));
    match name {
        "" | "**" => inner,
        "*" => Value::Object(Map::from_iter([("any".to_owned(), inner)])),
        name => Value::Object(Map::from_iter([(name.to_owned(), inner)])),
    }
}

/// Adds what `value` has no other value for yet.
fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, more) in more {
                match members.get_mut(&name) {
                    Some(known) => merge(known, more),
                    None => drop(members.insert(name, more)),
                }
            }
        }
        (Value::Array(list), Value::Array(more)) => {
            if let (Some(first), Some(more)) = (list.first_mut(), more.into_iter().next()) {
                merge(first, more);
            }
        }
        _ => {}
    }
}

/// A value by what its member is called.
fn guess(service: &Service, path: &FieldPath) -> Value {
    let name = path.last_key().unwrap_or("Name").to_lowercase();
    Value::from(match name {
        n if n.ends_with("arn") => {
            format!("arn:aws:{}:${{region}}:${{account}}:thing/${{name}}", service.signing_name)
        }
        n if n.ends_with("id") => "${hex:20}".to_owned(),
        n if n.contains("secret") || n.contains("password") => format!("{SECRET_MARK}${{hex:8}}"),
        _ => "${name}".to_owned(),
    })
}

/// Puts a value where keys lead, unless something is there.
fn put(object: &mut Value, path: &[String], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    let Value::Object(map) = object else { return };
    if rest.is_empty() {
        map.entry(key.clone()).or_insert(value);
    } else {
        put(map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), rest, value);
    }
}

/// An item within the inner lists of its path: `A[].B[]` has elements `{"B": [item]}`.
fn nested(path: &str, item: Value) -> Value {
    let Some((_, inner)) = path.split_once("[].") else { return item };
    let inner = inner.trim_end_matches("[]");
    let mut element = Value::Object(Map::new());
    if let Some(path) = keys(inner) {
        put(&mut element, &path, Value::Array(vec![item]));
    }
    element
}
