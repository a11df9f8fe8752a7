use async_trait::async_trait;
use fleetscan_proto::{ObjectWriter, Sink, SinkError};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use tokio::task::spawn_blocking;

/// Results as files below a folder.
#[derive(Debug, Clone)]
pub struct FileSink {
    root: Arc<Path>,
}

/// What files are called until they are committed.
const TEMPORARY: &str = ".fleetscan-tmp";

impl FileSink {
    /// Opens a folder, making it where it is missing, and tries whether it can be written.
    ///
    /// # Errors
    /// A sentence that names the folder and what is wrong with it.
    pub fn open(root: &Path) -> Result<FileSink, SinkError> {
        let refused = |e: std::io::Error| {
            SinkError::Refused(format!(
                "the output folder {} cannot be written: {}; choose another with --out, or mend its permissions",
                root.display(),
                reason(&e)
            ))
        };
        fs::create_dir_all(root).map_err(refused)?;
        let trial = root.join(format!(".trial-{:016x}{TEMPORARY}", rand::random::<u64>()));
        File::create(&trial).and_then(|mut f| f.write_all(b"x")).map_err(refused)?;
        fs::remove_file(&trial).map_err(refused)?;
        let root = fs::canonicalize(root).map_err(refused)?;
        Ok(FileSink { root: root.into() })
    }

    fn path(&self, path: &str) -> Result<PathBuf, SinkError> {
        let relative = Path::new(path);
        if path.is_empty() || relative.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(SinkError::Refused(format!("{path:?} is not a path below the output folder")));
        }
        Ok(self.root.join(relative))
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it, or something above it, is a file".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::StorageFull => "the disk is full".into(),
        _ => error.to_string(),
    }
}

/// Whether a failed write is worth another try.
fn sink_error(path: &Path, error: &std::io::Error) -> SinkError {
    let text = format!("{}: {}", path.display(), reason(error));
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotFound
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
        let target = self.path(path)?;
        let root = Arc::clone(&self.root);
        let writer = blocking(move || {
            let folder = target.parent().unwrap_or(&root);
            make_folders(&root, folder)?;
            let temporary = folder.join(format!(".{:016x}{TEMPORARY}", rand::random::<u64>()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary)
                .map_err(|e| sink_error(&temporary, &e))?;
            Ok(FileWriter { file: Some(file), temporary, target })
        });
        Ok(Box::new(writer.await?))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        let path = self.path(path)?;
        blocking(move || fs::read(&path).map_err(|e| sink_error(&path, &e))).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let (folder, root) = (self.path(folder)?, Arc::clone(&self.root));
        blocking(move || {
            let mut found = Vec::new();
            walk(&folder, &mut |path| {
                if !is_temporary(path)
                    && let Ok(relative) = path.strip_prefix(&root)
                {
                    found.push(relative.to_string_lossy().replace('\\', "/"));
                }
                Ok(())
            })?;
            Ok(found)
        })
        .await
    }

    async fn remove(&self, path: &str) -> Result<(), SinkError> {
        let (path, root) = (self.path(path)?, Arc::clone(&self.root));
        blocking(move || {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(sink_error(&path, &e)),
                _ => {}
            }
            // Folders that it leaves empty go as well; one that is not empty stays, and says so by an error.
            let mut folder = path.parent();
            while let Some(empty) = folder.filter(|f| **f != *root && f.starts_with(&root)) {
                if fs::remove_dir(empty).is_err() {
                    break;
                }
                folder = empty.parent();
            }
            Ok(())
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

    fn locate(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TEMPORARY))
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> Result<(), SinkError>) -> Result<(), SinkError> {
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

/// Makes the folders down to `folder`, and makes each new one durable in the one that holds it.
fn make_folders(root: &Path, folder: &Path) -> Result<(), SinkError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|p| p.starts_with(root)).unwrap_or(root);
    make_folders_above(root, folder, parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(sink_error(folder, &e)),
    }
}

fn make_folders_above(root: &Path, folder: &Path, parent: &Path) -> Result<(), SinkError> {
    if parent == folder || parent == root { Ok(()) } else { make_folders(root, parent) }
}

fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| sink_error(folder, &e))
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
            target.parent().map_or(Ok(()), sync_folder)
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

    fn sink() -> (tempfile::TempDir, FileSink) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = FileSink::open(&folder.path().join("out")).expect("writable");
        (folder, sink)
    }

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let (_folder, sink) = sink();
        let mut writer = sink.create("a/b/c.txt").await.expect("begins");
        writer.write(b"hello ".to_vec()).await.expect("writes");
        assert_eq!(sink.list("a").await.expect("lists"), Vec::<String>::new());
        assert!(sink.read("a/b/c.txt").await.is_err());
        writer.write(b"world".to_vec()).await.expect("writes");
        writer.commit().await.expect("commits");
        assert_eq!(sink.read("a/b/c.txt").await.expect("reads"), b"hello world");
        assert_eq!(sink.list("a").await.expect("lists"), ["a/b/c.txt"]);
    }

    #[tokio::test]
    async fn what_a_dead_writer_left_is_swept_and_never_listed() {
        let (folder, sink) = sink();
        let mut writer = sink.create("scan/x/part").await.expect("begins");
        writer.write(vec![1]).await.expect("writes");
        std::mem::forget(writer);
        assert!(sink.list("scan").await.expect("lists").is_empty());
        sink.sweep("scan").await.expect("sweeps");
        assert_eq!(std::fs::read_dir(folder.path().join("out/scan/x")).expect("there").count(), 0);
        drop(sink.create("scan/x/part").await.expect("begins"));
        assert_eq!(
            std::fs::read_dir(folder.path().join("out/scan/x")).expect("there").count(),
            0,
            "a dropped writer leaves nothing"
        );
    }

    #[tokio::test]
    async fn removing_takes_empty_folders_along_and_may_be_repeated() {
        let (folder, sink) = sink();
        for path in ["s/a/1", "s/b/1"] {
            sink.create(path).await.expect("begins").commit().await.expect("commits");
        }
        sink.remove("s/a/1").await.expect("removes");
        sink.remove("s/a/1").await.expect("again");
        assert!(!folder.path().join("out/s/a").exists() && folder.path().join("out/s/b").exists());
        assert!(sink.list("nosuch").await.expect("lists").is_empty());
    }

    #[tokio::test]
    async fn paths_stay_below_the_root_and_bad_roots_say_why() {
        let (folder, sink) = sink();
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(matches!(sink.create(path).await, Err(SinkError::Refused(_))), "{path}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("writes");
        let error = FileSink::open(&file.join("out")).expect_err("a file is no folder");
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
