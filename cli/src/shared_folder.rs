//! A folder of results that several hosts use is the same one on all of them: the coordinator leaves the fleet's mark in
//! it, and who does not find the mark has another folder under the same name, or the right one not mounted.

use fleetscan_proto::{Sink, SinkError};
use fleetscan_worker::sink::{self, SinkOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The mark's file. It holds the name of the fleet's memory, its epoch, which is no secret.
const MARK: &str = ".fleetscan-fleet";

/// What a folder's mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// This fleet's coordinator was here.
    Ours,
    /// Another fleet's was, or this one's before its store was lost.
    Theirs,
    /// Nobody's was.
    No,
}

/// The folder that a name of results means; `None` for what is reached over the network, which is one for all.
pub fn folder(name: &str) -> Option<PathBuf> {
    let sink = sink::open_to_read(name, &SinkOptions::default()).ok()?;
    let place = sink.locate("");
    (!place.contains("://")).then(|| PathBuf::from(place))
}

/// What the mark in a folder says to the fleet of this epoch.
pub fn marked(folder: &Path, epoch: &str) -> io::Result<Marked> {
    match fs::read_to_string(folder.join(MARK)) {
        Ok(text) if text.trim_end() == epoch => Ok(Marked::Ours),
        Ok(_) => Ok(Marked::Theirs),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Marked::No),
        Err(error) => Err(error),
    }
}

/// For coordinators: opens a place, and leaves the mark in it where it is a folder.
pub fn open_and_mark(name: &str, options: &SinkOptions, epoch: &str) -> Result<Arc<dyn Sink>, SinkError> {
    let opened = sink::open(name, options)?;
    if let Some(folder) = folder(name)
        && !matches!(marked(&folder, epoch), Ok(Marked::Ours))
    {
        let fresh = folder.join(format!("{MARK}-{}", std::process::id()));
        fs::write(&fresh, format!("{epoch}\n"))
            .and_then(|()| fs::rename(&fresh, folder.join(MARK)))
            .map_err(|error| SinkError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    Ok(opened)
}

/// For workers: opens a place where the coordinator has been. Asked first, since opening makes a folder that is not there.
pub fn open_marked(name: &str, options: &SinkOptions, epoch: &str) -> Result<Arc<dyn Sink>, SinkError> {
    let has_scheme = name.contains("://") && !name.starts_with("file://");
    if !has_scheme {
        match folder(name).map(|folder| marked(&folder, epoch)) {
            Some(Ok(Marked::Ours)) => {}
            Some(Err(error)) => return Err(SinkError::Unavailable(format!("{name}: {error}"))),
            None | Some(Ok(Marked::No | Marked::Theirs)) => return Err(SinkError::Unavailable(not_shared(name))),
        }
    }
    sink::open(name, options)
}

/// What is wrong, and how to mend it.
pub fn not_shared(name: &str) -> String {
    format!(
        "the folder {name} on this host is not the one that the coordinator writes to: mount the same folder under the \
         same path on every host, or name a place that all of them reach"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fleetscan-shared-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_worker_writes_only_where_its_coordinator_was() {
        let out = scratch("marks");
        let name = out.to_str().expect("a path");
        let refused = |epoch: &str| match open_marked(name, &SinkOptions::default(), epoch) {
            Err(SinkError::Unavailable(why)) => why.contains("is not the one that the coordinator writes to"),
            _ => false,
        };
        assert!(refused("one") && !out.exists(), "a folder that is not there must not be made");
        open_and_mark(name, &SinkOptions::default(), "one").expect("it can be made");
        assert_eq!(marked(&out, "one").expect("read"), Marked::Ours);
        open_marked(name, &SinkOptions::default(), "one").expect("the coordinator was here");
        assert!(refused("two"), "another fleet's coordinator was here");
        open_and_mark(&format!("file://{name}"), &SinkOptions::default(), "two").expect("another fleet takes it over");
        open_marked(name, &SinkOptions::default(), "two").expect("and uses it");
        fs::remove_dir_all(&out).expect("removed");
    }
}
