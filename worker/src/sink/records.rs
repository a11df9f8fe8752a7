use fleetscan_proto::{ObjectWriter, PartName, Record, Sink, SinkError};
use sha2::{Digest as _, Sha256};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    sync::Arc,
};
use zstd::zstd_safe::CParameter;

/// Lines are gathered up to so many bytes before they are compressed: most cells never have more, and need no
/// compressor of their own while they are under way.
const GATHER: usize = 128 * 1024;
/// Compressed bytes are handed to the sink in pieces of at least this size.
const PIECE: usize = 64 * 1024;
/// zstd's default: beyond it, time grows faster than files shrink.
const LEVEL: i32 = 3;
/// How far back a compressor looks in a part whose size is not known, as a power of two, and how large its tables are:
/// a tenth of the level's default, for many cells compress at once, and records repeat what stands close by.
const WINDOW_LOG: u32 = 18;
const TABLE_LOG: u32 = 15;

/// Writes a part: records as JSON lines, compressed with zstd. Nothing is created before the first record, and a part
/// without records is none.
pub struct RecordWriter {
    sink: Arc<dyn Sink>,
    folder: String,
    name: String,
    records: u64,
    gathered: Vec<u8>,
    open: Option<Open>,
    /// A write failed: what comes after it would be a part with a gap.
    broken: bool,
}

struct Open {
    object: Box<dyn ObjectWriter>,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    hash: Sha256,
    bytes: u64,
}

/// A part that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// As the ledger lists it.
    pub part: PartName,
    /// Its size, compressed.
    pub bytes: u64,
}

impl RecordWriter {
    /// A part called `name` in `folder` of the sink.
    pub fn new(sink: Arc<dyn Sink>, folder: String, name: String) -> Self {
        Self { sink, folder, name, records: 0, gathered: Vec::new(), open: None, broken: false }
    }

    /// Appends a record.
    pub async fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        serde_json::to_writer(&mut self.gathered, record)
            .map_err(|e| SinkError::Refused(format!("a record cannot be written as JSON: {e}")))?;
        self.gathered.push(b'\n');
        self.records += 1;
        if self.gathered.len() >= GATHER {
            self.compress(false).await?;
        }
        Ok(())
    }

    /// Makes the part appear, durably; `None` where it has no records.
    pub async fn finish(mut self) -> Result<Option<Written>, SinkError> {
        if self.records == 0 {
            return Ok(None);
        }
        self.compress(true).await?;
        let Some(Open { object, hash, bytes, .. }) = self.open else { return Ok(None) };
        object.commit().await?;
        let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok(Some(Written { part: PartName { name: self.name, records: self.records, sha256 }, bytes }))
    }

    async fn compress(&mut self, last: bool) -> Result<(), SinkError> {
        if self.broken {
            return Err(SinkError::Unavailable("an earlier write of this part failed".into()));
        }
        self.broken = true;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(last).await?,
        };
        open.encoder.write_all(&self.gathered).map_err(|e| compressing(&e))?;
        self.gathered.clear();
        if last {
            open.encoder.do_finish().map_err(|e| compressing(&e))?;
        }
        if last || open.encoder.get_ref().len() >= PIECE {
            let piece = std::mem::take(open.encoder.get_mut());
            open.hash.update(&piece);
            open.bytes += piece.len() as u64;
            open.object.write(piece).await?;
        }
        self.open = Some(open);
        self.broken = false;
        Ok(())
    }

    /// Begins the file. A part that is all gathered tells its size, so that the compressor takes no more memory than
    /// that needs.
    async fn begin(&mut self, last: bool) -> Result<Open, SinkError> {
        let object = self.sink.create(&format!("{}/{}", self.folder, self.name)).await?;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).map_err(|e| compressing(&e))?;
        let size = if last { u64::try_from(self.gathered.len()).ok() } else { None };
        encoder.set_pledged_src_size(size).map_err(|e| compressing(&e))?;
        if size.is_none() {
            let table = [CParameter::HashLog(TABLE_LOG), CParameter::ChainLog(TABLE_LOG)];
            for parameter in [CParameter::WindowLog(WINDOW_LOG)].into_iter().chain(table) {
                encoder.set_parameter(parameter).map_err(|e| compressing(&e))?;
            }
        }
        Ok(Open { object, encoder, hash: Sha256::new(), bytes: 0 })
    }
}

fn compressing(error: &std::io::Error) -> SinkError {
    SinkError::Unavailable(format!("records cannot be compressed: {error}"))
}

