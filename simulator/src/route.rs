//! Which operation of which service a request means.

use crate::request::{Incoming, Params, pairs};
use fleetscan_proto::catalogue::{Catalogue, Operation, Protocol, Service};
use percent_encoding::percent_decode_str;
use std::{collections::HashMap, sync::Arc};

/// A service by its place in the catalogue, and what its REST paths look like.
#[derive(Debug)]
struct Entry {
    index: usize,
    service: Arc<Service>,
    operations: HashMap<String, usize>,
    rest: Vec<RestRoute>,
}

#[derive(Debug)]
struct RestRoute {
    operation: usize,
    method: String,
    segments: Vec<Segment>,
    /// Constant pairs of the query string.
    query: Vec<(String, String)>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Fixed(String),
    Param(String),
    /// The rest of the path.
    Greedy(String),
}

/// All routes, by the name that calls are signed for.
#[derive(Debug)]
pub(crate) struct Routes {
    by_signing_name: HashMap<String, Vec<Entry>>,
}

/// An operation, the parameters in the path, and how particular the route was.
type Match = (usize, Vec<(String, String)>, usize);

/// Where a request leads.
#[derive(Debug)]
pub(crate) struct Target {
    /// The service's place in the catalogue.
    pub(crate) index: usize,
    pub(crate) service: Arc<Service>,
    /// Index of the operation; `None`: the catalogue lacks it.
    pub(crate) operation: Option<usize>,
    /// Parameters from the path.
    pub(crate) path: Vec<(String, String)>,
}

impl Target {
    pub(crate) fn operation(&self) -> Option<&Operation> {
        self.service.operations.get(self.operation?)
    }
    pub(crate) fn params(&mut self, request: &Incoming) -> Result<Params, String> {
        let path = std::mem::take(&mut self.path);
        Params::read(request, self.service.protocol, self.operation(), path)
    }
}

impl Routes {
    pub(crate) fn new(catalogue: &Catalogue) -> Self {
        let mut by_signing_name: HashMap<String, Vec<Entry>> = HashMap::new();
        for (index, service) in catalogue.services().iter().enumerate() {
            let is_rest = matches!(service.protocol, Protocol::RestJson | Protocol::RestXml);
            let rest = if is_rest { service.operations.iter().map(RestRoute::new).collect() } else { Vec::new() };
            // What is borrowed is asked for at its own service; what stands several times, once.
            let own = service.operations.iter().filter(|o| o.lender.is_none() && o.same_as == o.index);
            let operations = own.map(|o| (o.name.clone(), o.index)).collect();
            let entry = Entry { index, service: Arc::clone(service), operations, rest };
            by_signing_name.entry(service.signing_name.clone()).or_default().push(entry);
        }
        Self { by_signing_name }
    }

    /// Where a request that is signed for `signing_name` leads; `None`: to no service of the catalogue.
    pub(crate) fn find(&self, request: &Incoming, signing_name: &str) -> Option<Target> {
        let entries = self.by_signing_name.get(signing_name)?;
        let found = entries.iter().filter_map(|entry| Some((entry, entry.operation(request)?)));
        // Services that sign alike (s3 and s3control) are told apart by which has the more particular route.
        match found.max_by_key(|(_, (_, _, rank))| *rank) {
            Some((entry, (operation, path, _))) => Some(entry.target(Some(operation), path)),
            None => entries.first().map(|entry| entry.target(None, Vec::new())),
        }
    }
}

impl Entry {
    fn target(&self, operation: Option<usize>, path: Vec<(String, String)>) -> Target {
        Target { index: self.index, service: Arc::clone(&self.service), operation, path }
    }

    fn operation(&self, request: &Incoming) -> Option<Match> {
        let named = |name: &str| self.operations.get(name).map(|operation| (*operation, Vec::new(), 0));
        match self.service.protocol {
            Protocol::Json10 | Protocol::Json11 => {
                let (prefix, name) = request.header("x-amz-target")?.rsplit_once('.')?;
                if prefix == self.service.target_prefix { named(name) } else { None }
            }
            Protocol::Query | Protocol::Ec2 => {
                let in_query = || request.query_pairs().find(|(key, _)| key == "Action").map(|(_, v)| v.into_owned());
                named(&request.form("Action").or_else(in_query)?)
            }
            Protocol::RestJson | Protocol::RestXml => {
                let matching = self.rest.iter().filter_map(|route| {
                    let path = route.matches(request)?;
                    Some((route.operation, path, route.rank()))
                });
                matching.max_by_key(|(_, _, rank)| *rank)
            }
        }
    }
}

