use super::{FleetFactory, account, at, store};
use fleetscan_proto::{
    AccountState, AccountStatus, Denial, DeniedBy, EVENTS_KEPT, Event, EventKind, EventTrail, Fleet as _, Store as _,
};
use serde_json::json;
use tokio::task::JoinSet;

/// Makes a test of every case. `$factory` is an expression that makes a factory of its own for each test, `$runtime`
/// the attribute of each test.
macro_rules! events_conformance {
    ($factory:expr, $runtime:meta) => {
        $crate::conformance::events::events_conformance!(@cases $factory, $runtime,
            a_new_memory_has_nothing_to_tell
            events_are_numbered_in_their_order_and_kept_whole
            an_event_that_is_known_is_not_appended_again
            events_are_read_from_any_place_and_page_by_page
            an_event_and_its_note_are_there_together
            the_oldest_make_room_and_numbers_go_on
            of_concurrent_appends_none_is_lost
            a_change_that_matters_is_told_and_told_once
            what_an_account_lacks_is_told_with_its_degradation
            operators_acts_are_told_to_nobody
            a_trail_opened_again_goes_on_where_it_was
            a_scan_counts_the_roles_that_were_assumed_for_it
        );
    };
    (@cases $factory:expr, $runtime:meta, $($case:ident)*) => {
        $(#[$runtime]
        async fn $case() {
            $crate::conformance::events::$case(&$factory).await;
        })*
    };
}
pub(crate) use events_conformance;

fn event(n: u32) -> Event {
    let data = json!({ "says": format!("the \"{n}\"th \u{1f50e}"), "nested": { "n": n } });
    Event::new(u128::from(n), EventKind::Test, at(i64::from(n)), data)
}

fn status(n: usize, state: AccountState, since: i64) -> AccountStatus {
    AccountStatus {
        account: account(n),
        state,
        since: at(since),
        last_success: Some(at(0)),
        denied: Vec::new(),
        evidence: [("code".to_owned(), "AccessDenied".to_owned())].into(),
    }
}

async fn append(trail: &impl EventTrail, n: u32) {
    trail.append_event(&event(n), None).await.expect("appended");
}

async fn numbers(trail: &impl EventTrail, after: u64, limit: usize) -> Vec<u64> {
    trail.events(after, limit).await.expect("readable").iter().map(|event| event.number).collect()
}

/// Kinds of all events, oldest first, with their accounts.
async fn told(trail: &impl EventTrail) -> Vec<(String, Option<String>)> {
    let all = trail.events(0, 1_000).await.expect("readable");
    all.into_iter().map(|one| (one.event.kind.clone(), one.event.account().map(String::from))).collect()
}

pub async fn a_new_memory_has_nothing_to_tell<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    assert_eq!(trail.newest_event().await.expect("readable"), 0);
    assert_eq!(trail.events(0, 10).await.expect("readable"), []);
    assert_eq!(trail.events(7, 10).await.expect("readable"), []);
}

pub async fn events_are_numbered_in_their_order_and_kept_whole<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    for n in [5, 3, 9] {
        append(&trail, n).await;
    }
    let all = trail.events(0, 10).await.expect("readable");
    assert_eq!(all.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all.into_iter().map(|one| one.event).collect::<Vec<_>>(), [event(5), event(3), event(9)]);
    assert_eq!(trail.newest_event().await.expect("readable"), 3);
}

pub async fn an_event_that_is_known_is_not_appended_again<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    append(&trail, 1).await;
    append(&trail, 2).await;
    let again = Event { timestamp: at(99), ..event(1) };
    trail.append_event(&again, None).await.expect("its answer may have been lost");
    assert_eq!(numbers(&trail, 0, 10).await, [1, 2]);
    assert_eq!(trail.events(0, 1).await.expect("readable")[0].event, event(1), "as it was first");
}

pub async fn events_are_read_from_any_place_and_page_by_page<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    for n in 1..=5 {
        append(&trail, n).await;
    }
    assert_eq!(numbers(&trail, 0, 2).await, [1, 2]);
    assert_eq!(numbers(&trail, 2, 2).await, [3, 4]);
    assert_eq!(numbers(&trail, 4, 2).await, [5]);
    assert_eq!(numbers(&trail, 5, 2).await, [] as [u64; 0]);
    assert_eq!(numbers(&trail, 99, 2).await, [] as [u64; 0]);
}

pub async fn an_event_and_its_note_are_there_together<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    trail.append_event(&event(1), Some(("breaker", "open"))).await.expect("appended");
    assert_eq!(trail.note("breaker").await.expect("readable").as_deref(), Some("open"));
    trail.append_event(&event(1), Some(("breaker", "open still"))).await.expect("its answer may have been lost");
    assert_eq!(trail.note("breaker").await.expect("readable").as_deref(), Some("open still"));
    assert_eq!(numbers(&trail, 0, 10).await, [1]);
}

