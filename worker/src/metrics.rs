//! What a worker tells Prometheus. Labels come from the catalogue and from enumerations: none is unbounded.

mod limiters;

use crate::{account::Accounts, archive, classify::Class};
use fleetscan_proto::{Outcome, catalogue::Catalogue};
use fleetscan_telemetry::{Counters, Histograms, Label, Registrar, Seconds};
use limiters::LimiterFactors;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};
use std::{sync::Arc, time::Duration};

/// Seconds of a call: from a near region's to a throttled API's.
const CALL_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds of a wait for a permit: beyond ten, a cell is put off.
const WAIT_BUCKETS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Seconds of a cell, over all of its slices: from an empty list to a giant of hours.
const CELL_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0];
/// How a call can end: `ok`, what stands between us and AWS, and [`result_of`] every class.
const RESULTS: [&str; 12] = [
    "ok",
    "transport",
    "throttled",
    "denied",
    "denied_by_scp",
    "absent",
    "region_disabled",
    "session_expired",
    "session_invalid",
    "bad_token",
    "transient",
    "permanent",
];
/// How an AssumeRole can end.
const ASSUMED: [&str; 7] = ["ok", "our_fault", "denied", "hub_expired", "permanent", "throttled", "transient"];

/// A worker's metrics, all with the prefix `fleetscan_`.
#[derive(Debug)]
pub struct Metrics {
    registrar: Registrar,
    tasks: Counters,
    task_seconds: Histograms,
    tasks_in_flight: IntGauge,
    calls: Counters,
    call_seconds: Histograms,
    wait_seconds: Histograms,
    throttle_seconds: Seconds,
    deferrals: Counters,
    assume_role: Counters,
    assume_role_seconds: Histogram,
    sessions: IntGauge,
    records: Counters,
    bytes: IntCounter,
    services: Label,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Catalogue::built_in())
    }
}

impl Metrics {
    /// The metrics of a worker that reads by this catalogue.
    pub fn new(catalogue: &Catalogue) -> Self {
        let registrar = Registrar::default();
        let services = Label::new("service", catalogue.services().iter().map(|service| service.id.as_str()));
        let operations = catalogue.services().iter().flat_map(|service| &service.operations);
        let operations = operations.map(|operation| operation.name.as_str());
        let of_archive = archive::operations().map(|operation| operation.name.as_str());
        let operations = Label::new("operation", operations.chain(of_archive));
        let outcomes = Label::new("outcome", Outcome::ALL.map(Outcome::as_str));
        let by_service = std::slice::from_ref(&services);
        let metrics = Self {
            tasks: registrar.counters("tasks_total", "Cells that ended, by outcome", &[services.clone(), outcomes]),
            task_seconds: registrar.histograms(
                "task_seconds",
                "Working time of cells that ended",
                CELL_BUCKETS,
                by_service,
            ),
            tasks_in_flight: registrar.gauge("tasks_in_flight", "Cells under way"),
            calls: registrar.counters(
                "api_calls_total",
                "Calls to AWS on customers' sessions, by how they ended",
                &[services.clone(), operations, Label::new("result", RESULTS)],
            ),
            call_seconds: registrar.histograms(
                "api_call_seconds",
                "Time of calls to AWS, without waiting for a permit",
                CALL_BUCKETS,
                by_service,
            ),
            wait_seconds: registrar.histograms(
                "limiter_wait_seconds",
                "Time that calls waited for a permit",
                WAIT_BUCKETS,
                by_service,
            ),
            throttle_seconds: registrar.seconds(
                "throttled_seconds_total",
                "Time that calls and tasks stood back because AWS had throttled them",
                by_service,
            ),
            deferrals: registrar.counters(
                "deferrals_total",
                "Cells that were put off because their bucket was far from its next token",
                by_service,
            ),
            assume_role: registrar.counters(
                "assume_role_total",
                "AssumeRole calls, by how they ended",
                &[Label::new("result", ASSUMED)],
            ),
            assume_role_seconds: registrar.histogram("assume_role_seconds", "Time of AssumeRole calls", CALL_BUCKETS),
            sessions: registrar.gauge("sessions", "Accounts with a session in memory"),
            records: registrar.counters("records_total", "Records written", by_service),
            bytes: registrar.counter("result_bytes_total", "Bytes of parts written, compressed"),
            services,
            registrar,
        };
        metrics.begin(catalogue);
        metrics
    }

