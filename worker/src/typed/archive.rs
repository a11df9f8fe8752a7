use super::{Capture, Params, number, s3, send_error, text};
use crate::{
    archive::{self, MAX_OBJECT_BYTES},
    aws::Answer,
    gate::{ArchiveGate, Refused},
    http::{CALL_TIMEOUT, Http, SendError},
    session::Session,
    wire::RawAnswer,
};
use aws_smithy_types::byte_stream::ByteStream;
use bytes::{Bytes, BytesMut};

/// Asks a bucket of CloudTrail's log files, in its own region: where S3 names another than the one that was tried, there.
pub async fn send(
    http: &Http,
    gate: &ArchiveGate,
    operation: &str,
    params: &Params,
    session: &Session,
) -> Result<Answer, SendError> {
    let (bucket, about) = (text(params, "Bucket"), text(params, "Key").or_else(|| text(params, "Prefix")));
    let admitted = gate.admit(operation, &bucket.unwrap_or_default(), &about.unwrap_or_default());
    admitted.map_err(|refused| SendError::Refused(refused.to_string()))?;
    let answer = once(http, gate, operation, params, session).await?;
    match &answer {
        Answer::Raw(RawAnswer { bucket_region: Some(region), status: 300.., .. }) if gate.moved(region) => {
            once(http, gate, operation, params, session).await
        }
        _ => Ok(answer),
    }
}

async fn once(
    http: &Http,
    gate: &ArchiveGate,
    operation: &str,
    params: &Params,
    session: &Session,
) -> Result<Answer, SendError> {
    let region = gate.home();
    if let Some(service) = archive::service().filter(|_| http.keeps_to_fips()) {
        http.fips_host(service, region)?;
    }
    let client = s3::client_of(http, gate.at(http.custom_endpoint()), region, session);
    let capture = Capture::default();
    let sent = match operation {
        "ListObjectsV2" => {
            let request = client
                .list_objects_v2()
                .set_bucket(text(params, "Bucket"))
                .set_prefix(text(params, "Prefix"))
                .set_delimiter(text(params, "Delimiter"))
                .set_start_after(text(params, "StartAfter"))
                .set_continuation_token(text(params, "ContinuationToken"))
                .set_max_keys(number(params, "MaxKeys"));
            let sent = request.customize().interceptor(capture.clone()).send().await;
            sent.map(|_| None).map_err(|error| send_error(&error))
        }
        "GetObject" => {
            let request = client.get_object().set_bucket(text(params, "Bucket")).set_key(text(params, "Key"));
            let request = request.customize().interceptor(capture.clone());
            let reading = async {
                let object = request.send().await.map_err(|error| send_error(&error))?;
                bounded(object.body).await.map(Some)
            };
            tokio::time::timeout(CALL_TIMEOUT, reading)
                .await
                .unwrap_or_else(|_| Err(SendError::Transport("timed out".into())))
        }
        other => {
            let refused = Refused { service: "s3".into(), operation: other.to_owned() };
            return Err(SendError::Refused(refused.to_string()));
        }
    };
    match (sent, capture.take()) {
        (Ok(Some(object)), _) => Ok(Answer::Object(object)),
        // An object is streamed: its bytes are not among what was seen, but those of an error are.
        (_, Some(answer)) if operation != "GetObject" || answer.status >= 300 => Ok(Answer::Raw(answer)),
        (Err(error), _) => Err(error),
        (Ok(None), _) => Err(SendError::Transport("the answer was not seen".into())),
    }
}

/// An object's bytes, no more of them than are borne.
async fn bounded(mut body: ByteStream) -> Result<Bytes, SendError> {
    let mut object = BytesMut::new();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|_| SendError::Transport("the answer broke off".into()))?;
        if object.len() as u64 + bytes.len() as u64 > MAX_OBJECT_BYTES {
            return Err(SendError::Refused(format!("it has more than {} MiB", MAX_OBJECT_BYTES >> 20)));
        }
        object.extend_from_slice(&bytes);
    }
    Ok(object.freeze())
}

#[cfg(test)]
mod tests;
