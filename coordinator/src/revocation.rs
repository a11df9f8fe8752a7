//! What a denied AssumeRole means. Pure: facts in, verdict out.
//!
//! AWS answers AccessDenied alike for a deleted role, a rotated ExternalId, a changed trust policy, a closed account
//! and for a hub that lost its own permission. So a denial alone marks nobody: the hub must still be itself, and not
//! too many accounts may have turned at once.

use fleetscan_proto::{AccountState, AccountStatus};
use std::{collections::BTreeSet, time::Duration};

/// From how many denied accounts on the breaker may open.
pub const BREAKER_ACCOUNTS: usize = 5;
/// From which part of the attempted accounts on, in percent.
pub const BREAKER_PERCENT: usize = 5;
/// From how many customers on.
pub const BREAKER_CUSTOMERS: usize = 3;

/// What was known of an account before it was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It never let us in: a mistake in its set-up is as likely as anything.
    NeverWorked,
    /// Its last AssumeRole had succeeded.
    Worked,
    /// It is marked revoked already.
    Revoked,
}

impl Known {
    /// Reads it off the status.
    pub fn of(status: Option<&AccountStatus>) -> Self {
        match status {
            Some(status) if status.state == AccountState::Revoked => Known::Revoked,
            Some(status) if status.last_success.is_some() => Known::Worked,
            _ => Known::NeverWorked,
        }
    }
}

/// Denials of accounts that had worked, against all of those that were attempted, within the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accounts attempted whose last AssumeRole had succeeded, the denied ones included.
    pub attempted: usize,
    /// Customers of the denied accounts, one entry an account.
    pub denied: Vec<String>,
}

impl Tally {
    /// So many turned at once that it is likelier that something of ours broke.
    pub fn breaker_open(&self) -> bool {
        let customers: BTreeSet<&String> = self.denied.iter().collect();
        turned(self.denied.len(), self.attempted) && customers.len() >= BREAKER_CUSTOMERS
    }
}

/// Whether so many of those that were attempted are many, whosever they are.
pub fn turned(denied: usize, attempted: usize) -> bool {
    denied >= BREAKER_ACCOUNTS && denied * 100 >= attempted * BREAKER_PERCENT
}

/// A denial, and what is known around it.
#[derive(Debug, Clone, Copy)]
pub struct Denied {
    /// The account before.
    pub known: Known,
    /// How long ago AssumeRole was denied.
    pub age: Duration,
    /// How long a verdict has been wanting.
    pub waited: Duration,
    /// AWS said that our own identity's policy denies it.
    pub our_fault: bool,
    /// See [`Tally::breaker_open`].
    pub breaker_open: bool,
    /// Whether the hub's GetCallerIdentity works; `None` where it has not been asked.
    pub hub_works: Option<bool>,
}

/// What becomes of a denied account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The customer took the role away.
    Revoked,
    /// Not known, and no longer waited for: why.
    Unconfirmed(&'static str),
    /// Not known yet: why.
    Wait(&'static str),
}

/// Decides. `settle` is how old a denial must be, `patience` how long a verdict may be wanting.
pub fn verdict(denied: &Denied, settle: Duration, patience: Duration) -> Verdict {
    match denied.known {
        Known::Revoked => return Verdict::Revoked,
        Known::NeverWorked => return Verdict::Unconfirmed("AssumeRole was denied, and it has never worked"),
        Known::Worked => {}
    }
    let doubt = if denied.our_fault {
        "AssumeRole was denied by a policy of our own identity"
    } else if denied.breaker_open {
        "AssumeRole was denied in many accounts at once"
    } else if denied.hub_works == Some(false) {
        "AssumeRole was denied while our own identity did not work"
    } else if denied.age < settle || denied.hub_works.is_none() {
        "AssumeRole was denied, and that was not confirmed in time"
    } else {
        return Verdict::Revoked;
    };
    if denied.waited >= patience { Verdict::Unconfirmed(doubt) } else { Verdict::Wait(doubt) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);
    const PATIENCE: Duration = Duration::from_secs(600);
    const DENIED: Denied = Denied {
        known: Known::Worked,
        age: Duration::from_secs(3),
        waited: Duration::from_secs(3),
        our_fault: false,
        breaker_open: false,
        hub_works: Some(true),
    };
    fn judged(denied: Denied) -> Verdict {
        verdict(&denied, SETTLE, PATIENCE)
    }
    fn tally(attempted: usize, denied: usize, customers: usize) -> Tally {
        Tally { attempted, denied: (0..denied).map(|n| format!("c{}", n % customers)).collect() }
    }

    #[test]
    fn one_deleted_role_is_revoked_when_the_hub_is_itself() {
        assert_eq!(judged(DENIED), Verdict::Revoked);
    }

    #[test]
    fn our_own_broken_side_marks_nobody() {
        for denied in [
            Denied { our_fault: true, ..DENIED },
            Denied { hub_works: Some(false), ..DENIED },
            Denied { breaker_open: true, ..DENIED },
        ] {
            assert!(matches!(judged(denied), Verdict::Wait(_)), "{denied:?}");
            let late = Denied { waited: PATIENCE, ..denied };
            assert!(matches!(judged(late), Verdict::Unconfirmed(_)), "{late:?}");
        }
    }

    #[test]
    fn a_fresh_denial_waits_for_others_to_show() {
        assert!(matches!(judged(Denied { age: Duration::from_secs(1), ..DENIED }), Verdict::Wait(_)));
        assert!(matches!(judged(Denied { hub_works: None, ..DENIED }), Verdict::Wait(_)));
    }

    #[test]
    fn an_account_that_never_worked_is_unconfirmed_and_a_revoked_one_stays_revoked() {
        assert!(matches!(judged(Denied { known: Known::NeverWorked, ..DENIED }), Verdict::Unconfirmed(_)));
        assert_eq!(judged(Denied { known: Known::Revoked, hub_works: Some(false), ..DENIED }), Verdict::Revoked);
    }

    #[test]
    fn the_breaker_needs_five_accounts_five_percent_and_three_customers() {
        assert!(tally(100, 5, 5).breaker_open());
        assert!(!tally(100, 4, 4).breaker_open(), "four are too few");
        assert!(!tally(101, 5, 5).breaker_open(), "less than five percent");
        assert!(!tally(100, 50, 2).breaker_open(), "two customers may well leave together");
        assert!(tally(5, 5, 3).breaker_open());
    }
}
