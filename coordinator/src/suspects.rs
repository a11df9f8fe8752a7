//! Accounts whose AssumeRole was denied, until it is decided what that means.

mod verdicts;

use crate::{
    ScanError,
    error::insist,
    fleet::Force,
    revocation::{self, Denied, Known, Tally, Verdict},
    scan::Run,
};
use fleetscan_proto::{AccountId, AccountStatus, AssumeDenial, Outcome, ProbeFailure, ScanAccountState};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// A denial this soon after our own side was in doubt may be of that time still: a worker remembers what it was denied
/// for five seconds, and a tick passes until it is seen here.
const AFTERMATH: Duration = Duration::from_secs(8);
/// Nothing of a scan came to an end for so long: perhaps our own identity does not work, which no worker tells of an
/// account.
const STILL: Duration = Duration::from_secs(15);
/// How long a good answer of the hub is believed while nothing comes to an end: canaries' owners see who asks.
const STILL_HUB_HOLDS: Duration = Duration::from_secs(60);
/// Within this the hub answers, or counts as broken.
const HUB_ANSWERS: Duration = Duration::from_secs(20);
/// An account let in so shortly before our own policy denied another speaks for the policy, too: in a small fleet, all are
/// probed in one breath.
const LATELY: Duration = Duration::from_secs(5);
/// Accounts that are asked again in a tick: slowly, for whatever broke may have broken under the load.
const ASKED_AGAIN: usize = 1;

/// What a denial interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupted {
    /// The probe: the account has no cells yet.
    Probe,
    /// Cells, which wait while the denial is open in the store.
    Cells,
    /// The probe, by our own fault: its worker asks again by itself, and nothing is decided of the account meanwhile.
    OurProbe,
}

#[derive(Debug, Clone)]
struct Suspect {
    denial: AssumeDenial,
    interrupted: Interrupted,
    status: Option<AccountStatus>,
    customer: String,
    since: Instant,
    /// The first denial of it that is known; `denial` is the newest.
    first: Timestamp,
    /// Since when only this account's own side can be what our policy denies: others are let in.
    own_fault: Option<Instant>,
    /// When this denial was first seen.
    seen: Instant,
    /// The denial was closed so that a worker tries again; it may be opened anew.
    retried: Option<Instant>,
}

impl Suspect {
    /// Whether it is one of many that may turn at once: what our own policy denies tells nothing of the account.
    fn counts(&self) -> bool {
        Known::of(self.status.as_ref()) == Known::Worked && self.interrupted != Interrupted::OurProbe
    }
}

/// The suspects of a scan, and the window in which denials are counted.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    suspects: BTreeMap<AccountId, Suspect>,
    /// Accounts that had worked and were attempted, and when last.
    attempted: BTreeMap<AccountId, Timestamp>,
    /// Of these, the denied ones that are decided: when, and whose they are.
    decided: BTreeMap<AccountId, (Timestamp, String)>,
    /// The last time that any account let us in, whatever was known of it.
    last_let_in: Option<Timestamp>,
    hub: Option<(Instant, bool)>,
    /// When this run began. An earlier one may have been in doubt: what it left open is asked again.
    began: Timestamp,
    /// When something of the scan last came to an end: accounts probed and cells done by then.
    moved: Option<(Instant, (u64, u64))>,
    /// When our own side was last in doubt; what was denied until then marks nobody.
    doubted: Option<Instant>,
    /// Why the breaker is open; `None`: it is not.
    breaker: Option<String>,
    /// Rounds of judging.
    rounds: u64,
    /// Accounts that were marked revoked.
    revocations: u64,
}

