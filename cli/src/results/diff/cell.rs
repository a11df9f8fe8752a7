//! The records of one cell in both scans, joined by what identifies a resource.

use crate::{failure::Failure, out::Out};
use fleetscan_coordinator::{PartError, read_part};
use fleetscan_proto::{LedgerLine, Record, ResultPaths, ScanId, SinkError};
use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _},
};

/// A cell is spread over temporary files where either side has more records than `records`, or the first side more text
/// than `bytes`. In memory, records take some ten times their text.
#[derive(Clone, Copy)]
pub struct Room {
    records: u64,
    bytes: usize,
}

const ROOM: Room = Room { records: 50_000, bytes: 32 * 1024 * 1024 };
/// Files that a cell is spread over, on each side: enough for fifty times what has room, and both sides' fewer than a
/// process may have open (256 on some systems).
const BUCKETS: u64 = 64;
/// What each of them gathers before it writes.
const GATHER: usize = 32 * 1024;

/// A resource's two readings; one is missing where that scan has none.
pub type Visit<'a> = &'a mut dyn FnMut(Option<&Record>, Option<&Record>) -> Result<(), Failure>;
type Key = (String, String, String);

/// One scan's reading of a cell.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub scan: &'a ScanId,
    pub line: Option<&'a LedgerLine>,
}

impl Side<'_> {
    fn records(&self) -> u64 {
        self.line.map_or(0, |line| line.parts.iter().map(|part| part.records).sum())
    }

    /// Hands each line of the parts that count to `each`, after checking the part.
    async fn read(&self, out: &Out, each: &mut dyn FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some(line) = self.line else { return Ok(()) };
        for part in &line.parts {
            let path = ResultPaths(self.scan).part(&line.cell, &part.name);
            let place = out.sink.locate(&path);
            let bytes = match out.sink.read(&path).await {
                Ok(bytes) => bytes,
                Err(SinkError::Missing(_)) => {
                    return Err(Failure::failed(format!(
                        "{place} is listed in the ledger, and is not there: if the scan was pruned meanwhile, compare again"
                    )));
                }
                Err(error) => return Err(error.into()),
            };
            let mut failure = None;
            let read = read_part(&bytes, part, &mut |text| {
                each(text).map_err(|error| {
                    let said = PartError(error.message().to_owned());
                    failure = Some(error);
                    said
                })
            });
            match (failure, read) {
                (Some(failure), _) => return Err(Failure::failed(format!("{place}: {}", failure.message()))),
                (None, Err(error)) => return Err(Failure::failed(format!("{place}: {error}; scan again"))),
                (None, Ok(())) => {}
            }
        }
        Ok(())
    }
}

/// Joins a cell's records. Memory holds one side of a small cell, or one bucket of a large one.
pub async fn join(out: &Out, a: Side<'_>, b: Side<'_>, room: Option<Room>, visit: Visit<'_>) -> Result<(), Failure> {
    let room = room.unwrap_or(ROOM);
    let mut first = match a.records().max(b.records()) > room.records {
        true => First::Spread(Buckets::create()?),
        false => First::Held(Before::default()),
    };
    a.read(out, &mut |text| first.add(text, room)).await?;
    let left = match first {
        First::Held(mut before) => {
            b.read(out, &mut |text| before.meet(text, visit)).await?;
            return before.rest(visit);
        }
        First::Spread(left) => left,
    };
    let mut right = Buckets::create()?;
    b.read(out, &mut |text| right.add(text)).await?;
    for (left, right) in left.finish()?.into_iter().zip(right.finish()?) {
        let mut before = Before::default();
        for line in BufReader::new(left).lines() {
            before.add(&line?)?;
        }
        for line in BufReader::new(right).lines() {
            before.meet(&line?, visit)?;
        }
        before.rest(visit)?;
    }
    Ok(())
}

/// The first side: in memory as long as there is room.
enum First {
    Held(Before),
    Spread(Buckets),
}

