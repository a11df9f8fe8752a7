//! How far the limiters are cut at present, read from them when Prometheus asks.

use crate::account::Accounts;
use fleetscan_telemetry::{Label, Ratios, Registrar};
use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// The learned factors of the buckets in use, by service. One that nothing is in use of says 1: it is not held back.
#[derive(Debug, Clone)]
pub(super) struct LimiterFactors {
    accounts: Weak<Accounts>,
    services: Label,
    mean: Ratios,
    lowest: Ratios,
}

impl LimiterFactors {
    pub(super) fn new(services: &Label, accounts: &Arc<Accounts>) -> Self {
        let gauges = |name, help| Registrar::unregistered_ratios(name, help, std::slice::from_ref(services));
        Self {
            accounts: Arc::downgrade(accounts),
            services: services.clone(),
            mean: gauges(
                "limiter_factor_mean",
                "What throttling left of the rates that AWS publishes or that were assumed, 1 is all; mean of the buckets in use",
            ),
            lowest: gauges("limiter_factor_lowest", "The same, of the bucket that is cut the most"),
        }
    }
}

impl Collector for LimiterFactors {
    fn desc(&self) -> Vec<&Desc> {
        [self.mean.vector().desc(), self.lowest.vector().desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut factors: BTreeMap<String, (f64, f64, f64)> = BTreeMap::new();
        if let Some(accounts) = self.accounts.upgrade() {
            accounts.each_factor(&mut |service, factor| {
                let (count, sum, lowest) = factors.entry(service.to_owned()).or_insert((0.0, 0.0, f64::INFINITY));
                (*count, *sum, *lowest) = (*count + 1.0, *sum + factor, lowest.min(factor));
            });
        }
        for service in self.services.values() {
            let (count, sum, lowest) = factors.get(service).copied().unwrap_or((1.0, 1.0, 1.0));
            self.mean.with(&[service]).set(sum / count);
            self.lowest.with(&[service]).set(lowest);
        }
        [self.mean.vector().collect(), self.lowest.vector().collect()].concat()
    }
}
