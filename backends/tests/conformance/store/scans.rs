use super::{StoreFactory, account, all_pending, at, line, planned_scan, probe, scan_id, spec, whole_ledger};
use crate::conformance::cell;
use fleetscan_proto::{
    AccountState, AccountStatus, AssumeDenial, Begin, CellProgress, Completion, LearnedFactor, Outcome, Probe,
    ProbeFailure, RegionSource, ScanAccount, ScanAccountState, ScanCounts, ScanId, ScanState, Store, StoreError,
};
use std::collections::BTreeMap;

async fn accounts_in(store: &impl Store, n: usize, state: ScanAccountState) -> Vec<ScanAccount> {
    store.scan_accounts(&scan_id(n), state, None, 100).await.expect("readable")
}

pub async fn a_scan_is_created_once_with_its_accounts_waiting<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.create_scan(&spec(1), &[account(2), account(1)]).await.expect("created");
    let row = store.scan(&scan_id(1)).await.expect("readable").expect("known");
    assert_eq!((row.spec, row.state, row.finished_at), (spec(1), ScanState::Running, None));
    let waiting = |n| ScanAccount { account: account(n), state: ScanAccountState::Waiting, generation: 1, probe: None };
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Waiting).await, [waiting(1), waiting(2)]);

    assert!(store.record_probe(&scan_id(1), &account(1), 1, Ok(probe())).await.expect("recorded"));
    let mut other = spec(1);
    other.plan = "another plan".into();
    store.create_scan(&other, &[account(1), account(9)]).await.expect("repeating is no error");
    assert_eq!(store.scan(&scan_id(1)).await.expect("readable").expect("known").spec, spec(1));
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Waiting).await, [waiting(2)]);
    store.end_scan(&scan_id(1), ScanState::Cancelled, at(9)).await.expect("ended");
    store.create_scan(&spec(1), &[account(1)]).await.expect("repeating is no error");
    assert_eq!(store.scan(&scan_id(1)).await.expect("readable").expect("known").state, ScanState::Cancelled);
}

pub async fn an_unknown_scan_is_none<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.scan(&scan_id(1)).await.expect("readable"), None);
    assert_eq!(store.scans().await.expect("readable"), []);
    assert_eq!(store.counts(&scan_id(1)).await.expect("readable"), ScanCounts::default());
    store.end_scan(&scan_id(1), ScanState::Finished, at(1)).await.expect("nothing to end");
    store.forget_scan(&scan_id(1)).await.expect("nothing to forget");
    assert_eq!(store.scan(&scan_id(1)).await.expect("readable"), None);
}

pub async fn scans_are_listed_newest_first<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    for n in [2, 3, 1] {
        store.create_scan(&spec(n), &[]).await.expect("created");
    }
    store.end_scan(&scan_id(3), ScanState::Finished, at(10)).await.expect("ended");
    let rows = store.scans().await.expect("readable");
    let listed: Vec<_> = rows.into_iter().map(|row| (row.spec.id, row.state)).collect();
    let expected =
        [(3, ScanState::Finished), (2, ScanState::Running), (1, ScanState::Running)].map(|(n, s)| (scan_id(n), s));
    assert_eq!(listed, expected);
}

pub async fn the_unfinished_scan_is_the_newest_that_runs_under_its_plan<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    for n in 1..=4 {
        store.create_scan(&spec(n), &[]).await.expect("created");
    }
    let mut other = spec(5);
    other.plan = "another plan".into();
    store.create_scan(&other, &[]).await.expect("created");
    store.end_scan(&scan_id(4), ScanState::Cancelled, at(9)).await.expect("ended");
    let found = async |since| {
        let row = store.unfinished_scan("plan", at(since)).await.expect("readable");
        row.map(|row| row.spec.id)
    };
    assert_eq!(found(0).await, Some(scan_id(3)));
    assert_eq!(found(3).await, Some(scan_id(3)), "a scan that began at that very moment counts");
    assert_eq!(found(4).await, None, "the fourth has ended, and the fifth has another plan");
    store.end_scan(&scan_id(3), ScanState::Lost, at(9)).await.expect("ended");
    assert_eq!(found(0).await, Some(scan_id(2)));
}

