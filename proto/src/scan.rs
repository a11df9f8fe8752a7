use crate::{
    AccountId, Lane, Outcome, Probe, ProbeFailure, Profile, ProfileError, RegionSource, ScanId, WorkTotals,
    catalogue::Catalogue,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a scan was asked to do; written once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// Its id.
    pub id: ScanId,
    /// Digest of what was asked: accounts, regions, services, catalogue, profile, sink. A scan resumes only its equal.
    pub plan: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Regional cells are limited to these; empty: all enabled ones.
    pub regions: Vec<String>,
    /// The catalogue's services to read.
    pub services: Vec<String>,
    /// Digest of the part of the catalogue that is read.
    pub catalogue: String,
    /// What that part reads, `service:Operation`, sorted: a process with another catalogue reads these operations and
    /// no others. Empty where one process does all of the scan, or where a version asked for it that did not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Name of the profile.
    pub profile: String,
    /// Text of a profile that is not one of fleetscan's own; at most [`MAX_PROFILE_FILE`] bytes.
    ///
    /// [`MAX_PROFILE_FILE`]: crate::MAX_PROFILE_FILE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_file: Option<String>,
    /// Root of its results, as the operator named it.
    pub out: String,
    /// How many accounts it has.
    pub accounts: u64,
    /// How urgent its tasks are.
    #[serde(default)]
    pub lane: Lane,
    /// Seconds after which what has no outcome gets one, counted from `started_at`; `None`: the coordinator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    /// The schedule asked for it, and not an operator.
    #[serde(default)]
    pub scheduled: bool,
}

impl ScanSpec {
    /// The part of a catalogue that the scan reads. Where the catalogue is another than the one that the scan was asked
    /// for under, its digest is another than [`ScanSpec::catalogue`], and it may lack some of
    /// [`ScanSpec::operations`].
    ///
    /// # Errors
    /// When the profile is not known here, or the catalogue has one of the operations called for another that the scan
    /// does not read.
    pub fn part(&self, catalogue: &Catalogue) -> Result<Catalogue, ProfileError> {
        if self.operations.is_empty() {
            return Profile::of_scan(&self.profile, self.profile_file.as_deref())?.of(catalogue);
        }
        let read: HashSet<&str> = self.operations.iter().map(String::as_str).collect();
        let part = catalogue.narrowed(|service, operation| operation.is_told(service, &read));
        part.map_err(|orphan| ProfileError { profile: self.profile.clone(), problem: orphan.to_string() })
    }

    /// Services of which the scan reads something that a catalogue lacks: whoever has only that catalogue cannot read
    /// their cells as they were meant. `told`: operations that alone are read, because the account's owner was told of
    /// no others.
    pub fn lacking(&self, catalogue: &Catalogue, told: Option<&HashSet<&str>>) -> BTreeSet<String> {
        let read = self.operations.iter().filter(|name| told.is_none_or(|told| told.contains(name.as_str())));
        let lacks = |(service, operation): &(&str, &str)| catalogue.operation(service, operation).is_none();
        read.filter_map(|name| name.split_once(':')).filter(lacks).map(|(service, _)| service.to_owned()).collect()
    }
}

/// Where a scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    /// Under way, or interrupted.
    Running,
    /// An operator wants it stopped: no call is begun any more, and its pending cells are about to end `cancelled`.
    Cancelling,
    /// Every cell has its outcome, and the manifest is written.
    Finished,
    /// An operator stopped it, or a newer scan took its place. It may be reopened.
    Cancelled,
    /// The store lost what it knew of it.
    Lost,
}

impl ScanState {
    /// Not over: running, or being cancelled.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

/// A scan as the store knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRow {
    /// What was asked.
    pub spec: ScanSpec,
    /// Where it stands.
    pub state: ScanState,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Where an account stands within one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanAccountState {
    /// Not yet probed.
    Waiting,
    /// Its probe has answered or failed; its cells are not yet stored.
    Probed,
    /// Its cells are stored.
    Planned,
}

/// An account within a scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanAccount {
    /// Which account.
    pub account: AccountId,
    /// Where it stands.
    pub state: ScanAccountState,
    /// Generation of its probe task.
    pub generation: u64,
    /// What the probe learned: `None` before it answered.
    pub probe: Option<Result<Probe, ProbeFailure>>,
}

/// A scan in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanCounts {
    /// Accounts by [`ScanAccountState`] (`waiting`, `probed`, `planned`).
    pub accounts: BTreeMap<ScanAccountState, u64>,
    /// Accounts by source of their regions.
    pub regions_from: BTreeMap<RegionSource, u64>,
    /// Cells known.
    pub cells: u64,
    /// Cells by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Cost of the cells that have an outcome.
    pub totals: WorkTotals,
    /// AssumeRole calls that were counted for it: see [`Store::count_assume_role`](crate::Store::count_assume_role).
    pub assume_role_calls: u64,
}

impl ScanCounts {
    /// Cells that have no outcome yet, of those known.
    pub fn pending(&self) -> u64 {
        self.cells - self.outcomes.values().sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scan that was asked for under the built-in catalogue.
    fn asked(operations: &[&str]) -> ScanSpec {
        ScanSpec {
            id: "s-1".parse().expect("an id"),
            plan: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            regions: Vec::new(),
            services: Vec::new(),
            catalogue: String::new(),
            operations: operations.iter().map(|name| (*name).to_owned()).collect(),
            profile: "of a later version".into(),
            profile_file: None,
            out: String::new(),
            accounts: 1,
            lane: Lane::Normal,
            deadline_seconds: None,
            scheduled: false,
        }
    }

    #[test]
    fn another_catalogue_reads_what_was_asked_for_and_no_more() {
        let spec = asked(&["lambda:ListFunctions", "sns:ListTopics", "sts:GetCallerIdentity"]);
        let whole = Catalogue::built_in();
        let older = whole.narrowed(|service, _| service.id != "sns").expect("no orphans");
        let names = |part: &Catalogue| part.operation_names();
        let part = spec.part(whole).expect("sound");
        assert_eq!(names(&part), spec.operations, "whatever the profile may be");
        assert_eq!(names(&spec.part(&older).expect("sound")), ["lambda:ListFunctions", "sts:GetCallerIdentity"]);
        assert_ne!(part.digest(), spec.part(&older).expect("sound").digest());
        assert!(asked(&[]).part(whole).is_err(), "without them, it is the profile that tells");
    }

    #[test]
    fn a_catalogue_lacks_what_an_account_may_be_read_with_and_it_does_not_know() {
        let spec = asked(&["lambda:ListFunctions", "lambda:FromTheFuture", "sns:ListTopics", "tea:BrewPot"]);
        let lacking = |told: Option<&[&str]>| {
            let told: Option<HashSet<&str>> = told.map(|told| told.iter().copied().collect());
            spec.lacking(Catalogue::built_in(), told.as_ref()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(lacking(None), ["lambda", "tea"]);
        assert_eq!(lacking(Some(&["lambda:ListFunctions", "tea:BrewPot"])), ["tea"]);
        assert!(lacking(Some(&["sns:ListTopics"])).is_empty());
    }
}
