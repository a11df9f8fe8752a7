//! `fleetscan worker`: works for a fleet.

use crate::{
    args::WorkerArgs,
    backing::{self, Memory},
    failure::{COMPLETE, Failure},
    hub,
    listen::{self, Page},
    profile, scan, services, shared_folder, signals,
    vitals::Vitals,
};
use fleetscan_backends::{Keyring, SealedGrants};
use fleetscan_proto::{AccountRegistry, DEFAULT_PROFILE, SystemClock, TaskQueue};
use fleetscan_worker::{Worker, WorkerConfig, WorkerParts, sink::Sinks};
use std::{sync::Arc, time::Duration};

pub async fn run(args: WorkerArgs) -> Result<u8, Failure> {
    let stop = signals::stop_in_order()?;
    let name = backing::own_name(args.name.as_deref());
    let keys = backing::keys(&args.key)?;
    let memory = Memory::of_fleet(&args.store).await?;
    check_keys(memory.registry.as_ref(), &keys).await?;
    let hub = Arc::new(hub::connect(&args.hub).await?);
    let identity = tokio::select! {
        identity = hub.identity() => identity.map_err(Failure::failed)?,
        () = stop.cancelled() => return Ok(COMPLETE),
    };
    let queue: Arc<dyn TaskQueue> = Arc::new(backing::queue(&args.broker, &name).await?);
    let epoch = memory.fleet.epoch().await?;
    let vitals = Vitals::watch(Arc::clone(&memory.fleet), Arc::clone(&queue), Arc::clone(&hub));
    let part = profile::named(DEFAULT_PROFILE)?.of(services::catalogue()).map_err(Failure::failed)?;
    let config = WorkerConfig {
        name: name.clone(),
        slice: Duration::from_secs(args.slice_seconds),
        drain: Duration::from_secs(args.drain_seconds),
        #[cfg(debug_assertions)]
        dies_of: args.dies_of,
        session_prefix: args.hub.session_prefix.clone(),
        history: args.activity.limit(),
        archive: args.archive.archive(),
        ..scan::worker_config(args.concurrency, args.share, &part)?
    };
    let sinks = args.s3.options(hub::network(&args.hub)?);
    let worker = Worker::new(
        config,
        WorkerParts {
            queue,
            store: memory.store.clone(),
            sinks: Arc::new(Sinks::by_scan(
                memory.store,
                Arc::new(move |name| shared_folder::open_marked(name, &sinks, &epoch)),
            )),
            grants: Arc::new(SealedGrants::new(memory.registry, keys)),
            catalogue: Arc::new(services::catalogue().clone()),
            hub,
            clock: Arc::new(SystemClock),
            fleet: Some(memory.fleet),
        },
    );
    if let Some(address) = args.listen {
        let asked = Arc::clone(&worker);
        let registries = vec![worker.metrics().registry().clone(), vitals.registry().clone()];
        let page = Page { registries, ready: Arc::new(move || asked.ready().and_then(|()| vitals.well())), site: None };
        let bound = listen::serve(address, page).await?;
        tracing::info!(%bound, "worker.listens");
    }
    tracing::info!(name, arn = %identity.arn, "worker.begins");
    worker.run(stop).await.map_err(|error| Failure::failed(format!("{error:#}")))?;
    tracing::info!("worker.ended");
    Ok(COMPLETE)
}

/// A key that opens nothing should be known before the first account is touched.
async fn check_keys(registry: &dyn AccountRegistry, keys: &Keyring) -> Result<(), Failure> {
    let some = registry.registered_accounts(None, 16).await?;
    match some.iter().find_map(|account| Some((account, account.grant.as_ref()?))) {
        Some((account, grant)) => keys.open(&account.id, grant).map(drop).map_err(Failure::usage),
        None => Ok(()),
    }
}
