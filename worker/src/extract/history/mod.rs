//! The walk of an operation that tells what was done: what no scan read before of the days that AWS tells of, newest
//! first; and its records, one a principal, of all that is known.
//!
//! What was read is remembered in the store as it is read, in whatever order executions and workers come: it is a union
//! of spans and a maximum of times. The records are made of what the store then knows, so that they hold what earlier
//! scans read as well; if the execution ends before they count, the next one makes them again.

mod archive;
mod bucket;
mod event;
mod log_file;
mod reading;
mod trail;

use super::{Extraction, Halt, Page, Refusal, record::Draft, record::build};
use crate::{
    archive::Archive,
    gate::ArchiveGate,
    wire::{next_token, page_params},
};
use archive::Unread;
use async_trait::async_trait;
use bucket::Bucket;
use event::Event;
use fleetscan_proto::{
    Account, Record, ScanId, Secret, StoreError, TrailPlace,
    activity::{Activity, MAX_PRINCIPALS, Principal, Span},
    catalogue::{History, Operation},
};
use jiff::Timestamp;
use reading::{End, EventPage, Reading, Source, Terms};
use serde_json::{Value, json};
use std::{fmt::Write as _, time::Duration};

const DAY: i64 = 86_400;

/// Where what was read is remembered beyond the scan.
#[async_trait]
pub trait Memory: Send + Sync {
    /// What is known of the cell's account and region.
    async fn known(&self) -> Result<Activity, StoreError>;
    /// Adds to it, and forgets what is older than `oldest`; answers what is known now.
    async fn add(&self, news: &Activity, oldest: Timestamp) -> Result<Activity, StoreError>;
}

/// How long a cell may read of what was done, and where what it read is remembered.
#[derive(Clone, Copy)]
pub struct Recollection<'a> {
    /// In all executions of one scan; zero: not at all.
    pub limit: Duration,
    /// That log files are read, where there is a bucket of them; `None`: they are not.
    pub archive: Option<&'a Archive>,
    /// Whose time it is.
    pub scan: &'a ScanId,
    /// Where it is remembered.
    pub memory: &'a dyn Memory,
}

/// An operation of the cell's as a source of events.
struct Lookup<'a, 'e> {
    cell: &'a Extraction<'e>,
    operation: &'a Operation,
    history: &'a History,
    oldest: Timestamp,
    own_role: &'a Secret,
}

impl Source for Lookup<'_, '_> {
    async fn page(&self, span: Span, token: Option<&str>) -> Result<Result<EventPage, Refusal>, Halt> {
        let Self { cell, operation, history, .. } = self;
        let mut params = operation.input.clone();
        params.insert(history.span.0.clone(), Value::from(span.from));
        params.insert(history.span.1.clone(), Value::from(span.to));
        let params = page_params(operation, params, token);
        let page = Page { token: token.is_some(), resumed: false, foreign: false };
        let mut answer = match cell.ask(operation, cell.region, &params, page).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let next = next_token(operation.paging.as_ref(), &answer);
        let items = operation.emits[0].items.take_items(&mut answer);
        let event = |item: Value| {
            let at = history.time.get(&item).and_then(second)?;
            let document = history.document.get(&item).and_then(Value::as_str).unwrap_or_default();
            Some((at, Event::parse(document)))
        };
        Ok(Ok(EventPage { events: items.into_iter().filter_map(event).collect(), next }))
    }

    async fn remember(&self, news: Activity) -> Result<Activity, Halt> {
        self.cell.recollection.memory.add(&news, self.oldest).await.map_err(Halt::Store)
    }

    fn now(&self) -> i64 {
        self.cell.caller.clock.now().as_second()
    }

    fn is_own(&self, principal: &str) -> bool {
        let own = self.own_role.expose();
        // Events that do not name the role itself name it without its path.
        let without_path =
            own.split_once(":role/").map(|(account, path)| (account, path.rsplit('/').next().unwrap_or(path)));
        principal == own || principal.split_once(":role/") == without_path
    }

    fn must_halt(&self) -> bool {
        self.cell.must_halt()
    }
}

