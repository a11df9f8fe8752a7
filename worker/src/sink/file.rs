use super::{
    check_path,
    folders::{Folders, make_root, sync, walk},
    opened::OpenedFile,
};
use async_trait::async_trait;
use fleetscan_proto::{Alone, ObjectWriter, Opened, Sink, SinkError, Stored};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::spawn_blocking;

/// Results as files below a folder.
#[derive(Debug, Clone)]
pub struct FileSink {
    folders: Arc<Folders>,
}

/// What files are called until they are committed.
const TEMPORARY: &str = ".fleetscan-tmp";

/// Locked by whoever changes older results; the lock ends with its process.
const LOCK: &str = ".fleetscan-history.lock";

/// How often a file is begun again whose folder was removed, empty, between its making and the file's.
const BEGINNINGS: usize = 32;

impl FileSink {
    /// Opens a folder, making it where it is missing, and tries whether it can be written.
    ///
    /// # Errors
    /// A sentence that names the folder and what is wrong with it.
    pub fn open(root: &Path) -> Result<FileSink, SinkError> {
        let refused = |e: io::Error| {
            SinkError::Refused(format!(
                "the output folder {} cannot be written: {}; choose another with --out, or {}",
                root.display(),
                reason(&e),
                match e.kind() {
                    ErrorKind::StorageFull => "make room: `fleetscan results list` shows what each scan takes",
                    _ => "make it writable (its owner, its mount, ReadWritePaths= of a unit)",
                }
            ))
        };
        make_root(root).map_err(refused)?;
        let trial = root.join(temporary_name());
        let tried = File::create_new(&trial).and_then(|mut f| f.write_all(b"x"));
        tried.and(fs::remove_file(&trial)).map_err(refused)?;
        let root = fs::canonicalize(root).map_err(refused)?;
        Ok(FileSink { folders: Arc::new(Folders::below(root)) })
    }

    /// Opens a folder that is there, to read it: it need not be writable.
    ///
    /// # Errors
    /// A sentence that names the folder and what is wrong with it.
    pub fn open_to_read(root: &Path) -> Result<FileSink, SinkError> {
        let root = fs::read_dir(root).and_then(|_| fs::canonicalize(root)).map_err(|e| {
            SinkError::Refused(format!("the results folder {} cannot be read: {}", root.display(), reason(&e)))
        })?;
        Ok(FileSink { folders: Arc::new(Folders::below(root)) })
    }

    fn path(&self, path: &str) -> Result<PathBuf, SinkError> {
        check_path(path)?;
        Ok(self.folders.root().join(path))
    }
}

fn temporary_name() -> String {
    format!(".{:016x}{TEMPORARY}", rand::random::<u64>())
}

