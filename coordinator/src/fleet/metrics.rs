//! What a coordinator tells Prometheus: gauges that the one that leads sets at each beat, from the store and the queue.

use super::{CoordinatorState, FleetParts};
use crate::{Progress, connections::Listed, events::Deliveries};
use fleetscan_proto::{AccountState, Outcome, StoreError};
use fleetscan_telemetry::{Counters, Gauges, Label, Registrar};
use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use std::{collections::BTreeMap, time::Duration};

/// Ages by which stale accounts are told.
const STALE: [(&str, Duration); 3] = [
    ("24h", Duration::from_secs(24 * 3_600)),
    ("3d", Duration::from_secs(3 * 24 * 3_600)),
    ("7d", Duration::from_secs(7 * 24 * 3_600)),
];

/// Cells that have no outcome yet.
const PENDING: &str = "pending";
/// How a scan can end.
const ENDS: [&str; 3] = ["complete", "holes", "cancelled"];

/// A coordinator's metrics, all with the prefix `fleetscan_`. One that stands by tells only that it does.
#[derive(Debug)]
pub struct Metrics {
    registrar: Registrar,
    leads: IntGauge,
    accounts: Gauges,
    stale: Gauges,
    overdue: IntGauge,
    revocations: IntCounter,
    breaker_open: IntGauge,
    scan_cells: Gauges,
    scan_cells_expected: IntGauge,
    scans: IntGauge,
    scans_ended: Counters,
    scan_started: Gauge,
    scan_eta: Gauge,
    oldest_task: Gauge,
    queue: Gauges,
    workers: IntGauge,
    suspects: IntGauge,
    deliveries: Deliveries,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new([])
    }
}

impl Metrics {
    /// Metrics of a coordinator that tells these receivers of events.
    pub fn new<'a>(receivers: impl IntoIterator<Item = &'a str>) -> Self {
        let registrar = Registrar::default();
        let gauges = |name: &str, help: &str, label| registrar.gauges(name, help, &[label]);
        let states = [PENDING].into_iter().chain(Outcome::ALL.map(Outcome::as_str));
        let metrics = Self {
            leads: registrar.gauge("coordinator_leads", "1 where this coordinator leads"),
            accounts: gauges(
                "accounts",
                "Accounts by where they stand",
                Label::new("status", AccountState::ALL.map(AccountState::as_str)),
            ),
            stale: gauges(
                "accounts_stale",
                "Connected accounts that were not let in for so long",
                Label::new("older_than", STALE.map(|(name, _)| name)),
            ),
            overdue: registrar.gauge(
                "accounts_overdue",
                "Connected accounts that were not let in for two rounds of the schedule; 0 without a schedule",
            ),
            revocations: registrar
                .counter("revocations_total", "Accounts that were marked revoked: their role no longer lets us in"),
            breaker_open: registrar
                .gauge("hub_breaker_open", "1 while no account is marked revoked: too many deny AssumeRole at once, or our own side is in doubt"),
            scan_cells: gauges(
                "scan_cells",
                "Cells of the scans under way: pending, and done by outcome",
                Label::new("state", states),
            ),
            scan_cells_expected: registrar.gauge(
                "scan_cells_expected",
                "Cells that the scans under way will have, as far as can be guessed from the accounts already planned",
            ),
            scans: registrar.gauge("scans", "Scans under way"),
            scans_ended: registrar.counters(
                "scans_ended_total",
                "Scans that ended under this coordinator",
                &[Label::new("result", ENDS)],
            ),
            scan_started: registrar
                .ratio("scan_started_timestamp_seconds", "When the oldest scan under way began, 0 if none"),
            scan_eta: registrar
                .ratio("scan_eta_seconds", "How long the longest of the scans under way will still take, by its pace"),
            oldest_task: registrar.ratio(
                "oldest_task_seconds",
                "How long the task without progress has stood still that did so the longest, since it was first found so",
            ),
            queue: gauges(
                "queue_messages",
                "Tasks in the broker: ready, delayed and dead; held by workers",
                Label::new("queue", ["ready", "delayed", "dead", "held"]),
            ),
            workers: registrar.gauge("workers", "Workers that report"),
            suspects: registrar.gauge("accounts_suspect", "Accounts that denied AssumeRole and wait for a verdict"),
            deliveries: Deliveries::new(&registrar, receivers),
            registrar,
        };
        metrics.scans_ended.begin();
        metrics.scan_cells.begin();
        metrics
    }
}

