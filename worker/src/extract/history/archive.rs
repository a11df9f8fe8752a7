//! The reading of log files: newest first, for large gaps alone, which they close faster than two calls a second do.
//!
//! A log file is named by the minute in which it was delivered, and tells of what was done before; a quarter of an hour at
//! most, as for an event that is looked up. So what lies between two files is read when both are, and all that came up to
//! a quarter of an hour later. That nothing was delivered for long may mean that nothing was done, or that the trail was
//! off: such a stretch is left to be looked up.

use super::reading::{REMEMBERED_EVERY, Reading, Source};
use crate::{archive::LogKey, extract::Halt};
use fleetscan_proto::activity::{Activity, Coverage, Span};
use futures_util::{StreamExt as _, stream::FuturesOrdered};

const DAY: i64 = 86_400;
/// A smaller gap is looked up: the events of an hour are few pages.
const LARGE: i64 = 3_600;
/// For so long a trail that is on may have nothing to deliver.
const STRETCH: i64 = 6 * 3_600;
/// Log files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// A folder of log files, and how far back it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// `…/CloudTrail/<region>/`.
    pub(super) prefix: String,
    /// A second of the first day that it has.
    pub(super) since: i64,
}

/// Why something of the archive was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This file cannot be read; others may.
    File(String),
    /// None can.
    All(String),
}

/// Where log files are.
pub(super) trait LogFiles {
    /// The folders that there are of the account's region.
    async fn folders(&self) -> Result<Result<Vec<Folder>, Trouble>, Halt>;
    /// What was delivered on the day of a second, from that second on, in the order in which it was.
    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Vec<LogKey>, Trouble>, Halt>;
    /// Who did something by a file, and when last.
    async fn read(&self, file: &LogKey) -> Result<Result<Activity, Trouble>, Halt>;
}

/// What was not read of the archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    /// Why the archive was left.
    pub(super) left: Option<String>,
    /// Files that could not be read.
    pub(super) files: u32,
    /// The newest of them, and why.
    pub(super) newest: Option<(String, String)>,
}

/// How the reading of a gap ended.
#[derive(PartialEq, Eq)]
enum End {
    Done,
    Late,
    Left,
}

/// A gap in the making: what of it is read, newest first.
struct Closing {
    gap: Span,
    /// What is older than this will not be told any later.
    settled: i64,
    late: i64,
    /// The delivery after those at hand.
    newer: Option<i64>,
    /// The delivery before them.
    older: Option<i64>,
    /// When what could not be read may have been done.
    lost: Coverage,
}

impl Closing {
    /// Which of a day's files, newest first, are needed to close something of the gap. Those beside it only tell whether
    /// the trail was on; and one with nothing near it closes nothing.
    fn wanted(&self, listed: &[LogKey]) -> Vec<bool> {
        let Self { gap, late, newer, older, .. } = *self;
        let stamps: Vec<i64> = listed.iter().map(|file| file.stamp).collect();
        let is_near = |one: Option<i64>, other: Option<i64>| one.zip(other).is_some_and(|(a, b)| a - b <= STRETCH);
        // What was delivered after the gap tells of it only if something before that is in reach.
        let in_gap = stamps.iter().copied().find(|stamp| *stamp <= gap.to).or(older);
        let after_gap = stamps.iter().copied().take_while(|stamp| *stamp > gap.to).last();
        let reaches_in = is_near(after_gap, in_gap);
        let next_to = |at: usize, stamp: i64| {
            let before = stamps[at..].iter().copied().find(|other| *other < stamp).or(older);
            let after = stamps[..at].iter().rev().copied().find(|other| *other > stamp).or(newer);
            is_near(Some(stamp), before) || is_near(after, Some(stamp))
        };
        let wanted = |(at, stamp): (usize, i64)| match stamp {
            s if s <= gap.from - 60 || s > gap.to.saturating_add(late) => false,
            s if s > gap.to => reaches_in,
            s => next_to(at, s),
        };
        stamps.iter().copied().enumerate().map(wanted).collect()
    }

    /// Seconds whose deliveries are looked at at all.
    fn around(&self) -> Span {
        Span::new(self.gap.from - STRETCH, self.gap.to.saturating_add(STRETCH.max(self.late)))
    }

    /// A file of that minute was not read.
    fn lose(&mut self, stamp: i64) {
        self.lost.add(Span::new(stamp - self.late, stamp + 59));
    }

    /// Every file of that minute was looked at: what is read now.
    fn delivered(&mut self, stamp: i64) -> Vec<Span> {
        let newer = self.newer.replace(stamp);
        let Some(newer) = newer.filter(|newer| newer - stamp <= STRETCH) else { return Vec::new() };
        let from = stamp.max(self.gap.from);
        let span = Span::new(from, newer + 59).until(self.gap.to).until(self.settled);
        self.lost.gaps(span)
    }
}

