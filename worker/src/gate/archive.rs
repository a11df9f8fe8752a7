use super::Refused;
use crate::archive::LogKey;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use fleetscan_proto::{AccountId, TrailBucket, partition_of};
use percent_encoding::percent_decode_str;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// What may be asked for behind a bucket: its list of keys, and an object.
const OPERATIONS: [&str; 2] = ["ListObjectsV2", "GetObject"];
/// What a list may be asked with; `x-id` is the SDK's own name for the operation.
const LIST_QUERY: [&str; 7] =
    ["list-type", "prefix", "delimiter", "max-keys", "start-after", "continuation-token", "x-id"];

/// Lets the log files through that CloudTrail delivered of one account's region into one bucket, and nothing else: the
/// list of the folders they lie in, and they themselves. It is asked twice, before a request is built and when it is about
/// to be sent.
#[derive(Debug, Clone)]
pub struct ArchiveGate {
    bucket: TrailBucket,
    account: AccountId,
    region: String,
    /// The bucket's own region, once S3 named it.
    home: Arc<OnceLock<String>>,
    /// The authority that replaces AWS's own hosts.
    endpoint: Option<String>,
}

impl ArchiveGate {
    /// A gate for the log files of an account's region.
    pub fn new(bucket: TrailBucket, account: AccountId, region: &str) -> Self {
        Self { bucket, account, region: region.to_owned(), home: Arc::default(), endpoint: None }
    }

    /// The same gate, before an endpoint (`http://host:port`) that replaces AWS's own hosts: no other is asked then.
    pub(crate) fn at(&self, endpoint: Option<&str>) -> Self {
        let authority = |endpoint: &str| endpoint.parse::<http::Uri>().ok()?.authority().map(ToString::to_string);
        Self { endpoint: endpoint.map(|endpoint| authority(endpoint).unwrap_or_default()), ..self.clone() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &TrailBucket {
        &self.bucket
    }
    /// Whose log files.
    pub fn account(&self) -> &AccountId {
        &self.account
    }
    /// Of which region.
    pub fn region(&self) -> &str {
        &self.region
    }
    /// Where the bucket is, as far as is known.
    pub(crate) fn home(&self) -> &str {
        self.home.get().map_or(&self.region, String::as_str)
    }
    /// S3 named the bucket's region. Answers whether that is news.
    pub(crate) fn moved(&self, region: &str) -> bool {
        region != self.home() && self.home.set(region.to_owned()).is_ok()
    }

    /// Where organisations' folders begin.
    pub fn organisations(&self) -> String {
        format!("{}AWSLogs/o-", self.bucket.prefix())
    }

    /// The folder of the account's region: its own trail's, or that of an organisation's (`o-…`).
    pub fn folder(&self, organisation: Option<&str>) -> String {
        let organisation = organisation.map(|id| format!("{id}/")).unwrap_or_default();
        let Self { bucket, account, region, .. } = self;
        format!("{}AWSLogs/{organisation}{account}/CloudTrail/{region}/", bucket.prefix())
    }

    /// Lets an operation through by its name and parameters, or refuses it.
    ///
    /// # Errors
    /// When it is no list of the account's folders, and none of its log files.
    pub fn admit(&self, operation: &str, bucket: &str, key_or_prefix: &str) -> Result<(), Refused> {
        let may = match operation {
            "ListObjectsV2" => self.may_list(key_or_prefix),
            "GetObject" => self.may_read(key_or_prefix),
            _ => false,
        };
        if may && bucket == self.bucket.bucket() { Ok(()) } else { Err(refused(operation)) }
    }

    fn may_list(&self, prefix: &str) -> bool {
        let is_below = |folder: &str| {
            prefix.strip_prefix(folder).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'/'))
        };
        prefix == self.organisations() || self.folder_of(prefix).is_some_and(|folder| is_below(&folder))
    }

    fn may_read(&self, key: &str) -> bool {
        let parse = |folder: String| LogKey::parse(&folder, &self.account, &self.region, key);
        self.folder_of(key).and_then(parse).is_some()
    }

    /// The one of the account's folders that a key may lie in.
    fn folder_of(&self, key: &str) -> Option<String> {
        let first = key.strip_prefix(self.bucket.prefix())?.strip_prefix("AWSLogs/")?.split('/').next()?;
        Some(self.folder(is_organisation(first).then_some(first)))
    }

