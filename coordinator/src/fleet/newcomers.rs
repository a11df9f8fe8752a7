//! Accounts that were just connected: nobody wants to wait hours to see whether a new account can be read.

use super::{FleetParts, ScheduleOptions, StartRequest, start};
use crate::{Listed, ScanError};
use fleetscan_proto::{AccountId, AccountState, Lane, StoreError};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// After so long a newcomer that could not be read is tried again by itself.
const AGAIN: Duration = Duration::from_secs(3_600);
/// Newcomers of one scan; more than these are no errand, and wait for the schedule.
const AT_ONCE: usize = 1_000;

/// Begins an urgent scan of accounts that were connected and never read.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// When each was last tried; no more than there are newcomers.
    tried: HashMap<AccountId, Instant>,
}

/// Who might be a newcomer, gathered from all accounts.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    new: BTreeSet<AccountId>,
    /// There is a connected account that is not new.
    others: bool,
}

impl Candidates {
    pub(super) fn add(&mut self, one: &Listed) {
        if is_new(one) {
            self.new.insert(one.account.id.clone());
        } else {
            self.others |= one.account.grant.is_some();
        }
    }
}

impl Newcomers {
    /// Begins a scan of those that are due. Only where there is a schedule: without one, nothing is scanned unasked.
    pub(super) async fn look(
        &mut self,
        parts: &FleetParts,
        schedule: Option<&ScheduleOptions>,
        candidates: Candidates,
    ) -> Result<(), StoreError> {
        let Some(schedule) = schedule else { return Ok(()) };
        let Candidates { new, others } = candidates;
        self.tried.retain(|id, at| new.contains(id) && at.elapsed() < AGAIN);
        let due: Vec<AccountId> = new.into_iter().filter(|id| !self.tried.contains_key(id)).take(AT_ONCE).collect();
        // Where every account is new, the schedule reads all of them anyhow.
        if due.is_empty() || !others {
            return Ok(());
        }
        let request = StartRequest {
            accounts: due.clone(),
            out: schedule.out.clone(),
            profile: schedule.profile.clone(),
            lane: Lane::Urgent,
            ..StartRequest::default()
        };
        let now = parts.clock.now();
        match start(parts.store.as_ref(), parts.registry.as_ref(), &parts.catalogue, now, request).await {
            Ok(started) => {
                tracing::info!(scan = %started.id, accounts = due.len(), joined = started.joined, "newcomers.scanned");
            }
            Err(ScanError::Store(error)) => return Err(error),
            Err(error) => tracing::info!(%error, "newcomers.not_scanned"),
        }
        let at = Instant::now();
        self.tried.extend(due.into_iter().map(|id| (id, at)));
        Ok(())
    }
}

/// Connected, never read, and not left alone on purpose.
fn is_new(listed: &Listed) -> bool {
    let never = listed.status.as_ref().is_none_or(|status| status.last_success.is_none());
    listed.account.grant.is_some() && listed.state() == AccountState::Pending && never
}
