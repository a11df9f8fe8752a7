//! The trail of events, and how an account's change gets there. The account's keys and the trail's may lie on different
//! nodes, so no script can write both. The account's own script writes the change together with what is to be told of
//! it; that is then carried to the trail, which knows an event by its id, and so takes it once however often it is
//! carried. A debt that is noted before the change, and struck out after, leads whoever reads the trail to what a writer
//! that was killed in between left behind.

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

/// A debt this old is not just being paid.
const OVERDUE_SECONDS: i64 = 5;
/// So long after it noted its debt, a writer has written or never will: every call ends within seconds.
const FORGOTTEN_SECONDS: i64 = 3_600;
/// Debts that are looked at with one reading.
const DEBTS: usize = 64;

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

    /// Tells what writers that were killed left untold.
    async fn settle_debts(&self) -> Result<(), StoreError> {
        let debts = self.keys.fleet("debts");
        let now = self.now().await?.as_second();
        let mut overdue = redis::cmd("ZRANGEBYSCORE");
        overdue.arg(&debts).arg("-inf").arg(now - OVERDUE_SECONDS).arg("WITHSCORES").arg("LIMIT").arg(0).arg(DEBTS);
        let found: Vec<(String, f64)> = self.link.command(overdue).await?;
        for (debt, at) in found {
            if let Some(account) = debt.split(' ').next().and_then(|id| id.parse().ok()) {
                self.tell(&account).await?;
            }
            // Its writer may be about to write even now, however unlikely that is; so the debt stands for a while.
            if at <= (now - FORGOTTEN_SECONDS) as f64 {
                self.strike_out(&debt).await?;
            }
        }
        Ok(())
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