pub async fn a_scan_ends_once<F: StoreFactory>(factory: &F) {
    for (n, state) in [(1, ScanState::Finished), (2, ScanState::Cancelled), (3, ScanState::Lost)] {
        let store = factory.open().await;
        store.create_scan(&spec(n), &[]).await.expect("created");
        store.end_scan(&scan_id(n), state, at(50)).await.expect("ended");
        store.end_scan(&scan_id(n), ScanState::Finished, at(60)).await.expect("repeating is no error");
        store.end_scan(&scan_id(n), ScanState::Cancelled, at(70)).await.expect("repeating is no error");
        let row = store.scan(&scan_id(n)).await.expect("readable").expect("known");
        assert_eq!((row.state, row.finished_at), (state, Some(at(50))), "it keeps its state");
    }
}

pub async fn a_scan_cannot_end_as_running<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.create_scan(&spec(1), &[]).await.expect("created");
    let refused = store.end_scan(&scan_id(1), ScanState::Running, at(50)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(store.scan(&scan_id(1)).await.expect("readable").expect("known").finished_at, None);
}

pub async fn nothing_begins_once_a_scan_ended<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (pending, done) = (cell(1, "eu-west-1", "lambda"), cell(1, "eu-west-1", "sqs"));
    let scan = planned_scan(&store, 1, &[pending.clone(), done.clone()]).await;
    let first = store.complete(&scan, 1, &line(&done, Outcome::Complete)).await.expect("completed");
    assert_eq!(first, Completion::First);
    assert_eq!(store.begin(&scan, &done, 1, "worker-1", at(91)).await.expect("begun"), Begin::Done);
    store.end_scan(&scan, ScanState::Cancelled, at(100)).await.expect("ended");
    assert_eq!(store.begin(&scan, &pending, 1, "worker-1", at(101)).await.expect("begun"), Begin::Stale);
    let begun = store.begin(&scan, &done, 1, "worker-1", at(101)).await.expect("begun");
    assert!(matches!(begun, Begin::Done | Begin::Stale), "either ends it: {begun:?}");
}

pub async fn one_account_of_a_scan_is_found<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = planned_scan(&store, 1, &[cell(1, "eu-west-1", "lambda")]).await;
    store.create_scan(&spec(2), &[account(2)]).await.expect("created");
    let found = async |scan: ScanId, n| store.scan_account(&scan, &account(n)).await.expect("readable");
    let expected =
        ScanAccount { account: account(1), state: ScanAccountState::Planned, generation: 1, probe: Some(Ok(probe())) };
    assert_eq!(found(scan.clone(), 1).await, Some(expected));
    assert_eq!(found(scan.clone(), 2).await, None, "another scan's");
    assert_eq!(found(scan_id(9), 1).await, None, "no such scan");
    assert_eq!(store.renew_probe(&scan_id(2), &account(2), 1).await.expect("answers"), Some(2));
    let expected = ScanAccount { account: account(2), state: ScanAccountState::Waiting, generation: 2, probe: None };
    assert_eq!(found(scan_id(2), 2).await, Some(expected));
}

pub async fn hastened_accounts_are_taken_once_by_id<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let accounts: Vec<_> = (1..=6).map(account).collect();
    store.create_scan(&spec(1), &accounts).await.expect("created");
    store.create_scan(&spec(2), &accounts[..1]).await.expect("created");
    let take = async |n, limit| store.take_hastened(&scan_id(n), limit).await.expect("answers");
    assert_eq!(take(1, 10).await, []);
    store.hasten(&scan_id(1), &[account(5), account(9), account(2), account(5)]).await.expect("a stranger is no error");
    store.hasten(&scan_id(1), &[account(3), account(2)]).await.expect("kept");
    store.hasten(&scan_id(2), &[account(1), account(2)]).await.expect("kept");
    store.hasten(&scan_id(7), &[account(1)]).await.expect("no such scan is no error");
    assert_eq!(take(1, 2).await, [account(2), account(3)]);
    assert_eq!(take(1, 2).await, [account(5)]);
    assert_eq!(take(1, 2).await, []);
    assert_eq!(take(2, 10).await, [account(1)]);
    assert_eq!(take(7, 10).await, []);
    store.hasten(&scan_id(1), &[account(2)]).await.expect("asked for again");
    assert_eq!(take(1, 2).await, [account(2)]);

    store.hasten(&scan_id(1), &[account(4)]).await.expect("kept");
    store.end_scan(&scan_id(1), ScanState::Finished, at(9)).await.expect("ended");
    store.hasten(&scan_id(1), &[account(6)]).await.expect("one that ended is no error");
    assert!(!take(1, 10).await.contains(&account(6)), "nothing is hastened in a scan that ended");
    store.forget_scan(&scan_id(1)).await.expect("forgotten");
    store.create_scan(&spec(1), &accounts).await.expect("created");
    assert_eq!(take(1, 10).await, []);
}

