use crate::ScanError;
use fleetscan_proto::{LedgerLine, Manifest, ObjectWriter, Opened, ResultPaths, ScanId, Sink, SinkError};
use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    sync::Arc,
};

/// Layout version of a scan's files.
pub(crate) const FORMAT: u32 = 1;

/// Bytes that are gathered before they are handed to the sink.
const CHUNK: usize = 256 * 1024;

/// Writes `ledger.jsonl.zst`, one line a cell, without holding more than a chunk of it.
pub(crate) struct LedgerWriter {
    object: Box<dyn ObjectWriter>,
    packer: zstd::Encoder<'static, Vec<u8>>,
}

impl LedgerWriter {
    pub(crate) async fn create(sink: &dyn Sink, path: &str) -> Result<Self, ScanError> {
        let packer = zstd::Encoder::new(Vec::new(), 3).map_err(internal)?;
        Ok(Self { object: sink.create(path).await?, packer })
    }

    pub(crate) async fn write(&mut self, line: &LedgerLine) -> Result<(), ScanError> {
        let mut text = serde_json::to_vec(line).map_err(|error| ScanError::Internal(error.to_string()))?;
        text.push(b'\n');
        self.packer.write_all(&text).map_err(internal)?;
        if self.packer.get_ref().len() >= CHUNK {
            let packed = std::mem::take(self.packer.get_mut());
            self.object.write(packed).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), ScanError> {
        let packed = self.packer.finish().map_err(internal)?;
        self.object.write(packed).await?;
        Ok(self.object.commit().await?)
    }
}

fn internal(error: std::io::Error) -> ScanError {
    ScanError::Internal(format!("packing the ledger: {error}"))
}

/// The lines of a ledger file, in its order; after one that cannot be read there are no more.
pub struct LedgerReader {
    lines: Option<Box<dyn Iterator<Item = std::io::Result<String>> + Send>>,
}

impl Iterator for LedgerReader {
    type Item = Result<LedgerLine, SinkError>;
    fn next(&mut self) -> Option<Self::Item> {
        let broken = |error: String| SinkError::Damaged(format!("the ledger cannot be read: {error}"));
        let line = self.lines.as_mut()?.next()?.map_err(|error| broken(error.to_string()));
        let line = line.and_then(|line| serde_json::from_str(&line).map_err(|error| broken(error.to_string())));
        if line.is_err() {
            // An unpacker that failed fails again and again.
            self.lines = None;
        }
        Some(line)
    }
}

impl LedgerReader {
    /// Over a ledger file that was opened, from its beginning.
    pub(crate) fn over(packed: Arc<dyn Opened>) -> Result<Self, SinkError> {
        let unpacked = zstd::Decoder::new(FromStart { packed, at: 0 });
        let unpacked = unpacked.map_err(|error| SinkError::Damaged(error.to_string()))?;
        Ok(Self { lines: Some(Box::new(BufReader::new(unpacked).lines())) })
    }
}

/// Opens a ledger file at a path below the sink's root. A few lines of it are held in memory, and, where the sink has
/// nothing better, its packed bytes. Reading it may block.
pub async fn read_ledger(sink: &dyn Sink, path: &str) -> Result<LedgerReader, SinkError> {
    LedgerReader::over(sink.open(path).await?)
}

/// Reads an opened file from its start to its end.
struct FromStart {
    packed: Arc<dyn Opened>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.packed.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// The manifest of a scan; `None` where it has none: then it is under way, or its files are being changed.
pub async fn read_manifest(sink: &dyn Sink, scan: &ScanId) -> Result<Option<Manifest>, SinkError> {
    read_manifest_at(sink, &ResultPaths(scan).manifest()).await
}

pub(crate) async fn read_manifest_at(sink: &dyn Sink, path: &str) -> Result<Option<Manifest>, SinkError> {
    let bytes = match sink.read(path).await {
        Ok(bytes) => bytes,
        Err(SinkError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = |error| SinkError::Damaged(format!("{} is no manifest: {error}", sink.locate(path)));
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(broken)?;
    if manifest.format > FORMAT {
        return Err(SinkError::Refused(format!(
            "{} has the format {}, of a newer fleetscan: this one knows {FORMAT}",
            sink.locate(path),
            manifest.format
        )));
    }
    Ok(Some(manifest))
}
