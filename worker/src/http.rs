//! The HTTP client that all calls share: the SDK's own, with its pool of connections.

use crate::{
    fips, gate,
    network::{Network, NetworkError, USER_AGENT},
    wire::{PreparedRequest, RawAnswer},
};
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    identity::Identity,
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use aws_smithy_types::{DateTime, body::SdkBody, byte_stream::ByteStream, date_time::Format};
use fleetscan_proto::{
    AccountId,
    catalogue::{Operation, Service},
    partition_of,
};
use std::time::{Duration, SystemTime};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(25);
/// From the first byte sent to the last one read; below the margin at which sessions are refreshed.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// A call that got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Worth another try: time-out, broken connection.
    #[error("no answer: {0}")]
    Transport(String),
    /// Nobody knows the host: in this region there is no such service, or the resolver is at odds with the world.
    #[error("nobody knows the host")]
    NoSuchHost,
    /// Whoever answers shows a certificate that nobody here vouches for.
    #[error("no answer: its certificate is none that this machine trusts")]
    Untrusted,
    /// Not worth another try: the gate, a request that cannot be built.
    #[error("{0}")]
    Refused(String),
}

/// The shared client.
#[derive(Debug, Clone)]
pub struct Http {
    connector: SharedHttpConnector,
    client: SharedHttpClient,
    endpoint: Option<String>,
    fips: bool,
    /// A proxy stands between: what our resolver does not know is the proxy, and says nothing of AWS's hosts.
    proxied: bool,
}

impl Http {
    /// A client; `endpoint` (`AWS_ENDPOINT_URL`) replaces AWS's own hosts.
    ///
    /// # Errors
    /// When there is no such way to AWS.
    pub fn new(endpoint: Option<String>, network: &Network) -> Result<Self, NetworkError> {
        if network.fips && endpoint.is_some() {
            return Err(NetworkError::FipsWithEndpoint);
        }
        let links = network.links()?;
        let settings =
            HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        Ok(Self {
            connector: links.connector(&settings),
            client: links.sdk_client(),
            endpoint: endpoint.map(|e| e.trim_end_matches('/').to_owned()),
            fips: network.fips,
            proxied: network.proxy.is_some(),
        })
    }

    /// The client for the SDK's typed crates.
    pub fn sdk_client(&self) -> SharedHttpClient {
        self.client.clone()
    }

    /// The endpoint that replaces AWS's own hosts.
    pub fn custom_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Only FIPS endpoints are called.
    pub fn keeps_to_fips(&self) -> bool {
        self.fips
    }

