//! The trail of events, and how an account's change gets there. The account's keys and the trail's may lie on different
//! nodes, so no script can write both. The account's own script writes the change together with what is to be told of
//! it; that is then carried to the trail, which knows an event by its id, and so takes it once however often it is
//! carried. A debt that is noted before the change, and struck out after, leads whoever reads the trail to what a writer
//! that was killed in between left behind. A debt is a writer's (`account random`) for as long as it is not known whether
//! its change was made; where it was, and could not be carried, the account itself stands among the debts, once.

use super::{
    RedisStore, script,
    store::{bytes, decode, encode, word},
};
use async_trait::async_trait;
use fleetscan_proto::{
    AccountId, AccountRegistry as _, AccountState, AccountStatus, EVENTS_KEPT, Event, EventTrail, Fleet as _,
    NumberedEvent, StoreError,
};
use redis::Cmd;
use std::collections::BTreeSet;

/// A debt this old is not just being paid.
const OVERDUE_SECONDS: i64 = 5;
/// So long after it noted its debt, a writer has written or never will: every call ends within seconds.
const FORGOTTEN_SECONDS: i64 = 3_600;
/// What could not be carried is left alone for so long.
const REST_SECONDS: i64 = 60;
/// Debts that are asked for at once.
const DEBTS: usize = 512;
/// Pages of them that are looked at with one reading.
const PAGES: usize = 32;

impl RedisStore {
    /// Notes that a change of an account is about to be written; answers what [`RedisStore::strike_out`] takes.
    pub(super) async fn owe(&self, account: &AccountId) -> Result<String, StoreError> {
        let debt = format!("{account} {:032x}", rand::random::<u128>());
        self.link.run::<u64>(&script::OWE, &[self.keys.fleet("debts")], &[bytes(&debt)]).await?;
        Ok(debt)
    }

    pub(super) async fn strike_out(&self, debt: &str) -> Result<(), StoreError> {
        self.link.command::<u64>(Cmd::zrem(self.keys.fleet("debts"), debt)).await.map(drop)
    }

    /// Carries to the trail what is to be told of an account.
    pub(super) async fn tell(&self, account: &AccountId) -> Result<(), StoreError> {
        let untold = self.keys.account(account, "untold");
        let entries: Vec<String> = self.link.command(Cmd::lrange(&untold, 0, -1)).await?;
        for entry in entries {
            let mut parts = entry.splitn(3, ' ');
            let (Some(id), Some(before), Some(status)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let random = u128::from_str_radix(id, 16).unwrap_or_default();
            let from = if before.is_empty() { None } else { Some(word::<AccountState>(before)?) };
            let status: AccountStatus = decode(status.as_bytes())?;
            if let Some(event) = Event::of_account(random, from, &status, self.registered(account).await?.as_ref()) {
                self.append_event(&event, None).await?;
            }
            self.link.command::<u64>(Cmd::lrem(&untold, 1, &entry)).await?;
        }
        Ok(())
    }

    /// The change was made, and what is to be told of it could not be carried: the account is the debtor from now on.
    pub(super) async fn owe_instead(&self, account: &AccountId, debt: Option<&str>) -> Result<(), StoreError> {
        self.link.run::<u64>(&script::OWE, &[self.keys.fleet("debts")], &[bytes(account)]).await?;
        match debt {
            Some(debt) => self.strike_out(debt).await,
            None => Ok(()),
        }
    }

    /// Tells what writers that were killed left untold.
    async fn settle_debts(&self) -> Result<(), StoreError> {
        let now = self.now().await?.as_second();
        let mut after = 0;
        for _ in 0..PAGES {
            let mut overdue = redis::cmd("ZRANGEBYSCORE");
            overdue.arg(self.keys.fleet("debts")).arg("-inf").arg(now - OVERDUE_SECONDS).arg("WITHSCORES");
            overdue.arg("LIMIT").arg(after).arg(DEBTS);
            let found: Vec<(String, f64)> = self.link.command(overdue).await?;
            let last_page = found.len() < DEBTS;
            after += found.len() - self.settle(now, found).await?;
            if last_page {
                break;
            }
        }
        Ok(())
    }

    /// Settles some debts; answers how many are no longer among the overdue ones.
    async fn settle(&self, now: i64, debts: Vec<(String, f64)>) -> Result<usize, StoreError> {
        let of = |debt: &str| debt.split(' ').next().and_then(|id| id.parse::<AccountId>().ok());
        let accounts: Vec<AccountId> =
            debts.iter().filter_map(|(debt, _)| of(debt)).collect::<BTreeSet<_>>().into_iter().collect();
        let lengths = accounts.iter().map(|account| Cmd::llen(self.keys.account(account, "untold"))).collect();
        let lengths: Vec<u64> = self.link.commands(lengths).await?;
        let mut failing = BTreeSet::new();
        for (account, _) in accounts.iter().zip(lengths).filter(|(_, untold)| *untold > 0) {
            match self.tell(account).await {
                // A newer version's words, or somebody else's: one account's must not keep the others' from being told.
                Err(StoreError::Refused(why)) => {
                    tracing::warn!(%account, error = why, "events.not_carried: tried again in a minute");
                    failing.insert(account.clone());
                }
                told => told?,
            }
        }
        let mut arguments = Vec::new();
        for (debt, at) in &debts {
            let account = of(debt);
            let settled = match &account {
                Some(account) if failing.contains(account) => bytes(now + REST_SECONDS - OVERDUE_SECONDS),
                Some(account) if account.as_str() == debt => Vec::new(),
                // A writer's stands for a while: it may be about to write even now, however unlikely that is.
                Some(_) if *at > (now - FORGOTTEN_SECONDS) as f64 => continue,
                _ => Vec::new(),
            };
            arguments.extend([bytes(debt), bytes(at), settled]);
        }
        if arguments.is_empty() {
            return Ok(0);
        }
        self.link.run::<usize>(&script::SETTLE_DEBTS, &[self.keys.fleet("debts")], &arguments).await
    }
}

#[async_trait]
impl EventTrail for RedisStore {
    async fn append_event(&self, event: &Event, note: Option<(&str, &str)>) -> Result<(), StoreError> {
        let keys = ["events", "event-numbers", "newest-event", "notes"].map(|what| self.keys.fleet(what));
        let mut arguments = vec![bytes(&event.id), encode(event)?, bytes(EVENTS_KEPT)];
        if let Some((name, text)) = note {
            arguments.extend([bytes(name), bytes(text)]);
        }
        self.link.run::<u64>(&script::APPEND_EVENT, &keys, &arguments).await.map(drop)
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<NumberedEvent>, StoreError> {
        self.settle_debts().await?;
        let newest = self.newest_event().await?;
        let first = after.max(newest.saturating_sub(EVENTS_KEPT)) + 1;
        let last = newest.min((first - 1).saturating_add(limit as u64));
        if first > last {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys.fleet("events"));
        for number in first..=last {
            get.arg(number);
        }
        let found: Vec<Option<Vec<u8>>> = self.link.command(get).await?;
        let read = |(number, entry): (u64, Option<Vec<u8>>)| {
            let entry = entry?;
            let body = entry.iter().position(|byte| *byte == b' ').map(|space| &entry[space + 1..])?;
            Some(decode(body).map(|event| NumberedEvent { number, event }))
        };
        (first..=last).zip(found).filter_map(read).collect()
    }

    async fn newest_event(&self) -> Result<u64, StoreError> {
        let newest: Option<u64> = self.link.command(Cmd::get(self.keys.fleet("newest-event"))).await?;
        Ok(newest.unwrap_or_default())
    }
}
