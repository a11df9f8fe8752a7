use super::{Capture, Params, number, sdk_config, send_error, text};
use crate::{
    gate::{Gate, TypedGate},
    http::{Http, SendError},
    session::Session,
};
use aws_sdk_s3::{Client, config::Builder};
use aws_smithy_runtime_api::client::interceptors::Intercept;

/// Calls an S3 operation in `region`, which is to be the bucket's own.
pub(super) async fn send(
    http: &Http,
    gate: &Gate,
    operation: &str,
    region: &str,
    p: &Params,
    session: &Session,
    capture: Capture,
) -> Result<(), SendError> {
    let client = client(http, gate, region, session);
    let bucket = text(p, "Bucket");
    /// Sends one call about a bucket; the answer goes to the capture.
    macro_rules! about_bucket {
        ($builder:expr) => {
            $builder
                .set_bucket(bucket)
                .customize()
                .interceptor(capture)
                .send()
                .await
                .map(drop)
                .map_err(|e| send_error(&e))
        };
    }
    match operation {
        "ListBuckets" => client
            .list_buckets()
            .set_continuation_token(text(p, "ContinuationToken"))
            .set_max_buckets(number(p, "MaxBuckets"))
            .customize()
            .interceptor(capture)
            .send()
            .await
            .map(drop)
            .map_err(|e| send_error(&e)),
        "GetBucketLocation" => about_bucket!(client.get_bucket_location()),
        "GetBucketPolicy" => about_bucket!(client.get_bucket_policy()),
        "GetBucketPolicyStatus" => about_bucket!(client.get_bucket_policy_status()),
        "GetBucketAcl" => about_bucket!(client.get_bucket_acl()),
        "GetBucketEncryption" => about_bucket!(client.get_bucket_encryption()),
        "GetPublicAccessBlock" => about_bucket!(client.get_public_access_block()),
        "GetBucketOwnershipControls" => about_bucket!(client.get_bucket_ownership_controls()),
        "GetBucketLogging" => about_bucket!(client.get_bucket_logging()),
        "GetBucketVersioning" => about_bucket!(client.get_bucket_versioning()),
        "GetBucketTagging" => about_bucket!(client.get_bucket_tagging()),
        "GetBucketNotificationConfiguration" => about_bucket!(client.get_bucket_notification_configuration()),
        "GetBucketLifecycleConfiguration" => about_bucket!(client.get_bucket_lifecycle_configuration()),
        "GetBucketReplication" => about_bucket!(client.get_bucket_replication()),
        "GetBucketCors" => about_bucket!(client.get_bucket_cors()),
        "GetBucketWebsite" => about_bucket!(client.get_bucket_website()),
        "GetObjectLockConfiguration" => about_bucket!(client.get_object_lock_configuration()),
        other => Err(SendError::Refused(format!("s3:{other} has no typed call"))),
    }
}

pub(super) fn client(http: &Http, gate: &Gate, region: &str, session: &Session) -> Client {
    client_of(http, TypedGate::new(gate.clone(), "s3"), region, session)
}

/// A client that this gate stands before.
pub(super) fn client_of(http: &Http, gate: impl Intercept + 'static, region: &str, session: &Session) -> Client {
    let config = Builder::from(&sdk_config(http, region, session))
        // A custom endpoint seldom resolves a host name for each bucket.
        // Whatever a bucket is called, it is asked as a general purpose bucket: no session is made in it.
        .disable_s3_express_session_auth(true)
        .force_path_style(http.custom_endpoint().is_some())
        .interceptor(gate)
        .build();
    Client::from_conf(config)
}
