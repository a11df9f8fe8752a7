//! The end of a scan: reads back every part that the ledger lists, removes what it does not, writes ledger and manifest.
//!
//! Killed anywhere in it, the next run does all of it again: until `end_scan`, nothing says that the scan is over.

use crate::{
    Longest, ScanError,
    dispatch::PAGE,
    error::insist,
    history,
    ledger_file::{FORMAT, LedgerWriter},
    parts::{self, PartTrouble},
    readback::Readback,
    recovery::Recovery,
    scan::Run,
    standing,
};
use fleetscan_proto::{
    AccountId, AccountState, Count, Denial, Event, Manifest, Outcome, PartName, ResultPaths, ScanEnding, ScanState,
    Sink, SinkError,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Parts that are read at once.
pub(crate) const READERS: usize = 4;

/// What is gathered of one account while the ledger passes by.
#[derive(Default)]
struct AccountTally {
    account: Option<AccountId>,
    listed: BTreeSet<String>,
    denied: BTreeSet<Denial>,
}

impl Run<'_> {
    /// Writes the results down and ends the scan; `None` where some of it is to be read anew first. Older results are
    /// pruned last; failing that is no failure.
    pub(crate) async fn finalise(&mut self) -> Result<Option<Manifest>, ScanError> {
        let paths = ResultPaths(&self.spec.id);
        let Some((records, mut untidied)) = self.write_ledger(&paths).await? else {
            // Nothing is pending but what was opened again, and no queue has that.
            self.recovery = Some(Recovery::of_reopened_cells());
            return Ok(None);
        };
        let (sink, store) = (&self.parts.sink, &self.parts.store);
        self.insist_on_the_lead().await?;
        self.tidied(sink.sweep(&paths.root()).await, &mut untidied)?;
        let counts = insist!(self.options, store.counts(&self.spec.id))?;
        let cells = counts.outcomes.clone();
        let manifest = self.manifest(counts, records, untidied);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| ScanError::Internal(error.to_string()))?;
        let mut file = sink.create(&paths.manifest()).await?;
        file.write(text).await?;
        file.commit().await?;
        let ended = if self.cancelling.is_some() { ScanState::Cancelled } else { ScanState::Finished };
        // Told before the scan counts as over, when its results are whole: after, nobody would come to tell it.
        let event = Event::of_scan(&ScanEnding {
            scan: &self.spec.id,
            state: ended,
            complete: manifest.complete,
            started_at: manifest.started_at,
            finished_at: manifest.finished_at,
            accounts: manifest.accounts,
            cells: &cells,
            records: manifest.records.values().sum(),
            out: &self.spec.out,
        });
        insist!(self.options, self.parts.events.append_event(&event, None))?;
        insist!(self.options, store.end_scan(&self.spec.id, ended, manifest.finished_at))?;
        let kept = history::prune(
            store.as_ref(),
            sink.as_ref(),
            &self.spec.out,
            self.options.keep_scans,
            manifest.finished_at,
        )
        .await;
        if let Err(error) = kept {
            tracing::warn!(scan = %self.spec.id, %error, "history.not_pruned: the next scan tries again");
        }
        Ok(Some(manifest))
    }

    /// Answers the records by type, and in how many folders files may be left; `None`, and no ledger was written, where
    /// cells are to be read anew.
    async fn write_ledger(&self, paths: &ResultPaths<'_>) -> Result<Option<(Count, u64)>, ScanError> {
        let mut file = LedgerWriter::create(self.parts.sink.as_ref(), &paths.ledger()).await?;
        let (mut readback, mut account) = (Readback::default(), AccountTally::default());
        let (mut after, mut untidied) = (None, 0);
        let mut longest = insist!(self.options, Longest::read(&self.parts.notes))?;
        loop {
            let mut page = insist!(self.options, self.parts.store.ledger(&self.spec.id, after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|line| line.cell.clone());
            self.read_back(paths, &mut page, &mut readback).await?;
            if readback.anew > 0 {
                // The rest is read back too: what else is to be read anew is read at the same time.
                if last_page {
                    return Ok(None);
                }
                continue;
            }
            for line in &page {
                if account.account.as_ref() != Some(&line.cell.account) {
                    self.end_account(paths, std::mem::take(&mut account), &mut untidied).await?;
                    account.account = Some(line.cell.account.clone());
                }
                standing::gather(&mut account.denied, line);
                longest.took(&line.cell, line.totals.seconds, self.parts.clock.now());
                account.listed.extend(line.parts.iter().map(|part| paths.part(&line.cell, &part.name)));
                file.write(line).await?;
            }
            if last_page {
                break;
            }
        }
        self.end_account(paths, account, &mut untidied).await?;
        file.commit().await?;
        insist!(self.options, longest.keep(&self.parts.notes, self.parts.clock.now()))?;
        Ok(Some((readback.records, untidied)))
    }

    /// Before files are removed: that no other coordinator leads, and may have ended the scan, whose files these then are.
    async fn insist_on_the_lead(&self) -> Result<(), ScanError> {
        let row = insist!(self.options, self.parts.store.scan(&self.spec.id))?;
        if !row.is_some_and(|row| row.state.is_under_way()) {
            return Err(ScanError::Refused("another process has ended the scan: its files are left alone".to_owned()));
        }
        let Some(link) = &self.parts.fleet else { return Ok(()) };
        let Some(lead) = &link.lead else { return Ok(()) };
        let leases = insist!(self.options, link.fleet.leases(&lead.name))?;
        match leases.iter().any(|lease| (&lease.name, lease.token) == (&lead.name, lead.token)) {
            true => Ok(()),
            false => Err(ScanError::Refused("this coordinator leads no more: another one ends the scan".to_owned())),
        }
    }

    /// What cannot be removed does not count, and must not keep the scan from its end.
    fn tidied<T: Default>(&self, done: Result<T, SinkError>, untidied: &mut u64) -> Result<T, SinkError> {
        match done {
            Err(SinkError::Refused(why)) => {
                *untidied += 1;
                tracing::warn!(scan = %self.spec.id, error = why, "results.not_tidied: files that no ledger line lists may be left");
                Ok(T::default())
            }
            done => done,
        }
    }

    /// The ledger has passed an account: files that it did not list go, and the account's standing is noted.
    async fn end_account(
        &self,
        paths: &ResultPaths<'_>,
        passed: AccountTally,
        untidied: &mut u64,
    ) -> Result<(), ScanError> {
        let Some(account) = passed.account else { return Ok(()) };
        let sink = &self.parts.sink;
        let mut stray = self.tidied(sink.list(&paths.account(&account)).await, untidied)?;
        stray.retain(|path| !passed.listed.contains(path));
        if !stray.is_empty() {
            self.insist_on_the_lead().await?;
            self.tidied(sink.remove_all(&stray).await, untidied)?;
        }
        let store = &self.parts.store;
        let asked = |action: &str| {
            let services = self.spec.services.iter().filter_map(|id| self.parts.catalogue.service(id));
            services.flat_map(|service| &service.operations).any(|operation| operation.action == action)
        };
        loop {
            let Some(status) = insist!(self.options, store.account_status(&account))? else { return Ok(()) };
            let let_in_since_start = status.last_success.is_some_and(|at| at >= self.spec.started_at);
            let denied = passed.denied.clone();
            let changed = standing::after_scan(&status, denied, &asked, self.parts.clock.now());
            let Some(changed) = changed.filter(|_| let_in_since_start) else { return Ok(()) };
            // Somebody else's change comes first, and is looked at again; there are few of them.
            if insist!(self.options, store.change_account_status(Some(&status), &changed))? {
                if changed.state == AccountState::Degraded && status.state != AccountState::Degraded {
                    tracing::warn!(scan = %self.spec.id, %account, denied = changed.denied.len(), "account.degraded: some actions are denied");
                }
                return Ok(());
            }
        }
    }

    fn manifest(&self, counts: fleetscan_proto::ScanCounts, records: Count, untidied: u64) -> Manifest {
        Manifest {
            format: FORMAT,
            scan: self.spec.id.clone(),
            fleetscan: env!("CARGO_PKG_VERSION").to_owned(),
            catalogue: self.spec.catalogue.clone(),
            profile: self.spec.profile.clone(),
            started_at: self.spec.started_at,
            finished_at: self.parts.clock.now(),
            complete: !counts.outcomes.iter().any(|(outcome, count)| outcome.is_hole() && *count > 0),
            accounts: self.spec.accounts,
            regions_from: counts.regions_from.iter().map(|(source, count)| (name(source), *count)).collect(),
            cells: Outcome::ALL
                .iter()
                .filter_map(|outcome| Some((outcome.to_string(), *counts.outcomes.get(outcome)?)))
                .collect(),
            records,
            totals: counts.totals,
            assume_role_calls: Some(counts.assume_role_calls),
            share: self.runner.request.share,
            untidied,
            thinned: None,
        }
    }
}

/// A word as it stands in JSON.
fn name(word: &impl Serialize) -> String {
    serde_json::to_value(word).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Records of a part by type; the part is checked on the way.
pub(crate) async fn count_part(sink: &dyn Sink, path: &str, part: PartName) -> Result<Count, PartTrouble> {
    let bytes = parts::fetch_part(sink, path).await?;
    // Unpacking and hashing are work for a thread of their own.
    let counted = tokio::task::spawn_blocking(move || count_types(&bytes, &part)).await;
    let damaged = |error: String| PartTrouble::Damaged(error);
    counted.map_err(|error| damaged(error.to_string()))?.map_err(|error| damaged(error.to_string()))
}

fn count_types(bytes: &[u8], part: &PartName) -> Result<Count, parts::PartError> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    let mut counts = Count::new();
    parts::read_part(bytes, part, &mut |line| {
        let typed: Typed =
            serde_json::from_str(line).map_err(|error| parts::PartError(format!("a line is not a record: {error}")))?;
        *counts.entry(typed.kind).or_default() += 1;
        Ok(())
    })?;
    Ok(counts)
}
