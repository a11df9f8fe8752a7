use super::{
    StoreFactory, account, accounts::denial, all_pending, at, line, part, planned_scan, scan_id, whole_ledger,
};
use crate::conformance::cell;
use fleetscan_proto::{
    Begin, Begun, Cell, CellProgress, Completion, Denial, DeniedBy, LedgerLine, Outcome, PendingCell, ScanId,
    ScanState, Store, WalkCursor, WorkTotals,
};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Progress with something in every field.
pub(super) fn progress() -> CellProgress {
    let walk = WalkCursor {
        token: Some("page \"2\" \u{1f50e}".into()),
        done: vec!["arn:aws:sqs:::a".into()],
        finished: false,
    };
    CellProgress {
        walks: BTreeMap::from([("ListQueues".to_owned(), walk)]),
        parts: vec![part("part-1-0000.jsonl.zst", 500), part("part-2-0000.jsonl.zst", 3)],
        totals: WorkTotals { calls: 21, throttled: 4, records: 503, seconds: 240.5 },
        denied: vec![Denial { action: "sqs:GetQueueAttributes".into(), by: DeniedBy::Scp }],
        errors: BTreeMap::from([("ListQueueTags".to_owned(), "malformed".to_owned())]),
        answered: vec!["ListQueues".into()],
        started_at: Some(at(90)),
        catalogue: Some("another".into()),
    }
}

async fn begin(store: &impl Store, scan: &ScanId, cell: &Cell, generation: u64) -> Begin {
    store.begin(scan, cell, generation, "worker-1", at(95)).await.expect("begun")
}

fn go(progress: CellProgress, attempts: u32, unfinished: u32) -> Begin {
    Begin::Go { progress: Box::new(progress), attempts, unfinished }
}

async fn one_cell<F: StoreFactory>(factory: &F) -> (F::Store, ScanId, Cell) {
    let (store, cell) = (factory.open().await, cell(1, "eu-west-1", "sqs"));
    let scan = planned_scan(&store, 1, std::slice::from_ref(&cell)).await;
    (store, scan, cell)
}

pub async fn beginning_counts_attempts_and_starts_from_nothing<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    assert_eq!(begin(&store, &scan, &cell, 1).await, go(CellProgress::default(), 1, 0));
    assert_eq!(begin(&store, &scan, &cell, 1).await, go(CellProgress::default(), 2, 1), "a delivery came twice");
    assert_eq!(begin(&store, &scan, &cell, 2).await, Begin::Stale, "a generation that is yet to come");
    assert_eq!(store.renew_cell(&scan, &cell, 1, None).await.expect("answers"), Some(2));
    assert_eq!(begin(&store, &scan, &cell, 1).await, Begin::Stale);
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(CellProgress::default(), 3, 2), "stale ones were not counted");
}

pub async fn a_cell_of_a_denied_account_does_not_begin<F: StoreFactory>(factory: &F) {
    let (store, denied, free) = (factory.open().await, cell(1, "eu-west-1", "sqs"), cell(2, "eu-west-1", "sqs"));
    let scan = planned_scan(&store, 1, &[denied.clone(), free.clone()]).await;
    store.open_denial(&denial(1, 1, 90)).await.expect("opened");
    store.open_denial(&denial(2, 2, 90)).await.expect("opened");
    assert_eq!(begin(&store, &scan, &denied, 1).await, Begin::Denied);
    assert_eq!(told(&store, &scan, &denied).await, (1, 0, None), "nothing was begun");
    assert_eq!(begin(&store, &scan, &denied, 2).await, Begin::Stale, "a stale copy is stale all the same");
    assert_eq!(begin(&store, &scan, &free, 1).await, go(CellProgress::default(), 1, 0), "another scan's denial");
    store.close_denial(&scan, &denied.account).await.expect("closed");
    assert_eq!(begin(&store, &scan, &denied, 1).await, go(CellProgress::default(), 1, 0));
    store.open_denial(&denial(1, 1, 95)).await.expect("opened");
    store.complete(&scan, 1, &line(&denied, Outcome::Complete)).await.expect("what was begun is handed in");
    assert_eq!(begin(&store, &scan, &denied, 1).await, Begin::Done);
}

