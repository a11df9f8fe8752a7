//! The reading of log files: newest first, for large gaps alone, which they close faster than two calls a second do.
//!
//! A file proves what it holds, and not that nothing else was done: time counts as read only as far back as a trail is
//! known to record everything (`trail`), and not before any event that tells of a change to a trail. Of other files the
//! events count, and the time is left to be looked up.
//!
//! A log file is named by the minute in which it was delivered, and tells of what was done before; a quarter of an hour at
//! most, as for an event that is looked up. So what lies between two files is read when both are, and all that came up to
//! a quarter of an hour later. That nothing was delivered for long may mean that nothing was done, or that the trail was
//! off: such a stretch is left to be looked up.

use super::reading::{LARGE, REMEMBERED_EVERY, Reading, Source};
use crate::{archive::LogKey, extract::Halt};
use fleetscan_proto::activity::{Activity, Coverage, Span};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::time::Instant;

const DAY: i64 = 86_400;
/// For so long a trail that is on may have nothing to deliver.
const STRETCH: i64 = 3_600;
/// The part of the time that is spent on files that only tell of events: one in so many.
const FOLDING: u32 = 4;
/// Log files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// A folder of log files, and how far back it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// `…/CloudTrail/<region>/`.
    pub(super) prefix: String,
    /// A second of the first day that it has.
    pub(super) since: i64,
    /// Since when whatever is done is in it; `None`: it is not known that it is.
    pub(super) proven: Option<i64>,
}

/// The folders that there are.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) folders: Vec<Folder>,
    /// Why there may be others.
    pub(super) note: Option<String>,
}

/// What was delivered on a day.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<LogKey>,
    /// What is called as log files are, and is none that can be read.
    pub(super) strange: Vec<String>,
}

/// Why something of the archive was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This file cannot be read; others may.
    File(String),
    /// No more of its folder can be; others may.
    Folder(String),
    /// None can.
    All(String),
}

/// Where log files are.
pub(super) trait LogFiles {
    /// The folders that there are of the account's region.
    async fn folders(&self) -> Result<Result<Folders, Trouble>, Halt>;
    /// What was delivered on the day of a second, from that second on.
    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Listing, Trouble>, Halt>;
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
    /// Files were read of which no time counts as read.
    pub(super) unproven: bool,
}

/// How the reading of a gap ended.
#[derive(PartialEq, Eq)]
enum End {
    Done,
    Late,
    /// Nothing more of the archive.
    Left,
    /// Nothing more of this folder.
    Next,
}

/// A gap in the making: what of it is read, newest first.
struct Closing {
    gap: Span,
    /// Since when files tell of everything.
    proven: Option<i64>,
    /// When the reading of this folder is over.
    ends: Instant,
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
        // What is not known to be whole tells at least of whom it names.
        let Some(proven) = self.proven else {
            let told = Span::new(gap.from - 59, gap.to.saturating_add(late));
            return listed.iter().map(|file| (told.from..=told.to).contains(&file.stamp)).collect();
        };
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
            s if s < proven - 59 || s <= gap.from - 60 || s > gap.to.saturating_add(late) => false,
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
        let Some(proven) = self.proven else { return Vec::new() };
        let from = stamp.max(self.gap.from).max(proven);
        let span = Span::new(from, newer + 59).until(self.gap.to).until(self.settled);
        self.lost.gaps(span)
    }
}