impl RestRoute {
    fn new(operation: &Operation) -> Self {
        let segments = operation.http.path.trim_matches('/').split('/').filter(|s| !s.is_empty());
        let segments = segments.map(|segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some(name) if name.ends_with('+') => Segment::Greedy(name.trim_end_matches('+').to_owned()),
            Some(name) => Segment::Param(name.to_owned()),
            None => Segment::Fixed(segment.to_owned()),
        });
        let query = pairs(&operation.http.query).filter(|(key, _)| !key.is_empty());
        Self {
            operation: operation.index,
            method: operation.http.method.clone(),
            segments: segments.collect(),
            query: query.map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
        }
    }

    /// The more it says, the more particular it is.
    fn rank(&self) -> usize {
        let fixed = self.segments.iter().filter(|s| matches!(s, Segment::Fixed(_))).count();
        self.query.len() * 100 + fixed * 10 + self.segments.len()
    }

    fn matches(&self, request: &Incoming) -> Option<Vec<(String, String)>> {
        if request.method.as_str() != self.method {
            return None;
        }
        let has = |(key, value): &(String, String)| request.query_pairs().any(|(k, v)| k == *key && v == *value);
        let mut rest = request.path.trim_matches('/');
        let mut params = Vec::new();
        for segment in &self.segments {
            let (here, after) = rest.split_once('/').unwrap_or((rest, ""));
            let here = match segment {
                Segment::Greedy(_) => rest,
                _ => here,
            };
            match segment {
                Segment::Fixed(text) if here == text => {}
                Segment::Param(name) | Segment::Greedy(name) if !here.is_empty() => {
                    params.push((name.clone(), percent_decode_str(here).decode_utf8_lossy().into_owned()));
                }
                _ => return None,
            }
            rest = if matches!(segment, Segment::Greedy(_)) { "" } else { after };
        }
        (rest.is_empty() && self.query.iter().all(has)).then_some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, query: &str) -> Incoming {
        Incoming {
            method: method.parse().expect("a method"),
            path: path.into(),
            query: query.into(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
        }
    }

    #[test]
    fn paths_sub_resources_and_methods_lead_to_their_operations() {
        let text = |operations: &str| {
            format!(
                "service = \"s3\"\ntitle = \"S3\"\nprotocol = \"rest-xml\"\nscope = \"regional\"\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n{operations}"
            )
        };
        let operation = |name: &str, http: &str| format!("[[operation]]\nname = \"{name}\"\nhttp = \"{http}\"\n");
        let s3 = text(
            &[
                operation("ListBuckets", "GET /"),
                operation("HeadBucket", "HEAD /{Bucket}"),
                operation("GetBucketPolicy", "GET /{Bucket}?policy"),
                operation("GetThing", "GET /v1/things/{Thing+}"),
            ]
            .concat(),
        );
        let catalogue = Catalogue::from_files([("s3.toml", s3.as_str())]).expect("sound");
        let routes = Routes::new(&catalogue);
        let found = |method, path, query| {
            let target = routes.find(&request(method, path, query), "s3")?;
            Some((target.operation()?.name.clone(), target.path))
        };
        assert_eq!(found("GET", "/", "x-id=ListBuckets").map(|f| f.0).as_deref(), Some("ListBuckets"));
        let bucket = vec![("Bucket".to_owned(), "a b".to_owned())];
        assert_eq!(found("HEAD", "/a%20b", ""), Some(("HeadBucket".into(), bucket.clone())));
        assert_eq!(found("GET", "/a%20b", "policy"), Some(("GetBucketPolicy".into(), bucket)));
        assert_eq!(found("GET", "/a", "acl"), None);
        let thing = vec![("Thing".to_owned(), "a/b".to_owned())];
        assert_eq!(found("GET", "/v1/things/a/b", ""), Some(("GetThing".into(), thing)));
        assert!(routes.find(&request("GET", "/", ""), "nosuch").is_none());
    }
}
