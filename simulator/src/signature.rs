//! Signature Version 4: the form of `Authorization`, its scope, and the signature itself.
//! Source: IAM User Guide, "Create a signed AWS API request".

use crate::{request::Incoming, session::hmac};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

/// What `Authorization` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authorization<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header; the error is what AWS would say of it.
    pub(crate) fn parse(header: &'a str) -> Result<Self, String> {
        let wrong = |what: &str| format!("Authorization header requires {what}. Authorization={header}");
        let rest = header.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(|| wrong("'AWS4-HMAC-SHA256'"))?;
        let part =
            |name: &str| rest.split(',').map(str::trim).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let credential = part("Credential").ok_or_else(|| wrong("'Credential' parameter"))?;
        let signed = part("SignedHeaders").ok_or_else(|| wrong("'SignedHeaders' parameter"))?;
        let signature = part("Signature").ok_or_else(|| wrong("'Signature' parameter"))?;
        let fields: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = fields[..] else {
            return Err("Credential must have exactly 5 slash-delimited elements".to_owned());
        };
        let lists = |name: &str| signed.split(';').any(|header| header == name);
        if !lists("host") || !lists("x-amz-date") {
            return Err("'Host' and 'X-Amz-Date' must be signed headers".to_owned());
        }
        if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("a signature of 64 hexadecimal digits"));
        }
        Ok(Self { access_key, date, region, service, signed, signature })
    }

    pub(crate) fn signs(&self, header: &str) -> bool {
        self.signed.split(';').any(|name| name == header)
    }
}

/// Computes signatures; keys of a day are kept, for they cost most of it.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    keys: Mutex<HashMap<String, [u8; 32]>>,
}

/// Signing keys that are kept.
const KEYS: usize = 4_096;

impl Verifier {
    /// Whether the signature is the one that the secret makes.
    pub(crate) fn agrees(&self, request: &Incoming, authorization: &Authorization<'_>, secret: &str) -> bool {
        let Some(date) = request.header("x-amz-date") else { return false };
        let canonical = hex(&Sha256::digest(canonical(request, authorization)));
        let Authorization { date: day, region, service, .. } = authorization;
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{day}/{region}/{service}/aws4_request\n{canonical}");
        let key = self.key(authorization, secret);
        hex(&hmac(&key, &[text.as_bytes()])) == authorization.signature
    }

    fn key(&self, authorization: &Authorization<'_>, secret: &str) -> [u8; 32] {
        let Authorization { access_key, date, region, service, .. } = authorization;
        let name = format!("{access_key}/{date}/{region}/{service}");
        let lock = || self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = lock().get(&name) {
            return *key;
        }
        let key = hmac(format!("AWS4{secret}").as_bytes(), &[date.as_bytes()]);
        let key = hmac(&key, &[region.as_bytes()]);
        let key = hmac(&key, &[service.as_bytes()]);
        let key = hmac(&key, &[b"aws4_request"]);
        let mut keys = lock();
        if keys.len() >= KEYS {
            keys.clear();
        }
        keys.insert(name, key);
        key
    }
}

fn canonical(request: &Incoming, authorization: &Authorization<'_>) -> String {
    let mut text = String::with_capacity(512);
    let path = if authorization.service == "s3" { request.path.clone() } else { encoded(&request.path, true) };
    let _ = write!(text, "{}\n{path}\n{}\n", request.method, canonical_query(&request.query));
    for name in authorization.signed.split(';') {
        let values: Vec<&str> = request.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
        text.push_str(name);
        text.push(':');
        for (n, value) in values.iter().enumerate() {
            text.push_str(if n > 0 { "," } else { "" });
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            text.push_str(&words.join(" "));
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}\n", authorization.signed);
    match request.header("x-amz-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => text.push_str("UNSIGNED-PAYLOAD"),
        _ => text.push_str(&hex(&Sha256::digest(&request.body))),
    }
    text
}

fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (encoded(&decoded(key), false), encoded(&decoded(value), false)))
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    joined.join("&")
}

/// RFC 3986's unreserved characters stay; of a path, the slashes too.
fn encoded(text: &str, path: bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b'/' if path => encoded.push('/'),
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// `20260131T120000Z` in milliseconds since 1970.
pub(crate) fn amz_date(text: &str) -> Option<i64> {
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(parsed.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The example of AWS's SigV4 documentation: GET iam ListUsers.
    #[test]
    fn the_documentations_example_has_the_documentations_signature() {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("host", "iam.amazonaws.com"),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("x-amz-date", "20150830T123600Z"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let request = Incoming {
            method: http::Method::GET,
            path: "/".into(),
            query: "Action=ListUsers&Version=2010-05-08".into(),
            headers,
            body: bytes::Bytes::new(),
        };
        let header = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let authorization = Authorization::parse(header).expect("well-formed");
        let verifier = Verifier::default();
        assert!(verifier.agrees(&request, &authorization, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
        assert!(!Verifier::default().agrees(&request, &authorization, "another"));
    }

    #[test]
    fn malformed_headers_are_named() {
        for header in [
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=A/d/r/s/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=A/d/r/s, SignedHeaders=host;x-amz-date, Signature=00",
            "AWS4-HMAC-SHA256 Credential=A/d/r/s/aws4_request, SignedHeaders=host, Signature=00",
        ] {
            assert!(Authorization::parse(header).is_err(), "{header}");
        }
        assert_eq!(amz_date("20150830T123600Z"), Some(1_440_938_160_000));
        assert_eq!(amz_date("2015-08-30"), None);
    }
}
