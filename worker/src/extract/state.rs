use super::Halt;
use crate::sink::RecordWriter;
use fleetscan_proto::{CellProgress, Denial, DeniedBy, Outcome, WalkCursor};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What an extraction leaves behind.
pub struct CellEnd {
    /// Why it stopped; `None`: it came to its end.
    pub halt: Option<Halt>,
    /// Where it stands, without the part that the writer still holds.
    pub progress: CellProgress,
    /// The part in the making.
    pub writer: RecordWriter,
}

/// The state of an extraction, as its many tasks share it.
pub(super) struct State {
    base: CellProgress,
    walks: BTreeMap<String, Walk>,
    denied: BTreeSet<Denial>,
    /// Operations that were denied at least once in this execution or an earlier one.
    refused: HashSet<String>,
    answered: BTreeSet<String>,
    errors: BTreeMap<String, String>,
}

#[derive(Default)]
struct Walk {
    token: Option<String>,
    done: HashSet<String>,
    finished: bool,
}

impl State {
    pub(super) fn new(mut base: CellProgress) -> Self {
        let walks = std::mem::take(&mut base.walks)
            .into_iter()
            .map(|(name, w)| (name, Walk { token: w.token, done: w.done.into_iter().collect(), finished: w.finished }));
        Self {
            walks: walks.collect(),
            denied: std::mem::take(&mut base.denied).into_iter().collect(),
            refused: HashSet::new(),
            answered: std::mem::take(&mut base.answered).into_iter().collect(),
            errors: std::mem::take(&mut base.errors),
            base,
        }
    }

    pub(super) fn answered(&mut self, operation: &str) {
        if !self.answered.contains(operation) {
            self.answered.insert(operation.to_owned());
        }
    }
    pub(super) fn denied(&mut self, operation: &str, action: &str, by: DeniedBy) {
        self.denied.insert(Denial { action: action.to_owned(), by });
        self.refused.insert(operation.to_owned());
    }
    pub(super) fn failed(&mut self, operation: &str, why: &str) {
        self.errors.entry(operation.to_owned()).or_insert_with(|| why.to_owned());
    }
    /// What an operation's failure, or want of time, left unread.
    pub(super) fn left_unread(&mut self, operation: &str, what: &str) {
        let unread = self.errors.entry(operation.to_owned());
        unread.and_modify(|why| *why = format!("{why}, and so {what}")).or_insert_with(|| what.to_owned());
    }
    /// Whether an operation was denied and never answered: what earlier executions met counts as well.
    pub(super) fn was_denied(&self, operation: &str, action: &str) -> bool {
        if self.answered.contains(operation) {
            return false;
        }
        self.refused.contains(operation) || self.denied.iter().any(|d| d.action == action)
    }

    pub(super) fn walk_token(&self, operation: &str) -> Option<String> {
        self.walks.get(operation)?.token.clone()
    }
    pub(super) fn walk_finished(&self, operation: &str) -> bool {
        self.walks.get(operation).is_some_and(|w| w.finished)
    }
    pub(super) fn is_done(&self, operation: &str, key: &str) -> bool {
        self.walks.get(operation).is_some_and(|w| w.done.contains(key))
    }
    pub(super) fn item_done(&mut self, operation: &str, keys: impl IntoIterator<Item = String>) {
        self.walks.entry(operation.to_owned()).or_default().done.extend(keys);
    }
    /// The page is done: on to the one that `token` names, or the walk is finished.
    pub(super) fn page_done(&mut self, operation: &str, token: Option<String>) {
        let walk = self.walks.entry(operation.to_owned()).or_default();
        walk.finished = token.is_none();
        walk.token = token;
        walk.done.clear();
    }

    pub(super) fn into_progress(self, calls: u64, throttled: u64) -> CellProgress {
        let mut progress = self.base;
        progress.walks = self
            .walks
            .into_iter()
            .map(|(name, w)| {
                let mut done: Vec<String> = w.done.into_iter().collect();
                done.sort();
                (name, WalkCursor { token: w.token, done, finished: w.finished })
            })
            .collect();
        progress.denied = self.denied.into_iter().collect();
        progress.answered = self.answered.into_iter().collect();
        progress.errors = self.errors;
        progress.totals.calls += calls;
        progress.totals.throttled += throttled;
        progress
    }
}

/// How a cell that came to its end ended, by DESIGN's words.
pub fn outcome_of(progress: &CellProgress) -> Outcome {
    let (answered, denied, errors) =
        (!progress.answered.is_empty(), !progress.denied.is_empty(), !progress.errors.is_empty());
    match (answered, denied, errors) {
        (_, false, false) => Outcome::Complete,
        (true, _, _) => Outcome::Partial,
        (false, _, true) => Outcome::Failed,
        (false, true, false) if progress.denied.iter().all(|d| d.by == DeniedBy::Scp) => Outcome::DeniedByScp,
        (false, true, false) => Outcome::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(answered: bool, denied: &[DeniedBy], failed: bool) -> CellProgress {
        CellProgress {
            answered: answered.then(|| "ListX".to_owned()).into_iter().collect(),
            denied: denied.iter().map(|by| Denial { action: "x:ListX".into(), by: *by }).collect(),
            errors: failed.then(|| ("ListY".to_owned(), "InternalError".to_owned())).into_iter().collect(),
            ..CellProgress::default()
        }
    }

    #[test]
    fn denied_is_not_empty() {
        use DeniedBy::{Identity, Scp};
        for (progress, outcome) in [
            (progress(true, &[], false), Outcome::Complete),
            (progress(true, &[Identity], false), Outcome::Partial),
            (progress(true, &[], true), Outcome::Partial),
            (progress(false, &[Identity], false), Outcome::Denied),
            (progress(false, &[Scp, Identity], false), Outcome::Denied),
            (progress(false, &[Scp], false), Outcome::DeniedByScp),
            (progress(false, &[Scp], true), Outcome::Failed),
            (progress(false, &[], true), Outcome::Failed),
        ] {
            assert_eq!(outcome_of(&progress), outcome, "{progress:?}");
        }
    }

    #[test]
    fn what_was_done_survives_an_interruption() {
        let mut state = State::new(CellProgress::default());
        state.page_done("ListX", Some("t2".into()));
        state.item_done("ListX", ["a".to_owned()]);
        let state = State::new(state.into_progress(3, 1));
        assert!(state.is_done("ListX", "a") && !state.is_done("ListX", "b"));
        assert_eq!(state.walk_token("ListX").as_deref(), Some("t2"));
    }
}
