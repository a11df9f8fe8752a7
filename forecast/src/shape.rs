//! What an answer must have so that a scan goes on from it as the catalogue says: items where the operation has them,
//! with the fields that ids and children's parameters are made of, and page tokens. Nothing else is in it.

use fleetscan_proto::catalogue::{Binding, Catalogue, Emit, Operation, Service};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};

/// The fields of one emit's items.
#[derive(Debug, Clone, Default)]
struct Fields {
    /// Their values tell items apart.
    own: BTreeSet<String>,
    /// Their values are always the same: what a child's `only` asks for.
    fixed: Vec<(String, String)>,
}

/// Fields of items by service, operation and emit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes(HashMap<String, HashMap<String, Vec<Fields>>>);

impl Shapes {
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let mut shapes = Self::default();
        for service in catalogue.services() {
            for operation in &service.operations {
                for (index, emit) in operation.emits.iter().enumerate() {
                    for path in of_record(emit) {
                        shapes.need(service, operation, index, &path);
                    }
                }
                shapes.need_of_parents(service, operation);
            }
        }
        shapes
    }

    fn at(&mut self, service: &Service, operation: &Operation, emit: usize) -> &mut Fields {
        let owner = operation.lender.as_ref().unwrap_or(&service.id);
        let by_emit = self.0.entry(owner.clone()).or_default().entry(operation.name.clone()).or_default();
        if by_emit.len() <= emit {
            by_emit.resize(emit + 1, Fields::default());
        }
        &mut by_emit[emit]
    }

    fn need(&mut self, service: &Service, operation: &Operation, emit: usize, path: &str) {
        self.at(service, operation, emit).own.insert(path.to_owned());
    }

    /// What a child's parameters are made of lies in the items above it.
    fn need_of_parents(&mut self, service: &Service, operation: &Operation) {
        let Some(parent) = &operation.parent else { return };
        let above = &service.operations[parent.operation];
        if let Some((path, values)) = &parent.only
            && let Some(first) = values.first()
        {
            let fields = self.at(service, above, parent.emit);
            if !fields.fixed.iter().any(|(known, _)| known == path.as_str()) {
                fields.fixed.push((path.as_str().to_owned(), first.clone()));
            }
        }
        for (_, binding) in operation.with.iter().chain(&operation.add) {
            match binding {
                Binding::Text(template) => {
                    for path in template.paths() {
                        self.need(service, above, parent.emit, path.as_str());
                    }
                }
                Binding::Item { up, path } => {
                    let mut place = (above, parent.emit);
                    for _ in 0..*up {
                        let Some(next) = &place.0.parent else { break };
                        place = (&service.operations[next.operation], next.emit);
                    }
                    self.need(service, place.0, place.1, path.as_str());
                }
                Binding::Trail(_) | Binding::Account | Binding::Region => {}
            }
        }
    }

    /// The item of this number.
    pub(crate) fn item(&self, service: &str, operation: &str, emit: usize, number: u64) -> Value {
        let fields = self.0.get(service).and_then(|all| all.get(operation)).and_then(|all| all.get(emit));
        let Some(fields) = fields else { return Value::Object(Map::new()) };
        let text = || Value::String(format!("n{number}"));
        if fields.own.contains(".") {
            return text();
        }
        let mut item = Value::Object(Map::new());
        for path in &fields.own {
            plant(&mut item, path, text());
        }
        for (path, value) in &fields.fixed {
            // A word of a choice may be a truth or a number.
            plant(&mut item, path, serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone())));
        }
        item
    }

    /// An item as a child's `only` sees it.
    pub(crate) fn sample(&self, service: &Service, operation: &Operation, emit: usize) -> Value {
        self.item(operation.lender.as_deref().unwrap_or(&service.id), &operation.name, emit, 0)
    }
}

fn of_record(emit: &Emit) -> Vec<String> {
    if !emit.is_record() {
        return Vec::new();
    }
    emit.id.paths().map(|path| path.as_str().to_owned()).collect()
}

/// Puts a value where a path of the catalogue says, making what is on the way. Of a path with an alternative it takes
/// the first; one that means every member has no place to put anything.
pub(crate) fn plant(root: &mut Value, path: &str, value: Value) {
    let path = path.split('|').next().unwrap_or(path);
    if path.contains('*') || path == "." {
        return;
    }
    let steps: Vec<&str> = path.split('.').collect();
    let mut here = root;
    for (at, step) in steps.iter().enumerate() {
        let (name, in_list) = (step.trim_end_matches("[]"), step.ends_with("[]"));
        if name.is_empty() {
            return;
        }
        let Value::Object(map) = here else { return };
        let last = at + 1 == steps.len();
        if last {
            // A list of texts, where one text was meant.
            let value = if in_list && !value.is_array() { Value::Array(vec![value]) } else { value };
            map.insert(name.to_owned(), value);
            return;
        }
        let empty = || Value::Object(Map::new());
        let next = map.entry(name).or_insert_with(|| if in_list { Value::Array(vec![empty()]) } else { empty() });
        here = match next {
            Value::Array(list) => match list.first_mut() {
                Some(first) => first,
                None => return,
            },
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::FieldPath;
    use serde_json::json;

    #[test]
    fn what_is_planted_is_found_where_the_path_says() {
        for path in ["A", "A.B", "A[].B", "A[].B[].C", "A.B|C"] {
            let mut value = json!({});
            plant(&mut value, path, json!("x"));
            assert_eq!(FieldPath::parse(path).expect("a path").get(&value), Some(&json!("x")), "{path}: {value}");
        }
        let mut list = json!({});
        plant(&mut list, "A[].B[]", json!(["x", "y"]));
        assert_eq!(FieldPath::parse("A[].B[]").expect("a path").items(&list).len(), 2);
    }

    #[test]
    fn every_record_of_the_catalogue_can_be_named_from_its_item() {
        let catalogue = Catalogue::built_in();
        let shapes = Shapes::of(catalogue);
        for service in catalogue.services() {
            for operation in &service.operations {
                for (index, emit) in operation.emits.iter().enumerate().filter(|(_, emit)| emit.is_record()) {
                    let item = shapes.sample(service, operation, index);
                    let named = emit.id.fill(&item, &|_| "x".to_owned()).is_some() || item.is_string();
                    assert!(named, "{}:{} {item}", service.id, operation.name);
                }
            }
        }
    }
}
