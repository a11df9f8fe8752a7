//! One call: gate, permit, session, wire, answer, class; and again, where that helps.

use crate::{
    account::AccountContext,
    aws::{Answer, Aws, Request, Unread},
    classify::{Class, classify},
    gate::{ArchiveGate, Gate},
    guard::{Guard, Switches},
    http::SendError,
    limiter::{Bucket, Permit, Turn},
    metrics::{Metrics, result_of},
    retry::Backoff,
    session::{Narrowing, Session, SessionError, Sessions},
    slots::Slots,
    stats::{InFlight, StatsCell},
    wire::{RawAnswer, parse_error},
};
use fleetscan_proto::{
    Clock, DeniedBy,
    catalogue::{Limit, Operation, Owner, Service},
};
use serde_json::{Map, Value};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

/// How long a task is put off whose calls AWS throttled again and again.
const THROTTLED_WAIT: Duration = Duration::from_secs(15);

/// Why a call has no answer that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// No permission.
    Denied(DeniedBy),
    /// There is none: an answer.
    Absent,
    /// The credentials are good and not known here.
    RegionDisabled,
    /// The bucket is far from its next token: do something else until then.
    Defer(Duration),
    /// AWS throttled more often than the task's budget bears.
    ThrottledOut,
    /// The page token is not accepted any more.
    BadToken,
    /// Retries spent, a malformed answer, or an error that retries do not mend: AWS's code, or our own words.
    Failed(String),
    /// There is no session.
    Session(SessionError),
    /// No call may begin any more: the scan, the account or the shard is no longer ours to work on.
    Stopped,
}

/// What the calls of one task may cost, and what they did.
#[derive(Debug)]
pub struct Budget {
    /// Calls sent.
    pub calls: AtomicU64,
    /// Of these, throttled.
    pub throttled: AtomicU64,
    retries_left: AtomicU32,
    throttles_left: AtomicU32,
    /// How long its task is known to take.
    expected: Duration,
    /// The task may be put off.
    deferrable: bool,
    /// Whether it may go on at all.
    guard: Guard,
}

impl Budget {
    /// A budget of so many retries (of failures) and throttled answers.
    pub fn new(retries: u32, throttles: u32, deferrable: bool, guard: Guard) -> Self {
        Self {
            calls: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            retries_left: AtomicU32::new(retries),
            throttles_left: AtomicU32::new(throttles),
            expected: Duration::ZERO,
            deferrable,
            guard,
        }
    }
    /// Of a task that is known to take so long: its calls go before those of shorter ones.
    pub fn of_long_task(self, expected: Duration) -> Self {
        Self { expected, ..self }
    }
    /// What the task must heed.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }
    fn take(counter: &AtomicU32) -> bool {
        counter.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Limits of a single call.
#[derive(Debug, Clone, Copy)]
pub struct CallPolicy {
    /// A next token that is further off than this defers the task.
    pub patience: Duration,
    /// Throttled answers to one call in a row, after which its task is put off.
    pub throttles_in_a_row: u32,
    /// Tries of one call that fails in passing.
    pub tries: u32,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self { patience: Duration::from_secs(10), throttles_in_a_row: 8, tries: 4 }
    }
}

/// Makes calls on customers' sessions: the only way to do so.
pub struct Caller {
    /// Where calls go.
    pub aws: Arc<dyn Aws>,
    /// What may be called.
    pub gate: Gate,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// The time that calls are signed for.
    pub clock: Arc<dyn Clock>,
    /// Where calls are counted.
    pub stats: Arc<StatsCell>,
    /// Bounds the calls under way.
    pub slots: Slots,
    /// Limits of a single call.
    pub policy: CallPolicy,
    /// What is switched off.
    pub switches: Arc<Switches>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// One call to make.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// In which account.
    pub account: &'a Arc<AccountContext>,
    /// Of which service.
    pub service: &'a str,
    /// Which operation.
    pub operation: &'a str,
    /// Region to sign for.
    pub region: &'a str,
    /// Its parameters.
    pub params: &'a Map<String, Value>,
    /// A page token is among them.
    pub paged: bool,
    /// The task's budget.
    pub budget: &'a Budget,
}

/// What a call was let through as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) service: &'a Service,
    pub(crate) operation: &'a Operation,
    /// It is for log files of CloudTrail, on a session for them.
    pub(crate) log_files: Option<&'a ArchiveGate>,
}