impl Suspects {
    pub(crate) fn revocations(&self) -> u64 {
        self.revocations
    }
    pub(crate) fn len(&self) -> usize {
        self.suspects.len()
    }
    /// What was open when this run began is judged: denied cells in the first round, denied probes in the second.
    pub(crate) fn judged(&self) -> bool {
        self.rounds >= 2
    }
    /// Why the breaker is open, if it is.
    pub(crate) fn breaker(&self) -> Option<&str> {
        self.breaker.as_deref()
    }
    /// An account let us in.
    pub(crate) fn let_in(&mut self, account: &AccountId, at: Timestamp) {
        self.attempted.insert(account.clone(), at);
        self.last_let_in = self.last_let_in.max(Some(at));
        self.decided.remove(account);
        self.suspects.remove(account);
    }
    /// Whatever an account was suspected of, it is over for other reasons.
    pub(crate) fn clear(&mut self, account: &AccountId) {
        self.suspects.remove(account);
    }
    /// No suspects, in a run that begins at `began`.
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, ..Self::default() }
    }

    fn add(&mut self, denial: AssumeDenial, interrupted: Interrupted, status: Option<AccountStatus>, customer: String) {
        if Known::of(status.as_ref()) == Known::Worked && interrupted != Interrupted::OurProbe {
            self.attempted.insert(denial.account.clone(), denial.at);
        }
        let account = denial.account.clone();
        let now = Instant::now();
        let (first, since, seen) = (denial.at, now, now);
        let fresh =
            Suspect { denial, interrupted, status, customer, since, first, own_fault: None, seen, retried: None };
        self.suspects.insert(account, fresh);
    }

    /// What is open of a suspect, which may be what was open before.
    fn denied_again(&mut self, denial: &AssumeDenial) {
        let Some(known) = self.suspects.get_mut(&denial.account) else { return };
        if known.denial != *denial {
            known.seen = Instant::now();
        }
        known.denial = denial.clone();
        known.retried = None;
    }

    fn tally(&mut self, oldest: Timestamp) -> Tally {
        self.decided.retain(|_, (at, _)| *at >= oldest);
        let (suspects, decided) = (&self.suspects, &self.decided);
        self.attempted.retain(|id, at| *at >= oldest || suspects.contains_key(id) || decided.contains_key(id));
        let waiting = suspects.values().filter(|s| s.counts());
        let earlier = decided.iter().filter(|(id, _)| !suspects.contains_key(*id)).map(|(_, (_, customer))| customer);
        Tally {
            attempted: self.attempted.len(),
            denied: waiting.map(|s| &s.customer).chain(earlier).cloned().collect(),
        }
    }

    /// What the denials by our own policy say: of us while nobody else is let in, else of the accounts that it does not
    /// cover. `somebody_was`: an account was let in earlier in the scan, be it in another run of it.
    fn our_policy(&mut self, now: Timestamp, settle: Duration, attempted: usize, somebody_was: bool) -> OurPolicy {
        let last = self.last_let_in;
        let ours = || self.suspects.values().filter(|suspect| suspect.denial.our_fault);
        let since_then = ours().filter(|suspect| last.is_none_or(|at| suspect.first > at));
        // Counted as other denials are, but for those that were let in since; whose they are says nothing of our policy.
        let everybody = (last.is_none() && !somebody_was) || revocation::turned(since_then.count(), attempted);
        let doubtful = |suspect: &&Suspect| everybody || last.is_none_or(|at| at + LATELY < suspect.first);
        let found = match ours().filter(doubtful).map(|suspect| suspect.first).min() {
            None => OurPolicy::Holds,
            Some(first) if elapsed(first, now) < settle => OurPolicy::Unsettled,
            Some(_) => OurPolicy::Denies,
        };
        for suspect in self.suspects.values_mut().filter(|suspect| suspect.denial.our_fault) {
            suspect.own_fault = if everybody { None } else { suspect.own_fault.or_else(|| Some(Instant::now())) };
        }
        found
    }
}

/// Whether our own identity's policy is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OurPolicy {
    /// It denies nobody, or only accounts that it does not cover.
    Holds,
    /// It denies somebody, and whether it lets others in is about to show: nobody is marked until then.
    Unsettled,
    /// It denies, and nobody is let in.
    Denies,
}

