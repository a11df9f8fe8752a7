//! The log files of a cell's account and region, in the bucket that was named for them.

use super::{
    archive::{Folder, LogFiles, Trouble},
    log_file,
};
use crate::{
    archive::{Archive, LogKey, Question, before_minute, day_folder, params},
    call::{Budget, Call, CallError},
    extract::{Extraction, Halt},
    gate::{ArchiveGate, is_organisation},
    session::SessionError,
};
use fleetscan_proto::activity::Activity;
use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Pages of one list: a day of a region has some hundreds of log files, seldom thousands.
const MOST_PAGES: usize = 100;
/// Tries again of calls that failed in passing, and throttled answers, in one execution.
const RETRIES: u32 = 20;
const THROTTLES: u32 = 200;
/// Files that are not answered, after which no more are asked for.
const FAILURES: u32 = 8;

/// A bucket of log files.
pub(super) struct Bucket<'a, 'e> {
    cell: &'a Extraction<'e>,
    archive: &'a Archive,
    gate: ArchiveGate,
    /// Of its own: what S3 cannot answer costs the cell's other calls nothing.
    budget: Budget,
    failures: AtomicU32,
}

/// What a list said.
#[derive(Default)]
struct Listed {
    keys: Vec<String>,
    folders: Vec<String>,
    /// It has more.
    more: bool,
}

impl<'a, 'e> Bucket<'a, 'e> {
    pub(super) fn new(cell: &'a Extraction<'e>, archive: &'a Archive, gate: ArchiveGate) -> Self {
        let budget = Budget::new(RETRIES, THROTTLES, true, cell.budget.guard().clone());
        Self { cell, archive, gate, budget, failures: AtomicU32::new(0) }
    }

    /// `s3://bucket/prefix`.
    pub(super) fn name(&self) -> String {
        format!("s3://{}", self.gate.bucket())
    }

    fn question<'q>(&'q self, params: &'q Map<String, Value>) -> Question<'q> {
        let call = Call {
            account: self.cell.account,
            service: "s3",
            operation: "",
            region: self.cell.region,
            params,
            paged: params.contains_key("ContinuationToken"),
            budget: &self.budget,
        };
        Question { gate: &self.gate, call }
    }

    async fn pages(&self, asked: &[(&str, &str)], most: usize) -> Result<Result<Listed, Trouble>, Halt> {
        let mut params = params(asked);
        params.insert("Bucket".into(), self.gate.bucket().bucket().into());
        let mut listed = Listed::default();
        for _ in 0..most {
            let answer = match self.question(&params).list(self.cell.caller).await {
                Ok(answer) => answer,
                Err(error) => return trouble(error, "s3:ListBucket").map(Err),
            };
            let names = |list: &str, name: &str| -> Vec<String> {
                let items = answer.get(list).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(|item| Some(item.get(name)?.as_str()?.to_owned())).collect()
            };
            listed.keys.extend(names("Contents", "Key"));
            listed.folders.extend(names("CommonPrefixes", "Prefix"));
            match answer.get("NextContinuationToken").and_then(Value::as_str) {
                None => return Ok(Ok(listed)),
                Some(token) => params.insert("ContinuationToken".into(), token.into()),
            };
        }
        listed.more = true;
        Ok(Ok(listed))
    }

    /// The folder, if there is a log file in it, or whatever else lies where they do.
    async fn folder(&self, prefix: String) -> Result<Result<Option<Folder>, Trouble>, Halt> {
        // A list is sorted: the first year, then its first month and day, as far as they are folders.
        let mut at = prefix.clone();
        for _ in 0..3 {
            let listed = match self.pages(&[("Prefix", &at), ("Delimiter", "/")], 1).await? {
                Ok(listed) => listed,
                Err(trouble) => return Ok(Err(trouble)),
            };
            match listed
                .folders
                .into_iter()
                .find(|folder| self.gate.admit("ListObjectsV2", self.gate.bucket().bucket(), folder).is_ok())
            {
                Some(first) => at = first,
                None => return Ok(Ok(None)),
            }
        }
        Ok(Ok(day_of(&prefix, &at).map(|since| Folder { prefix, since })))
    }
}

