use crate::plan::hex;
use fleetscan_proto::{PartName, Sink, SinkError};
use sha2::{Digest as _, Sha256};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    time::Duration,
};

/// The longest line that is read: no record is larger, and a damaged file might claim to be.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// A part that is not what the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PartError(pub String);

/// Why a part was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartTrouble {
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// It is not what the ledger says.
    #[error("{0}")]
    Damaged(String),
    /// The results could not be read: that says nothing of the part.
    #[error("{0}")]
    Unread(SinkError),
}

/// How often a part is asked for while its results cannot be reached.
const READS: u32 = 5;
/// How long to wait before asking a second time; twice as long each time after that.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A part's bytes. Results that are away for a moment are waited for.
pub(crate) async fn fetch_part(sink: &dyn Sink, path: &str) -> Result<Vec<u8>, PartTrouble> {
    let mut wait = READ_AGAIN;
    for _ in 1..READS {
        match sink.read(path).await {
            Err(SinkError::Unavailable(reason)) => {
                tracing::debug!(path, reason, "part.read_again");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            other => return other.map_err(unread),
        }
    }
    sink.read(path).await.map_err(unread)
}

fn unread(error: SinkError) -> PartTrouble {
    match error {
        SinkError::Missing(what) => PartTrouble::Missing(what),
        error => PartTrouble::Unread(error),
    }
}

/// Checks a part's bytes against its ledger entry and hands each line (one record as JSON) to `each`.
pub fn read_part(
    bytes: &[u8],
    part: &PartName,
    each: &mut dyn FnMut(&str) -> Result<(), PartError>,
) -> Result<(), PartError> {
    if hex(&Sha256::digest(bytes)) != part.sha256 {
        return Err(PartError("its SHA-256 is not the one in the ledger".to_owned()));
    }
    let broken = |error: std::io::Error| PartError(format!("it cannot be unpacked: {error}"));
    let mut lines = BufReader::new(zstd::Decoder::new(bytes).map_err(broken)?);
    let (mut line, mut count) = (String::new(), 0_u64);
    loop {
        line.clear();
        if (&mut lines).take(LONGEST_LINE).read_line(&mut line).map_err(broken)? == 0 {
            break;
        }
        count += 1;
        each(line.trim_end())?;
    }
    if count == part.records {
        Ok(())
    } else {
        Err(PartError(format!("it has {count} records, the ledger says {}", part.records)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> (Vec<u8>, PartName) {
        let bytes = zstd::encode_all(text.as_bytes(), 1).expect("packs");
        let sha256 = hex(&Sha256::digest(&bytes));
        (bytes, PartName { name: "part-x-0000.jsonl.zst".into(), records: 2, sha256 })
    }

    #[test]
    fn a_sound_part_is_read_line_by_line() {
        let (bytes, name) = part("{\"a\":1}\n{\"a\":2}\n");
        let mut lines = Vec::new();
        read_part(&bytes, &name, &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .expect("sound");
        assert_eq!(lines, ["{\"a\":1}", "{\"a\":2}"]);
    }

    #[test]
    fn a_changed_or_short_part_is_an_error() {
        let (mut bytes, name) = part("{}\n{}\n");
        let fewer = PartName { records: 3, ..name.clone() };
        assert!(read_part(&bytes, &fewer, &mut |_| Ok(())).is_err());
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(read_part(&bytes, &name, &mut |_| Ok(())).is_err());
    }
}