pub async fn a_running_scan_is_not_forgotten<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = planned_scan(&store, 1, &[cell(1, "eu-west-1", "lambda")]).await;
    let refused = store.forget_scan(&scan).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(all_pending(&store, &scan).await.len(), 1);
    assert_eq!(store.scan(&scan).await.expect("readable").expect("known").state, ScanState::Running);
}

pub async fn a_forgotten_scan_leaves_nothing_and_harms_no_other<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = [cell(1, "eu-west-1", "lambda"), cell(2, "eu-west-1", "lambda")];
    let (old, new) = (planned_scan(&store, 1, &cells).await, planned_scan(&store, 2, &cells).await);
    for scan in [&old, &new] {
        store.complete(scan, 1, &line(&cells[0], Outcome::Complete)).await.expect("completed");
    }
    let before = store.counts(&new).await.expect("readable");
    store.end_scan(&old, ScanState::Finished, at(100)).await.expect("ended");
    store.forget_scan(&old).await.expect("forgotten");

    assert_eq!(store.scan(&old).await.expect("readable"), None);
    assert_eq!(store.counts(&old).await.expect("readable"), ScanCounts::default());
    assert_eq!(whole_ledger(&store, &old).await, []);
    assert_eq!(all_pending(&store, &old).await, []);
    for state in [ScanAccountState::Waiting, ScanAccountState::Probed, ScanAccountState::Planned] {
        assert_eq!(accounts_in(&store, 1, state).await, []);
    }
    assert_eq!(store.counts(&new).await.expect("readable"), before);
    assert_eq!(whole_ledger(&store, &new).await.len(), 1);
    assert_eq!(all_pending(&store, &new).await, [(cells[1].clone(), 1)]);

    planned_scan(&store, 1, &cells[..1]).await;
    assert_eq!(store.counts(&old).await.expect("readable").cells, 1, "made again, it starts from nothing");
}

pub async fn a_probe_is_recorded_once_and_under_its_generation<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = scan_id(1);
    store.create_scan(&spec(1), &[account(1)]).await.expect("created");
    let late = Probe { calls: 99, ..probe() };
    assert!(!store.record_probe(&scan, &account(1), 2, Ok(late.clone())).await.expect("answers"));
    assert!(!store.record_probe(&scan, &account(2), 1, Ok(late.clone())).await.expect("answers"), "a stranger");
    assert!(store.record_probe(&scan, &account(1), 1, Ok(probe())).await.expect("answers"));
    assert!(!store.record_probe(&scan, &account(1), 1, Ok(late)).await.expect("answers"), "the first one stays");
    let expected =
        ScanAccount { account: account(1), state: ScanAccountState::Probed, generation: 1, probe: Some(Ok(probe())) };
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Probed).await, [expected]);
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Waiting).await, []);
}

pub async fn a_failed_probe_is_kept_as_it_was<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.create_scan(&spec(1), &[account(1)]).await.expect("created");
    let failure = ProbeFailure {
        outcome: Outcome::Unconfirmed,
        reason: "AssumeRole was denied".into(),
        code: Some("AccessDenied".into()),
        request_id: Some("7a62c49f-347e-4fc4-9331-6e8eEXAMPLE".into()),
        tries: 2,
        at: at(61),
    };
    assert!(store.record_probe(&scan_id(1), &account(1), 1, Err(failure.clone())).await.expect("answers"));
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Probed).await[0].probe, Some(Err(failure)));
    assert_eq!(store.counts(&scan_id(1)).await.expect("readable").regions_from, BTreeMap::new());
}

