use super::{Binding, Category, FieldPath, Template, XmlHints, XmlIndex, table};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// How a service's API puts calls and answers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// JSON bodies, the operation in `X-Amz-Target`, `application/x-amz-json-1.0`.
    #[serde(rename = "json-1.0")]
    Json10,
    /// The same with `application/x-amz-json-1.1`.
    #[serde(rename = "json-1.1")]
    Json11,
    /// Paths and query strings in, JSON out.
    RestJson,
    /// Forms in, XML out.
    Query,
    /// EC2's variant of `query`.
    Ec2,
    /// Paths and query strings in, XML out.
    RestXml,
}

impl Protocol {
    /// Whether answers are XML.
    pub fn is_xml(self) -> bool {
        matches!(self, Protocol::Query | Protocol::Ec2 | Protocol::RestXml)
    }
}

/// Whether a service has a cell in each region or one in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A cell a region.
    Regional,
    /// One cell, region `global`; calls are signed for `home`.
    Global {
        /// Region that calls are signed for, in the commercial partition.
        home: String,
    },
}

/// Whose a bucket is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The customer's account.
    #[default]
    Account,
    /// The organisation that the account belongs to.
    Organization,
    /// The account that calls: the hub.
    Hub,
}

/// What is known of a bucket's rate.
#[derive(Debug, Clone, PartialEq)]
pub enum LimitRate {
    /// AWS publishes it (or somebody measured it; `source` tells).
    Known {
        /// Calls a second that flow back.
        rate: f64,
        /// Calls that a full bucket holds. AWS rarely says: then it is the rate, at least 1.
        burst: f64,
        /// Other rates in some regions.
        by_region: BTreeMap<String, f64>,
    },
    /// Nobody knows: begin here, and learn.
    Unknown {
        /// Calls a second to begin with.
        start: f64,
    },
}

/// A token bucket, or a family of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Its name within the service.
    pub group: String,
    /// How much.
    pub rate: LimitRate,
    /// One bucket for all operations of the group, or one for each.
    pub shared: bool,
    /// One bucket for all regions (IAM), or one in each.
    pub every_region: bool,
    /// Whose.
    pub owner: Owner,
    /// Where the figure was published.
    pub source: String,
}

/// Method, path and constant query of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `GET`, `POST`, `HEAD`.
    pub method: String,
    /// Path with `{Param}` where a parameter goes; always begins with `/`.
    pub path: String,
    /// Constant query string, without `?`; may be empty.
    pub query: String,
}

/// How an operation's answer is paged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// Parameter that takes the token.
    pub input: String,
    /// Where the answer has the token; an empty one is none.
    pub output: FieldPath,
    /// Where the answer says that there is more; without it, a token says so.
    pub more: Option<FieldPath>,
    /// Parameter for the size of a page, and what to send.
    pub size: Option<(String, u32)>,
    /// What else of an answer names the page after it: parameters, and where the answer has their values. One that an
    /// answer lacks is not sent (Route 53's `NextRecordIdentifier`).
    pub also: Vec<(String, FieldPath)>,
}

/// What becomes a record, and how it is named.
#[derive(Debug, Clone, PartialEq)]
pub struct Emit {
    /// Where the answer has the items.
    pub items: FieldPath,
    /// CloudFormation's name of the type; empty: the items are only for children to use, or to merge.
    pub kind: String,
    /// The record's id.
    pub id: Template,
    /// Its ARN.
    pub arn: Option<Template>,
    /// Its name.
    pub name: Option<Template>,
    /// Where the record has its tags: a list of `{Key, Value}` (any case), or an object.
    pub tags: FieldPath,
    /// A more precise region than the cell's: where the item has it.
    pub region: Option<FieldPath>,
}

impl Emit {
    /// Whether the items become records.
    pub fn is_record(&self) -> bool {
        !self.kind.is_empty()
    }
    /// The same items, for children to use alone.
    pub(super) fn without_record(&self) -> Self {
        Self { kind: String::new(), ..self.clone() }
    }
}

/// Where a child's answer goes in its parent's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Members of the answer that are kept; empty: all but the paging ones.
    pub keep: Vec<String>,
    /// Member of the record that they go into; `None`: beside the record's own.
    pub into: Option<String>,
}

