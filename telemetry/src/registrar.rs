//! Makes metrics and registers them.

use crate::label::{Family, Label};
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// Counters by label.
pub type Counters = Family<IntCounterVec>;
/// Counters of seconds by label.
pub type Seconds = Family<CounterVec>;
/// Gauges by label.
pub type Gauges = Family<IntGaugeVec>;
/// Gauges of fractions by label.
pub type Ratios = Family<GaugeVec>;
/// Histograms by label.
pub type Histograms = Family<HistogramVec>;

/// The prefix of every metric that is ours.
const PREFIX: &str = "fleetscan";

/// Makes metrics, all with the prefix `fleetscan_`, and registers them.
#[derive(Debug, Clone, Default)]
pub struct Registrar {
    registry: Registry,
}

impl Registrar {
    /// Where they are gathered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers a metric. One that cannot be made or registered is a mistake in our own files, which the tests find;
    /// the process works all the same.
    pub fn register<C: Collector + Clone + 'static>(&self, metric: Result<C, prometheus::Error>) -> C {
        let metric = metric.unwrap_or_else(|error| unreachable!("a metric of ours: {error}"));
        if let Err(error) = self.registry.register(Box::new(metric.clone())) {
            tracing::error!(%error, "metric.not_registered");
        }
        metric
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)))
    }
    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)))
    }
    /// A gauge of any number: seconds, ratios.
    pub fn ratio(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(opts(name, help)))
    }
    /// A histogram.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(histogram_opts(name, help, buckets)))
    }
    /// Counters by label.
    pub fn counters(&self, name: &str, help: &str, labels: &[Label]) -> Counters {
        Family::new(self.register(IntCounterVec::new(opts(name, help), &names(labels))), labels)
    }
    /// Counters of seconds by label.
    pub fn seconds(&self, name: &str, help: &str, labels: &[Label]) -> Seconds {
        Family::new(self.register(CounterVec::new(opts(name, help), &names(labels))), labels)
    }
    /// Gauges of whole numbers by label.
    pub fn gauges(&self, name: &str, help: &str, labels: &[Label]) -> Gauges {
        Family::new(self.register(IntGaugeVec::new(opts(name, help), &names(labels))), labels)
    }
    /// Histograms by label.
    pub fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[Label]) -> Histograms {
        Family::new(self.register(HistogramVec::new(histogram_opts(name, help, buckets), &names(labels))), labels)
    }
    /// Gauges that are not registered: for a collector that sets them when it is asked.
    pub fn unregistered_ratios(name: &str, help: &str, labels: &[Label]) -> Ratios {
        let made = GaugeVec::new(opts(name, help), &names(labels));
        Family::new(made.unwrap_or_else(|error| unreachable!("a metric of ours: {error}")), labels)
    }
}

pub(crate) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace(PREFIX).buckets(buckets.to_vec())
}

fn names(labels: &[Label]) -> Vec<&'static str> {
    labels.iter().map(Label::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OTHER;

    #[test]
    fn a_value_that_was_not_announced_is_shown_as_other() {
        let metrics = Registrar::default();
        let family = metrics.counters("things_total", "Things", &[Label::new("kind", ["a", "b"])]);
        family.with(&["a"]).inc();
        for n in 0..10_000 {
            family.with(&[&format!("made up {n}")]).inc();
        }
        let gathered = metrics.registry().gather();
        assert_eq!(gathered[0].get_metric().len(), 2, "`a` and `other`");
        assert_eq!(family.with(&[OTHER]).get(), 10_000);
        assert_eq!(family.bound(), 3);
    }

    #[test]
    fn what_has_not_happened_yet_says_zero() {
        let metrics = Registrar::default();
        metrics.counters("things_total", "Things", &[Label::new("kind", ["a", "b"])]).begin();
        assert_eq!(metrics.registry().gather()[0].get_metric().len(), 2);
    }
}