pub async fn an_unknown_cell_is_stale<F: StoreFactory>(factory: &F) {
    let (store, scan, known) = one_cell(factory).await;
    let unknown = [(scan.clone(), cell(1, "eu-west-1", "lambda")), (scan_id(9), known)];
    for (scan, cell) in &unknown {
        assert_eq!(begin(&store, scan, cell, 1).await, Begin::Stale);
        assert_eq!(store.checkpoint(scan, cell, 1, &progress()).await.expect("answers"), None);
        assert_eq!(store.renew_cell(scan, cell, 1, None).await.expect("answers"), None);
        let completion = store.complete(scan, 1, &line(cell, Outcome::Complete)).await.expect("answers");
        assert_eq!(completion, Completion::Stale);
        assert_eq!(whole_ledger(&store, scan).await, []);
    }
}

pub async fn a_checkpoint_keeps_progress_under_a_new_generation<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    begin(&store, &scan, &cell, 1).await;
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), Some(2));
    assert_eq!(all_pending(&store, &scan).await, [(cell.clone(), 2)]);
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(progress(), 2, 0));
    let emptied = CellProgress::default();
    assert_eq!(store.checkpoint(&scan, &cell, 2, &emptied).await.expect("answers"), Some(3));
    assert_eq!(begin(&store, &scan, &cell, 3).await, go(emptied, 3, 0), "progress is replaced, not merged");
}

/// What a pending cell of the scan, the only one of its account, tells of its executions.
async fn told(store: &impl Store, scan: &ScanId, cell: &Cell) -> (u64, u32, Option<Begun>) {
    let mut pending = store.pending_cells(scan, Some(&cell.account), None, 2).await.expect("readable");
    let PendingCell { generation, attempts, begun, .. } = pending.pop().expect("one is pending");
    assert!(pending.is_empty());
    (generation, attempts, begun)
}

pub async fn a_pending_cell_tells_who_began_it_last<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    assert_eq!(told(&store, &scan, &cell).await, (1, 0, None));
    for (attempts, worker) in [(1, "worker-1"), (2, "worker-2")] {
        let begun = Begun { worker: worker.into(), at: at(100 + i64::from(attempts)) };
        store.begin(&scan, &cell, 1, worker, begun.at).await.expect("begun");
        assert_eq!(told(&store, &scan, &cell).await, (1, attempts, Some(begun)));
    }
    store.begin(&scan, &cell, 9, "worker-9", at(150)).await.expect("answers");
    assert_eq!(told(&store, &scan, &cell).await.1, 2, "a stale copy begins nothing");
    assert_eq!(store.renew_cell(&scan, &cell, 1, None).await.expect("answers"), Some(2));
    assert_eq!(told(&store, &scan, &cell).await, (2, 2, None), "nobody began it under the new generation");
    store.begin(&scan, &cell, 2, "worker-3", at(160)).await.expect("begun");
    assert_eq!(store.checkpoint(&scan, &cell, 2, &progress()).await.expect("answers"), Some(3));
    assert_eq!(told(&store, &scan, &cell).await, (3, 3, None));
}

pub async fn executions_that_never_ended_are_counted_until_a_checkpoint<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let nothing = CellProgress::default;
    assert_eq!(begin(&store, &scan, &cell, 1).await, go(nothing(), 1, 0));
    assert_eq!(store.renew_cell(&scan, &cell, 1, None).await.expect("answers"), Some(2));
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(nothing(), 2, 1), "a renewal is no sign of life");
    assert_eq!(begin(&store, &scan, &cell, 1).await, Begin::Stale);
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(nothing(), 3, 2), "a stale copy was none");
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), None);
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(nothing(), 4, 3), "nor is a stale checkpoint");
    assert_eq!(store.checkpoint(&scan, &cell, 2, &progress()).await.expect("answers"), Some(3));
    assert_eq!(begin(&store, &scan, &cell, 3).await, go(progress(), 5, 0));
    assert_eq!(begin(&store, &scan, &cell, 3).await, go(progress(), 6, 1));
}