/// Whose items an operation is called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Index of the parent operation in its service.
    pub operation: usize,
    /// Index of the parent's [`Emit`].
    pub emit: usize,
    /// A call takes this many of the parent's items at once, in this parameter.
    pub batch: Option<(String, usize)>,
    /// Called only for items where this field is one of these values.
    pub only: Option<(FieldPath, Vec<String>)>,
}

impl Parent {
    /// Whether the operation is called for this item at all.
    pub fn wants(&self, item: &Value) -> bool {
        let Some((path, values)) = &self.only else { return true };
        let is = |value: &String| match path.get(item) {
            Some(Value::String(text)) => text == value,
            Some(other) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *other),
            None => false,
        };
        values.iter().any(is)
    }
}

/// An operation whose answer takes AWS a while: it is asked again until the answer says that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Where the answer says how it stands.
    pub field: FieldPath,
    /// What it says there when it is ready.
    pub until: Vec<String>,
    /// What it says there when it never will be.
    pub failed: Vec<String>,
    /// Seconds between two questions.
    pub seconds: u64,
    /// Questions, after which it is given up.
    pub most: u32,
}

/// An operation that tells what was done, in events of CloudTrail's, the newest first. Its walk reads what no scan read
/// before of the last so many days, and its record is not an event, but a principal with the last thing that it did
/// ([`crate::activity`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Parameters for the first and the last second that is asked for; AWS takes both as included.
    pub span: (String, String),
    /// Where an event says when it was: seconds since 1970.
    pub time: FieldPath,
    /// Where an event has CloudTrail's own document of it, as JSON in a text.
    pub document: FieldPath,
    /// How far back AWS tells.
    pub days: u32,
    /// How late an event may be told: what is newer is read, and not remembered as read.
    pub late_minutes: u32,
}

/// Fields that items gain from another operation's items, matched by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Index of the other operation.
    pub operation: usize,
    /// The field that both have.
    pub on: FieldPath,
}

/// One operation that a scan may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// AWS's name of it.
    pub name: String,
    /// Its place in [`Service::operations`].
    pub index: usize,
    /// The place of the first operation of this name: one that is called for the items of several others stands once
    /// for each.
    pub same_as: usize,
    /// The service that it is another's of; its own calls, buckets and answers are that service's.
    pub lender: Option<String>,
    /// Method, path, constant query.
    pub http: Http,
    /// The IAM action that allows it, `lambda:ListFunctions`.
    pub action: String,
    /// Index of its limit in [`Service::limits`].
    pub limit: usize,
    /// Constant parameters.
    pub input: Map<String, Value>,
    /// Parameters that go into headers: parameter to header name.
    pub headers: BTreeMap<String, String>,
    /// Paging; `None`: one answer is all.
    pub paging: Option<Paging>,
    /// What its answers hold; never empty.
    pub emits: Vec<Emit>,
    /// Whose items it is called for; `None`: once a cell.
    pub parent: Option<Parent>,
    /// Parameters from those items, and the account's and the region's.
    pub with: Vec<(String, Binding)>,
    /// Members that its items gain: from the items above, the account, the region.
    pub add: Vec<(String, Binding)>,
    /// Where an item names the account whose it is, or has an ARN. What another account's item is refused for is not ours to read:
    /// an answer, and no denial.
    pub owner: Option<FieldPath>,
    /// Where an item names the region whose it is: those of other regions are left to the cells of these.
    pub home: Option<FieldPath>,
    /// Asked again until it is ready.
    pub poll: Option<Poll>,
    /// Its items are events: of them only what each principal did last is kept.
    pub history: Option<History>,
    /// A member of the answer that is a table (CSV in base64), to be shown as a list of its rows.
    pub table: Option<FieldPath>,
    /// Where the answer goes in the parent's record; only where it emits no record.
    pub merge: Option<Merge>,
    /// Error codes that mean "there is none": an answer.
    pub absent: Vec<String>,
    /// Codes that mean so only with this text in the message: Organizations' word for "not your organisation" is that
    /// for a missing permission.
    pub absent_with_text: Vec<(String, String)>,
    /// Values that never leave the parser, as `<redacted>`; below the item.
    pub redact: Vec<FieldPath>,
    /// Members that never leave the parser at all; below the item.
    pub drop: Vec<FieldPath>,
    /// Policy documents and the like: text that is JSON (URL-encoded or not), shown as JSON; below the item.
    pub decode: Vec<FieldPath>,
    /// A member of the item whose own members take its place: `Configuration` of `lambda:GetFunction`.
    pub lift: Option<String>,
    /// Joined to its items.
    pub join: Option<Join>,
    /// Called only to be joined: its own items are not walked.
    pub joined: bool,
    /// Called only where this other operation (index) was denied.
    pub fallback_for: Option<usize>,
    /// Not called unless a profile asks for it: why.
    pub opt_in: Option<String>,
    /// Called by the probe or the sessions, never for a cell.
    pub probe: bool,
    /// Called in the region that the parent's item (or an earlier sibling's answer merged into it) has here.
    pub in_region: Option<FieldPath>,
    /// Error codes, beside the usual ones, that mean "no permission".
    pub denied: Vec<String>,
}

