//! Pruning and purging, stopped at every change that they make.

use super::*;
use crate::{ledger_file::LedgerWriter, parts::read_part, plan::hex};
use async_trait::async_trait;
use fleetscan_backends::embedded::EmbeddedStore;
use fleetscan_proto::{AccountId, Cell, LedgerLine, ObjectWriter, PartName, SinkError, Stored, WorkTotals};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

type Files = BTreeMap<String, Vec<u8>>;

/// A sink in memory that is "killed" after so many changes.
#[derive(Clone, Default)]
pub(crate) struct Mortal {
    files: Arc<Mutex<Files>>,
    /// Changes left; `None`: it lives for ever.
    left: Arc<Mutex<Option<u64>>>,
}

impl Mortal {
    fn with(files: Files, left: Option<u64>) -> Self {
        Self { files: Arc::new(Mutex::new(files)), left: Arc::new(Mutex::new(left)) }
    }
    fn files(&self) -> Files {
        self.files.lock().expect("lock").clone()
    }
    fn change(&self, change: impl FnOnce(&mut Files)) -> Result<(), SinkError> {
        let mut left = self.left.lock().expect("lock");
        match *left {
            Some(0) => return Err(SinkError::Unavailable("killed".into())),
            Some(n) => *left = Some(n - 1),
            None => {}
        }
        change(&mut self.files.lock().expect("lock"));
        Ok(())
    }
}

#[async_trait]
impl Sink for Mortal {
    async fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
        Ok(Box::new(Writer { sink: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }
    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        self.files().get(path).cloned().ok_or_else(|| SinkError::Missing(path.to_owned()))
    }
    async fn entries(&self, folder: &str) -> Result<Vec<Stored>, SinkError> {
        let (files, prefix) = (self.files(), format!("{folder}/"));
        let below = files.into_iter().filter(|(path, _)| path.starts_with(&prefix));
        Ok(below.map(|(path, bytes)| Stored { path, bytes: bytes.len() as u64 }).collect())
    }
    async fn folders(&self) -> Result<Vec<String>, SinkError> {
        let names: BTreeSet<String> =
            self.files().keys().filter_map(|path| Some(path.split_once('/')?.0.to_owned())).collect();
        Ok(names.into_iter().collect())
    }
    async fn remove(&self, path: &str) -> Result<(), SinkError> {
        self.change(|files| drop(files.remove(path)))
    }
    async fn sweep(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }
    fn locate(&self, path: &str) -> String {
        path.to_owned()
    }
}

struct Writer {
    sink: Mortal,
    path: String,
    bytes: Vec<u8>,
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        self.bytes.extend(bytes);
        Ok(())
    }
    async fn commit(self: Box<Self>) -> Result<(), SinkError> {
        let Writer { sink, path, bytes } = *self;
        sink.change(|files| drop(files.insert(path, bytes)))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn id(scan: i64) -> ScanId {
    ScanId::new(at(scan * 86_400), 1)
}

fn account(n: u64) -> AccountId {
    format!("{:012}", 111_100_000_000 + n).parse().expect("an id")
}

/// A scan of these cells: account, service, outcome.
async fn put_scan(sink: &Mortal, scan: i64, cells: &[(u64, &str, Outcome)]) {
    let id = id(scan);
    let paths = ResultPaths(&id);
    let mut ledger = LedgerWriter::create(sink, &paths.ledger()).await.expect("begins");
    let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
        "format": 1, "scan": id, "fleetscan": "0", "catalogue": "c", "profile": "full", "started_at": at(scan),
        "finished_at": at(scan + 9), "complete": cells.iter().all(|(.., outcome)| !outcome.is_hole()), "accounts": 3,
        "regions_from": {}, "cells": {}, "records": {}, "totals": WorkTotals::default(), "share": 0.5,
    }))
    .expect("a manifest");
    for (number, (n, service, outcome)) in cells.iter().enumerate() {
        let cell = Cell::new(account(*n), "eu-west-1", *service);
        let mut parts = Vec::new();
        let records = if *outcome == Outcome::Denied { 0 } else { 1 + number as u64 % 2 };
        if records > 0 {
            let kind = format!("AWS::{service}::Thing");
            let text = format!("{{\"type\":\"{kind}\",\"account\":\"{}\",\"of\":{scan}}}\n", account(*n));
            let bytes = zstd::encode_all(text.repeat(records as usize).as_bytes(), 1).expect("packs");
            let part = PartName { name: "part-1-0000.jsonl.zst".into(), records, sha256: hex(&Sha256::digest(&bytes)) };
            sink.change(|files| drop(files.insert(paths.part(&cell, &part.name), bytes))).expect("written");
            *manifest.records.entry(kind).or_default() += records;
            parts.push(part);
        }
        *manifest.cells.entry(outcome.to_string()).or_default() += 1;
        let totals = WorkTotals { records, calls: 3, throttled: 0, seconds: 0.5 };
        manifest.totals.add(&totals);
        let (started_at, worker) = (Some(at(scan)), "w".to_owned());
        let line = LedgerLine {
            cell,
            outcome: *outcome,
            totals,
            denied: Vec::new(),
            error: None,
            started_at,
            attempts: 1,
            worker,
            parts,
            catalogue: None,
        };
        ledger.write(&line).await.expect("written");
    }
    ledger.commit().await.expect("written");
    let text = serde_json::to_vec(&manifest).expect("JSON");
    sink.change(|files| drop(files.insert(paths.manifest(), text))).expect("written");
}

