use async_trait::async_trait;
use fleetscan_proto::{
    AccountChange, AccountId, AccountStatus, AssumeDenial, Begin, Cell, CellProgress, Completion, Event, EventTrail,
    LearnedFactor, LedgerLine, NumberedEvent, Outcome, PendingCell, Probe, ProbeFailure, ScanAccount, ScanAccountState,
    ScanCounts, ScanId, ScanRow, ScanSpec, ScanState, Store, StoreError, activity::Activity,
};
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};

/// What happens around the calls of a store.
#[async_trait]
pub trait Watch<S>: Send + Sync + 'static {
    /// Kept until the call has answered.
    type Held: Send;

    /// Before a call of this name.
    async fn before(&self, store: &S, method: &str) -> Self::Held;
}

/// A store with somebody who watches its calls.
pub struct WatchedStore<S, W> {
    pub store: S,
    pub watch: W,
}

macro_rules! watched {
    ($trait:ident: $($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl<S: $trait, W: Watch<S>> $trait for WatchedStore<S, W> {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                let _held = self.watch.before(&self.store, stringify!($name)).await;
                self.store.$name($($arg),*).await
            })*
        }
    };
}

watched! { Store:
    create_scan(spec: &ScanSpec, accounts: &[AccountId]) -> ();
    scan(scan: &ScanId) -> Option<ScanRow>;
    scans() -> Vec<ScanRow>;
    scans_under_way() -> Vec<ScanRow>;
    unfinished_scan(plan: &str, since: Timestamp) -> Option<ScanRow>;
    end_scan(scan: &ScanId, state: ScanState, at: Timestamp) -> ();
    reopen_scan(scan: &ScanId) -> Option<u64>;
    hasten(scan: &ScanId, accounts: &[AccountId]) -> ();
    take_hastened(scan: &ScanId, limit: usize) -> Vec<AccountId>;
    scan_account(scan: &ScanId, account: &AccountId) -> Option<ScanAccount>;
    forget_scan(scan: &ScanId) -> ();
    scan_accounts(scan: &ScanId, state: ScanAccountState, after: Option<&AccountId>, limit: usize) -> Vec<ScanAccount>;
    record_probe(scan: &ScanId, account: &AccountId, generation: u64, probe: Result<Probe, ProbeFailure>) -> bool;
    renew_probe(scan: &ScanId, account: &AccountId, generation: u64) -> Option<u64>;
    reopen_probe(scan: &ScanId, account: &AccountId, generation: u64) -> Option<u64>;
    plan_account(scan: &ScanId, account: &AccountId, cells: &[Cell]) -> ();
    begin(scan: &ScanId, cell: &Cell, generation: u64, worker: &str, at: Timestamp) -> Begin;
    checkpoint(scan: &ScanId, cell: &Cell, generation: u64, progress: &CellProgress) -> Option<u64>;
    renew_cell(scan: &ScanId, cell: &Cell, generation: u64, attempts: Option<u32>) -> Option<u64>;
    complete(scan: &ScanId, generation: u64, line: &LedgerLine) -> Completion;
    close_cells(scan: &ScanId, account: Option<&AccountId>, outcome: Outcome, reason: &str, at: Timestamp) -> u64;
    amend_cells(scan: &ScanId, account: &AccountId, from: Outcome, to: Outcome) -> u64;
    reopen_cell(scan: &ScanId, line: &LedgerLine, most: u32) -> bool;
    replace_line(scan: &ScanId, line: &LedgerLine, by: &LedgerLine) -> bool;
    pending_cells(scan: &ScanId, account: Option<&AccountId>, after: Option<&Cell>, limit: usize) -> Vec<PendingCell>;
    ledger(scan: &ScanId, after: Option<&Cell>, limit: usize) -> Vec<LedgerLine>;
    count_assume_role(scan: &ScanId, calls: u64) -> ();
    counts(scan: &ScanId) -> ScanCounts;
    account_status(account: &AccountId) -> Option<AccountStatus>;
    account_statuses(after: Option<&AccountId>, limit: usize) -> Vec<AccountStatus>;
    set_account_status(status: &AccountStatus) -> ();
    change_account_status(before: Option<&AccountStatus>, status: &AccountStatus) -> bool;
    note_act(account: &AccountId, at: Timestamp, evidence: &BTreeMap<String, String>) -> ();
    account_history(account: &AccountId) -> Vec<AccountChange>;
    open_denial(denial: &AssumeDenial) -> ();
    open_denials(scan: &ScanId, account: Option<&AccountId>) -> Vec<AssumeDenial>;
    close_denial(scan: &ScanId, account: &AccountId) -> ();
    learned(account: &AccountId) -> Vec<LearnedFactor>;
    keep_learned(account: &AccountId, factors: &[LearnedFactor]) -> ();
    activity(account: &AccountId, region: &str) -> Activity;
    add_activity(account: &AccountId, region: &str, news: &Activity, oldest: Timestamp) -> Activity;
    forget_activity(account: &AccountId) -> ();
    take_shared(bucket: &str, rate: f64, burst: f64) -> Option<Duration>;
}

watched! { EventTrail:
    append_event(event: &Event, note: Option<(&str, &str)>) -> ();
    events(after: u64, limit: usize) -> Vec<NumberedEvent>;
    newest_event() -> u64;
}
