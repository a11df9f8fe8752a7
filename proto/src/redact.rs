//! What never leaves a parser, whatever the catalogue says: the values of `sts:ExternalId` conditions in any policy.
//!
//! A trust policy would otherwise print our own secret, and other vendors', into the results.

use serde_json::Value;

/// Stands for the value of an `sts:ExternalId` condition.
pub const SET: &str = "<set>";
/// Stands for a value that the catalogue marks as secret.
pub const REDACTED: &str = "<redacted>";

/// Replaces, at any depth, the values of `sts:ExternalId` (condition keys are case-insensitive): in objects, and in
/// texts that are JSON themselves, URL-encoded or not. A text that mentions the key and cannot be read as JSON is
/// replaced whole. Answers whether anything was changed.
pub fn external_ids(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            let mut changed = false;
            for (key, value) in map.iter_mut() {
                if key.eq_ignore_ascii_case("sts:ExternalId") {
                    *value = Value::from(SET);
                    changed = true;
                } else {
                    changed |= external_ids(value);
                }
            }
            changed
        }
        Value::Array(list) => list.iter_mut().fold(false, |changed, v| external_ids(v) | changed),
        Value::String(text) => match redacted_text(text) {
            Some(redacted) => {
                *text = redacted;
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn redacted_text(text: &str) -> Option<String> {
    if !may_hold_external_ids(text.as_bytes()) {
        return None;
    }
    let start = text.trim_start();
    let looks_like_json = start.starts_with(['{', '[', '"'])
        || start.starts_with("%7B")
        || start.starts_with("%7b")
        || start.starts_with("%5B");
    if looks_like_json && let Some((mut document, encoded)) = parse_document(text) {
        return external_ids(&mut document).then(|| {
            let plain = document.to_string();
            if encoded { percent_encode(&plain) } else { plain }
        });
    }
    let lower = text.to_ascii_lowercase();
    (lower.contains("sts:externalid") || lower.contains("sts%3aexternalid")).then(|| REDACTED.to_owned())
}

/// Whether bytes (an answer's body, or one text of it) could hold an `sts:ExternalId` condition at all: the key's name
/// in any case, or an escape that could hide a letter of it. Most answers hold neither, and need no closer look.
pub fn may_hold_external_ids(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"externalid";
    let named = memchr::memchr2_iter(b'x', b'X', bytes)
        .any(|x| x > 0 && bytes.get(x - 1..x - 1 + KEY.len()).is_some_and(|word| word.eq_ignore_ascii_case(KEY)));
    let escaped = |mark: &[u8]| memchr::memmem::find(bytes, mark).is_some();
    named || escaped(b"\\u") || escaped(b"&#") || escaped(b"%5C") || escaped(b"%5c") || hidden_by_percent(bytes)
}

/// `%65xternalId`: a letter of the key, URL-encoded although it need not be.
fn hidden_by_percent(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).any(|at| match bytes.get(at + 1..at + 3) {
        Some([b'4' | b'6', low]) => low.is_ascii_hexdigit() && *low != b'0',
        Some([b'5' | b'7', low]) => low.is_ascii_digit() || matches!(low, b'a' | b'A'),
        _ => false,
    })
}

/// Reads a policy document, plain or URL-encoded as IAM gives it; the flag says which.
pub fn parse_document(text: &str) -> Option<(Value, bool)> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some((value, false));
    }
    let decoded = percent_decode(text)?;
    Some((serde_json::from_str(&decoded).ok()?, true))
}

fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = text.get(at + 1..at + 3)?;
            decoded.push(u8::from_str_radix(hex, 16).ok()?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

fn percent_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => {
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(other >> 4)]));
                encoded.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn external_ids_vanish_from_policies_in_any_dress() {
        let policy = r#"{"Statement":[{"Condition":{"StringEquals":{"STS:externalid":["hunter2","other"]}}}]}"#;
        let escaped = r#"{"Statement":[{"Condition":{"StringEquals":{"sts:External\u0049d":"hunter2"}}}]}"#;
        let mut value = json!({
            "object": serde_json::from_str::<Value>(policy).expect("json"),
            "text": policy, "escaped": escaped,
            "url": percent_encode(policy), "nested": json!({"inner": policy}).to_string(),
            "broken": format!("{policy},"), "harmless": "{\"a\": 1}",
        });
        assert!(external_ids(&mut value));
        let shown = value.to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(percent_decode(value["url"].as_str().expect("text")).expect("decodes").contains(SET));
        assert_eq!(value["harmless"], "{\"a\": 1}");
        assert_eq!(value["broken"], REDACTED);
        let hidden = percent_encode(policy).replace("externalid", "e%78ternalid");
        let mut value = json!({"hidden": hidden});
        assert!(external_ids(&mut value), "{value}");
    }
}
