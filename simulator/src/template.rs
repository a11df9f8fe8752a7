//! JSON with holes: what a fixture says an item looks like.
//!
//! Texts may hold expressions (see [`crate::expression`]). Beside these:
//! * a member `"Name?0.3"` is there in three of ten items;
//! * `{"$json": …}` is a text that is JSON, `{"$urljson": …}` the same percent-encoded, `{"$base64": "…"}` a text in base64;
//! * a member `"$above": true` begins an object with the members of the item that it was asked for;
//! * a member whose value is null is left out, the one of the item above included.

use crate::expression::{Expression, Scope};
use base64::Engine as _;
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    Fixed(Value),
    One(Expression),
    Text(Vec<Piece>),
    List(Vec<Template>),
    Object { above: bool, members: Vec<Member> },
    Json(Box<Template>),
    UrlJson(Box<Template>),
    Base64(Box<Template>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Expression(Expression),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    name: String,
    chance: Option<f64>,
    value: Template,
}

impl Template {
    /// Reads JSON text with holes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::of(&serde_json::from_str(text).map_err(|e| e.to_string())?)
    }

    pub(crate) fn of(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) if text.contains("${") => Self::text(text)?,
            Value::Array(list) => Self::List(list.iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(map) => Self::object(map)?,
            other => Self::Fixed(other.clone()),
        })
    }

    fn text(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, after) = after.split_once('}').ok_or_else(|| format!("{text:?} lacks a closing brace"))?;
            pieces.push(Piece::Expression(Expression::parse(inner)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(match pieces.as_slice() {
            [Piece::Expression(one)] => Self::One(one.clone()),
            _ => Self::Text(pieces),
        })
    }

    fn object(map: &Map<String, Value>) -> Result<Self, String> {
        if let (1, Some((name, value))) = (map.len(), map.iter().next()) {
            let wrap = match name.as_str() {
                "$json" => Some(Self::Json as fn(Box<Template>) -> Template),
                "$urljson" => Some(Self::UrlJson as fn(Box<Template>) -> Template),
                "$base64" => Some(Self::Base64 as fn(Box<Template>) -> Template),
                _ => None,
            };
            if let Some(wrap) = wrap {
                return Ok(wrap(Box::new(Self::of(value)?)));
            }
        }
        let mut members = Vec::new();
        for (name, value) in map.iter().filter(|(name, _)| *name != "$above") {
            let (name, chance) = match name.rsplit_once('?') {
                Some((name, chance)) => {
                    (name, Some(chance.parse().map_err(|_| format!("{chance:?} is no probability"))?))
                }
                None => (name.as_str(), None),
            };
            members.push(Member { name: name.to_owned(), chance, value: Self::of(value)? });
        }
        Ok(Self::Object { above: map.contains_key("$above"), members })
    }

    /// Fills it in.
    pub(crate) fn fill(&self, scope: &Scope<'_>) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::One(expression) => expression.value(scope),
            Self::Text(pieces) => Value::from(filled(pieces, scope)),
            Self::List(list) => list.iter().map(|template| template.fill(scope)).collect(),
            Self::Object { above, members } => object(*above, members, scope),
            Self::Json(inner) => Value::from(inner.fill(scope).to_string()),
            Self::UrlJson(inner) => Value::from(percent_encoded(&inner.fill(scope).to_string())),
            Self::Base64(inner) => match inner.fill(scope) {
                Value::String(text) => Value::from(base64::engine::general_purpose::STANDARD.encode(text)),
                other => other,
            },
        }
    }
}

fn object(above: bool, members: &[Member], scope: &Scope<'_>) -> Value {
    let mut map = match scope.above.first() {
        Some(Value::Object(item)) if above => item.clone(),
        _ => Map::with_capacity(members.len()),
    };
    for member in members {
        if member.chance.is_some_and(|p| !scope.dice.text(&member.name).text("there").chance(p)) {
            continue;
        }
        match member.value.fill(scope) {
            Value::Null => {
                map.shift_remove(&member.name);
            }
            value => {
                map.insert(member.name.clone(), value);
            }
        }
    }
    Value::Object(map)
}

fn filled(pieces: &[Piece], scope: &Scope<'_>) -> String {
    let mut text = String::with_capacity(64);
    for piece in pieces {
        match piece {
            Piece::Text(fixed) => text.push_str(fixed),
            Piece::Expression(expression) => match expression.value(scope) {
                Value::String(value) => text.push_str(&value),
                Value::Null => {}
                other => text.push_str(&other.to_string()),
            },
        }
    }
    text
}

/// As IAM encodes documents: RFC 3986.
fn percent_encoded(text: &str) -> String {
    const SET: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, SET).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use serde_json::json;

    fn scope<'a>(above: &'a [&'a Value]) -> Scope<'a> {
        let dice = Dice::new(1);
        Scope {
            account: "111122223333",
            region: "eu-west-1",
            index: 3,
            dice,
            cell: dice,
            above,
            regions: &["us-east-1"],
            own_external_id: "x",
        }
    }
    fn fill(text: &str, above: &[&Value]) -> Value {
        Template::parse(text).expect("template").fill(&scope(above))
    }

    #[test]
    fn texts_are_filled_and_lone_expressions_keep_their_type() {
        let value = fill(r#"{"Arn": "arn:${account}/${index:4}", "N": "${index}", "Never?0": 1, "Gone": null}"#, &[]);
        assert_eq!(value, json!({"Arn": "arn:111122223333/0003", "N": 3}));
    }

    #[test]
    fn items_above_can_be_asked_and_continued() {
        let (parent, grand) = (json!({"Arn": "a:b/c", "X": {"Y": 2}}), json!("top"));
        let value = fill(r#"{"$above": true, "T": "${^Arn|tail}", "Y": "${^X.Y}", "G": "${^^}"}"#, &[&parent, &grand]);
        assert_eq!(value, json!({"Arn": "a:b/c", "X": {"Y": 2}, "T": "c", "Y": 2, "G": "top"}));
    }

    #[test]
    fn documents_are_texts_within() {
        assert_eq!(fill(r#"{"P": {"$json": {"A": "${account}"}}}"#, &[])["P"], r#"{"A":"111122223333"}"#);
        assert_eq!(fill(r#"{"P": {"$urljson": {"A": 1}}}"#, &[])["P"], "%7B%22A%22%3A1%7D");
        assert_eq!(fill(r#"{"P": {"$base64": "${account}"}}"#, &[])["P"], "MTExMTIyMjIzMzMz");
    }

    #[test]
    fn shared_labels_draw_the_same_and_mistakes_are_errors() {
        let value = fill(r#"["${hex:8:vpc@3}", "${hex:8:vpc}", "${hex:8}"]"#, &[]);
        assert_eq!(value[0], value[1]);
        assert_ne!(value[0], value[2]);
        assert!(Template::parse(r#""${nonsense}""#).is_err());
        assert!(Template::parse(r#""${index""#).is_err());
    }
}
