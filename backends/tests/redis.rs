//! The conformance suites on a real Redis, which the tests start themselves.

#[allow(dead_code, unused_imports, unused_macros, reason = "the suite of queues is of no use here")]
mod conformance;
mod servers {
    pub mod redis;
}

use async_trait::async_trait;
use conformance::{FleetFactory, RegistryFactory, StoreFactory};
use fleetscan_backends::redis::{RedisOptions, RedisStore};
use servers::redis::RedisServer;
use std::time::Duration;

/// A memory of its own for each test, on the server that all share.
struct OnRedis {
    prefix: String,
}

impl OnRedis {
    fn new() -> Self {
        Self { prefix: format!("test-{:016x}", rand::random::<u64>()) }
    }
    fn options(&self) -> RedisOptions {
        RedisOptions { prefix: self.prefix.clone(), found: true, ..RedisOptions::new(RedisServer::shared().url()) }
    }
}

#[async_trait]
impl StoreFactory for OnRedis {
    type Store = RedisStore;
    async fn open(&self) -> RedisStore {
        RedisStore::connect(self.options()).await.expect("the server answers")
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl FleetFactory for OnRedis {
    type Fleet = RedisStore;
    async fn open(&self) -> RedisStore {
        StoreFactory::open(self).await
    }
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    fn ttl(&self) -> Duration {
        Duration::from_millis(700)
    }
}

#[async_trait]
impl RegistryFactory for OnRedis {
    type Registry = RedisStore;
    async fn open(&self) -> RedisStore {
        StoreFactory::open(self).await
    }
}

mod fleet {
    use super::*;

    conformance::fleet::fleet_conformance!(OnRedis::new(), tokio::test(flavor = "multi_thread"));
}

mod events {
    use super::*;

    conformance::events::events_conformance!(OnRedis::new(), tokio::test(flavor = "multi_thread"));
}

mod registry {
    use super::*;

    conformance::registry::registry_conformance!(OnRedis::new(), tokio::test(flavor = "multi_thread"));
}

mod store {
    use super::*;

    conformance::store::store_conformance!(
        OnRedis::new(),
        tokio::test(flavor = "multi_thread"),
        tokio::test(flavor = "multi_thread")
    );
}

mod faults {
    use super::*;
    use fleetscan_proto::{
        AccountId, AccountRegistry as _, AccountState, AccountStatus, EventTrail as _, Fleet as _, Store as _,
        StoreError,
    };
    use std::{collections::BTreeMap, time::Instant};

    fn options(server: &RedisServer) -> RedisOptions {
        RedisOptions { found: true, answer_timeout: Duration::from_secs(1), ..RedisOptions::new(server.url()) }
    }
    async fn store(server: &RedisServer) -> RedisStore {
        RedisStore::connect(options(server)).await.expect("the server answers")
    }
    fn account() -> AccountId {
        "111122223333".parse().expect("id")
    }

    #[tokio::test]
    async fn what_was_answered_survives_a_kill() {
        // As docs/redis.md asks for: with `everysec`, a server whose disk is slow answers before it writes.
        let mut server = RedisServer::start(&["--appendfsync", "always"]);
        let (scan, cell) = (conformance::store::spec(1), conformance::cell(1, "eu-west-1", "sqs"));
        let store = store(&server).await;
        conformance::store::planned_scan(&store, 1, std::slice::from_ref(&cell)).await;
        store.renew_cell(&scan.id, &cell, 1, None).await.expect("renewed");
        server.kill();
        assert!(matches!(store.scan(&scan.id).await, Err(StoreError::Away(_))));
        server.start_again();
        let pending = store.pending_cells(&scan.id, None, None, 10).await.expect("it is back, and so are we");
        assert_eq!((pending.len(), pending[0].generation), (1, 2));
    }

    #[tokio::test]
    async fn a_wiped_server_is_lost_to_everybody_until_they_start_anew() {
        let server = RedisServer::start(&[]);
        let (one, other) = (store(&server).await, store(&server).await);
        server.ask(&["FLUSHALL"]);
        for store in [&one, &other] {
            assert!(matches!(store.scans().await, Err(StoreError::Lost(_))));
            assert!(matches!(store.take_lease("x", "me", Duration::from_secs(9)).await, Err(StoreError::Lost(_))));
            assert!(matches!(store.registered(&account()).await, Err(StoreError::Lost(_))));
        }
        let opened = RedisStore::connect(RedisOptions { found: false, ..options(&server) }).await;
        let why = opened.expect_err("a memory is only founded on purpose").to_string();
        assert!(why.contains("accounts restore"), "{why}");
        let anew = store(&server).await;
        assert_eq!(anew.scans().await.expect("a new memory"), []);
        assert!(matches!(one.scans().await, Err(StoreError::Lost(_))), "the new memory is not the old one's");
    }

    #[tokio::test]
    async fn a_server_that_stands_still_is_away_and_comes_back() {
        let server = RedisServer::start(&[]);
        let store = store(&server).await;
        server.freeze();
        let began = Instant::now();
        assert!(matches!(store.scans().await, Err(StoreError::Away(_))));
        assert!(began.elapsed() < Duration::from_secs(10), "no call waits for ever");
        server.thaw();
        assert_eq!(store.scans().await.expect("it answers"), []);
    }

    #[tokio::test]
    async fn a_full_server_says_so_and_goes_on_when_there_is_room() {
        let server = RedisServer::start(&[]);
        let store = store(&server).await;
        server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let why = store.take_lease("x", "me", Duration::from_secs(9)).await.expect_err("full").to_string();
        assert!(why.contains("out of memory"), "{why}");
        server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        assert!(store.take_lease("x", "me", Duration::from_secs(9)).await.expect("there is room").is_some());
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused_and_shown_nowhere() {
        let server = RedisServer::start(&["--requirepass", "right-word"]);
        let url = server.url().replace("redis://", "redis://:planted-word@");
        let refused = RedisStore::connect(RedisOptions::new(url)).await.expect_err("refused");
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
        assert!(!refused.to_string().contains("planted"), "{refused}");
        let url = server.url().replace("redis://", "redis://:right-word@");
        RedisStore::connect(RedisOptions { found: true, ..RedisOptions::new(url) }).await.expect("let in");
    }

    #[tokio::test]
    async fn the_server_that_tests_share_refuses_what_a_cluster_would() {
        let script = "return redis.call('MGET',KEYS[1],KEYS[2])";
        let eval =
            |one: &str, other: &str| RedisServer::shared().ask(&["EVAL", &format!("\"{script}\""), "2", one, other]);
        assert!(eval("{a}x", "{b}x").contains("same slot"), "{}", eval("{a}x", "{b}x"));
        assert!(eval("{a}x", "{a}y").starts_with("*2"), "{}", eval("{a}x", "{a}y"));
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_untold_is_told_once_by_whoever_reads() {
        let server = RedisServer::start(&[]);
        let (store, account) = (store(&server).await, account());
        let status = AccountStatus {
            account: account.clone(),
            state: AccountState::Revoked,
            since: conformance::at(9),
            last_success: None,
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        };
        // Killed when its script had run, and before it carried the event to the trail.
        let text = serde_json::to_string(&status).expect("JSON");
        let client = redis::Client::open(server.url().as_str()).expect("a URL");
        let mut raw = client.get_multiplexed_async_connection().await.expect("connects");
        let mut run = async |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            command.query_async::<redis::Value>(&mut raw).await.expect("answers")
        };
        let untold = format!("{{fleetscan:account:{account}}}:untold");
        run(&["RPUSH", &untold, &format!("{:032x} active {text}", 7)]).await;
        run(&["ZADD", "{fleetscan:fleet}:debts", "1", &format!("{account} {:032x}", 8)]).await;
        for _ in 0..2 {
            let told = store.events(0, 10).await.expect("readable");
            assert_eq!(told.len(), 1);
            assert_eq!(
                (told[0].event.kind.as_str(), told[0].event.account()),
                ("account.revoked", Some(account.clone()))
            );
            assert_eq!(told[0].event.id, "evt_00000000000000000000000000000007");
        }
        assert_eq!(run(&["LLEN", &untold]).await, redis::Value::Int(0));
        assert_eq!(run(&["ZCARD", "{fleetscan:fleet}:debts"]).await, redis::Value::Int(0), "long overdue");
    }

    #[tokio::test]
    async fn one_accounts_debt_that_cannot_be_paid_delays_no_others() {
        let server = RedisServer::start(&[]);
        let (store, account) = (store(&server).await, account());
        let untold = format!("{{fleetscan:account:{account}}}:untold");
        server.ask(&["RPUSH", &untold, "\"00 active what-a-newer-version-wrote\""]);
        // Older than all others, and with many idle ones behind it.
        server.ask(&["ZADD", "{fleetscan:fleet}:debts", "1", &format!("\"{account} 01\"")]);
        let now = store.now().await.expect("a time").as_second();
        let idle: Vec<String> =
            (0..1_200).map(|n| format!("{} \"{} {n:032x}\"", now - 60, conformance::account(n))).collect();
        for some in idle.chunks(100) {
            server.ask(&["ZADD", "{fleetscan:fleet}:debts", &some.join(" ")]);
        }
        let killed = conformance::account(2_000);
        let status = AccountStatus {
            account: killed.clone(),
            state: AccountState::Revoked,
            since: conformance::at(9),
            last_success: None,
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        };
        let text = serde_json::to_string(&status).expect("JSON").replace('"', "\\\"");
        let its = format!("{{fleetscan:account:{killed}}}:untold");
        server.ask(&["RPUSH", &its, &format!("\"{:032x} active {text}\"", 7)]);
        server.ask(&["ZADD", "{fleetscan:fleet}:debts", &(now - 30).to_string(), &format!("\"{killed} 02\"")]);
        let told = store.events(0, 10).await.expect("the others' are told");
        assert_eq!(told.iter().filter_map(|one| one.event.account()).collect::<Vec<_>>(), [killed]);
        // Its changes are made all the same, and it stands among the debts once however often they are.
        for (state, since) in [(AccountState::Active, 1), (AccountState::Revoked, 2), (AccountState::Active, 3)] {
            let since = conformance::at(since);
            let status = AccountStatus { account: account.clone(), state, since, ..status.clone() };
            store.set_account_status(&status).await.expect("the change is made");
        }
        assert!(
            server.ask(&["ZCARD", "{fleetscan:fleet}:debts"]).starts_with(":1203"),
            "1,200 idle, two killed, one due"
        );
        assert!(!server.ask(&["ZSCORE", "{fleetscan:fleet}:debts", account.as_str()]).starts_with("$-1"));
        // What was in the way is mended.
        server.ask(&["LPOP", &untold]);
        server.ask(&["ZADD", "{fleetscan:fleet}:debts", "1", account.as_str()]);
        let told = store.events(1, 10).await.expect("readable");
        let kinds: Vec<&str> = told.iter().map(|one| one.event.kind.as_str()).collect();
        assert_eq!(kinds, ["account.revoked", "account.reinstated"]);
        assert!(server.ask(&["ZSCORE", "{fleetscan:fleet}:debts", account.as_str()]).starts_with("$-1"), "paid");
    }

    #[tokio::test]
    async fn a_debt_is_paid_by_who_owes_it() {
        let server = RedisServer::start(&[]);
        let store = store(&server).await;
        for (state, since) in [(AccountState::Active, 1), (AccountState::Revoked, 2)] {
            let status = AccountStatus {
                account: account(),
                state,
                since: conformance::at(since),
                last_success: None,
                denied: Vec::new(),
                evidence: BTreeMap::new(),
            };
            store.set_account_status(&status).await.expect("set");
        }
        assert!(server.ask(&["ZCARD", "{fleetscan:fleet}:debts"]).starts_with(":0"));
        assert_eq!(store.newest_event().await.expect("readable"), 1, "told without anybody reading");
    }

    #[tokio::test]
    async fn a_state_that_ends_work_is_announced_again_when_its_change_is_repeated() {
        let server = RedisServer::start(&[]);
        let store = store(&server).await;
        let status = |state| AccountStatus {
            account: account(),
            state,
            since: conformance::at(1),
            last_success: None,
            denied: Vec::new(),
            evidence: BTreeMap::new(),
        };
        for (state, told_again) in [(AccountState::Active, false), (AccountState::Revoked, true)] {
            let (before, status) = (store.account_status(&account()).await.expect("readable"), status(state));
            assert!(store.change_account_status(before.as_ref(), &status).await.expect("set"));
            // As where the announcement had failed: the status stands, and nobody was told.
            let version = store.orders().await.expect("readable").barred_version;
            assert!(store.change_account_status(before.as_ref(), &status).await.expect("stands"));
            assert_eq!(store.orders().await.expect("readable").barred_version > version, told_again, "{state:?}");
        }
        assert_eq!(store.account_history(&account()).await.expect("readable").len(), 2);
    }

    #[tokio::test]
    async fn scripts_that_the_server_forgot_are_sent_again() {
        let server = RedisServer::start(&[]);
        let store = store(&server).await;
        for _ in 0..2 {
            assert!(store.take_lease("x", "me", Duration::from_secs(9)).await.expect("taken").is_some());
            server.ask(&["SCRIPT", "FLUSH"]);
        }
    }
}
