use serde_json::Value;
use std::borrow::Cow;

/// Text that is not a path, a binding or a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A member of an object.
    Key(String),
    /// Every element of a list.
    Each,
    /// Every member of an object, or every element of a list.
    Any,
    /// The value itself and all that is in it, however deep.
    Deep,
}

/// Where values lie in an answer: `Table`, `Reservations[].Instances[]`, `Environment.Variables.*`, and, at any depth,
/// `definition.**.Parameters`. The empty path (`.`) is the value itself. `BucketRegion|LocationConstraint` is the second where there is nothing at the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    steps: Vec<Step>,
    otherwise: Option<Box<FieldPath>>,
    text: String,
}

impl FieldPath {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if let Some((first, rest)) = text.split_once('|') {
            let otherwise = Some(Box::new(Self::parse(rest)?));
            return Ok(Self { otherwise, text: text.to_owned(), ..Self::parse(first)? });
        }
        let mut steps = Vec::new();
        if text != "." {
            for part in text.split('.') {
                let (name, lists) = match part.find("[]") {
                    Some(at) => (&part[..at], (part.len() - at) / 2),
                    None => (part, 0),
                };
                if part[name.len()..] != "[]".repeat(lists)
                    || name.contains(['[', ']'])
                    || (name.is_empty() && lists == 0)
                {
                    return Err(PathError(format!(
                        "{text:?} is not a path: write Key.Key[].Key, or * for every member"
                    )));
                }
                match name {
                    "" => {}
                    "*" => steps.push(Step::Any),
                    "**" => steps.push(Step::Deep),
                    name => steps.push(Step::Key(name.to_owned())),
                }
                steps.extend(std::iter::repeat_n(Step::Each, lists));
            }
        }
        Ok(Self { steps, otherwise: None, text: text.to_owned() })
    }
    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The first key, where the path begins with one.
    pub fn first_key(&self) -> Option<&str> {
        match self.steps.first()? {
            Step::Key(key) => Some(key),
            _ => None,
        }
    }
    /// The last key of the path, where it has one.
    pub fn last_key(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            _ => None,
        })
    }

    /// The first value there, if any. Null counts as nothing.
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let mut found = None;
        walk(&self.steps, value, &mut |v| {
            if found.is_none() && !v.is_null() {
                found = Some(v);
            }
        });
        found.or_else(|| self.otherwise.as_ref()?.get(value))
    }
    /// Every value there. A path that ends at a list (without `[]`) yields its elements; one that ends at an object,
    /// a string or a number, that one value.
    pub fn items<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = Vec::new();
        walk(&self.steps, value, &mut |v| match v {
            Value::Array(list) => found.extend(list.iter()),
            Value::Null => {}
            other => found.push(other),
        });
        match &self.otherwise {
            Some(otherwise) if found.is_empty() => otherwise.items(value),
            _ => found,
        }
    }
    /// As [`FieldPath::items`], taking the values out of `value`.
    pub fn take_items(&self, value: &mut Value) -> Vec<Value> {
        let mut found = Vec::new();
        self.edit(value, &mut |v| match v.take() {
            Value::Array(list) => found.extend(list),
            Value::Null => {}
            other => found.push(other),
        });
        found
    }
    /// Changes every value there in place: at both paths, where it has two.
    pub fn edit(&self, value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
        edit(&self.steps, value, change);
        if let Some(otherwise) = &self.otherwise {
            otherwise.edit(value, change);
        }
    }
    /// Removes the members there (of the object that holds each).
    pub fn remove(&self, value: &mut Value) {
        if let Some(otherwise) = &self.otherwise {
            otherwise.remove(value);
        }
        let Some((Step::Key(last), before)) = self.steps.split_last() else { return };
        edit(before, value, &mut |v| {
            if let Value::Object(map) = v {
                map.shift_remove(last);
            }
        });
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
    match (steps.split_first(), value) {
        (None, value) => visit(value),
        (Some((Step::Key(key), rest)), Value::Object(map)) => {
            if let Some(value) = map.get(key) {
                walk(rest, value, visit);
            }
        }
        (Some((Step::Each | Step::Any, rest)), Value::Array(list)) => list.iter().for_each(|v| walk(rest, v, visit)),
        (Some((Step::Any, rest)), Value::Object(map)) => map.values().for_each(|v| walk(rest, v, visit)),
        (Some((Step::Deep, rest)), value) => {
            walk(rest, value, visit);
            match value {
                Value::Object(map) => map.values().for_each(|v| walk(steps, v, visit)),
                Value::Array(list) => list.iter().for_each(|v| walk(steps, v, visit)),
                _ => {}
            }
        }
        _ => {}
    }
}

fn edit(steps: &[Step], value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    match (steps.split_first(), value) {
        (None, value) => change(value),
        (Some((Step::Key(key), rest)), Value::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                edit(rest, value, change);
            }
        }
        (Some((Step::Each | Step::Any, rest)), Value::Array(list)) => {
            list.iter_mut().for_each(|v| edit(rest, v, change))
        }
        (Some((Step::Any, rest)), Value::Object(map)) => map.values_mut().for_each(|v| edit(rest, v, change)),
        (Some((Step::Deep, rest)), value) => {
            match &mut *value {
                Value::Object(map) => map.values_mut().for_each(|v| edit(steps, v, change)),
                Value::Array(list) => list.iter_mut().for_each(|v| edit(steps, v, change)),
                _ => {}
            }
            edit(rest, value, change);
        }
        _ => {}
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(FieldPath),
    /// What follows the last slash of a field.
    Tail(FieldPath),
    Variable(String),
}

/// A value put together from an item: a path (`FunctionArn`), or a text with fields and variables in braces
/// (`arn:{$partition}:ec2:{$region}:{$account}:instance/{InstanceId}`). `{Id/}` is what follows the field's last slash:
/// Route 53 calls a zone `/hostedzone/Z1`, and wants to be asked about `Z1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads a template; a text without braces is a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if !text.contains('{') {
            return Ok(Self { pieces: vec![Piece::Field(FieldPath::parse(text)?)] });
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let close = rest
                .find('}')
                .filter(|c| *c > open)
                .ok_or_else(|| PathError(format!("{text:?} opens a brace and does not close it")))?;
            let inner = &rest[open + 1..close];
            pieces.push(match inner {
                "$account" | "$region" | "$partition" => Piece::Variable(inner[1..].to_owned()),
                v if v.starts_with('$') => {
                    return Err(PathError(format!("{{{v}}} is none of {{$account}}, {{$region}}, {{$partition}}")));
                }
                path => match path.strip_suffix('/') {
                    Some(path) => Piece::Tail(FieldPath::parse(path)?),
                    None => Piece::Field(FieldPath::parse(path)?),
                },
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The fields that it reads.
    pub fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field(path) | Piece::Tail(path) => Some(path),
            Piece::Text(_) | Piece::Variable(_) => None,
        })
    }

    /// Fills it in; `None` where a field is missing. `variables` answers `account`, `region` and `partition`.
    pub fn fill(&self, item: &Value, variables: &dyn Fn(&str) -> String) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Variable(name) => filled.push_str(&variables(name)),
                Piece::Field(path) => filled.push_str(&scalar(path.get(item)?)?),
                Piece::Tail(path) => {
                    let whole = scalar(path.get(item)?)?;
                    filled.push_str(whole.rsplit('/').next().unwrap_or_default());
                }
            }
        }
        Some(filled)
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        _ => None,
    }
}