pub async fn a_renewed_probe_makes_older_copies_stale<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = scan_id(1);
    store.create_scan(&spec(1), &[account(1)]).await.expect("created");
    assert_eq!(store.renew_probe(&scan, &account(1), 1).await.expect("answers"), Some(2));
    assert_eq!(store.renew_probe(&scan, &account(1), 1).await.expect("answers"), None, "a stale generation");
    assert!(!store.record_probe(&scan, &account(1), 1, Ok(probe())).await.expect("answers"));
    assert!(store.record_probe(&scan, &account(1), 2, Ok(probe())).await.expect("answers"));
    assert_eq!(store.renew_probe(&scan, &account(1), 2).await.expect("answers"), None, "no longer waiting");
}

pub async fn a_probe_that_failed_may_be_asked_again<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = scan_id(1);
    let failure = ProbeFailure {
        outcome: Outcome::Unconfirmed,
        reason: "AssumeRole was denied".into(),
        code: None,
        request_id: None,
        tries: 0,
        at: at(61),
    };
    store.create_scan(&spec(1), &[account(1), account(2)]).await.expect("created");
    assert_eq!(store.reopen_probe(&scan, &account(1), 1).await.expect("answers"), None, "it waits");
    assert_eq!(store.reopen_probe(&scan_id(7), &account(1), 1).await.expect("answers"), None, "no such scan");
    assert!(store.record_probe(&scan, &account(1), 1, Err(failure.clone())).await.expect("recorded"));
    assert!(store.record_probe(&scan, &account(2), 1, Ok(probe())).await.expect("recorded"));
    assert_eq!(store.reopen_probe(&scan, &account(2), 1).await.expect("answers"), None, "it let us in");
    assert_eq!(store.reopen_probe(&scan, &account(1), 9).await.expect("answers"), None, "a stale generation");
    assert_eq!(store.reopen_probe(&scan, &account(1), 1).await.expect("answers"), Some(2));
    let row = store.scan_account(&scan, &account(1)).await.expect("readable").expect("there");
    assert_eq!((row.state, row.generation, row.probe), (ScanAccountState::Waiting, 2, None));
    let counts = store.counts(&scan).await.expect("readable").accounts;
    assert_eq!(counts, [(ScanAccountState::Waiting, 1), (ScanAccountState::Probed, 1)].into());
    assert!(!store.record_probe(&scan, &account(1), 1, Ok(probe())).await.expect("answers"), "an older copy's answer");
    assert!(store.record_probe(&scan, &account(1), 2, Err(failure)).await.expect("recorded"));
    store.plan_account(&scan, &account(1), &[cell(1, "eu-west-1", "lambda")]).await.expect("planned");
    assert_eq!(store.reopen_probe(&scan, &account(1), 2).await.expect("answers"), None, "it has cells");
}

pub async fn planning_stores_each_cell_once<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = [cell(1, "eu-west-1", "lambda"), cell(1, "global", "iam"), cell(1, "eu-west-1", "lambda")];
    let scan = planned_scan(&store, 1, &cells).await;
    let once = [(cells[0].clone(), 1), (cells[1].clone(), 1)];
    assert_eq!(all_pending(&store, &scan).await, once);
    assert_eq!(store.counts(&scan).await.expect("readable").cells, 2);

    store.complete(&scan, 1, &line(&cells[1], Outcome::Complete)).await.expect("completed");
    assert_eq!(store.renew_cell(&scan, &cells[0], 1, None).await.expect("answers"), Some(2));
    let more = [cells[0].clone(), cells[1].clone(), cell(1, "us-east-1", "lambda")];
    store.plan_account(&scan, &account(1), &more).await.expect("repeating is no error");
    assert_eq!(all_pending(&store, &scan).await, [(cells[0].clone(), 2)], "repeating changes nothing");
    assert_eq!(store.counts(&scan).await.expect("readable").cells, 2);
}

pub async fn only_a_probed_account_is_planned<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.create_scan(&spec(1), &[account(1)]).await.expect("created");
    store.plan_account(&scan_id(1), &account(1), &[cell(1, "eu-west-1", "lambda")]).await.expect("no error");
    assert_eq!(all_pending(&store, &scan_id(1)).await, []);
    assert_eq!(accounts_in(&store, 1, ScanAccountState::Waiting).await.len(), 1);
}

