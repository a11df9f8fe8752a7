//! What operators do to an account, while others are at its standing too.

use crate::{
    looks::{Meddler, account, status},
    world::{Reply, WatchedStore, World, id},
};
use fleetscan_backends::embedded::EmbeddedStore;
use fleetscan_coordinator::{ConnectionError, Connections};
use fleetscan_proto::{
    AccountRegistry as _, AccountState, AccountStatus, EventTrail as _, RegisteredAccount, Store as _, SystemClock,
    TaskKind,
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

fn connected() -> RegisteredAccount {
    let grant = json!({ "key": "k", "sealed": "nothing" });
    serde_json::from_value(json!({
        "id": account(), "profile": "full", "catalogue": "c", "added_at": "2026-01-31T12:00:00Z", "grant": grant, "version": 1,
    }))
    .expect("a registered account")
}

struct Desk {
    connections: Connections,
    store: EmbeddedStore,
    _folder: tempfile::TempDir,
}

/// The desk of an account that stands so before, and that others change so in the middle of the next change.
async fn desk(before: AccountStatus, meanwhile: Vec<AccountStatus>) -> Desk {
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(folder.path()).expect("opens");
    assert!(store.put_registered(&connected()).await.expect("written"));
    store.set_account_status(&before).await.expect("set");
    let watched = WatchedStore { store: store.clone(), watch: Meddler(Mutex::new(meanwhile)) };
    let (registry, clock) = (Arc::new(store.clone()), Arc::new(SystemClock));
    Desk { connections: Connections { registry, store: Arc::new(watched), clock }, store, _folder: folder }
}

impl Desk {
    async fn state(&self) -> AccountState {
        self.store.account_status(&account()).await.expect("readable").expect("a status").state
    }
}

#[tokio::test]
async fn a_walk_meets_every_account_with_its_own_standing() {
    let Desk { connections, store, _folder } = desk(status(AccountState::Active, 7), Vec::new()).await;
    // Some are registered and were never looked at, some have a standing and are not registered; pages end anywhere.
    for n in (0..400).filter(|n| n % 3 != 0) {
        assert!(store.put_registered(&RegisteredAccount { id: id(n), ..connected() }).await.expect("written"));
    }
    for n in (0..400).filter(|n| n % 5 != 0) {
        let stands = AccountStatus { account: id(n), ..status(AccountState::Degraded, n as i64) };
        store.set_account_status(&stands).await.expect("set");
    }
    let (mut met, mut walk) = (Vec::new(), connections.walk());
    while let Some(page) = walk.next().await.expect("readable") {
        assert!(page.len() <= 64);
        met.extend(page);
    }
    let registered = connections.accounts().await.expect("readable");
    assert_eq!(met.iter().map(|one| one.account.clone()).collect::<Vec<_>>(), registered);
    for one in &met {
        assert_eq!(one.status, store.account_status(&one.account.id).await.expect("readable"));
    }
    let known = met.iter().filter(|one| one.status.is_some()).count();
    assert!(known > 200 && known < met.len(), "{known} of {}", met.len());
    assert_eq!(connections.list().await.expect("readable"), met);
}

#[tokio::test]
async fn what_another_operator_does_meanwhile_is_not_undone() {
    let removed = status(AccountState::Disconnected, 9);
    let resumed = desk(status(AccountState::Paused, 1), vec![removed.clone()]).await;
    let refused = resumed.connections.resume(&account()).await;
    assert!(matches!(&refused, Err(ConnectionError::Refused(why)) if why.contains("is not paused")), "{refused:?}");
    assert_eq!(resumed.state().await, AccountState::Disconnected);
    let paused = desk(status(AccountState::Active, 1), vec![removed]).await;
    paused.connections.pause(&account()).await.expect_err("it was removed");
    assert_eq!(paused.state().await, AccountState::Disconnected);
}

#[tokio::test]
async fn a_scan_that_notes_a_success_meanwhile_is_not_forgotten() {
    let let_in = AccountStatus { last_success: Some(jiff::Timestamp::UNIX_EPOCH), ..status(AccountState::Active, 5) };
    let desk = desk(status(AccountState::Pending, 1), vec![let_in.clone()]).await;
    desk.connections.pause(&account()).await.expect("paused");
    let stands = desk.store.account_status(&account()).await.expect("readable").expect("a status");
    assert_eq!((stands.state, stands.last_success), (AccountState::Paused, let_in.last_success));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_paused_before_its_verdict_is_not_marked_revoked() {
    let mut world = World::of(3);
    world.scan(|_, _| Reply::Answer(1)).await;
    world.restart().await;
    let store = world.store.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Some(scan) = store.scans_under_way().await.unwrap().pop() else { continue };
            if !store.open_denials(&scan.spec.id, None).await.unwrap().is_empty() {
                let mut status = store.account_status(&id(2)).await.unwrap().unwrap();
                status.state = AccountState::Paused;
                return store.set_account_status(&status).await.unwrap();
            }
        }
    });
    let script = |task: &TaskKind, _: Duration| match task {
        TaskKind::Cell(cell) if cell.account == id(2) => Reply::Denied,
        _ => Reply::Answer(1),
    };
    let (_, manifest) = world.scan(script).await;
    assert_eq!(world.state(2).await, Some(AccountState::Paused));
    assert_eq!((manifest.cells.get("revoked"), manifest.cells["cancelled"]), (None, 5));
}

#[tokio::test]
async fn an_account_that_was_revoked_before_its_pause_is_so_after_it() {
    for state in [AccountState::Revoked, AccountState::Degraded, AccountState::Active, AccountState::Pending] {
        let denied =
            fleetscan_proto::Denial { action: "sns:ListTopics".into(), by: fleetscan_proto::DeniedBy::Identity };
        let mut before = status(state, 1);
        before.last_success = (state != AccountState::Pending).then_some(jiff::Timestamp::UNIX_EPOCH);
        before.denied.extend((state == AccountState::Degraded).then_some(denied));
        let desk = desk(before, Vec::new()).await;
        let told = desk.store.newest_event().await.expect("readable");
        for _ in 0..2 {
            desk.connections.pause(&account()).await.expect("paused");
            desk.connections.pause(&account()).await.expect("paused again");
            desk.connections.resume(&account()).await.expect("resumed");
            assert_eq!(desk.state().await, state);
        }
        assert_eq!(desk.store.newest_event().await.expect("readable"), told, "operators' acts are told to nobody");
        let let_in = jiff::Timestamp::now();
        desk.connections.verified(&account(), Some(let_in), "fine").await.expect("noted");
        let kinds: Vec<String> =
            desk.store.events(told, 9).await.expect("readable").into_iter().map(|one| one.event.kind).collect();
        let reinstated = state == AccountState::Revoked;
        assert_eq!(kinds, vec!["account.reinstated".to_owned(); usize::from(reinstated)], "{state:?}");
    }
}
