//! What is decided of a suspect, carried out: marked, left as it is, or asked again.

use super::{Interrupted, Suspect};
use crate::{ScanError, barred, error::insist, revocation::Known, scan::Run};
use fleetscan_proto::{AccountState, AccountStatus, MemberStanding, Outcome, ScanAccountState, TaskKind};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Run<'_> {
    pub(super) async fn revoke(&mut self, suspect: &Suspect, now: Timestamp) -> Result<(), ScanError> {
        let account = &suspect.denial.account;
        let away = insist!(self.options, self.parts.accounts.describe(account))?.away.map(said_by_organisation);
        let reason = match away {
            Some(said) => format!("the role no longer lets us in: the account is {said}"),
            None => "the role no longer lets us in".to_owned(),
        };
        if Known::of(suspect.status.as_ref()) == Known::Worked {
            match self.mark_revoked(suspect, away, now).await? {
                Marked::Revoked => {}
                // The operator's wish stands: what is left of the scan there ends as it does with every such account.
                Marked::AnOperators => return self.leave_alone(account).await,
                Marked::Outdated(status) => {
                    if let Some(known) = self.suspects.suspects.get_mut(account) {
                        known.status = status;
                    }
                    return self.ask_again(suspect).await;
                }
            }
        }
        let (store, scan) = (&self.parts.store, &self.spec.id);
        match suspect.interrupted {
            Interrupted::Probe | Interrupted::OurProbe => self.give_up(account, Outcome::Revoked, &reason).await?,
            Interrupted::Cells => {
                insist!(self.options, store.close_cells(scan, Some(account), Outcome::Revoked, &reason, now))?;
                for meanwhile in [Outcome::Unconfirmed, Outcome::Denied] {
                    insist!(self.options, store.amend_cells(scan, account, meanwhile, Outcome::Revoked))?;
                }
            }
        }
        self.close(suspect, now).await
    }

    /// Marks a confirmed account, unless another scan has done so.
    async fn mark_revoked(
        &mut self,
        suspect: &Suspect,
        away: Option<&str>,
        now: Timestamp,
    ) -> Result<Marked, ScanError> {
        let (account, store) = (&suspect.denial.account, &self.parts.store);
        loop {
            let before = insist!(self.options, store.account_status(account))?;
            match &before {
                Some(status) if barred::is_an_operators(status.state) => return Ok(Marked::AnOperators),
                Some(status) if status.state == AccountState::Revoked => {
                    // Whoever wrote that may have died before workers were told: they are told when it is written again.
                    if insist!(self.options, store.change_account_status(before.as_ref(), status))? {
                        return Ok(Marked::Revoked);
                    }
                    continue;
                }
                _ if is_outdated(suspect, before.as_ref()) => return Ok(Marked::Outdated(before)),
                _ => {}
            }
            let mut status = revoked(suspect, before.as_ref(), now);
            // No account that had worked is given up before the hub has answered.
            status.evidence.insert("hub".to_owned(), "GetCallerIdentity worked".to_owned());
            if let Some(said) = away {
                status.evidence.insert("organisation".to_owned(), said.to_owned());
            }
            // Somebody else's change comes first, and is looked at again; there are few of them.
            if insist!(self.options, store.change_account_status(before.as_ref(), &status))? {
                break;
            }
        }
        self.suspects.revocations += 1;
        let code = &suspect.denial.code;
        let request_id = suspect.denial.request_id.as_deref();
        tracing::warn!(
            scan = %self.spec.id, %account, %code, aws.request_id = request_id, organisation = away,
            "account.revoked: AssumeRole is denied, and that is confirmed"
        );
        Ok(Marked::Revoked)
    }

    /// No verdict in time: the account keeps its state, and its cells say that they are not known.
    pub(crate) async fn leave_all_unconfirmed(&mut self) -> Result<(), ScanError> {
        let all: Vec<Suspect> = self.suspects.suspects.values().cloned().collect();
        for suspect in all {
            self.leave_unconfirmed(&suspect, "AssumeRole was denied, and the scan's deadline ran out").await?;
        }
        Ok(())
    }

    pub(super) async fn leave_unconfirmed(&mut self, suspect: &Suspect, reason: &str) -> Result<(), ScanError> {
        let account = &suspect.denial.account;
        let now = self.parts.clock.now();
        if suspect.status.is_none() {
            let status = AccountStatus { state: AccountState::Pending, ..revoked(suspect, None, now) };
            // Whatever somebody else has made of it since, stands.
            insist!(self.options, self.parts.store.change_account_status(None, &status))?;
        }
        let (store, scan) = (&self.parts.store, &self.spec.id);
        match suspect.interrupted {
            Interrupted::Probe | Interrupted::OurProbe => {
                // One that is being asked again has no answer to end with.
                let row = insist!(self.options, store.scan_account(scan, account))?;
                match row.filter(|row| row.state == ScanAccountState::Waiting) {
                    Some(row) => self.end_probe(&row, Outcome::Unconfirmed, reason).await?,
                    None => self.give_up(account, Outcome::Unconfirmed, reason).await?,
                }
            }
            Interrupted::Cells => {
                insist!(self.options, store.close_cells(scan, Some(account), Outcome::Unconfirmed, reason, now))?;
            }
        }
        self.close(suspect, now).await
    }

    async fn close(&mut self, suspect: &Suspect, now: Timestamp) -> Result<(), ScanError> {
        let account = &suspect.denial.account;
        insist!(self.options, self.parts.store.close_denial(&self.spec.id, account))?;
        if suspect.counts() {
            self.suspects.decided.insert(account.clone(), (now, suspect.customer.clone()));
        }
        self.suspects.suspects.remove(account);
        Ok(())
    }

    /// Has a worker try AssumeRole again: what broke may have been mended.
    pub(super) async fn ask_again(&mut self, suspect: &Suspect) -> Result<(), ScanError> {
        let account = &suspect.denial.account;
        let (store, scan) = (&self.parts.store, &self.spec.id);
        if suspect.interrupted == Interrupted::Probe {
            let Some(row) = insist!(self.options, store.scan_account(scan, account))? else { return Ok(()) };
            insist!(self.options, store.reopen_probe(scan, account, row.generation))?;
            // Looked up: where an answer of the store was lost, it was reopened all the same.
            let row = insist!(self.options, store.scan_account(scan, account))?;
            let Some(row) = row.filter(|row| row.state == ScanAccountState::Waiting) else { return Ok(()) };
            insist!(self.options, store.close_denial(scan, account))?;
            self.probing.insert(account.clone(), (row.generation, Instant::now()));
            self.outbox.push_back(self.task(TaskKind::Probe { account: account.clone() }, row.generation));
        } else {
            insist!(self.options, store.close_denial(scan, account))?;
        }
        if let Some(known) = self.suspects.suspects.get_mut(account) {
            known.retried = Some(Instant::now());
        }
        Ok(())
    }
}