/// Begins the temporary file beside its target.
fn begin(folders: &Folders, target: &Path) -> Result<(File, PathBuf), SinkError> {
    let folder = target.parent().unwrap_or(folders.root());
    let temporary = folder.join(temporary_name());
    let mut left = BEGINNINGS;
    loop {
        left -= 1;
        match folders.make(folder).and_then(|()| OpenOptions::new().write(true).create_new(true).open(&temporary)) {
            Ok(file) => return Ok((file, temporary)),
            Err(e) if e.kind() == ErrorKind::NotFound && left > 0 => {}
            Err(e) => return Err(sink_error(target, &e)),
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it, or something above it, is a file".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::StorageFull => "the disk is full".into(),
        _ => error.to_string(),
    }
}

/// Whether a failed write is worth another try.
pub(super) fn sink_error(path: &Path, error: &io::Error) -> SinkError {
    let text = format!("{}: {}", path.display(), reason(error));
    match error.kind() {
        ErrorKind::NotFound => SinkError::Missing(text),
        ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidInput => SinkError::Refused(text),
        _ => SinkError::Unavailable(text),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(SinkError::Unavailable("the process is ending".into())))
}

#[async_trait]
impl Sink for FileSink {
    async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
        let (target, folders) = (self.path(path)?, Arc::clone(&self.folders));
        let writer = blocking(move || {
            let (file, temporary) = begin(&folders, &target)?;
            Ok(FileWriter { file: Some(file), temporary, target })
        });
        Ok(Box::new(writer.await?))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        let path = self.path(path)?;
        blocking(move || fs::read(&path).map_err(|e| sink_error(&path, &e))).await
    }

    async fn open(&self, path: &str) -> Result<Arc<dyn Opened>, SinkError> {
        let path = self.path(path)?;
        let file = blocking(move || File::open(&path).map_err(|e| sink_error(&path, &e))).await?;
        Ok(Arc::new(OpenedFile(file)))
    }

    async fn entries(&self, folder: &str) -> Result<Vec<Stored>, SinkError> {
        let (folder, folders) = (self.path(folder)?, Arc::clone(&self.folders));
        blocking(move || {
            let mut found = Vec::new();
            walk(&folder, &mut |path| {
                if !is_temporary(path)
                    && let Ok(relative) = path.strip_prefix(folders.root())
                {
                    let path_text = relative.to_string_lossy().into_owned();
                    match fs::symlink_metadata(path) {
                        Ok(file) => found.push(Stored { path: path_text, bytes: file.len() }),
                        Err(e) if e.kind() == ErrorKind::NotFound => {}
                        Err(e) => return Err(sink_error(path, &e)),
                    }
                }
                Ok(())
            })?;
            Ok(found)
        })
        .await
    }

    async fn folders(&self) -> Result<Vec<String>, SinkError> {
        let folders = Arc::clone(&self.folders);
        blocking(move || {
            let root = folders.root();
            let failed = |e: io::Error| sink_error(root, &e);
            let mut found = Vec::new();
            for entry in fs::read_dir(root).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.path().is_dir() {
                    found.extend(entry.file_name().into_string());
                }
            }
            Ok(found)
        })
        .await
    }

    async fn remove(&self, path: &str) -> Result<(), SinkError> {
        let (path, folders) = (self.path(path)?, Arc::clone(&self.folders));
        blocking(move || match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(sink_error(&path, &e)),
            _ => {
                folders.remove_empty(path.parent());
                Ok(())
            }
        })
        .await
    }

    async fn sweep(&self, folder: &str) -> Result<(), SinkError> {
        let folder = self.path(folder)?;
        blocking(move || {
            walk(&folder, &mut |path| match is_temporary(path).then(|| fs::remove_file(path)) {
                Some(Err(e)) if e.kind() != ErrorKind::NotFound => Err(sink_error(path, &e)),
                _ => Ok(()),
            })
        })
        .await
    }

    async fn alone(&self) -> Result<Alone, SinkError> {
        let folders = Arc::clone(&self.folders);
        blocking(move || {
            let path = folders.root().join(LOCK);
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = opened.map_err(|e| sink_error(&path, &e))?;
            match file.try_lock() {
                Ok(()) => Ok(Alone::holding(file)),
                Err(TryLockError::WouldBlock) => Err(SinkError::Unavailable(format!(
                    "another process is pruning or purging older results in {}: try again in a minute",
                    folders.root().display()
                ))),
                // A shared folder without locks.
                Err(TryLockError::Error(_)) => Ok(Alone::default()),
            }
        })
        .await
    }

    fn locate(&self, path: &str) -> String {
        self.folders.root().join(path).display().to_string()
    }
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TEMPORARY))
}

struct FileWriter {
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
}

