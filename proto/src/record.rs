use crate::AccountId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One resource, as metadata: a line of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The account that it was read in.
    pub account: AccountId,
    /// Its region, or `global` where AWS has none.
    pub region: String,
    /// The catalogue's id of the service.
    pub service: String,
    /// CloudFormation's name of the type, `AWS::Lambda::Function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Identifies the resource within account, region and type.
    pub id: String,
    /// The ARN, where AWS gives it one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arn: Option<String>,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Tags, by key.
    pub tags: BTreeMap<String, String>,
    /// When it was read, UTC.
    pub collected_at: jiff::Timestamp,
    /// What AWS answered of it, with what the catalogue marks as secret replaced by `<redacted>`.
    pub properties: Map<String, Value>,
    /// Actions that were denied on this resource: what they would have said is unknown, not empty.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub denied: Vec<String>,
}