pub async fn what_was_begun_since_it_was_looked_at_is_not_renewed<F: StoreFactory>(factory: &F) {
    let fresh = cell(2, "eu-west-1", "sqs");
    let (store, scan, cell) = one_cell(factory).await;
    begin(&store, &scan, &cell, 1).await;
    for other in [0, 2] {
        assert_eq!(store.renew_cell(&scan, &cell, 1, Some(other)).await.expect("answers"), None);
    }
    let begun = Begun { worker: "worker-1".into(), at: at(95) };
    assert_eq!(told(&store, &scan, &cell).await, (1, 1, Some(begun)), "whoever began it may hand it in");
    assert_eq!(store.renew_cell(&scan, &cell, 1, Some(1)).await.expect("answers"), Some(2));
    assert_eq!(store.renew_cell(&scan, &cell, 1, Some(1)).await.expect("answers"), None);
    let scan = planned_scan(&store, 2, std::slice::from_ref(&fresh)).await;
    assert_eq!(store.renew_cell(&scan, &fresh, 1, Some(0)).await.expect("answers"), Some(2), "nobody began it");
}

pub async fn a_stale_checkpoint_changes_nothing<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), Some(2));
    for stale in [0, 1, 3] {
        let late = CellProgress::default();
        assert_eq!(store.checkpoint(&scan, &cell, stale, &late).await.expect("answers"), None);
        assert_eq!(store.renew_cell(&scan, &cell, stale, None).await.expect("answers"), None);
    }
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(progress(), 1, 0));
}

pub async fn renewing_leaves_the_progress_alone<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), Some(2));
    assert_eq!(store.renew_cell(&scan, &cell, 2, None).await.expect("answers"), Some(3));
    assert_eq!(begin(&store, &scan, &cell, 3).await, go(progress(), 1, 0));
}

pub async fn a_result_counts_first_and_once<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let first = line(&cell, Outcome::Partial);
    assert_eq!(store.complete(&scan, 1, &first).await.expect("answers"), Completion::First);
    let second = LedgerLine { worker: "worker-2".into(), ..line(&cell, Outcome::Complete) };
    for generation in [1, 2, 0] {
        assert_eq!(store.complete(&scan, generation, &second).await.expect("answers"), Completion::Duplicate);
    }
    assert_eq!(whole_ledger(&store, &scan).await, [first]);
}

pub async fn a_stale_result_does_not_count<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), Some(2));
    for stale in [0, 1, 3] {
        let completion = store.complete(&scan, stale, &line(&cell, Outcome::Complete)).await.expect("answers");
        assert_eq!(completion, Completion::Stale);
    }
    assert_eq!(whole_ledger(&store, &scan).await, []);
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(progress(), 1, 0), "it is pending still");
}

pub async fn a_cell_that_is_done_stays_as_it_is<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let done = line(&cell, Outcome::Complete);
    store.complete(&scan, 1, &done).await.expect("answers");
    assert_eq!(begin(&store, &scan, &cell, 1).await, Begin::Done);
    assert_eq!(begin(&store, &scan, &cell, 7).await, Begin::Done, "whatever copy it was");
    assert_eq!(store.checkpoint(&scan, &cell, 1, &progress()).await.expect("answers"), None);
    assert_eq!(store.renew_cell(&scan, &cell, 1, None).await.expect("answers"), None);
    assert_eq!(store.close_cells(&scan, None, Outcome::Cancelled, "late", at(99)).await.expect("answers"), 0);
    assert_eq!(whole_ledger(&store, &scan).await, [done]);
    assert_eq!(all_pending(&store, &scan).await, []);
}

