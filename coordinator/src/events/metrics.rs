use fleetscan_telemetry::{Counters, Gauges, Label, Registrar};

/// How a try to tell a receiver can end, and an event that no try helped.
const RESULTS: [&str; 3] = ["delivered", "failed", "undelivered"];

/// What Prometheus is told of the receivers, whose names are known beforehand.
#[derive(Debug, Clone)]
pub struct Deliveries {
    tries: Counters,
    pending: Gauges,
}

impl Deliveries {
    /// Metrics of these receivers.
    pub(crate) fn new<'a>(registrar: &Registrar, receivers: impl IntoIterator<Item = &'a str>) -> Self {
        let receiver = Label::new("receiver", receivers);
        let tries = registrar.counters(
            "event_deliveries_total",
            "Tries to tell a receiver of an event, by how they ended; undelivered: events that were given up",
            &[receiver.clone(), Label::new("result", RESULTS)],
        );
        let names: Vec<String> = receiver.values().map(str::to_owned).collect();
        let pending = registrar.gauges(
            "events_pending",
            "Events that a receiver has not been told of yet, by this leading coordinator's last look",
            &[receiver],
        );
        for name in &names {
            for result in RESULTS {
                tries.with(&[name, result]).inc_by(0);
            }
        }
        Self { tries, pending }
    }

    pub(super) fn delivered(&self, receiver: &str) {
        self.tries.with(&[receiver, "delivered"]).inc();
    }
    pub(super) fn failed(&self, receiver: &str) {
        self.tries.with(&[receiver, "failed"]).inc();
    }
    pub(super) fn undelivered(&self, receiver: &str, events: u64) {
        self.tries.with(&[receiver, "undelivered"]).inc_by(events);
    }
    pub(super) fn pending(&self, receiver: &str, events: u64) {
        self.pending.with(&[receiver]).set(i64::try_from(events).unwrap_or(i64::MAX));
    }
    /// Another leads, and tells.
    pub(crate) fn stand_by(&self) {
        self.pending.clear();
    }
}
