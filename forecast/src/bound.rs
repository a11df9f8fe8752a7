use crate::{Estate, UNPUBLISHED, calls};
use fleetscan_proto::{
    GLOBAL,
    catalogue::{LimitRate, Operation, Scope, Service},
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// STS lets the hub's account make so many calls a second, of which half is used: what sessions alone take.
const STS_RATE: f64 = 300.0;

/// A cell that takes so many seconds is a slow one.
const SLOW: f64 = 60.0;

/// The bucket that takes an account longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Binding {
    /// Of which service.
    pub service: String,
    /// Which group of its limits; with the operation, where each has a bucket of its own.
    pub group: String,
    /// Accounts whose slowest bucket it is.
    pub accounts: u64,
    /// The most seconds that it takes one of them.
    pub seconds: f64,
}

/// The least time that a scan can take, whoever makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bound {
    /// Calls that the estate needs.
    pub calls: u64,
    /// Cells.
    pub cells: u64,
    /// Seconds that the slowest bucket takes: its calls beyond the burst, at the share of its rate.
    pub buckets: f64,
    /// Seconds that the roles of all accounts take to assume.
    pub sessions: f64,
    /// Which buckets bind in how many accounts, the longest first.
    pub binding: Vec<Binding>,
    /// Calls of each account.
    #[serde(skip)]
    pub(crate) by_account: Vec<u32>,
    /// Seconds of each account's slowest bucket.
    #[serde(skip)]
    pub(crate) seconds: Vec<f32>,
    /// Cells whose slowest bucket takes long: account, region, service, seconds.
    #[serde(skip)]
    pub(crate) slow_cells: Vec<(u32, String, String, f64)>,
}

/// A bucket of one account: service, limit, operation (where each has its own), region (where each has its own).
type Key<'a> = (&'a str, usize, Option<usize>, &'a str);

impl Bound {
    /// Counts the calls of every cell of an estate, and what their buckets make of them at a share.
    pub fn of(estate: &Estate, share: f64) -> Bound {
        let mut bound = Bound {
            calls: 0,
            cells: 0,
            buckets: 0.0,
            sessions: f64::from(estate.accounts()) / STS_RATE,
            binding: Vec::new(),
            by_account: Vec::new(),
            seconds: Vec::new(),
            slow_cells: Vec::new(),
        };
        let mut binding: BTreeMap<(String, String), (u64, f64)> = BTreeMap::new();
        for account in 0..estate.accounts() {
            let mut buckets: HashMap<Key<'_>, u64> = HashMap::new();
            let mut calls = 0;
            for service in estate.catalogue.scanned() {
                let regions: Vec<&str> = match service.scope {
                    Scope::Global { .. } => vec![service.signing_region(GLOBAL)],
                    Scope::Regional => estate.regions().iter().map(String::as_str).collect(),
                };
                bound.cells += regions.len() as u64;
                for region in regions {
                    let mut of_cell: HashMap<Key<'_>, u64> = HashMap::new();
                    calls::of_cell(estate, account, region, service, &mut |operation, times| {
                        *of_cell.entry(key(estate, service, operation, region)).or_default() += times;
                    });
                    let takes =
                        of_cell.iter().map(|(key, calls)| seconds(estate, key, *calls, share)).fold(0.0, f64::max);
                    if takes >= SLOW {
                        let place = if matches!(service.scope, Scope::Global { .. }) { GLOBAL } else { region };
                        bound.slow_cells.push((account, place.to_owned(), service.id.clone(), takes));
                    }
                    for (key, times) in of_cell {
                        calls += times;
                        *buckets.entry(key).or_default() += times;
                    }
                }
            }
            bound.calls += calls;
            bound.by_account.push(u32::try_from(calls).unwrap_or(u32::MAX));
            let slowest = buckets
                .iter()
                .map(|(key, calls)| (seconds(estate, key, *calls, share), key))
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            let (longest, at) = slowest.unwrap_or((0.0, &("", 0, None, "")));
            bound.seconds.push(longest as f32);
            bound.buckets = bound.buckets.max(longest);
            if let Some((service, group)) = name(estate, at).filter(|_| longest > 0.0) {
                let (accounts, seconds) = binding.entry((service, group)).or_default();
                *accounts += 1;
                *seconds = seconds.max(longest);
            }
        }
        bound.binding = binding
            .into_iter()
            .map(|((service, group), (accounts, seconds))| Binding { service, group, accounts, seconds })
            .collect();
        bound.binding.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        bound
    }

    /// Seconds that the calls alone take, each of them `latency` seconds, so many at once.
    pub fn latency(&self, latency: f64, at_once: usize) -> f64 {
        self.calls as f64 * latency / at_once.max(1) as f64
    }

    /// The least seconds with so many calls at once.
    pub fn seconds(&self, latency: f64, at_once: usize) -> f64 {
        self.buckets.max(self.sessions).max(self.latency(latency, at_once))
    }
}

fn key<'a>(estate: &'a Estate, service: &'a Service, operation: &'a Operation, region: &'a str) -> Key<'a> {
    let owner = operation.lender.as_deref().and_then(|lender| estate.catalogue.service(lender)).map_or(service, |s| s);
    let asked = owner.operation(&operation.name).unwrap_or(operation);
    let limit = &owner.limits[asked.limit];
    let region = if limit.every_region { "*" } else { region };
    (&owner.id, asked.limit, (!limit.shared).then_some(asked.index), region)
}

fn seconds(estate: &Estate, (service, limit, _, region): &Key<'_>, calls: u64, share: f64) -> f64 {
    let Some(service) = estate.catalogue.service(service) else { return 0.0 };
    let (rate, burst) = rate_of(&service.limits[*limit].rate, region);
    let part = match service.limits[*limit].rate {
        LimitRate::Known { .. } => share,
        // The limiter finds out how far it may go.
        LimitRate::Unknown { .. } => 1.0,
    };
    ((calls as f64 - burst * part) / (rate * part)).max(0.0)
}

/// Rate and burst of AWS's own bucket in a region, as it is modelled.
pub(crate) fn rate_of(rate: &LimitRate, region: &str) -> (f64, f64) {
    match rate {
        LimitRate::Known { rate, burst, by_region } => {
            by_region.get(region).map_or((*rate, *burst), |here| (*here, here.max(1.0)))
        }
        LimitRate::Unknown { start } => (start * UNPUBLISHED, (start * UNPUBLISHED).max(1.0)),
    }
}

fn name(estate: &Estate, (service, limit, operation, _): &Key<'_>) -> Option<(String, String)> {
    let service = estate.catalogue.service(service)?;
    let group = &service.limits[*limit].group;
    let own = operation.map(|index| &service.operations[index].name).filter(|name| *name != group);
    Some((service.id.clone(), own.map_or(group.clone(), |name| format!("{group}: {name}"))))
}