    /// What every healthy worker has some of begins at zero, so that a rate has where to begin.
    fn begin(&self, catalogue: &Catalogue) {
        for family in [&self.deferrals, &self.records, &self.assume_role] {
            family.begin();
        }
        self.throttle_seconds.begin();
        for service in catalogue.services() {
            for outcome in Outcome::ALL {
                let _zero = self.tasks.with(&[&service.id, outcome.as_str()]);
            }
            for operation in &service.operations {
                for result in ["ok", "throttled"] {
                    let _zero = self.calls.with(&[&service.id, &operation.name, result]);
                }
            }
        }
    }

    /// Tells, whenever it is asked, how far the limiters of the accounts in work are cut.
    pub(crate) fn watch_limiters(&self, accounts: &Arc<Accounts>) {
        self.registrar.register(Ok(LimiterFactors::new(&self.services, accounts)));
    }

    /// Where they are gathered.
    pub fn registry(&self) -> &Registry {
        self.registrar.registry()
    }

    pub(crate) fn cell_ended(&self, service: &str, outcome: Outcome, seconds: f64) {
        self.tasks.with(&[service, outcome.as_str()]).inc();
        self.task_seconds.with(&[service]).observe(seconds);
    }

    pub(crate) fn part_written(&self, service: &str, records: u64, bytes: u64) {
        self.records.with(&[service]).inc_by(records);
        self.bytes.inc_by(bytes);
    }

    pub(crate) fn called(&self, service: &str, operation: &str, result: &str, took: Duration) {
        self.calls.with(&[service, operation, result]).inc();
        self.call_seconds.with(&[service]).observe(took.as_secs_f64());
    }

    pub(crate) fn waited(&self, service: &str, took: Duration) {
        self.wait_seconds.with(&[service]).observe(took.as_secs_f64());
    }

    /// AWS throttled a call, and its caller stands back for so long.
    pub(crate) fn stood_back(&self, service: &str, wait: Duration) {
        self.throttle_seconds.with(&[service]).inc_by(wait.as_secs_f64());
    }

    /// A cell was put off: nothing is lost but its time.
    pub(crate) fn deferred(&self, service: &str) {
        self.deferrals.with(&[service]).inc();
    }

    pub(crate) fn assumed(&self, result: &str, took: Duration) {
        self.assume_role.with(&[result]).inc();
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

    fn told(metrics: &Metrics) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry().gather(), &mut text).expect("encodes");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn no_label_grows_with_what_is_read() {
        let metrics = Metrics::default();
        let before = metrics.registry().gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        for n in 0..5_000 {
            let strange = format!("strange-{n}");
            metrics.cell_ended(&strange, Outcome::Complete, 1.0);
            metrics.part_written(&strange, 3, 400);
            metrics.called(&strange, &strange, &strange, Duration::from_millis(20));
            metrics.waited(&strange, Duration::from_secs(1));
            metrics.stood_back(&strange, Duration::from_secs(1));
            metrics.deferred(&strange);
            metrics.assumed(&strange, Duration::from_millis(20));
        }
        let after = metrics.registry().gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        assert!(after - before < 20, "{before} series before, {after} after 5,000 values that nobody announced");
    }

    #[test]
    fn every_class_of_an_answer_has_its_value() {
        let by = fleetscan_proto::DeniedBy::Scp;
        for class in [
            Class::Throttled,
            Class::Denied(by),
            Class::Denied(fleetscan_proto::DeniedBy::Identity),
            Class::Absent,
            Class::NotSubscribed,
            Class::SessionExpired,
            Class::SessionInvalid,
            Class::BadToken,
            Class::Transient,
            Class::Permanent,
        ] {
            assert!(RESULTS.contains(&result_of(class)), "{class:?}");
        }
    }

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
        metrics.stood_back("lambda", Duration::from_millis(2_500));
        metrics.deferred("lambda");
        let text = told(&metrics);
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
            "fleetscan_throttled_seconds_total{service=\"lambda\"} 2.5",
            "fleetscan_deferrals_total{service=\"lambda\"} 1",
            "fleetscan_api_calls_total{operation=\"ListTopics\",result=\"throttled\",service=\"sns\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