#[async_trait]
impl ObjectWriter for FileWriter {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        let Some(mut file) = self.file.take() else {
            return Err(SinkError::Unavailable("an earlier write failed".into()));
        };
        let path = self.temporary.clone();
        self.file =
            Some(blocking(move || file.write_all(&bytes).map(|()| file).map_err(|e| sink_error(&path, &e))).await?);
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), SinkError> {
        let Some(file) = self.file.take() else { return Err(SinkError::Unavailable("an earlier write failed".into())) };
        let (temporary, target) = (self.temporary.clone(), self.target.clone());
        blocking(move || {
            file.sync_all().map_err(|e| sink_error(&temporary, &e))?;
            fs::rename(&temporary, &target).map_err(|e| sink_error(&target, &e))?;
            target.parent().map_or(Ok(()), |folder| sync(folder).map_err(|e| sink_error(folder, &e)))
        })
        .await
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // After a commit there is no such file any more, and nothing to say about that.
        let _gone = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::conformance::sink_conformance;

    fn sink() -> (tempfile::TempDir, FileSink) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = FileSink::open(&folder.path().join("down/out")).expect("writable");
        (folder, sink)
    }

    sink_conformance!(sink());

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).expect("there").count()
    }

    #[tokio::test]
    async fn what_a_dead_writer_left_is_swept_and_the_rest_stays() {
        let (folder, sink) = sink();
        let place = folder.path().join("down/out/scan/x");
        sink.create("scan/x/whole").await.expect("begins").commit().await.expect("commits");
        let mut writer = sink.create("scan/x/part").await.expect("begins");
        writer.write(vec![1]).await.expect("writes");
        std::mem::forget(writer);
        assert_eq!(entries(&place), 2);
        sink.sweep("scan").await.expect("sweeps");
        assert_eq!(entries(&place), 1);
        drop(sink.create("scan/x/part").await.expect("begins"));
        assert_eq!(entries(&place), 1, "a dropped writer leaves nothing");
    }

    #[tokio::test]
    async fn older_results_are_changed_by_one_at_a_time() {
        let (folder, sink) = sink();
        let other = FileSink::open_to_read(&folder.path().join("down/out")).expect("there");
        let alone = sink.alone().await.expect("nobody else");
        assert!(alone.is_certain());
        let taken = other.alone().await.err().expect("it is taken");
        assert!(matches!(&taken, SinkError::Unavailable(why) if why.contains("another process")), "{taken}");
        drop(alone);
        other.alone().await.expect("it is free again");
        assert!(other.folders().await.expect("lists").is_empty(), "the lock is no result");
    }

    #[tokio::test]
    async fn removing_takes_empty_folders_along() {
        let (folder, sink) = sink();
        for path in ["s/a/1", "s/b/1"] {
            sink.create(path).await.expect("begins").commit().await.expect("commits");
        }
        sink.remove("s/a/1").await.expect("removes");
        assert!(!folder.path().join("down/out/s/a").exists() && folder.path().join("down/out/s/b").exists());
        sink.create("s/a/2").await.expect("begins").commit().await.expect("commits");
        assert_eq!(sink.read("s/a/2").await.expect("reads"), b"");
    }

    /// A worker whose result did not count removes its part, while others begin theirs beside it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn files_are_begun_while_the_folders_around_them_are_removed() {
        let (_folder, sink) = sink();
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..8 {
            let sink = sink.clone();
            writers.spawn(async move {
                for round in 0..40 {
                    let path = format!("s/account/region-{n}/{round}");
                    sink.create(&path).await.expect("begins").commit().await.expect("commits");
                    sink.remove(&path).await.expect("removes");
                }
            });
        }
        writers.join_all().await;
        assert!(sink.list("s").await.expect("lists").is_empty());
    }

    #[tokio::test]
    async fn bad_roots_say_why_and_nothing_is_made_to_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("writes");
        for bad in [&file, &file.join("out")] {
            let error = FileSink::open(bad).expect_err("a file is no folder").to_string();
            assert!(error.contains("is a file") && error.contains("--out"), "{error}");
        }
        let missing = folder.path().join("missing");
        let error = FileSink::open_to_read(&missing).expect_err("not there").to_string();
        assert!(error.contains("missing") && !missing.exists(), "{error}");
    }

    #[tokio::test]
    async fn a_file_where_a_folder_belongs_is_refused_for_good() {
        let (_folder, sink) = sink();
        sink.create("a").await.expect("begins").commit().await.expect("commits");
        assert!(matches!(sink.create("a/b").await, Err(SinkError::Refused(_))));
    }
}