impl Operation {
    /// Turns a table in an answer into rows; false where there should be one and it cannot be read.
    pub fn unpack(&self, answer: &mut Value) -> bool {
        let mut readable = true;
        if let Some(path) = &self.table {
            path.edit(answer, &mut |value| match value.as_str().and_then(table::rows) {
                Some(rows) => *value = Value::Array(rows),
                None => readable = false,
            });
        }
        readable
    }
    /// Adds what [`Operation::add`] says to one of its items; `above` and `variables` as [`Binding::value`] has them,
    /// with the item that the operation was called for as number 1.
    pub fn enrich<'v>(
        &self,
        item: &mut Value,
        above: &dyn Fn(usize) -> Option<&'v Value>,
        variables: &dyn Fn(&str) -> String,
    ) {
        let Value::Object(map) = item else { return };
        for (name, binding) in &self.add {
            if let Some(value) = binding.value(above, variables) {
                map.insert(name.clone(), value);
            }
        }
    }
}

/// One file of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Botocore's id, and the file's name.
    pub id: String,
    /// Name for people, `AWS Lambda`.
    pub title: String,
    /// What it is to a customer.
    pub category: Category,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Cells.
    pub scope: Scope,
    /// Called through a typed SDK crate.
    pub typed: bool,
    /// Whether a scan has cells of it; false for what only the probe calls.
    pub cells: bool,
    /// Whether every region has it; where not, a host name that nobody knows says that this one has not.
    pub everywhere: bool,
    /// Name that calls are signed for.
    pub signing_name: String,
    /// First label of the host name.
    pub endpoint_prefix: String,
    /// One host for all regions of a partition, without a region in its name: `route53.amazonaws.com`.
    pub one_host: bool,
    /// `Version` parameter of `query` and `ec2`.
    pub api_version: String,
    /// First half of `X-Amz-Target` of the JSON protocols.
    pub target_prefix: String,
    /// Types of XML elements.
    pub xml: XmlHints,
    /// The same, ready to be asked about an element.
    pub xml_index: XmlIndex,
    /// Buckets.
    pub limits: Vec<Limit>,
    /// Operations; a parent stands before its children.
    pub operations: Vec<Operation>,
}

impl Operation {
    /// Whether it is among the operations that somebody was told of. GetCallerIdentity always is: it tells nothing but
    /// whose session it is.
    pub fn is_told(&self, service: &Service, told: &HashSet<&str>) -> bool {
        let name = format!("{}:{}", service.id, self.name);
        name == "sts:GetCallerIdentity" || told.contains(name.as_str())
    }
}

impl Service {
    /// An operation by AWS's name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|o| o.name == name)
    }
    /// Operations called for each item of an operation's emit.
    pub fn children(&self, operation: usize, emit: usize) -> impl Iterator<Item = &Operation> {
        let operation = self.operations[operation].same_as;
        self.operations
            .iter()
            .filter(move |o| o.parent.as_ref().is_some_and(|p| p.operation == operation && p.emit == emit))
    }
    /// The region that calls of a cell are signed for.
    pub fn signing_region<'a>(&'a self, cell_region: &'a str) -> &'a str {
        match &self.scope {
            Scope::Global { home } if cell_region == crate::GLOBAL => home,
            _ => cell_region,
        }
    }
}