impl Extraction<'_> {
    pub(super) async fn history(&self, operation: &Operation, history: &History) -> Result<(), Halt> {
        if self.state().walk_finished(&operation.name) {
            return Ok(());
        }
        let Recollection { limit, archive, scan, memory } = self.recollection;
        let now = self.caller.clock.now().as_second();
        let window = Span::new(now - i64::from(history.days) * DAY, now);
        let terms = Terms { scan, limit, window, late: i64::from(history.late_minutes) * 60 };
        let account = self.caller.sessions.account(&self.cell.account).await.map_err(Halt::Session)?;
        let mut reading = Reading::new(terms, memory.known().await.map_err(Halt::Store)?);
        let oldest = Timestamp::from_second(window.from).unwrap_or(Timestamp::MIN);
        let lookup = Lookup { cell: self, operation, history, oldest, own_role: &account.grant.role_arn };
        let archive = archive.filter(|_| !limit.is_zero());
        let withheld = archive.and_then(|archive| self.withheld(archive, &account));
        let bucket = archive.filter(|_| withheld.is_none()).and_then(|archive| self.bucket(archive, &account));
        let mut from_files = Unread::default();
        let mut looked_up = End::Late;
        if let Some(bucket) = &bucket {
            looked_up = reading.newest(&lookup).await?;
            // Who may not be told what was done is not told from elsewhere either.
            if looked_up != End::Denied {
                from_files = reading.archive(bucket, &lookup).await?;
            }
        }
        let (end, known) = match looked_up {
            End::Whole | End::Late => reading.run(&lookup).await?,
            End::Refused | End::Denied => reading.stop(&lookup, looked_up).await?,
        };
        // What was allowed once is not told where it is allowed no longer.
        if end == End::Denied {
            self.state().page_done(&operation.name, None);
            return Ok(());
        }
        let mut lacking = Vec::new();
        if end != End::Whole {
            lacking.push(unread(&reading.lacking(), end, limit));
        }
        if let Some(at) = known.left_out {
            lacking.push(format!(
                "more than {MAX_PRINCIPALS} principals: those that did nothing after {} are left out",
                time(at)
            ));
        }
        if !lacking.is_empty() {
            self.state().left_unread(&operation.name, &lacking.join(", and "));
        }
        if let Some(why) = bucket.and_then(|bucket| of_archive(&bucket.name(), from_files, end == End::Whole)) {
            self.state().failed("archive", &why);
        }
        // Where nothing is lacking, there was nothing to be read from them.
        if let Some(why) = withheld.filter(|_| end != End::Whole) {
            self.state().failed("archive", &why);
        }
        self.emit(operation, known).await
    }

    /// Why log files are not read, though somebody named a bucket of them.
    fn withheld(&self, archive: &Archive, account: &Account) -> Option<String> {
        if let Some(TrailPlace::Unknown(_)) = account.cloudtrail_bucket {
            return Some("the bucket that was named for the account is none that is read: name it anew".to_owned());
        }
        // Their sessions would be as wide as the role.
        let is_wide = self.budget.guard().reads.as_ref().is_some_and(|reads| reads.session_policy().is_none());
        let bucket = archive.bucket_of(account).filter(|_| is_wide)?;
        Some(format!("s3://{bucket}: not read, for the account's sessions cannot be narrowed to its log files"))
    }

    /// The account's log files, if somebody named a bucket of them, and nobody switched this reading off.
    fn bucket<'a>(&'a self, archive: &'a Archive, account: &Account) -> Option<Bucket<'a, 'a>> {
        let bucket = archive.bucket_of(account)?;
        let is_off = self.caller.switches.reason("cloudtrail", "LookupEvents").is_some();
        (!is_off).then(|| Bucket::new(self, archive, ArchiveGate::new(bucket, account.id.clone(), self.region)))
    }

    /// Writes the records of all that is known, and marks the walk as done, as one step.
    async fn emit(&self, operation: &Operation, known: Activity) -> Result<(), Halt> {
        let mut records: Vec<Record> = Vec::with_capacity(known.principals.len());
        for (id, principal) in known.principals {
            let item = properties(&id, principal);
            let now = self.caller.clock.now();
            match build(&operation.emits[0], item, Draft::default(), self.cell, now, &|name| self.variable(name)) {
                Ok(record) => records.push(record),
                Err(why) => self.state().failed(&operation.name, &why),
            }
        }
        let mut writer = self.writer.lock().await;
        for record in &records {
            writer.write(record).await.map_err(Halt::Sink)?;
        }
        self.state().page_done(&operation.name, None);
        Ok(())
    }
}

