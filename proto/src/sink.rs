use async_trait::async_trait;
use std::{io, sync::Arc};

/// Why results could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Worth another try: full, slow, unreachable.
    #[error("the results cannot be reached now: {0}")]
    Unavailable(String),
    /// Not worth another try: no permission, not a folder, no such bucket.
    #[error("{0}")]
    Refused(String),
    /// A file is there and is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// There is no such file.
    #[error("{0}")]
    Missing(String),
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Below the sink's root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A place for a scan's files, by path below its root with `/` between folders. A file appears whole or not at all.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Begins a file. Nothing is seen at `path` until [`ObjectWriter::commit`]; what was there is replaced.
    async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError>;
    /// The whole of a file.
    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError>;
    /// A file to be read piece by piece, and more than once: what was there when it was opened, however it is replaced
    /// meanwhile. A place that has nothing better holds the whole of it in memory.
    async fn open(&self, path: &str) -> Result<Arc<dyn Opened>, SinkError> {
        Ok(Arc::new(self.read(path).await?))
    }
    /// All files below a folder, unordered; empty where there is no such folder. Files that were begun and never
    /// committed are not among them.
    async fn entries(&self, folder: &str) -> Result<Vec<Stored>, SinkError>;
    /// Paths of all files below a folder, as [`Sink::entries`] finds them.
    async fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        Ok(self.entries(folder).await?.into_iter().map(|file| file.path).collect())
    }
    /// Bytes of all files below a folder.
    async fn size(&self, folder: &str) -> Result<u64, SinkError> {
        Ok(self.entries(folder).await?.iter().map(|file| file.bytes).sum())
    }
    /// Names of the folders that lie directly below the root, unordered.
    async fn folders(&self) -> Result<Vec<String>, SinkError>;
    /// Removes a file; one that is not there is no error.
    async fn remove(&self, path: &str) -> Result<(), SinkError>;
    /// Removes files, in no order; those that are not there are no error.
    async fn remove_all(&self, paths: &[String]) -> Result<(), SinkError> {
        for path in paths {
            self.remove(path).await?;
        }
        Ok(())
    }
    /// Removes what writers that died left behind below a folder.
    async fn sweep(&self, folder: &str) -> Result<(), SinkError>;
    /// Keeps other processes from changing older results, for as long as the answer is held. A place that cannot tell
    /// keeps nobody out.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] where another process has it.
    async fn alone(&self) -> Result<Alone, SinkError> {
        Ok(Alone::default())
    }
    /// Where a person finds a path: a file path or a URL.
    fn locate(&self, path: &str) -> String;
}

/// A file of a sink's that was opened.
pub trait Opened: Send + Sync {
    /// Fills `buffer` with what begins `at` so many bytes; answers how many bytes, and none at the end. It may block.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Opened for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// The right to change older results, until it is dropped.
#[derive(Default)]
pub struct Alone(Option<Box<dyn std::any::Any + Send + Sync>>);

impl Alone {
    /// While `lock` lives.
    pub fn holding(lock: impl std::any::Any + Send + Sync) -> Self {
        Self(Some(Box::new(lock)))
    }

    /// Whether somebody else is kept out.
    pub fn is_certain(&self) -> bool {
        self.0.is_some()
    }
}

/// A file being written. Dropped without a commit, it leaves nothing to be seen.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError>;
    /// Makes the file appear, durably: once this answers, it survives a crash of the machine.
    async fn commit(self: Box<Self>) -> Result<(), SinkError>;
}