pub async fn an_account_without_cells_is_planned_too<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    store.create_scan(&spec(1), &[account(1)]).await.expect("created");
    assert!(store.record_probe(&scan_id(1), &account(1), 1, Ok(probe())).await.expect("answers"));
    store.plan_account(&scan_id(1), &account(1), &[]).await.expect("planned");
    let planned = accounts_in(&store, 1, ScanAccountState::Planned).await;
    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0].probe, Some(Ok(probe())), "a planned account keeps its probe");
    assert_eq!(store.counts(&scan_id(1)).await.expect("readable").cells, 0);
}

pub async fn the_counts_follow_the_accounts<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let scan = scan_id(1);
    let accounts: Vec<_> = (1..=5).map(account).collect();
    store.create_scan(&spec(1), &accounts).await.expect("created");
    let sources =
        [RegionSource::AccountListRegions, RegionSource::Ec2DescribeRegions, RegionSource::Ec2DescribeRegions];
    for (account, source) in accounts.iter().zip(sources) {
        store.record_probe(&scan, account, 1, Ok(Probe { source, ..probe() })).await.expect("recorded");
    }
    store.plan_account(&scan, &accounts[2], &[cell(3, "eu-west-1", "lambda")]).await.expect("planned");
    let counts = store.counts(&scan).await.expect("readable");
    let states = [(ScanAccountState::Waiting, 2), (ScanAccountState::Probed, 2), (ScanAccountState::Planned, 1)];
    assert_eq!(counts.accounts, BTreeMap::from(states));
    let from = [(RegionSource::AccountListRegions, 1), (RegionSource::Ec2DescribeRegions, 2)];
    assert_eq!(counts.regions_from, BTreeMap::from(from));
    assert_eq!((counts.cells, counts.pending()), (1, 1));
}

/// Nothing is closed or flushed before: a store has to be opened again after a kill.
pub async fn a_store_opened_again_remembers_everything<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let cells = [cell(1, "eu-west-1", "lambda"), cell(1, "eu-west-1", "sqs"), cell(2, "global", "iam")];
    let scan = planned_scan(&store, 1, &cells).await;
    let progress = CellProgress { answered: vec!["ListQueues".into()], ..CellProgress::default() };
    store.complete(&scan, 1, &line(&cells[0], Outcome::Complete)).await.expect("completed");
    store.checkpoint(&scan, &cells[1], 1, &progress).await.expect("kept");
    let status = AccountStatus {
        account: account(1),
        state: AccountState::Active,
        since: at(5),
        last_success: Some(at(6)),
        denied: Vec::new(),
        evidence: BTreeMap::from([("code".to_owned(), "none".to_owned())]),
    };
    store.set_account_status(&status).await.expect("set");
    let denial = AssumeDenial {
        scan: scan.clone(),
        account: account(2),
        at: at(70),
        code: "AccessDenied".into(),
        request_id: None,
        tries: 3,
        doing: "probe".into(),
        our_fault: false,
    };
    store.open_denial(&denial).await.expect("opened");
    let learned = [LearnedFactor { bucket: "eu-west-1/lambda/control".into(), factor: 0.5, at: at(80) }];
    store.keep_learned(&account(1), &learned).await.expect("kept");
    let counts = store.counts(&scan).await.expect("readable");
    drop(store);

    let store = factory.open().await;
    assert_eq!(store.scan(&scan).await.expect("readable").expect("known").spec, spec(1));
    assert_eq!(store.counts(&scan).await.expect("readable"), counts);
    assert_eq!(whole_ledger(&store, &scan).await, [line(&cells[0], Outcome::Complete)]);
    assert_eq!(all_pending(&store, &scan).await, [(cells[1].clone(), 2), (cells[2].clone(), 1)]);
    let begun = store.begin(&scan, &cells[1], 2, "worker-2", at(100)).await.expect("begun");
    assert_eq!(begun, Begin::Go { progress: Box::new(progress), attempts: 1, unfinished: 0 });
    assert_eq!(store.account_status(&account(1)).await.expect("readable"), Some(status));
    assert_eq!(store.account_history(&account(1)).await.expect("readable").len(), 1);
    assert_eq!(store.open_denials(&scan, None).await.expect("readable"), [denial]);
    assert_eq!(store.learned(&account(1)).await.expect("readable"), learned);
}
