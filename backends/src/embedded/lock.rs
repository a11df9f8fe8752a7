use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

/// Keeps a second process out of a data folder for as long as it lives. The kernel lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Why a data folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another fleetscan{} works with the data folder {}: wait for it, stop it, or choose another folder with --data", .pid.as_ref().map(|p| format!(" (process {p})")).unwrap_or_default(), .folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The other process, where it said.
        pid: Option<String>,
    },
    /// The folder cannot be used.
    #[error("the data folder {} cannot be used: {error}; choose another with --data, or mend its permissions", .folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl DataLock {
    /// Takes a folder, making it where it is missing.
    pub fn take(folder: &Path) -> Result<DataLock, LockError> {
        let unusable = |error| LockError::Unusable { folder: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let said = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                return Err(LockError::Taken { folder: folder.to_owned(), pid: said.then(|| pid.trim().to_owned()) });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unusable)?;
        Ok(DataLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_kept_out_and_told_by_whom() {
        let folder = std::env::temp_dir().join(format!("fleetscan-lock-{}", std::process::id()));
        let first = DataLock::take(&folder).expect("free");
        let error = DataLock::take(&folder).expect_err("taken");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        drop(DataLock::take(&folder).expect("free again"));
        std::fs::remove_dir_all(&folder).expect("removable");
    }
}
