//! The TOML of a catalogue file as it is written: an unknown key is an error.

use super::super::{Category, Owner, Protocol, XmlHints};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) service: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) category: Category,
    pub(super) protocol: Protocol,
    pub(super) scope: FileScope,
    pub(super) home: Option<String>,
    #[serde(default)]
    pub(super) typed: bool,
    #[serde(default = "yes")]
    pub(super) cells: bool,
    #[serde(default = "yes")]
    pub(super) everywhere: bool,
    pub(super) signing_name: Option<String>,
    pub(super) endpoint_prefix: Option<String>,
    #[serde(default)]
    pub(super) one_host: bool,
    #[serde(default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) target_prefix: String,
    #[serde(default)]
    pub(super) xml: XmlHints,
    pub(super) limit: Vec<FileLimit>,
    pub(super) operation: Vec<FileOperation>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileScope {
    Regional,
    Global,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLimit {
    pub(super) group: String,
    pub(super) rate: Option<f64>,
    pub(super) burst: Option<f64>,
    pub(super) start: Option<f64>,
    #[serde(default)]
    pub(super) by_region: BTreeMap<String, f64>,
    #[serde(default)]
    pub(super) shared: bool,
    #[serde(default)]
    pub(super) every_region: bool,
    #[serde(default)]
    pub(super) owner: Owner,
    pub(super) source: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileOperation {
    pub(super) name: String,
    #[serde(default = "root")]
    pub(super) http: String,
    pub(super) action: Option<String>,
    pub(super) limit: Option<String>,
    #[serde(default)]
    pub(super) input: Map<String, Value>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) pages: Option<FilePages>,
    pub(super) items: Option<String>,
    pub(super) record: Option<FileRecord>,
    pub(super) emit: Option<Vec<FileEmit>>,
    #[serde(rename = "for", default)]
    pub(super) parents: FileParents,
    pub(super) from: Option<String>,
    pub(super) batch: Option<FileBatch>,
    pub(super) only: Option<FileOnly>,
    #[serde(default)]
    pub(super) with: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) add: BTreeMap<String, String>,
    pub(super) owner: Option<String>,
    pub(super) home: Option<String>,
    pub(super) poll: Option<FilePoll>,
    pub(super) history: Option<FileHistory>,
    pub(super) table: Option<String>,
    pub(super) keep: Option<Vec<String>>,
    pub(super) into: Option<String>,
    #[serde(default)]
    pub(super) absent: Vec<String>,
    #[serde(default)]
    pub(super) redact: Vec<String>,
    #[serde(default)]
    pub(super) drop: Vec<String>,
    #[serde(default)]
    pub(super) decode: Vec<String>,
    pub(super) lift: Option<String>,
    pub(super) join: Option<FileJoin>,
    pub(super) fallback_for: Option<String>,
    pub(super) opt_in: Option<String>,
    #[serde(default)]
    pub(super) probe: bool,
    pub(super) in_region: Option<String>,
    #[serde(default)]
    pub(super) denied: Vec<String>,
}

fn root() -> String {
    "POST /".to_owned()
}

/// Whose items an operation is called for: one operation's, or several's.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum FileParents {
    One(String),
    Many(Vec<String>),
}

impl Default for FileParents {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePoll {
    pub(super) field: String,
    pub(super) until: Vec<String>,
    #[serde(default)]
    pub(super) failed: Vec<String>,
    pub(super) seconds: u64,
    pub(super) most: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileHistory {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) time: String,
    pub(super) document: String,
    pub(super) days: u32,
    pub(super) late_minutes: u32,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePages {
    #[serde(rename = "in")]
    pub(super) input: String,
    pub(super) out: String,
    pub(super) more: Option<String>,
    pub(super) size: Option<String>,
    pub(super) max: Option<u32>,
    #[serde(default)]
    pub(super) also: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) arn: Option<String>,
    pub(super) name: Option<String>,
    pub(super) tags: Option<String>,
    pub(super) region: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEmit {
    pub(super) items: String,
    pub(super) record: Option<FileRecord>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileBatch {
    pub(super) param: String,
    pub(super) max: usize,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileOnly {
    pub(super) field: String,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileJoin {
    pub(super) operation: String,
    pub(super) on: String,
}
