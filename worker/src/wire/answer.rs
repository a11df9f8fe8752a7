use super::xml::{object, parse_xml};
use fleetscan_proto::catalogue::{Operation, Protocol, Service, XmlIndex};
use serde_json::{Map, Value};

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// AWS's request id.
    pub request_id: Option<String>,
    /// The header `x-amzn-errortype` of JSON services.
    pub error_type: Option<String>,
    /// The header `x-amz-bucket-region` of S3.
    pub bucket_region: Option<String>,
    /// The body.
    pub body: bytes::Bytes,
}

/// An answer that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The body is not what the protocol says.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// Reads a successful answer into JSON with the API's names.
pub fn parse_answer(service: &Service, operation: &Operation, answer: &RawAnswer) -> Result<Value, WireError> {
    if service.protocol.is_xml() {
        return parse_xml_answer(service, operation, answer);
    }
    if answer.body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_slice(&answer.body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(WireError::Malformed("not a JSON object".into())),
        Err(e) => Err(WireError::Malformed(e.to_string())),
    }
}

fn parse_xml_answer(service: &Service, operation: &Operation, answer: &RawAnswer) -> Result<Value, WireError> {
    let malformed = |e: super::XmlError| WireError::Malformed(e.to_string());
    let hints = &service.xml_index;
    match service.protocol {
        Protocol::Query => {
            let root = parse_xml(&answer.body).map_err(malformed)?;
            let result = format!("{}Result", operation.name);
            match root.child(&result) {
                Some(result) => Ok(object(result, result.name, hints)),
                None => Ok(without(object(&root, root.name, hints), "ResponseMetadata")),
            }
        }
        Protocol::Ec2 => {
            let root = parse_xml(&answer.body).map_err(malformed)?;
            Ok(without(object(&root, root.name, hints), "RequestId"))
        }
        _ => parse_rest_xml(operation, answer, hints).map_err(malformed),
    }
}

/// REST answers carry either the output's members, or one member as the whole document: S3's bucket policy (JSON), a
/// bucket's location (text only), its public access block (the root is the member itself).
fn parse_rest_xml(operation: &Operation, answer: &RawAnswer, hints: &XmlIndex) -> Result<Value, super::XmlError> {
    let mut map = Map::new();
    if let Some(region) = &answer.bucket_region {
        map.insert("BucketRegion".into(), Value::from(region.as_str()));
    }
    let body = answer.body.trim_ascii_start();
    let wanted: Vec<&str> = match &operation.merge {
        Some(merge) if !merge.keep.is_empty() => merge.keep.iter().map(String::as_str).collect(),
        _ => operation.emits.iter().filter_map(|e| e.items.first_key()).collect(),
    };
    if body.starts_with(b"{") {
        let member = wanted.first().copied().unwrap_or("Policy");
        map.insert(member.into(), Value::from(String::from_utf8_lossy(body)));
    } else if !body.is_empty() {
        let root = parse_xml(body)?;
        if root.children.is_empty() && wanted.contains(&root.name) {
            map.insert(root.name.to_owned(), Value::from(root.text.as_ref()));
        } else if wanted.contains(&root.name) {
            map.insert(root.name.to_owned(), object(&root, root.name, hints));
        } else if let Value::Object(members) = object(&root, root.name, hints) {
            map.extend(members);
        }
    }
    Ok(Value::Object(map))
}

fn without(mut value: Value, member: &str) -> Value {
    if let Value::Object(map) = &mut value {
        map.shift_remove(member);
    }
    value
}

/// Code and message of an error answer, whatever its protocol; empty texts where it has none.
pub fn parse_error(protocol: Protocol, answer: &RawAnswer) -> (String, String) {
    if protocol.is_xml() {
        let Ok(root) = parse_xml(&answer.body) else { return (String::new(), String::new()) };
        let text = |name: &str| root.find(name).map(|e| e.text.trim().to_owned()).unwrap_or_default();
        return (text("Code"), text("Message"));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let member = |names: &[&str]| names.iter().find_map(|n| body.get(*n)?.as_str()).unwrap_or_default().to_owned();
    let code = answer.error_type.clone().unwrap_or_else(|| member(&["__type", "code", "Code"]));
    let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
    (code, member(&["message", "Message", "errorMessage"]))
}
