//! A cell's task: begin, read, make the part durable, record the outcome; in this order.

use super::{
    TaskError, Worker,
    isolation::{POISON, Ward},
    memory::CellMemory,
    persist,
    task::Done,
};
use crate::{
    account::Visit,
    call::Budget,
    extract::{CellEnd, Extraction, ExtractionParts, Halt, Recollection, outcome_of},
    guard::Guard,
    reads::Reads,
    session::SessionError,
    sink::{NoSink, RecordWriter, Written},
    stats::InFlight,
};
use fleetscan_proto::{
    AssumeDenial, Begin, Cell, CellProgress, Completion, LedgerLine, Outcome, PartName, ResultPaths, ScanId, Sink,
    SinkError, catalogue::Service,
};
use jiff::SignedDuration;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// How long the cells of an account wait between looks at whether its denial was decided.
const DENIAL_WAIT: Duration = Duration::from_secs(2);
/// How long a task waits that could not be done for a fault of ours.
const FAULT_WAIT: Duration = Duration::from_secs(15);
/// How often at most a session that is denied everything leads to a new AssumeRole.
const CONFIRM_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Rows asked of the store at once.
const PENDING_PAGE: usize = 512;

/// One execution of a cell.
struct Execution<'a> {
    scan: &'a ScanId,
    cell: &'a Cell,
    generation: u64,
    service: &'a Arc<Service>,
    visit: &'a Visit,
    sink: Arc<dyn Sink>,
    reads: Option<&'a Reads>,
    attempts: u32,
    /// As it stood when this execution began.
    before: CellProgress,
    began: Instant,
}

impl Worker {
    pub(super) async fn cell(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        suspect: bool,
        expected: Duration,
        guard: &Guard,
    ) -> Result<Done, TaskError> {
        let store = self.parts.store.as_ref();
        let now = self.parts.clock.now();
        let reads = guard.reads.as_deref();
        let catalogue = reads.map_or(&self.parts.catalogue, Reads::catalogue);
        let service =
            catalogue.service(&cell.service).filter(|_| reads.is_none_or(|reads| !reads.lacks(&cell.service)));
        let Some(service) = service else {
            // Before it is begun: it costs the cell no attempt.
            return self.leave_cell(scan, cell, generation).await;
        };
        let _ward = if suspect { self.ward(scan, cell).await? } else { Ward::Free };
        if guard.must_hand_in() {
            return Ok(Done::Release);
        }
        let begun = persist!(self, store.begin(scan, cell, generation, &self.config.name, now))?;
        let (mut progress, attempts, unfinished) = match begun {
            Begin::Done | Begin::Stale => return Ok(Done::Ack),
            Begin::Denied => return Ok(Done::Defer(generation, DENIAL_WAIT)),
            Begin::Go { progress, attempts, unfinished } => (*progress, attempts, unfinished),
        };
        progress.started_at.get_or_insert(now);
        if unfinished >= POISON {
            tracing::error!(unfinished, "cell.poison: its workers died of it again and again");
            self.poisoned(scan, cell, generation).await;
            return Ok(Done::Dead);
        }
        if self.config.dies_of.as_ref().is_some_and(|fatal| *fatal == cell.to_string()) {
            std::process::abort();
        }
        let sink = match self.parts.sinks.of(scan).await {
            Ok(sink) => sink,
            Err(NoSink::NoScan) => return Ok(Done::Ack),
            Err(error) => {
                tracing::error!(%error, "sink.not_opened");
                return Ok(Done::Defer(generation, FAULT_WAIT));
            }
        };
        let _in_flight = InFlight::of(&self.stats.cells_in_flight);
        let _told = self.caller.metrics.cell_in_flight();
        let visit = persist!(self, self.accounts.enter(store, &cell.account, guard.hold.begins_empty()))?;
        let execution = Execution {
            scan,
            cell,
            generation,
            service,
            visit: &visit,
            sink: Arc::clone(&sink),
            reads,
            attempts,
            before: progress.clone(),
            began: Instant::now(),
        };
        if progress.catalogue.is_none() {
            progress.catalogue = reads.and_then(Reads::foreign).map(str::to_owned);
        }
        let memory = CellMemory { worker: self, cell, guard };
        let part = format!("part-{:016x}-0000.jsonl.zst", rand::random::<u64>());
        let extraction = Extraction::new(ExtractionParts {
            caller: &self.caller,
            account: visit.context(),
            service,
            cell,
            progress,
            budget: Budget::new(self.config.retries, self.config.throttles, true, guard.clone()).of_long_task(expected),
            writer: RecordWriter::new(sink, ResultPaths(scan).cell(cell), part),
            recollection: Recollection {
                limit: self.config.history,
                archive: self.config.archive.as_ref(),
                scan,
                memory: &memory,
            },
            slice_ends: execution.began + self.config.slice,
            drain: self.draining.clone(),
        });
        let end = Box::pin(extraction.run()).await;
        self.conclude(execution, end).await
    }

