//! What the answers of each operation look like: `fixtures/<service>.toml`, one table an operation.
//!
//! ```toml
//! [operation.ListFunctions]          # a list: so many items, each from this template
//! each = '{"FunctionName": "${name}"}'
//! giant = [250, 300]                 # in a giant's home region; also small, medium; `everywhere` is the least
//! [operation.GetPolicy]              # about an item: there (with this probability), else the first `absent` code
//! answer = '{"Policy": {"$json": {}}}'
//! present = 0.4
//! [operation.ListAliases]            # a list about an item: from none to two
//! each = '{"Name": "${pick:live|beta}"}'
//! count = [0, 2]
//! ```
//! What has no fixture gets one from [`crate::synthesis`].

use crate::{synthesis, template::Template, world::Spread, xml::Wire};
use fleetscan_proto::catalogue::{FieldPath, Operation, Service};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/fixture_files.rs"));

/// The fixtures of a service, in the order of its operations.
#[derive(Debug)]
pub(crate) struct ServiceFixture {
    pub(crate) operations: Vec<OperationFixture>,
    pub(crate) wire: WireHints,
}

#[derive(Debug)]
pub(crate) struct OperationFixture {
    /// Probability that there is something; else the operation's first `absent` code is the answer.
    pub(crate) present: f64,
    /// Members beside the lists.
    pub(crate) answer: Template,
    pub(crate) lists: Vec<ListFixture>,
    /// Keys that lead to what is paged: to the lists, or to the items where they stand whole in `answer`.
    pub(crate) paged: Vec<Vec<String>>,
    /// Where a page token is the last item's member (`.`: the item itself) and not opaque.
    pub(crate) token: Option<FieldPath>,
    /// Items a page where the request does not say.
    pub(crate) page: usize,
    pub(crate) wire: Wire,
}

#[derive(Debug)]
pub(crate) struct ListFixture {
    /// Keys that lead to the list.
    pub(crate) path: Vec<String>,
    pub(crate) each: Template,
    /// Lists that show the same things have the same.
    pub(crate) seed: String,
    pub(crate) spread: Spread,
    /// Items in a list about an item.
    pub(crate) count: (u64, u64),
    /// One item a region, in place of any count.
    pub(crate) of_regions: bool,
}

