//! Who did something in an account's region, and when last: what is remembered of it beyond a scan, so that the next one
//! reads only what is new.
//!
//! All of it is a union or a maximum: merging is idempotent, and the order in which things are merged does not matter.
//! What was read twice, or handed in by a worker that no longer counts, is as true as what was read once.

mod coverage;

pub use coverage::{Coverage, MAX_SPANS, Span};

use crate::ScanId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Principals that are remembered of an account's region: those that acted last.
pub const MAX_PRINCIPALS: usize = 2_000;
/// Access keys that are remembered of a principal: IAM lets a user have two at a time.
pub const MAX_KEYS: usize = 8;
/// Scans whose time is remembered.
const MAX_SCANS: usize = 4;

/// What a principal did last. Never what it asked for, or got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deed {
    /// Second since 1970.
    pub at: i64,
    /// CloudTrail's name of the event, `GetObject`.
    pub event: String,
    /// The service, `s3.amazonaws.com`.
    pub source: String,
}

/// A principal, as its events show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// CloudTrail's word for it: `AssumedRole`, `IAMUser`, `Root`, `AWSService`, …
    pub kind: String,
    /// The last thing that it did.
    pub last: Deed,
    /// Long-term access keys that it used (`AKIA…`), each with the second of its last use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, i64>,
}

impl Principal {
    /// Takes over whatever the other knows that is later. Of two words for its kind the later deed's holds.
    fn merge(&mut self, other: &Principal) {
        if (&other.last, &other.kind) > (&self.last, &self.kind) {
            self.last = other.last.clone();
            self.kind = other.kind.clone();
        }
        for (key, at) in &other.keys {
            let known = self.keys.entry(key.clone()).or_insert(*at);
            *known = (*known).max(*at);
        }
        while self.keys.len() > MAX_KEYS {
            let oldest = self.keys.iter().min_by_key(|(key, at)| (**at, (*key).clone())).map(|(key, _)| key.clone());
            oldest.map(|key| self.keys.remove(&key));
        }
    }
}

/// What is known of an account's region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The seconds whose events were read, all of them.
    pub read: Coverage,
    /// By its ARN, or what it has in place of one.
    pub principals: BTreeMap<String, Principal>,
    /// The last deed of a principal that was one too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
    /// When a trail was last switched off or told to log otherwise, as far as events tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail_changed: Option<i64>,
    /// Milliseconds that the newest scans spent on reading.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spent: BTreeMap<ScanId, u64>,
}

impl Activity {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes that a principal did something. However many there are, twice as many as are remembered are held at most.
    pub fn note(&mut self, id: &str, principal: Principal) {
        match self.principals.get_mut(id) {
            Some(known) => known.merge(&principal),
            None => {
                self.principals.insert(id.to_owned(), principal);
                if self.principals.len() > 2 * MAX_PRINCIPALS {
                    self.leave_out();
                }
            }
        }
    }

    /// Notes that a trail was changed at a second.
    pub fn note_trail_changed(&mut self, at: i64) {
        self.trail_changed = self.trail_changed.max(Some(at));
    }

    /// Of too many principals those that acted last stay.
    fn leave_out(&mut self) {
        if self.principals.len() <= MAX_PRINCIPALS {
            return;
        }
        let mut order: Vec<(i64, String)> = self.principals.iter().map(|(id, p)| (p.last.at, id.clone())).collect();
        order.sort_unstable();
        for (at, id) in &order[..order.len() - MAX_PRINCIPALS] {
            self.principals.remove(id);
            self.left_out = self.left_out.max(Some(*at));
        }
    }

    /// Takes over what another knows.
    pub fn merge(&mut self, other: &Activity) {
        self.read.merge(&other.read);
        for (id, principal) in &other.principals {
            self.note(id, principal.clone());
        }
        self.left_out = self.left_out.max(other.left_out);
        self.trail_changed = self.trail_changed.max(other.trail_changed);
        for (scan, spent) in &other.spent {
            let known = self.spent.entry(scan.clone()).or_default();
            *known = (*known).max(*spent);
        }
    }

    /// Forgets what is older than that second, and what is too much: of principals the ones that acted longest ago, of
    /// spans and scans the oldest.
    pub fn settle(&mut self, oldest: i64) {
        self.read.forget_before(oldest);
        self.principals.retain(|_, principal| principal.last.at >= oldest);
        for principal in self.principals.values_mut() {
            principal.keys.retain(|_, at| *at >= oldest);
        }
        self.leave_out();
        self.left_out = self.left_out.filter(|at| *at >= oldest);
        self.trail_changed = self.trail_changed.filter(|at| *at >= oldest);
        while self.spent.len() > MAX_SCANS {
            self.spent.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