impl Reading<'_> {
    /// Reads log files for what is lacking, as long as there is time; whatever it was, what was read is remembered.
    pub(super) async fn archive(&mut self, files: &impl LogFiles, source: &impl Source) -> Result<Unread, Halt> {
        let mut unread = Unread::default();
        if self.large_gaps().is_empty() || Instant::now() >= self.ends() {
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
        let ends = self.ends();
        let Ok(found) = tokio::time::timeout_at(ends, files.folders()).await else { return Ok(()) };
        let Folders { mut folders, note: others } = match found? {
            Ok(found) => found,
            Err(trouble) => {
                note(unread, None, trouble);
                return Ok(());
            }
        };
        unread.left = others;
        // Those that close something first.
        folders.sort_by_key(|folder| folder.proven.is_none());
        // What the folders that close nothing may take, all of them together.
        let mut folding = None;
        for folder in folders {
            let ends = if folder.proven.is_some() {
                ends
            } else {
                let now = Instant::now();
                *folding.get_or_insert_with(|| now + ends.saturating_duration_since(now) / FOLDING)
            };
            for gap in self.large_gaps() {
                unread.unproven |= folder.proven.is_none();
                match self.close(files, source, &folder, gap, ends, unread).await? {
                    End::Done => {}
                    End::Late if Instant::now() < self.ends() => break,
                    End::Next => break,
                    End::Late | End::Left => return Ok(()),
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
        ends: Instant,
        unread: &mut Unread,
    ) -> Result<End, Halt> {
        let late = self.terms.late;
        let unchanged = self.trail_changed.map_or(i64::MIN, |at| at.saturating_add(1));
        let mut closing = Closing {
            gap,
            proven: folder.proven.map(|since| since.max(unchanged)),
            ends,
            settled: source.now() - late,
            late,
            newer: None,
            older: None,
            lost: Coverage::default(),
        };
        // What says that it was delivered later than now was not put there by CloudTrail.
        let around = closing.around().until(source.now());
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
            let Listing { files: mut listed, strange } = match listed? {
                Ok(listed) => listed,
                Err(trouble) => {
                    let end = end_of(&trouble);
                    note(unread, None, trouble);
                    return Ok(end);
                }
            };
            listed.retain(|file| (around.from..=around.to).contains(&file.stamp));
            listed.sort_unstable_by(|one, other| (other.stamp, &other.key).cmp(&(one.stamp, &one.key)));
            if let Some(name) = strange.last() {
                // When they were delivered is not known, but for the day.
                closing.lost.add(Span::new(day * DAY - late, day * DAY + DAY - 1));
                unread.files += u32::try_from(strange.len()).unwrap_or(u32::MAX);
                let why = "it is not called as CloudTrail calls log files".to_owned();
                unread.newest.get_or_insert_with(|| (name.clone(), why));
            }
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
        let ends = closing.ends;
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
                    if let Some(at) = activity.trail_changed {
                        self.note_trail_changed(at);
                        closing.proven = closing.proven.map(|since| since.max(at.saturating_add(1)));
                    }
                    self.news.left_out = self.news.left_out.max(activity.left_out);
                    for (id, principal) in activity.principals {
                        if !source.is_own(&id) {
                            self.news.note(&id, principal);
                        }
                    }
                    self.pages += 1;
                }
                Some(Err(trouble)) => {
                    let end = end_of(&trouble);
                    note(unread, Some(file), trouble);
                    closing.lose(file.stamp);
                    if end != End::Done {
                        return Ok(end);
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

/// What is left to be read after it.
fn end_of(trouble: &Trouble) -> End {
    match trouble {
        Trouble::File(_) => End::Done,
        Trouble::Folder(_) => End::Next,
        Trouble::All(_) => End::Left,
    }
}

fn note(unread: &mut Unread, file: Option<&LogKey>, trouble: Trouble) {
    match (trouble, file) {
        (Trouble::File(why), Some(file)) => {
            unread.files += 1;
            unread.newest.get_or_insert_with(|| (file.name().to_owned(), why));
        }
        (Trouble::Folder(why), Some(file)) => {
            unread.files += 1;
            unread.left.get_or_insert(format!("{}: {why}", file.name()));
        }
        (Trouble::File(why) | Trouble::Folder(why) | Trouble::All(why), _) => {
            unread.left.get_or_insert(why);
        }
    }
}

#[cfg(test)]
mod tests;
