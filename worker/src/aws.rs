//! What stands at the other end of a call: AWS itself, or a model of it.
//!
//! Everything above is the same for both: gate, permits, sessions, slots, classification, retries, deferrals. Below is,
//! for AWS, the signing, the wire and the parsing of an answer ([`Hub`]'s implementation).

use crate::{
    gate::{ArchiveGate, Gate},
    http::SendError,
    hub::{AssumeFailure, AssumeFailureKind, Hub, STS_REGION},
    session::Session,
    typed,
    wire::{RawAnswer, WireError, parse_answer, prepare},
};
use async_trait::async_trait;
use bytes::Bytes;
use fleetscan_proto::{
    Account, AccountId,
    catalogue::{Operation, Service},
    redact,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::{fmt, time::SystemTime};

/// One request on a customer's session.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// In which account.
    pub account: &'a AccountId,
    /// Of which service.
    pub service: &'a Service,
    /// Which operation.
    pub operation: &'a Operation,
    /// Region to sign for.
    pub region: &'a str,
    /// Its parameters.
    pub params: &'a Map<String, Value>,
    /// What it is signed with.
    pub session: &'a Session,
    /// What may leave the process.
    pub gate: &'a Gate,
    /// It is for log files of CloudTrail: what may leave then, in place of what `gate` says.
    pub log_files: Option<&'a ArchiveGate>,
    /// When it is signed.
    pub now: SystemTime,
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// The wire's: to be read, or to be classified.
    Raw(RawAnswer),
    /// A success that needs no reading.
    Parsed(Value),
    /// A log file.
    Object(Bytes),
}

impl Answer {
    /// The answer of a success, without the values that nothing may see; an error's bytes, for the classifier.
    pub(crate) fn read(self, service: &Service, operation: &Operation) -> Result<Value, Unread> {
        let raw = match self {
            Answer::Parsed(value) => return Ok(value),
            Answer::Object(_) => return Err(Unread::Malformed(WireError::Malformed("not a document".into()))),
            Answer::Raw(raw) if raw.status >= 300 => return Err(Unread::Error(raw)),
            Answer::Raw(raw) => raw,
        };
        let mut value = parse_answer(service, operation, &raw).map_err(Unread::Malformed)?;
        // Before anything else can see it; a look at the body tells whether there is anything to hide.
        if redact::may_hold_external_ids(&raw.body) {
            redact::external_ids(&mut value);
        }
        Ok(value)
    }

    /// The bytes of an object; an error's, for the classifier.
    pub(crate) fn object(self) -> Result<Bytes, Unread> {
        match self {
            Answer::Object(bytes) => Ok(bytes),
            Answer::Raw(raw) if raw.status >= 300 => Err(Unread::Error(raw)),
            _ => Err(Unread::Malformed(WireError::Malformed("not an object".into()))),
        }
    }
}

/// An answer that is no success.
pub(crate) enum Unread {
    /// AWS says no.
    Error(RawAnswer),
    /// AWS says yes, in words that cannot be read.
    Malformed(WireError),
}

/// Credentials of a session, as AssumeRole gave them.
pub struct SessionKeys {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token.
    pub session_token: String,
    /// When they end.
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// AWS, as workers see it.
#[async_trait]
pub trait Aws: Send + Sync + 'static {
    /// Sends one request, once.
    async fn exchange(&self, request: Request<'_>) -> Result<Answer, SendError>;

    /// AssumeRole for an account, with its ExternalId, for 900 seconds; once.
    async fn assume(
        &self,
        account: &Account,
        session_name: &str,
        policy: Option<&str>,
    ) -> Result<SessionKeys, AssumeFailure>;

    /// Regions of STS, in the order in which they are asked.
    fn sts_regions(&self) -> Vec<String> {
        vec![STS_REGION.to_owned()]
    }
}

#[async_trait]
impl Aws for Hub {
    async fn exchange(&self, request: Request<'_>) -> Result<Answer, SendError> {
        let Request { account, service, operation, region, params, session, gate, log_files, now } = request;
        if let Some(gate) = log_files {
            return typed::archive::send(self.http(), gate, &operation.name, params, session).await;
        }
        if service.typed {
            let sent = typed::send(self.http(), gate, service, &operation.name, region, params, session);
            return sent.await.map(Answer::Raw);
        }
        let prepared = prepare(service, operation, params.clone());
        let sent = self.http().send(service, operation, region, account, prepared, session.identity(), now);
        sent.await.map(Answer::Raw)
    }

    async fn assume(
        &self,
        account: &Account,
        session_name: &str,
        policy: Option<&str>,
    ) -> Result<SessionKeys, AssumeFailure> {
        let credentials = self.assume_role(account, session_name, policy).await?;
        Ok(SessionKeys {
            expires_at: Timestamp::from_second(credentials.expiration.secs()).ok(),
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
        })
    }

    fn sts_regions(&self) -> Vec<String> {
        Hub::sts_regions(self).map(str::to_owned).collect()
    }
}

/// AWS's answer to an AssumeRole that came too fast.
impl AssumeFailure {
    /// STS says: slower.
    pub fn throttled() -> Self {
        AssumeFailure { kind: AssumeFailureKind::Throttled, code: "Throttling".into(), request_id: None }
    }
}
