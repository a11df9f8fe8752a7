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
    damaged: BTreeSet<String>,
    /// Since when the trail is known to record everything.
    proven: Option<i64>,
    /// Seconds of whose files one tells that the trail was changed then.
    changed: Vec<i64>,
    /// Names that are none, by second.
    strange: Vec<i64>,
    archived: bool,
    unsorted: bool,
    denied: bool,
    read: RefCell<Vec<i64>>,
    memory: RefCell<Activity>,
    /// Halts once so many files were read.
    halts_at: Option<usize>,
    /// Halts at this question whether to.
    halts_when_asked: Option<usize>,
    asked: Cell<usize>,
    /// Seconds that a file takes.
    takes: u64,
    now: Cell<i64>,
}

impl Files {
    fn new(stamps: impl IntoIterator<Item = i64>) -> Self {
        let mut stamps: Vec<i64> = stamps.into_iter().collect();
        stamps.sort_unstable();
        Self { stamps, now: Cell::new(NOW), proven: Some(0), ..Self::default() }
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
    async fn folders(&self) -> Result<Result<Folders, Trouble>, Halt> {
        if self.denied {
            return Ok(Err(Trouble::All("s3:ListBucket is denied".into())));
        }
        let since = self.stamps.first().map(|first| first.div_euclid(DAY) * DAY);
        let folder = |since| Folder { prefix: "f/".into(), since, proven: self.proven };
        Ok(Ok(Folders { folders: since.into_iter().map(folder).collect(), note: None }))
    }
    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Listing, Trouble>, Halt> {
        assert!(from >= folder.since, "nothing is asked of days before the first");
        let of_day =
            |stamp: &&i64| **stamp >= from.div_euclid(60) * 60 && stamp.div_euclid(DAY) == from.div_euclid(DAY);
        let mut files: Vec<LogKey> = Vec::new();
        for stamp in self.stamps.iter().filter(of_day) {
            let nth = files.iter().filter(|file| file.stamp == *stamp).count();
            files.push(LogKey { key: format!("f/{stamp}-{nth}"), stamp: *stamp });
        }
        if self.unsorted {
            files.rotate_left(1);
        }
        let strange = self.strange.iter().filter(of_day).map(|stamp| format!("strange-{stamp}")).collect();
        Ok(Ok(Listing { files, strange }))
    }
    async fn read(&self, file: &LogKey) -> Result<Result<Activity, Trouble>, Halt> {
        tokio::time::sleep(Duration::from_secs(self.takes)).await;
        self.read.borrow_mut().push(file.stamp);
        if self.archived {
            return Ok(Err(Trouble::Folder("it is archived".into())));
        }
        if self.damaged.contains(file.name()) {
            return Ok(Err(Trouble::File("it breaks off".into())));
        }
        let mut activity = Activity::default();
        let told = |at: &&i64| (file.stamp - HOUR..file.stamp).contains(*at);
        self.changed.iter().filter(told).for_each(|at| activity.note_trail_changed(*at));
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
        self.asked.set(self.asked.get() + 1);
        self.halts_when_asked == Some(self.asked.get())
            || self.halts_at.is_some_and(|most| self.read.borrow().len() >= most)
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
    let files = Files { memory: known(&spans), ..Files::new([NOW - 4 * HOUR, NOW - 3 * HOUR, NOW - 2 * HOUR]) };
    assert_eq!(files.all().await, [Span::new(NOW - 5 * HOUR, NOW - 4 * HOUR - 1)]);
    assert_eq!(files.count(), 3, "what is known needs no file");
    let files = Files { memory: known(&spans), ..Files::new(hourly(NOW - 9 * HOUR, NOW - HOUR)) };
    assert_eq!(files.all().await, []);
}

#[tokio::test]
async fn a_damaged_file_leaves_the_time_that_it_tells_of() {
    let damaged = NOW - 5 * HOUR;
    let files = Files { damaged: [format!("{damaged}-0")].into(), ..Files::new(hourly(NOW - DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(1_000).await.expect("no halt");
    assert_eq!(lacking[1], Span::new(damaged - LATE, damaged + 59));
    assert_eq!((unread.files, unread.left), (1, None));
    assert_eq!(unread.newest, Some((format!("{damaged}-0"), "it breaks off".into())));
}

#[tokio::test]
async fn two_files_of_a_minute_are_both_read_before_it_counts() {
    let twice = NOW - 5 * HOUR;
    let told = Span::new(twice - LATE, twice + 59);
    let files = || Files::new(hourly(NOW - DAY, NOW - HOUR).chain([twice]));
    assert_eq!(files().all().await.len(), 2);
    // The one of them that is read first is good, and the other damaged, or the other way round. Wherever it is halted,
    // between the two as well, what the damaged one would tell of does not count.
    for damaged in [0, 1] {
        let damaged = || [format!("{twice}-{damaged}")].into();
        let mut halts = 0;
        let (unread, lacking) = loop {
            halts += 1;
            let files = Files { damaged: damaged(), halts_when_asked: Some(halts), ..files() };
            let scanned = files.scan(1_000).await;
            assert_eq!(files.memory.borrow().read.gaps(told), [told], "halted at {halts}");
            if let Ok(scanned) = scanned {
                break scanned;
            }
        };
        assert!(halts > 24, "there were files to halt between: {halts}");
        assert_eq!((unread.files, lacking[1]), (1, told));
    }
}

#[tokio::test]
async fn files_of_a_trail_that_may_record_less_tell_of_principals_and_close_nothing() {
    let files = Files { proven: None, ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(100_000).await.expect("no halt");
    assert_eq!((unread.unproven, lacking), (true, vec![WINDOW]));
    assert_eq!((files.spans(), files.count()), (vec![], 3 * 24));
    assert_eq!(files.memory.borrow().principals["ann"].last.at, NOW - HOUR - 300);
}

#[tokio::test(start_paused = true)]
async fn what_closes_nothing_is_read_in_a_part_of_the_time_alone() {
    let files = Files { proven: None, takes: 10, ..Files::new(hourly(NOW - 9 * DAY, NOW - HOUR)) };
    let began = Instant::now();
    files.scan(100).await.expect("no halt");
    assert_eq!(began.elapsed(), Duration::from_secs(25));
}

#[tokio::test]
async fn nothing_counts_from_before_the_trail_was_on() {
    let on = NOW - DAY - 600;
    let files = Files { proven: Some(on), ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    files.all().await;
    assert_eq!(files.spans(), [Span::new(on, NOW - HOUR + 59)]);
}

#[tokio::test]
async fn nothing_counts_from_before_a_trail_was_changed() {
    let changed = NOW - DAY - 600;
    let files = Files { changed: vec![changed], ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    files.all().await;
    assert_eq!(files.spans(), [Span::new(changed + 1, NOW - HOUR + 59)]);
    assert_eq!(files.memory.borrow().trail_changed, Some(changed));
    // It is remembered: an older gap is not closed by the next scan either, which does not see that file.
    let before = files.spans();
    files.all().await;
    assert_eq!(files.spans(), before);
}

#[tokio::test]
async fn a_day_with_names_that_are_none_is_left() {
    let day = (NOW - 2 * DAY).div_euclid(DAY) * DAY;
    let files = Files { strange: vec![day + HOUR], ..Files::new(hourly(NOW - 5 * DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(100_000).await.expect("no halt");
    assert_eq!(lacking[1], Span::new(day - LATE, day + DAY - 1));
    assert_eq!((unread.files, unread.newest.map(|(name, _)| name)), (1, Some(format!("strange-{}", day + HOUR))));
}

#[tokio::test]
async fn a_list_without_order_is_put_in_order_and_what_is_delivered_after_now_is_none() {
    let stamps = || hourly(NOW - 3 * DAY, NOW - HOUR);
    let files = Files { unsorted: true, ..Files::new(stamps().chain([NOW + 600])) };
    files.all().await;
    assert_eq!(files.spans(), [Span::new(NOW - 3 * DAY, NOW - HOUR + 59)]);
    assert_eq!(files.count(), 3 * 24);
}

#[tokio::test]
async fn of_a_folder_that_is_archived_no_more_is_read() {
    let files = Files { archived: true, ..Files::new(hourly(NOW - 3 * DAY, NOW - HOUR)) };
    let (unread, lacking) = files.scan(100_000).await.expect("no halt");
    assert_eq!((unread.files, lacking), (1, vec![WINDOW]));
    assert!(unread.left.is_some_and(|why| why.ends_with("-0: it is archived")));
    assert!(files.count() <= FILES_AT_ONCE);
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
