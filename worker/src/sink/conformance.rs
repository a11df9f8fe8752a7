//! What every sink must do: each sentence of [`Sink`]'s documentation is a case.

use fleetscan_proto::{Sink, SinkError, Stored};
use std::collections::BTreeSet;

/// Makes a test of every case. `$made` makes something to keep until the test ends, and an empty sink.
macro_rules! sink_conformance {
    ($made:expr) => {
        $crate::sink::conformance::sink_conformance!(@cases $made,
            a_file_appears_whole_or_not_at_all
            what_was_there_is_replaced_at_the_commit
            an_opened_file_stays_what_it_was
            a_writer_dropped_without_a_commit_leaves_nothing
            a_file_may_be_empty_or_large
            only_the_files_below_a_folder_are_listed
            files_are_listed_with_their_sizes
            the_folders_of_the_root_are_named
            many_files_are_removed_at_once
            a_file_is_removed_once_and_again
            what_was_committed_is_never_swept
            what_is_not_there_is_refused
            paths_stay_below_the_root
            many_begin_files_in_one_new_folder
        );
    };
    (@cases $made:expr, $($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (_kept, sink) = $made;
            $crate::sink::conformance::$case(&sink).await;
        })*
    };
}
pub(crate) use sink_conformance;

async fn put(sink: &impl Sink, path: &str, bytes: &[u8]) {
    let mut writer = sink.create(path).await.expect("begins");
    writer.write(bytes.to_vec()).await.expect("writes");
    writer.commit().await.expect("commits");
}

async fn files(sink: &impl Sink, folder: &str) -> BTreeSet<String> {
    let listed = sink.list(folder).await.expect("lists");
    let files: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(files.len(), listed.len(), "each file once");
    files
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) async fn a_file_appears_whole_or_not_at_all(sink: &impl Sink) {
    let mut writer = sink.create("a/b/c.txt").await.expect("begins");
    writer.write(b"hello ".to_vec()).await.expect("writes");
    assert_eq!(files(sink, "a").await, names(&[]));
    assert!(sink.read("a/b/c.txt").await.is_err());
    writer.write(b"world".to_vec()).await.expect("writes");
    writer.commit().await.expect("commits");
    assert_eq!(sink.read("a/b/c.txt").await.expect("reads"), b"hello world");
    assert_eq!(files(sink, "a").await, names(&["a/b/c.txt"]));
}

pub(super) async fn what_was_there_is_replaced_at_the_commit(sink: &impl Sink) {
    put(sink, "a/file", b"a long first version").await;
    let mut writer = sink.create("a/file").await.expect("begins");
    writer.write(b"second".to_vec()).await.expect("writes");
    assert_eq!(sink.read("a/file").await.expect("reads"), b"a long first version");
    writer.commit().await.expect("commits");
    assert_eq!(sink.read("a/file").await.expect("reads"), b"second");
    assert_eq!(files(sink, "a").await, names(&["a/file"]));
}

pub(super) async fn an_opened_file_stays_what_it_was(sink: &impl Sink) {
    let whole: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    put(sink, "a/file", &whole).await;
    let opened = sink.open("a/file").await.expect("opens");
    put(sink, "a/file", b"another").await;
    sink.remove("a/file").await.expect("removes");
    for _ in 0..2 {
        let (mut read, mut piece) = (Vec::new(), vec![0; 70_001]);
        loop {
            match opened.read_at(&mut piece, read.len() as u64).expect("reads") {
                0 => break,
                length => read.extend_from_slice(&piece[..length]),
            }
        }
        assert!(read == whole);
    }
    assert!(matches!(sink.open("a/file").await, Err(SinkError::Missing(_))));
}

pub(super) async fn a_writer_dropped_without_a_commit_leaves_nothing(sink: &impl Sink) {
    put(sink, "a/kept", b"kept").await;
    for path in ["a/kept", "a/new"] {
        let mut writer = sink.create(path).await.expect("begins");
        writer.write(b"lost".to_vec()).await.expect("writes");
        drop(writer);
    }
    assert_eq!(files(sink, "a").await, names(&["a/kept"]));
    assert_eq!(sink.read("a/kept").await.expect("reads"), b"kept");
}

pub(super) async fn a_file_may_be_empty_or_large(sink: &impl Sink) {
    sink.create("a/empty").await.expect("begins").commit().await.expect("commits");
    assert_eq!(sink.read("a/empty").await.expect("reads"), b"");
    let mut writer = sink.create("a/large").await.expect("begins");
    let mut whole = Vec::new();
    for n in 0..=255_u8 {
        let piece = vec![n; 40_000];
        whole.extend_from_slice(&piece);
        writer.write(piece).await.expect("writes");
    }
    writer.commit().await.expect("commits");
    assert!(sink.read("a/large").await.expect("reads") == whole);
}

