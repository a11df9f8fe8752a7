//! Where results go.

mod by_scan;
#[cfg(test)]
mod conformance;
mod file;
mod folders;
mod records;

pub use by_scan::{NoSink, Opener, Sinks};
pub use file::FileSink;
pub use records::{RecordWriter, Written, read_records};

use fleetscan_proto::{Sink, SinkError};
use percent_encoding::percent_decode_str;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Opens the place that a URL (`file:///var/fleetscan`) or a plain path names, to write there.
///
/// # Errors
/// A sentence that says what to mend: a folder that cannot be made or written, a scheme that this version lacks.
pub fn open(url: &str) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(Arc::new(FileSink::open(&folder_of(url)?)?))
}

/// Opens the place that a URL or a plain path names, to read there: nothing is made, and it need not be writable.
///
/// # Errors
/// A sentence that says what to mend: a folder that is not there or cannot be read, a scheme that this version lacks.
pub fn open_to_read(url: &str) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(Arc::new(FileSink::open_to_read(&folder_of(url)?)?))
}

fn folder_of(url: &str) -> Result<PathBuf, SinkError> {
    match url.split_once("://") {
        None if url.is_empty() => Err(SinkError::Refused("no output folder is named: name one with --out".into())),
        None => Ok(Path::new(url).to_owned()),
        Some(("file", path)) if path.starts_with('/') => match percent_decode_str(path).decode_utf8() {
            Ok(path) => Ok(PathBuf::from(path.as_ref())),
            Err(_) => Err(SinkError::Refused(format!("{url}: it is not UTF-8 behind its % signs"))),
        },
        Some(("file", _)) => Err(SinkError::Refused(format!(
            "{url}: write file:// and an absolute path, as in file:///var/lib/fleetscan"
        ))),
        Some((scheme, _)) => {
            Err(SinkError::Refused(format!("{url}: this version writes to folders only, not to {scheme}://")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_name_folders() {
        assert_eq!(folder_of("out/here").expect("a path"), Path::new("out/here"));
        assert_eq!(folder_of("file:///var/my%20results").expect("a URL"), Path::new("/var/my results"));
        for (url, words) in [("s3://bucket/x", "s3://"), ("file://host/x", "absolute path"), ("", "--out")] {
            let error = open(url).map(drop).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
