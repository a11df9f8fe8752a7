use fleetscan_proto::catalogue::{Operation, Paging};
use serde_json::{Map, Value};

/// An operation's parameters with its page's size and token.
pub fn page_params(operation: &Operation, mut params: Map<String, Value>, token: Option<&str>) -> Map<String, Value> {
    if let Some(paging) = &operation.paging {
        if let Some((name, size)) = &paging.size {
            params.insert(name.clone(), Value::from(*size));
        }
        match token {
            Some(token) if !paging.also.is_empty() => params.extend(several(token)),
            Some(token) => {
                params.insert(paging.input.clone(), Value::from(token));
            }
            None => {}
        }
    }
    params
}

/// The parameters that [`next_token`] put into one token.
fn several(token: &str) -> Map<String, Value> {
    serde_json::from_str(token).unwrap_or_default()
}

/// The token of the page after this one. Where AWS names that page by several values, it is a JSON object of the
/// parameters that they go into.
pub fn next_token(paging: Option<&Paging>, answer: &Value) -> Option<String> {
    let paging = paging?;
    if let Some(more) = &paging.more
        && !matches!(more.get(answer), Some(Value::Bool(true)))
        && more.get(answer).and_then(Value::as_str) != Some("true")
    {
        return None;
    }
    let token = paging.output.get(answer)?.as_str().filter(|token| !token.is_empty())?;
    if paging.also.is_empty() {
        return Some(token.to_owned());
    }
    let mut params = Map::from_iter([(paging.input.clone(), Value::from(token))]);
    for (name, path) in &paging.also {
        if let Some(value) = path.get(answer) {
            params.insert(name.clone(), value.clone());
        }
    }
    Some(Value::Object(params).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;
    use serde_json::json;

    const ROUTE53: &str = r#"
service = "route53"
title = "Amazon Route 53"
protocol = "rest-xml"
scope = "global"
home = "us-east-1"
one_host = true
[[limit]]
group = "account"
rate = 5
source = "s"
[[operation]]
name = "ListResourceRecordSets"
http = "GET /2013-04-01/hostedzone/{Id}/rrset"
items = "ResourceRecordSets"
[operation.pages]
in = "name"
out = "NextRecordName"
more = "IsTruncated"
also = { type = "NextRecordType", identifier = "NextRecordIdentifier" }
"#;

    #[test]
    fn a_page_may_be_named_by_several_values() {
        let catalogue = Catalogue::from_files([("route53.toml", ROUTE53)]).expect("sound");
        let operation = &catalogue.services()[0].operations[0];
        let answer = json!({"IsTruncated": true, "NextRecordName": "a.", "NextRecordType": "TXT"});
        let token = next_token(operation.paging.as_ref(), &answer).expect("there is more");
        let params = page_params(operation, Map::new(), Some(&token));
        assert_eq!(Value::Object(params), json!({"name": "a.", "type": "TXT"}));
        let last = json!({"IsTruncated": false, "NextRecordName": "a."});
        assert_eq!(next_token(operation.paging.as_ref(), &last), None);
    }
}
