//! What a scan's ledger says of an account's standing: active, or degraded with the actions that it denies.

use fleetscan_proto::{AccountId, AccountState, AccountStatus, Denial, DeniedBy, LedgerLine};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Adds the actions that the account itself denied. A service control policy is the organisation's, and is not
/// counted against the account; neither is a single resource's own policy.
pub(crate) fn gather(denied: &mut BTreeSet<Denial>, line: &LedgerLine) {
    let own = |by| matches!(by, DeniedBy::Identity | DeniedBy::Boundary | DeniedBy::Unknown);
    denied.extend(line.denied.iter().filter(|denial| own(denial.by)).cloned());
}

/// The status after the scan, where it differs from the one before. `asked` tells the actions that the scan could
/// have been denied: what an earlier scan was denied beside these still stands.
pub(crate) fn after_scan(
    status: &AccountStatus,
    denied: BTreeSet<Denial>,
    asked: &dyn Fn(&str) -> bool,
    now: Timestamp,
) -> Option<AccountStatus> {
    if !matches!(status.state, AccountState::Active | AccountState::Degraded) {
        return None;
    }
    let mut lacks = denied;
    lacks.extend(status.denied.iter().filter(|denial| !asked(&denial.action)).cloned());
    let state = if lacks.is_empty() { AccountState::Active } else { AccountState::Degraded };
    let lacks: Vec<Denial> = lacks.into_iter().collect();
    if state == status.state && lacks == status.denied {
        return None;
    }
    let since = if state == status.state { status.since } else { now };
    let evidence = BTreeMap::from([("denied_actions".to_owned(), lacks.len().to_string())]);
    Some(AccountStatus { state, since, denied: lacks, evidence, ..status.clone() })
}

/// The status of an account that let us in. A degraded one stays so until the scan's end shows that nothing is denied.
pub(crate) fn welcomed(
    account: &AccountId,
    before: Option<AccountStatus>,
    at: Timestamp,
    doing: &str,
) -> AccountStatus {
    match before {
        Some(mut status) if matches!(status.state, AccountState::Active | AccountState::Degraded) => {
            status.last_success = status.last_success.max(Some(at));
            status
        }
        before => {
            let mut evidence = BTreeMap::from([("doing".to_owned(), doing.to_owned())]);
            if before.is_some_and(|status| status.state == AccountState::Revoked) {
                evidence.insert("reinstated".to_owned(), "AssumeRole worked again".to_owned());
            }
            AccountStatus {
                account: account.clone(),
                state: AccountState::Active,
                since: at,
                last_success: Some(at),
                denied: Vec::new(),
                evidence,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: AccountState, denied: &[&str]) -> AccountStatus {
        AccountStatus {
            account: "111122223333".parse().expect("id"),
            state,
            since: Timestamp::UNIX_EPOCH,
            last_success: Some(Timestamp::UNIX_EPOCH),
            denied: denied.iter().map(|action| denial(action)).collect(),
            evidence: BTreeMap::new(),
        }
    }
    fn denial(action: &str) -> Denial {
        Denial { action: action.to_owned(), by: DeniedBy::Identity }
    }
    fn now() -> Timestamp {
        Timestamp::from_second(1000).expect("time")
    }

    #[test]
    fn a_detached_policy_degrades_and_a_clean_scan_restores() {
        let degraded =
            after_scan(&status(AccountState::Active, &[]), [denial("sns:ListTopics")].into(), &|_| true, now())
                .expect("a change");
        assert_eq!((degraded.state, degraded.denied.len()), (AccountState::Degraded, 1));
        let restored = after_scan(&degraded, BTreeSet::new(), &|_| true, now()).expect("a change");
        assert_eq!((restored.state, restored.denied.len()), (AccountState::Active, 0));
    }

    #[test]
    fn a_scan_of_other_services_restores_nothing() {
        let degraded = status(AccountState::Degraded, &["sns:ListTopics"]);
        assert_eq!(after_scan(&degraded, BTreeSet::new(), &|action| action.starts_with("lambda:"), now()), None);
    }

    #[test]
    fn a_revoked_account_is_not_judged_by_its_cells() {
        assert_eq!(after_scan(&status(AccountState::Revoked, &[]), [denial("a:B")].into(), &|_| true, now()), None);
    }
}
