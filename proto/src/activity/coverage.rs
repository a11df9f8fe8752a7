use serde::{Deserialize, Serialize};

/// Spans that are remembered; where there are more, the oldest are read again.
pub const MAX_SPANS: usize = 1_024;

/// Seconds since 1970, the first and the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(i64, i64)", into = "(i64, i64)")]
pub struct Span {
    /// The first second.
    pub from: i64,
    /// The last second; before `from`, there is none.
    pub to: i64,
}

impl Span {
    /// From a second to a second.
    pub fn new(from: i64, to: i64) -> Self {
        Self { from, to }
    }
    /// Whether it has no second.
    pub fn is_empty(self) -> bool {
        self.to < self.from
    }
    /// What it has up to that second.
    pub fn until(self, last: i64) -> Self {
        Self { to: self.to.min(last), ..self }
    }
}

impl From<(i64, i64)> for Span {
    fn from((from, to): (i64, i64)) -> Self {
        Self { from, to }
    }
}
impl From<Span> for (i64, i64) {
    fn from(span: Span) -> Self {
        (span.from, span.to)
    }
}

/// A set of seconds, as spans that are sorted, apart from each other and not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Span>", into = "Vec<Span>")]
pub struct Coverage(Vec<Span>);

impl From<Vec<Span>> for Coverage {
    fn from(spans: Vec<Span>) -> Self {
        let mut coverage = Self::default();
        spans.into_iter().for_each(|span| coverage.add(span));
        coverage
    }
}
impl From<Coverage> for Vec<Span> {
    fn from(coverage: Coverage) -> Self {
        coverage.0
    }
}

impl Coverage {
    /// Its spans, oldest first.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Adds a span's seconds. Spans that overlap or touch become one.
    pub fn add(&mut self, mut span: Span) {
        if span.is_empty() {
            return;
        }
        let begin = self.0.partition_point(|known| known.to < span.from.saturating_sub(1));
        let end = self.0.partition_point(|known| known.from <= span.to.saturating_add(1));
        if let Some(joined) = self.0.get(begin..end).filter(|joined| !joined.is_empty()) {
            span.from = span.from.min(joined[0].from);
            span.to = span.to.max(joined[joined.len() - 1].to);
        }
        self.0.splice(begin..end, [span]);
        if self.0.len() > MAX_SPANS {
            self.0.drain(..self.0.len() - MAX_SPANS);
        }
    }

    /// Adds another's seconds.
    pub fn merge(&mut self, other: &Coverage) {
        other.0.iter().for_each(|span| self.add(*span));
    }

    /// What of a span is lacking, newest first.
    pub fn gaps(&self, within: Span) -> Vec<Span> {
        let mut gaps = Vec::new();
        let mut to = within.to;
        for known in self.0.iter().rev() {
            if to < within.from || known.to < within.from {
                break;
            }
            if known.from > to {
                continue;
            }
            gaps.push(Span::new(known.to.saturating_add(1).max(within.from), to));
            to = known.from.saturating_sub(1);
        }
        gaps.push(Span::new(within.from, to));
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }

    /// Forgets the seconds before that one.
    pub fn forget_before(&mut self, oldest: i64) {
        self.0.retain_mut(|span| {
            span.from = span.from.max(oldest);
            !span.is_empty()
        });
    }
}
