use super::{RegistryFactory, account, at};
use fleetscan_proto::{AccountRegistry, RegisteredAccount, SealedGrant, Told};
use tokio::task::JoinSet;

/// Makes a test of every case. `$factory` is an expression that makes a factory of its own for each test, `$runtime`
/// the attribute of each test.
macro_rules! registry_conformance {
    ($factory:expr, $runtime:meta) => {
        $crate::conformance::registry::registry_conformance!(@cases $factory, $runtime,
            an_account_is_kept_whole
            a_new_account_has_the_first_version
            an_account_changes_version_by_version
            the_same_put_twice_is_no_conflict
            of_concurrent_puts_exactly_one_wins
            a_disconnected_account_stays_listed_without_its_grant
            a_disconnected_account_may_be_connected_again
            two_thousand_accounts_are_paged_by_id
            an_empty_registry_is_restored_as_it_was
            restoring_never_goes_back_in_version
            restoring_never_brings_back_a_disconnected_account
            a_tombstone_is_restored_over_what_it_ended
            restoring_twice_changes_nothing_more
            a_registry_opened_again_knows_its_accounts
        );
    };
    (@cases $factory:expr, $runtime:meta, $($case:ident)*) => {
        $(#[$runtime]
        async fn $case() {
            $crate::conformance::registry::$case(&$factory).await;
        })*
    };
}
pub(crate) use registry_conformance;

/// An account with something in every field but the tombstone's.
fn registered(n: usize, version: u64) -> RegisteredAccount {
    RegisteredAccount {
        id: account(n),
        name: Some(format!("the \"{n}\"th \u{1f50e}")),
        customer: Some("example".into()),
        regions: vec!["eu-west-1".into(), "us-east-1".into()],
        profile: "everything".into(),
        catalogue: "sha256:ab".into(),
        told: Some(Told { version: 2, operations: vec!["iam:ListUsers".into()] }),
        cloudtrail_bucket: Some("acme-logs/org".parse().expect("a bucket")),
        no_session_policy: true,
        organisation: None,
        added_at: at(1),
        grant: Some(SealedGrant { key: "k-1".into(), sealed: format!("c2VhbGVk/{n}+{version}==") }),
        removed_at: None,
        version,
    }
}

fn tombstone(n: usize, version: u64) -> RegisteredAccount {
    RegisteredAccount { grant: None, removed_at: Some(at(90)), ..registered(n, version) }
}

async fn put(registry: &impl AccountRegistry, account: &RegisteredAccount) -> bool {
    registry.put_registered(account).await.expect("answers")
}

async fn restore(registry: &impl AccountRegistry, accounts: &[RegisteredAccount]) -> u64 {
    registry.restore_registered(accounts).await.expect("answers")
}

async fn find(registry: &impl AccountRegistry, n: usize) -> Option<RegisteredAccount> {
    registry.registered(&account(n)).await.expect("readable")
}

async fn all(registry: &impl AccountRegistry) -> Vec<RegisteredAccount> {
    registry.registered_accounts(None, 10_000).await.expect("readable")
}

/// An account that was put as often as its version says.
async fn grown(registry: &impl AccountRegistry, n: usize, version: u64) {
    for version in 1..=version {
        assert!(put(registry, &registered(n, version)).await);
    }
}

pub async fn an_account_is_kept_whole<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    assert_eq!(find(&registry, 1).await, None);
    assert_eq!(all(&registry).await, []);
    let bare = RegisteredAccount {
        name: None,
        customer: None,
        regions: Vec::new(),
        told: None,
        cloudtrail_bucket: None,
        no_session_policy: false,
        organisation: None,
        ..registered(2, 1)
    };
    assert!(put(&registry, &registered(1, 1)).await);
    assert!(put(&registry, &bare).await);
    assert_eq!(find(&registry, 1).await, Some(registered(1, 1)));
    assert_eq!(find(&registry, 2).await, Some(bare.clone()));
    assert_eq!(all(&registry).await, [registered(1, 1), bare]);
}

pub async fn a_new_account_has_the_first_version<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    for version in [0, 2, 7] {
        assert!(!put(&registry, &registered(1, version)).await);
        assert_eq!(find(&registry, 1).await, None);
    }
    assert!(put(&registry, &registered(1, 1)).await);
}

pub async fn an_account_changes_version_by_version<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 3).await;
    assert!(put(&registry, &registered(2, 1)).await);
    for version in [0, 1, 2, 3, 5, 9] {
        let late = RegisteredAccount { name: None, ..registered(1, version) };
        assert!(!put(&registry, &late).await, "version {version} over 3");
        assert_eq!(find(&registry, 1).await, Some(registered(1, 3)));
    }
    let renamed = RegisteredAccount { name: None, customer: None, regions: Vec::new(), ..registered(1, 4) };
    assert!(put(&registry, &renamed).await);
    assert_eq!(all(&registry).await, [renamed, registered(2, 1)], "replaced whole, and the other one as it was");
}

