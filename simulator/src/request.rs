//! A request, and the parameters in it, whatever the protocol.

use bytes::Bytes;
use fleetscan_proto::catalogue::{Operation, Protocol};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: http::Method,
    /// As it was sent: still encoded.
    pub(crate) path: String,
    /// Without `?`.
    pub(crate) query: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Incoming {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    pub(crate) fn query_pairs(&self) -> Pairs<'_> {
        pairs(&self.query)
    }
    /// A form's field in the body.
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        pairs(text).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

pub(crate) type Pairs<'a> = std::iter::Map<std::str::Split<'a, char>, fn(&str) -> (Cow<'_, str>, Cow<'_, str>)>;

/// The pairs of a form or a query string, decoded.
pub(crate) fn pairs(text: &str) -> Pairs<'_> {
    fn split(pair: &str) -> (Cow<'_, str>, Cow<'_, str>) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    }
    text.split('&').map(split as fn(&str) -> (Cow<'_, str>, Cow<'_, str>))
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

/// The parameters of a call.
#[derive(Debug)]
pub(crate) enum Params {
    /// From a JSON body.
    Json(Map<String, Value>),
    /// From forms, query strings, paths and headers.
    Flat(Vec<(String, String)>),
}

impl Params {
    /// Reads them; `path` holds those that were in the path. The error says what is wrong with the body.
    pub(crate) fn read(
        request: &Incoming,
        protocol: Protocol,
        operation: Option<&Operation>,
        path: Vec<(String, String)>,
    ) -> Result<Params, String> {
        match protocol {
            Protocol::Json10 | Protocol::Json11 => json(&request.body).map(Params::Json),
            Protocol::Query | Protocol::Ec2 => {
                let text = std::str::from_utf8(&request.body).map_err(|_| "the body is not UTF-8")?;
                Ok(Params::Flat(owned(pairs(text).chain(request.query_pairs()))))
            }
            Protocol::RestJson | Protocol::RestXml => {
                let mut flat = path;
                flat.extend(owned(request.query_pairs()));
                for (param, header) in operation.iter().flat_map(|o| &o.headers) {
                    if let Some(value) = request.header(header) {
                        flat.push((param.clone(), value.to_owned()));
                    }
                }
                if request.method == http::Method::POST && protocol == Protocol::RestJson {
                    let mut body = json(&request.body)?;
                    flat.into_iter().for_each(|(name, value)| {
                        body.insert(name, Value::from(value));
                    });
                    return Ok(Params::Json(body));
                }
                Ok(Params::Flat(flat))
            }
        }
    }

    /// One value. Names of the wire differ from the API's in their dress (`max-buckets`, `MaxBuckets`).
    pub(crate) fn one(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Params::Json(map) => match member(map, name)? {
                Value::String(text) => Some(Cow::Borrowed(text)),
                Value::Null => None,
                other => Some(Cow::Owned(other.to_string())),
            },
            Params::Flat(list) => {
                let exact = list.iter().find(|(key, _)| key == name);
                let found = exact.or_else(|| list.iter().find(|(key, _)| same(key, name)))?;
                Some(Cow::Borrowed(&found.1))
            }
        }
    }

    /// The values of a list: `Name.member.1`, `Name.1`, a repeated name, or a JSON list.
    pub(crate) fn many(&self, name: &str) -> Vec<String> {
        match self {
            Params::Json(map) => match map.get(name) {
                Some(Value::Array(list)) => {
                    list.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
                }
                _ => Vec::new(),
            },
            Params::Flat(list) => {
                let numbered = |key: &str| {
                    let rest = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
                    let rest = rest.map(|rest| rest.strip_prefix("member.").unwrap_or(rest));
                    rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
                };
                list.iter().filter(|(key, _)| same(key, name) || numbered(key)).map(|(_, v)| v.clone()).collect()
            }
        }
    }
}

/// `Name`, `Outer.Inner`, or the one element of `Names[]`.
fn member<'m>(map: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    if let Some((outer, inner)) = name.split_once('.') {
        return member(map.get(outer)?.as_object()?, inner);
    }
    match name.strip_suffix("[]") {
        Some(list) => map.get(list)?.get(0),
        None => map.get(name),
    }
}

fn owned<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Vec<(String, String)> {
    pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

fn json(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|e| format!("the body is not a JSON object: {e}"))
}

fn same(wire: &str, name: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|b| *b != b'-' && *b != b'_').map(|b| b.to_ascii_lowercase())
    }
    wire.len().abs_diff(name.len()) <= 4 && letters(wire).eq(letters(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_dress() {
        let flat = Params::Flat(owned(pairs("max-buckets=5&Name.member.1=a&Name.member.2=b+c&X.1=y")));
        assert_eq!(flat.one("MaxBuckets").as_deref(), Some("5"));
        assert_eq!(flat.many("Name"), ["a", "b c"]);
        assert_eq!(flat.many("X"), ["y"]);
        assert_eq!(flat.one("Other"), None);
        let Value::Object(map) = serde_json::json!({"A": ["x", 1], "B": 2}) else { unreachable!("an object") };
        let body = Params::Json(map);
        assert_eq!(body.many("A"), ["x", "1"]);
        assert_eq!(body.one("B").as_deref(), Some("2"));
    }
}