impl<'a> Errand<'a> {
    fn narrowing(&self, call: &Call<'a>) -> Narrowing<'a> {
        match self.log_files {
            Some(gate) => Narrowing::LogFiles(gate),
            None => Narrowing::Reads(call.budget.guard.reads.as_deref()),
        }
    }
}

enum Next {
    Again(Duration),
    Give(CallError),
}

/// What an organisation's bucket is called within it.
fn shared_name(service: &Service, operation: &Operation, limit: &Limit, region: &str) -> String {
    let region = if limit.every_region { "*" } else { region };
    let operation = if limit.shared { "" } else { operation.name.as_str() };
    format!("{region}/{}/{}/{operation}", service.id, limit.group)
}

/// How one call has fared so far.
struct Trials {
    waits: Backoff,
    throttle_waits: Backoff,
    throttles: u32,
    failures: u32,
    sessions: u32,
}

impl Caller {
    /// Makes a call: its answer as JSON.
    pub async fn call(&self, call: Call<'_>) -> Result<Value, CallError> {
        let (service, operation) = self
            .gate_of(call.budget)
            .admit(call.service, call.operation)
            .map_err(|refused| CallError::Failed(refused.to_string()))?;
        self.make(call, Errand { service, operation, log_files: None }, |answer| answer.read(service, operation)).await
    }

