use crate::{http::Http, network::NetworkError, sink::SinkOptions};
use aws_config::{
    BehaviorVersion, Region, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation},
};
use std::time::Duration;

/// Where neither flag nor AWS configuration names a region: S3 answers there for any bucket, and says which is its own.
const REGION: &str = "us-east-1";
/// The largest body is one part of a multipart upload.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
const ATTEMPTS: u32 = 5;

/// A client with the operator's own credentials. The SDK's retries are on: this bucket's limits are nobody else's.
pub(super) async fn connect(options: &SinkOptions, credentials: Option<Credentials>) -> Result<Client, NetworkError> {
    if options.network.fips && options.endpoint.is_some() {
        return Err(NetworkError::FipsWithEndpoint);
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .use_fips(options.network.fips)
        .http_client(Http::new(None, &options.network)?.sdk_client())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let config = loader.load().await;
    let region = options.region.clone().map(Region::new).or_else(|| config.region().cloned());
    let mut builder = Builder::from(&config).region(region.unwrap_or_else(|| Region::new(REGION)));
    let endpoint = options.endpoint.as_deref().or_else(|| config.endpoint_url());
    if let Some(endpoint) = endpoint {
        // What speaks S3 elsewhere seldom resolves a host name for each bucket, and need not know the newer checksums.
        builder = builder
            .endpoint_url(endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Ok(Client::from_conf(builder.build()))
}
