use fleetscan_proto::{AccountId, DeniedBy, LedgerLine, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;

/// Reasons told apart; what comes after is counted as "other".
const REASONS: usize = 50;
/// Accounts named as examples.
const EXAMPLES: usize = 5;

/// Cells, and how many accounts they are of.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    pub cells: u64,
    pub accounts: u64,
    #[serde(skip)]
    last: Option<AccountId>,
}

impl Tally {
    /// Lines come in the order of accounts, so a change of account is a new one.
    fn add(&mut self, account: &AccountId) {
        self.cells += 1;
        if self.last.as_ref() != Some(account) {
            self.accounts += 1;
            self.last = Some(account.clone());
        }
    }
}

/// The cells of one outcome.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub tally: Tally,
    /// By action and who denied it.
    pub denied: BTreeMap<(String, DeniedBy), Tally>,
    /// By what the ledger says went wrong.
    pub reasons: BTreeMap<String, Tally>,
    pub services: BTreeMap<String, Tally>,
    /// The first few accounts.
    pub examples: Vec<AccountId>,
}

/// A ledger, added up. As large as the number of outcomes, actions and reasons, not of cells.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    pub groups: BTreeMap<Outcome, Group>,
}

impl Coverage {
    /// Adds a line; lines must come in the ledger's order.
    pub fn add(&mut self, line: &LedgerLine) {
        let account = &line.cell.account;
        let group = self.groups.entry(line.outcome).or_default();
        group.tally.add(account);
        group.services.entry(line.cell.service.clone()).or_default().add(account);
        for denial in &line.denied {
            group.denied.entry((denial.action.clone(), denial.by)).or_default().add(account);
        }
        if let Some(error) = &line.error {
            let known = group.reasons.len() < REASONS || group.reasons.contains_key(error);
            let reason = if known { error.as_str() } else { "other" };
            group.reasons.entry(reason.to_owned()).or_default().add(account);
        }
        if group.examples.len() < EXAMPLES && group.examples.last() != Some(account) {
            group.examples.push(account.clone());
        }
    }

    pub fn cells(&self) -> u64 {
        self.groups.values().map(|group| group.tally.cells).sum()
    }
    pub fn hole_cells(&self) -> u64 {
        self.groups.iter().filter(|(outcome, _)| outcome.is_hole()).map(|(_, group)| group.tally.cells).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::{Cell, Denial, WorkTotals};

    fn line(account: &str, service: &str, outcome: Outcome, denied: &[&str]) -> LedgerLine {
        LedgerLine {
            cell: Cell::new(account.parse().expect("id"), "eu-west-1", service),
            outcome,
            totals: WorkTotals::default(),
            denied: denied.iter().map(|a| Denial { action: (*a).to_owned(), by: DeniedBy::Identity }).collect(),
            error: None,
            started_at: None,
            attempts: 1,
            worker: "w".into(),
            parts: Vec::new(),
            catalogue: None,
        }
    }

    #[test]
    fn denied_actions_are_counted_by_account() {
        let mut coverage = Coverage::default();
        for line in [
            line("111111111111", "lambda", Outcome::Partial, &["lambda:GetPolicy"]),
            line("111111111111", "sns", Outcome::Partial, &["lambda:GetPolicy"]),
            line("222222222222", "lambda", Outcome::Partial, &["lambda:GetPolicy"]),
            line("222222222222", "sns", Outcome::Complete, &[]),
        ] {
            coverage.add(&line);
        }
        let partial = &coverage.groups[&Outcome::Partial];
        let denied = &partial.denied[&("lambda:GetPolicy".to_owned(), DeniedBy::Identity)];
        assert_eq!((denied.cells, denied.accounts), (3, 2));
        assert_eq!((coverage.cells(), coverage.hole_cells(), partial.examples.len()), (4, 3, 2));
    }
}
