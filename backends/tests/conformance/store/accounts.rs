use super::{StoreFactory, account, at, scan_id, spec};
use fleetscan_proto::{
    AccountChange, AccountState, AccountStatus, AssumeDenial, Denial, DeniedBy, LearnedFactor, Store,
};
use std::collections::BTreeMap;

fn evidence(code: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("code".to_owned(), code.to_owned()), ("request_id".to_owned(), "7a62c49f".to_owned())])
}

pub(super) fn status(n: usize, state: AccountState, since: i64) -> AccountStatus {
    AccountStatus {
        account: account(n),
        state,
        since: at(since),
        last_success: Some(at(since - 1)),
        denied: Vec::new(),
        evidence: evidence(&format!("at {since}")),
    }
}

pub async fn a_status_is_replaced_whole<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.account_status(&account(1)).await.expect("readable"), None);
    assert_eq!(store.account_statuses(None, 10).await.expect("readable"), []);
    let denied = vec![Denial { action: "sqs:ListQueues".into(), by: DeniedBy::Identity }];
    let degraded = AccountStatus { denied, ..status(1, AccountState::Degraded, 10) };
    let active = AccountStatus { last_success: None, ..status(1, AccountState::Active, 20) };
    for written in [&degraded, &active] {
        store.set_account_status(written).await.expect("set");
        assert_eq!(store.account_status(&account(1)).await.expect("readable").as_ref(), Some(written));
    }
    let other = status(2, AccountState::Paused, 5);
    store.set_account_status(&other).await.expect("set");
    assert_eq!(store.account_statuses(None, 10).await.expect("readable"), [active, other.clone()]);
    assert_eq!(store.account_statuses(Some(&account(1)), 10).await.expect("readable"), [other]);
}

pub async fn a_status_is_changed_only_from_what_it_was<F: StoreFactory>(factory: &F) {
    use AccountState::{Active, Paused, Pending};
    let store = factory.open().await;
    let change = async |before: Option<&AccountStatus>, after: &AccountStatus| {
        store.change_account_status(before, after).await.expect("writable")
    };
    let (pending, active, paused) = (status(1, Pending, 1), status(1, Active, 2), status(1, Paused, 3));
    assert!(!change(Some(&pending), &active).await, "there is none yet");
    assert_eq!(store.account_statuses(None, 10).await.expect("readable"), []);
    assert!(change(None, &pending).await);
    assert!(!change(None, &active).await, "there is one by now");
    store.set_account_status(&paused).await.expect("set");
    assert!(!change(Some(&pending), &active).await, "it was paused meanwhile");
    let later = AccountStatus { since: at(4), ..paused.clone() };
    assert!(!change(Some(&later), &active).await, "the state alone is not enough");
    assert_eq!(store.account_status(&account(1)).await.expect("readable"), Some(paused.clone()));
    for _ in 0..2 {
        assert!(change(Some(&paused), &active).await, "as often as it is asked: the answer may get lost");
    }
    assert_eq!(store.account_status(&account(1)).await.expect("readable"), Some(active));
    let history = store.account_history(&account(1)).await.expect("readable");
    let states: Vec<_> = history.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(states, [(None, Pending), (Some(Pending), Paused), (Some(Paused), Active)]);
}

pub async fn the_history_grows_only_where_the_state_changes<F: StoreFactory>(factory: &F) {
    use AccountState::{Active, Pending, Revoked};
    let store = factory.open().await;
    assert_eq!(store.account_history(&account(1)).await.expect("readable"), []);
    let written = [(Pending, 1), (Active, 2), (Active, 3), (Revoked, 4), (Revoked, 5), (Active, 6)];
    for (state, since) in written {
        store.set_account_status(&status(1, state, since)).await.expect("set");
    }
    store.set_account_status(&status(2, Active, 9)).await.expect("set");
    let change =
        |from, to, since| AccountChange { at: at(since), from, to, evidence: evidence(&format!("at {since}")) };
    let expected = [
        change(None, Pending, 1),
        change(Some(Pending), Active, 2),
        change(Some(Active), Revoked, 4),
        change(Some(Revoked), Active, 6),
    ];
    assert_eq!(store.account_history(&account(1)).await.expect("readable"), expected);
    assert_eq!(store.account_history(&account(2)).await.expect("readable"), [change(None, Active, 9)]);
}

