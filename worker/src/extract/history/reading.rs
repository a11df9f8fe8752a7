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
            match self.gap(source, gap).await? {
                End::Whole => {}
                end => return Ok(end),
            }
        }
        Ok(End::Whole)
    }

    /// Reads one gap, page by page.
    async fn gap(&mut self, source: &impl Source, gap: Span) -> Result<End, Halt> {
        let ends = self.ends();
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