impl Drop for Bucket<'_, '_> {
    /// What was called counts as the cell's.
    fn drop(&mut self) {
        self.cell.budget.calls.fetch_add(self.budget.calls.load(Relaxed), Relaxed);
        self.cell.budget.throttled.fetch_add(self.budget.throttled.load(Relaxed), Relaxed);
    }
}

impl LogFiles for Bucket<'_, '_> {
    async fn folders(&self) -> Result<Result<Vec<Folder>, Trouble>, Halt> {
        let organisations = self.gate.organisations();
        let listed = match self.pages(&[("Prefix", &organisations), ("Delimiter", "/")], 1).await? {
            Ok(listed) => listed,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let ids = listed.folders.iter().filter_map(|folder| folder.trim_end_matches('/').rsplit('/').next());
        let own = std::iter::once(None);
        let mut found = Vec::new();
        for organisation in own.chain(ids.filter(|id| is_organisation(id)).map(Some)) {
            match self.folder(self.gate.folder(organisation)).await? {
                Ok(folder) => found.extend(folder),
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
        Ok(Ok(found))
    }

    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Vec<LogKey>, Trouble>, Halt> {
        let (account, region) = (self.gate.account(), self.gate.region());
        let after = before_minute(&folder.prefix, account, region, from);
        let day = day_folder(&folder.prefix, from);
        let listed = self.pages(&[("Prefix", &day), ("StartAfter", &after)], MOST_PAGES).await?;
        let parse = |key: &String| LogKey::parse(&folder.prefix, account, region, key);
        Ok(listed.and_then(|listed| match listed.more {
            // The newest would be lacking, and nobody would know.
            true => Err(Trouble::All(format!("more than {MOST_PAGES},000 log files in {day}"))),
            false => Ok(listed.keys.iter().filter_map(parse).collect()),
        }))
    }

    async fn read(&self, file: &LogKey) -> Result<Result<Activity, Trouble>, Halt> {
        let _in_memory = self.archive.objects().acquire().await;
        let mut params = params(&[("Key", &file.key)]);
        params.insert("Bucket".into(), self.gate.bucket().bucket().into());
        let packed = match self.question(&params).get(self.cell.caller).await {
            Ok(packed) => packed,
            Err(CallError::Absent) => return Ok(Err(Trouble::File("it is gone".to_owned()))),
            // One file may be too large, or not be answered, and the next one not.
            Err(CallError::Failed(why)) if self.failures.fetch_add(1, Relaxed) < FAILURES => {
                return Ok(Err(Trouble::File(why)));
            }
            Err(error) => return trouble(error, "s3:GetObject").map(Err),
        };
        let read = tokio::task::spawn_blocking(move || log_file::read(&packed)).await;
        Ok(read.unwrap_or_else(|_| Err("it could not be read".to_owned())).map_err(Trouble::File))
    }
}

/// A second of the day that a folder is of: `<prefix>2026/01/02/`.
fn day_of(prefix: &str, folder: &str) -> Option<i64> {
    let day = Date::strptime("%Y/%m/%d/", folder.strip_prefix(prefix)?).ok()?;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// What an error means: no halt of the cell, which goes on without the archive, but where its work is to stop at all.
fn trouble(error: CallError, action: &str) -> Result<Trouble, Halt> {
    let why = match error {
        CallError::Stopped => return Err(Halt::Yield),
        CallError::Denied(_) if action == "s3:GetObject" => {
            "s3:GetObject is denied; files that a KMS key encrypts are, for kms:Decrypt is never asked for".to_owned()
        }
        CallError::Denied(_) => format!("{action} is denied"),
        CallError::Session(SessionError::Denied { .. }) => "AssumeRole for it is denied".to_owned(),
        CallError::Session(error) => error.to_string(),
        CallError::Defer(_) | CallError::ThrottledOut => "S3 throttles".to_owned(),
        CallError::RegionDisabled => "S3 does not take the session there".to_owned(),
        CallError::BadToken => "a page token that S3 had just given was refused".to_owned(),
        CallError::Absent => "it is gone".to_owned(),
        CallError::Failed(code) if code == "NoSuchBucket" => "there is no such bucket".to_owned(),
        CallError::Failed(why) => format!("{action}: {why}"),
    };
    Ok(Trouble::All(why))
}
