use fleetscan_proto::{Lane, Outcome, ScanAccountState, ScanCounts, ScanRow, ScanState};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A scan in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScanView {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: ScanState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How urgent it is.
    pub lane: Lane,
    /// Where its results go.
    pub out: String,
    /// Its accounts.
    pub accounts: u64,
    /// Of these, those whose cells are known.
    pub planned: u64,
    /// Cells that it will have, as far as can be guessed.
    pub expected: u64,
    /// Cells that have an outcome.
    pub done: u64,
    /// Cells by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Of these, holes.
    pub holes: u64,
    /// Calls to AWS, retries included.
    pub calls: u64,
    /// Of these, throttled.
    pub throttled: u64,
    /// Records written.
    pub records: u64,
    /// How long it will still take; `None`: over, or nobody can tell.
    pub eta_seconds: Option<f64>,
}

impl ScanView {
    /// `pace`: cells a second of late, where that is known; else the scan's own since it began.
    pub(super) fn new(row: &ScanRow, counts: &ScanCounts, pace: Option<f64>, now: Timestamp) -> Self {
        let spec = &row.spec;
        let planned = counts.accounts.get(&ScanAccountState::Planned).copied().unwrap_or_default();
        let each = counts.cells.checked_div(planned).unwrap_or_default();
        let expected = counts.cells + each * spec.accounts.saturating_sub(planned);
        let done: u64 = counts.outcomes.values().sum();
        let under_way = row.state.is_under_way();
        let took = now.duration_since(spec.started_at).as_secs_f64().max(0.1);
        let pace = pace.filter(|pace| *pace > 0.0).unwrap_or(done as f64 / took);
        Self {
            id: spec.id.to_string(),
            state: row.state,
            started_at: spec.started_at,
            finished_at: row.finished_at,
            lane: spec.lane,
            out: spec.out.clone(),
            accounts: spec.accounts,
            planned,
            expected,
            done,
            outcomes: Outcome::ALL
                .iter()
                .filter_map(|outcome| Some((outcome.as_str(), *counts.outcomes.get(outcome)?)))
                .collect(),
            holes: counts.outcomes.iter().filter(|(outcome, _)| outcome.is_hole()).map(|(_, cells)| cells).sum(),
            calls: counts.totals.calls,
            throttled: counts.totals.throttled,
            records: counts.totals.records,
            eta_seconds: (under_way && pace > 0.0 && expected > done).then(|| (expected - done) as f64 / pace),
        }
    }

    /// Whether it goes on.
    pub fn is_under_way(&self) -> bool {
        self.state.is_under_way()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::ScanSpec;

    fn row(accounts: u64) -> ScanRow {
        let spec = ScanSpec {
            id: "s-1".parse().expect("id"),
            plan: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            regions: Vec::new(),
            services: Vec::new(),
            catalogue: String::new(),
            operations: Vec::new(),
            profile: String::new(),
            profile_file: None,
            out: String::new(),
            accounts,
            lane: Lane::Normal,
            deadline_seconds: None,
            scheduled: false,
        };
        ScanRow { spec, state: ScanState::Running, finished_at: None }
    }

    #[test]
    fn accounts_that_are_not_planned_yet_are_expected_to_be_like_the_others() {
        let counts = ScanCounts {
            accounts: [(ScanAccountState::Planned, 2), (ScanAccountState::Waiting, 8)].into(),
            cells: 20,
            outcomes: [(Outcome::Complete, 9), (Outcome::Denied, 1)].into(),
            ..ScanCounts::default()
        };
        let now = Timestamp::from_second(10).expect("time");
        let view = ScanView::new(&row(10), &counts, None, now);
        assert_eq!((view.expected, view.done, view.holes), (100, 10, 1));
        assert_eq!(view.eta_seconds, Some(90.0), "10 cells in 10 s, 90 to go");
        assert_eq!(ScanView::new(&row(10), &counts, Some(9.0), now).eta_seconds, Some(10.0), "of late it is faster");
        assert_eq!(ScanView::new(&row(10), &ScanCounts::default(), None, now).eta_seconds, None);
    }
}
