//! Where results go.

mod file;
mod records;

pub use file::FileSink;
pub use records::{RecordWriter, read_records};

use fleetscan_proto::{Sink, SinkError};
use std::{path::Path, sync::Arc};

/// Opens the place that a URL (`file:///var/fleetscan`) or a plain path names.
///
/// # Errors
/// A sentence that says what to mend: a folder that cannot be made or written, a scheme that this version lacks.
pub fn open(url: &str) -> Result<Arc<dyn Sink>, SinkError> {
    match url.split_once("://") {
        None => Ok(Arc::new(FileSink::open(Path::new(url))?)),
        Some(("file", path)) if path.starts_with('/') => Ok(Arc::new(FileSink::open(Path::new(path))?)),
        Some(("file", _)) => Err(SinkError::Refused(format!(
            "{url}: write file:// and an absolute path, as in file:///var/lib/fleetscan"
        ))),
        Some((scheme, _)) => {
            Err(SinkError::Refused(format!("{url}: this version writes to folders only, not to {scheme}://")))
        }
    }
}
