//! Whether what a process of the fleet stands on is there: store, broker and hub, asked again and again.

use crate::breaker::describe;
use fleetscan_coordinator::fleet::breaker;
use fleetscan_proto::{Fleet, TaskQueue};
use fleetscan_telemetry::{Gauges, Label, Registrar, register_process};
use fleetscan_worker::Hub;
use prometheus::{Gauge, IntGauge, Registry};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::MissedTickBehavior;

/// How often store and broker are asked.
const OFTEN: Duration = Duration::from_secs(5);
/// How often the hub is asked who it is, and for how long.
const SELDOM: Duration = Duration::from_secs(60);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
const PARTS: [&str; 3] = ["broker", "hub", "store"];

/// How the parts answered last.
pub struct Vitals {
    registrar: Registrar,
    up: Gauges,
    ends: Gauge,
    renewable: IntGauge,
    /// By part, what is wrong with it; `None`: it has not answered yet.
    found: Mutex<BTreeMap<&'static str, Option<Result<(), String>>>>,
    /// How the breaker stands, in a sentence; no reason to send this process nothing more.
    breaker: Mutex<Option<String>>,
}

impl Vitals {
    /// Asks from now on, for as long as the process lives.
    pub fn watch(fleet: Arc<dyn Fleet>, queue: Arc<dyn TaskQueue>, hub: Arc<Hub>) -> Arc<Self> {
        let registrar = Registrar::default();
        register_process(&registrar);
        let version = registrar.gauges(
            "build_info",
            "1, with the version of this process",
            &[Label::new("version", [env!("CARGO_PKG_VERSION")])],
        );
        version.with(&[env!("CARGO_PKG_VERSION")]).set(1);
        let vitals = Arc::new(Self {
            up: registrar.gauges(
                "up",
                "1 where the part answered this process when it was last asked, 0 where it did not",
                &[Label::new("part", PARTS)],
            ),
            ends: registrar.ratio(
                "hub_credentials_expiry_timestamp_seconds",
                "When the credentials end that fleetscan itself runs with; 0 where they do not say, or there are none",
            ),
            renewable: registrar
                .gauge("hub_credentials_expire", "1 where the credentials that fleetscan itself runs with have an end"),
            registrar,
            found: Mutex::new(PARTS.map(|part| (part, None)).into()),
            breaker: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&vitals).ask_store_and_broker(fleet, queue));
        tokio::spawn(Arc::clone(&vitals).ask_hub(hub));
        vitals
    }

    /// Where its metrics are gathered.
    pub fn registry(&self) -> &Registry {
        self.registrar.registry()
    }

    /// How every part answered when it was last asked, a line each, and how the breaker stands.
    ///
    /// # Errors
    /// The same lines, where a part is not there.
    pub fn well(&self) -> Result<String, String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(part, found): (&&str, &Option<Result<(), String>>)| match found {
            Some(Ok(())) => format!("{part}: ok\n"),
            Some(Err(why)) => format!("{part}: {why}\n"),
            None => format!("{part}: not asked yet\n"),
        };
        let mut lines: String = found.iter().map(line).collect();
        if let Some(breaker) = self.breaker.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            lines.push_str(&format!("breaker: {breaker}\n"));
        }
        if found.values().any(|found| matches!(found, Some(Err(_)))) { Err(lines) } else { Ok(lines) }
    }

    async fn ask_store_and_broker(self: Arc<Self>, fleet: Arc<dyn Fleet>, queue: Arc<dyn TaskQueue>) {
        let mut ticks = tokio::time::interval(OFTEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut mark = String::new();
        loop {
            ticks.tick().await;
            let store = async {
                let epoch = fleet.epoch().await.map_err(|error| error.to_string())?;
                fleet.now().await.map_err(|error| error.to_string())?;
                Ok(epoch)
            };
            let epoch = in_time(store).await;
            if let Ok(breaker) = in_time(async { breaker(fleet.as_ref()).await.map_err(|e| e.to_string()) }).await {
                *self.breaker.lock().unwrap_or_else(PoisonError::into_inner) = Some(describe(breaker.as_ref()));
            }
            self.note("store", epoch.as_ref().map(drop).map_err(Clone::clone));
            mark = epoch.unwrap_or(mark);
            let broker = async { queue.is_marked(&mark).await.map(drop).map_err(|error| error.to_string()) };
            self.note("broker", in_time(broker).await);
        }
    }

    async fn ask_hub(self: Arc<Self>, hub: Arc<Hub>) {
        let mut ticks = tokio::time::interval(SELDOM);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let ends = in_time(async { hub.credentials_end().await.map_err(|error| error.to_string()) }).await;
            let at = ends.as_ref().ok().copied().flatten();
            self.renewable.set(i64::from(at.is_some()));
            self.ends.set(at.map_or(0.0, |at| at.as_second() as f64));
            let who = in_time(async { hub.identity().await.map(drop).map_err(|error| error.to_string()) }).await;
            self.note("hub", ends.and(who));
        }
    }

    fn note(&self, part: &'static str, now: Result<(), String>) {
        self.up.with(&[part]).set(i64::from(now.is_ok()));
        let before =
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(part, Some(now.clone())).flatten();
        match (before, now) {
            // Told when it changes, not at each look.
            (None | Some(Ok(())), Err(why)) => tracing::error!(part, error = why, "vitals.away"),
            (Some(Err(_)), Ok(())) => tracing::info!(part, "vitals.back"),
            _ => {}
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
