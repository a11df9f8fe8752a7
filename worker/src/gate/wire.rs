use super::Refused;
use crate::wire::PreparedRequest;
use fleetscan_proto::catalogue::{Operation, Protocol, Service};

/// Ends of paths behind which something runs, or data lies, in AWS's REST services.
const NEVER_PATHS: &[&str] = &[
    "/invocations",
    "/invoke-async",
    "/response-streaming-invocations",
    "/invoke",
    "/invoke-with-response-stream",
    "/converse",
    "/converse-stream",
];

/// Holds a request, as it is about to be signed, against the operation that was let through: a catalogue file could give
/// a reader's name to a writer's path, or have a parameter stand in for the name.
pub fn inspect(service: &Service, operation: &Operation, request: &PreparedRequest) -> Result<(), Refused> {
    let says_the_same = match service.protocol {
        Protocol::Json10 | Protocol::Json11 => {
            let target = format!("{}.{}", service.target_prefix, operation.name);
            is_bare(&service.target_prefix) && request.method == "POST" && only_header(request, "x-amz-target", &target)
        }
        Protocol::Query | Protocol::Ec2 => {
            let named = |pair: &&str| pair.split('=').next().is_some_and(|key| key.eq_ignore_ascii_case("action"));
            let actions: Vec<&str> = request.body.split('&').filter(named).collect();
            request.method == "POST" && actions == [format!("Action={}", operation.name)]
        }
        Protocol::RestJson | Protocol::RestXml => reads_by_path(service, request),
    };
    // Who else names an operation: nobody.
    let others = ["x-amz-target", "x-http-method-override"].iter().any(|name| {
        !matches!(service.protocol, Protocol::Json10 | Protocol::Json11) && header_count(request, name) > 0
    });
    match says_the_same && !others {
        true => Ok(()),
        false => Err(Refused { service: service.id.clone(), operation: operation.name.clone() }),
    }
}

fn only_header(request: &PreparedRequest, name: &str, value: &str) -> bool {
    header_count(request, name) == 1
        && request.headers.iter().any(|(key, given)| key.eq_ignore_ascii_case(name) && given == value)
}

fn header_count(request: &PreparedRequest, name: &str) -> usize {
    request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count()
}

/// A service's name for itself, without room for an operation's.
fn is_bare(target_prefix: &str) -> bool {
    target_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

fn reads_by_path(service: &Service, request: &PreparedRequest) -> bool {
    let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
    let path = path.trim_end_matches('/');
    if !["GET", "HEAD", "POST"].contains(&request.method.as_str()) || NEVER_PATHS.iter().any(|end| path.ends_with(end))
    {
        return false;
    }
    // In S3 a second segment is an object's key, and a bucket without a question is its list of keys.
    let is_s3 = service.signing_name == "s3" && service.endpoint_prefix != "s3-control";
    let segments = path.split('/').filter(|segment| !segment.is_empty()).count();
    let lists_keys =
        query.is_empty() || query.split('&').any(|q| q.starts_with("list-type") || q.starts_with("versions"));
    !is_s3 || (request.method != "POST" && (segments == 0 || (segments == 1 && !lists_keys)))
}
