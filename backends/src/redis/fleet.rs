use super::{
    RedisStore, script,
    store::{bytes, decode, encode, word},
};
use async_trait::async_trait;
use fleetscan_proto::{Fleet, KillSwitch, Lease, Orders, ScanId, StoreError, WorkerReport};
use jiff::Timestamp;
use redis::Cmd;
use std::{collections::BTreeMap, time::Duration};

fn millis(ttl: Duration) -> Vec<u8> {
    bytes(ttl.as_millis().clamp(1, u128::from(u64::MAX)))
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl Fleet for RedisStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (i64, i64) = self.link.command(redis::cmd("TIME")).await?;
        Ok(Timestamp::from_microsecond(seconds * 1_000_000 + micros).unwrap_or(Timestamp::MAX))
    }

    async fn epoch(&self) -> Result<String, StoreError> {
        // Asked, so that one that is gone is noticed.
        self.now().await?;
        Ok(self.link.epoch())
    }

    async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        // Listed first: a name without a lease is passed over.
        self.link.command::<u64>(Cmd::zadd(self.keys.fleet("leases"), name, 0)).await?;
        let taken: Option<(u64, i64)> =
            self.link.run(&script::TAKE_LEASE, &[self.keys.lease(name)], &[bytes(holder), millis(ttl)]).await?;
        Ok(taken.map(|(token, until)| Lease { name: name.into(), holder: holder.into(), token, until: time(until) }))
    }

    async fn renew_leases(
        &self,
        holder: &str,
        leases: &[(String, u64)],
        ttl: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let renew = |(name, token): &(String, u64)| {
            let (key, token) = ([self.keys.lease(name)], bytes(token));
            async move {
                let arguments = [bytes(holder), token, millis(ttl)];
                Ok(self.link.run::<u64>(&script::RENEW_LEASE, &key, &arguments).await? == 1)
            }
        };
        futures_util::future::try_join_all(leases.iter().map(renew)).await
    }

    async fn release_lease(&self, name: &str, holder: &str, token: u64) -> Result<(), StoreError> {
        let arguments = [bytes(holder), bytes(token), bytes(0)];
        self.link.run::<u64>(&script::RENEW_LEASE, &[self.keys.lease(name)], &arguments).await.map(drop)
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let now = self.now().await?.as_millisecond();
        let names: Vec<String> = self.link.command(Cmd::zrange(self.keys.fleet("leases"), 0, -1)).await?;
        let names: Vec<String> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
        let gets = names.iter().map(|name| {
            let mut get = redis::cmd("HMGET");
            get.arg(self.keys.lease(name)).arg("holder").arg("token").arg("until");
            get
        });
        let rows: Vec<(Option<String>, Option<u64>, Option<i64>)> = self.link.commands(gets.collect()).await?;
        let held = names.into_iter().zip(rows).filter_map(|(name, row)| match row {
            (Some(holder), Some(token), Some(until)) if until > now => {
                Some(Lease { name, holder, token, until: time(until) })
            }
            _ => None,
        });
        Ok(held.collect())
    }

    async fn report(&self, report: &WorkerReport, ttl: Duration) -> Result<(), StoreError> {
        let arguments = [bytes(&report.worker), millis(ttl), encode(report)?];
        let _alive: Vec<Vec<u8>> = self.link.run(&script::REPORTS, &[self.keys.fleet("reports")], &arguments).await?;
        Ok(())
    }

    async fn retire(&self, worker: &str) -> Result<(), StoreError> {
        self.link.command::<u64>(Cmd::hdel(self.keys.fleet("reports"), worker)).await.map(drop)
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let texts: Vec<Vec<u8>> = self.link.run(&script::REPORTS, &[self.keys.fleet("reports")], &[]).await?;
        let mut reports: Vec<WorkerReport> = texts.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
        reports.sort_by(|a, b| a.worker.cmp(&b.worker));
        Ok(reports)
    }

    async fn switch_off(&self, switch: &KillSwitch) -> Result<(), StoreError> {
        let keep = Cmd::hset_nx(self.keys.fleet("switches"), &switch.what, encode(switch)?);
        self.link.command::<u64>(keep).await.map(drop)
    }

    async fn switch_on(&self, what: &str) -> Result<bool, StoreError> {
        Ok(self.link.command::<u64>(Cmd::hdel(self.keys.fleet("switches"), what)).await? > 0)
    }

    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.link.command(Cmd::hget(self.keys.fleet("notes"), name)).await
    }

    async fn keep_note(&self, name: &str, text: Option<&str>) -> Result<(), StoreError> {
        let key = self.keys.fleet("notes");
        let keep = match text {
            Some(text) => Cmd::hset(key, name, text),
            None => Cmd::hdel(key, name),
        };
        self.link.command::<u64>(keep).await.map(drop)
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        let switches: BTreeMap<String, Vec<u8>> = self.link.command(Cmd::hgetall(self.keys.fleet("switches"))).await?;
        let barred: Option<u64> = self.link.command(Cmd::get(self.keys.fleet("barred"))).await?;
        let mut ids: Vec<String> = self.link.command(Cmd::smembers(self.keys.fleet("running"))).await?;
        ids.sort();
        // The list says which may run, each one's own row which do.
        let ids: Vec<ScanId> = ids.iter().map(|id| word(id)).collect::<Result<_, _>>()?;
        let gets = ids.iter().map(|id| Cmd::hget(self.keys.scan(id).row(), "state")).collect();
        let states: Vec<Option<String>> = self.link.commands(gets).await?;
        let running = ids.into_iter().zip(states).filter(|(_, state)| state.as_deref() == Some("running"));
        Ok(Orders {
            running: running.map(|(id, _)| id).collect(),
            switches: switches.values().map(|text| decode(text)).collect::<Result<_, _>>()?,
            barred_version: barred.unwrap_or_default(),
        })
    }
}
