use super::{
    EmbeddedStore,
    sql::{change, encode, json, one, rows, word},
};
use async_trait::async_trait;
use fleetscan_proto::{Fleet, KillSwitch, Lease, Orders, StoreError, WorkerReport};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use std::time::Duration;

/// Milliseconds since 1970, as the tables have them.
fn milliseconds(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// When a lease or a report ends that begins now.
fn end(now: Timestamp, ttl: Duration) -> i64 {
    milliseconds(now).saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

/// What ends later than there are dates ends with the last of them.
fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

fn lease_row(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease { name: row.get(0)?, holder: row.get(1)?, token: row.get(2)?, until: timestamp(row.get(3)?) })
}

const LEASE: &str = "SELECT name, holder, token, until FROM leases";

fn take_lease(
    c: &Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: Timestamp,
) -> rusqlite::Result<Option<Lease>> {
    // One statement looks and takes: where another holds it, nothing changes.
    let taken = change(
        c,
        "INSERT INTO leases VALUES (?1, ?2, 1, ?3) ON CONFLICT DO UPDATE SET
         token = token + (until <= ?4), holder = excluded.holder, until = excluded.until
         WHERE until <= ?4 OR holder = excluded.holder",
        params![name, holder, end(now, ttl), milliseconds(now)],
    )?;
    if taken == 0 { Ok(None) } else { one(c, &format!("{LEASE} WHERE name = ?1"), [name], lease_row) }
}

fn renew_leases(
    c: &Connection,
    holder: &str,
    leases: &[(String, u64)],
    ttl: Duration,
    now: Timestamp,
) -> rusqlite::Result<Vec<bool>> {
    let renew = |(name, token): &(String, u64)| {
        let renewed = change(
            c,
            "UPDATE leases SET until = ?4 WHERE name = ?1 AND holder = ?2 AND token = ?3 AND until > ?5",
            params![name, holder, token, end(now, ttl), milliseconds(now)],
        )?;
        Ok(renewed > 0)
    };
    leases.iter().map(renew).collect()
}

fn leases(c: &Connection, prefix: &str, now: Timestamp) -> rusqlite::Result<Vec<Lease>> {
    rows(
        c,
        &format!("{LEASE} WHERE until > ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY name"),
        params![milliseconds(now), prefix],
        lease_row,
    )
}

/// Reports that have ended make room with each new one.
fn report(c: &Connection, report: &WorkerReport, ttl: Duration, now: Timestamp) -> rusqlite::Result<()> {
    change(c, "DELETE FROM workers WHERE until <= ?1", [milliseconds(now)])?;
    change(
        c,
        "INSERT OR REPLACE INTO workers VALUES (?1, ?2, ?3)",
        params![report.worker, end(now, ttl), encode(report)?],
    )
    .map(drop)
}

fn orders(c: &Connection) -> rusqlite::Result<Orders> {
    let running =
        rows(c, "SELECT id FROM scans WHERE state = 'running' ORDER BY id", [], |row| word(row.get::<_, String>(0)?))?;
    let switches = rows(c, "SELECT switch FROM switches ORDER BY what", [], |row| json(row, 0))?;
    let barred = one(c, "SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'barred'", [], |row| row.get(0))?;
    Ok(Orders { running, switches, barred_version: barred.unwrap_or_default() })
}

pub(super) fn keep_note(c: &Connection, name: &str, text: Option<&str>) -> rusqlite::Result<()> {
    let name = format!("note:{name}");
    match text {
        Some(text) => change(c, "INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)", params![name, text]),
        None => change(c, "DELETE FROM facts WHERE name = ?1", [name]),
    }
    .map(drop)
}

/// The time of a change is looked up when its turn has come, not when it was asked for.
#[async_trait]
impl Fleet for EmbeddedStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    async fn epoch(&self) -> Result<String, StoreError> {
        let read = |c: &Connection| one(c, "SELECT value FROM facts WHERE name = 'epoch'", [], |row| row.get(0));
        let epoch = self.reader.run(read).await?;
        epoch.ok_or_else(|| StoreError::Lost("the data file has no name of its own any more".into()))
    }

    async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let (name, holder, clock) = (name.to_owned(), holder.to_owned(), self.clock.clone());
        self.writer.run(move |c| take_lease(c, &name, &holder, ttl, clock.now())).await
    }

    async fn renew_leases(
        &self,
        holder: &str,
        leases: &[(String, u64)],
        ttl: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let (holder, leases, clock) = (holder.to_owned(), leases.to_vec(), self.clock.clone());
        self.writer.run(move |c| renew_leases(c, &holder, &leases, ttl, clock.now())).await
    }

    async fn release_lease(&self, name: &str, holder: &str, token: u64) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let release = "UPDATE leases SET until = 0 WHERE name = ?1 AND holder = ?2 AND token = ?3";
        self.writer.run(move |c| change(c, release, params![name, holder, token]).map(drop)).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let (prefix, now) = (prefix.to_owned(), self.clock.now());
        self.reader.run(move |c| leases(c, &prefix, now)).await
    }

    async fn report(&self, worker: &WorkerReport, ttl: Duration) -> Result<(), StoreError> {
        let (worker, clock) = (worker.clone(), self.clock.clone());
        self.writer.run(move |c| report(c, &worker, ttl, clock.now())).await
    }

    async fn retire(&self, worker: &str) -> Result<(), StoreError> {
        let worker = worker.to_owned();
        self.writer.run(move |c| change(c, "DELETE FROM workers WHERE worker = ?1", [worker]).map(drop)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let now = milliseconds(self.clock.now());
        let read = "SELECT report FROM workers WHERE until > ?1 ORDER BY worker";
        self.reader.run(move |c| rows(c, read, [now], |row| json(row, 0))).await
    }

    async fn switch_off(&self, switch: &KillSwitch) -> Result<(), StoreError> {
        let switch = switch.clone();
        let keep = "INSERT OR IGNORE INTO switches VALUES (?1, ?2)";
        self.writer.run(move |c| change(c, keep, params![switch.what, encode(&switch)?]).map(drop)).await
    }

    async fn switch_on(&self, what: &str) -> Result<bool, StoreError> {
        let what = what.to_owned();
        let removed = self.writer.run(move |c| change(c, "DELETE FROM switches WHERE what = ?1", [what])).await?;
        Ok(removed > 0)
    }

    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = format!("note:{name}");
        self.reader.run(move |c| one(c, "SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))).await
    }

    async fn keep_note(&self, name: &str, text: Option<&str>) -> Result<(), StoreError> {
        let (name, text) = (name.to_owned(), text.map(str::to_owned));
        self.writer.run(move |c| keep_note(c, &name, text.as_deref())).await
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        self.reader.run(orders).await
    }
}
