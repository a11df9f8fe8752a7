use crate::guard::{Guard, Hold};
use fleetscan_proto::{AccountId, ScanId, Task, TaskKind, shard_of};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What a worker has in work, and what it may work on.
#[derive(Debug)]
pub(crate) struct Desk {
    shards: u16,
    state: Mutex<State>,
    /// For cells that stay for more than a slice of time.
    to_keep: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    holds: BTreeMap<u16, Arc<Hold>>,
    tasks: HashSet<(ScanId, TaskKind)>,
    scans: HashMap<ScanId, Users>,
    accounts: HashMap<AccountId, Users>,
    in_shard: HashMap<u16, usize>,
    /// Shards with tasks that are left to another version's workers, and when one was last met.
    left: BTreeMap<u16, Instant>,
    /// Accounts that an operator does not want worked on, for as long as their cells may still come along.
    barred: HashMap<AccountId, Instant>,
}

#[derive(Debug, Default)]
struct Users {
    count: usize,
    stop: CancellationToken,
}

/// What became of the wish to begin a task.
pub(crate) enum Take {
    /// Go on; the seat is given up when it is dropped.
    Seat(Seat),
    /// A copy of it is in work here.
    Busy,
    /// Its shard is not ours.
    NotOurs,
    /// An operator does not want its account worked on.
    Barred,
}

/// A task's place at the desk.
#[derive(Debug)]
pub(crate) struct Seat {
    desk: Arc<Desk>,
    scan: ScanId,
    kind: TaskKind,
    account: AccountId,
    shard: u16,
    /// What the task must heed.
    pub(crate) guard: Guard,
}

impl Desk {
    /// A desk for so many tasks at once, of so many shards, none of which is held.
    pub(crate) fn new(shards: u16, places: u16) -> Self {
        // Half of the places: what waits in the queue has its turn, too.
        let to_keep = Semaphore::new(usize::from(places / 2));
        Self { shards: shards.max(1), state: Mutex::default(), to_keep }
    }

