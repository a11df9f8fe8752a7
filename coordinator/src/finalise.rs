//! The end of a scan: checks every part that the ledger lists, removes what it does not, writes ledger and manifest.
//!
//! Killed anywhere in it, the next run does all of it again: until `end_scan`, nothing says that the scan is over.

use crate::{
    ScanError,
    dispatch::PAGE,
    error::insist,
    history,
    ledger_file::{FORMAT, LedgerWriter},
    parts::{self, PartTrouble},
    scan::Run,
    standing,
};
use fleetscan_proto::{
    AccountId, AccountState, Count, Denial, Event, LedgerLine, Manifest, Outcome, PartName, ResultPaths, ScanEnding,
    ScanState, Sink,
};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Parts that are read at once.
pub(crate) const READERS: usize = 4;

/// What is gathered of one account while the ledger passes by.
#[derive(Default)]
struct AccountTally {
    account: Option<AccountId>,
    listed: BTreeSet<String>,
    denied: BTreeSet<Denial>,
}

#[derive(Default)]
struct Tally {
    records: Count,
    damaged: u64,
    first: String,
}

impl Run<'_> {
    /// Writes the results down and ends the scan. Older results are pruned last; failing that is no failure.
    pub(crate) async fn finalise(&mut self) -> Result<Manifest, ScanError> {
        let paths = ResultPaths(&self.spec.id);
        let tally = self.write_ledger(&paths).await?;
        if tally.damaged > 0 {
            return Err(ScanError::Damaged { count: tally.damaged, first: tally.first });
        }
        let (sink, store) = (&self.parts.sink, &self.parts.store);
        sink.sweep(&paths.root()).await?;
        let counts = insist!(self.options, store.counts(&self.spec.id))?;
        let cells = counts.outcomes.clone();
        let manifest = self.manifest(counts, tally.records);
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
        Ok(manifest)
    }

    async fn write_ledger(&self, paths: &ResultPaths<'_>) -> Result<Tally, ScanError> {
        let mut file = LedgerWriter::create(self.parts.sink.as_ref(), &paths.ledger()).await?;
        let (mut tally, mut account) = (Tally::default(), AccountTally::default());
        let mut after = None;
        loop {
            let page = insist!(self.options, self.parts.store.ledger(&self.spec.id, after.as_ref(), PAGE))?;
            let last_page = page.len() < PAGE;
            after = page.last().map(|line| line.cell.clone());
            self.check_parts(paths, &page, &mut tally).await?;
            for line in &page {
                if account.account.as_ref() != Some(&line.cell.account) {
                    self.end_account(paths, std::mem::take(&mut account)).await?;
                    account.account = Some(line.cell.account.clone());
                }
                standing::gather(&mut account.denied, line);
                account.listed.extend(line.parts.iter().map(|part| paths.part(&line.cell, &part.name)));
                file.write(line).await?;
            }
            if last_page {
                break;
            }
        }
        self.end_account(paths, account).await?;
        file.commit().await?;
        Ok(tally)
    }

    /// Reads the page's parts once: each must be what its ledger line says. Counts records by type on the way.
    async fn check_parts(
        &self,
        paths: &ResultPaths<'_>,
        page: &[LedgerLine],
        tally: &mut Tally,
    ) -> Result<(), ScanError> {
        let mut parts = Vec::new();
        for line in page {
            parts.extend(line.parts.iter().map(|part| (paths.part(&line.cell, &part.name), part.clone())));
        }
        let mut readings = stream::iter(parts)
            .map(|(path, part)| {
                let sink = Arc::clone(&self.parts.sink);
                async move { (count_part(sink.as_ref(), &path, part).await, path) }
            })
            .buffer_unordered(READERS);
        while let Some((reading, path)) = readings.next().await {
            match reading {
                Ok(counts) => {
                    for (kind, count) in counts {
                        *tally.records.entry(kind).or_default() += count;
                    }
                }
                // Nothing is known of the part: the scan is not ended on that, and goes on when the results answer.
                Err(PartTrouble::Unread(error)) => return Err(error.into()),
                Err(PartTrouble::Damaged(problem)) => {
                    let problem = format!("{path}: {problem}");
                    tracing::error!(scan = %self.spec.id, error = problem, "part.damaged: missing, or not what the ledger says");
                    tally.damaged += 1;
                    if tally.first.is_empty() {
                        tally.first = problem;
                    }
                }
            }
        }
        Ok(())
    }

    /// The ledger has passed an account: files that it did not list go, and the account's standing is noted.
    async fn end_account(&self, paths: &ResultPaths<'_>, passed: AccountTally) -> Result<(), ScanError> {
        let Some(account) = passed.account else { return Ok(()) };
        let sink = &self.parts.sink;
        let mut stray = sink.list(&paths.account(&account)).await?;
        stray.retain(|path| !passed.listed.contains(path));
        sink.remove_all(&stray).await?;
        let store = &self.parts.store;
        let Some(status) = insist!(self.options, store.account_status(&account))? else { return Ok(()) };
        let asked = |action: &str| {
            let services = self.spec.services.iter().filter_map(|id| self.parts.catalogue.service(id));
            services.flat_map(|service| &service.operations).any(|operation| operation.action == action)
        };
        let let_in_since_start = status.last_success.is_some_and(|at| at >= self.spec.started_at);
        if let_in_since_start
            && let Some(changed) = standing::after_scan(&status, passed.denied, &asked, self.parts.clock.now())
        {
            if changed.state == AccountState::Degraded && status.state != AccountState::Degraded {
                tracing::warn!(scan = %self.spec.id, %account, denied = changed.denied.len(), "account.degraded: some actions are denied");
            }
            insist!(self.options, store.set_account_status(&changed))?;
        }
        Ok(())
    }

    fn manifest(&self, counts: fleetscan_proto::ScanCounts, records: Count) -> Manifest {
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
