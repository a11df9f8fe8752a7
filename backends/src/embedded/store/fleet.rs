use super::{
    EmbeddedStore,
    sql::{change, encode, json, one, rows, word},
};
use async_trait::async_trait;
use fleetscan_proto::{Fleet, KillSwitch, Lease, Orders, StoreError, WorkerReport};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use std::time::Duration;

/// The store's clock is the machine's: there is but one.
fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn until(ttl: Duration) -> i64 {
    now().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let at: i64 = row.get(column)?;
    Ok(Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX))
}

fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease { name: row.get(0)?, holder: row.get(1)?, token: row.get(2)?, until: time(row, 3)? })
}

const LEASE: &str = "SELECT name, holder, token, until FROM leases";

fn take_lease(c: &Connection, name: &str, holder: &str, ttl: Duration) -> rusqlite::Result<Option<Lease>> {
    let now = now();
    change(
        c,
        "INSERT INTO leases VALUES (?1, ?2, 1, ?3) ON CONFLICT DO UPDATE SET
         token = CASE WHEN holder = ?2 AND until > ?4 THEN token ELSE token + 1 END, holder = ?2, until = ?3
         WHERE holder = ?2 OR until <= ?4",
        params![name, holder, until(ttl), now],
    )?;
    let held = one(c, &format!("{LEASE} WHERE name = ?1"), [name], lease)?;
    Ok(held.filter(|held| held.holder == holder && held.until.as_millisecond() > now))
}

fn renew_leases(c: &Connection, holder: &str, leases: &[(String, u64)], ttl: Duration) -> rusqlite::Result<Vec<bool>> {
    let (now, until) = (now(), until(ttl));
    let renew = |(name, token): &(String, u64)| {
        let changed = change(
            c,
            "UPDATE leases SET until = ?4 WHERE name = ?1 AND holder = ?2 AND token = ?3 AND until > ?5",
            params![name, holder, token, until, now],
        )?;
        Ok(changed > 0)
    };
    leases.iter().map(renew).collect()
}

fn orders(c: &Connection) -> rusqlite::Result<Orders> {
    let barred = one(c, "SELECT barred FROM memory", [], |row| row.get(0))?;
    Ok(Orders {
        running: rows(c, "SELECT id FROM scans WHERE state = 'running' ORDER BY id", [], |row| word(row.get(0)?))?,
        switches: rows(c, "SELECT switch FROM switches ORDER BY what", [], |row| json(row, 0))?,
        barred_version: barred.unwrap_or_default(),
    })
}

#[async_trait]
impl Fleet for EmbeddedStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::now())
    }

    async fn epoch(&self) -> Result<String, StoreError> {
        let epoch = self.reader.run(|c| one(c, "SELECT epoch FROM memory", [], |row| row.get(0))).await?;
        epoch.ok_or_else(|| StoreError::Lost("the data file does not say which memory it is".into()))
    }

    async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.writer.run(move |c| take_lease(c, &name, &holder, ttl)).await
    }

    async fn renew_leases(
        &self,
        holder: &str,
        leases: &[(String, u64)],
        ttl: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let (holder, leases) = (holder.to_owned(), leases.to_vec());
        self.writer.run(move |c| renew_leases(c, &holder, &leases, ttl)).await
    }

    async fn release_lease(&self, name: &str, holder: &str, token: u64) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        // The row stays, for its token.
        let release = "UPDATE leases SET until = 0 WHERE name = ?1 AND holder = ?2 AND token = ?3";
        self.writer.run(move |c| change(c, release, params![name, holder, token]).map(drop)).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let prefix = prefix.to_owned();
        let sql = format!("{LEASE} WHERE substr(name, 1, length(?1)) = ?1 AND until > ?2 ORDER BY name");
        self.reader.run(move |c| rows(c, &sql, params![prefix, now()], lease)).await
    }

    async fn report(&self, report: &WorkerReport, ttl: Duration) -> Result<(), StoreError> {
        let report = report.clone();
        let keep = move |c: &Connection| {
            change(c, "DELETE FROM reports WHERE until <= ?1", [now()])?;
            change(
                c,
                "INSERT OR REPLACE INTO reports VALUES (?1, ?2, ?3)",
                params![report.worker, encode(&report)?, until(ttl)],
            )
            .map(drop)
        };
        self.writer.run(keep).await
    }

    async fn retire(&self, worker: &str) -> Result<(), StoreError> {
        let worker = worker.to_owned();
        self.writer.run(move |c| change(c, "DELETE FROM reports WHERE worker = ?1", [worker]).map(drop)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, StoreError> {
        let alive = "SELECT report FROM reports WHERE until > ?1 ORDER BY worker";
        self.reader.run(move |c| rows(c, alive, [now()], |row| json(row, 0))).await
    }

    async fn switch_off(&self, switch: &KillSwitch) -> Result<(), StoreError> {
        let switch = switch.clone();
        let keep = "INSERT INTO switches VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.writer.run(move |c| change(c, keep, params![switch.what, encode(&switch)?]).map(drop)).await
    }

    async fn switch_on(&self, what: &str) -> Result<bool, StoreError> {
        let what = what.to_owned();
        self.writer.run(move |c| Ok(change(c, "DELETE FROM switches WHERE what = ?1", [what])? > 0)).await
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        self.reader.run(orders).await
    }
}