pub async fn an_act_stands_in_the_history_and_changes_no_state<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.note_act(&account(1), at(1), &evidence("met")).await.expect("noted");
    store.set_account_status(&status(1, AccountState::Active, 2)).await.expect("set");
    for _ in 0..2 {
        store.note_act(&account(1), at(3), &evidence("to: \"active\"")).await.expect("noted");
    }
    store.note_act(&account(1), at(4), &evidence("update")).await.expect("noted");
    let entry = |from, to, since, text: &str| AccountChange { at: at(since), from, to, evidence: evidence(text) };
    let (pending, active) = (AccountState::Pending, AccountState::Active);
    let expected = [
        entry(None, pending, 1, "met"),
        entry(None, active, 2, "at 2"),
        entry(Some(active), active, 3, "to: \"active\""),
        entry(Some(active), active, 4, "update"),
    ];
    assert_eq!(store.account_history(&account(1)).await.expect("readable"), expected);
    assert_eq!(store.account_status(&account(1)).await.expect("readable"), Some(status(1, active, 2)));
}

/// AssumeRole was denied in the scan and account of these numbers.
pub(super) fn denial(scan: usize, n: usize, seconds: i64) -> AssumeDenial {
    AssumeDenial {
        scan: scan_id(scan),
        account: account(n),
        at: at(seconds),
        code: "AccessDenied".into(),
        request_id: Some(format!("request-{seconds}")),
        tries: 3,
        doing: "probe".into(),
        our_fault: false,
    }
}

pub async fn a_denial_stays_open_until_it_is_closed<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    for n in 1..=2 {
        store.create_scan(&spec(n), &[account(1), account(2)]).await.expect("created");
    }
    store.open_denial(&denial(1, 1, 10)).await.expect("opened");
    store.open_denial(&denial(1, 1, 20)).await.expect("a second one changes nothing");
    store.open_denial(&denial(2, 1, 30)).await.expect("opened");
    store.open_denial(&denial(1, 2, 40)).await.expect("opened");
    let open = async |n, account: Option<_>| store.open_denials(&scan_id(n), account.as_ref()).await.expect("readable");
    assert_eq!(open(1, None).await, [denial(1, 1, 10), denial(1, 2, 40)]);
    assert_eq!(open(1, Some(account(1))).await, [denial(1, 1, 10)]);
    assert_eq!(open(1, Some(account(3))).await, []);
    store.close_denial(&scan_id(1), &account(1)).await.expect("closed");
    store.close_denial(&scan_id(1), &account(1)).await.expect("one that is not open is no error");
    assert_eq!(open(1, Some(account(1))).await, []);
    assert_eq!(open(1, None).await, [denial(1, 2, 40)]);
    assert_eq!(open(2, None).await, [denial(2, 1, 30)], "another scan's stays");
    store.open_denial(&denial(1, 1, 50)).await.expect("opened anew");
    assert_eq!(open(1, Some(account(1))).await, [denial(1, 1, 50)]);
}

pub async fn denials_are_listed_oldest_first<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let accounts: Vec<_> = (1..=9).map(account).collect();
    store.create_scan(&spec(1), &accounts).await.expect("created");
    // Ten seconds come after nine, whatever their text says.
    for (n, seconds) in [(1, 10), (2, 9), (3, 100), (4, 11), (5, -1)] {
        store.open_denial(&denial(1, n, seconds)).await.expect("opened");
    }
    let listed = store.open_denials(&scan_id(1), None).await.expect("readable");
    let order: Vec<_> = listed.into_iter().map(|d| d.at).collect();
    assert_eq!(order, [-1, 9, 10, 11, 100].map(at));
}

pub async fn what_was_learned_is_kept_bucket_by_bucket<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let factor = |bucket: &str, factor, seconds| LearnedFactor { bucket: bucket.into(), factor, at: at(seconds) };
    let sorted = async |n| {
        let mut learned = store.learned(&account(n)).await.expect("readable");
        learned.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        learned
    };
    assert_eq!(sorted(1).await, []);
    let (control, list) = ("eu-west-1/lambda/control", "eu-west-1/lambda/control/ListFunctions");
    store.keep_learned(&account(1), &[factor(list, 0.1, 1), factor(control, 1.0 / 3.0, 1)]).await.expect("kept");
    store.keep_learned(&account(1), &[factor(control, 1.5, 2)]).await.expect("kept");
    store.keep_learned(&account(1), &[]).await.expect("kept");
    store.keep_learned(&account(2), &[factor(control, 0.7, 3)]).await.expect("kept");
    assert_eq!(sorted(1).await, [factor(control, 1.5, 2), factor(list, 0.1, 1)]);
    assert_eq!(sorted(2).await, [factor(control, 0.7, 3)]);
}