impl First {
    fn add(&mut self, text: &str, room: Room) -> Result<(), Failure> {
        match self {
            First::Spread(buckets) => return buckets.add(text),
            First::Held(before) => before.add(text)?,
        }
        if let First::Held(before) = self
            && before.bytes > room.bytes
        {
            let mut buckets = Buckets::create()?;
            for record in std::mem::take(before).records.into_values().flatten() {
                buckets.add(&serde_json::to_string(&record).map_err(Failure::failed)?)?;
            }
            *self = First::Spread(buckets);
        }
        Ok(())
    }
}

/// Those of the first scan's records that the second was not seen to have. AWS may list one thing twice: then there are
/// several of one key.
#[derive(Default)]
struct Before {
    records: HashMap<Key, Vec<Record>>,
    bytes: usize,
}

impl Before {
    fn add(&mut self, text: &str) -> Result<(), Failure> {
        let record = parse(text)?;
        self.bytes += text.len();
        self.records.entry(key(&record)).or_default().push(record);
        Ok(())
    }

    fn meet(&mut self, text: &str, visit: Visit<'_>) -> Result<(), Failure> {
        let after = parse(text)?;
        let Entry::Occupied(mut found) = self.records.entry(key(&after)) else { return visit(None, Some(&after)) };
        let those = found.get_mut();
        let same = |before: &Record| before.properties == after.properties && before.tags == after.tags;
        let before = those.swap_remove(those.iter().position(same).unwrap_or_default());
        if those.is_empty() {
            found.remove();
        }
        visit(Some(&before), Some(&after))
    }

    fn rest(self, visit: Visit<'_>) -> Result<(), Failure> {
        let mut rest: Vec<(Key, Vec<Record>)> = self.records.into_iter().collect();
        rest.sort_by(|(a, _), (b, _)| a.cmp(b));
        rest.iter().flat_map(|(_, records)| records).try_for_each(|record| visit(Some(record), None))
    }
}

/// A side's lines, spread over files by the hash of what identifies them. The files have no names, and go with us.
struct Buckets(Vec<BufWriter<File>>);

impl Buckets {
    fn create() -> Result<Self, Failure> {
        let create = |_| tempfile::tempfile().map(|file| BufWriter::with_capacity(GATHER, file));
        let files = (0..BUCKETS).map(create).collect::<Result<_, _>>();
        files.map(Self).map_err(|e| {
            Failure::failed(format!("no temporary file can be made for a large cell: {e}; TMPDIR names another place"))
        })
    }

    fn add(&mut self, text: &str) -> Result<(), Failure> {
        let key = key(&parse(text)?);
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let count = self.0.len() as u64;
        let at = usize::try_from(hasher.finish() % count).map_err(Failure::failed)?;
        if let Some(file) = self.0.get_mut(at) {
            writeln!(file, "{text}")?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<File>, Failure> {
        let finish = |writer: BufWriter<File>| {
            let mut file = writer.into_inner().map_err(|e| Failure::failed(e.error()))?;
            file.rewind()?;
            Ok(file)
        };
        self.0.into_iter().map(finish).collect()
    }
}

fn parse(text: &str) -> Result<Record, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::failed(format!("a line is not a record: {error}")))
}

