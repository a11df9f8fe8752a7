//! Sessions of customers' accounts: one AssumeRole at a time an account, in memory only.

use crate::{
    aws::{Aws, SessionKeys},
    gate::ArchiveGate,
    hub::{AssumeFailure, AssumeFailureKind, session_name},
    metrics::Metrics,
    policy::archive_policy,
    reads::Reads,
    retry::Backoff,
    stats::StatsCell,
};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use fleetscan_proto::{Account, AccountId, Clock, Grants, ScanId, Store};
use jiff::{SignedDuration, Timestamp};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

/// A session is replaced when less than this is left of it: more than a call may last, and little of its 15 minutes.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// STS lets the hub's account make 600 calls a second in a region (IAM and STS quotas); half of it is ours.
const STS_RATE: f64 = 300.0;
/// Tries of an AssumeRole that fails in passing.
const TRIES: u32 = 8;
/// AssumeRole is asked this often before a denial is believed.
const DENIED_TRIES: u32 = 2;
/// For how long a denial is remembered, so that the account's many tasks do not all ask again.
const DENIAL_HOLDS: SignedDuration = SignedDuration::from_secs(5);

/// Credentials of one AssumeRole. The SDK wipes them when they are dropped.
pub struct Session {
    identity: Identity,
    credentials: Credentials,
    expires_at: Timestamp,
    number: u64,
    /// Who the account belongs to, where its grant says so.
    customer: Option<Arc<str>>,
}

impl Session {
    /// What calls are signed with.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// For the SDK's typed clients.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }
    /// Credentials that no AWS knows.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let credentials = Credentials::new("AKIATEST", "secret", Some("token".into()), None, "tests");
        let identity = Identity::from(credentials.clone());
        Session { identity, credentials, expires_at: Timestamp::MAX, number: 1, customer: None }
    }
    /// Tells this session from the account's earlier and later ones.
    pub fn number(&self) -> u64 {
        self.number
    }
}
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.number)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why there is no session. No text of AWS's, for that names the role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// AssumeRole was denied.
    #[error("AssumeRole was denied")]
    Denied {
        /// AWS's code.
        code: String,
        /// AWS's request id.
        request_id: Option<String>,
        /// How often it was asked.
        tries: u32,
        /// AWS says that our own identity's policies deny it.
        our_fault: bool,
    },
    /// The account's grant was removed.
    #[error("the account has no grant any more")]
    NoGrant,
    /// Our own credentials are over or broken, STS is away, or the store is: not the account's doing.
    #[error("no session can be had now: {0}")]
    Unavailable(String),
    /// The grant cannot work as it is.
    #[error("AssumeRole cannot work with this grant ({0})")]
    Unusable(String),
}

#[derive(Default)]
struct Slot {
    session: Option<Arc<Session>>,
    denied: Option<(Timestamp, SessionError)>,
    issued: u64,
    confirmed_at: Option<Timestamp>,
}

