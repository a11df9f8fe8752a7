//! `fleetscan coordinator`: runs the scans of a fleet.

use crate::{
    args::CoordinatorArgs,
    backing::{self, Memory},
    failure::{COMPLETE, Failure},
    hub,
    listen::{self, Page},
    machine::HubIdentity,
    out::Out,
    page::{Access, Site},
    receivers, services, shared_folder, signals,
    vitals::Vitals,
};
use fleetscan_backends::SealedGrants;
use fleetscan_coordinator::{
    ScanOptions,
    fleet::{Coordinator, FleetOptions, FleetParts, ScheduleOptions},
    live::Live,
};
use fleetscan_proto::{AccountId, DEFAULT_PROFILE, SystemClock, TaskQueue};
use fleetscan_worker::WorkerConfig;
use std::{sync::Arc, time::Duration};

pub async fn run(args: CoordinatorArgs) -> Result<u8, Failure> {
    let stop = signals::stop_in_order()?;
    let name = backing::own_name(args.name.as_deref());
    let memory = Memory::of_fleet(&args.store).await?;
    // Before the first scan, so that workers and `doctor` on other hosts can see whether they have the same folder.
    let epoch = memory.fleet.epoch().await?;
    let sinks = args.out.s3.options(hub::network(&args.hub)?);
    shared_folder::open_and_mark(&Out::open(&args.out)?.name, &sinks, &epoch)?;
    let queue = backing::queue(&args.broker, &name).await?;
    let hub = hub::connect(&args.hub).await?;
    let receivers = match &args.receivers {
        None => Vec::new(),
        Some(file) => receivers::read(file, &hub::network(&args.hub)?)?,
    };
    let schedule = match args.every_hours {
        0 => None,
        hours => Some(ScheduleOptions {
            every: Duration::from_secs(hours * 3_600),
            out: Out::open(&args.out)?.name,
            profile: DEFAULT_PROFILE.to_owned(),
        }),
    };
    let scan = ScanOptions {
        window: args.window as usize,
        // Over the network a batch is one wait for confirms, and long ones cost less.
        publish_batch: 2_048,
        stuck_after: Duration::from_secs(args.stuck_after_seconds),
        deadline: Duration::from_secs(args.deadline_minutes * 60),
        denial_wait: Duration::from_secs(args.denial_wait_seconds),
        keep_scans: args.keep,
        ..ScanOptions::default()
    };
    let canaries = canaries(&args.canary)?;
    let (queue, hub): (Arc<dyn TaskQueue>, _) = (Arc::new(queue), Arc::new(hub));
    let vitals = Vitals::watch(Arc::clone(&memory.fleet), Arc::clone(&queue), Arc::clone(&hub));
    let check = match canaries.is_empty() {
        true => HubIdentity::new(hub),
        false => {
            let grants = SealedGrants::new(Arc::clone(&memory.registry), backing::keys(&args.key)?);
            HubIdentity::with_canaries(hub, canaries, Arc::new(grants))
        }
    };
    let parts = FleetParts {
        queue,
        store: memory.store,
        fleet: memory.fleet,
        registry: memory.registry,
        events: memory.events,
        receivers,
        hub: Arc::new(check),
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(services::catalogue().clone()),
        open_sink: Arc::new(move |name| shared_folder::open_and_mark(name, &sinks, &epoch)),
    };
    let (store, fleet, registry) = (parts.store.clone(), parts.fleet.clone(), parts.registry.clone());
    let options = FleetOptions {
        name: name.clone(),
        scan,
        lease: Duration::from_secs(10),
        beat: Duration::from_secs(1),
        scans_at_once: args.scans_at_once,
        slice: WorkerConfig::default().slice,
        share: args.share,
        schedule,
        registry_out: Some(Out::open(&args.out)?.name),
    };
    tracing::info!(name, "coordinator.begins");
    let coordinator = Arc::new(Coordinator::new(parts, options));
    if let Some(address) = args.listen {
        let asked = Arc::clone(&coordinator);
        let registries = vec![coordinator.metrics().registry().clone(), vitals.registry().clone()];
        let token = backing::page_token(args.token_file.as_deref())?;
        let live = Live::watch(store, fleet, registry, Arc::new(SystemClock));
        if token.is_none() && !address.ip().is_loopback() {
            tracing::warn!("page.no_token: beyond this machine the live page needs FLEETSCAN_TOKEN_FILE");
        }
        let site = Some(Site::new(live, Access::new(address, token.as_deref())));
        let page = Page { registries, ready: Arc::new(move || asked.ready().and_then(|()| vitals.well())), site };
        let bound = listen::serve(address, page).await?;
        tracing::info!(%bound, "coordinator.listens");
    }
    coordinator.run(stop).await?;
    tracing::info!("coordinator.ended");
    Ok(COMPLETE)
}

/// Accounts that are known to be well, as `--canary` names them.
pub fn canaries(named: &[String]) -> Result<Vec<AccountId>, Failure> {
    let read = |id: &String| id.parse().map_err(|_| Failure::usage(format!("--canary: {id} is no account id")));
    named.iter().map(read).collect()
}
