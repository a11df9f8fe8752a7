use super::{HubError, assume_failure, regions::StsRegions};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use fleetscan_proto::Secret;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Mutex, time::Instant};

/// How long the hub's own session lasts: the most that AWS gives a role that another role assumes (IAM User Guide,
/// "Role chaining").
const LASTS: i32 = 3_600;
/// With less than this left, new credentials are asked for; what is left of the old ones bridges an STS that errs.
const RENEW: Duration = Duration::from_secs(900);
/// With less than this left, the old ones are not used any more: a call begun with them must end in time.
const LAST: Duration = Duration::from_secs(60);
/// How soon a renewal that failed is tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// A role that the hub assumes before it assumes anybody else's.
#[derive(Debug, Clone)]
pub struct HubRole {
    /// `arn:aws:iam::<account>:role/<name>`.
    pub arn: Secret,
    /// What the role's trust asks for, if it does.
    pub external_id: Option<Secret>,
    /// The session is named `<prefix>-Connector-<epoch>`.
    pub session_prefix: String,
}

/// The role's credentials, renewed once for all callers and long before they end.
#[derive(Clone)]
pub(super) struct RoleCredentials(Arc<Inner>);

struct Inner {
    role: HubRole,
    sts: StsRegions,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Credentials>,
    /// When STS gave them.
    since: Option<Instant>,
    failed: Option<(Instant, HubError)>,
    /// Others are being asked for while these do.
    renewing: bool,
}

impl Held {
    fn has_just_failed(&self) -> Option<&HubError> {
        self.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE).map(|(_, why)| why)
    }

    fn keep(&mut self, answer: Result<Credentials, HubError>) -> Result<Credentials, HubError> {
        match answer {
            Ok(fresh) => {
                *self = Held { credentials: Some(fresh.clone()), since: Some(Instant::now()), ..Held::default() };
                Ok(fresh)
            }
            Err(why) => {
                tracing::error!(error = %why, "hub.role_not_renewed");
                self.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }
}

/// What is to be done about credentials.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Nothing.
    Good,
    /// Ask for others; these do until they come.
    Renew,
    /// Ask for others; there is nothing until they come.
    Ask,
}

fn due(left: Option<Duration>) -> Due {
    match left {
        Some(left) if left > RENEW => Due::Good,
        Some(left) if left > LAST => Due::Renew,
        _ => Due::Ask,
    }
}

impl RoleCredentials {
    /// Credentials of `role`, assumed by `sts`, which is the hub's before it has the role.
    pub(super) fn new(role: HubRole, sts: StsRegions) -> Self {
        Self(Arc::new(Inner { role, sts, held: Mutex::default() }))
    }

    /// Credentials that last for a call yet. They are renewed beside the work that they are good for; only where there
    /// are none does everybody wait for the same answer.
    pub(super) async fn get(&self) -> Result<Credentials, HubError> {
        let mut held = self.0.held.lock().await;
        let left = |credentials: &Credentials| credentials.expiry()?.duration_since(SystemTime::now()).ok();
        let due = due(held.credentials.as_ref().and_then(left));
        if due != Due::Ask
            && let Some(good) = held.credentials.clone()
        {
            if due == Due::Renew && !held.renewing && held.has_just_failed().is_none() {
                held.renewing = true;
                tokio::spawn(self.clone().renew());
            }
            return Ok(good);
        }
        if let Some(why) = held.has_just_failed() {
            return Err(why.clone());
        }
        let answer = self.0.assume().await;
        held.keep(answer)
    }

    async fn renew(self) {
        let answer = self.0.assume().await;
        let mut held = self.0.held.lock().await;
        held.renewing = false;
        // A failure is logged where it is kept, and tried again.
        let _kept = held.keep(answer);
    }

    /// AWS does not take the credentials of this key any more: the next caller gets others. Many callers find that out
    /// at once, and late: newer credentials stay, and such as were given a moment ago, since others would fare no better.
    pub(super) async fn forget(&self, access_key_id: &str) {
        let mut held = self.0.held.lock().await;
        let are_these = held.credentials.as_ref().is_some_and(|held| held.access_key_id() == access_key_id);
        if are_these && held.since.is_none_or(|at| at.elapsed() >= PAUSE) {
            held.credentials = None;
        }
    }
}

impl Inner {
    async fn assume(&self) -> Result<Credentials, HubError> {
        let now = jiff::Timestamp::now();
        let name: String = format!("{}-Connector-{}", self.role.session_prefix, now.as_second());
        let name = super::fitting(&name);
        let answer = self.sts.call(|sts| {
            let external_id = self.role.external_id.as_ref().map(|id| id.expose().to_owned());
            let request = sts
                .assume_role()
                .role_arn(self.role.arn.expose())
                .set_external_id(external_id)
                .role_session_name(&name)
                .duration_seconds(LASTS);
            Box::pin(request.send())
        });
        let failed = |code: String| HubError::Role(if code.is_empty() { "no answer".into() } else { code });
        let given = answer.await.map_err(|error| failed(assume_failure(&error).code))?;
        let given = given.credentials.ok_or_else(|| failed("an answer without credentials".into()))?;
        let ends = SystemTime::try_from(given.expiration).map_err(|_| failed("an answer without a time".into()))?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(ends),
            "HubRole",
        ))
    }
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoleCredentials")
    }
}

impl ProvideCredentials for RoleCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.get().await.map_err(CredentialsError::provider_error) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_long_before_they_end_and_used_until_shortly_before() {
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        assert_eq!(due(minutes(60)), Due::Good);
        assert_eq!(due(minutes(14)), Due::Renew);
        assert_eq!(due(minutes(1)), Due::Ask);
        assert_eq!(due(None), Due::Ask);
    }
}