    /// A place for a cell whose slice of time is over and that goes on all the same; `None`: there are too many.
    pub(crate) fn keep(&self) -> Option<SemaphorePermit<'_>> {
        self.to_keep.try_acquire().ok()
    }

    /// Every shard is ours, for ever: no other worker shares the queue.
    pub(crate) fn hold_all(&self) {
        let hold = Arc::new(Hold::for_ever());
        self.lock().holds = (0..self.shards).map(|shard| (shard, Arc::clone(&hold))).collect();
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// A shard's lease was taken.
    pub(crate) fn hold(&self, shard: u16, hold: Arc<Hold>) {
        self.lock().holds.insert(shard, hold);
    }

    /// A shard is no longer ours; what is in work there stops.
    pub(crate) fn let_go(&self, shard: u16) {
        if let Some(hold) = self.lock().holds.remove(&shard) {
            hold.lose();
        }
    }

    /// Whether an account's shard is held.
    pub(crate) fn is_ours(&self, account: &AccountId) -> bool {
        self.lock().holds.contains_key(&shard_of(account, self.shards))
    }

    /// Begins a task, if it may begin.
    pub(crate) fn take(self: &Arc<Self>, task: &Task) -> Take {
        let account = task.account().clone();
        let shard = shard_of(&account, self.shards);
        let mut state = self.lock();
        let hold = match state.holds.get(&shard) {
            Some(hold) if !hold.is_draining() && hold.is_valid() => Arc::clone(hold),
            _ => return Take::NotOurs,
        };
        if state.barred.get(&account).is_some_and(|until| Instant::now() < *until) {
            return Take::Barred;
        }
        if !state.tasks.insert((task.scan.clone(), task.kind.clone())) {
            return Take::Busy;
        }
        *state.in_shard.entry(shard).or_default() += 1;
        let scan = enter(&mut state.scans, &task.scan);
        let stop_account = enter(&mut state.accounts, &account);
        let guard = Guard { hold, scan, account: stop_account, reads: None, counted_for: Some(task.scan.clone()) };
        Take::Seat(Seat {
            desk: Arc::clone(self),
            scan: task.scan.clone(),
            kind: task.kind.clone(),
            account,
            shard,
            guard,
        })
    }

    /// A task of the account is left to another version's worker.
    pub(crate) fn leave(&self, account: &AccountId) {
        self.leave_in([shard_of(account, self.shards)]);
    }

    /// Tasks in these shards are.
    pub(crate) fn leave_in(&self, shards: impl IntoIterator<Item = u16>) {
        let now = Instant::now();
        self.lock().left.extend(shards.into_iter().map(|shard| (shard, now)));
    }

    /// The shards in which tasks were left within `age`; older ones are forgotten.
    pub(crate) fn left_within(&self, age: Duration) -> BTreeSet<u16> {
        let mut state = self.lock();
        state.left.retain(|_, at| at.elapsed() < age);
        state.left.keys().copied().collect()
    }

    /// Tasks in work in a shard.
    pub(crate) fn in_work(&self, shard: u16) -> usize {
        self.lock().in_shard.get(&shard).copied().unwrap_or_default()
    }

    /// Tasks in work.
    pub(crate) fn len(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Stops what is in work of scans that `keep` does not know.
    pub(crate) fn keep_scans(&self, keep: impl Fn(&ScanId) -> bool) {
        // The entry goes, so that the scan may be resumed; what is in work holds the old token.
        self.lock().scans.retain(|scan, users| {
            let kept = keep(scan);
            if !kept {
                users.stop.cancel();
            }
            kept
        });
    }

    /// Stops what is in work in an account, and begins nothing there for so long.
    pub(crate) fn bar(&self, account: &AccountId, rest: Duration) {
        let (mut state, now) = (self.lock(), Instant::now());
        state.barred.retain(|_, until| now < *until);
        if !rest.is_zero() {
            state.barred.insert(account.clone(), now + rest);
        }
        if let Some(users) = state.accounts.remove(account) {
            users.stop.cancel();
        }
    }

    /// Accounts in work.
    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        self.lock().accounts.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter<K: Hash + Eq + Clone>(users: &mut HashMap<K, Users>, key: &K) -> CancellationToken {
    let entry = users.entry(key.clone()).or_default();
    entry.count += 1;
    entry.stop.clone()
}

/// Leaves an entry, unless it was replaced meanwhile by one that this user never entered.
fn leave<K: Hash + Eq>(users: &mut HashMap<K, Users>, key: &K, entered: &CancellationToken) {
    let Some(entry) = users.get_mut(key) else { return };
    if entered.is_cancelled() != entry.stop.is_cancelled() {
        return;
    }
    entry.count = entry.count.saturating_sub(1);
    if entry.count == 0 {
        users.remove(key);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.tasks.remove(&(self.scan.clone(), self.kind.clone()));
        leave(&mut state.scans, &self.scan, &self.guard.scan);
        leave(&mut state.accounts, &self.account, &self.guard.account);
        if let Some(count) = state.in_shard.get_mut(&self.shard) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::Cell;

    fn task(service: &str) -> Task {
        let cell = Cell::new("111122223333".parse().expect("id"), "eu-west-1", service);
        Task::new("s-1".parse().expect("id"), TaskKind::Cell(cell), 1)
    }
    fn seat(desk: &Arc<Desk>, service: &str) -> Seat {
        match desk.take(&task(service)) {
            Take::Seat(seat) => seat,
            _ => panic!("there was a seat"),
        }
    }

    #[test]
    fn a_copy_of_what_is_in_work_does_not_begin() {
        let desk = Arc::new(Desk::new(1, 4));
        assert!(matches!(desk.take(&task("sns")), Take::NotOurs));
        desk.hold_all();
        let first = seat(&desk, "sns");
        assert!(matches!(desk.take(&task("sns")), Take::Busy));
        assert_eq!((desk.len(), desk.in_work(0), desk.accounts().len()), (1, 1, 1));
        drop(first);
        assert_eq!((desk.len(), desk.in_work(0), desk.accounts().len()), (0, 0, 0));
        drop(seat(&desk, "sns"));
    }

    #[test]
    fn a_scan_that_was_stopped_may_come_back() {
        let desk = Arc::new(Desk::new(1, 4));
        desk.hold_all();
        let old = seat(&desk, "sns");
        desk.keep_scans(|_| false);
        assert!(!old.guard.may_call());
        let new = seat(&desk, "ssm");
        assert!(new.guard.may_call());
        drop(old);
        desk.keep_scans(|_| false);
        assert!(!new.guard.may_call(), "the old one's leaving did not forget the new one");
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_is_barred_rests() {
        let desk = Arc::new(Desk::new(1, 4));
        desk.hold_all();
        let old = seat(&desk, "sns");
        desk.bar(&"111122223333".parse().expect("id"), Duration::from_secs(15));
        assert!(!old.guard.may_call());
        drop(old);
        assert!(matches!(desk.take(&task("sns")), Take::Barred));
        tokio::time::advance(Duration::from_secs(16)).await;
        assert!(seat(&desk, "sns").guard.may_call());
    }

    #[test]
    fn a_shard_that_is_lost_stops_its_work() {
        let desk = Arc::new(Desk::new(1, 4));
        desk.hold_all();
        let seat = seat(&desk, "sns");
        desk.let_go(0);
        assert!(!seat.guard.may_call());
        assert!(!desk.is_ours(&"111122223333".parse().expect("id")));
    }
}
