use super::{
    StoreFactory, account, all_pending, at, cells::progress, line, planned_scan, probe, scan_id, spec, whole_ledger,
};
use crate::conformance::cell;
use fleetscan_proto::{
    Begin, CellProgress, Completion, LedgerLine, Outcome, PendingCell, ScanAccount, ScanAccountState, ScanId,
    ScanState, Store, StoreError, WorkTotals,
};
use std::collections::BTreeMap;

async fn state(store: &impl Store, scan: &ScanId) -> (ScanState, bool) {
    let row = store.scan(scan).await.expect("readable").expect("known");
    (row.state, row.finished_at.is_some())
}

async fn end(store: &impl Store, scan: &ScanId, state: ScanState) {
    store.end_scan(scan, state, at(300)).await.expect("ended");
}

/// Cancels a scan as a coordinator does: no call any more, every cell its outcome, the end.
async fn cancel(store: &impl Store, scan: &ScanId) {
    end(store, scan, ScanState::Cancelling).await;
    store.close_cells(scan, None, Outcome::Cancelled, "an operator stopped it", at(299)).await.expect("closed");
    end(store, scan, ScanState::Cancelled).await;
}

pub async fn a_scan_is_cancelling_before_it_ends<F: StoreFactory>(factory: &F) {
    let ends = [ScanState::Finished, ScanState::Cancelled, ScanState::Lost];
    for (n, ended) in ends.into_iter().enumerate() {
        let store = factory.open().await;
        store.create_scan(&spec(n), &[]).await.expect("created");
        let scan = scan_id(n);
        for _ in 0..2 {
            end(&store, &scan, ScanState::Cancelling).await;
            assert_eq!(state(&store, &scan).await, (ScanState::Cancelling, false), "it has not ended");
        }
        assert_eq!(store.unfinished_scan("plan", at(0)).await.expect("readable"), None, "nobody resumes it");
        let refused = store.forget_scan(&scan).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        end(&store, &scan, ended).await;
        end(&store, &scan, ScanState::Cancelling).await;
        assert_eq!(state(&store, &scan).await, (ended, true), "what ended keeps its state");
        store.forget_scan(&scan).await.expect("forgotten");
    }
}

pub async fn while_cancelling_nothing_begins_and_what_is_done_is_handed_in<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = ["a", "b", "c", "d"].map(|service| cell(1, "eu-west-1", service));
    let scan = planned_scan(&store, 1, &cells).await;
    store.complete(&scan, 1, &line(&cells[3], Outcome::Complete)).await.expect("answers");
    end(&store, &scan, ScanState::Cancelling).await;
    assert_eq!(store.begin(&scan, &cells[0], 1, "worker-1", at(95)).await.expect("answers"), Begin::Stale);
    let begun = store.begin(&scan, &cells[3], 1, "worker-1", at(95)).await.expect("answers");
    assert!(matches!(begun, Begin::Done | Begin::Stale), "{begun:?}");
    let completion = store.complete(&scan, 1, &line(&cells[0], Outcome::Complete)).await.expect("answers");
    assert_eq!(completion, Completion::First);
    assert_eq!(store.checkpoint(&scan, &cells[1], 1, &progress()).await.expect("answers"), Some(2));
    let closed = store.close_cells(&scan, None, Outcome::Cancelled, "stopped", at(99)).await.expect("answers");
    assert_eq!(closed, 2);
    let kept: Vec<_> = whole_ledger(&store, &scan).await.into_iter().map(|l| (l.outcome, l.parts.len())).collect();
    use Outcome::{Cancelled, Complete};
    assert_eq!(kept, [(Complete, 1), (Cancelled, 2), (Cancelled, 0), (Complete, 1)]);
}

