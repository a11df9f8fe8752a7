//! Results in a bucket of S3, or of whatever speaks its protocol.
//!
//! The client here is the operator's own, of the ordinary credential chain: no session of a customer's account comes
//! near it, and the gate of customers' sessions knows none of its operations. What it needs is [`ACTIONS`], and the
//! policy that grants it is made of that list.

mod client;
mod place;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

pub use place::BucketPlace;
pub use trouble::ACTIONS;

use super::{SinkOptions, opened::OpenedFile};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    types::{Delete, ObjectIdentifier},
};
use fleetscan_proto::{ObjectWriter, Opened, Sink, SinkError, Stored};
use std::{collections::BTreeSet, io, sync::Arc, time::Duration};
use tokio::sync::OnceCell;
use trouble::Trouble;
use writer::S3Writer;

/// Keys in one DeleteObjects (its bound, Amazon S3 API Reference).
const DELETED_AT_ONCE: usize = 1_000;
/// Readings of an object whose bytes broke off.
const READINGS: u32 = 3;

/// Results as objects below a prefix of a bucket.
#[derive(Debug, Clone)]
pub struct S3Sink(Arc<Bucket>);

/// The bucket, and the client that reaches it, which is made when it is first needed.
#[derive(Debug)]
struct Bucket {
    place: BucketPlace,
    options: SinkOptions,
    /// In place of the ordinary chain.
    credentials: Option<Credentials>,
    client: OnceCell<Client>,
}

impl Bucket {
    /// The client; the first call looks for region and credentials as the AWS configuration says.
    async fn client(&self) -> Result<&Client, SinkError> {
        let connected = self.client.get_or_try_init(|| client::connect(&self.options, self.credentials.clone())).await;
        connected.map_err(|error| SinkError::Refused(error.to_string()))
    }

    /// What became of a call: named in errors with what it is about.
    fn trouble<'a>(&'a self, action: &'static str, about: &'a str) -> Trouble<'a> {
        Trouble { place: &self.place, kms_key: self.options.kms_key.as_deref(), action, about }
    }
}

impl S3Sink {
    /// Results below `place`; nothing is called yet.
    pub fn new(place: BucketPlace, options: SinkOptions) -> S3Sink {
        S3Sink(Arc::new(Bucket { place, options, credentials: None, client: OnceCell::new() }))
    }

    /// Whether there is an object with this key. S3 calls one that is not there denied, where the permission to list is
    /// bound to a prefix (Amazon S3 API Reference, GetObject, "Permissions").
    async fn is_listed(&self, key: &str) -> Result<bool, SinkError> {
        let bucket = &self.0;
        let client = bucket.client().await?;
        let answer = client.list_objects_v2().bucket(&bucket.place.bucket).prefix(key).max_keys(1).send().await;
        let answer = answer.map_err(|error| bucket.trouble("s3:ListBucket", key).of(&error))?;
        Ok(answer.contents().iter().any(|object| object.key() == Some(key)))
    }