fn key(record: &Record) -> Key {
    (record.kind.clone(), record.region.clone(), record.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_worker::sink::{FileSink, RecordWriter};
    use std::{collections::BTreeSet, path::Path, sync::Arc};

    fn record(id: u32, size: u32) -> Record {
        serde_json::from_value(serde_json::json!({
            "account": "111122223333", "region": "eu-west-1", "service": "lambda", "type": "AWS::Lambda::Function",
            "id": format!("f-{id}"), "tags": {}, "collected_at": "2026-01-01T00:00:00Z", "properties": {"Size": size},
        }))
        .expect("a record")
    }

    async fn write(out: &Out, scan: &ScanId, records: impl Iterator<Item = Record>) -> LedgerLine {
        let mut line: LedgerLine = serde_json::from_value(serde_json::json!({
            "account": "111122223333", "region": "eu-west-1", "service": "lambda", "outcome": "complete", "calls": 1,
            "throttled": 0, "records": 0, "seconds": 1.0, "denied": [], "started_at": null, "attempts": 1, "worker": "w",
            "parts": [],
        }))
        .expect("a line");
        let folder = ResultPaths(scan).cell(&line.cell);
        let mut writer = RecordWriter::new(Arc::clone(&out.sink), folder, "part-1-0000.jsonl.zst".into());
        for record in records {
            writer.write(&record).await.expect("writes");
        }
        line.parts.extend(writer.finish().await.expect("finishes").map(|written| written.part));
        line
    }

    fn out(folder: &Path) -> Out {
        Out { name: String::new(), sink: Arc::new(FileSink::open(folder).expect("writable")) }
    }

    #[tokio::test]
    async fn a_giant_cell_is_joined_as_a_small_one_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = out(folder.path());
        let scans: [ScanId; 2] = ["20260101T000000Z-a", "20260102T000000Z-b"].map(|id| id.parse().expect("an id"));
        let a = write(&out, &scans[0], (0..500).map(|n| record(n, 1))).await;
        let b = write(&out, &scans[1], (100..600).rev().map(|n| record(n, 1 + u32::from(n == 300)))).await;
        let few_records = Room { records: 7, ..ROOM };
        let little_text = Room { bytes: 4_000, ..ROOM };
        for room in [None, Some(few_records), Some(little_text)] {
            let (mut removed, mut added, mut both, mut changed) = (BTreeSet::new(), 0, 0, Vec::new());
            let sides = (Side { scan: &scans[0], line: Some(&a) }, Side { scan: &scans[1], line: Some(&b) });
            join(&out, sides.0, sides.1, room, &mut |before, after| {
                match (before, after) {
                    (Some(before), Some(after)) => {
                        both += 1;
                        changed.extend((before.properties != after.properties).then(|| after.id.clone()));
                    }
                    (Some(before), None) => assert!(removed.insert(before.id.clone())),
                    _ => added += 1,
                }
                Ok(())
            })
            .await
            .expect("joins");
            assert_eq!((removed.len(), added, both, changed), (100, 100, 400, vec!["f-300".to_owned()]));
        }
    }

    #[tokio::test]
    async fn what_is_listed_twice_is_compared_twice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = out(folder.path());
        let scans: [ScanId; 2] = ["20260101T000000Z-a", "20260102T000000Z-b"].map(|id| id.parse().expect("an id"));
        let a = write(&out, &scans[0], [record(1, 1), record(1, 2), record(2, 1), record(2, 1)].into_iter()).await;
        let b = write(&out, &scans[1], [record(1, 1), record(1, 2), record(2, 1), record(3, 1)].into_iter()).await;
        let sides = (Side { scan: &scans[0], line: Some(&a) }, Side { scan: &scans[1], line: Some(&b) });
        let mut seen = Vec::new();
        join(&out, sides.0, sides.1, None, &mut |before, after| {
            let of = |record: Option<&Record>| record.map(|r| (r.id.clone(), r.properties["Size"].as_u64()));
            seen.push((of(before), of(after)));
            Ok(())
        })
        .await
        .expect("joins");
        let it = |id: &str, size: u64| Some((id.to_owned(), Some(size)));
        let expected = [
            (it("f-1", 1), it("f-1", 1)),
            (it("f-1", 2), it("f-1", 2)),
            (it("f-2", 1), it("f-2", 1)),
            (None, it("f-3", 1)),
            (it("f-2", 1), None),
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_part_that_is_not_the_ledgers_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = out(folder.path());
        let scan: ScanId = "20260101T000000Z-a".parse().expect("an id");
        let mut line = write(&out, &scan, (0..3).map(|n| record(n, 1))).await;
        line.parts[0].sha256 = "0".repeat(64);
        let side = Side { scan: &scan, line: Some(&line) };
        let error = join(&out, side, side, None, &mut |_, _| Ok(())).await.expect_err("the digest is another");
        assert!(error.message().contains("SHA-256"), "{}", error.message());
    }
}