impl Metrics {
    /// Where they are gathered.
    pub fn registry(&self) -> &Registry {
        self.registrar.registry()
    }

    /// What is told of events.
    pub(crate) fn deliveries(&self) -> Deliveries {
        self.deliveries.clone()
    }

    /// Another leads, and tells: what this one last knew is forgotten, lest it be counted twice.
    pub(crate) fn stands_by(&self) {
        self.leads.set(0);
        for family in [&self.accounts, &self.stale, &self.scan_cells, &self.queue] {
            family.clear();
        }
        self.deliveries.stand_by();
        for gauge in
            [&self.overdue, &self.breaker_open, &self.scan_cells_expected, &self.scans, &self.workers, &self.suspects]
        {
            gauge.set(0);
        }
        for gauge in [&self.scan_started, &self.scan_eta, &self.oldest_task] {
            gauge.set(0.0);
        }
    }

    pub(crate) fn scan_ended(&self, complete: bool, cancelled: bool) {
        let result = match (complete, cancelled) {
            (_, true) => "cancelled",
            (true, false) => "complete",
            (false, false) => "holes",
        };
        self.scans_ended.with(&[result]).inc();
    }

    /// Counts what a scan has found between two looks at it.
    pub(crate) fn went_on(&self, before: Option<&Progress>, now: &Progress) {
        let told = before.map_or(0, |progress| progress.revocations);
        self.revocations.inc_by(now.revocations.saturating_sub(told));
    }

    /// Sets what follows from the store, the queue and the scans under way.
    pub(crate) async fn refresh(&self, parts: &FleetParts, state: &CoordinatorState) -> Result<(), StoreError> {
        self.leads.set(1);
        let reports = parts.fleet.workers().await?;
        self.workers.set(signed(reports.len() as u64));
        self.queue.with(&["held"]).set(signed(reports.iter().map(|report| report.held).sum()));
        if let Ok(depth) = parts.queue.depth().await {
            for (queue, messages) in [("ready", depth.ready), ("delayed", depth.delayed), ("dead", depth.dead)] {
                self.queue.with(&[queue]).set(signed(messages));
            }
        }
        self.tell_scans(parts, state);
        Ok(())
    }

    fn tell_scans(&self, parts: &FleetParts, state: &CoordinatorState) {
        let mut cells: BTreeMap<&str, u64> = Outcome::ALL.map(|outcome| (outcome.as_str(), 0)).into();
        let (mut breaker, mut suspects, mut expected, mut oldest) = (false, 0, 0, Duration::ZERO);
        for progress in state.scans.values() {
            *cells.entry(PENDING).or_default() += progress.counts.pending();
            for (outcome, count) in &progress.counts.outcomes {
                *cells.entry(outcome.as_str()).or_default() += count;
            }
            breaker |= progress.breaker_open;
            suspects += progress.suspects;
            expected += progress.expected_cells;
            oldest = oldest.max(progress.stood_still.unwrap_or_default());
        }
        cells.entry(PENDING).or_default();
        self.scan_cells_expected.set(signed(expected));
        self.oldest_task.set(oldest.as_secs_f64());
        for (state, count) in cells {
            self.scan_cells.with(&[state]).set(signed(count));
        }
        self.breaker_open.set(i64::from(breaker));
        self.suspects.set(signed(suspects));
        self.scans.set(signed(state.scans.len() as u64));
        let now = parts.clock.now();
        let starts = state.scans.keys().filter_map(|id| state.started.get(id));
        let oldest = starts.min().map_or(0.0, |at| at.as_second() as f64);
        self.scan_started.set(oldest);
        let eta = state.scans.iter().filter_map(|(id, progress)| {
            let (done, expected) = (progress.done_cells(), progress.expected_cells.max(progress.counts.cells));
            let took = now.duration_since(*state.started.get(id)?).as_secs_f64();
            (done > 0).then(|| took * expected.saturating_sub(done) as f64 / done as f64)
        });
        self.scan_eta.set(eta.fold(0.0, f64::max));
    }

    /// Sets what a look at all accounts tells; dearer, and so done less often.
    pub(crate) fn tell_accounts(&self, tally: &Tally) {
        for state in AccountState::ALL {
            self.accounts.with(&[state.as_str()]).set(tally.states.get(state.as_str()).copied().unwrap_or_default());
        }
        for ((label, _), count) in STALE.iter().zip(tally.stale) {
            self.stale.with(&[label]).set(count);
        }
        self.overdue.set(tally.overdue);
    }
}

