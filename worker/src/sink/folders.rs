use super::file::sink_error;
use fleetscan_proto::SinkError;
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Folders that are remembered as durable; beyond it, all are forgotten, and synced once more.
const REMEMBERED: usize = 4_096;

/// Makes folders below a root, and each durable in the one that holds it.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    /// Folders whose entry in their parent has been synced. That a folder is there does not say so: another writer may
    /// have made it this moment.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    pub(super) fn below(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a folder and those above it, down from the root.
    pub(super) fn make(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.is_durable(folder) && folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent().unwrap_or(&self.root);
        self.make(parent)?;
        create(folder)?;
        sync(parent)?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    /// Removes a folder and those above it that are empty, up to the root. One that is not empty stays, and says so
    /// by an error.
    pub(super) fn remove_empty(&self, folder: Option<&Path>) {
        let mut folder = folder;
        while let Some(empty) = folder.filter(|f| *f != self.root && f.starts_with(&self.root)) {
            self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(empty);
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
    }

    fn is_durable(&self, folder: &Path) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }
}

/// Makes the entries of a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a root, and each folder that it needs durable in the one that holds it.
pub(super) fn make_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let parent = match root.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(ErrorKind::NotFound.into()),
    };
    make_root(parent)?;
    create(root)?;
    match sync(parent) {
        // A folder may let us make folders in it and yet not let us read it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Makes a folder, unless it is there. `NotFound`: it was there and is not any more, or the one above it is not.
fn create(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::metadata(folder)?.is_dir() {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        },
        made => made,
    }
}

/// Visits every file below a folder; a folder that is not there, or goes away meanwhile, has none.
pub(super) fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> Result<(), SinkError>) -> Result<(), SinkError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| sink_error(folder, &e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| sink_error(folder, &e))?;
        let path = entry.path();
        if entry.file_type().map_err(|e| sink_error(&path, &e))?.is_dir() { walk(&path, visit)? } else { visit(&path)? }
    }
    Ok(())
}