    /// Scheme and host of a service in a region.
    ///
    /// # Errors
    /// When only FIPS endpoints are called, and AWS has none there.
    pub fn endpoint(&self, service: &Service, region: &str, account: &AccountId) -> Result<String, SendError> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        if self.fips {
            let host = self.fips_host(service, region)?;
            return Ok(match service.id.as_str() {
                "s3control" => format!("https://{account}.{host}"),
                _ => format!("https://{host}"),
            });
        }
        let suffix = partition_of(region).1;
        Ok(match service.id.as_str() {
            // S3 Control is the one API that puts the account into the host name.
            "s3control" => format!("https://{account}.s3-control.{region}.{suffix}"),
            _ if service.scope != fleetscan_proto::catalogue::Scope::Regional && service.id == "account" => {
                format!("https://account.{region}.{suffix}")
            }
            _ if service.one_host => format!("https://{}.{suffix}", service.endpoint_prefix),
            _ => format!("https://{}.{region}.{suffix}", service.endpoint_prefix),
        })
    }

    /// The host of a service's FIPS endpoint.
    pub(crate) fn fips_host(&self, service: &Service, region: &str) -> Result<&'static str, SendError> {
        fips::host(&service.id, region).ok_or_else(|| {
            SendError::Refused(format!(
                "AWS has no FIPS endpoint of {} in {region}, and no other may be called",
                service.id
            ))
        })
    }

    /// Signs a request and sends it, if it asks for the operation that it is said to ask for.
    #[expect(clippy::too_many_arguments, reason = "all that a signature is made of")]
    pub async fn send(
        &self,
        service: &Service,
        operation: &Operation,
        region: &str,
        account: &AccountId,
        request: PreparedRequest,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<RawAnswer, SendError> {
        gate::inspect(service, operation, &request).map_err(|refused| SendError::Refused(refused.to_string()))?;
        let uri = format!("{}{}", self.endpoint(service, region, account)?, request.path_and_query);
        let request = signed(service, region, uri, request, identity, now).map_err(SendError::Refused)?;
        match tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::Transport("timed out".into())),
        }
    }

    /// What time it is at an endpoint, by the `Date` of whatever it answers to a request without a signature. It tells
    /// how wrong our own clock is, which AWS's refusal of a signature does not.
    ///
    /// # Errors
    /// No answer, or one without a date.
    pub async fn time_at(&self, endpoint: &str) -> Result<SystemTime, SendError> {
        let refused = |why: String| SendError::Refused(why);
        let built = ::http::Request::builder()
            .method("GET")
            .uri(format!("{}/", endpoint.trim_end_matches('/')))
            .header("user-agent", USER_AGENT)
            .body(SdkBody::empty())
            .map_err(|error| refused(error.to_string()))?;
        let request = HttpRequest::try_from(built).map_err(|error| refused(error.to_string()))?;
        let answer = self.connector.call(request).await.map_err(|error| self.no_answer(&error))?;
        let date = answer.headers().get("date").ok_or_else(|| refused("the answer has no date".into()))?;
        let date = DateTime::from_str(date, Format::HttpDate).map_err(|error| refused(error.to_string()))?;
        SystemTime::try_from(date).map_err(|error| refused(error.to_string()))
    }

    /// Why there is no answer.
    fn no_answer(&self, error: &ConnectorError) -> SendError {
        match error {
            error if !self.proxied && is_unknown_host(error) => SendError::NoSuchHost,
            error if is_untrusted(error) => SendError::Untrusted,
            error => SendError::Transport(transport(error)),
        }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<RawAnswer, SendError> {
        let response = self.connector.call(request).await.map_err(|error| self.no_answer(&error))?;
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let request_id =
            header("x-amzn-requestid").or_else(|| header("x-amz-request-id")).or_else(|| header("x-amzn-request-id"));
        let (error_type, bucket_region) = (header("x-amzn-errortype"), header("x-amz-bucket-region"));
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body())
            .collect()
            .await
            .map_err(|_| SendError::Transport("the answer broke off".into()))?;
        Ok(RawAnswer { status, request_id, error_type, bucket_region, body: body.into_bytes() })
    }
}

/// Whether a resolver that works says that there is no such host. A resolver that does not answer says otherwise: "try
/// again" (`EAI_AGAIN`, "Temporary failure in name resolution").
fn is_unknown_host(error: &ConnectorError) -> bool {
    let lookup = cause(error, "failed to lookup address information");
    lookup.is_some_and(|text| {
        text.contains("Name or service not known") || text.contains("No address associated with hostname")
    })
}

/// Whether the other side showed a certificate that is not trusted here.
pub(crate) fn is_untrusted(error: &ConnectorError) -> bool {
    cause(error, "invalid peer certificate").is_some()
}

/// The text of the outermost cause of an error that has these words in it.
fn cause(error: &ConnectorError, words: &str) -> Option<String> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains(words) {
            return Some(text);
        }
        cause = error.source();
    }
    None
}

/// What went wrong, without addresses or bodies.
fn transport(error: &ConnectorError) -> String {
    if error.is_timeout() {
        "timed out".into()
    } else if error.is_io() {
        "the connection failed".into()
    } else if error.is_user() {
        "the request could not be sent".into()
    } else {
        "the connection broke".into()
    }
}

fn signed(
    service: &Service,
    region: &str,
    uri: String,
    request: PreparedRequest,
    identity: &Identity,
    now: SystemTime,
) -> Result<HttpRequest, String> {
    let mut settings = SigningSettings::default();
    if service.signing_name == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name(&service.signing_name)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|e| format!("the request could not be signed: {e}"))?
        .into();
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(&request.method, &uri, headers, SignableBody::Bytes(request.body.as_bytes()))
        .map_err(|e| format!("the request could not be signed: {e}"))?;
    let (instructions, _) =
        sign(signable, &params).map_err(|e| format!("the request could not be signed: {e}"))?.into_parts();
    let mut builder =
        ::http::Request::builder().method(request.method.as_str()).uri(&uri).header("user-agent", USER_AGENT);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let mut built =
        builder.body(SdkBody::from(request.body)).map_err(|e| format!("the request could not be built: {e}"))?;
    instructions.apply_to_request_http1x(&mut built);
    HttpRequest::try_from(built).map_err(|e| format!("the request could not be built: {e}"))
}
