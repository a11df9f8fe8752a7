use super::*;
use crate::extract::{
    ask::Refusal,
    history::reading::{EventPage, Terms},
};
use fleetscan_proto::{
    ScanId,
    activity::{Deed, Principal},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    time::Duration,
};

/// 2026-01-20T12:00:00Z.
const NOW: i64 = 1_768_910_400;
const LATE: i64 = 900;
const HOUR: i64 = 3_600;
const WINDOW: Span = Span { from: NOW - 10 * DAY, to: NOW };

/// A bucket in which a file was delivered at each of these seconds, that tells of one who acted five minutes earlier.
#[derive(Default)]
struct Files {
    stamps: Vec<i64>,
    damaged: BTreeSet<i64>,
    denied: bool,
    read: RefCell<Vec<i64>>,
    memory: RefCell<Activity>,
    /// Halts once so many files were read.
    halts_at: Option<usize>,
    /// Seconds that a file takes.
    takes: u64,
    now: Cell<i64>,
}

impl Files {
    fn new(stamps: impl IntoIterator<Item = i64>) -> Self {
        let mut stamps: Vec<i64> = stamps.into_iter().collect();
        stamps.sort_unstable();
        Self { stamps, now: Cell::new(NOW), ..Self::default() }
    }

    async fn scan(&self, limit: u64) -> Result<(Unread, Vec<Span>), Halt> {
        let scan: ScanId = "scan-1".parse().expect("an id");
        let window = Span::new(self.now.get() - 10 * DAY, self.now.get());
        let terms = Terms { scan: &scan, limit: Duration::from_secs(limit), window, late: LATE };
        let known = self.memory.borrow().clone();
        let mut reading = Reading::new(terms, known);
        let unread = reading.archive(self, self).await?;
        Ok((unread, reading.lacking()))
    }

    async fn all(&self) -> Vec<Span> {
        self.scan(100_000).await.expect("no halt").1
    }

    fn spans(&self) -> Vec<Span> {
        self.memory.borrow().read.spans().to_vec()
    }

    fn count(&self) -> usize {
        self.read.borrow_mut().drain(..).count()
    }
}

impl LogFiles for Files {
    async fn folders(&self) -> Result<Result<Vec<Folder>, Trouble>, Halt> {
        if self.denied {
            return Ok(Err(Trouble::All("s3:ListBucket is denied".into())));
        }
        let since = self.stamps.first().map(|first| first.div_euclid(DAY) * DAY);
        Ok(Ok(since.into_iter().map(|since| Folder { prefix: "f/".into(), since }).collect()))
    }
    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Vec<LogKey>, Trouble>, Halt> {
        assert!(from >= folder.since, "nothing is asked of days before the first");
        let of_day =
            |stamp: &&i64| **stamp >= from.div_euclid(60) * 60 && stamp.div_euclid(DAY) == from.div_euclid(DAY);
        let file = |stamp: &i64| LogKey { key: format!("f/{stamp}"), stamp: *stamp };
        Ok(Ok(self.stamps.iter().filter(of_day).map(file).collect()))
    }
    async fn read(&self, file: &LogKey) -> Result<Result<Activity, Trouble>, Halt> {
        tokio::time::sleep(Duration::from_secs(self.takes)).await;
        self.read.borrow_mut().push(file.stamp);
        if self.damaged.contains(&file.stamp) {
            return Ok(Err(Trouble::File("it breaks off".into())));
        }
        let mut activity = Activity::default();
        let last = Deed { at: file.stamp - 300, event: "Do".into(), source: "x".into() };
        for id in [format!("one-{}", file.stamp), "ann".into(), "own".into()] {
            let principal = Principal { kind: "IAMUser".into(), last: last.clone(), keys: [].into() };
            activity.note(&id, principal);
        }
        Ok(Ok(activity))
    }
}

impl Source for Files {
    async fn page(&self, _: Span, _: Option<&str>) -> Result<Result<EventPage, Refusal>, Halt> {
        unreachable!("nothing is looked up here")
    }
    async fn remember(&self, news: Activity) -> Result<Activity, Halt> {
        self.memory.borrow_mut().merge(&news);
        Ok(self.memory.borrow().clone())
    }
    fn now(&self) -> i64 {
        self.now.get()
    }
    fn is_own(&self, principal: &str) -> bool {
        principal == "own"
    }
    fn must_halt(&self) -> bool {
        self.halts_at.is_some_and(|most| self.read.borrow().len() >= most)
    }
}

fn hourly(from: i64, to: i64) -> impl Iterator<Item = i64> {
    (0..).map(move |n| from + n * HOUR).take_while(move |at| *at <= to)
}

#[tokio::test]
async fn from_the_first_file_to_the_newest_all_is_read_and_the_newest_deed_counts() {
    let first = NOW - 3 * DAY;
    let files = Files::new(hourly(first, NOW - HOUR));
    assert_eq!(files.all().await, [Span::new(NOW - HOUR + 60, NOW), Span::new(WINDOW.from, first - 1)]);
    assert_eq!(files.spans(), [Span::new(first, NOW - HOUR + 59)]);
    let memory = files.memory.borrow();
    assert_eq!(memory.principals["ann"].last.at, NOW - HOUR - 300);
    assert_eq!(memory.principals.len(), 3 * 24 + 1, "one of each file, and ann; the own role is not among them");
}