/// Six scans of three accounts and two services, with holes here and there.
async fn six_scans() -> Files {
    use Outcome::{Complete, Denied, Failed, Partial};
    let sink = Mortal::default();
    let of = |outcomes: [Outcome; 6]| {
        let cells = [(1, "iam"), (1, "sns"), (2, "iam"), (2, "sns"), (3, "iam"), (3, "sns")];
        cells.into_iter().zip(outcomes).map(|((n, service), outcome)| (n, service, outcome)).collect::<Vec<_>>()
    };
    for (scan, outcomes) in [
        (0, [Complete; 6]),
        (1, [Complete, Complete, Denied, Complete, Partial, Complete]),
        (2, [Complete, Denied, Denied, Complete, Complete, Denied]),
        (3, [Complete, Denied, Failed, Partial, Complete, Denied]),
        (4, [Complete, Denied, Failed, Complete, Denied, Denied]),
        (5, [Complete, Partial, Denied, Complete, Denied, Denied]),
    ] {
        put_scan(&sink, scan, &of(outcomes)).await;
    }
    sink.files()
}

/// Of each cell, the newest scan that has it complete, as far as manifests vouch for scans.
async fn newest_complete(files: &Files) -> BTreeMap<Cell, ScanId> {
    let sink = Mortal::with(files.clone(), None);
    let mut newest = BTreeMap::new();
    for id in scans_in(&sink).await.expect("named") {
        if read_manifest(&sink, &id).await.expect("read").is_none() {
            continue;
        }
        for line in read_ledger(&sink, &ResultPaths(&id).ledger()).await.expect("read") {
            let line = line.expect("a line");
            if line.outcome == Outcome::Complete {
                newest.entry(line.cell).or_insert_with(|| id.clone());
            }
        }
    }
    newest
}

/// What must hold at any moment: a ledger lists no file that is gone, and a manifest says what the ledger has.
async fn check(files: &Files, moment: &str) {
    let sink = Mortal::with(files.clone(), None);
    for id in scans_in(&sink).await.expect("named") {
        let paths = ResultPaths(&id);
        let Ok(ledger) = read_ledger(&sink, &paths.ledger()).await else {
            assert!(!files.contains_key(&paths.manifest()), "{moment}: {id} has a manifest and no ledger");
            continue;
        };
        let (mut cells, mut records, mut listed) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new(), 0);
        for line in ledger {
            let line = line.expect("a line");
            *cells.entry(line.outcome.to_string()).or_default() += 1;
            for part in &line.parts {
                listed += 1;
                let bytes = files.get(&paths.part(&line.cell, &part.name));
                let bytes =
                    bytes.unwrap_or_else(|| panic!("{moment}: {id} lists a part of {} that is gone", line.cell));
                read_part(bytes, part, &mut |text| {
                    let kind = serde_json::from_str::<serde_json::Value>(text).expect("JSON")["type"].clone();
                    *records.entry(kind.as_str().expect("text").to_owned()).or_default() += 1;
                    Ok(())
                })
                .expect("sound");
            }
        }
        if let Some(manifest) = read_manifest(&sink, &id).await.expect("read") {
            assert_eq!((&manifest.cells, &manifest.records), (&cells, &records), "{moment}: {id}");
            let parts = sink.list(&paths.records()).await.expect("listed").len();
            assert_eq!(parts, listed, "{moment}: {id} has files that do not count");
        }
    }
}