    /// Makes a call that its gate let through, again and again where that helps.
    pub(crate) async fn make<T>(
        &self,
        call: Call<'_>,
        errand: Errand<'_>,
        read: impl Fn(Answer) -> Result<T, Unread> + Send + Sync,
    ) -> Result<T, CallError> {
        let bucket = call.account.buckets.bucket(errand.service, errand.operation, call.region);
        let mut trials = Trials {
            waits: Backoff::new(Duration::from_millis(100), Duration::from_secs(20)),
            throttle_waits: Backoff::new(Duration::from_secs(1), Duration::from_secs(20)),
            throttles: 0,
            failures: 0,
            sessions: 0,
        };
        // Bounded: every turn that does not return spends one of the trials' or the budget's.
        loop {
            let next = match self.turn(&call, errand, &bucket, &mut trials, &read).await {
                Ok(value) => return Ok(value),
                Err(next) => next,
            };
            match next {
                Next::Give(error) => return Err(error),
                Next::Again(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// What a task may call.
    pub fn gate_of<'a>(&'a self, budget: &'a Budget) -> &'a Gate {
        budget.guard.reads.as_ref().map_or(&self.gate, |reads| reads.gate())
    }

    async fn turn<T>(
        &self,
        call: &Call<'_>,
        errand: Errand<'_>,
        bucket: &Bucket,
        trials: &mut Trials,
        read: &(impl Fn(Answer) -> Result<T, Unread> + Send + Sync),
    ) -> Result<T, Next> {
        let Errand { service, operation, .. } = errand;
        self.may_go_on(call).map_err(Next::Give)?;
        let (permit, head_of_the_line) = self.permit(call, bucket).await.map_err(Next::Give)?;
        self.may_go_on(call).map_err(Next::Give)?;
        let counted_for = call.budget.guard.counted_for.as_ref();
        let session = self
            .sessions
            .get(call.account.id(), errand.narrowing(call), counted_for)
            .await
            .map_err(|e| Next::Give(CallError::Session(e)))?;
        let limit = &service.limits[operation.limit];
        if limit.owner == Owner::Organization {
            let name = shared_name(service, operation, limit, call.region);
            let permit = self.sessions.organization_permit(&session, &name, bucket.rate());
            permit.await.map_err(|error| Next::Give(CallError::Session(error)))?;
        }
        let (answer, took) = {
            let _slot = self.slots.take(bucket.worked().max(call.budget.expected)).await;
            drop(head_of_the_line);
            self.may_go_on(call).map_err(Next::Give)?;
            let _in_flight = InFlight::of(&self.stats.calls_in_flight);
            call.budget.calls.fetch_add(1, Relaxed);
            self.stats.calls.fetch_add(1, Relaxed);
            let began = tokio::time::Instant::now();
            let answer = self.exchange(call, errand, &session).await;
            (answer, began.elapsed())
        };
        let tell = |result: &str| self.metrics.called(&service.id, &operation.name, result, took);
        let answer = match answer {
            Ok(answer) => answer,
            Err(SendError::Refused(why)) => return Err(Next::Give(CallError::Failed(why))),
            // A service that is not in every region has no host where it is not.
            Err(SendError::NoSuchHost) if !service.everywhere => return Err(Next::Give(CallError::RegionDisabled)),
            Err(error @ (SendError::NoSuchHost | SendError::Untrusted)) => {
                tell("transport");
                return Err(self.failed(call, trials, error.to_string()));
            }
            Err(SendError::Transport(why)) => {
                tell("transport");
                return Err(self.failed(call, trials, why));
            }
        };
        let answer = match read(answer) {
            Ok(value) => {
                bucket.succeeded(permit);
                tell("ok");
                return Ok(value);
            }
            Err(Unread::Malformed(error)) => {
                bucket.succeeded(permit);
                tell("ok");
                return Err(self.failed(call, trials, error.to_string()));
            }
            Err(Unread::Error(answer)) => answer,
        };
        let (code, message) = parse_error(service.protocol, &answer);
        let class = class_of(operation, &answer, &code, &message, call.paged);
        tell(result_of(class));
        if class != Class::Throttled {
            bucket.succeeded(permit);
        }
        Err(self.judge(call, errand, class, &code, &answer, bucket, permit, &session, trials).await)
    }

    /// Asked at the last moment before a call, and before what may take long.
    fn may_go_on(&self, call: &Call<'_>) -> Result<(), CallError> {
        if !call.budget.guard.may_call() {
            return Err(CallError::Stopped);
        }
        match self.switches.reason(call.service, call.operation) {
            Some(reason) => Err(CallError::Failed(format!("switched off by the operator: {reason}"))),
            None => Ok(()),
        }
    }

    async fn permit<'a>(&self, call: &Call<'_>, bucket: &'a Bucket) -> Result<(Permit, Turn<'a>), CallError> {
        let began = tokio::time::Instant::now();
        let patience = if call.budget.deferrable { self.policy.patience } else { Duration::MAX };
        let permit = bucket.acquire(patience).await.map_err(CallError::Defer);
        self.metrics.waited(call.service, began.elapsed());
        let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stats.waited_ms.fetch_add(waited, Relaxed);
        permit
    }

    async fn exchange(&self, call: &Call<'_>, errand: Errand<'_>, session: &Session) -> Result<Answer, SendError> {
        let request = Request {
            account: call.account.id(),
            service: errand.service,
            operation: errand.operation,
            region: call.region,
            params: call.params,
            session,
            gate: self.gate_of(call.budget),
            log_files: errand.log_files,
            now: SystemTime::from(self.clock.now()),
        };
        self.aws.exchange(request).await
    }

    #[expect(clippy::too_many_arguments, reason = "one place sees the whole of an answer")]
    async fn judge(
        &self,
        call: &Call<'_>,
        errand: Errand<'_>,
        class: Class,
        code: &str,
        answer: &RawAnswer,
        bucket: &Bucket,
        permit: Permit,
        session: &Session,
        trials: &mut Trials,
    ) -> Next {
        match class {
            Class::Throttled => {
                bucket.throttled(permit);
                self.stats.throttled.fetch_add(1, Relaxed);
                call.budget.throttled.fetch_add(1, Relaxed);
                trials.throttles += 1;
                let wait = trials.throttle_waits.next_wait();
                if !Budget::take(&call.budget.throttles_left) {
                    Next::Give(CallError::ThrottledOut)
                } else if trials.throttles > self.policy.throttles_in_a_row && call.budget.deferrable {
                    self.metrics.stood_back(call.service, THROTTLED_WAIT);
                    Next::Give(CallError::Defer(THROTTLED_WAIT))
                } else {
                    self.metrics.stood_back(call.service, wait);
                    Next::Again(wait)
                }
            }
            Class::Denied(by) => Next::Give(CallError::Denied(by)),
            Class::Absent => Next::Give(CallError::Absent),
            Class::NotSubscribed => Next::Give(CallError::RegionDisabled),
            Class::BadToken => Next::Give(CallError::BadToken),
            Class::Permanent => Next::Give(CallError::Failed(if code.is_empty() {
                format!("HTTP {}", answer.status)
            } else {
                code.to_owned()
            })),
            Class::Transient => self.failed(
                call,
                trials,
                if code.is_empty() { format!("HTTP {}", answer.status) } else { code.to_owned() },
            ),
            Class::SessionExpired | Class::SessionInvalid => {
                self.sessions.invalidate(call.account.id(), errand.narrowing(call), session.number()).await;
                trials.sessions += 1;
                match (class, trials.sessions) {
                    (_, 1) => Next::Again(Duration::ZERO),
                    // New credentials that are refused as well: they are good elsewhere, so it is the region.
                    (Class::SessionInvalid, _) => Next::Give(CallError::RegionDisabled),
                    (_, 2) => Next::Again(Duration::from_secs(1)),
                    _ => Next::Give(CallError::Failed(code.to_owned())),
                }
            }
        }
    }

    fn failed(&self, call: &Call<'_>, trials: &mut Trials, why: String) -> Next {
        trials.failures += 1;
        if trials.failures >= self.policy.tries || !Budget::take(&call.budget.retries_left) {
            return Next::Give(CallError::Failed(why));
        }
        Next::Again(trials.waits.next_wait())
    }
}

/// S3 answers HEAD without a body: there the status is all there is.
fn class_of(operation: &Operation, answer: &RawAnswer, code: &str, message: &str, paged: bool) -> Class {
    if code.is_empty() && operation.http.method == "HEAD" && answer.status == 404 {
        return Class::Absent;
    }
    classify(operation, answer.status, code, message, paged)
}
