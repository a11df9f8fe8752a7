//! What a worker tells Prometheus. Labels come from the catalogue and from enumerations: none is unbounded.

use crate::classify::Class;
use fleetscan_proto::Outcome;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};
use std::time::Duration;

/// Seconds of a call: from a near region's to a throttled API's.
const CALL_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds of a wait for a permit, or of a task.
const LONG_BUCKETS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// A worker's metrics, all with the prefix `fleetscan_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tasks: IntCounterVec,
    task_seconds: HistogramVec,
    tasks_in_flight: IntGauge,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    wait_seconds: HistogramVec,
    assume_role: IntCounterVec,
    assume_role_seconds: Histogram,
    sessions: IntGauge,
    records: IntCounterVec,
    bytes: IntCounter,
}

/// Registers a metric. One that cannot be registered is a mistake in this file, which the tests find; the worker
/// works all the same.
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
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(opts(name, help), labels))
        };
        let times = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).namespace("fleetscan").buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(opts, &["service"]))
        };
        let assume_role_seconds = HistogramOpts::new("assume_role_seconds", "Time of AssumeRole calls")
            .namespace("fleetscan")
            .buckets(CALL_BUCKETS.to_vec());
        Self {
            tasks: counters("tasks_total", "Cells that ended, by outcome", &["service", "outcome"]),
            task_seconds: times("task_seconds", "Working time of cells that ended", LONG_BUCKETS),
            tasks_in_flight: registered(&registry, IntGauge::with_opts(opts("tasks_in_flight", "Cells under way"))),
            calls: counters(
                "api_calls_total",
                "Calls to AWS on customers' sessions, by how they ended",
                &["service", "operation", "result"],
            ),
            call_seconds: times("api_call_seconds", "Time of calls to AWS, without waiting for a permit", CALL_BUCKETS),
            wait_seconds: times("limiter_wait_seconds", "Time that calls waited for a permit", LONG_BUCKETS),
            assume_role: counters("assume_role_total", "AssumeRole calls, by how they ended", &["result"]),
            assume_role_seconds: registered(&registry, Histogram::with_opts(assume_role_seconds)),
            sessions: registered(&registry, IntGauge::with_opts(opts("sessions", "Accounts with a session in memory"))),
            records: counters("records_total", "Records written", &["service"]),
            bytes: registered(
                &registry,
                IntCounter::with_opts(opts("result_bytes_total", "Bytes of parts written, compressed")),
            ),
            registry,
        }
    }
}

impl Metrics {
    /// Where they are gathered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn cell_ended(&self, service: &str, outcome: Outcome, seconds: f64) {
        self.tasks.with_label_values(&[service, outcome.as_str()]).inc();
        self.task_seconds.with_label_values(&[service]).observe(seconds);
    }

    pub(crate) fn part_written(&self, service: &str, records: u64, bytes: u64) {
        self.records.with_label_values(&[service]).inc_by(records);
        self.bytes.inc_by(bytes);
    }

    pub(crate) fn called(&self, service: &str, operation: &str, result: &str, took: Duration) {
        self.calls.with_label_values(&[service, operation, result]).inc();
        self.call_seconds.with_label_values(&[service]).observe(took.as_secs_f64());
    }

    pub(crate) fn waited(&self, service: &str, took: Duration) {
        self.wait_seconds.with_label_values(&[service]).observe(took.as_secs_f64());
    }

    pub(crate) fn assumed(&self, result: &str, took: Duration) {
        self.assume_role.with_label_values(&[result]).inc();
        self.assume_role_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn set_sessions(&self, sessions: usize) {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// Counts a cell as under way for as long as the answer lives.
    pub(crate) fn cell_in_flight(&self) -> CellInFlight {
        self.tasks_in_flight.inc();
        CellInFlight(self.tasks_in_flight.clone())
    }
}

pub(crate) struct CellInFlight(IntGauge);

impl Drop for CellInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A class as a label.
pub(crate) fn result_of(class: Class) -> &'static str {
    match class {
        Class::Throttled => "throttled",
        Class::Denied(fleetscan_proto::DeniedBy::Scp) => "denied_by_scp",
        Class::Denied(_) => "denied",
        Class::Absent => "absent",
        Class::NotSubscribed => "region_disabled",
        Class::SessionExpired => "session_expired",
        Class::SessionInvalid => "session_invalid",
        Class::BadToken => "bad_token",
        Class::Transient => "transient",
        Class::Permanent => "permanent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder as _, TextEncoder};

    #[test]
    fn every_metric_is_there_under_its_name() {
        let metrics = Metrics::default();
        metrics.cell_ended("lambda", Outcome::Complete, 1.0);
        metrics.part_written("lambda", 3, 400);
        metrics.called("lambda", "ListFunctions", "ok", Duration::from_millis(20));
        metrics.waited("lambda", Duration::from_secs(1));
        metrics.assumed("ok", Duration::from_millis(20));
        metrics.set_sessions(2);
        let _one = metrics.cell_in_flight();
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry().gather(), &mut text).expect("encodes");
        let text = String::from_utf8(text).expect("text");
        for line in [
            "fleetscan_tasks_total{outcome=\"complete\",service=\"lambda\"} 1",
            "fleetscan_tasks_in_flight 1",
            "fleetscan_api_calls_total{operation=\"ListFunctions\",result=\"ok\",service=\"lambda\"} 1",
            "fleetscan_api_call_seconds_count{service=\"lambda\"} 1",
            "fleetscan_limiter_wait_seconds_count{service=\"lambda\"} 1",
            "fleetscan_assume_role_total{result=\"ok\"} 1",
            "fleetscan_sessions 2",
            "fleetscan_records_total{service=\"lambda\"} 3",
            "fleetscan_result_bytes_total 400",
            "fleetscan_task_seconds_count{service=\"lambda\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
