//! Figures of the process and of Tokio, read when they are asked for.

use crate::registrar::{Registrar, opts};
use prometheus::{
    Counter, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::runtime::Handle;

/// What Tokio says of itself.
#[derive(Debug, Clone)]
pub struct Runtime {
    handle: Handle,
    tasks: IntGauge,
    queued: IntGauge,
    threads: IntGauge,
    busy: Counter,
}

impl Runtime {
    /// The runtime behind `handle`.
    ///
    /// # Errors
    /// When a metric cannot be made, which is a mistake in this file.
    pub fn new(handle: Handle) -> Result<Self, prometheus::Error> {
        Ok(Self {
            handle,
            tasks: IntGauge::with_opts(opts("tokio_tasks", "Tasks of the runtime that are alive"))?,
            queued: IntGauge::with_opts(opts("tokio_queued_tasks", "Tasks that wait in the runtime's global queue"))?,
            threads: IntGauge::with_opts(opts("tokio_threads", "Threads that run tasks"))?,
            busy: Counter::with_opts(opts(
                "tokio_busy_seconds_total",
                "Time that the runtime's threads have worked, summed over them",
            ))?,
        })
    }
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        [self.tasks.desc(), self.queued.desc(), self.threads.desc(), self.busy.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.handle.metrics();
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.tasks.set(signed(metrics.num_alive_tasks()));
        self.queued.set(signed(metrics.global_queue_depth()));
        self.threads.set(signed(metrics.num_workers()));
        let busy = (0..metrics.num_workers()).map(|n| metrics.worker_total_busy_duration(n).as_secs_f64());
        self.busy.inc_by((busy.sum::<f64>() - self.busy.get()).max(0.0));
        [self.tasks.collect(), self.queued.collect(), self.threads.collect(), self.busy.collect()].concat()
    }
}

/// Adds the process's memory, processor time and files, and its runtime.
pub fn register_process(registrar: &Registrar) {
    registrar.register(Runtime::new(Handle::current()));
    #[cfg(target_os = "linux")]
    {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        if let Err(error) = registrar.registry().register(Box::new(process)) {
            tracing::error!(%error, "metric.not_registered");
        }
    }
}
