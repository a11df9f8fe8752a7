//! Accounts, as they are searched and as each has a page of its own.

use super::Live;
use crate::{Listed, dispatch::PAGE};
use fleetscan_proto::{AccountChange, AccountId, AccountState, Cell, Denial, LedgerLine, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What accounts are asked for.
#[derive(Debug, Clone, Default)]
pub struct AccountQuery {
    /// Part of id, name or customer, in any case; empty: all.
    pub text: String,
    /// Only those that stand so.
    pub state: Option<AccountState>,
    /// Only those after this one.
    pub after: Option<AccountId>,
    /// So many at most.
    pub limit: usize,
}

/// One line of a list of accounts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountLine {
    /// Twelve digits.
    pub id: AccountId,
    /// A name for people.
    pub name: Option<String>,
    /// Who it belongs to.
    pub customer: String,
    /// Where it stands.
    pub status: AccountState,
    /// Since when.
    pub since: Timestamp,
    /// When AssumeRole last worked.
    pub last_success: Option<Timestamp>,
}

/// Some accounts of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountPage {
    /// Those asked for, by id.
    pub accounts: Vec<AccountLine>,
    /// How many there are in all, with those of other pages.
    pub found: usize,
    /// Ask for what comes after this one; `None`: nothing does.
    pub next: Option<AccountId>,
}

/// An account and all that is known of it, but for its grant.
#[derive(Debug, Clone, Serialize)]
pub struct AccountDetail {
    /// As it is listed.
    #[serde(flatten)]
    pub line: AccountLine,
    /// Regional cells are limited to these; empty: every enabled region.
    pub regions: Vec<String>,
    /// The profile that its owner was told of.
    pub profile: String,
    /// When it was connected.
    pub added_at: Timestamp,
    /// Evidence of where it stands.
    pub evidence: BTreeMap<String, String>,
    /// What `degraded` lacks.
    pub denied: Vec<Denial>,
    /// Its changes, newest first.
    pub history: Vec<AccountChange>,
    /// What came of it in the newest scan that it was part of.
    pub coverage: Option<Coverage>,
}

/// An account's cells in one scan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// Which scan.
    pub scan: String,
    /// When that began.
    pub started_at: Timestamp,
    /// By region and service.
    pub cells: Vec<CellView>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellView {
    /// Region, or `global`.
    pub region: String,
    /// Service.
    pub service: String,
    /// How it ended, or `pending`.
    pub outcome: &'static str,
    /// Records.
    pub records: u64,
    /// Calls.
    pub calls: u64,
    /// Why, where the outcome alone does not tell.
    pub error: Option<String>,
    /// Actions that were denied.
    pub denied: Vec<Denial>,
}

/// Scans that are looked through for one that an account is part of.
const SCANS: usize = 20;
/// Cells that are shown of an account at most.
const CELLS: usize = 4_096;
/// Changes that are shown of an account at most.
const CHANGES: usize = 200;

impl Live {
    /// Accounts that are asked for.
    pub async fn accounts(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let wanted = query.text.trim().to_lowercase();
        let mut found = 0;
        let (mut accounts, mut more) = (Vec::new(), false);
        let desk = self.connections();
        let mut walk = desk.walk();
        while let Some(page) = walk.next().await? {
            for line in page.iter().map(line) {
                let has = |text: &str| text.to_lowercase().contains(&wanted);
                let fits = has(line.id.as_str()) || line.name.as_deref().is_some_and(has) || has(&line.customer);
                if !fits || query.state.is_some_and(|state| state != line.status) {
                    continue;
                }
                found += 1;
                if query.after.as_ref().is_some_and(|after| line.id <= *after) {
                    continue;
                }
                if accounts.len() < query.limit {
                    accounts.push(line);
                } else {
                    more = true;
                }
            }
        }
        let next = accounts.last().filter(|_| more).map(|last| last.id.clone());
        Ok(AccountPage { accounts, found, next })
    }

    /// One account; `None`: it is not known.
    pub async fn account(&self, id: &AccountId) -> Result<Option<AccountDetail>, StoreError> {
        let Some(account) = self.registry.registered(id).await? else { return Ok(None) };
        let status = self.store.account_status(id).await?;
        let mut history = self.store.account_history(id).await?;
        history.reverse();
        history.truncate(CHANGES);
        let listed = Listed { account, status };
        let line = line(&listed);
        let (evidence, denied) = listed.status.map(|status| (status.evidence, status.denied)).unwrap_or_default();
        Ok(Some(AccountDetail {
            line,
            regions: listed.account.regions,
            profile: listed.account.profile,
            added_at: listed.account.added_at,
            evidence,
            denied,
            history,
            coverage: self.coverage(id).await?,
        }))
    }

    async fn coverage(&self, id: &AccountId) -> Result<Option<Coverage>, StoreError> {
        for row in self.store.scans().await?.into_iter().take(SCANS) {
            let scan = &row.spec.id;
            if self.store.scan_account(scan, id).await?.is_none() {
                continue;
            }
            let mut cells = Vec::new();
            let mut after = Cell::new(id.clone(), "", "");
            loop {
                let page = self.store.ledger(scan, Some(&after), PAGE).await?;
                let last_page = page.len() < PAGE || page.last().is_none_or(|last| last.cell.account != *id);
                after = page.last().map_or(after, |last| last.cell.clone());
                cells.extend(page.into_iter().filter(|line| line.cell.account == *id).map(done));
                if last_page || cells.len() >= CELLS {
                    break;
                }
            }
            let pending = self.store.pending_cells(scan, Some(id), None, PAGE).await?;
            cells.extend(pending.into_iter().map(|pending| CellView {
                region: pending.cell.region,
                service: pending.cell.service,
                outcome: "pending",
                records: 0,
                calls: 0,
                error: None,
                denied: Vec::new(),
            }));
            return Ok(Some(Coverage { scan: scan.to_string(), started_at: row.spec.started_at, cells }));
        }
        Ok(None)
    }
}

fn line(one: &Listed) -> AccountLine {
    let account = &one.account;
    AccountLine {
        id: account.id.clone(),
        name: account.name.clone(),
        customer: account.customer.clone().unwrap_or_else(|| account.id.to_string()),
        status: one.state(),
        since: one.status.as_ref().map_or(account.added_at, |status| status.since),
        last_success: one.status.as_ref().and_then(|status| status.last_success),
    }
}

fn done(line: LedgerLine) -> CellView {
    CellView {
        region: line.cell.region,
        service: line.cell.service,
        outcome: line.outcome.as_str(),
        records: line.totals.records,
        calls: line.totals.calls,
        error: line.error,
        denied: line.denied,
    }
}