    /// Holds a request against all this, as it is about to be sent.
    fn inspect(&self, operation: &str, method: &str, uri: &str) -> Result<(), Refused> {
        let refusal = || refused(operation);
        let uri: http::Uri = uri.parse().map_err(|_| refusal())?;
        let name = self.bucket.bucket();
        let path = decoded(uri.path().strip_prefix('/').unwrap_or_default()).ok_or_else(refusal)?;
        // Either the host names the bucket, or the path does.
        let key = match self.names_bucket(&uri).ok_or_else(refusal)? {
            true => path.as_ref(),
            false if path == name => "",
            false => path.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')).ok_or_else(refusal)?,
        };
        let mut query = BTreeMap::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or_else(refusal)?;
            // A name that stands twice could be read in two ways.
            if query.insert(name, value).is_some() {
                return Err(refusal());
            }
        }
        let is_list = key.is_empty();
        let fits = method == "GET"
            && match is_list {
                true => {
                    operation == "ListObjectsV2"
                        && query.get("list-type").is_some_and(|version| version == "2")
                        && query.keys().all(|name| LIST_QUERY.contains(name))
                        && query.get("prefix").is_some_and(|prefix| self.may_list(prefix))
                }
                false => operation == "GetObject" && query.keys().all(|name| *name == "x-id") && self.may_read(key),
            };
        if fits { Ok(()) } else { Err(refusal()) }
    }
}

impl ArchiveGate {
    /// Whether the host of a request names the bucket; `None` where it is no host of S3's in the bucket's region, all of
    /// it.
    fn names_bucket(&self, uri: &http::Uri) -> Option<bool> {
        let authority = uri.authority()?.as_str();
        if let Some(endpoint) = &self.endpoint {
            return (authority == endpoint).then_some(false);
        }
        // Where the bucket is may be learnt of another request while this one is on its way.
        let regions = [self.home(), self.region.as_str()];
        let host = |s3: &str, region: &str| format!("{s3}.{region}.{}", partition_of(region).1);
        let mut hosts = regions.iter().flat_map(|region| ["s3", "s3-fips"].map(|s3| host(s3, region)));
        let is_tls = uri.scheme_str() == Some("https");
        let names = |host: String| {
            let before = authority.strip_suffix(host.as_str())?;
            (before.is_empty() || before.strip_suffix('.') == Some(self.bucket.bucket())).then_some(!before.is_empty())
        };
        hosts.find_map(names).filter(|_| is_tls)
    }
}

impl Intercept for ArchiveGate {
    fn name(&self) -> &'static str {
        "fleetscan::archive_gate"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = operation_of(cfg);
        if OPERATIONS.contains(&operation.as_str()) { Ok(()) } else { Err(refused(&operation).into()) }
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        Ok(self.inspect(&operation_of(cfg), request.method(), request.uri())?)
    }
}

fn operation_of(cfg: &ConfigBag) -> String {
    cfg.load::<Metadata>().map(|metadata| metadata.name().to_owned()).unwrap_or_default()
}

fn refused(operation: &str) -> Refused {
    Refused { service: "s3".to_owned(), operation: operation.to_owned() }
}