    /// Keys below a prefix, page by page, each with its size; with `folders`, the prefixes directly below it instead.
    async fn pages(
        &self,
        prefix: &str,
        folders: bool,
        mut each: impl FnMut(&str, u64) + Send,
    ) -> Result<(), SinkError> {
        let bucket = &self.0;
        let client = bucket.client().await?;
        let mut next: Option<String> = None;
        loop {
            let answer = client
                .list_objects_v2()
                .bucket(&bucket.place.bucket)
                .prefix(prefix)
                .set_delimiter(folders.then(|| "/".to_owned()))
                .set_continuation_token(next.take())
                .send()
                .await
                .map_err(|error| bucket.trouble("s3:ListBucket", prefix).of(&error))?;
            if folders {
                answer.common_prefixes().iter().filter_map(|folder| folder.prefix()).for_each(|folder| each(folder, 0));
            } else {
                for object in answer.contents() {
                    each(object.key().unwrap_or_default(), u64::try_from(object.size().unwrap_or(0)).unwrap_or(0));
                }
            }
            next = answer.next_continuation_token().map(str::to_owned);
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes an object into what `begin` makes; an answer that breaks off is asked for again, into a new one.
    async fn fetch<W: io::Write>(&self, path: &str, begin: impl Fn() -> io::Result<W>) -> Result<W, SinkError> {
        let (bucket, key) = (&self.0, self.0.place.key(path)?);
        let client = bucket.client().await?;
        for reading in 1.. {
            let answer = match client.get_object().bucket(&bucket.place.bucket).key(&key).send().await {
                Ok(answer) => answer,
                Err(error) => {
                    let denied = error.raw_response().is_some_and(|raw| raw.status().as_u16() == 403);
                    let missing = denied && !self.is_listed(&key).await?;
                    let trouble = bucket.trouble("s3:GetObject", path);
                    return Err(if missing { trouble.missing() } else { trouble.of(&error) });
                }
            };
            let local = |error| SinkError::Unavailable(format!("{}: a temporary copy: {error}", self.locate(path)));
            let (mut copy, mut body) = (begin().map_err(local)?, answer.body);
            loop {
                match body.next().await {
                    Some(Ok(bytes)) => copy.write_all(&bytes).map_err(local)?,
                    None => return Ok(copy),
                    Some(Err(_)) => break,
                }
            }
            if reading == READINGS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(SinkError::Unavailable(format!("{}: the answer broke off", self.locate(path))))
    }
}

#[async_trait]
impl Sink for S3Sink {
    async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
        Ok(Box::new(S3Writer::new(Arc::clone(&self.0), self.0.place.key(path)?)))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        self.fetch(path, || Ok(Vec::new())).await
    }

    async fn open(&self, path: &str) -> Result<Arc<dyn Opened>, SinkError> {
        // A container may have no place for such a file.
        if tempfile::tempfile().is_err() {
            return Ok(Arc::new(self.read(path).await?));
        }
        Ok(Arc::new(OpenedFile(self.fetch(path, tempfile::tempfile).await?)))
    }

    async fn entries(&self, folder: &str) -> Result<Vec<Stored>, SinkError> {
        let mut found = Vec::new();
        let root = self.0.place.prefix.clone();
        self.pages(&self.0.place.folder(folder)?, false, |key, bytes| {
            // Consoles make objects that stand for folders.
            if let Some(path) = key.strip_prefix(root.as_str()).filter(|path| !path.ends_with('/')) {
                found.push(Stored { path: path.to_owned(), bytes });
            }
        })
        .await?;
        Ok(found)
    }

    async fn size(&self, folder: &str) -> Result<u64, SinkError> {
        let mut sum = 0;
        self.pages(&self.0.place.folder(folder)?, false, |_, bytes| sum += bytes).await?;
        Ok(sum)
    }

    async fn folders(&self) -> Result<Vec<String>, SinkError> {
        let mut found = BTreeSet::new();
        let root = self.0.place.prefix.clone();
        self.pages(&root, true, |prefix, _| {
            found.extend(prefix.strip_prefix(root.as_str()).map(|name| name.trim_end_matches('/').to_owned()));
        })
        .await?;
        Ok(found.into_iter().collect())
    }

    async fn remove(&self, path: &str) -> Result<(), SinkError> {
        let (bucket, key) = (&self.0, self.0.place.key(path)?);
        let answer = bucket.client().await?.delete_object().bucket(&bucket.place.bucket).key(key).send().await;
        answer.map(drop).map_err(|error| bucket.trouble("s3:DeleteObject", path).of(&error))
    }

    async fn remove_all(&self, paths: &[String]) -> Result<(), SinkError> {
        let bucket = &self.0;
        let keys = paths.iter().map(|path| bucket.place.key(path)).collect::<Result<Vec<_>, _>>()?;
        for keys in keys.chunks(DELETED_AT_ONCE) {
            let about = || format!("{} objects", keys.len());
            let broken = |error: aws_sdk_s3::error::BuildError| SinkError::Refused(error.to_string());
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().map_err(broken));
            let objects = objects.collect::<Result<Vec<_>, _>>()?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(broken)?;
            let client = bucket.client().await?;
            let answer = client.delete_objects().bucket(&bucket.place.bucket).delete(delete).send().await;
            let answer = answer.map_err(|error| bucket.trouble("s3:DeleteObject", &about()).of(&error))?;
            if let Some(first) = answer.errors().first() {
                let code = first.code().unwrap_or("an error without a code");
                let key = first.key().unwrap_or_default();
                return Err(bucket.trouble("s3:DeleteObject", key).of_code(code));
            }
        }
        Ok(())
    }

    async fn sweep(&self, folder: &str) -> Result<(), SinkError> {
        let (bucket, prefix) = (&self.0, self.0.place.folder(folder)?);
        let client = bucket.client().await?;
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let answer = client
                .list_multipart_uploads()
                .bucket(&bucket.place.bucket)
                .prefix(&prefix)
                .set_key_marker(key_marker.take())
                .set_upload_id_marker(id_marker.take())
                .send()
                .await
                .map_err(|error| bucket.trouble("s3:ListBucketMultipartUploads", folder).of(&error))?;
            for upload in answer.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) {
                    writer::abort(bucket, key, id).await?;
                }
            }
            if answer.is_truncated() != Some(true) {
                return Ok(());
            }
            key_marker = answer.next_key_marker().map(str::to_owned);
            id_marker = answer.next_upload_id_marker().map(str::to_owned);
        }
    }

    fn locate(&self, path: &str) -> String {
        self.0.place.url(path)
    }
}
