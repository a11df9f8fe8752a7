use super::{StoreFactory, account, accounts::status, at, scan_id};
use fleetscan_proto::{
    AccountState, Store,
    activity::{Activity, Deed, Principal, Span},
};
use tokio::task::JoinSet;

fn principal(at: i64) -> Principal {
    Principal {
        kind: "IAMUser".into(),
        last: Deed { at, event: "ListBuckets \"\u{1f50e}\"".into(), source: "s3.amazonaws.com".into() },
        keys: [("AKIAEXAMPLE".to_owned(), at)].into(),
    }
}

/// What a reading of these seconds may have found.
fn news(from: i64, to: i64, principals: &[(&str, i64)]) -> Activity {
    let mut news = Activity::default();
    news.read.add(Span::new(from, to));
    for (id, at) in principals {
        news.note(id, principal(*at));
    }
    news.spent.insert(scan_id(1), 5);
    news
}

pub async fn activity_is_merged_and_the_whole_is_answered<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (one, begin) = (account(1), at(0));
    assert_eq!(store.activity(&one, "eu-west-1").await.expect("readable"), Activity::default());
    let (base, end) = (begin.as_second(), begin.as_second() + 99);
    let first = news(base + 50, end, &[("a", base + 60)]);
    assert_eq!(store.add_activity(&one, "eu-west-1", &first, begin).await.expect("added"), first);
    let second = news(base, base + 49, &[("a", base + 10), ("b", base + 20)]);
    let whole = news(base, end, &[("a", base + 60), ("b", base + 20)]);
    for _ in 0..2 {
        assert_eq!(store.add_activity(&one, "eu-west-1", &second, begin).await.expect("added"), whole);
    }
    assert_eq!(store.activity(&one, "eu-west-1").await.expect("readable"), whole);
    assert_eq!(store.activity(&one, "us-east-1").await.expect("readable"), Activity::default());
    assert_eq!(store.activity(&account(2), "eu-west-1").await.expect("readable"), Activity::default());
    drop(store);
    let again = factory.open().await;
    assert_eq!(again.activity(&one, "eu-west-1").await.expect("readable"), whole);
}

pub async fn activity_that_is_old_falls_out<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let base = at(0).as_second();
    let all = news(base, base + 99, &[("old", base + 9), ("new", base + 90)]);
    store.add_activity(&account(1), "eu-west-1", &all, at(0)).await.expect("added");
    let left = store.add_activity(&account(1), "eu-west-1", &Activity::default(), at(10)).await.expect("added");
    assert_eq!(left, news(base + 10, base + 99, &[("new", base + 90)]));
    assert_eq!(store.activity(&account(1), "eu-west-1").await.expect("readable"), left);
}

pub async fn of_concurrent_additions_of_activity_none_is_lost<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let base = at(0).as_second();
    let mut adding = JoinSet::new();
    for n in 0..12 {
        let store = store.clone();
        let part = news(base + n * 10, base + n * 10 + 9, &[(&format!("role-{n}"), base + n)]);
        adding.spawn(async move { store.add_activity(&account(1), "eu-west-1", &part, at(0)).await.map(drop) });
    }
    for added in adding.join_all().await {
        added.expect("added");
    }
    let whole = store.activity(&account(1), "eu-west-1").await.expect("readable");
    assert_eq!(whole.read.spans(), [Span::new(base, base + 119)]);
    assert_eq!(whole.principals.len(), 12);
}

pub async fn forgotten_activity_is_gone_in_every_region_and_others_keep_theirs<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let base = at(0).as_second();
    let part = news(base, base + 9, &[("a", base)]);
    for (n, region) in [(1, "eu-west-1"), (1, "us-east-1"), (2, "eu-west-1")] {
        store.add_activity(&account(n), region, &part, at(0)).await.expect("added");
    }
    for _ in 0..2 {
        store.forget_activity(&account(1)).await.expect("forgotten");
    }
    for region in ["eu-west-1", "us-east-1"] {
        assert_eq!(store.activity(&account(1), region).await.expect("readable"), Activity::default());
    }
    assert_eq!(store.activity(&account(2), "eu-west-1").await.expect("readable"), part);
    assert_eq!(store.add_activity(&account(1), "eu-west-1", &part, at(0)).await.expect("added"), part);
}

pub async fn of_a_disconnected_account_no_activity_is_kept<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let base = at(0).as_second();
    let part = news(base, base + 9, &[("a", base)]);
    for n in [1, 2] {
        store.add_activity(&account(n), "eu-west-1", &part, at(0)).await.expect("added");
    }
    let disconnected = status(1, AccountState::Disconnected, 1);
    store.set_account_status(&disconnected).await.expect("set");
    store.forget_activity(&account(1)).await.expect("forgotten");
    let late = news(base + 20, base + 29, &[("b", base + 20)]);
    // A worker was still at work there.
    assert_eq!(store.add_activity(&account(1), "eu-west-1", &late, at(0)).await.expect("answered"), late);
    assert_eq!(store.activity(&account(1), "eu-west-1").await.expect("readable"), Activity::default());
    store.add_activity(&account(2), "eu-west-1", &late, at(0)).await.expect("added");
    assert_eq!(store.activity(&account(2), "eu-west-1").await.expect("readable").principals.len(), 2);
    store.set_account_status(&status(1, AccountState::Pending, 2)).await.expect("connected again");
    assert_eq!(store.add_activity(&account(1), "eu-west-1", &late, at(0)).await.expect("added"), late);
    assert_eq!(store.activity(&account(1), "eu-west-1").await.expect("readable"), late);
}