/// An organisation's id (AWS Organizations API Reference, `Organization`: `o-[a-z0-9]{10,32}`).
pub(crate) fn is_organisation(name: &str) -> bool {
    name.strip_prefix("o-").is_some_and(|id| {
        (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE9xkLmN0pRsTu.json.gz";
    const OWN: &str = "org/AWSLogs/111122223333/CloudTrail/eu-west-1/";
    const ORGANISATIONS: &str = "org/AWSLogs/o-abcdefghij/111122223333/CloudTrail/eu-west-1/";

    fn gate() -> ArchiveGate {
        ArchiveGate::new("logs/org".parse().expect("a bucket"), "111122223333".parse().expect("an id"), "eu-west-1")
    }

    #[test]
    fn the_accounts_own_log_files_are_let_through() {
        let gate = gate();
        assert_eq!(gate.folder(None), OWN);
        assert_eq!(gate.folder(Some("o-abcdefghij")), ORGANISATIONS);
        for folder in [OWN, ORGANISATIONS] {
            let key = format!("{folder}{DAY}");
            assert_eq!(gate.admit("GetObject", "logs", &key), Ok(()));
            for (place, gate) in [
                ("https://logs.s3.eu-west-1.amazonaws.com", gate.clone()),
                ("https://logs.s3-fips.eu-west-1.amazonaws.com", gate.clone()),
                ("https://s3.eu-west-1.amazonaws.com/logs", gate.clone()),
                ("http://127.0.0.1:1/logs", gate.at(Some("http://127.0.0.1:1"))),
            ] {
                assert_eq!(
                    gate.inspect("GetObject", "GET", &format!("{place}/{key}?x-id=GetObject")),
                    Ok(()),
                    "{place}"
                );
                let prefix = folder.replace('/', "%2F");
                let list = format!("{place}/?list-type=2&prefix={prefix}2026%2F01%2F02%2F&start-after=x");
                assert_eq!(gate.inspect("ListObjectsV2", "GET", &list), Ok(()), "{list}");
            }
        }
        assert_eq!(gate.admit("ListObjectsV2", "logs", &gate.organisations()), Ok(()));
    }

    #[test]
    fn no_other_bucket_key_or_question_is() {
        let gate = gate();
        let key = format!("{OWN}{DAY}");
        for (operation, bucket, key) in [
            ("GetObject", "other", key.clone()),
            ("HeadObject", "logs", key.clone()),
            ("GetObjectAcl", "logs", key.clone()),
            ("PutObject", "logs", key.clone()),
            ("GetObject", "logs", format!("{OWN}2026/01/02/secrets.json")),
            ("GetObject", "logs", format!("{OWN}../eu-west-1/{DAY}")),
            ("GetObject", "logs", key.replace("111122223333", "444455556666")),
            ("GetObject", "logs", key.replacen("111122223333", "444455556666", 1)),
            ("GetObject", "logs", key.replace("eu-west-1", "us-east-1")),
            ("GetObject", "logs", key.replace("org/", "")),
            ("GetObject", "logs", key.replace("AWSLogs/", "AWSLogs/o-short/")),
            ("GetObject", "logs", key.replace("/CloudTrail/", "/CloudTrail-Digest/")),
            ("ListObjectsV2", "other", OWN.to_owned()),
            ("ListObjectsV2", "logs", String::new()),
            ("ListObjectsV2", "logs", "org/AWSLogs/".to_owned()),
            ("ListObjectsV2", "logs", "org/AWSLogs/o-abcdefghij/".to_owned()),
            ("ListObjectsV2", "logs", format!("{OWN}../")),
            ("ListObjectsV2", "logs", OWN.replace("111122223333", "444455556666")),
        ] {
            assert!(gate.admit(operation, bucket, &key).is_err(), "{operation} {bucket} {key}");
        }
    }

    #[test]
    fn a_request_that_is_not_what_it_was_said_to_be_is_refused() {
        let gate = gate();
        let place = "https://logs.s3.eu-west-1.amazonaws.com";
        let prefix = OWN.replace('/', "%2F");
        for (operation, method, uri) in [
            ("GetObject", "PUT", format!("{place}/{OWN}{DAY}")),
            ("GetObject", "GET", format!("{place}/{OWN}{DAY}?acl")),
            ("GetObject", "GET", format!("{place}/{OWN}{DAY}?versionId=1")),
            ("GetObject", "GET", format!("https://other.s3.eu-west-1.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://s3.eu-west-1.amazonaws.com/other/{OWN}{DAY}")),
            ("GetObject", "GET", format!("http://logs.s3.eu-west-1.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://logs.s3.us-east-1.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://logs.s3.eu-west-1.amazonaws.com.example.org/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://logs.s3.example.org/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://logs.s3express-euw1-az1.eu-west-1.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://logs.s3-accelerate.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://x.logs.s3.eu-west-1.amazonaws.com/{OWN}{DAY}")),
            ("GetObject", "GET", format!("https://s3.eu-west-1.amazonaws.com:8443/logs/{OWN}{DAY}")),
            ("GetObject", "GET", format!("http://127.0.0.1:1/logs/{OWN}{DAY}")),
            ("GetObject", "GET", format!("{place}/{OWN}2026/%2e%2e/{DAY}")),
            ("GetObject", "GET", format!("{place}/{}{DAY}", OWN.replace("111122223333", "444455556666"))),
            ("ListObjectsV2", "GET", format!("{place}/{OWN}{DAY}")),
            ("GetObject", "GET", format!("{place}/?list-type=2&prefix={prefix}")),
            ("ListObjectsV2", "GET", format!("{place}/?prefix={prefix}")),
            ("ListObjectsV2", "GET", format!("{place}/?list-type=2")),
            ("ListObjectsV2", "GET", format!("{place}/?list-type=2&prefix={prefix}&prefix=")),
            ("ListObjectsV2", "GET", format!("{place}/?list-type=2&versions&prefix={prefix}")),
        ] {
            assert!(gate.inspect(operation, method, &uri).is_err(), "{operation} {method} {uri}");
        }
    }
}
