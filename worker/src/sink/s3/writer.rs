use super::Bucket;
use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption},
};
use fleetscan_proto::{ObjectWriter, SinkError};
use std::sync::Arc;

/// What is held in memory of an object, and the size of an upload's parts: S3 takes 5 MiB to 5 GiB, and 10,000 of them
/// (Amazon S3 User Guide, "Multipart upload limits"), so that an object may have 78 GiB.
const PART: usize = 8 * 1024 * 1024;

/// Most objects are small: one PutObject. One that outgrows [`PART`] becomes a multipart upload. Neither is seen before
/// it is whole.
pub(super) struct S3Writer {
    bucket: Arc<Bucket>,
    key: String,
    held: Vec<u8>,
    upload: Option<Upload>,
    /// A write failed: what comes after it would be an object with a gap.
    broken: bool,
}

struct Upload {
    id: String,
    parts: Vec<CompletedPart>,
}

impl S3Writer {
    pub(super) fn new(bucket: Arc<Bucket>, key: String) -> Self {
        Self { bucket, key, held: Vec::new(), upload: None, broken: false }
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.bucket.options.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    async fn begin(&self) -> Result<Upload, SinkError> {
        let client = self.bucket.client().await?;
        let answer = client
            .create_multipart_upload()
            .bucket(&self.bucket.place.bucket)
            .key(&self.key)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.bucket.options.kms_key.clone())
            .send()
            .await
            .map_err(|error| self.bucket.trouble("s3:PutObject", &self.key).of(&error))?;
        match answer.upload_id {
            Some(id) => Ok(Upload { id, parts: Vec::new() }),
            None => Err(SinkError::Unavailable(format!("{}: the upload was given no id", self.key))),
        }
    }

    /// Sends a part of what is held.
    async fn send_part(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        if self.upload.is_none() {
            self.upload = Some(self.begin().await?);
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let number = i32::try_from(upload.parts.len() + 1).unwrap_or(i32::MAX);
        let client = self.bucket.client().await?;
        let answer = client
            .upload_part()
            .bucket(&self.bucket.place.bucket)
            .key(&self.key)
            .upload_id(&upload.id)
            .part_number(number)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| self.bucket.trouble("s3:PutObject", &self.key).of(&error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build();
        upload.parts.push(part);
        Ok(())
    }

    /// The whole object at once.
    async fn put(&mut self) -> Result<(), SinkError> {
        let client = self.bucket.client().await?;
        let answer = client
            .put_object()
            .bucket(&self.bucket.place.bucket)
            .key(&self.key)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.bucket.options.kms_key.clone())
            .body(ByteStream::from(std::mem::take(&mut self.held)))
            .send()
            .await;
        answer.map(drop).map_err(|error| self.bucket.trouble("s3:PutObject", &self.key).of(&error))
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        if self.upload.is_none() {
            return self.put().await;
        }
        if !self.held.is_empty() {
            let last = std::mem::take(&mut self.held);
            self.send_part(last).await?;
        }
        let Some(upload) = &self.upload else { return Ok(()) };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts.clone())).build();
        let client = self.bucket.client().await?;
        client
            .complete_multipart_upload()
            .bucket(&self.bucket.place.bucket)
            .key(&self.key)
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| self.bucket.trouble("s3:PutObject", &self.key).of(&error))?;
        self.upload = None;
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        if self.broken {
            return Err(SinkError::Unavailable("an earlier write failed".into()));
        }
        self.broken = true;
        self.held.extend_from_slice(&bytes);
        while self.held.len() > PART {
            let rest = self.held.split_off(PART);
            let part = std::mem::replace(&mut self.held, rest);
            self.send_part(part).await?;
        }
        self.broken = false;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), SinkError> {
        if self.broken {
            return Err(SinkError::Unavailable("an earlier write failed".into()));
        }
        self.finish().await
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        // What a process that ends at once leaves behind is found by the sweep.
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            let (bucket, key) = (Arc::clone(&self.bucket), std::mem::take(&mut self.key));
            runtime.spawn(async move {
                if let Err(error) = abort(&bucket, &key, &upload.id).await {
                    tracing::warn!(%error, "upload.not_aborted: the end of the scan tries again");
                }
            });
        }
    }
}

/// Gives an upload up; one that is not there any more is no error.
pub(super) async fn abort(bucket: &Bucket, key: &str, id: &str) -> Result<(), SinkError> {
    let client = bucket.client().await?;
    let answer = client.abort_multipart_upload().bucket(&bucket.place.bucket).key(key).upload_id(id).send().await;
    match answer.map_err(|error| bucket.trouble("s3:AbortMultipartUpload", key).of(&error)) {
        Ok(_) | Err(SinkError::Missing(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
