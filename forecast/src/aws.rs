//! AWS as it is modelled: an answer that has what the estate says, after a wait; throttled by the published buckets.

use crate::{
    Estate,
    bound::rate_of,
    calls::{is_answer_itself, page_size},
    clock::VirtualClock,
    estate::{Dice, hash},
    shape::plant,
};
use async_trait::async_trait;
use fleetscan_proto::{
    Account, Clock,
    catalogue::{Operation, Service},
};
use fleetscan_worker::{
    aws::{Answer, Aws, Request, SessionKeys},
    http::SendError,
    hub::AssumeFailure,
    wire::RawAnswer,
};
use jiff::SignedDuration;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Waits of one call differ by so much from the mean, both ways.
const JITTER: f64 = 0.3;
/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_secs(900);
/// AssumeRole calls a second that STS takes from the hub's account, and at once.
const STS: (f64, f64) = (600.0, 600.0);
/// Buckets in memory, above which those that are full again are forgotten, which changes nothing.
const MANY_BUCKETS: usize = 200_000;

/// A token bucket of AWS's: how much is left, as of when.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    left: f64,
    at: Instant,
    rate: f64,
    burst: f64,
}

impl Tokens {
    fn full((rate, burst): (f64, f64), at: Instant) -> Self {
        Self { left: burst, at, rate, burst }
    }
    fn now(&self, now: Instant) -> f64 {
        (self.left + now.duration_since(self.at).as_secs_f64() * self.rate).min(self.burst)
    }
    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        (self.left, self.at) = (self.now(now), now);
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

/// When an account was first and last called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// Account, region, service, limit, operation.
type Key = (u32, u64, usize, usize, usize);

struct State {
    buckets: HashMap<Key, Tokens>,
    /// Where the next forgetting is worth its while.
    many: usize,
    sts: Tokens,
    spans: Vec<Option<Span>>,
}

/// AWS for an estate.
pub(crate) struct ModelledAws {
    estate: Arc<Estate>,
    latency: Duration,
    clock: Arc<VirtualClock>,
    services: HashMap<String, usize>,
    state: Mutex<State>,
    calls: AtomicU64,
    assumed: AtomicU64,
}

impl ModelledAws {
    pub(crate) fn new(estate: Arc<Estate>, latency: Duration, clock: Arc<VirtualClock>) -> Self {
        let services = estate.catalogue.services().iter().enumerate().map(|(at, s)| (s.id.clone(), at)).collect();
        let state = State {
            buckets: HashMap::new(),
            many: MANY_BUCKETS,
            sts: Tokens::full(STS, Instant::now()),
            spans: vec![None; estate.accounts() as usize],
        };
        let (calls, assumed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { estate, latency, clock, services, state: Mutex::new(state), calls, assumed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First and last call of each account.
    pub(crate) fn spans(&self) -> Vec<Option<Span>> {
        self.lock().spans.clone()
    }

    /// AssumeRole calls so far.
    pub(crate) fn assumed(&self) -> u64 {
        self.assumed.load(Relaxed)
    }

    async fn wait(&self) {
        let number = self.calls.fetch_add(1, Relaxed);
        let part = 1.0 + JITTER * (2.0 * Dice::of([number]).part(0) - 1.0);
        tokio::time::sleep(self.latency.mul_f64(part)).await;
    }

    /// Whether AWS takes a call now.
    fn admits(&self, account: u32, service: &Service, operation: &Operation, region: &str) -> bool {
        let limit = &service.limits[operation.limit];
        let place = if limit.every_region { 0 } else { hash(region.as_bytes()) };
        let own = if limit.shared { usize::MAX } else { operation.index };
        let Some(number) = self.services.get(&service.id) else { return true };
        let now = Instant::now();
        let mut state = self.lock();
        let bucket = state
            .buckets
            .entry((account, place, *number, operation.limit, own))
            .or_insert_with(|| Tokens::full(rate_of(&limit.rate, region), now));
        let admitted = bucket.take(now);
        if state.buckets.len() > state.many {
            state.buckets.retain(|_, tokens| tokens.now(now) < tokens.burst);
            state.many = (state.buckets.len() * 2).max(MANY_BUCKETS);
        }
        if let Some(span) = state.spans.get_mut(account as usize) {
            span.get_or_insert(Span { first: now, last: now });
        }
        admitted
    }

    fn called(&self, account: u32) {
        let now = Instant::now();
        if let Some(Some(span)) = self.lock().spans.get_mut(account as usize) {
            span.last = now;
        }
    }

    fn answer(&self, account: u32, request: &Request<'_>) -> Value {
        let Request { service, operation, region, params, .. } = request;
        if operation.name == "GetCallerIdentity" {
            return Value::Object(Map::from_iter([("Account".to_owned(), Value::from(request.account.as_str()))]));
        }
        let mut answer = Value::Object(Map::new());
        if let Some(poll) = &operation.poll
            && let Some(ready) = poll.until.first()
        {
            plant(&mut answer, poll.field.as_str(), Value::from(ready.as_str()));
        }
        let count = |emit: usize| match operation.parent.as_ref() {
            _ if is_answer_itself(operation, emit) => 1,
            None => self.estate.items(account, region, &service.id, &operation.name, emit),
            Some(parent) => self.estate.each(service, operation) * batch(parent.batch.as_ref(), params),
        };
        let counts: Vec<u64> = (0..operation.emits.len()).map(count).collect();
        let page = page_of(operation, params);
        let size = page_size(operation);
        let (begin, end) = (page.saturating_mul(size), page.saturating_add(1).saturating_mul(size));
        let mut before = 0;
        for (emit, count) in counts.iter().enumerate() {
            let item = |n: u64| self.estate.shapes.item(&service.id, &operation.name, emit, n);
            if is_answer_itself(operation, emit) {
                merge(&mut answer, item(0));
                continue;
            }
            // One operation's lists lie behind one another in its pages.
            let (from, to) = (begin.max(before), end.min(before + count));
            before += count;
            if operation.table.is_some() {
                // A report without rows: nothing hangs on them.
                continue;
            }
            let items: Vec<Value> = (from..to.max(from)).map(item).collect();
            plant(&mut answer, operation.emits[emit].items.as_str(), Value::Array(items));
        }
        if let Some(paging) = operation.paging.as_ref().filter(|_| before > end) {
            plant(&mut answer, paging.output.as_str(), Value::String(format!("p{}", page + 1)));
            if let Some(more) = &paging.more {
                plant(&mut answer, more.as_str(), Value::Bool(true));
            }
        }
        answer
    }
}

/// Items that a call is about.
fn batch(batch: Option<&(String, usize)>, params: &Map<String, Value>) -> u64 {
    fn longest(value: &Value) -> u64 {
        match value {
            Value::Array(list) => list.len() as u64,
            Value::Object(map) => map.values().map(longest).max().unwrap_or_default(),
            _ => 0,
        }
    }
    match batch {
        None => 1,
        Some(_) => params.values().map(longest).max().unwrap_or(1).max(1),
    }
}

/// Which page is asked for, from 0.
fn page_of(operation: &Operation, params: &Map<String, Value>) -> u64 {
    let token = operation.paging.as_ref().and_then(|paging| params.get(&paging.input)).and_then(Value::as_str);
    token.and_then(|token| token.strip_prefix('p')?.parse().ok()).unwrap_or_default()
}

fn merge(answer: &mut Value, item: Value) {
    match (answer, item) {
        (Value::Object(map), Value::Object(members)) => map.extend(members),
        (answer, item) => *answer = item,
    }
}

#[async_trait]
impl Aws for ModelledAws {
    async fn exchange(&self, request: Request<'_>) -> Result<Answer, SendError> {
        let account = Estate::number(request.account);
        let admitted = self.admits(account, request.service, request.operation, request.region);
        self.wait().await;
        self.called(account);
        if admitted {
            return Ok(Answer::Parsed(self.answer(account, &request)));
        }
        let (request_id, error_type, bucket_region) = (None, Some("ThrottlingException".to_owned()), None);
        Ok(Answer::Raw(RawAnswer { status: 429, request_id, error_type, bucket_region, body: bytes::Bytes::new() }))
    }

    async fn assume(&self, _: &Account, _: &str, _: Option<&str>) -> Result<SessionKeys, AssumeFailure> {
        self.assumed.fetch_add(1, Relaxed);
        let admitted = self.lock().sts.take(Instant::now());
        self.wait().await;
        if !admitted {
            return Err(AssumeFailure::throttled());
        }
        Ok(SessionKeys {
            access_key_id: "MODEL".into(),
            secret_access_key: String::new(),
            session_token: String::new(),
            expires_at: self.clock.now().checked_add(SESSION).ok(),
        })
    }
}