impl Slot {
    /// The denial of a moment ago, which need not be asked for again.
    fn remembered_denial(&self, now: Timestamp) -> Result<(), SessionError> {
        match &self.denied {
            Some((at, error)) if now.duration_since(*at) < DENIAL_HOLDS => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// How sessions are asked for.
#[derive(Debug, Clone, Default)]
pub struct SessionTerms {
    /// They are named `<prefix>-<account>-<epoch>`.
    pub prefix: String,
    /// Narrows every session, where there is one.
    pub policy: Option<String>,
}

/// What a session is narrowed to.
#[derive(Debug, Clone, Copy)]
pub enum Narrowing<'a> {
    /// What is read of configuration; `None`: whatever the worker reads.
    Reads(Option<&'a Reads>),
    /// CloudTrail's log files.
    LogFiles(&'a ArchiveGate),
}

impl<'a> From<Option<&'a Reads>> for Narrowing<'a> {
    fn from(reads: Option<&'a Reads>) -> Self {
        Self::Reads(reads)
    }
}

impl Narrowing<'_> {
    /// Sessions of one name are the same.
    fn name(self) -> Option<Arc<str>> {
        match self {
            Self::Reads(reads) => reads.map(|reads| Arc::clone(reads.name())),
            // The regions of an account share it.
            Self::LogFiles(gate) => Some(format!("log files of {}", gate.bucket()).into()),
        }
    }
}

/// An account, and the name of what its session is narrowed to.
type SlotKey = (AccountId, Option<Arc<str>>);

/// The sessions of a worker.
pub struct Sessions {
    hub: Arc<dyn Aws>,
    grants: Arc<dyn Grants>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stats: Arc<StatsCell>,
    metrics: Arc<Metrics>,
    terms: SessionTerms,
    slots: Mutex<HashMap<SlotKey, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions on these terms.
    pub fn new(
        hub: Arc<dyn Aws>,
        grants: Arc<dyn Grants>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        stats: Arc<StatsCell>,
        metrics: Arc<Metrics>,
        terms: SessionTerms,
    ) -> Self {
        Self { hub, grants, store, clock, stats, metrics, terms, slots: Mutex::default() }
    }

    /// Regions of STS, in the order in which they are asked.
    pub fn sts_regions(&self) -> Vec<String> {
        self.hub.sts_regions()
    }

    /// The account's session; assumes the role where there is none, or too little left of it. Whoever comes while
    /// that is under way waits for the same answer. What that takes is counted for the scan that asks.
    pub async fn get(
        &self,
        account: &AccountId,
        narrowing: impl Into<Narrowing<'_>>,
        scan: Option<&ScanId>,
    ) -> Result<Arc<Session>, SessionError> {
        let narrowing = narrowing.into();
        let slot = self.slot(account, narrowing);
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        if let Some(session) = &slot.session
            && session.expires_at.duration_since(now) > MARGIN
        {
            return Ok(Arc::clone(session));
        }
        slot.remembered_denial(now)?;
        self.renew(account, narrowing, scan, &mut slot).await
    }

    /// Drops a session that AWS no longer takes, unless a newer one has replaced it already.
    pub async fn invalidate(&self, account: &AccountId, narrowing: impl Into<Narrowing<'_>>, number: u64) {
        let slot = self.slot(account, narrowing.into());
        let mut slot = slot.lock().await;
        if slot.session.as_ref().is_some_and(|s| s.number == number) {
            slot.session = None;
        }
    }

    /// Asks AssumeRole anew whether the role still lets us in, at most once in `every`: what a session that is denied
    /// everything calls for.
    pub async fn confirm(
        &self,
        account: &AccountId,
        reads: Option<&Reads>,
        scan: &ScanId,
        every: SignedDuration,
    ) -> Result<(), SessionError> {
        let slot = self.slot(account, reads.into());
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        slot.remembered_denial(now)?;
        if slot.confirmed_at.is_some_and(|at| now.duration_since(at) < every) {
            return Ok(());
        }
        slot.session = None;
        self.renew(account, reads.into(), Some(scan), &mut slot).await?;
        slot.confirmed_at = Some(now);
        Ok(())
    }

    /// Forgets an account's session: nothing is left to do in it.
    pub fn forget(&self, account: &AccountId) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(id, _), _| id != account);
        self.metrics.set_sessions(slots.len());
    }

    fn slot(&self, account: &AccountId, narrowing: Narrowing<'_>) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(slots.entry((account.clone(), narrowing.name())).or_default());
        self.metrics.set_sessions(slots.len());
        slot
    }

    async fn renew(
        &self,
        account: &AccountId,
        narrowing: Narrowing<'_>,
        scan: Option<&ScanId>,
        slot: &mut Slot,
    ) -> Result<Arc<Session>, SessionError> {
        slot.session = None;
        match self.assume(account, narrowing, scan).await {
            Ok((credentials, expires_at, customer)) => {
                slot.issued += 1;
                slot.denied = None;
                let session = Arc::new(Session {
                    identity: Identity::from(credentials.clone()),
                    credentials,
                    expires_at,
                    number: slot.issued,
                    customer,
                });
                slot.session = Some(Arc::clone(&session));
                Ok(session)
            }
            Err(error) => {
                if matches!(error, SessionError::Denied { .. }) {
                    slot.denied = Some((self.clock.now(), error.clone()));
                }
                Err(error)
            }
        }
    }

    /// An account with its grant.
    pub(crate) async fn account(&self, id: &AccountId) -> Result<Account, SessionError> {
        let account = self.grants.account(id).await.map_err(|e| SessionError::Unavailable(e.to_string()))?;
        account.ok_or(SessionError::NoGrant)
    }

