//! The log files of a cell's account and region, in the bucket that was named for them.

use super::{
    archive::{Folder, Folders, Listing, LogFiles, Trouble},
    log_file::{self, Label},
    trail::Trail,
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
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// Pages of one list: a day of a region has some hundreds of log files, seldom thousands.
const MOST_PAGES: usize = 100;
/// Tries again of calls that failed in passing, and throttled answers, in one execution.
const RETRIES: u32 = 20;
const THROTTLES: u32 = 200;
/// Files that are not answered, after which no more are asked for.
const FAILURES: u32 = 8;
/// Organisations whose folders are looked into: an account is in one, and was perhaps in others.
const MOST_ORGANISATIONS: usize = 8;
/// Trails that are asked whether they record everything; a region has five at most, and an organisation's.
const MOST_TRAILS: usize = 8;

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
            if self.cell.must_halt() {
                return Err(Halt::Yield);
            }
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
                None if answer.get("IsTruncated").and_then(Value::as_bool) == Some(true) => {
                    return Ok(Err(Trouble::All("a list breaks off, and does not say where it goes on".to_owned())));
                }
                None => return Ok(Ok(listed)),
                Some(token) => params.insert("ContinuationToken".into(), token.into()),
            };
        }
        listed.more = true;
        Ok(Ok(listed))
    }

    /// An answer of CloudTrail's about trails; `None` if there is none, whyever.
    async fn ask(&self, operation: &str, params: Map<String, Value>) -> Result<Option<Value>, Halt> {
        if self.cell.must_halt() {
            return Err(Halt::Yield);
        }
        let Extraction { account, region, caller, .. } = self.cell;
        let budget = &self.budget;
        let call = Call { account, service: "cloudtrail", operation, region, params: &params, paged: false, budget };
        match caller.call(call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Stopped) => Err(Halt::Yield),
            Err(_) => Ok(None),
        }
    }

    /// Since when everything that is done is in the account's own folder, and in an organisation's, as far as is known.
    async fn proven(&self) -> Result<[Option<i64>; 2], Halt> {
        let shadows = Map::from_iter([("includeShadowTrails".to_owned(), Value::Bool(true))]);
        let Some(answer) = self.ask("DescribeTrails", shadows).await? else { return Ok([None; 2]) };
        let trails = Trail::delivering(&answer, self.gate.bucket(), self.gate.region());
        if trails.len() > MOST_TRAILS {
            return Ok([None; 2]);
        }
        let mut proven = [None; 2];
        for (organisation, proven) in [false, true].into_iter().zip(&mut proven) {
            let mut since = Vec::new();
            for trail in trails.iter().filter(|trail| trail.organisation == organisation) {
                let status = self.ask("GetTrailStatus", params(&[("Name", &trail.arn)])).await?;
                let selectors = self.ask("GetEventSelectors", params(&[("TrailName", &trail.arn)])).await?;
                since.push(
                    status.zip(selectors).and_then(|(status, selectors)| trail.records_all_since(&status, &selectors)),
                );
            }
            // Whose a file is, its name does not tell: of several trails, none may be one that records less.
            let all: Option<Vec<i64>> = since.into_iter().collect();
            *proven = all.and_then(|since| since.into_iter().max());
        }
        Ok(proven)
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
        Ok(Ok(day_of(&prefix, &at).map(|since| Folder { prefix, since, proven: None })))
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
    async fn folders(&self) -> Result<Result<Folders, Trouble>, Halt> {
        let organisations = self.gate.organisations();
        let listed = match self.pages(&[("Prefix", &organisations), ("Delimiter", "/")], 1).await? {
            Ok(listed) => listed,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let ids = listed.folders.iter().filter_map(|folder| folder.trim_end_matches('/').rsplit('/').next());
        let own = std::iter::once(None);
        let ids: Vec<&str> = ids.filter(|id| is_organisation(id)).collect();
        let mut found = Folders::default();
        if ids.len() > MOST_ORGANISATIONS || listed.more {
            let note =
                format!("it has folders of more organisations than the {MOST_ORGANISATIONS} that are looked into");
            found.note = Some(note);
        }
        let mut of_organisation = Vec::new();
        for organisation in own.chain(ids.into_iter().take(MOST_ORGANISATIONS).map(Some)) {
            match self.folder(self.gate.folder(organisation)).await? {
                Ok(Some(folder)) => {
                    of_organisation.push(organisation.is_some());
                    found.folders.push(folder);
                }
                Ok(None) => {}
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
        if found.folders.is_empty() {
            return Ok(Ok(found));
        }
        let [own, organisation] = self.proven().await?;
        // Which of several organisations is the trail's, it does not tell.
        let organisation = organisation.filter(|_| of_organisation.iter().filter(|is| **is).count() == 1);
        for (folder, is_organisation) in found.folders.iter_mut().zip(of_organisation) {
            folder.proven = if is_organisation { organisation } else { own };
        }
        Ok(Ok(found))
    }

    async fn list(&self, folder: &Folder, from: i64) -> Result<Result<Listing, Trouble>, Halt> {
        let (account, region) = (self.gate.account(), self.gate.region());
        let after = before_minute(&folder.prefix, account, region, from);
        let day = day_folder(&folder.prefix, from);
        let listed = self.pages(&[("Prefix", &day), ("StartAfter", &after)], MOST_PAGES).await?;
        let parse = |key: &String| LogKey::parse(&folder.prefix, account, region, key);
        Ok(listed.and_then(|listed| match listed.more {
            // The newest would be lacking, and nobody would know.
            true => Err(Trouble::All(format!("more than {MOST_PAGES},000 log files in {day}"))),
            false => {
                let strange = |key: &&String| LogKey::is_like(account, region, key) && parse(key).is_none();
                Ok(Listing {
                    files: listed.keys.iter().filter_map(parse).collect(),
                    strange: listed.keys.iter().filter(strange).map(|key| shown(key)).collect(),
                })
            }
        }))
    }

    async fn read(&self, file: &LogKey) -> Result<Result<Activity, Trouble>, Halt> {
        let in_memory = Arc::clone(self.archive.objects()).acquire_owned().await;
        let mut params = params(&[("Key", &file.key)]);
        params.insert("Bucket".into(), self.gate.bucket().bucket().into());
        let packed = match self.question(&params).get(self.cell.caller).await {
            Ok(Some(packed)) => packed,
            Ok(None) => {
                let why = "it is archived, and nothing is restored; no more of its folder is read".to_owned();
                return Ok(Err(Trouble::Folder(why)));
            }
            Err(CallError::Absent) => return Ok(Err(Trouble::File("it is gone".to_owned()))),
            // One file may be too large, or not be answered, and the next one not.
            Err(CallError::Failed(why)) if self.failures.fetch_add(1, Relaxed) < FAILURES => {
                return Ok(Err(Trouble::File(why)));
            }
            Err(error) => return trouble(error, "s3:GetObject").map(Err),
        };
        let label = Label {
            account: self.gate.account().to_string(),
            region: self.gate.region().to_owned(),
            until: file.stamp + 59,
        };
        let unpacking = Arc::clone(self.archive.unpacking()).acquire_owned().await;
        // What is no longer waited for goes on all the same, and so holds what it takes.
        let read = tokio::task::spawn_blocking(move || {
            let _held = (in_memory, unpacking);
            log_file::read(&packed, &label)
        });
        let read = read.await;
        Ok(read.unwrap_or_else(|_| Err("it could not be read".to_owned())).map_err(Trouble::File))
    }
}

/// A key's name, for people: whoever may write there chose it.
fn shown(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.chars().take(128).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
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