/// What XML needs to know beyond the catalogue's hints.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WireHints {
    /// Namespace of the root element.
    pub(crate) namespace: String,
    /// What a list's elements are called, by the list's element name.
    pub(crate) children: BTreeMap<String, String>,
    /// `element/Member` that is an attribute of the element.
    pub(crate) attributes: Vec<String>,
    /// Names that the catalogue's hints leave open: `element` or `parent/element` to member.
    pub(crate) rename: BTreeMap<String, String>,
    /// Elements that repeat in place.
    pub(crate) flat: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    xml: WireHints,
    operation: BTreeMap<String, FileOperation>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileOperation {
    present: Option<f64>,
    answer: Option<String>,
    lists: BTreeMap<String, FileList>,
    token: Option<String>,
    page: Option<usize>,
    root: Option<String>,
    payload: Option<String>,
    text: Option<String>,
    raw: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    list: FileList,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct FileList {
    each: Option<String>,
    seed: Option<String>,
    small: Option<(u64, u64)>,
    medium: Option<(u64, u64)>,
    giant: Option<(u64, u64)>,
    everywhere: u64,
    count: Option<(u64, u64)>,
    of_regions: bool,
}

impl ServiceFixture {
    /// The fixtures of a service: from its file where it has one, and where that has the operation.
    pub(crate) fn of(service: &Service) -> Result<Self, String> {
        let text = FILES.iter().find(|(id, _)| *id == service.id).map_or("", |(_, text)| *text);
        Self::parse(service, text).map_err(|problem| format!("fixtures/{}.toml: {problem}", service.id))
    }

    pub(crate) fn parse(service: &Service, text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut operations = Vec::with_capacity(service.operations.len());
        for operation in &service.operations {
            let raw = match &operation.lender {
                Some(lender) => lent(lender, &operation.name)?,
                None => file.operation.get(&operation.name).cloned(),
            };
            let id = operation.lender.as_ref().unwrap_or(&service.id);
            let fixture = match raw {
                Some(raw) => operation_fixture(id, operation, raw),
                None => synthesis::operation(service, operation),
            };
            operations.push(fixture.map_err(|problem| format!("{}: {problem}", operation.name))?);
        }
        Ok(Self { operations, wire: file.xml })
    }
}

/// The fixture of an operation that is another service's, from that one's file.
fn lent(lender: &str, operation: &str) -> Result<Option<FileOperation>, String> {
    let text = FILES.iter().find(|(id, _)| *id == lender).map_or("", |(_, text)| *text);
    let mut file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    Ok(file.operation.remove(operation))
}

fn operation_fixture(service: &str, operation: &Operation, raw: FileOperation) -> Result<OperationFixture, String> {
    let mut lists = Vec::new();
    if raw.list.each.is_some() {
        let path = operation.emits.first().map(|emit| emit.items.as_str()).unwrap_or_default();
        lists.push(list(service, operation, path, raw.list)?);
    }
    for (path, raw) in raw.lists {
        lists.push(list(service, operation, &path, raw)?);
    }
    let answer = match raw.answer {
        Some(text) => Template::parse(&text)?,
        None if lists.is_empty() => return Err("write `answer`, `each` or `lists`".into()),
        None => Template::Fixed(Value::Object(Map::new())),
    };
    Ok(OperationFixture {
        present: raw.present.unwrap_or(1.0),
        answer,
        paged: paged(operation, &lists),
        lists,
        token: raw.token.map(|path| FieldPath::parse(&path)).transpose().map_err(|e| e.to_string())?,
        page: raw.page.unwrap_or_else(|| page(operation)),
        wire: Wire { root: raw.root, payload: raw.payload, text: raw.text, raw: raw.raw, headers: raw.headers },
    })
}

/// Keys that lead to what of an answer is paged.
pub(crate) fn paged(operation: &Operation, lists: &[ListFixture]) -> Vec<Vec<String>> {
    match lists {
        [] => operation.emits.iter().filter_map(|emit| keys(emit.items.as_str())).take(1).collect(),
        lists => lists.iter().map(|list| list.path.clone()).collect(),
    }
}

/// Items a page where neither request nor fixture says.
pub(crate) fn page(operation: &Operation) -> usize {
    operation.paging.as_ref().and_then(|p| p.size.as_ref()).map_or(100, |(_, max)| *max as usize)
}

fn list(service: &str, operation: &Operation, path: &str, raw: FileList) -> Result<ListFixture, String> {
    let default = Spread::default();
    let each = raw.each.ok_or("a list needs `each`")?;
    let path = keys(path).ok_or_else(|| format!("{path:?} is no path to a list"))?;
    Ok(ListFixture {
        seed: raw.seed.unwrap_or_else(|| format!("{service}/{}/{}", operation.name, path.join("."))),
        path,
        each: Template::parse(&each)?,
        spread: Spread {
            small: raw.small.unwrap_or(default.small),
            medium: raw.medium.unwrap_or(default.medium),
            giant: raw.giant.unwrap_or(default.giant),
            everywhere: raw.everywhere,
        },
        count: raw.count.unwrap_or((0, 3)),
        of_regions: raw.of_regions,
    })
}

/// The keys that lead to the first list of a path: `Reservations[].Instances[]` begins with `Reservations`.
pub(crate) fn keys(path: &str) -> Option<Vec<String>> {
    // Of paths with alternatives, the first.
    let first = path.split('|').next()?.split("[]").next()?;
    let keys: Vec<String> = first.split('.').map(str::to_owned).collect();
    (first != "." && !first.contains('*') && keys.iter().all(|key| !key.is_empty())).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;

    #[test]
    fn every_fixture_is_of_an_operation_that_the_catalogue_has() {
        for (id, text) in FILES {
            let service = Catalogue::built_in().service(id).unwrap_or_else(|| panic!("{id} is not in the catalogue"));
            let file: File = toml::from_str(text).expect("sound");
            for name in file.operation.keys() {
                assert!(service.operation(name).is_some(), "{id}:{name} is not in the catalogue");
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let service = Catalogue::built_in().service("lambda").expect("in the catalogue");
        for (text, says) in [
            ("[operation.ListFunctions]", "write `answer`"),
            ("[operation.ListFunctions]\neach = '{'", "EOF"),
            ("[operation.ListFunctions]\neach = '\"${nothing}\"'", "no expression"),
            ("[operation.GetAccountSettings]\neach = '{}'", "no path to a list"),
        ] {
            let error = ServiceFixture::parse(service, text).expect_err(text);
            assert!(error.contains(says), "{error}");
        }
    }
}
