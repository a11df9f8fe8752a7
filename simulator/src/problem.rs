//! What goes wrong, in each service's own words: `errors.toml` and the protocols' error formats.

use crate::xml::escape;
use fleetscan_proto::catalogue::{Protocol, Service};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

const FILE: &str = include_str!("../errors.toml");

/// Why a call is not answered as it wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Throttled,
    Denied,
    Expired,
    /// The session is unknown: it never was, its role is gone, or the region is not enabled.
    UnknownToken,
    BadSignature,
    MissingAuth,
    NotFound,
    BadPageToken,
    Invalid,
    UnknownOperation,
    /// One of the operation's `absent` codes; only the status is in the table.
    Absent,
}

/// An error answer before it is dressed in a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// In place of the table's code.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    /// Where the bucket is that was asked for in another region: clients go there by themselves.
    pub(crate) bucket_region: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), bucket_region: None }
    }
    pub(crate) fn coded(kind: Kind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: Some(code.into()), message: message.into(), bucket_region: None }
    }
    /// S3's answer to whoever asks in another region than the bucket's, with the header that names it
    /// (S3 API reference, "HeadBucket": "the x-amz-bucket-region header").
    pub(crate) fn elsewhere(region: &str) -> Self {
        let message = format!(
            "The bucket you are attempting to access must be addressed using the specified endpoint. Its region is {region}."
        );
        Self { bucket_region: Some(region.to_owned()), ..Self::coded(Kind::Invalid, "PermanentRedirect", message) }
    }
}

type Table = BTreeMap<Kind, (String, u16)>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    protocol: BTreeMap<Protocol0, Table>,
    service: BTreeMap<String, Table>,
    /// Codes whose status is not that of their kind.
    status: BTreeMap<String, u16>,
}

/// [`Protocol`] does not sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Protocol0(Protocol);

impl Ord for Protocol0 {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 as u8).cmp(&(other.0 as u8))
    }
}
impl PartialOrd for Protocol0 {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A service's codes and statuses, and the format of its errors.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    protocol: Protocol,
    table: Table,
    status: BTreeMap<String, u16>,
}

impl Words {
    /// Of every service of a list, in its order; and at the end those of a service that nobody knows.
    pub(crate) fn of(services: &[std::sync::Arc<Service>]) -> Result<Vec<Words>, String> {
        let file: File = toml::from_str(FILE).map_err(|e| e.to_string())?;
        let words = |protocol: Protocol, service: &str| {
            let mut table = file.protocol.get(&Protocol0(protocol)).cloned().unwrap_or_default();
            table.extend(file.service.get(service).cloned().unwrap_or_default());
            Words { protocol, table, status: file.status.clone() }
        };
        let known = services.iter().map(|service| words(service.protocol, &service.id));
        Ok(known.chain([words(Protocol::Query, "")]).collect())
    }

    /// The usual code of a kind.
    pub(crate) fn code(&self, kind: Kind) -> &str {
        self.table.get(&kind).map_or("InternalFailure", |(code, _)| code)
    }

    /// Status, code and body of an error answer.
    pub(crate) fn dress(&self, problem: &Problem, request_id: &str) -> Dressed {
        let code = problem.code.as_deref().unwrap_or(self.code(problem.kind));
        let usual = || self.table.get(&problem.kind).map_or(500, |(_, status)| *status);
        let status = self.status.get(code).copied().unwrap_or_else(usual);
        let body = self.body(code, &problem.message, request_id);
        Dressed { status, code: code.to_owned(), body }
    }

    fn body(&self, code: &str, message: &str, request_id: &str) -> String {
        let mut text = String::new();
        escape(&mut text, message);
        match self.protocol {
            Protocol::Json10 | Protocol::Json11 => json!({"__type": code, "message": message}).to_string(),
            Protocol::RestJson => json!({"message": message}).to_string(),
            Protocol::Query => format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
            ),
            Protocol::Ec2 => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
            ),
            Protocol::RestXml => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{text}</Message><RequestId>{request_id}</RequestId><HostId>simulator</HostId></Error>"
            ),
        }
    }

    /// The type of the service's bodies.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.protocol {
            Protocol::Json10 => "application/x-amz-json-1.0",
            Protocol::Json11 => "application/x-amz-json-1.1",
            Protocol::RestJson => "application/json",
            Protocol::Query | Protocol::Ec2 => "text/xml;charset=UTF-8",
            Protocol::RestXml => "application/xml",
        }
    }
    /// Whether the error's code also stands in the header `x-amzn-errortype`.
    pub(crate) fn names_error_in_header(&self) -> bool {
        self.protocol == Protocol::RestJson
    }
}

/// An error answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dressed {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: String,
}