pub async fn only_a_cancelled_scan_is_reopened<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.reopen_scan(&scan_id(1)).await.expect("answers"), None, "there is none");
    for (n, ended) in [(1, None), (2, Some(ScanState::Finished)), (3, Some(ScanState::Lost))] {
        let scan = planned_scan(&store, n, &[cell(1, "eu-west-1", "sqs")]).await;
        store.complete(&scan, 1, &line(&cell(1, "eu-west-1", "sqs"), Outcome::Cancelled)).await.expect("answers");
        if let Some(ended) = ended {
            end(&store, &scan, ended).await;
        }
        assert_eq!(store.reopen_scan(&scan).await.expect("answers"), None);
        assert_eq!(state(&store, &scan).await, (ended.unwrap_or(ScanState::Running), ended.is_some()));
        assert_eq!(whole_ledger(&store, &scan).await.len(), 1);
    }
    let scan = planned_scan(&store, 4, &[cell(1, "eu-west-1", "sqs")]).await;
    end(&store, &scan, ScanState::Cancelling).await;
    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), None, "its end is still to come");
    assert_eq!(state(&store, &scan).await, (ScanState::Cancelling, false));
}

/// An account with a cell that has a checkpoint, one that has none, one that is complete and one whose result says
/// cancelled.
pub async fn reopened_cells_go_on_from_their_last_checkpoint<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = ["a", "b", "c", "d"].map(|service| cell(1, "eu-west-1", service));
    let [kept, fresh, done, handed_in] = &cells;
    let (scan, other) = (planned_scan(&store, 1, &cells).await, planned_scan(&store, 2, &cells).await);
    for (cell, generation) in [(kept, 1), (fresh, 1), (handed_in, 1)] {
        store.begin(&scan, cell, generation, "worker-1", at(95)).await.expect("begun");
    }
    assert_eq!(store.checkpoint(&scan, kept, 1, &progress()).await.expect("answers"), Some(2));
    store.begin(&scan, kept, 2, "worker-2", at(96)).await.expect("begun");
    assert_eq!(store.checkpoint(&scan, handed_in, 1, &progress()).await.expect("answers"), Some(2));
    let beyond =
        LedgerLine { totals: WorkTotals { calls: 90, ..progress().totals }, ..line(handed_in, Outcome::Cancelled) };
    store.complete(&scan, 2, &beyond).await.expect("answers");
    store.complete(&scan, 1, &line(done, Outcome::Complete)).await.expect("answers");
    cancel(&store, &scan).await;
    cancel(&store, &other).await;
    assert_eq!(store.counts(&scan).await.expect("readable").pending(), 0);

    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), Some(3));
    assert_eq!(state(&store, &scan).await, (ScanState::Running, false));
    assert_eq!(whole_ledger(&store, &scan).await, [line(done, Outcome::Complete)]);
    let pending =
        |cell: &_, generation, attempts| PendingCell { cell: Clone::clone(cell), generation, attempts, begun: None };
    let expected = [pending(kept, 3, 2), pending(fresh, 2, 1), pending(handed_in, 3, 1)];
    assert_eq!(store.pending_cells(&scan, None, None, 10).await.expect("readable"), expected);
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!(counts.outcomes, BTreeMap::from([(Outcome::Complete, 1)]));
    assert_eq!((counts.totals, counts.cells), (line(done, Outcome::Complete).totals, 4));

    let begin =
        async |cell, generation| store.begin(&scan, cell, generation, "worker-3", at(400)).await.expect("answers");
    assert_eq!(begin(kept, 2).await, Begin::Stale, "copies from before do nothing");
    let go = |progress, attempts| Begin::Go { progress: Box::new(progress), attempts, unfinished: 0 };
    assert_eq!(begin(kept, 3).await, go(progress(), 3));
    assert_eq!(begin(handed_in, 3).await, go(progress(), 2));
    assert_eq!(begin(fresh, 2).await, go(CellProgress::default(), 2));
    let late = store.complete(&scan, 2, &line(kept, Outcome::Complete)).await.expect("answers");
    assert_eq!(late, Completion::Stale, "and neither does a result from before");

    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), None, "it runs");
    assert_eq!(state(&store, &other).await, (ScanState::Cancelled, true), "the other one stays as it is");
    assert_eq!(all_pending(&store, &other).await, []);
}