pub async fn of_concurrent_results_exactly_one_is_first<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let mut workers = JoinSet::new();
    for n in 0..32 {
        let (store, scan, cell) = (store.clone(), scan.clone(), cell.clone());
        workers.spawn(async move {
            let line = LedgerLine { worker: format!("worker-{n}"), ..line(&cell, Outcome::Complete) };
            (store.complete(&scan, 1, &line).await.expect("answers"), line)
        });
    }
    let (first, rest): (Vec<_>, Vec<_>) =
        workers.join_all().await.into_iter().partition(|(completion, _)| *completion == Completion::First);
    assert_eq!(first.len(), 1);
    assert!(rest.iter().all(|(completion, _)| *completion == Completion::Duplicate));
    assert_eq!(whole_ledger(&store, &scan).await, [first[0].1.clone()]);
    assert_eq!(store.counts(&scan).await.expect("readable").totals, first[0].1.totals);
}

pub async fn of_concurrent_renewals_and_checkpoints_exactly_one_wins<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let mut workers = JoinSet::new();
    for n in 0..32 {
        let (store, scan, cell) = (store.clone(), scan.clone(), cell.clone());
        workers.spawn(async move {
            let renewed = if n % 2 == 0 {
                store.renew_cell(&scan, &cell, 1, None).await
            } else {
                store.checkpoint(&scan, &cell, 1, &progress()).await
            };
            renewed.expect("answers")
        });
    }
    let won: Vec<u64> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(won, [2]);
}

pub async fn closing_keeps_what_the_progress_has<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (begun, untouched) = (cell(1, "eu-west-1", "lambda"), cell(1, "eu-west-1", "sqs"));
    let scan = planned_scan(&store, 1, &[begun.clone(), untouched.clone()]).await;
    begin(&store, &scan, &begun, 1).await;
    store.checkpoint(&scan, &begun, 1, &progress()).await.expect("answers");
    begin(&store, &scan, &begun, 2).await;
    let reason = "the scan's deadline came";
    let closed = store.close_cells(&scan, None, Outcome::ThrottledOut, reason, at(200)).await.expect("answers");
    assert_eq!(closed, 2);

    let ledger = whole_ledger(&store, &scan).await;
    let kept = &ledger[0];
    assert_eq!((&kept.cell, kept.outcome, kept.attempts), (&begun, Outcome::ThrottledOut, 2));
    assert_eq!(kept.error.as_deref(), Some(reason));
    let CellProgress { parts, totals, denied, started_at, catalogue, .. } = progress();
    assert_eq!((&kept.parts, &kept.totals, &kept.denied), (&parts, &totals, &denied));
    assert_eq!((kept.started_at, &kept.catalogue), (started_at, &catalogue));
    let empty = &ledger[1];
    assert_eq!((&empty.cell, empty.outcome, empty.attempts), (&untouched, Outcome::ThrottledOut, 0));
    assert_eq!((&empty.parts[..], &empty.totals, empty.started_at), (&[][..], &WorkTotals::default(), None));

    assert_eq!(store.close_cells(&scan, None, Outcome::Failed, "again", at(201)).await.expect("answers"), 0);
    let late = store.complete(&scan, 2, &line(&begun, Outcome::Complete)).await.expect("answers");
    assert_eq!(late, Completion::Duplicate);
    assert_eq!(begin(&store, &scan, &begun, 2).await, Begin::Done);
    assert_eq!(whole_ledger(&store, &scan).await, ledger);
}

pub async fn closing_an_account_leaves_the_others_alone<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells: Vec<Cell> = (1..=3).flat_map(|n| ["lambda", "sqs"].map(|s| cell(n, "eu-west-1", s))).collect();
    let scan = planned_scan(&store, 1, &cells).await;
    let other = planned_scan(&store, 2, &cells).await;
    store.complete(&scan, 1, &line(&cells[2], Outcome::Denied)).await.expect("answers");
    let closed = store.close_cells(&scan, Some(&account(2)), Outcome::Revoked, "gone", at(99)).await.expect("answers");
    assert_eq!(closed, 1);
    let outcomes: Vec<_> = whole_ledger(&store, &scan).await.into_iter().map(|l| (l.cell, l.outcome)).collect();
    assert_eq!(outcomes, [(cells[2].clone(), Outcome::Denied), (cells[3].clone(), Outcome::Revoked)]);
    assert_eq!(all_pending(&store, &other).await.len(), 6);
    assert_eq!(
        store.close_cells(&scan, Some(&account(8)), Outcome::Revoked, "gone", at(99)).await.expect("answers"),
        0
    );
}

