//! Who may come in: signature, session, region, bucket, permission.

use crate::{
    bucket::Draw,
    engine::{Caller, Engine},
    live::HubBreakage,
    persona::Fate,
    policy::{self, DeniedBy},
    problem::{Kind, Problem},
    region::RegionId,
    request::Incoming,
    route::Target,
    session::Session,
    signature::{Authorization, amz_date},
    world::{AccountIndex, HUB_INDEX},
};
use fleetscan_proto::catalogue::{Scope, Service};

impl Engine {
    /// Who signed, if they did.
    pub(crate) fn caller(
        &self,
        request: &Incoming,
        authorization: &Authorization<'_>,
        now_ms: i64,
    ) -> Result<Caller, Problem> {
        let unknown = || Problem::new(Kind::UnknownToken, "The security token included in the request is invalid.");
        let (caller, secret) = match request.header("x-amz-security-token") {
            Some(token) => {
                let (session, secret) = self.mint.read(authorization.access_key, token).ok_or_else(unknown)?;
                match session.account {
                    HUB_INDEX => (Caller::HubRole(session), secret),
                    _ => (Caller::Session(session), secret),
                }
            }
            None => {
                let (access_key, secret) = self.hub_credentials();
                if authorization.access_key != access_key || self.live.hub() == HubBreakage::Invalid {
                    return Err(unknown());
                }
                (Caller::Hub, secret)
            }
        };
        self.check_date(request, authorization, now_ms)?;
        if !authorization.signs("x-amz-security-token") && !matches!(caller, Caller::Hub) {
            return Err(Problem::new(Kind::BadSignature, "'X-Amz-Security-Token' must be a signed header."));
        }
        if self.config.verify_signatures && !self.verifier.agrees(request, authorization, &secret) {
            let text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
            return Err(Problem::new(Kind::BadSignature, text));
        }
        let is_over = match &caller {
            Caller::HubRole(session) => now_ms >= session.expires || session.issued <= self.live.expired_until(),
            _ => false,
        };
        if is_over || (caller.is_hub() && self.live.hub() == HubBreakage::Expired) {
            return Err(Problem::new(Kind::Expired, "The security token included in the request is expired"));
        }
        Ok(caller)
    }

    fn check_date(&self, request: &Incoming, authorization: &Authorization<'_>, now_ms: i64) -> Result<(), Problem> {
        let wrong = |text: String| Problem::new(Kind::BadSignature, text);
        let date = request.header("x-amz-date").unwrap_or_default();
        let at =
            amz_date(date).ok_or_else(|| wrong(format!("Date must be in ISO-8601 'basic format'. Got '{date}'.")))?;
        if !date.starts_with(authorization.date) {
            return Err(wrong(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{date}'.",
                authorization.date
            )));
        }
        match self.config.clock_skew {
            Some(skew) if (now_ms - at).unsigned_abs() > skew.as_millis() as u64 => {
                Err(wrong(format!("Signature expired: {date} is too far from now.")))
            }
            _ => Ok(()),
        }
    }

    /// The region that a call is for. A global service takes calls for its home alone; S3, for a bucket's.
    pub(crate) fn region(&self, service: &Service, scope: &str) -> Result<RegionId, Problem> {
        match &service.scope {
            Scope::Global { home } if service.id != "s3" && service.id != "s3control" && home != scope => {
                Err(out_of_scope(&format!("a valid region: {home}")))
            }
            _ => RegionId::parse(scope)
                .filter(|region| *region != RegionId::GLOBAL)
                .ok_or_else(|| out_of_scope("a valid region")),
        }
    }

    /// Some customers change their mind as soon as the scan begins to read: see [`Fate::RevokedMidScan`].
    pub(crate) fn revoke_in_mid_scan(&self, account: AccountIndex, service: &Service, now_ms: i64) {
        if self.world.persona(account).fate == Fate::RevokedMidScan
            && service.cells
            && self.live.generation(account) == 0
            && self.live.delete_role(account)
        {
            self.tally.deleted(account, now_ms);
        }
    }

    pub(crate) fn check_session(
        &self,
        caller: &Caller,
        region: RegionId,
        now_ms: i64,
        action: &str,
    ) -> Result<(), Problem> {
        let Caller::Session(session) = caller else { return Ok(()) };
        let unknown = || Problem::new(Kind::UnknownToken, "The security token included in the request is invalid.");
        if now_ms >= session.expires || session.issued <= self.live.expired_until() {
            return Err(Problem::new(Kind::Expired, "The security token included in the request is expired"));
        }
        let gone = self.live.is_deleted(session.account);
        if self.enabled(session.account) & region.bit() == 0 {
            return Err(unknown());
        }
        match gone {
            true if action.starts_with("sts:") => Err(unknown()),
            true => Err(Problem::new(Kind::Denied, policy::denial(DeniedBy::Identity, &caller.arn(self), action))),
            // The role was made anew: it does not know the old one's sessions.
            false if session.generation != self.live.generation(session.account) => Err(unknown()),
            false => Ok(()),
        }
    }

    /// The account's enabled regions, as they are now.
    pub(crate) fn enabled(&self, account: AccountIndex) -> u64 {
        let enabled = self.world.persona(account).enabled;
        self.live.changes(account).map_or(enabled, |changes| changes.regions(enabled))
    }

    pub(crate) fn check_permission(
        &self,
        session: &Session,
        caller: &Caller,
        target: &Target,
        region: RegionId,
    ) -> Result<(), Problem> {
        let Some(operation) = target.operation() else {
            return Err(Problem::new(Kind::UnknownOperation, "The requested operation is not known here."));
        };
        let draw = Draw {
            account: Some(session.account),
            region,
            service: &target.service,
            service_index: target.index as u16,
            operation,
        };
        if !self.buckets.take(&draw) {
            return Err(Problem::new(Kind::Throttled, "Rate exceeded"));
        }
        let changes = self.live.changes(session.account);
        let persona = self.world.persona(session.account);
        let denied = policy::denied(persona, changes.as_ref(), &target.service.id, &operation.action)
            .or_else(|| (!self.policies.allows(session.policy, &operation.action)).then_some(DeniedBy::Session));
        match denied {
            None => Ok(()),
            Some(by) => {
                let text = policy::denial(by, &caller.arn(self), &operation.action);
                Err(Problem::new(Kind::Denied, text))
            }
        }
    }
}

/// A credential scope that does not fit the request.
pub(crate) fn out_of_scope(what: &str) -> Problem {
    Problem::new(Kind::BadSignature, format!("Credential should be scoped to {what}."))
}
