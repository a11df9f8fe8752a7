use async_trait::async_trait;
use fleetscan_proto::{ObjectWriter, Sink, SinkError, Stored};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A sink in memory, which can be told to refuse paths.
#[derive(Default)]
pub struct MemorySink {
    files: Files,
    refused: Mutex<Option<String>>,
    /// So many reads of parts fail in passing.
    away: Mutex<u32>,
    unreadable: Mutex<Option<String>>,
    lasting: Mutex<bool>,
}

impl MemorySink {
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().expect("lock").insert(path.to_owned(), bytes);
    }
    pub fn paths(&self) -> Vec<String> {
        self.files.lock().expect("lock").keys().cloned().collect()
    }
    /// Files with this in their paths are gone.
    pub fn take(&self, part: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.lock().expect("lock");
        let (taken, left) = std::mem::take(&mut *files).into_iter().partition(|(path, _)| path.contains(part));
        *files = left;
        taken
    }
    /// Paths that end so cannot be written any more; `None`: all can.
    pub fn refuse(&self, ending: Option<&str>) {
        *self.refused.lock().expect("lock") = ending.map(str::to_owned);
    }
    /// Paths with this in them cannot be read any more, for want of permission; `None`: all can.
    pub fn refuse_reading(&self, part: Option<&str>) {
        *self.unreadable.lock().expect("lock") = part.map(str::to_owned);
    }
    /// No file can be removed any more.
    pub fn refuse_removing(&self) {
        *self.lasting.lock().expect("lock") = true;
    }
    /// The next reads of parts fail in passing.
    pub fn fail_reads(&self, times: u32) {
        *self.away.lock().expect("lock") = times;
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
        let refused = self.refused.lock().expect("lock").clone();
        if refused.is_some_and(|ending| path.ends_with(&ending)) {
            return Err(SinkError::Refused(format!("{path}: no")));
        }
        Ok(Box::new(Writer { path: path.to_owned(), bytes: Vec::new(), files: self.files.clone() }))
    }
    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        if path.contains("/records/") {
            let mut away = self.away.lock().expect("lock");
            if *away > 0 {
                *away -= 1;
                return Err(SinkError::Unavailable("SlowDown".into()));
            }
        }
        if self.unreadable.lock().expect("lock").as_ref().is_some_and(|part| path.contains(part)) {
            return Err(SinkError::Refused(format!("{path}: permission denied")));
        }
        let files = self.files.lock().expect("lock");
        files.get(path).cloned().ok_or_else(|| SinkError::Missing(format!("{path}: no such file")))
    }
    async fn entries(&self, folder: &str) -> Result<Vec<Stored>, SinkError> {
        let prefix = format!("{folder}/");
        let files = self.files.lock().expect("lock");
        let below = files.iter().filter(|(path, _)| path.starts_with(&prefix));
        Ok(below.map(|(path, bytes)| Stored { path: path.clone(), bytes: bytes.len() as u64 }).collect())
    }
    async fn folders(&self) -> Result<Vec<String>, SinkError> {
        let names = self.paths().into_iter().filter_map(|path| Some(path.split_once('/')?.0.to_owned()));
        Ok(names.collect::<BTreeSet<String>>().into_iter().collect())
    }
    async fn remove(&self, path: &str) -> Result<(), SinkError> {
        if *self.lasting.lock().expect("lock") {
            return Err(SinkError::Refused(format!("{path}: not permitted")));
        }
        self.files.lock().expect("lock").remove(path);
        Ok(())
    }
    async fn sweep(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }
    fn locate(&self, path: &str) -> String {
        format!("memory://{path}")
    }
}

struct Writer {
    path: String,
    bytes: Vec<u8>,
    files: Files,
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        self.bytes.extend(bytes);
        Ok(())
    }
    async fn commit(self: Box<Self>) -> Result<(), SinkError> {
        self.files.lock().expect("lock").insert(self.path, self.bytes);
        Ok(())
    }
}
