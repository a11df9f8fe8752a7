use super::{Capture, gate_of, send_error};
use crate::{
    gate::Gate,
    http::{Http, SendError},
    session::Session,
};
use aws_config::{BehaviorVersion, retry::RetryConfig};
use aws_sdk_sts::{
    Client, Config,
    config::{Region, timeout::TimeoutConfig},
};
use std::time::Duration;

/// Asks who a session is. Roles are assumed by the hub, never on a customer's session.
pub(super) async fn send(
    http: &Http,
    gate: &Gate,
    operation: &str,
    region: &str,
    session: &Session,
    capture: Capture,
) -> Result<(), SendError> {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(session.credentials())
        .http_client(http.sdk_client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(40)).build())
        .interceptor(gate_of(gate, "sts"));
    config.set_endpoint_url(http.custom_endpoint().map(str::to_owned));
    let client = Client::from_conf(config.build());
    match operation {
        "GetCallerIdentity" => client
            .get_caller_identity()
            .customize()
            .interceptor(capture)
            .send()
            .await
            .map(drop)
            .map_err(|e| send_error(&e)),
        other => Err(SendError::Refused(format!("sts:{other} has no typed call on a customer's session"))),
    }
}