/// Reads a part's records, one after another.
///
/// # Errors
/// Says what is wrong with the part: it is cut off, or a line is not a record.
pub fn read_records(part: &[u8], mut visit: impl FnMut(Record)) -> Result<u64, String> {
    let decoder = zstd::stream::read::Decoder::new(part).map_err(|e| e.to_string())?;
    let mut lines = BufReader::new(decoder);
    let mut line = String::new();
    let mut count = 0;
    loop {
        line.clear();
        if lines.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
            return Ok(count);
        }
        visit(serde_json::from_str(&line).map_err(|e| format!("line {}: {e}", count + 1))?);
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::FileSink;
    use std::collections::BTreeMap;

    fn record(n: usize) -> Record {
        Record {
            account: "111122223333".parse().expect("id"),
            region: "eu-west-1".into(),
            service: "lambda".into(),
            kind: "AWS::Lambda::Function".into(),
            id: format!("f-{n}"),
            arn: None,
            name: None,
            tags: BTreeMap::new(),
            collected_at: "2026-01-01T00:00:00Z".parse().expect("time"),
            properties: serde_json::Map::from_iter([("Filler".to_owned(), "x".repeat(n % 1000).into())]),
            denied: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_the_name_tells_of_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = Arc::new(FileSink::open(folder.path()).expect("writable"));
        let mut writer = RecordWriter::new(sink.clone(), "scan".into(), "part-1.jsonl.zst".into());
        for n in 0..2_000 {
            writer.write(&record(n)).await.expect("writes");
        }
        let Written { part, bytes: size } = writer.finish().await.expect("finishes").expect("has records");
        let bytes = sink.read("scan/part-1.jsonl.zst").await.expect("reads");
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(part.sha256, Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>());
        let mut ids = Vec::new();
        assert_eq!(read_records(&bytes, |r| ids.push(r.id)).expect("sound"), 2_000);
        assert_eq!((part.records, ids[1999].as_str()), (2_000, "f-1999"));
        assert!(read_records(&bytes[..bytes.len() / 2], |_| {}).is_err(), "a part that is cut off is no part");
    }

    /// Fails once, and then takes everything.
    struct FailsOnce(FileSink, std::sync::atomic::AtomicBool);

    #[async_trait::async_trait]
    impl Sink for FailsOnce {
        async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
            if self.1.swap(false, std::sync::atomic::Ordering::Relaxed) {
                return Err(SinkError::Unavailable("the disk is full".into()));
            }
            self.0.create(path).await
        }
        async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
            self.0.read(path).await
        }
        async fn entries(&self, folder: &str) -> Result<Vec<fleetscan_proto::Stored>, SinkError> {
            self.0.entries(folder).await
        }
        async fn folders(&self) -> Result<Vec<String>, SinkError> {
            self.0.folders().await
        }
        async fn remove(&self, path: &str) -> Result<(), SinkError> {
            self.0.remove(path).await
        }
        async fn sweep(&self, folder: &str) -> Result<(), SinkError> {
            self.0.sweep(folder).await
        }
        fn locate(&self, path: &str) -> String {
            self.0.locate(path)
        }
    }

    #[tokio::test]
    async fn a_part_that_lost_records_is_never_finished() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = Arc::new(FailsOnce(FileSink::open(folder.path()).expect("writable"), true.into()));
        let mut writer = RecordWriter::new(sink.clone(), "scan".into(), "part-1.jsonl.zst".into());
        let mut failed = 0;
        for n in 0..2_000 {
            failed += usize::from(writer.write(&record(n)).await.is_err());
        }
        assert!(failed > 0, "enough was written to reach the sink");
        writer.finish().await.expect_err("it has a gap");
        assert!(sink.list("scan").await.expect("lists").is_empty());
    }

    #[tokio::test]
    async fn a_small_part_is_whole_and_says_its_size() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = Arc::new(FileSink::open(folder.path()).expect("writable"));
        let mut writer = RecordWriter::new(sink.clone(), "scan".into(), "part-1.jsonl.zst".into());
        writer.write(&record(7)).await.expect("writes");
        writer.finish().await.expect("finishes").expect("has a record");
        let bytes = sink.read("scan/part-1.jsonl.zst").await.expect("reads");
        let line = zstd::stream::decode_all(&bytes[..]).expect("sound");
        assert_eq!(serde_json::from_slice::<Record>(&line).expect("a record"), record(7));
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&bytes).ok().flatten(), Some(line.len() as u64));
    }

    #[tokio::test]
    async fn a_part_without_records_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sink = Arc::new(FileSink::open(folder.path()).expect("writable"));
        let writer = RecordWriter::new(sink.clone(), "scan".into(), "part-1.jsonl.zst".into());
        assert_eq!(writer.finish().await.expect("finishes"), None);
        assert!(sink.list("scan").await.expect("lists").is_empty());
    }
}