    /// A cell that was handed out before: had it begun, or did it only lie beside one that killed its worker?
    async fn ward(&self, scan: &ScanId, cell: &Cell) -> Result<Ward<'_>, TaskError> {
        let store = self.parts.store.as_ref();
        let mut after = None;
        loop {
            let page = persist!(self, store.pending_cells(scan, Some(&cell.account), after.as_ref(), PENDING_PAGE))?;
            if let Some(found) = page.iter().find(|pending| pending.cell == *cell) {
                return Ok(self.isolation.admit(found.unfinished).await);
            }
            match page.last() {
                Some(last) if page.len() == PENDING_PAGE => after = Some(last.cell.clone()),
                _ => return Ok(Ward::Free),
            }
        }
    }

    /// What an execution's end calls for.
    async fn conclude(&self, execution: Execution<'_>, end: CellEnd) -> Result<Done, TaskError> {
        let CellEnd { halt, mut progress, writer } = end;
        progress.totals.seconds += execution.began.elapsed().as_secs_f64();
        let outcome = match halt {
            None => outcome_of(&progress),
            Some(Halt::ThrottledOut) => Outcome::ThrottledOut,
            Some(Halt::RegionDisabled) if progress.answered.is_empty() => Outcome::RegionDisabled,
            Some(Halt::RegionDisabled) => {
                progress.errors.insert("region".into(), "some operations say that the region is not enabled".into());
                outcome_of(&progress)
            }
            Some(Halt::Yield) => return self.hand_in(execution, progress, writer, Duration::ZERO).await,
            Some(Halt::Defer(wait)) => {
                self.stats.deferred.fetch_add(1, Relaxed);
                self.caller.metrics.deferred(&execution.service.id);
                return self.hand_in(execution, progress, writer, wait).await;
            }
            Some(Halt::Restart) => return self.start_over(execution, progress, Duration::ZERO).await,
            Some(Halt::Session(error)) => return self.no_session(execution, progress, writer, error).await,
            Some(Halt::Sink(error)) => return self.no_sink(execution, error).await,
            Some(Halt::Store(error)) => return Err(error.into()),
        };
        // Denied everything: is the role still ours? Cells that were denied because it is not must not say "denied".
        if outcome == Outcome::Denied
            && let Err(error) = self
                .caller
                .sessions
                .confirm(&execution.cell.account, execution.reads, execution.scan, CONFIRM_EVERY)
                .await
        {
            let before = execution.before.clone();
            return self.no_session(execution, before, writer, error).await;
        }
        self.complete(execution, progress, writer, outcome).await
    }

    async fn complete(
        &self,
        execution: Execution<'_>,
        mut progress: CellProgress,
        writer: RecordWriter,
        outcome: Outcome,
    ) -> Result<Done, TaskError> {
        let part = match writer.finish().await {
            Ok(part) => part,
            Err(error) => return self.no_sink(execution, error).await,
        };
        self.count(&execution.service.id, &mut progress, part.as_ref());
        let Execution { scan, cell, generation, service, visit, attempts, sink, .. } = execution;
        let line = LedgerLine {
            cell: cell.clone(),
            outcome,
            totals: progress.totals,
            denied: progress.denied,
            error: error_text(&progress.errors),
            started_at: progress.started_at,
            attempts,
            worker: self.config.name.clone(),
            parts: progress.parts,
            catalogue: progress.catalogue,
        };
        let (ended_as, worked) = (line.outcome, line.totals.seconds);
        let mut doubted = false;
        let completion = persist!(self, self.parts.store.complete(scan, generation, &line), doubted)?;
        if completion == Completion::First {
            self.caller.metrics.cell_ended(&service.id, ended_as, worked);
            if ended_as == Outcome::Failed {
                tracing::warn!(error = line.error.as_deref().unwrap_or_default(), attempts, "cell.failed");
            }
        }
        if completion != Completion::First
            && !doubted
            && let Some(part) = part
        {
            discard(sink.as_ref(), scan, cell, &part.part).await;
        }
        let learned = visit.retire(service, service.signing_region(&cell.region), self.parts.clock.now());
        if !learned.is_empty() {
            persist!(self, self.parts.store.keep_learned(&cell.account, &learned))?;
        }
        Ok(Done::Ack)
    }

    /// Makes what there is durable, keeps where the cell stands, and queues it again.
    async fn hand_in(
        &self,
        execution: Execution<'_>,
        mut progress: CellProgress,
        writer: RecordWriter,
        wait: Duration,
    ) -> Result<Done, TaskError> {
        let part = match writer.finish().await {
            Ok(part) => part,
            Err(error) => return self.no_sink(execution, error).await,
        };
        self.count(&execution.service.id, &mut progress, part.as_ref());
        let Execution { scan, cell, generation, sink, .. } = execution;
        let mut doubted = false;
        match persist!(self, self.parts.store.checkpoint(scan, cell, generation, &progress), doubted)? {
            Some(generation) => Ok(Done::Defer(generation, wait)),
            None => {
                if let Some(part) = part.filter(|_| !doubted) {
                    discard(sink.as_ref(), scan, cell, &part.part).await;
                }
                Ok(Done::Ack)
            }
        }
    }

    /// Forgets all but what the cell has cost, and queues it again.
    async fn start_over(
        &self,
        execution: Execution<'_>,
        progress: CellProgress,
        wait: Duration,
    ) -> Result<Done, TaskError> {
        let Execution { scan, cell, generation, .. } = execution;
        let mut totals = progress.totals;
        totals.records = 0;
        let fresh = CellProgress { totals, started_at: progress.started_at, ..CellProgress::default() };
        Ok(match persist!(self, self.parts.store.checkpoint(scan, cell, generation, &fresh))? {
            Some(generation) => Done::Defer(generation, wait),
            None => Done::Ack,
        })
    }

    async fn no_session(
        &self,
        execution: Execution<'_>,
        progress: CellProgress,
        writer: RecordWriter,
        error: SessionError,
    ) -> Result<Done, TaskError> {
        match error {
            SessionError::Denied { code, request_id, tries, our_fault } => {
                tracing::debug!(code, aws.request_id = request_id, tries, "session.denied");
                let denial = AssumeDenial {
                    scan: execution.scan.clone(),
                    account: execution.cell.account.clone(),
                    at: self.parts.clock.now(),
                    code,
                    request_id,
                    tries,
                    doing: format!("{}/{}", execution.cell.region, execution.cell.service),
                    our_fault,
                };
                persist!(self, self.parts.store.open_denial(&denial))?;
                self.hand_in(execution, progress, writer, DENIAL_WAIT).await
            }
            SessionError::Unavailable(why) => {
                tracing::warn!(error = why, "session.unavailable");
                self.hand_in(execution, progress, writer, FAULT_WAIT).await
            }
            SessionError::NoGrant => self.complete(execution, progress, writer, Outcome::Cancelled).await,
            SessionError::Unusable(code) => {
                let mut progress = progress;
                progress.errors.insert("sts:AssumeRole".into(), code);
                self.complete(execution, progress, writer, Outcome::Failed).await
            }
        }
    }

    /// The part is lost, and so the cell goes on from where it stood before. A sink that refuses ends the work, unless
    /// it is one of many scans': then that scan waits for somebody to mend it.
    async fn no_sink(&self, execution: Execution<'_>, error: SinkError) -> Result<Done, TaskError> {
        tracing::error!(error = %error, "sink.failed");
        if let SinkError::Refused(why) = error
            && self.parts.fleet.is_none()
        {
            self.give_up(why);
            return Ok(Done::Release);
        }
        let Execution { scan, cell, generation, before, .. } = execution;
        Ok(match persist!(self, self.parts.store.checkpoint(scan, cell, generation, &before))? {
            Some(generation) => Done::Defer(generation, FAULT_WAIT),
            None => Done::Ack,
        })
    }

    /// A task that takes its worker down each time ends here.
    pub(super) async fn poisoned(&self, scan: &ScanId, cell: &Cell, generation: u64) {
        let line = LedgerLine {
            cell: cell.clone(),
            outcome: Outcome::Failed,
            totals: fleetscan_proto::WorkTotals::default(),
            denied: Vec::new(),
            error: Some("poison: the worker died of it, or panicked, again and again".into()),
            started_at: Some(self.parts.clock.now()),
            attempts: 0,
            worker: self.config.name.clone(),
            parts: Vec::new(),
            catalogue: None,
        };
        if let Err(error) = persist!(self, self.parts.store.complete(scan, generation, &line)) {
            tracing::error!(error = %error, "cell.poison.unrecorded");
        }
    }

    fn count(&self, service: &str, progress: &mut CellProgress, part: Option<&Written>) {
        if let Some(Written { part, bytes }) = part {
            self.caller.metrics.part_written(service, part.records, *bytes);
            self.stats.records.fetch_add(part.records, Relaxed);
            progress.totals.records += part.records;
            progress.parts.push(part.clone());
        }
    }
}

/// Removes a part that does not count. Readers would pass over it; this only saves space.
async fn discard(sink: &dyn Sink, scan: &ScanId, cell: &Cell, part: &PartName) {
    if let Err(error) = sink.remove(&ResultPaths(scan).part(cell, &part.name)).await {
        tracing::warn!(error = %error, "part.not_removed");
    }
}

/// `ListX: InternalError; GetY: timed out`, bounded.
fn error_text(errors: &std::collections::BTreeMap<String, String>) -> Option<String> {
    const SHOWN: usize = 8;
    if errors.is_empty() {
        return None;
    }
    let mut text =
        errors.iter().take(SHOWN).map(|(operation, why)| format!("{operation}: {why}")).collect::<Vec<_>>().join("; ");
    if errors.len() > SHOWN {
        text.push_str(&format!("; and {} more", errors.len() - SHOWN));
    }
    Some(text)
}