pub async fn closing_a_scan_ends_all_that_is_pending<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells: Vec<Cell> = (1..=60).map(|n| cell(n, "eu-west-1", "sqs")).collect();
    let scan = planned_scan(&store, 1, &cells).await;
    let other = planned_scan(&store, 2, &cells[..2]).await;
    for cell in &cells[..10] {
        store.complete(&scan, 1, &line(cell, Outcome::Complete)).await.expect("answers");
    }
    assert_eq!(store.close_cells(&scan, None, Outcome::Cancelled, "stopped", at(99)).await.expect("answers"), 50);
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!(counts.outcomes, BTreeMap::from([(Outcome::Complete, 10), (Outcome::Cancelled, 50)]));
    assert_eq!(counts.pending(), 0);
    assert_eq!(all_pending(&store, &other).await.len(), 2);
}

pub async fn amending_changes_the_outcome_and_nothing_else<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells: Vec<Cell> = (1..=2).flat_map(|n| ["a", "b", "c"].map(|s| cell(n, "eu-west-1", s))).collect();
    let scan = planned_scan(&store, 1, &cells).await;
    let outcomes = [Outcome::Denied, Outcome::Complete, Outcome::Denied, Outcome::Denied];
    for (cell, outcome) in cells.iter().zip(outcomes) {
        store.complete(&scan, 1, &line(cell, outcome)).await.expect("answers");
    }
    let before = store.counts(&scan).await.expect("readable");
    let amend = async |from, to| store.amend_cells(&scan, &account(1), from, to).await.expect("answers");
    assert_eq!(amend(Outcome::Denied, Outcome::Revoked).await, 2);
    assert_eq!(amend(Outcome::Denied, Outcome::Revoked).await, 0, "repeating finds none");
    let amended = [Outcome::Revoked, Outcome::Complete, Outcome::Revoked, Outcome::Denied];
    let expected: Vec<_> = cells.iter().zip(amended).map(|(cell, outcome)| line(cell, outcome)).collect();
    assert_eq!(whole_ledger(&store, &scan).await, expected);
    let counts = store.counts(&scan).await.expect("readable");
    let by_outcome = [(Outcome::Revoked, 2), (Outcome::Complete, 1), (Outcome::Denied, 1)];
    assert_eq!(counts.outcomes, BTreeMap::from(by_outcome));
    assert_eq!((counts.totals, counts.cells), (before.totals, before.cells));
    assert_eq!(amend(Outcome::Complete, Outcome::Complete).await, 1);
    assert_eq!(store.counts(&scan).await.expect("readable").outcomes, BTreeMap::from(by_outcome));
}

pub async fn the_counts_are_those_of_the_ledger<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells: Vec<Cell> = (0..Outcome::ALL.len() + 1).map(|n| cell(n, "eu-west-1", "sqs")).collect();
    let scan = planned_scan(&store, 1, &cells).await;
    for (cell, outcome) in cells.iter().zip(Outcome::ALL) {
        let completion = store.complete(&scan, 1, &line(cell, outcome)).await.expect("answers");
        assert_eq!(completion, Completion::First);
    }
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!(counts.outcomes, Outcome::ALL.into_iter().map(|outcome| (outcome, 1)).collect());
    assert_eq!(counts.totals, WorkTotals { calls: 70, throttled: 10, records: 400, seconds: 12.5 });
    assert_eq!((counts.cells, counts.pending()), (11, 1));
}

