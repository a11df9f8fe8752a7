use super::{Capture, sdk_config, send_error};
use crate::{
    gate::{Gate, TypedGate},
    http::{Http, SendError},
    session::Session,
};
use aws_sdk_sts::{Client, config::Builder};

/// Asks who a session is. Roles are assumed by the hub, never on a customer's session.
pub(super) async fn send(
    http: &Http,
    gate: &Gate,
    operation: &str,
    region: &str,
    session: &Session,
    capture: Capture,
) -> Result<(), SendError> {
    let config =
        Builder::from(&sdk_config(http, region, session)).interceptor(TypedGate::new(gate.clone(), "sts")).build();
    let client = Client::from_conf(config);
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
