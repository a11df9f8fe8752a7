//! What is lacking of the days that AWS tells of, read newest first, for as long as there is time.

use super::{Event, Refusal};
use crate::extract::Halt;
use fleetscan_proto::{
    ScanId,
    activity::{Activity, Coverage, Span},
};
use std::time::Duration;
use tokio::time::Instant;

/// Pages after which what was read is remembered: what a kill can cost.
pub(super) const REMEMBERED_EVERY: u32 = 30;

/// A gap so large is read from log files, where there are any; the events of an hour are few pages.
pub(super) const LARGE: i64 = 3_600;
/// How long the newest gap is looked up before log files are read, if it is large.
const NEWEST_FIRST: Duration = Duration::from_secs(30);

/// A page of events, newest first.
#[derive(Debug, Default)]
pub(super) struct EventPage {
    /// Each with its second.
    pub(super) events: Vec<(i64, Event)>,
    /// Leads to the next page.
    pub(super) next: Option<String>,
}

/// Where events come from, and where what was read of them goes.
pub(super) trait Source {
    /// A page of a span's events; the same span and the token of the page before lead to the next one.
    async fn page(&self, span: Span, token: Option<&str>) -> Result<Result<EventPage, Refusal>, Halt>;
    /// Adds to what is remembered; answers all of it.
    async fn remember(&self, news: Activity) -> Result<Activity, Halt>;
    /// The second that it is.
    fn now(&self) -> i64;
    /// Whether a principal is our own role: where it is kept, it is sealed, and what it does is what we know already.
    fn is_own(&self, principal: &str) -> bool;
    /// Whether the cell must hand in what it has.
    fn must_halt(&self) -> bool;
}

/// How a reading ended that was not halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is lacking.
    Whole,
    /// The time was over.
    Late,
    /// AWS would not answer.
    Refused,
    /// No permission.
    Denied,
}

/// What a scan may read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Whose time it is.
    pub(super) scan: &'a ScanId,
    /// How much of it there is, in all executions.
    pub(super) limit: Duration,
    /// Seconds that AWS tells of.
    pub(super) window: Span,
    /// An event may be told so many seconds late.
    pub(super) late: i64,
}

/// What one execution reads.
pub(super) struct Reading<'a> {
    pub(super) terms: Terms<'a>,
    /// What is not remembered yet.
    pub(super) news: Activity,
    /// What was read at all, by whomever, what is too young to be remembered as read included.
    pub(super) seen: Coverage,
    /// When a trail was last changed, as far as is known.
    pub(super) trail_changed: Option<i64>,
    /// Read since something was remembered.
    pub(super) pages: u32,
    /// By earlier executions.
    spent: Duration,
    since: Instant,
}

impl<'a> Reading<'a> {
    /// A reading of what is not known yet.
    pub(super) fn new(terms: Terms<'a>, known: Activity) -> Self {
        Self {
            spent: Duration::from_millis(known.spent.get(terms.scan).copied().unwrap_or_default()),
            seen: known.read,
            trail_changed: known.trail_changed,
            terms,
            news: Activity::default(),
            pages: 0,
            since: Instant::now(),
        }
    }

    /// Reads until nothing is lacking, the time is over, or there is a reason to stop; whatever it was, what was read is
    /// remembered. Answers all that is known then.
    pub(super) async fn run(&mut self, source: &impl Source) -> Result<(End, Activity), Halt> {
        let end = self.gaps(source).await;
        let known = self.remember(source).await?;
        Ok((end?, known))
    }

    /// Looks up the newest gap: all of it, or if it is large for a while. What others are better at is left to them then.
    pub(super) async fn newest(&mut self, source: &impl Source) -> Result<End, Halt> {
        let Some(gap) = self.lacking().first().copied() else { return Ok(End::Whole) };
        let most = if gap.to - gap.from < LARGE { self.terms.limit } else { NEWEST_FIRST };
        let end = self.gap(source, gap, self.ends().min(Instant::now() + most)).await;
        self.remember(source).await?;
        end
    }

    /// Reads no more, since the source would not answer. Answers all that is known then.
    pub(super) async fn stop(&mut self, source: &impl Source, end: End) -> Result<(End, Activity), Halt> {
        let known = self.remember(source).await?;
        let end = if end == End::Refused && self.lacking().is_empty() { End::Whole } else { end };
        Ok((end, known))
    }

    /// Notes that a trail was changed at a second.
    pub(super) fn note_trail_changed(&mut self, at: i64) {
        self.news.note_trail_changed(at);
        self.trail_changed = self.trail_changed.max(Some(at));
    }

    /// What is still lacking, newest first.
    pub(super) fn lacking(&self) -> Vec<Span> {
        self.seen.gaps(self.terms.window)
    }

    /// When the time is over.
    pub(super) fn ends(&self) -> Instant {
        self.since + self.terms.limit.saturating_sub(self.spent)
    }

    async fn gaps(&mut self, source: &impl Source) -> Result<End, Halt> {
        for gap in self.lacking() {
            match self.gap(source, gap, self.ends()).await? {
                End::Whole => {}
                end => return Ok(end),
            }
        }
        Ok(End::Whole)
    }

    /// Reads one gap, page by page.
    async fn gap(&mut self, source: &impl Source, gap: Span, ends: Instant) -> Result<End, Halt> {
        // As of the first page: an event that is told later may belong to a page that was read already.
        let settled = source.now() - self.terms.late;
        let mut token: Option<String> = None;
        loop {
            if source.must_halt() {
                return Err(Halt::Yield);
            }
            if Instant::now() >= ends {
                return Ok(End::Late);
            }
            let Ok(page) = tokio::time::timeout_at(ends, source.page(gap, token.as_deref())).await else {
                return Ok(End::Late);
            };
            let page = match page? {
                Ok(page) => page,
                Err(Refusal::Denied) => return Ok(End::Denied),
                Err(Refusal::Absent | Refusal::Failed) => return Ok(End::Refused),
            };
            let mut oldest = gap.to.saturating_add(1);
            for (at, event) in page.events {
                oldest = oldest.min(at);
                if event.changes_trail() {
                    self.note_trail_changed(at);
                }
                let (id, principal) = event.principal(at);
                if !source.is_own(&id) {
                    self.news.note(&id, principal);
                }
            }
            // Events of the oldest second may stand on the next page as well.
            let from = if page.next.is_some() { oldest.saturating_add(1) } else { gap.from };
            let read = Span::new(from.max(gap.from), gap.to);
            self.seen.add(read);
            self.news.read.add(read.until(settled));
            self.pages += 1;
            if self.pages >= REMEMBERED_EVERY {
                self.remember(source).await?;
            }
            token = match page.next {
                None => return Ok(End::Whole),
                next if next == token => return Ok(End::Refused),
                next => next,
            };
        }
    }

    /// Puts what was read where it is remembered, with the time that it took.
    pub(super) async fn remember(&mut self, source: &impl Source) -> Result<Activity, Halt> {
        self.pages = 0;
        let spent = self.spent + self.since.elapsed();
        let mut news = std::mem::take(&mut self.news);
        news.spent.insert(self.terms.scan.clone(), u64::try_from(spent.as_millis()).unwrap_or(u64::MAX));
        source.remember(news).await
    }
}

#[cfg(test)]
mod tests;