impl Reading<'_> {
    /// Reads log files for what is lacking, as long as there is time; whatever it was, what was read is remembered.
    pub(super) async fn archive(&mut self, files: &impl LogFiles, source: &impl Source) -> Result<Unread, Halt> {
        let mut unread = Unread::default();
        if self.large_gaps().is_empty() {
            return Ok(unread);
        }
        let end = self.folders(files, source, &mut unread).await;
        self.remember(source).await?;
        end.map(|()| unread)
    }

    fn large_gaps(&self) -> Vec<Span> {
        let mut gaps = self.lacking();
        gaps.retain(|gap| gap.to - gap.from >= LARGE);
        gaps
    }

    async fn folders(&mut self, files: &impl LogFiles, source: &impl Source, unread: &mut Unread) -> Result<(), Halt> {
        let folders = match files.folders().await? {
            Ok(folders) => folders,
            Err(trouble) => {
                note(unread, None, trouble);
                return Ok(());
            }
        };
        for folder in folders {
            for gap in self.large_gaps() {
                if self.close(files, source, &folder, gap, unread).await? != End::Done {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Closes what a folder's files close of a gap, day by day.
    async fn close(
        &mut self,
        files: &impl LogFiles,
        source: &impl Source,
        folder: &Folder,
        gap: Span,
        unread: &mut Unread,
    ) -> Result<End, Halt> {
        let late = self.terms.late;
        let mut closing =
            Closing { gap, settled: source.now() - late, late, newer: None, older: None, lost: Coverage::default() };
        let around = closing.around();
        let ends = self.ends();
        let first = around.from.max(folder.since).div_euclid(DAY);
        let last = around.to.min(source.now()).div_euclid(DAY);
        // One day behind the listing: whether a file closes anything depends on the one before it.
        let mut day_at_hand: Vec<LogKey> = Vec::new();
        for day in (first..=last).rev() {
            if source.must_halt() {
                return Err(Halt::Yield);
            }
            let listing = files.list(folder, (day * DAY).max(around.from));
            let Ok(listed) = tokio::time::timeout_at(ends, listing).await else { return Ok(End::Late) };
            let mut listed = match listed? {
                Ok(listed) => listed,
                Err(trouble) => {
                    note(unread, None, trouble);
                    return Ok(End::Left);
                }
            };
            listed.retain(|file| (around.from..=around.to).contains(&file.stamp));
            listed.reverse();
            closing.older = listed.first().map(|file| file.stamp);
            let end = self.day(files, source, &day_at_hand, &mut closing, unread).await?;
            if end != End::Done {
                return Ok(end);
            }
            day_at_hand = listed;
        }
        closing.older = None;
        self.day(files, source, &day_at_hand, &mut closing, unread).await
    }

    /// Reads the files of a day, newest first.
    async fn day(
        &mut self,
        files: &impl LogFiles,
        source: &impl Source,
        listed: &[LogKey],
        closing: &mut Closing,
        unread: &mut Unread,
    ) -> Result<End, Halt> {
        let ends = self.ends();
        let wanted = closing.wanted(listed);
        let mut next = listed.iter().zip(wanted);
        let mut reading = FuturesOrdered::new();
        for (at, file) in listed.iter().enumerate() {
            if source.must_halt() {
                return Err(Halt::Yield);
            }
            let room = FILES_AT_ONCE.saturating_sub(reading.len());
            reading.extend(next.by_ref().take(room).map(|(file, wanted)| read(files, file, wanted)));
            let Ok(read) = tokio::time::timeout_at(ends, reading.next()).await else { return Ok(End::Late) };
            match read.flatten().transpose()? {
                None => {}
                Some(Ok(activity)) => {
                    for (id, principal) in activity.principals {
                        if !source.is_own(&id) {
                            self.news.note(&id, principal);
                        }
                    }
                    self.pages += 1;
                }
                Some(Err(trouble)) => {
                    let is_all = matches!(trouble, Trouble::All(_));
                    note(unread, Some(file), trouble);
                    closing.lose(file.stamp);
                    if is_all {
                        return Ok(End::Left);
                    }
                }
            }
            if listed.get(at + 1).is_none_or(|next| next.stamp != file.stamp) {
                for span in closing.delivered(file.stamp) {
                    self.seen.add(span);
                    self.news.read.add(span);
                }
            }
            if self.pages >= REMEMBERED_EVERY {
                self.remember(source).await?;
            }
        }
        Ok(End::Done)
    }
}

/// A file's answer, if it is wanted.
async fn read(files: &impl LogFiles, file: &LogKey, wanted: bool) -> Option<Result<Result<Activity, Trouble>, Halt>> {
    if wanted { Some(files.read(file).await) } else { None }
}

fn note(unread: &mut Unread, file: Option<&LogKey>, trouble: Trouble) {
    match (trouble, file) {
        (Trouble::File(why), Some(file)) => {
            unread.files += 1;
            unread.newest.get_or_insert_with(|| (file.name().to_owned(), why));
        }
        (Trouble::File(why) | Trouble::All(why), _) => {
            unread.left.get_or_insert(why);
        }
    }
}

#[cfg(test)]
mod tests;
