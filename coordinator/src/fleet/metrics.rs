//! What a coordinator tells Prometheus: gauges that the one that leads sets at each beat, from the store and the queue.

use super::{CoordinatorState, FleetParts};
use crate::connections::Listed;
use fleetscan_proto::{AccountState, StoreError};
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};
use std::{collections::BTreeMap, time::Duration};

/// Every state an account may have, so that a state without accounts says 0.
const STATES: [(AccountState, &str); 6] = [
    (AccountState::Pending, "pending"),
    (AccountState::Active, "active"),
    (AccountState::Degraded, "degraded"),
    (AccountState::Revoked, "revoked"),
    (AccountState::Paused, "paused"),
    (AccountState::Disconnected, "disconnected"),
];
/// Ages by which stale accounts are told.
const STALE: [(&str, Duration); 3] = [
    ("24h", Duration::from_secs(24 * 3_600)),
    ("3d", Duration::from_secs(3 * 24 * 3_600)),
    ("7d", Duration::from_secs(7 * 24 * 3_600)),
];

/// A coordinator's metrics, all with the prefix `fleetscan_`. One that stands by tells only that it does.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leads: IntGauge,
    accounts: IntGaugeVec,
    stale: IntGaugeVec,
    breaker_open: IntGauge,
    scan_cells: IntGaugeVec,
    scans: IntGauge,
    scan_started: Gauge,
    scan_eta: Gauge,
    queue: IntGaugeVec,
    workers: IntGauge,
    suspects: IntGauge,
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: Result<C, prometheus::Error>) -> C {
    let metric = metric.unwrap_or_else(|error| unreachable!("a metric of this file: {error}"));
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::error!(%error, "metric.not_registered");
    }
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("fleetscan");
        let one = |name: &str, help: &str| registered(&registry, IntGauge::with_opts(opts(name, help)));
        let many =
            |name: &str, help: &str, label: &str| registered(&registry, IntGaugeVec::new(opts(name, help), &[label]));
        let time = |name: &str, help: &str| registered(&registry, Gauge::with_opts(opts(name, help)));
        Self {
            leads: one("coordinator_leads", "1 where this coordinator leads"),
            accounts: many("accounts", "Accounts by where they stand", "status"),
            stale: many("accounts_stale", "Connected accounts that were not let in for so long", "older_than"),
            breaker_open: one(
                "hub_breaker_open",
                "1 while so many accounts deny AssumeRole that none is marked revoked",
            ),
            scan_cells: many("scan_cells", "Cells of the scans under way: pending, and done by outcome", "state"),
            scans: one("scans", "Scans under way"),
            scan_started: time("scan_started_timestamp_seconds", "When the oldest scan under way began, 0 if none"),
            scan_eta: time(
                "scan_eta_seconds",
                "How long the longest of the scans under way will still take, by its pace",
            ),
            queue: many("queue_messages", "Tasks in the broker: ready, delayed and dead; held by workers", "queue"),
            workers: one("workers", "Workers that report"),
            suspects: one("accounts_suspect", "Accounts that denied AssumeRole and wait for a verdict"),
            registry,
        }
    }
}

impl Metrics {
    /// Where they are gathered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn stands_by(&self) {
        self.leads.set(0);
    }

    /// Sets what follows from the store, the queue and the scans under way.
    pub(crate) async fn refresh(&self, parts: &FleetParts, state: &CoordinatorState) -> Result<(), StoreError> {
        self.leads.set(1);
        let reports = parts.fleet.workers().await?;
        self.workers.set(signed(reports.len() as u64));
        self.queue.with_label_values(&["held"]).set(signed(reports.iter().map(|report| report.held).sum()));
        if let Ok(depth) = parts.queue.depth().await {
            for (queue, messages) in [("ready", depth.ready), ("delayed", depth.delayed), ("dead", depth.dead)] {
                self.queue.with_label_values(&[queue]).set(signed(messages));
            }
        }
        self.tell_scans(parts, state);
        Ok(())
    }

    fn tell_scans(&self, parts: &FleetParts, state: &CoordinatorState) {
        let mut cells: BTreeMap<&str, u64> = BTreeMap::from([("pending", 0)]);
        let (mut breaker, mut suspects) = (false, 0);
        for progress in state.scans.values() {
            *cells.entry("pending").or_default() += progress.counts.pending();
            for (outcome, count) in &progress.counts.outcomes {
                *cells.entry(outcome.as_str()).or_default() += count;
            }
            breaker |= progress.breaker_open;
            suspects += progress.suspects;
        }
        self.scan_cells.reset();
        for (state, count) in cells {
            self.scan_cells.with_label_values(&[state]).set(signed(count));
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
    pub(crate) fn tell_accounts(&self, accounts: &[Listed], now: jiff::Timestamp) {
        for (state, label) in STATES {
            let count = accounts.iter().filter(|account| account.state() == state).count();
            self.accounts.with_label_values(&[label]).set(signed(count as u64));
        }
        let connected = |one: &&Listed| {
            matches!(one.state(), AccountState::Pending | AccountState::Active | AccountState::Degraded)
        };
        for (label, age) in STALE {
            let count = accounts.iter().filter(connected).filter(|one| {
                let last = one.status.as_ref().and_then(|status| status.last_success).unwrap_or(one.account.added_at);
                Duration::try_from(now.duration_since(last)).is_ok_and(|since| since > age)
            });
            self.stale.with_label_values(&[label]).set(signed(count.count() as u64));
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