    /// The session policy of a session.
    async fn policy(&self, id: &AccountId, narrowing: Narrowing<'_>) -> Result<Option<Cow<'_, str>>, SessionError> {
        let gate = match narrowing {
            Narrowing::Reads(None) => return Ok(self.terms.policy.as_deref().map(Cow::from)),
            Narrowing::Reads(Some(reads)) => return Ok(reads.session_policy().map(|policy| policy.to_owned().into())),
            Narrowing::LogFiles(gate) => gate,
        };
        let terms = self.grants.terms(id).await.map_err(|e| SessionError::Unavailable(e.to_string()))?;
        Ok(terms.session_policy.then(|| archive_policy(gate).into()))
    }

    async fn assume(
        &self,
        id: &AccountId,
        narrowing: Narrowing<'_>,
        scan: Option<&ScanId>,
    ) -> Result<Assumed, SessionError> {
        let account = self.account(id).await?;
        let policy = self.policy(id, narrowing).await?;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        let mut denials = 0;
        let mut last = String::new();
        for _ in 0..TRIES {
            self.permit().await?;
            let now = self.clock.now();
            self.stats.assume_role.fetch_add(1, Relaxed);
            // Before the session is there to be used, so that whoever ends the scan sees it. It costs nobody a session.
            if let Some(scan) = scan
                && let Err(error) = self.store.count_assume_role(scan, 1).await
            {
                tracing::debug!(%scan, %error, "an AssumeRole call was not counted");
            }
            let began = tokio::time::Instant::now();
            let name = session_name(&self.terms.prefix, id, now);
            let answer = self.hub.assume(&account, &name, policy.as_deref()).await;
            self.metrics
                .assumed(answer.as_ref().map_or_else(|failure| label(&failure.kind), |_| "ok"), began.elapsed());
            let AssumeFailure { kind, code, request_id } = match answer {
                Ok(credentials) => {
                    let (credentials, expires_at) = kept(credentials, now);
                    return Ok((credentials, expires_at, account.customer.as_deref().map(Arc::from)));
                }
                Err(failure) => failure,
            };
            match kind {
                AssumeFailureKind::Denied { our_fault } => {
                    denials += 1;
                    if denials >= DENIED_TRIES || our_fault {
                        return Err(SessionError::Denied { code, request_id, tries: denials, our_fault });
                    }
                }
                AssumeFailureKind::HubExpired => {
                    return Err(SessionError::Unavailable(format!("our own credentials: {code}")));
                }
                AssumeFailureKind::Permanent => return Err(SessionError::Unusable(code)),
                AssumeFailureKind::Throttled | AssumeFailureKind::Transient => last = code,
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
        Err(SessionError::Unavailable(if last.is_empty() { "STS did not answer".into() } else { last }))
    }

    /// STS's limit belongs to the hub's account, and so to the whole fleet: no store, no new session.
    pub(crate) async fn permit(&self) -> Result<(), SessionError> {
        self.share("sts", STS_RATE, STS_RATE / 10.0).await
    }

    /// A permit of what an organisation's accounts draw on together, wherever they are read. The customer stands for the
    /// organisation; an account that was connected without one is alone with its own limiter.
    pub(crate) async fn organization_permit(
        &self,
        session: &Session,
        bucket: &str,
        rate: f64,
    ) -> Result<(), SessionError> {
        match &session.customer {
            Some(customer) => self.share(&format!("organization/{customer}/{bucket}"), rate, rate.max(1.0)).await,
            None => Ok(()),
        }
    }

    async fn share(&self, bucket: &str, rate: f64, burst: f64) -> Result<(), SessionError> {
        for _ in 0..10_000 {
            match self.store.take_shared(bucket, rate, burst).await {
                Ok(None) => return Ok(()),
                Ok(Some(wait)) => tokio::time::sleep(wait).await,
                Err(error) => return Err(SessionError::Unavailable(error.to_string())),
            }
        }
        Err(SessionError::Unavailable(format!("the limit that many share is used up: {}", limit_of(bucket))))
    }
}

/// A shared bucket's name without its customer's.
fn limit_of(bucket: &str) -> &str {
    bucket.splitn(3, '/').last().unwrap_or(bucket)
}

/// Credentials, when they end, and who the account belongs to.
type Assumed = (Credentials, Timestamp, Option<Arc<str>>);

/// How an AssumeRole ended, as a label.
fn label(kind: &AssumeFailureKind) -> &'static str {
    match kind {
        AssumeFailureKind::Denied { our_fault: true } => "our_fault",
        AssumeFailureKind::Denied { .. } => "denied",
        AssumeFailureKind::HubExpired => "hub_expired",
        AssumeFailureKind::Permanent => "permanent",
        AssumeFailureKind::Throttled => "throttled",
        AssumeFailureKind::Transient => "transient",
    }
}

fn kept(keys: SessionKeys, now: Timestamp) -> (Credentials, Timestamp) {
    // An expiry that is not in the future would make every call assume the role anew.
    let stated = keys.expires_at.unwrap_or(now);
    let expires_at = stated.max(now + MARGIN + SignedDuration::from_secs(1));
    let until = SystemTime::from(expires_at);
    let kept = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        Some(until),
        "AssumeRole",
    );
    (kept, expires_at)
}
