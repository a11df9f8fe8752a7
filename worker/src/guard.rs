//! Whether work may go on: asked before each call, and at each page.

use crate::reads::Reads;
use fleetscan_proto::{KillSwitch, ScanId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The right to work on the accounts of a shard: ours until the lease ends, unless it is renewed.
#[derive(Debug)]
pub struct Hold {
    /// Cancelled when no call may begin any more.
    stop: CancellationToken,
    /// Cancelled when cells are to hand in what they have.
    drain: CancellationToken,
    /// By this process's clock, which runs on while the process is frozen. `None`: for ever.
    until: Mutex<Option<Instant>>,
    taken: Instant,
    /// The shard was another's before: its buckets are not full.
    second_hand: bool,
}

impl Hold {
    /// A hold that nobody can end: the only worker of a machine needs no lease.
    pub fn for_ever() -> Self {
        Self::new(None, false)
    }

    /// A hold by a lease that ends then. `second_hand`: another held the shard before.
    pub fn until(end: Instant, second_hand: bool) -> Self {
        Self::new(Some(end), second_hand)
    }

    fn new(until: Option<Instant>, second_hand: bool) -> Self {
        Self {
            stop: CancellationToken::new(),
            drain: CancellationToken::new(),
            until: Mutex::new(until),
            taken: Instant::now(),
            second_hand,
        }
    }

    /// The lease was renewed.
    pub fn prolong(&self, end: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// No call may begin any more.
    pub fn lose(&self) {
        self.stop.cancel();
    }

    /// Cells are to hand in what they have.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Whether it is being given back.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled() || self.stop.is_cancelled()
    }

    /// Whether a call may begin now.
    pub fn is_valid(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        !self.stop.is_cancelled() && until.is_none_or(|end| Instant::now() < end)
    }

    /// Whether another worker called here a moment ago, so that our buckets must begin empty.
    pub fn begins_empty(&self) -> bool {
        const MOMENT: std::time::Duration = std::time::Duration::from_secs(60);
        self.second_hand && self.taken.elapsed() < MOMENT
    }
}

/// What one task must heed.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The shard's.
    pub hold: Arc<Hold>,
    /// Cancelled when its scan is not running any more.
    pub scan: CancellationToken,
    /// Cancelled when its account was revoked, paused or disconnected.
    pub account: CancellationToken,
    /// What it may call; `None`: whatever its worker may.
    pub reads: Option<Arc<Reads>>,
    /// The scan that its AssumeRole calls are counted for; `None`: no scan's.
    pub counted_for: Option<ScanId>,
}

impl Guard {
    /// Heeds nothing.
    pub fn free() -> Self {
        Self {
            hold: Arc::new(Hold::for_ever()),
            scan: CancellationToken::new(),
            account: CancellationToken::new(),
            reads: None,
            counted_for: None,
        }
    }

    /// Whether a call may begin now.
    pub fn may_call(&self) -> bool {
        !self.scan.is_cancelled() && !self.account.is_cancelled() && self.hold.is_valid()
    }

    /// Whether the task is to hand in what it has.
    pub fn must_hand_in(&self) -> bool {
        self.hold.is_draining() || !self.may_call()
    }
}

/// Calls that nobody makes at present, at an operator's wish.
#[derive(Debug, Default)]
pub struct Switches(RwLock<Arc<BTreeMap<String, String>>>);

impl Switches {
    /// From now on these are off: a service or `service:Operation`, and the reason.
    pub fn set(&self, off: BTreeMap<String, String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(off);
    }

    /// From now on what operators switched off is off.
    pub fn heed(&self, switches: &[KillSwitch]) {
        self.set(switches.iter().map(|switch| (switch.what.clone(), switch.reason.clone())).collect());
    }

    /// The reason, where an operation is switched off.
    pub fn reason(&self, service: &str, operation: &str) -> Option<String> {
        let off = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        if off.is_empty() {
            return None;
        }
        off.get(service).or_else(|| off.get(&format!("{service}:{operation}"))).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ran_out_ends_every_call() {
        let guard =
            Guard { hold: Arc::new(Hold::until(Instant::now() + Duration::from_secs(9), true)), ..Guard::free() };
        assert!(guard.may_call() && !guard.must_hand_in() && guard.hold.begins_empty());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!guard.may_call() && guard.must_hand_in());
        guard.hold.prolong(Instant::now() + Duration::from_secs(9));
        assert!(guard.may_call());
        guard.hold.drain();
        assert!(guard.may_call() && guard.must_hand_in(), "a shard that is given back finishes its page");
        guard.scan.cancel();
        assert!(!guard.may_call());
    }

    #[test]
    fn a_service_or_a_single_operation_is_switched_off() {
        let switches = Switches::default();
        assert_eq!(switches.reason("lambda", "ListFunctions"), None);
        switches.set([("lambda".into(), "slow".into()), ("sns:ListTopics".into(), "asked".into())].into());
        assert_eq!(switches.reason("lambda", "GetPolicy").as_deref(), Some("slow"));
        assert_eq!(switches.reason("sns", "ListTopics").as_deref(), Some("asked"));
        assert_eq!(switches.reason("sns", "ListSubscriptions"), None);
    }
}