/// What came of marking an account.
enum Marked {
    /// It is marked.
    Revoked,
    /// It was paused or disconnected meanwhile.
    AnOperators,
    /// Its present status is news of it that came after the denial.
    Outdated(Option<AccountStatus>),
}

/// Whether an account let us in after the denial, in another scan for instance, or was connected anew.
fn is_outdated(suspect: &Suspect, present: Option<&AccountStatus>) -> bool {
    let Some(present) = present else { return false };
    let denied = suspect.denial.at;
    let was = suspect.status.as_ref().map(|status| status.state);
    present.last_success.is_some_and(|at| at > denied) || (present.since > denied && Some(present.state) != was)
}

/// What the organisation knew of an account that lets us in no more.
fn said_by_organisation(standing: MemberStanding) -> &'static str {
    match standing {
        MemberStanding::Active => "active in the organisation",
        MemberStanding::Pending => "not active yet in the organisation",
        MemberStanding::Suspended => "suspended in the organisation",
        MemberStanding::Closing => "about to be closed in the organisation",
        MemberStanding::Closed => "closed in the organisation",
        MemberStanding::Left => "no longer in the organisation",
    }
}

/// The status of an account that took its role away, with the evidence for it.
fn revoked(suspect: &Suspect, before: Option<&AccountStatus>, now: Timestamp) -> AccountStatus {
    let denial = &suspect.denial;
    let mut evidence = BTreeMap::from([
        ("denied_at".to_owned(), denial.at.to_string()),
        ("code".to_owned(), denial.code.clone()),
        ("tries".to_owned(), denial.tries.to_string()),
        ("doing".to_owned(), denial.doing.clone()),
    ]);
    if let Some(id) = &denial.request_id {
        evidence.insert("request_id".to_owned(), id.clone());
    }
    AccountStatus {
        account: denial.account.clone(),
        state: AccountState::Revoked,
        since: now,
        last_success: before.and_then(|status| status.last_success),
        denied: Vec::new(),
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspects::Suspects;
    use fleetscan_proto::AssumeDenial;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).expect("a time")
    }
    fn status(state: AccountState, since: i64, last_success: Option<i64>) -> AccountStatus {
        AccountStatus {
            account: "000000000001".parse().expect("an id"),
            state,
            since: at(since),
            last_success: last_success.map(at),
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_denial_is_outdated_by_what_is_known_of_the_account_since() {
        let denial = AssumeDenial {
            scan: fleetscan_proto::ScanId::new(at(0), 1),
            account: "000000000001".parse().expect("an id"),
            at: at(10),
            code: "AccessDenied".to_owned(),
            request_id: None,
            tries: 2,
            doing: AssumeDenial::PROBE.to_owned(),
            our_fault: false,
        };
        let mut suspects = Suspects::new(at(0));
        let was = status(AccountState::Active, 0, Some(5));
        suspects.add(denial, Interrupted::Probe, Some(was.clone()), "c".to_owned());
        let suspect = suspects.suspects.values().next().expect("added");
        for (present, outdated) in [
            (was, false),
            (status(AccountState::Degraded, 8, Some(5)), false),
            (status(AccountState::Active, 11, Some(5)), false),
            (status(AccountState::Active, 0, Some(11)), true),
            (status(AccountState::Pending, 11, None), true),
            (status(AccountState::Degraded, 11, Some(5)), true),
        ] {
            assert_eq!(is_outdated(suspect, Some(&present)), outdated, "{present:?}");
        }
        assert!(!is_outdated(suspect, None));
    }
}