fn store() -> (tempfile::TempDir, EmbeddedStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(folder.path()).expect("a store");
    (folder, store)
}

async fn pruned(sink: &Mortal, store: &EmbeddedStore) -> Result<(), ScanError> {
    prune(store, sink, "out", 2, at(9_999_999)).await
}

#[tokio::test]
async fn the_newest_scans_stay_whole_and_of_the_others_what_no_newer_one_read() {
    let before = six_scans().await;
    let (_folder, store) = store();
    let sink = Mortal::with(before.clone(), None);
    pruned(&sink, &store).await.expect("prunes");
    let after = sink.files();
    check(&after, "at the end").await;
    assert_eq!(newest_complete(&after).await, newest_complete(&before).await, "no last full reading was lost");
    let mut cells = BTreeMap::new();
    for scan in scans_in(&sink).await.expect("named") {
        let manifest = read_manifest(&sink, &scan).await.expect("read").expect("there");
        cells.insert(scan, (manifest.cells.values().sum::<u64>(), manifest.thinned.map(|thinned| thinned.of_cells)));
    }
    let kept = |scan, cells, of| (id(scan), (cells, of));
    let expected = [
        kept(5, 6, None),
        kept(4, 6, None),
        // Account 3's IAM; of 2 nothing that 3 or newer ones do not have; of 1 two SNS cells; of 0 account 2's IAM.
        kept(3, 1, Some(6)),
        kept(1, 2, Some(6)),
        kept(0, 1, Some(6)),
    ];
    assert_eq!(cells, expected.into_iter().collect::<BTreeMap<_, _>>());
    pruned(&sink, &store).await.expect("prunes");
    assert_eq!(sink.files(), after, "the second time, nothing changes");
}

#[tokio::test]
async fn pruning_may_be_killed_at_any_change_and_goes_on() {
    let before = six_scans().await;
    let (_folder, store) = store();
    let undisturbed = Mortal::with(before.clone(), None);
    pruned(&undisturbed, &store).await.expect("prunes");
    for changes in 0.. {
        let sink = Mortal::with(before.clone(), Some(changes));
        let survived = pruned(&sink, &store).await.is_ok();
        check(&sink.files(), &format!("after {changes} changes")).await;
        let again = Mortal::with(sink.files(), None);
        pruned(&again, &store).await.expect("goes on");
        assert_eq!(again.files(), undisturbed.files(), "killed after {changes} changes");
        if survived {
            assert!(changes > 20, "it was over before it could be killed");
            return;
        }
    }
}

#[tokio::test]
async fn purging_an_account_may_be_killed_at_any_change_and_leaves_nothing_of_it() {
    let before = six_scans().await;
    let (_folder, store) = store();
    let thinned = Mortal::with(before, None);
    pruned(&thinned, &store).await.expect("prunes");
    let (before, gone) = (thinned.files(), account(2));
    let undisturbed = Mortal::with(before.clone(), None);
    let purged = purge(&undisturbed, &gone).await.expect("purges");
    // Two cells in each whole scan, and the last of the oldest; that had nothing else and went as a whole.
    assert_eq!((purged.lines, purged.scans.len(), purged.parts, purged.unfinished.len()), (5, 3, 4, 0));
    assert!(scans_in(&undisturbed).await.expect("named").iter().all(|scan| *scan != id(0)));
    for changes in 0.. {
        let sink = Mortal::with(before.clone(), Some(changes));
        let survived = purge(&sink, &gone).await.is_ok();
        check(&sink.files(), &format!("after {changes} changes")).await;
        let again = Mortal::with(sink.files(), None);
        purge(&again, &gone).await.expect("goes on");
        for (path, bytes) in again.files() {
            let unpacked = if path.ends_with(".zst") { zstd::decode_all(&bytes[..]).expect("sound") } else { bytes };
            let text = String::from_utf8_lossy(&unpacked).into_owned();
            assert!(!path.contains(gone.as_str()) && !text.contains(gone.as_str()), "{path} after {changes} changes");
        }
        let others = |files: Files| files.into_keys().collect::<Vec<_>>();
        assert_eq!(others(again.files()), others(undisturbed.files()), "killed after {changes} changes");
        if survived {
            assert!(changes > 8, "it was over before it could be killed");
            return;
        }
    }
}

