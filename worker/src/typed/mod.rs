//! Calls through the SDK's typed clients: IAM, S3 and, for a session's own identity, STS; and S3 once more, for CloudTrail's
//! log files.
//!
//! The typed client chooses the endpoint, builds, signs and sends the request, and checks the answer against AWS's
//! model. The properties of a record are then read from the answer's own bytes by the same parser as everything else,
//! so that fields newer than the SDK are not lost and redaction has one place.

pub(crate) mod archive;
mod iam;
mod s3;
mod sts;

use crate::{
    gate::Gate,
    http::{CALL_TIMEOUT, Http, SendError},
    session::Session,
    wire::RawAnswer,
};
use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::AfterDeserializationInterceptorContextRef},
        result::SdkError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use fleetscan_proto::catalogue::Service;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Parameters of a call, as the catalogue's `input`, `with` and `pages` made them.
pub type Params = Map<String, Value>;

/// Calls an operation of a service whose catalogue file says `typed`.
pub async fn send(
    http: &Http,
    gate: &Gate,
    service: &Service,
    operation: &str,
    region: &str,
    params: &Params,
    session: &Session,
) -> Result<RawAnswer, SendError> {
    if http.keeps_to_fips() {
        http.fips_host(service, region)?;
    }
    let capture = Capture::default();
    let result = match service.id.as_str() {
        "iam" => iam::send(http, gate, operation, region, params, session, capture.clone()).await,
        "s3" => s3::send(http, gate, operation, region, params, session, capture.clone()).await,
        "sts" => sts::send(http, gate, operation, region, session, capture.clone()).await,
        other => Err(SendError::Refused(format!("there is no typed client for {other}"))),
    };
    match capture.take() {
        // AWS answered: its bytes count, whether the SDK took them for a success or for an error.
        Some(answer) => Ok(answer),
        None => result.and_then(|()| Err(SendError::Transport("the answer was not seen".into()))),
    }
}

/// Keeps the answer's bytes.
#[derive(Debug, Clone, Default)]
struct Capture(Arc<Mutex<Option<RawAnswer>>>);

impl Capture {
    fn take(&self) -> Option<RawAnswer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for Capture {
    fn name(&self) -> &'static str {
        "fleetscan::capture"
    }
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let answer = RawAnswer {
            status: response.status().as_u16(),
            request_id: header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
            error_type: header("x-amzn-errortype"),
            bucket_region: header("x-amz-bucket-region"),
            body: bytes::Bytes::copy_from_slice(response.body().bytes().unwrap_or_default()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(())
    }
}

/// How every typed client is set: a session's credentials, the shared HTTP client, and no retries of its own.
fn sdk_config(http: &Http, region: &str, session: &Session) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(session.credentials()))
        .http_client(http.sdk_client())
        .sleep_impl(TokioSleep::new())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_use_fips(Some(http.keeps_to_fips()));
    config.set_endpoint_url(http.custom_endpoint().map(str::to_owned));
    config.build()
}

/// What a typed client's error means where no answer was captured.
fn send_error<E, R>(error: &SdkError<E, R>) -> SendError {
    match error {
        SdkError::ConstructionFailure(_) => SendError::Refused("the request was refused before it was sent".into()),
        SdkError::TimeoutError(_) => SendError::Transport("timed out".into()),
        _ => SendError::Transport("the connection failed".into()),
    }
}

/// A text parameter.
fn text(params: &Params, name: &str) -> Option<String> {
    match params.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// A number parameter.
fn number(params: &Params, name: &str) -> Option<i32> {
    params.get(name)?.as_i64().and_then(|n| i32::try_from(n).ok())
}

/// A yes-or-no parameter.
fn truth(params: &Params, name: &str) -> Option<bool> {
    params.get(name)?.as_bool()
}

#[cfg(test)]
mod tests;
