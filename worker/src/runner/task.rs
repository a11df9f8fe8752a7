//! A delivery, from the desk to the word of what became of it.

use super::{TaskError, Worker, desk::Take, persist};
use crate::{guard::Guard, reads::NoReads};
use fleetscan_proto::{AccountId, Cell, Delivery, QueueError, ScanId, StoreError, Task, TaskConsumer, TaskKind};
use futures_util::FutureExt as _;
use std::{panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;
use tracing::Instrument as _;

/// How long a copy waits whose cell is in work here.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long a task waits whose account is not to be worked on; the coordinator ends it meanwhile.
const BARRED_WAIT: Duration = Duration::from_secs(5);
/// How long a task waits that another version's worker is to do.
const LEFT_WAIT: Duration = Duration::from_secs(15);
/// How long a task waits that could not be recorded.
const UNRECORDED_WAIT: Duration = Duration::from_secs(15);
/// How long a delivery is held whose shard is not ours at present, before it is given back: no faster, lest it comes
/// round and round.
const NOT_OURS_WAIT: Duration = Duration::from_secs(1);
/// How long the broker may be away before a word to it is given up. The store knows what is still to be done.
const BROKER_PATIENCE: Duration = Duration::from_secs(60);

/// Slices of time that a cell may have one after the other: then it goes back to the queue, long before the broker would
/// take its delivery for lost. Were it queued again after each, behind all that waits, a giant would wait for most of a
/// busy worker's time, and keep the scan from its end. Should the worker die meanwhile, the copy that the broker
/// delivers again is of an older generation; the coordinator finds the cell.
const SLICES: u32 = 3;

/// What became of a task.
pub(super) enum Done {
    /// Recorded, or nothing to do.
    Ack,
    /// Put off, under this generation.
    Defer(u64, Duration),
    /// Put off, and an attempt charged.
    Retry(Duration),
    /// Left to a worker of another version, under this generation: nothing was begun here.
    Leave(u64),
    /// Given back.
    Release,
    /// Poison: recorded as failed, and put aside for a person to look at.
    Dead,
}

/// The word that ends a delivery.
enum Word {
    Ack,
    Release,
    Defer(Box<Task>, Duration),
    Dead(&'static str),
}

impl Worker {
    pub(super) async fn handle(&self, consumer: &dyn TaskConsumer, delivery: Delivery) {
        let Delivery { mut task, redeliveries, tag } = delivery;
        let seat = match self.desk.take(&task) {
            Take::Seat(seat) => seat,
            Take::Barred => return self.settle(consumer, tag, Word::Defer(Box::new(task), BARRED_WAIT)).await,
            Take::Busy => return self.settle(consumer, tag, Word::Defer(Box::new(task), BUSY_WAIT)).await,
            Take::NotOurs => {
                tokio::select! {
                    () = self.draining.cancelled() => {}
                    () = tokio::time::sleep(NOT_OURS_WAIT) => {}
                }
                return self.settle(consumer, tag, Word::Release).await;
            }
        };
        let span = self.span_of(&task);
        let (mut suspect, mut slices, mut place) = (redeliveries > 0, 1, None);
        let ended = loop {
            let work = self.execute(&task, suspect, seat.guard.clone()).instrument(span.clone());
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            match ended {
                Ok(Ok(Done::Defer(generation, Duration::ZERO)))
                    if generation != task.generation && slices < SLICES && !seat.guard.must_hand_in() =>
                {
                    place = place.or_else(|| self.desk.keep());
                    if place.is_none() || self.draining.is_cancelled() {
                        break ended;
                    }
                    // Its end was a proper one, and it is no suspect.
                    (task.generation, task.unfinished, suspect) = (generation, 0, false);
                    slices += 1;
                }
                ended => break ended,
            }
        };
        let word = match ended {
            Ok(Ok(Done::Ack)) => Word::Ack,
            Ok(Ok(Done::Release)) if slices == 1 => Word::Release,
            // What was delivered is of an older generation.
            Ok(Ok(Done::Release)) => Word::Defer(Box::new(task), Duration::ZERO),
            Ok(Ok(Done::Dead)) => Word::Dead("its workers died of it again and again"),
            Ok(Ok(Done::Defer(generation, delay))) => {
                // A new generation has come to an end properly, and is no suspect.
                task.unfinished = if generation == task.generation { task.unfinished } else { 0 };
                task.generation = generation;
                Word::Defer(Box::new(task), delay)
            }
            Ok(Ok(Done::Leave(generation))) => {
                task.generation = generation;
                Word::Defer(Box::new(task), LEFT_WAIT)
            }
            Ok(Ok(Done::Retry(delay))) => {
                task.attempt += 1;
                Word::Defer(Box::new(task), delay)
            }
            Ok(Err(TaskError::Store(error))) => {
                tracing::warn!(parent: &span, error = %error, "task.unrecorded");
                Word::Defer(Box::new(task), UNRECORDED_WAIT)
            }
            Err(_panic) => self.panicked(task).instrument(span).await,
        };
        drop(place);
        drop(seat);
        self.settle(consumer, tag, word).await;
    }

    /// One execution, of a slice of time at most.
    async fn execute(&self, task: &Task, suspect: bool, guard: Guard) -> Result<Done, TaskError> {
        let guard = match self.with_reads(task, guard).await? {
            Ok(guard) => guard,
            Err(done) => return Ok(done),
        };
        match &task.kind {
            TaskKind::Probe { account } => self.probe(&task.scan, account, task.generation, task.attempt, &guard).await,
            TaskKind::Cell(cell) => {
                // Handed out before, or known to have had no end: it may have killed its worker.
                let suspect = suspect || task.unfinished > 0;
                let expected = Duration::from_secs(u64::from(task.seconds));
                self.cell(&task.scan, cell, task.generation, suspect, expected, &guard).await
            }
        }
    }

    /// What the task must heed, with what it may call.
    async fn with_reads(&self, task: &Task, guard: Guard) -> Result<Result<Guard, Done>, TaskError> {
        let Some(reads) = &self.reads else { return Ok(Ok(guard)) };
        let error = match reads.of(&task.scan, task.account()).await {
            Ok(reads) => return Ok(Ok(Guard { reads: Some(reads), ..guard })),
            Err(NoReads::NoScan) => return Ok(Err(Done::Ack)),
            Err(NoReads::Store(StoreError::Away(why))) => return Err(StoreError::Away(why).into()),
            Err(error @ (NoReads::Profile(_) | NoReads::Told(_))) => error,
            // Every worker would meet that: it is said, and tried again.
            Err(error @ (NoReads::Store(_) | NoReads::TooLong(_))) => {
                tracing::error!(%error, "task.reads_unknown");
                return Ok(Err(Done::Defer(task.generation, UNRECORDED_WAIT)));
            }
        };
        tracing::warn!(%error, "task.reads_unknown: left to a worker of another version");
        Ok(Err(match &task.kind {
            TaskKind::Probe { account } => self.leave_probe(&task.scan, account, task.generation).await?,
            TaskKind::Cell(cell) => self.leave_cell(&task.scan, cell, task.generation).await?,
        }))
    }

    /// Leaves a cell that asks for more than is known here to whoever knows it. Its new generation ends older copies,
    /// and tells the coordinator that it is not lost.
    pub(super) async fn leave_cell(&self, scan: &ScanId, cell: &Cell, generation: u64) -> Result<Done, TaskError> {
        tracing::debug!("task.left: it reads what this worker's catalogue lacks");
        self.desk.leave(&cell.account);
        let renewed = persist!(self, self.parts.store.renew_cell(scan, cell, generation, None))?;
        Ok(renewed.map_or(Done::Ack, Done::Leave))
    }

    async fn leave_probe(&self, scan: &ScanId, account: &AccountId, generation: u64) -> Result<Done, TaskError> {
        self.desk.leave(account);
        let renewed = persist!(self, self.parts.store.renew_probe(scan, account, generation))?;
        Ok(renewed.map_or(Done::Ack, Done::Leave))
    }

    /// What every line about the task carries.
    fn span_of(&self, task: &Task) -> tracing::Span {
        let (region, service) = match &task.kind {
            TaskKind::Probe { .. } => (None, None),
            TaskKind::Cell(cell) => (Some(cell.region.as_str()), Some(cell.service.as_str())),
        };
        tracing::error_span!(
            "task",
            scan = %task.scan,
            account = %task.account(),
            region,
            service,
            worker = self.config.name,
            attempt = task.attempt,
        )
    }

    /// A task that panics is tried twice more; then it is poison, and its cell says so.
    async fn panicked(&self, mut task: Task) -> Word {
        task.attempt += 1;
        tracing::error!(attempt = task.attempt, "task.panicked");
        if task.attempt < 3 {
            return Word::Defer(Box::new(task), Duration::from_secs(1));
        }
        if let TaskKind::Cell(cell) = &task.kind {
            self.poisoned(&task.scan, cell, task.generation).await;
        }
        Word::Dead("the worker panicked three times")
    }

    /// Tells the queue, again while the broker is away.
    async fn settle(&self, consumer: &dyn TaskConsumer, tag: u64, word: Word) {
        let began = Instant::now();
        loop {
            let told = match &word {
                Word::Ack => consumer.ack(tag).await,
                Word::Release => consumer.release(tag).await,
                Word::Defer(task, delay) => consumer.defer(tag, task.as_ref().clone(), *delay).await,
                Word::Dead(reason) => consumer.dead_letter(tag, reason).await,
            };
            match told {
                Ok(()) => return,
                Err(QueueError::Away(_) | QueueError::Full)
                    if began.elapsed() < BROKER_PATIENCE && !self.draining.is_cancelled() =>
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "task.not_acknowledged: it will be delivered again");
                    return;
                }
            }
        }
    }
}