#[tokio::test]
async fn a_scan_that_is_under_way_is_left_alone() {
    let sink = Mortal::with(six_scans().await, None);
    let path = ResultPaths(&id(9)).part(&Cell::new(account(2), "eu-west-1", "sns"), "part-1-0000.jsonl.zst");
    sink.change(|files| drop(files.insert(path.clone(), vec![1]))).expect("written");
    let (_folder, store) = store();
    pruned(&sink, &store).await.expect("prunes");
    let purged = purge(&sink, &account(2)).await.expect("purges");
    assert_eq!(purged.unfinished, [id(9)]);
    assert!(sink.files().contains_key(&path));
    let purged = purge_scan(&sink, &id(9)).await.expect("purges");
    assert_eq!((purged.parts, purged.lines), (1, 0));
    assert!(!scans_in(&sink).await.expect("named").contains(&id(9)));
}

#[tokio::test]
async fn a_damaged_scan_is_left_as_it_is_and_keeps_nobody_from_the_others() {
    let before = six_scans().await;
    let (_folder, store) = store();
    let undisturbed = Mortal::with(before.clone(), None);
    pruned(&undisturbed, &store).await.expect("prunes");
    for (scan, path) in [(1, ResultPaths(&id(1)).ledger()), (1, ResultPaths(&id(1)).manifest())] {
        let sink = Mortal::with(before.clone(), None);
        let mut bytes = before[&path].clone();
        bytes.truncate(bytes.len() * 2 / 3);
        sink.change(|files| drop(files.insert(path.clone(), bytes))).expect("written");
        let of_it = |sink: &Mortal| {
            let root = format!("{}/", ResultPaths(&id(scan)).root());
            sink.files().into_iter().filter(|(path, _)| path.starts_with(&root)).collect::<Files>()
        };
        let damaged = of_it(&sink);
        pruned(&sink, &store).await.expect("prunes the others");
        assert_eq!(of_it(&sink), damaged, "{path}");
        let manifest = read_manifest(&sink, &id(3)).await.expect("read").expect("there");
        assert_eq!(manifest.thinned.map(|thinned| thinned.of_cells), Some(6), "{path}");

        let purged = purge(&sink, &account(2)).await.expect("purges the others");
        assert_eq!(purged.damaged.iter().map(|(scan, _)| scan.clone()).collect::<Vec<_>>(), [id(scan)], "{path}");
        assert!(purged.scans.contains(&id(5)) && of_it(&sink) == damaged, "{path}");
        purge_scan(&sink, &id(scan)).await.expect("goes as a whole");
        assert!(of_it(&sink).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_copies_of_the_registry_forget_a_purged_account() {
    let (keeps, goes) = (account(1), account(2));
    let registered = |id: &AccountId| serde_json::json!({ "id": id, "profile": "full", "catalogue": "c", "added_at": at(0), "grant": null, "version": 1 });
    let copy = serde_json::json!({ "format": 1, "at": at(0), "accounts": [registered(&keeps), registered(&goes)] });
    let path = "registry/accounts-20260101T000000Z.json".to_owned();
    let sink = Mortal::with([(path.clone(), copy.to_string().into_bytes())].into_iter().collect(), None);
    assert_eq!(purge(&sink, &goes).await.expect("purges").copies, 1);
    let text = String::from_utf8(sink.files()[&path].clone()).expect("text");
    assert!(text.contains(keeps.as_str()) && !text.contains(goes.as_str()));
}