pub async fn a_scan_is_cancelled_and_reopened_again_and_again<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = [cell(1, "eu-west-1", "a"), cell(1, "eu-west-1", "b")];
    let scan = planned_scan(&store, 1, &cells).await;
    assert_eq!(store.checkpoint(&scan, &cells[0], 1, &progress()).await.expect("answers"), Some(2));
    for round in 1..=3_u64 {
        cancel(&store, &scan).await;
        let counts = store.counts(&scan).await.expect("readable");
        assert_eq!((counts.outcomes, counts.totals), (BTreeMap::from([(Outcome::Cancelled, 2)]), progress().totals));
        assert_eq!(store.reopen_scan(&scan).await.expect("answers"), Some(2));
        let expected = [(cells[0].clone(), 2 + round), (cells[1].clone(), 1 + round)];
        assert_eq!(all_pending(&store, &scan).await, expected);
        assert_eq!(store.counts(&scan).await.expect("readable").totals, WorkTotals::default());
    }
    let first = store.complete(&scan, 5, &line(&cells[0], Outcome::Complete)).await.expect("answers");
    assert_eq!(first, Completion::First);
}

pub async fn cells_left_pending_by_a_cancelled_scan_stay_as_they_are<F: StoreFactory>(factory: &F) {
    let (store, cells) = (factory.open().await, [cell(1, "eu-west-1", "a"), cell(1, "eu-west-1", "b")]);
    let scan = planned_scan(&store, 1, &cells).await;
    store.complete(&scan, 1, &line(&cells[0], Outcome::Cancelled)).await.expect("answers");
    end(&store, &scan, ScanState::Cancelled).await;
    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), Some(1));
    assert_eq!(all_pending(&store, &scan).await, [(cells[0].clone(), 2), (cells[1].clone(), 1)]);
}

/// The first account was never read; of the others one cell each was checkpointed, or ended otherwise.
pub async fn an_account_that_was_never_read_is_probed_anew<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells: Vec<_> = (1..=3).flat_map(|n| ["a", "b"].map(|service| cell(n, "eu-west-1", service))).collect();
    let scan = planned_scan(&store, 1, &cells).await;
    store.begin(&scan, &cells[0], 1, "worker-1", at(95)).await.expect("begun");
    assert_eq!(store.checkpoint(&scan, &cells[2], 1, &progress()).await.expect("answers"), Some(2));
    store.complete(&scan, 1, &line(&cells[4], Outcome::Complete)).await.expect("answers");
    cancel(&store, &scan).await;
    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), Some(5));

    let found = async |n| store.scan_account(&scan, &account(n)).await.expect("readable").expect("known");
    let expected = ScanAccount { account: account(1), state: ScanAccountState::Waiting, generation: 2, probe: None };
    assert_eq!(found(1).await, expected);
    for n in 2..=3 {
        assert_eq!((found(n).await.state, found(n).await.generation), (ScanAccountState::Planned, 1));
    }
    let expected = [(cells[2].clone(), 3), (cells[3].clone(), 2), (cells[5].clone(), 2)];
    assert_eq!(all_pending(&store, &scan).await, expected);
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!((counts.cells, counts.pending()), (4, 3));
    assert_eq!(counts.accounts, BTreeMap::from([(ScanAccountState::Waiting, 1), (ScanAccountState::Planned, 2)]));
    assert_eq!(counts.regions_from.values().sum::<u64>(), 2, "its probe no longer counts");

    assert!(!store.record_probe(&scan, &account(1), 1, Ok(probe())).await.expect("answers"), "a copy from before");
    assert!(store.record_probe(&scan, &account(1), 2, Ok(probe())).await.expect("answers"));
    store.plan_account(&scan, &account(1), &cells[..1]).await.expect("planned");
    assert_eq!(all_pending(&store, &scan).await.len(), 4);
    assert_eq!(store.counts(&scan).await.expect("readable").cells, 5);
}

pub async fn accounts_without_cells_stay_where_they_are<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = scan_id(1);
    store.create_scan(&spec(1), &[account(1), account(2), account(3)]).await.expect("created");
    for n in 1..=2 {
        assert!(store.record_probe(&scan, &account(n), 1, Ok(probe())).await.expect("answers"));
    }
    store.plan_account(&scan, &account(1), &[]).await.expect("planned");
    cancel(&store, &scan).await;
    assert_eq!(store.reopen_scan(&scan).await.expect("answers"), Some(0));
    for (n, state) in [(1, ScanAccountState::Planned), (2, ScanAccountState::Probed), (3, ScanAccountState::Waiting)] {
        let found = store.scan_account(&scan, &account(n)).await.expect("readable").expect("known");
        assert_eq!((found.state, found.generation), (state, 1));
    }
}