/// What was not read, for the ledger.
fn unread(gaps: &[Span], end: End, limit: Duration) -> String {
    let Some(newest) = gaps.first() else { return "not read to the end".to_owned() };
    let mut text = format!("not read from {} to {}", time(newest.from), time(newest.to));
    if let [_, .., oldest] = gaps {
        let _ = write!(text, ", nor in {} older gaps since {}", gaps.len() - 1, time(oldest.from));
    }
    if end == End::Late {
        let seconds = limit.as_secs();
        let _ = write!(text, ": the {seconds} s that a scan may take for it are over, and later scans go on");
    }
    text
}

/// What was not read of the archive, for the ledger. Of files, only where nothing else told what they would have.
fn of_archive(bucket: &str, unread: Unread, whole: bool) -> Option<String> {
    let Unread { left, files, newest, unproven } = unread;
    let files = newest.filter(|_| !whole).map(|(name, why)| match files {
        1 => format!("the log file {name} was not read: {why}"),
        _ => format!("{files} log files were not read, {name} the newest: {why}"),
    });
    let unproven = (unproven && !whole).then(|| {
        "it is not known that all management events are in its files: what they tell counts, and the rest is looked up"
            .to_owned()
    });
    let parts: Vec<String> = left.into_iter().chain(files).chain(unproven).collect();
    (!parts.is_empty()).then(|| format!("{bucket}: {}", parts.join(", and ")))
}

/// A principal's record.
fn properties(id: &str, principal: Principal) -> Value {
    let mut item = json!({
        "Principal": id,
        "PrincipalType": principal.kind,
        "LastActivity": time(principal.last.at),
        "LastEventName": principal.last.event,
        "LastEventSource": principal.last.source,
    });
    if id.starts_with("arn:") {
        item["Arn"] = Value::from(id);
        item["Name"] = Value::from(id.rsplit(['/', ':']).next().unwrap_or_default());
    }
    if !principal.keys.is_empty() {
        let keys = principal.keys.into_iter();
        item["AccessKeys"] = keys.map(|(key, at)| json!({ "AccessKeyId": key, "LastActivity": time(at) })).collect();
    }
    item
}

/// The second of a JSON protocol's time.
fn second(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::activity::Deed;

    #[test]
    fn what_was_not_read_is_said_with_its_bounds() {
        let gaps = [Span::new(60, 119), Span::new(30, 40), Span::new(0, 9)];
        assert_eq!(
            unread(&gaps, End::Late, Duration::from_secs(300)),
            "not read from 1970-01-01T00:01:00Z to 1970-01-01T00:01:59Z, nor in 2 older gaps since \
             1970-01-01T00:00:00Z: the 300 s that a scan may take for it are over, and later scans go on"
        );
        assert_eq!(
            unread(&gaps[2..], End::Refused, Duration::from_secs(300)),
            "not read from 1970-01-01T00:00:00Z to 1970-01-01T00:00:09Z"
        );
    }

    #[test]
    fn a_record_has_an_arn_only_where_its_principal_has_one() {
        let last = Deed { at: 61, event: "RunInstances".into(), source: "ec2.amazonaws.com".into() };
        let principal = |keys: &[&str]| Principal {
            kind: "IAMUser".into(),
            last: last.clone(),
            keys: keys.iter().map(|key| ((*key).to_owned(), 60)).collect(),
        };
        let user = properties("arn:aws:iam::111122223333:user/team/ann", principal(&["AKIA1"]));
        assert_eq!((user["Name"].as_str(), user["LastActivity"].as_str()), (Some("ann"), Some("1970-01-01T00:01:01Z")));
        assert_eq!(user["AccessKeys"], json!([{ "AccessKeyId": "AKIA1", "LastActivity": "1970-01-01T00:01:00Z" }]));
        let service = properties("ec2.amazonaws.com", principal(&[]));
        assert!(service.get("Arn").is_none() && service.get("AccessKeys").is_none());
    }
}
