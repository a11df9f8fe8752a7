use super::{StoreFactory, account, at, line, planned_scan, scan_id, spec};
use fleetscan_proto::{AccountId, AccountState, AccountStatus, Cell, Outcome, ScanAccountState, ScanId, Store};
use std::collections::BTreeMap;

async fn pages_of_pending(store: &impl Store, scan: &ScanId, account: Option<&AccountId>, limit: usize) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    loop {
        let page = store.pending_cells(scan, account, cells.last(), limit).await.expect("readable");
        assert!(page.len() <= limit);
        let end = page.len() < limit;
        cells.extend(page.into_iter().map(|pending| pending.cell));
        if end {
            return cells;
        }
    }
}

async fn pages_of_ledger(store: &impl Store, scan: &ScanId, limit: usize) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    loop {
        let page = store.ledger(scan, cells.last(), limit).await.expect("readable");
        assert!(page.len() <= limit);
        let end = page.len() < limit;
        cells.extend(page.into_iter().map(|line| line.cell));
        if end {
            return cells;
        }
    }
}

pub async fn ten_thousand_cells_are_paged_in_their_order<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (regions, services) = (["us-east-1", "af-south-1", "global", "eu-west-10", "eu-west-1"], ["sqs", "ec2"]);
    let mut cells: Vec<Cell> = (0..1_000)
        .rev()
        .flat_map(|n| regions.map(|region| services.map(|service| Cell::new(account(n), region, service))))
        .flatten()
        .collect();
    assert_eq!(cells.len(), 10_000);
    let scan = planned_scan(&store, 1, &cells).await;
    planned_scan(&store, 2, &cells[..20]).await;
    cells.sort();
    assert_eq!(pages_of_pending(&store, &scan, None, 999).await, cells);
    assert_eq!(pages_of_pending(&store, &scan, None, 10_000).await, cells);
    let own = pages_of_pending(&store, &scan, Some(&account(500)), 3).await;
    assert_eq!(own, cells[5_000..5_010]);
    let after_all = store.pending_cells(&scan, Some(&account(3)), Some(&cells[9_000]), 5).await.expect("readable");
    assert_eq!(after_all, [], "of an account that lies before `after`");

    assert_eq!(store.ledger(&scan, None, 100).await.expect("readable"), []);
    for cell in cells.iter().step_by(2) {
        store.complete(&scan, 1, &line(cell, Outcome::Complete)).await.expect("answers");
    }
    let (done, pending): (Vec<_>, Vec<_>) = cells.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let only = |numbered: Vec<(usize, Cell)>| numbered.into_iter().map(|(_, cell)| cell).collect::<Vec<_>>();
    assert_eq!(pages_of_pending(&store, &scan, None, 777).await, only(pending));
    assert_eq!(pages_of_ledger(&store, &scan, 777).await, only(done));
}

pub async fn ten_thousand_accounts_are_paged_by_id<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let ids: Vec<AccountId> = (0..10_000).map(account).collect();
    let mut shuffled = ids.clone();
    shuffled.reverse();
    shuffled.swap(17, 9_004);
    store.create_scan(&spec(1), &shuffled).await.expect("created");
    store.create_scan(&spec(2), &shuffled[..3]).await.expect("created");
    let mut paged: Vec<AccountId> = Vec::new();
    loop {
        let page =
            store.scan_accounts(&scan_id(1), ScanAccountState::Waiting, paged.last(), 997).await.expect("readable");
        paged.extend(page.iter().map(|row| row.account.clone()));
        if page.len() < 997 {
            break;
        }
    }
    assert_eq!(paged, ids);
    let others = store.scan_accounts(&scan_id(1), ScanAccountState::Planned, None, 10).await.expect("readable");
    assert_eq!(others, []);

    for account in &shuffled {
        let status = AccountStatus {
            account: account.clone(),
            state: AccountState::Active,
            since: at(1),
            last_success: None,
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        };
        store.set_account_status(&status).await.expect("set");
    }
    let mut paged: Vec<AccountId> = Vec::new();
    loop {
        let page = store.account_statuses(paged.last(), 997).await.expect("readable");
        paged.extend(page.iter().map(|status| status.account.clone()));
        if page.len() < 997 {
            break;
        }
    }
    assert_eq!(paged, ids);
}