/// What is counted of all accounts, one by one.
#[derive(Debug)]
pub(crate) struct Tally {
    now: jiff::Timestamp,
    states: BTreeMap<&'static str, i64>,
    /// In the order of [`STALE`].
    stale: [i64; STALE.len()],
    overdue: i64,
}

impl Tally {
    pub(crate) fn at(now: jiff::Timestamp) -> Self {
        Self { now, states: BTreeMap::new(), stale: [0; STALE.len()], overdue: 0 }
    }

    /// `every`: how often the schedule has it read.
    pub(crate) fn add(&mut self, one: &Listed, every: Option<Duration>) {
        let state = one.state();
        *self.states.entry(state.as_str()).or_default() += 1;
        if !matches!(state, AccountState::Pending | AccountState::Active | AccountState::Degraded) {
            return;
        }
        let last = one.status.as_ref().and_then(|status| status.last_success).unwrap_or(one.account.added_at);
        let age = Duration::try_from(self.now.duration_since(last)).unwrap_or_default();
        for ((_, limit), count) in STALE.iter().zip(&mut self.stale) {
            *count += i64::from(age > *limit);
        }
        self.overdue += i64::from(every.is_some_and(|every| age > every.saturating_mul(2)));
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::{AccountId, RegisteredAccount, SealedGrant};

    fn account(n: u32, added_at: jiff::Timestamp) -> Listed {
        let id: AccountId = format!("{:012}", 111_100_000_000_u64 + u64::from(n)).parse().expect("twelve digits");
        let grant = Some(SealedGrant { key: String::new(), sealed: String::new() });
        let account = RegisteredAccount {
            id,
            name: Some(format!("name {n}")),
            customer: None,
            regions: Vec::new(),
            profile: String::new(),
            catalogue: String::new(),
            cloudtrail_bucket: None,
            no_session_policy: false,
            organisation: None,
            added_at,
            grant,
            told: None,
            removed_at: None,
            version: 1,
        };
        Listed { account, status: None }
    }
    fn tally(accounts: &[Listed], now: jiff::Timestamp, every: Option<Duration>) -> Tally {
        let mut tally = Tally::at(now);
        accounts.iter().for_each(|one| tally.add(one, every));
        tally
    }
    fn value(metrics: &Metrics, name: &str, label: Option<&str>) -> f64 {
        let families = metrics.registry().gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        let one = family.get_metric().iter().find(|one| label.is_none_or(|l| one.get_label()[0].value() == l));
        let one = one.expect("a metric");
        one.get_gauge().get_value() + one.get_counter().get_value()
    }

    #[test]
    fn the_number_of_series_does_not_grow_with_the_accounts() {
        let metrics = Metrics::default();
        let series = || metrics.registry().gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        let now = jiff::Timestamp::from_second(1_000_000).expect("time");
        metrics.tell_accounts(&tally(&[account(0, now)], now, None));
        let before = series();
        let many: Vec<Listed> = (0..3_000).map(|n| account(n, now)).collect();
        metrics.tell_accounts(&tally(&many, now, None));
        assert_eq!(series(), before);
    }

    #[test]
    fn accounts_are_overdue_after_two_rounds_of_the_schedule() {
        let metrics = Metrics::default();
        let hours = |n: i64| jiff::Timestamp::from_second(n * 3_600).expect("time");
        let accounts = [account(1, hours(0)), account(2, hours(20))];
        metrics.tell_accounts(&tally(&accounts, hours(30), Some(Duration::from_secs(12 * 3_600))));
        assert_eq!(value(&metrics, "fleetscan_accounts_overdue", None), 1.0);
        assert_eq!(value(&metrics, "fleetscan_accounts_stale", Some("24h")), 1.0);
        metrics.tell_accounts(&tally(&accounts, hours(30), None));
        assert_eq!(value(&metrics, "fleetscan_accounts_overdue", None), 0.0);
    }

    #[test]
    fn each_revocation_counts_once_however_often_a_scan_is_looked_at() {
        let metrics = Metrics::default();
        let at = |revocations| Progress { revocations, ..Progress::default() };
        metrics.went_on(None, &at(1));
        metrics.went_on(Some(&at(1)), &at(1));
        metrics.went_on(Some(&at(1)), &at(3));
        assert_eq!(value(&metrics, "fleetscan_revocations_total", None), 3.0);
    }
}
