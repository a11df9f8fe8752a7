use fleetscan_proto::catalogue::{Operation, Paging};
use serde_json::{Map, Value};

/// An operation's parameters with its page's size and token.
pub fn page_params(operation: &Operation, mut params: Map<String, Value>, token: Option<&str>) -> Map<String, Value> {
    if let Some(paging) = &operation.paging {
        if let Some((name, size)) = &paging.size {
            params.insert(name.clone(), Value::from(*size));
        }
        if let Some(token) = token {
            params.insert(paging.input.clone(), Value::from(token));
        }
    }
    params
}

/// The token of the page after this one.
pub fn next_token(paging: Option<&Paging>, answer: &Value) -> Option<String> {
    let paging = paging?;
    if let Some(more) = &paging.more
        && !matches!(more.get(answer), Some(Value::Bool(true)))
        && more.get(answer).and_then(Value::as_str) != Some("true")
    {
        return None;
    }
    paging.output.get(answer)?.as_str().filter(|token| !token.is_empty()).map(str::to_owned)
}