pub async fn a_cell_that_is_reopened_begins_anew_and_only_so_often<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let done = line(&cell, Outcome::Complete);
    begin(&store, &scan, &cell, 1).await;
    store.complete(&scan, 1, &done).await.expect("answers");
    for _ in 0..2 {
        assert!(store.reopen_cell(&scan, &done, 1).await.expect("answers"), "also where an answer got lost");
        assert_eq!(all_pending(&store, &scan).await, [(cell.clone(), 2)]);
    }
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!((counts.outcomes, counts.totals), (BTreeMap::new(), WorkTotals::default()));
    assert_eq!(whole_ledger(&store, &scan).await, []);
    assert_eq!(begin(&store, &scan, &cell, 1).await, Begin::Stale, "a copy of the first reading");
    let cost = WorkTotals { calls: 7, throttled: 1, records: 0, seconds: 1.25 };
    let anew = CellProgress { totals: cost, started_at: Some(at(90)), ..CellProgress::default() };
    assert_eq!(begin(&store, &scan, &cell, 2).await, go(anew, 2, 0));
    store.complete(&scan, 2, &done).await.expect("answers");
    assert!(!store.reopen_cell(&scan, &done, 1).await.expect("answers"), "it was reopened once");
    assert_eq!(whole_ledger(&store, &scan).await, std::slice::from_ref(&done));
    assert!(store.reopen_cell(&scan, &done, 2).await.expect("answers"));
}

pub async fn no_cell_of_a_scan_that_is_over_is_reopened_or_replaced<F: StoreFactory>(factory: &F) {
    for (state, is_over) in [(ScanState::Cancelling, false), (ScanState::Finished, true), (ScanState::Cancelled, true)]
    {
        let (store, scan, cell) = one_cell(factory).await;
        let first = line(&cell, Outcome::Complete);
        let failed = LedgerLine { outcome: Outcome::Failed, parts: Vec::new(), ..first.clone() };
        store.complete(&scan, 1, &first).await.expect("answers");
        store.end_scan(&scan, state, at(60)).await.expect("ended");
        assert_eq!(store.replace_line(&scan, &first, &failed).await.expect("answers"), !is_over, "{state:?}");
        let stands = if is_over { &first } else { &failed };
        assert_eq!(whole_ledger(&store, &scan).await, std::slice::from_ref(stands), "{state:?}");
        assert_eq!(store.reopen_cell(&scan, stands, 9).await.expect("answers"), !is_over, "{state:?}");
        store.end_scan(&scan, ScanState::Cancelled, at(61)).await.expect("ended");
        store.forget_scan(&scan).await.expect("forgotten");
    }
}

pub async fn only_the_line_that_stands_is_reopened_or_replaced<F: StoreFactory>(factory: &F) {
    let (store, scan, cell) = one_cell(factory).await;
    let (first, other) = (line(&cell, Outcome::Complete), line(&cell, Outcome::Partial));
    let failed = LedgerLine {
        outcome: Outcome::Failed,
        totals: WorkTotals { calls: 9, throttled: 1, records: 0, seconds: 2.0 },
        parts: Vec::new(),
        ..first.clone()
    };
    assert!(!store.replace_line(&scan, &first, &failed).await.expect("answers"), "it is pending");
    store.complete(&scan, 1, &first).await.expect("answers");
    assert!(!store.reopen_cell(&scan, &other, 9).await.expect("answers"));
    assert!(!store.replace_line(&scan, &other, &failed).await.expect("answers"));
    assert_eq!(whole_ledger(&store, &scan).await, std::slice::from_ref(&first));
    for _ in 0..2 {
        assert!(store.replace_line(&scan, &first, &failed).await.expect("answers"));
    }
    let counts = store.counts(&scan).await.expect("readable");
    assert_eq!((counts.outcomes, &counts.totals), (BTreeMap::from([(Outcome::Failed, 1)]), &failed.totals));
    assert_eq!(whole_ledger(&store, &scan).await, [failed]);
    for unknown in [scan_id(9), scan_id(8)] {
        assert!(!store.reopen_cell(&unknown, &first, 9).await.expect("answers"));
        assert!(!store.replace_line(&unknown, &first, &other).await.expect("answers"));
    }
}
