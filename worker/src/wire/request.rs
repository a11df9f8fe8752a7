use fleetscan_proto::catalogue::{Operation, Protocol, Service};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// RFC 3986's unreserved characters stay as they are.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request without host and signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedRequest {
    /// `GET`, `POST`, `HEAD`.
    pub method: String,
    /// Path, encoded, with its query string if any.
    pub path_and_query: String,
    /// Headers beside the host's and the signature's.
    pub headers: Vec<(String, String)>,
    /// The body; often empty.
    pub body: String,
}

/// Puts an operation's parameters on the wire.
pub fn prepare(service: &Service, operation: &Operation, mut params: Map<String, Value>) -> PreparedRequest {
    let mut headers = Vec::new();
    for (param, header) in &operation.headers {
        if let Some(value) = params.shift_remove(param) {
            headers.push((header.clone(), text_of(&value)));
        }
    }
    match service.protocol {
        Protocol::Json10 | Protocol::Json11 => {
            let version = if service.protocol == Protocol::Json10 { "1.0" } else { "1.1" };
            headers.push(("content-type".into(), format!("application/x-amz-json-{version}")));
            headers.push(("x-amz-target".into(), format!("{}.{}", service.target_prefix, operation.name)));
            post("/", headers, Value::Object(params).to_string())
        }
        Protocol::Query | Protocol::Ec2 => {
            let mut form = format!("Action={}&Version={}", operation.name, service.api_version);
            for (name, value) in &params {
                flatten(&mut form, name, value, service.protocol);
            }
            headers.push(("content-type".into(), "application/x-www-form-urlencoded; charset=utf-8".into()));
            post("/", headers, form)
        }
        Protocol::RestJson | Protocol::RestXml => rest(operation, params, headers),
    }
}

fn post(path: &str, headers: Vec<(String, String)>, body: String) -> PreparedRequest {
    PreparedRequest { method: "POST".into(), path_and_query: path.into(), headers, body }
}

fn rest(operation: &Operation, mut params: Map<String, Value>, mut headers: Vec<(String, String)>) -> PreparedRequest {
    let mut path = String::with_capacity(operation.http.path.len() + 32);
    let mut rest = operation.http.path.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = params.shift_remove(name.trim_end_matches('+')).map(|v| text_of(&v)).unwrap_or_default();
        // A greedy one (`{Path+}`) may be several segments.
        let segments: Vec<String> = match name.ends_with('+') {
            true => value.split('/').map(encode).collect(),
            false => vec![encode(&value)],
        };
        path.push_str(&segments.join("/"));
        rest = after;
    }
    path.push_str(rest);
    let mut query = operation.http.query.clone();
    let mut body = String::new();
    if operation.http.method == "POST" {
        headers.push(("content-type".into(), "application/json".into()));
        body = Value::Object(params).to_string();
    } else {
        for (name, value) in &params {
            let values = match value {
                Value::Array(list) => list.iter().map(text_of).collect(),
                one => vec![text_of(one)],
            };
            for value in values {
                append(&mut query, name, &value);
            }
        }
    }
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    PreparedRequest { method: operation.http.method.clone(), path_and_query: path, headers, body }
}

/// Lists and structures of a form: `query` counts `Name.member.1`, `ec2` counts `Name.1`.
fn flatten(form: &mut String, name: &str, value: &Value, protocol: Protocol) {
    match value {
        Value::Array(list) => {
            for (n, item) in list.iter().enumerate() {
                let name = match protocol {
                    Protocol::Ec2 => format!("{name}.{}", n + 1),
                    _ => format!("{name}.member.{}", n + 1),
                };
                flatten(form, &name, item, protocol);
            }
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(form, &format!("{name}.{key}"), value, protocol))
        }
        one => append(form, name, &text_of(one)),
    }
}

fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(&encode(name));
    query.push('=');
    query.push_str(&encode(value));
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