pub(super) async fn only_the_files_below_a_folder_are_listed(sink: &impl Sink) {
    for path in ["scan=1/records/a/x", "scan=1/manifest.json", "scan=10/manifest.json", "scan=1x"] {
        put(sink, path, b"x").await;
    }
    assert_eq!(files(sink, "scan=1").await, names(&["scan=1/records/a/x", "scan=1/manifest.json"]));
    assert_eq!(files(sink, "scan=1/records").await, names(&["scan=1/records/a/x"]));
    assert_eq!(files(sink, "scan=2").await, names(&[]), "a folder that is not there has none");
}

pub(super) async fn files_are_listed_with_their_sizes(sink: &impl Sink) {
    put(sink, "s/a/large", &[7; 4_321]).await;
    put(sink, "s/empty", b"").await;
    let mut found = sink.entries("s").await.expect("lists");
    found.sort();
    let expected = [("s/a/large", 4_321), ("s/empty", 0)];
    assert_eq!(found, expected.map(|(path, bytes)| Stored { path: path.to_owned(), bytes }));
    assert_eq!([sink.size("s").await.expect("a size"), sink.size("t").await.expect("a size")], [4_321, 0]);
}

pub(super) async fn the_folders_of_the_root_are_named(sink: &impl Sink) {
    assert_eq!(sink.folders().await.expect("named"), Vec::<String>::new());
    for path in ["scan=1/records/a/x", "scan=1/manifest.json", "scan=10/manifest.json", "file", "registry/copy"] {
        put(sink, path, b"x").await;
    }
    let mut found = sink.folders().await.expect("named");
    found.sort();
    assert_eq!(found, ["registry", "scan=1", "scan=10"]);
}

pub(super) async fn many_files_are_removed_at_once(sink: &impl Sink) {
    let paths: Vec<String> = (0..30).map(|n| format!("s/{}/{n}", n % 3)).collect();
    futures_util::future::join_all(paths.iter().map(|path| put(sink, path, b"x"))).await;
    put(sink, "s/kept", b"x").await;
    for _ in 0..2 {
        sink.remove_all(&paths).await.expect("removes");
        assert_eq!(files(sink, "s").await, names(&["s/kept"]));
    }
    sink.remove_all(&[]).await.expect("nothing to do");
    assert!(matches!(sink.remove_all(&["../x".to_owned()]).await, Err(SinkError::Refused(_))));
}

pub(super) async fn a_file_is_removed_once_and_again(sink: &impl Sink) {
    put(sink, "s/a/1", b"x").await;
    put(sink, "s/a/2", b"x").await;
    for _ in 0..2 {
        sink.remove("s/a/1").await.expect("removes");
        assert_eq!(files(sink, "s").await, names(&["s/a/2"]));
    }
    sink.remove("nowhere/at/all").await.expect("no error");
    sink.remove("s/a/2").await.expect("removes");
    assert_eq!(files(sink, "s").await, names(&[]));
}

pub(super) async fn what_was_committed_is_never_swept(sink: &impl Sink) {
    put(sink, "s/a/1", b"x").await;
    put(sink, "t/b/1", b"x").await;
    for folder in ["s", "s/a", "nowhere"] {
        sink.sweep(folder).await.expect("sweeps");
    }
    assert_eq!(files(sink, "s").await, names(&["s/a/1"]));
    assert_eq!(files(sink, "t").await, names(&["t/b/1"]));
}

pub(super) async fn what_is_not_there_is_refused(sink: &impl Sink) {
    put(sink, "s/a/1", b"x").await;
    for path in ["s/a/2", "s/b/1", "s/a"] {
        assert!(sink.read(path).await.is_err(), "{path}");
    }
    assert!(matches!(sink.read("s/a/2").await, Err(SinkError::Missing(_))), "trying again would not help");
}

pub(super) async fn paths_stay_below_the_root(sink: &impl Sink) {
    for path in ["../x", "/etc/passwd", "a/../../x", "a/..", "."] {
        assert!(matches!(sink.create(path).await, Err(SinkError::Refused(_))), "{path}");
        assert!(matches!(sink.read(path).await, Err(SinkError::Refused(_))), "{path}");
        assert!(matches!(sink.remove(path).await, Err(SinkError::Refused(_))), "{path}");
        assert!(matches!(sink.list(path).await, Err(SinkError::Refused(_))), "{path}");
        assert!(matches!(sink.sweep(path).await, Err(SinkError::Refused(_))), "{path}");
    }
}

pub(super) async fn many_begin_files_in_one_new_folder(sink: &impl Sink) {
    let mut writers = Vec::new();
    for n in 0..50 {
        let path = format!("s/new/folder/{n}");
        writers.push(async move { put(sink, &path, path.as_bytes()).await });
    }
    futures_util::future::join_all(writers).await;
    assert_eq!(files(sink, "s").await.len(), 50);
    assert_eq!(sink.read("s/new/folder/49").await.expect("reads"), b"s/new/folder/49");
}