impl Run<'_> {
    /// A probe was denied.
    pub(crate) async fn suspect_probe(&mut self, account: &AccountId, f: &ProbeFailure) -> Result<(), ScanError> {
        if self.suspects.suspects.get(account).is_some_and(|known| known.retried.is_none()) {
            return Ok(());
        }
        let opened = insist!(self.options, self.parts.store.open_denials(&self.spec.id, Some(account)))?;
        // What a policy of ours denied was an earlier try.
        let denial = opened.into_iter().find(|denial| denial.doing != AssumeDenial::PROBE);
        let denial = denial.unwrap_or_else(|| AssumeDenial {
            scan: self.spec.id.clone(),
            account: account.clone(),
            at: f.at,
            code: f.code.clone().unwrap_or_default(),
            request_id: f.request_id.clone(),
            tries: f.tries.max(1),
            doing: AssumeDenial::PROBE.to_owned(),
            our_fault: false,
        });
        // It was asked again, and denied again.
        if let Some(known) = self.suspects.suspects.get_mut(account) {
            (known.denial, known.seen, known.retried) = (denial, Instant::now(), None);
            return Ok(());
        }
        let status = insist!(self.options, self.parts.store.account_status(account))?;
        let customer = insist!(self.options, self.parts.accounts.describe(account))?.customer;
        self.suspects.add(denial, Interrupted::Probe, status, customer);
        Ok(())
    }

    /// Reads what workers opened, decides what can be decided, and carries it out.
    pub(crate) async fn judge_suspects(&mut self) -> Result<(), ScanError> {
        self.meet_opened_denials().await?;
        self.suspects.rounds += 1;
        // A hub that was found broken is asked until it works, whatever goes on meanwhile with sessions that it still has.
        let stands_still = self.stands_still() | matches!(self.suspects.hub, Some((_, false)));
        if self.suspects.suspects.is_empty() && !stands_still {
            self.breaker_is(None);
            return Ok(());
        }
        let now = self.parts.clock.now();
        let tally = self.suspects.tally(now - self.options.breaker_window);
        let forced = self.parts.fleet.as_ref().and_then(|link| *link.forced.borrow());
        let open = match forced {
            Some(Force::Open) => true,
            Some(Force::Closed) => false,
            None => tally.breaker_open(),
        };
        let hub_works = self.hub_works(now, open, stands_still).await;
        let somebody_was =
            [Outcome::Complete, Outcome::Partial].iter().any(|outcome| self.counts.outcomes.contains_key(outcome));
        let settle = self.options.denial_settle;
        let mut our_policy = self.suspects.our_policy(now, settle, tally.attempted, somebody_was);
        if forced == Some(Force::Closed) {
            our_policy = OurPolicy::Holds;
        }
        self.breaker_is(match (open, forced) {
            (true, Some(_)) => Some("an operator opened it".to_owned()),
            _ if our_policy == OurPolicy::Denies => Some("a policy of our own identity denies AssumeRole".to_owned()),
            (true, None) => {
                let (denied, attempted) = (tally.denied.len(), tally.attempted);
                Some(format!("{denied} of {attempted} accounts that had worked deny AssumeRole at once"))
            }
            (false, _) if hub_works == Some(false) => Some("our own identity, or a canary, does not work".to_owned()),
            (false, _) => None,
        });
        if self.suspects.breaker.is_some() {
            self.suspects.doubted = Some(Instant::now());
        }
        let mut may_ask = ASKED_AGAIN;
        let all: Vec<Suspect> = self.suspects.suspects.values().cloned().collect();
        for suspect in all {
            let denied = Denied {
                known: Known::of(suspect.status.as_ref()),
                age: elapsed(suspect.denial.at, now),
                waited: suspect.since.elapsed(),
                our_fault: suspect.denial.our_fault,
                breaker_open: open,
                hub_works,
            };
            if suspect.interrupted == Interrupted::OurProbe {
                if suspect.own_fault.is_some_and(|since| since.elapsed() >= self.options.denial_wait) {
                    let reason =
                        "a policy of our own identity denies AssumeRole for this account, and not for all others";
                    self.leave_unconfirmed(&suspect, reason).await?;
                }
                continue;
            }
            if suspect.retried.is_some() {
                continue;
            }
            match revocation::verdict(&denied, self.options.denial_settle, self.options.denial_wait) {
                Verdict::Revoked
                    if self.was_in_doubt(&suspect) && suspect.since.elapsed() >= self.options.denial_wait =>
                {
                    let reason = "AssumeRole was denied, and whether our own side was at fault stayed open too long";
                    self.leave_unconfirmed(&suspect, reason).await?;
                }
                Verdict::Revoked if self.was_in_doubt(&suspect) => {
                    let over = self.suspects.doubted.is_none_or(|at| at.elapsed() >= AFTERMATH);
                    if over && may_ask > 0 {
                        may_ask -= 1;
                        self.ask_again(&suspect).await?;
                    }
                }
                // Looked at again in the next tick.
                Verdict::Revoked if our_policy == OurPolicy::Unsettled => {}
                Verdict::Revoked => self.revoke(&suspect, now).await?,
                Verdict::Unconfirmed(reason) => self.leave_unconfirmed(&suspect, reason).await?,
                Verdict::Wait(_) if may_ask > 0 && elapsed(suspect.denial.at, now) >= self.options.denial_retry => {
                    may_ask -= 1;
                    self.ask_again(&suspect).await?;
                }
                Verdict::Wait(_) => {}
            }
        }
        Ok(())
    }

    /// Whether what is known of a suspect is of a time when something of ours may have been broken.
    fn was_in_doubt(&self, suspect: &Suspect) -> bool {
        let doubted = self.suspects.doubted.is_some_and(|doubted| suspect.seen < doubted + AFTERMATH);
        Known::of(suspect.status.as_ref()) == Known::Worked && (doubted || suspect.denial.at < self.suspects.began)
    }

    fn breaker_is(&mut self, why: Option<String>) {
        match (&self.suspects.breaker, &why) {
            (None, Some(why)) => {
                tracing::error!(scan = %self.spec.id, why, "breaker.opened: no account is marked revoked");
            }
            (Some(_), None) => tracing::warn!(scan = %self.spec.id, "breaker.closes"),
            _ => {}
        }
        self.suspects.breaker = why;
    }

    async fn meet_opened_denials(&mut self) -> Result<(), ScanError> {
        let opened = insist!(self.options, self.parts.store.open_denials(&self.spec.id, None))?;
        for denial in &opened {
            let account = &denial.account;
            let interrupted =
                if denial.doing == AssumeDenial::PROBE { Interrupted::OurProbe } else { Interrupted::Cells };
            let known = self.suspects.suspects.get(account).map(|known| known.interrupted);
            match (known, interrupted) {
                (Some(Interrupted::Cells | Interrupted::OurProbe), _) => self.suspects.denied_again(denial),
                // Its probe has answered since, and is met among the probed accounts.
                (_, Interrupted::OurProbe) if !self.is_unprobed(account).await? => {
                    insist!(self.options, self.parts.store.close_denial(&self.spec.id, account))?;
                }
                (Some(Interrupted::Probe), Interrupted::Cells | Interrupted::Probe) => {}
                (_, Interrupted::OurProbe) | (None, _) => {
                    let status = insist!(self.options, self.parts.store.account_status(account))?;
                    let customer = insist!(self.options, self.parts.accounts.describe(account))?.customer;
                    self.suspects.add(denial.clone(), interrupted, status, customer);
                }
            }
        }
        // A suspect whose denial is gone was tried again and let us in, or had nothing left to read.
        let patience = self.options.denial_retry;
        let open: BTreeSet<&AccountId> = opened.iter().map(|denial| &denial.account).collect();
        self.suspects.suspects.retain(|account, suspect| {
            suspect.interrupted == Interrupted::Probe
                || open.contains(account)
                || suspect.retried.is_some_and(|at| at.elapsed() < patience)
        });
        Ok(())
    }

    async fn is_unprobed(&self, account: &AccountId) -> Result<bool, ScanError> {
        let row = insist!(self.options, self.parts.store.scan_account(&self.spec.id, account))?;
        Ok(row.is_some_and(|row| row.state == ScanAccountState::Waiting))
    }

    /// A probe has answered: if our own policy had denied it before, that is over.
    pub(crate) async fn probe_answered(&mut self, account: &AccountId) -> Result<(), ScanError> {
        if self.suspects.suspects.get(account).is_some_and(|known| known.interrupted == Interrupted::OurProbe) {
            insist!(self.options, self.parts.store.close_denial(&self.spec.id, account))?;
            self.suspects.clear(account);
        }
        Ok(())
    }

    /// Whether probes are out, or cells, and for a while none of them has come to anything.
    fn stands_still(&mut self) -> bool {
        let accounts = |state| self.counts.accounts.get(&state).copied().unwrap_or_default();
        let probed = accounts(ScanAccountState::Probed) + accounts(ScanAccountState::Planned);
        let done = self.counts.outcomes.values().sum::<u64>();
        let is_out = !self.probing.is_empty() || self.counts.pending() > 0;
        match self.suspects.moved {
            Some((at, came_to)) if is_out && came_to == (probed, done) => at.elapsed() >= STILL,
            _ => {
                self.suspects.moved = Some((Instant::now(), (probed, done)));
                false
            }
        }
    }

    /// Asks the hub, where an answer would decide anything or nothing goes on; its last one is believed for a while.
    async fn hub_works(&mut self, now: Timestamp, breaker_open: bool, stands_still: bool) -> Option<bool> {
        let settle = self.options.denial_settle;
        let would_decide = !breaker_open
            && self.suspects.suspects.values().any(|suspect| {
                !suspect.denial.our_fault
                    && Known::of(suspect.status.as_ref()) == Known::Worked
                    && elapsed(suspect.denial.at, now) >= settle
            });
        if !would_decide && !stands_still {
            return None;
        }
        if let Some((at, works)) = self.suspects.hub {
            let holds = if would_decide || !works { self.options.hub_answer_holds } else { STILL_HUB_HOLDS };
            if at.elapsed() < holds {
                return Some(works);
            }
        }
        let answer = tokio::time::timeout(HUB_ANSWERS, self.parts.hub.check()).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        if let Err(problem) = &answer {
            tracing::error!(scan = %self.spec.id, error = problem, "hub.broken: no account is marked revoked");
        }
        self.suspects.hub = Some((Instant::now(), answer.is_ok()));
        Some(answer.is_ok())
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
