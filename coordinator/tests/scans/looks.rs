//! What a look at an account's role does to its standing.

use crate::world::{Watch, WatchedStore};
use async_trait::async_trait;
use fleetscan_backends::embedded::EmbeddedStore;
use fleetscan_coordinator::Connections;
use fleetscan_proto::{AccountId, AccountState, AccountStatus, Store, SystemClock};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

pub fn account() -> AccountId {
    "111122223333".parse().expect("an id")
}
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("time")
}
pub fn status(state: AccountState, since: i64) -> AccountStatus {
    let evidence = BTreeMap::from([("said".to_owned(), "by somebody else".to_owned())]);
    AccountStatus { account: account(), state, since: at(since), last_success: None, denied: Vec::new(), evidence }
}

/// Another process that changes the status between our reading and our writing.
pub struct Meddler(pub Mutex<Vec<AccountStatus>>);

#[async_trait]
impl<S: Store> Watch<S> for Meddler {
    type Held = ();

    async fn before(&self, store: &S, method: &str) {
        let next = if method.ends_with("_account_status") && method != "account_status" { self.next() } else { None };
        if let Some(status) = next {
            store.set_account_status(&status).await.expect("set");
        }
    }
}

impl Meddler {
    fn next(&self) -> Option<AccountStatus> {
        self.0.lock().expect("unpoisoned").pop()
    }
}

/// The standing after a look that let us in then: of an account that stood so before, and so a moment later.
async fn after_a_look(let_in_at: i64, before: AccountStatus, meanwhile: Vec<AccountStatus>) -> AccountStatus {
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(folder.path()).expect("opens");
    store.set_account_status(&before).await.expect("set");
    let watched = WatchedStore { store: store.clone(), watch: Meddler(Mutex::new(meanwhile)) };
    let desk =
        Connections { registry: Arc::new(store.clone()), store: Arc::new(watched), clock: Arc::new(SystemClock) };
    desk.verified(&account(), Some(at(let_in_at)), "fine").await.expect("noted");
    let history = store.account_history(&account()).await.expect("readable");
    assert_eq!(history.last().expect("an entry").evidence["found"], "fine");
    store.account_status(&account()).await.expect("readable").expect("a status")
}

#[tokio::test]
async fn a_look_reinstates_what_was_revoked_before_it_and_nothing_later() {
    let older = after_a_look(100, status(AccountState::Revoked, 99), Vec::new()).await;
    assert_eq!((older.state, older.last_success), (AccountState::Active, Some(at(100))));
    assert!(older.evidence.contains_key("reinstated"));
    let newer = status(AccountState::Revoked, 101);
    assert_eq!(after_a_look(100, newer.clone(), Vec::new()).await, newer);
}

#[tokio::test]
async fn what_others_write_while_a_look_is_noted_stands() {
    for state in [AccountState::Paused, AccountState::Disconnected] {
        let theirs = status(state, 50);
        let stands = after_a_look(100, status(AccountState::Pending, 1), vec![theirs.clone()]).await;
        assert_eq!(stands, theirs);
    }
    let revoked = status(AccountState::Revoked, 200);
    let stands = after_a_look(100, status(AccountState::Active, 1), vec![revoked.clone()]).await;
    assert_eq!(stands, revoked);
    let degraded = status(AccountState::Degraded, 50);
    let stands = after_a_look(100, status(AccountState::Pending, 1), vec![degraded]).await;
    assert_eq!((stands.state, stands.last_success), (AccountState::Degraded, Some(at(100))));
}