pub async fn the_same_put_twice_is_no_conflict<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    for version in 1..=2 {
        for _ in 0..3 {
            assert!(put(&registry, &registered(1, version)).await, "its answer may have been lost");
        }
    }
    assert!(!put(&registry, &registered(1, 1)).await, "one that another change followed is stale");
    assert_eq!(all(&registry).await, [registered(1, 2)]);
}

pub async fn of_concurrent_puts_exactly_one_wins<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 1).await;
    let mut writers = JoinSet::new();
    for n in 0..32 {
        let registry = registry.clone();
        let account = RegisteredAccount { name: Some(format!("writer-{n}")), ..registered(1, 2) };
        writers.spawn(async move { put(&registry, &account).await.then_some(account) });
    }
    let won: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(all(&registry).await, won);
}

pub async fn a_disconnected_account_stays_listed_without_its_grant<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 2).await;
    grown(&registry, 2, 1).await;
    assert!(put(&registry, &tombstone(1, 3)).await);
    assert!(put(&registry, &tombstone(1, 3)).await, "its answer may have been lost");
    assert_eq!(find(&registry, 1).await, Some(tombstone(1, 3)));
    assert_eq!(all(&registry).await, [tombstone(1, 3), registered(2, 1)]);
}

pub async fn a_disconnected_account_may_be_connected_again<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 1).await;
    assert!(put(&registry, &tombstone(1, 2)).await);
    assert!(!put(&registry, &registered(1, 1)).await, "not as a new one");
    assert!(put(&registry, &registered(1, 3)).await);
    assert_eq!(find(&registry, 1).await, Some(registered(1, 3)));
}

pub async fn two_thousand_accounts_are_paged_by_id<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    let mut exported: Vec<RegisteredAccount> = (0..2_000).rev().map(|n| registered(n, 1)).collect();
    exported[1_000] = tombstone(999, 2);
    assert_eq!(restore(&registry, &exported).await, 2_000);
    exported.reverse();
    let mut paged: Vec<RegisteredAccount> = Vec::new();
    loop {
        let after = paged.last().map(|account| account.id.clone());
        let page = registry.registered_accounts(after.as_ref(), 333).await.expect("readable");
        assert!(page.len() <= 333);
        let end = page.len() < 333;
        paged.extend(page);
        if end {
            break;
        }
    }
    assert_eq!(paged, exported);
    let after_all = registry.registered_accounts(Some(&account(1_999)), 10).await.expect("readable");
    assert_eq!(after_all, []);
    let between = registry.registered_accounts(Some(&account(997)), 2).await.expect("readable");
    assert_eq!(between, [registered(998, 1), tombstone(999, 2)], "disconnected ones included");
}

pub async fn an_empty_registry_is_restored_as_it_was<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    assert_eq!(restore(&registry, &[]).await, 0);
    let exported = [registered(1, 4), tombstone(2, 9), registered(3, 1)];
    assert_eq!(restore(&registry, &exported).await, 3);
    assert_eq!(all(&registry).await, exported);
    assert!(put(&registry, &registered(1, 5)).await, "and goes on from there");
    assert!(!put(&registry, &registered(2, 1)).await);
}

pub async fn restoring_never_goes_back_in_version<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    for n in 1..=3 {
        grown(&registry, n, 3).await;
    }
    let exported = [registered(1, 2), registered(2, 5), tombstone(3, 2), registered(4, 1)];
    assert_eq!(restore(&registry, &exported).await, 2);
    assert_eq!(all(&registry).await, [registered(1, 3), registered(2, 5), registered(3, 3), registered(4, 1)]);
}

pub async fn restoring_never_brings_back_a_disconnected_account<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 1).await;
    assert!(put(&registry, &tombstone(1, 2)).await);
    for version in [1, 2, 3, 50] {
        assert_eq!(restore(&registry, &[registered(1, version)]).await, 0, "version {version}");
        assert_eq!(find(&registry, 1).await, Some(tombstone(1, 2)));
    }
    assert_eq!(restore(&registry, &[registered(1, 50), registered(2, 1)]).await, 1, "the others are written");
}

pub async fn a_tombstone_is_restored_over_what_it_ended<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 2).await;
    assert_eq!(restore(&registry, &[tombstone(1, 3), registered(1, 9)]).await, 1, "and it holds within one list");
    assert_eq!(all(&registry).await, [tombstone(1, 3)]);
}

pub async fn restoring_twice_changes_nothing_more<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    let exported = [registered(1, 4), registered(2, 1), tombstone(3, 2)];
    for _ in 0..2 {
        restore(&registry, &exported).await;
        assert_eq!(all(&registry).await, exported);
    }
}

pub async fn a_registry_opened_again_knows_its_accounts<F: RegistryFactory>(factory: &F) {
    let registry = factory.open().await;
    grown(&registry, 1, 2).await;
    grown(&registry, 2, 1).await;
    assert!(put(&registry, &tombstone(2, 2)).await);
    drop(registry);
    let registry = factory.open().await;
    assert_eq!(all(&registry).await, [registered(1, 2), tombstone(2, 2)]);
    assert!(put(&registry, &registered(1, 3)).await);
}
