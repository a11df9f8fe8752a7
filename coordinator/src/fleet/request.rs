//! Asking for scans: what `scans start` and the schedule do. The store carries the request; whoever leads runs it.

use crate::{ScanError, connections::Pages, dispatch::PAGE, plan, plan::Services};
use fleetscan_proto::{
    AccountId, AccountRegistry, AccountState, Lane, Profile, ScanAccountState, ScanId, ScanRow, ScanSpec, ScanState,
    Store, StoreError, catalogue::Catalogue,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, time::Duration};

/// A scan of this many accounts at most is an operator's own errand, and goes by the urgent lane.
const FEW: usize = 20;

/// What is to be scanned.
#[derive(Debug, Clone, Default)]
pub struct StartRequest {
    /// These accounts; empty: every one that is connected.
    pub accounts: Vec<AccountId>,
    /// Regional cells are limited to these; empty: every enabled region.
    pub regions: Vec<String>,
    /// The catalogue's services to read; empty: all.
    pub services: Vec<String>,
    /// Root of the results.
    pub out: String,
    /// Name of the profile.
    pub profile: String,
    /// Its text, where it is not one of fleetscan's own.
    pub profile_file: Option<String>,
    /// How urgent, where the number of accounts does not tell.
    pub lane: Lane,
    /// After so long, what has no outcome gets one.
    pub deadline: Option<Duration>,
    /// The schedule asks.
    pub scheduled: bool,
}

/// A scan that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: ScanId,
    /// Its accounts.
    pub accounts: u64,
    /// Connected accounts that are left out because they are paused.
    pub paused: u64,
    /// It was under way already, and reads the accounts first that were asked for.
    pub joined: bool,
}

/// What became of the wish to go on with a cancelled scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// So many cells are read again.
    Cells(u64),
    /// It is under way.
    Running,
    /// It is over, or unknown: why it cannot be resumed.
    Not(String),
}

/// Asks for a scan. Where one is under way that will read the same of these accounts, that one is answered, and they
/// go before its others.
///
/// # Errors
/// When an account is not connected, or none is left to scan.
pub async fn start(
    store: &dyn Store,
    registry: &dyn AccountRegistry,
    catalogue: &Catalogue,
    now: Timestamp,
    request: StartRequest,
) -> Result<Started, ScanError> {
    let (ids, paused) = connected(store, registry, &request.accounts).await?;
    if ids.is_empty() {
        let why = if paused > 0 { "every account is paused" } else { "no account is connected" };
        return Err(ScanError::Refused(why.to_owned()));
    }
    let profile = Profile::of_scan(&request.profile, request.profile_file.as_deref());
    let part = profile.and_then(|profile| profile.of(catalogue)).map_err(|e| ScanError::Refused(e.to_string()))?;
    let services = Services::of(&part, &request.services).all();
    let scope = scope(&part, &services, &request);
    if let Some(row) = under_way(store, &scope, &ids).await? {
        let all = row.spec.accounts == ids.len() as u64;
        if !all {
            store.hasten(&row.spec.id, &ids).await?;
        }
        return Ok(Started { id: row.spec.id, accounts: row.spec.accounts, paused, joined: true });
    }
    let urgent = !request.accounts.is_empty() && ids.len() <= FEW;
    let spec = ScanSpec {
        id: ScanId::new(now, rand::random()),
        plan: scope,
        started_at: now,
        regions: request.regions,
        services,
        catalogue: part.digest().to_owned(),
        operations: part.operation_names(),
        profile: request.profile,
        profile_file: request.profile_file,
        out: request.out,
        accounts: ids.len() as u64,
        lane: if urgent { Lane::Urgent } else { request.lane },
        deadline_seconds: request.deadline.map(|deadline| deadline.as_secs()),
        scheduled: request.scheduled,
    };
    store.create_scan(&spec, &ids).await?;
    Ok(Started { id: spec.id, accounts: spec.accounts, paused, joined: false })
}

/// Goes on with a scan that was cancelled: what it had read stays read.
pub async fn resume(store: &dyn Store, scan: &ScanId) -> Result<Resumed, StoreError> {
    if let Some(cells) = store.reopen_scan(scan).await? {
        return Ok(Resumed::Cells(cells));
    }
    Ok(match store.scan(scan).await?.map(|row| row.state) {
        Some(ScanState::Running) => Resumed::Running,
        Some(ScanState::Cancelling) => Resumed::Not(format!("scan {scan} is being cancelled: try again when it is")),
        Some(ScanState::Finished) => Resumed::Not(format!("scan {scan} is finished: start another")),
        Some(ScanState::Lost) => Resumed::Not(format!("scan {scan} was lost with the store: start another")),
        Some(ScanState::Cancelled) | None => Resumed::Not(format!("there is no scan {scan}")),
    })
}

/// The accounts to scan, sorted, and how many are left out because they are paused.
async fn connected(
    store: &dyn Store,
    registry: &dyn AccountRegistry,
    named: &[AccountId],
) -> Result<(Vec<AccountId>, u64), ScanError> {
    let mut ids = BTreeSet::new();
    if named.is_empty() {
        let mut pages = Pages::of(registry);
        while let Some(page) = pages.next().await? {
            ids.extend(page.into_iter().filter(|account| account.grant.is_some()).map(|account| account.id));
        }
    } else {
        for id in named {
            let found = registry.registered(id).await?;
            if found.is_none_or(|account| account.grant.is_none()) {
                return Err(ScanError::Refused(format!(
                    "account {id} is not connected: see `fleetscan accounts list`"
                )));
            }
            ids.insert(id.clone());
        }
    }
    let before = ids.len();
    let mut after = None;
    loop {
        let page = store.account_statuses(after.as_ref(), PAGE).await?;
        after = page.last().map(|status| status.account.clone());
        for status in page.iter().filter(|status| status.state == AccountState::Paused) {
            ids.remove(&status.account);
        }
        if page.len() < PAGE {
            break;
        }
    }
    let paused = (before - ids.len()) as u64;
    Ok((ids.into_iter().collect(), paused))
}

/// Names what is read of each account, and where it goes.
fn scope(catalogue: &Catalogue, services: &[String], request: &StartRequest) -> String {
    let regions: BTreeSet<&str> = request.regions.iter().map(String::as_str).collect();
    let mut scope = Sha256::new();
    for part in [
        catalogue.digest(),
        &request.profile,
        &request.out,
        &services.join(","),
        &regions.into_iter().collect::<Vec<_>>().join(","),
    ] {
        scope.update((part.len() as u64).to_be_bytes());
        scope.update(part.as_bytes());
    }
    plan::hex(&scope.finalize())
}

/// A running scan of this scope that is still to read something of each of these accounts.
async fn under_way(store: &dyn Store, scope: &str, ids: &[AccountId]) -> Result<Option<ScanRow>, ScanError> {
    for row in store.scans_under_way().await? {
        if row.state != ScanState::Running || row.spec.plan != scope || row.spec.accounts < ids.len() as u64 {
            continue;
        }
        let mut joins = true;
        for id in ids {
            joins = match store.scan_account(&row.spec.id, id).await? {
                None => false,
                Some(account) if account.state != ScanAccountState::Planned => true,
                // All of it is read already: whoever asks now wants to know how it is now.
                Some(_) => !store.pending_cells(&row.spec.id, Some(id), None, 1).await?.is_empty(),
            };
            if !joins {
                break;
            }
        }
        if joins {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