#[tokio::test]
async fn a_second_scan_reads_only_new_files() {
    let mut files = Files::new(hourly(NOW - 3 * DAY, NOW - HOUR));
    files.all().await;
    assert_eq!(files.count(), 3 * 24);
    files.all().await;
    assert_eq!(files.count(), 0, "what is lacking has no files");
    files.now.set(NOW + 5 * HOUR);
    files.stamps.extend(hourly(NOW, NOW + 4 * HOUR));
    files.all().await;
    assert_eq!(files.count(), 5);
    assert_eq!(files.spans(), [Span::new(NOW - 3 * DAY, NOW + 4 * HOUR + 59)]);
}

#[tokio::test]
async fn the_last_minutes_are_not_taken_as_read() {
    let files = Files::new(hourly(NOW - DAY, NOW).chain([NOW - 60]));
    files.all().await;
    assert_eq!(files.spans(), [Span::new(NOW - DAY, NOW - LATE)]);
}

#[tokio::test]
async fn a_stretch_in_which_the_trail_may_have_been_off_is_left() {
    let (off, on) = (NOW - 2 * DAY, NOW - 2 * DAY + 7 * HOUR);
    let files = Files::new(hourly(NOW - 3 * DAY, off).chain(hourly(on, NOW - HOUR)));
    let lacking = files.all().await;
    assert_eq!(lacking[1], Span::new(off + 60, on - 1));
    files.count();
    files.all().await;
    assert_eq!(files.count(), 0, "no file closes what is lacking");
}

#[tokio::test]
async fn a_gap_between_what_was_looked_up_is_closed_only_where_the_trail_was_on() {
    let known = |spans: &[(i64, i64)]| {
        let mut known = Activity::default();
        spans.iter().for_each(|(from, to)| known.read.add(Span::new(*from, *to)));
        RefCell::new(known)
    };
    let spans = [(WINDOW.from, NOW - 5 * HOUR - 1), (NOW - 2 * HOUR, NOW)];
    // The trail was switched on within the gap: what came before the first file is not known.
    let files = Files { memory: known(&spans), ..Files::new([NOW - 4 * HOUR, NOW - 3 * HOUR, NOW - HOUR]) };
    assert_eq!(files.all().await, [Span::new(NOW - 5 * HOUR, NOW - 4 * HOUR - 1)]);
    assert_eq!(files.count(), 2, "what is known needs no file");
    let files = Files { memory: known(&spans), ..Files::new(hourly(NOW - 9 * HOUR, NOW - HOUR)) };
    assert_eq!(files.all().await, []);
}

#[tokio::test]
async fn a_damaged_file_leaves_the_time_that_it_tells_of() {
    let damaged = NOW - 5 * HOUR;
    let files = Files { damaged: [damaged].into(), ..Files::new(hourly(NOW - DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(1_000).await.expect("no halt");
    assert_eq!(lacking[1], Span::new(damaged - LATE, damaged + 59));
    assert_eq!((unread.files, unread.left), (1, None));
    assert_eq!(unread.newest, Some((damaged.to_string(), "it breaks off".into())));
}

#[tokio::test]
async fn two_files_of_a_minute_are_both_read_before_it_counts() {
    let twice = NOW - 5 * HOUR;
    let stamps = || hourly(NOW - DAY, NOW - HOUR).chain([twice]);
    let files = Files { damaged: [twice].into(), ..Files::new(stamps()) };
    let (unread, lacking) = files.scan(1_000).await.expect("no halt");
    assert_eq!((unread.files, lacking[1]), (2, Span::new(twice - LATE, twice + 59)));
    let files = Files::new(stamps());
    assert_eq!(files.all().await.len(), 2);
}

#[tokio::test]
async fn what_was_read_before_a_halt_is_remembered() {
    let mut files = Files { halts_at: Some(30), ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    assert!(matches!(files.scan(1_000).await, Err(Halt::Yield)));
    let before = files.count();
    assert!((30..30 + FILES_AT_ONCE).contains(&before), "{before}");
    files.halts_at = None;
    files.all().await;
    // Those under way at the halt are read again.
    assert!((72..=72 + 2 * FILES_AT_ONCE).contains(&(before + files.count())));
    assert_eq!(files.spans().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_the_newest_is_what_was_read() {
    let files = Files { takes: 10, ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(25).await.expect("no halt");
    assert_eq!(unread, Unread::default());
    // Eight at once, and then the other four of the day.
    assert_eq!(files.count(), 12);
    assert_eq!(files.spans(), [Span::new(NOW - 12 * HOUR, NOW - HOUR + 59)]);
    assert_eq!(lacking.last().copied(), Some(Span::new(WINDOW.from, NOW - 12 * HOUR - 1)));
}

#[tokio::test]
async fn small_gaps_and_denied_buckets_are_left_to_be_looked_up() {
    let files = Files { denied: true, ..Files::new([NOW - HOUR]) };
    let (unread, lacking) = files.scan(1_000).await.expect("no halt");
    assert_eq!((unread.left.as_deref(), lacking), (Some("s3:ListBucket is denied"), vec![WINDOW]));
    let files = Files::new(hourly(NOW - DAY, NOW));
    files.memory.borrow_mut().read.add(Span::new(WINDOW.from, NOW - HOUR + 1));
    files.all().await;
    assert_eq!(files.count(), 0);
}
