//! Where results go.

mod by_scan;
#[cfg(test)]
mod conformance;
mod file;
mod folders;
mod opened;
mod records;
mod s3;

pub use by_scan::{NoSink, Opener, Sinks};
pub use file::FileSink;
pub use records::{RecordWriter, Written, read_records};
pub use s3::{ACTIONS as S3_ACTIONS, BucketPlace, S3Sink};

use crate::network::Network;
use fleetscan_proto::{Sink, SinkError};
use percent_encoding::percent_decode_str;
use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// How S3 is reached, and how it keeps what it is given. A folder needs none of it.
#[derive(Debug, Clone, Default)]
pub struct SinkOptions {
    /// The bucket's region; `None`: the one that the AWS configuration names.
    pub region: Option<String>,
    /// Replaces AWS's hosts; `None`: the one that the AWS configuration names, if any.
    pub endpoint: Option<String>,
    /// Key of KMS that objects are encrypted with (SSE-KMS): its id, alias or ARN; `None`: as the bucket says.
    pub kms_key: Option<String>,
    /// How the bucket is reached.
    pub network: Network,
}

/// Opens the place that a URL (`file:///var/fleetscan`, `s3://bucket/prefix`) or a plain path names, to write there. A
/// folder is tried at once; of a bucket, the first file that is written or read tells.
///
/// # Errors
/// A sentence that says what to mend: a folder that cannot be made or written, a scheme that this version lacks.
pub fn open(url: &str, options: &SinkOptions) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(match place_of(url)? {
        Place::Folder(folder) => Arc::new(FileSink::open(&folder)?),
        Place::Bucket(bucket) => Arc::new(S3Sink::new(bucket, options.clone())),
    })
}

/// Opens the place that a URL or a plain path names, to read there: nothing is made, and it need not be writable.
///
/// # Errors
/// A sentence that says what to mend: a folder that is not there or cannot be read, a scheme that this version lacks.
pub fn open_to_read(url: &str, options: &SinkOptions) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(match place_of(url)? {
        Place::Folder(folder) => Arc::new(FileSink::open_to_read(&folder)?),
        Place::Bucket(bucket) => Arc::new(S3Sink::new(bucket, options.clone())),
    })
}

enum Place {
    Folder(PathBuf),
    Bucket(BucketPlace),
}

fn place_of(url: &str) -> Result<Place, SinkError> {
    match url.split_once("://") {
        None if url.is_empty() => Err(SinkError::Refused("no output folder is named: name one with --out".into())),
        None => Ok(Place::Folder(Path::new(url).to_owned())),
        Some(("file", path)) if path.starts_with('/') => match percent_decode_str(path).decode_utf8() {
            Ok(path) => Ok(Place::Folder(PathBuf::from(path.as_ref()))),
            Err(_) => Err(SinkError::Refused(format!("{url}: it is not UTF-8 behind its % signs"))),
        },
        Some(("file", _)) => Err(SinkError::Refused(format!(
            "{url}: write file:// and an absolute path, as in file:///var/lib/fleetscan"
        ))),
        Some(("s3", rest)) => BucketPlace::parse(rest).map(Place::Bucket),
        Some((scheme, _)) => Err(SinkError::Refused(format!(
            "{url}: results go to a folder, file:// or s3://bucket/prefix, not to {scheme}://"
        ))),
    }
}

/// What every sink takes for a path below its root: names with `/` between them, none of them `.` or `..`.
fn check_path(path: &str) -> Result<(), SinkError> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    if path.is_empty() || !Path::new(path).components().all(plain) {
        return Err(SinkError::Refused(format!("{path:?} is not a path below the place of the results")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_name_places() {
        let folder = |url: &str| match place_of(url).expect("a place") {
            Place::Folder(folder) => folder,
            Place::Bucket(_) => panic!("{url} is no bucket"),
        };
        assert_eq!(folder("out/here"), Path::new("out/here"));
        assert_eq!(folder("file:///var/my%20results"), Path::new("/var/my results"));
        for (url, words) in [
            ("gs://bucket/x", "s3://bucket/prefix"),
            ("file://host/x", "absolute path"),
            ("", "--out"),
            ("s3://", "bucket"),
            ("s3://UPPER/x", "bucket"),
            ("s3://bucket/a/../b", "a/../b"),
        ] {
            let error = open(url, &SinkOptions::default()).map(drop).expect_err("refused").to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
        let there = |url: &str| open(url, &SinkOptions::default()).expect("a place").locate("scan=1/x");
        assert_eq!(there("s3://bucket/a/b/"), "s3://bucket/a/b/scan=1/x");
        assert_eq!(there("s3://bucket"), "s3://bucket/scan=1/x");
    }
}