pub async fn the_oldest_make_room_and_numbers_go_on<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    let more = u32::try_from(EVENTS_KEPT).expect("few") + 3;
    let mut appended = JoinSet::new();
    append(&trail, 1).await;
    append(&trail, 2).await;
    for n in 3..=more {
        let trail = trail.clone();
        appended.spawn(async move { append(&trail, n).await });
        if appended.len() >= 256 {
            appended.join_next().await.expect("one").expect("no panic");
        }
    }
    appended.join_all().await;
    assert_eq!(trail.newest_event().await.expect("readable"), u64::from(more));
    assert_eq!(numbers(&trail, 0, 2).await, [4, 5], "three made room");
    append(&trail, 1).await;
    assert_eq!(trail.newest_event().await.expect("readable"), u64::from(more) + 1, "one that was dropped is new again");
    assert_eq!(numbers(&trail, u64::from(more), 10).await, [u64::from(more) + 1]);
}

pub async fn of_concurrent_appends_none_is_lost<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    let mut writers = JoinSet::new();
    for n in 0..64 {
        let trail = trail.clone();
        // Each twice: from the one that was killed, and from the one that took over.
        writers.spawn(async move { append(&trail, n / 2).await });
    }
    writers.join_all().await;
    let mut ids: Vec<String> =
        trail.events(0, 100).await.expect("readable").into_iter().map(|one| one.event.id).collect();
    ids.sort();
    assert_eq!(ids, (0..32).map(|n| event(n).id).collect::<Vec<_>>());
}

pub async fn a_change_that_matters_is_told_and_told_once<F: FleetFactory>(factory: &F) {
    use AccountState::{Active, Degraded, Pending, Revoked};
    let trail = factory.open().await;
    let changes = [(Pending, 1), (Active, 2), (Revoked, 3), (Revoked, 4), (Active, 5), (Degraded, 6), (Active, 7)];
    for (state, since) in changes {
        // Twice: its answer may have been lost.
        for _ in 0..2 {
            trail.set_account_status(&status(1, state, since)).await.expect("set");
        }
    }
    trail.set_account_status(&status(2, Revoked, 8)).await.expect("set");
    let (one, two) = (account(1).to_string(), account(2).to_string());
    let expected = [
        ("account.revoked", &one),
        ("account.reinstated", &one),
        ("account.degraded", &one),
        ("account.recovered", &one),
        ("account.revoked", &two),
    ];
    let expected: Vec<_> = expected.map(|(kind, id)| (kind.to_owned(), Some(id.clone()))).into();
    assert_eq!(told(&trail).await, expected);
    let first = &trail.events(0, 1).await.expect("readable")[0].event;
    assert_eq!((first.timestamp, &first.data["previous"]), (at(3), &json!("active")));
    assert_eq!(first.data["evidence"], json!({ "code": "AccessDenied" }));
}

pub async fn what_an_account_lacks_is_told_with_its_degradation<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    trail.set_account_status(&status(1, AccountState::Active, 1)).await.expect("set");
    let denied = vec![Denial { action: "sns:ListTopics".into(), by: DeniedBy::Scp }];
    let degraded = AccountStatus { denied, ..status(1, AccountState::Degraded, 2) };
    trail.set_account_status(&degraded).await.expect("set");
    let all = trail.events(0, 10).await.expect("readable");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].event.data["denied"], json!([{ "action": "sns:ListTopics", "by": "scp" }]));
}

pub async fn operators_acts_are_told_to_nobody<F: FleetFactory>(factory: &F) {
    use AccountState::{Active, Disconnected, Paused};
    let trail = factory.open().await;
    for (state, since) in [(Active, 1), (Paused, 2), (Active, 3), (Disconnected, 4)] {
        trail.set_account_status(&status(1, state, since)).await.expect("set");
    }
    trail.note_act(&account(1), at(5), &[("act".to_owned(), "update".to_owned())].into()).await.expect("noted");
    assert_eq!(told(&trail).await, []);
}

pub async fn a_trail_opened_again_goes_on_where_it_was<F: FleetFactory>(factory: &F) {
    let trail = factory.open().await;
    append(&trail, 1).await;
    drop(trail);
    let trail = factory.open().await;
    append(&trail, 1).await;
    append(&trail, 2).await;
    assert_eq!(numbers(&trail, 0, 10).await, [1, 2]);
}

pub async fn a_scan_counts_the_roles_that_were_assumed_for_it<F: FleetFactory>(factory: &F) {
    let memory = factory.open().await;
    let (one, other) = (store::spec(1), store::spec(2));
    for spec in [&one, &other] {
        memory.create_scan(spec, &[account(1)]).await.expect("created");
    }
    memory.count_assume_role(&one.id, 2).await.expect("counted");
    memory.count_assume_role(&one.id, 3).await.expect("counted");
    memory.count_assume_role(&store::spec(9).id, 7).await.expect("of an unknown one nothing is counted");
    let counted = |spec| {
        let memory = memory.clone();
        async move { memory.counts(spec).await.expect("readable").assume_role_calls }
    };
    assert_eq!((counted(&one.id).await, counted(&other.id).await), (5, 0));
    assert_eq!(counted(&store::spec(9).id).await, 0);
}
