//! The principal that fleetscan runs as, in the operator's own account. Its clients are not those of customers'
//! sessions: they can do no more than assume roles and say who they are.

mod regions;
mod role;

pub use role::HubRole;

use crate::{
    classify::denied_by,
    fips,
    http::{Http, is_untrusted},
    network::{Network, NetworkError},
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sts::{
    config::http::HttpResponse,
    config::{IdentityCache, ProvideCredentials, SharedCredentialsProvider},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        RequestId,
        assume_role::{AssumeRoleError, AssumeRoleOutput},
    },
};
use fleetscan_proto::{Account, AccountId, DeniedBy, partition_of};
use futures_util::future::BoxFuture;
use regions::StsRegions;
use role::RoleCredentials;
use std::time::Duration;

/// Signing region of STS where nothing else was chosen: the only default region whose endpoint a customer cannot
/// switch off, and whose tokens work in every enabled region (IAM User Guide, "Manage AWS STS in an AWS Region").
pub const STS_REGION: &str = "us-east-1";

/// How the hub is found.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// Replaces AWS's hosts; by default `AWS_ENDPOINT_URL` does.
    pub endpoint: Option<String>,
    /// Region of STS; by default [`STS_REGION`].
    pub sts_region: Option<String>,
    /// Region of STS while the first one cannot be reached or errs; by default none.
    pub sts_fallback_region: Option<String>,
    /// Assumed before anybody else's; by default none.
    pub role: Option<HubRole>,
    /// How AWS is reached.
    pub network: Network,
    /// Access key id and secret, in place of the ordinary credential chain: the demo's.
    pub credentials: Option<(String, String)>,
}

/// Who the hub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its account.
    pub account: String,
    /// Its ARN.
    pub arn: String,
}

/// Why the hub cannot act; each text is a sentence that says what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The credential chain has nothing.
    #[error(
        "no AWS credentials were found for fleetscan itself: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where an instance or task role is attached"
    )]
    NoCredentials,
    /// Where they should come from gives none.
    #[error(
        "AWS credentials for fleetscan itself cannot be loaded ({0}): check AWS_PROFILE and the program or role that it names, or run where an instance or task role is attached"
    )]
    NotLoaded(String),
    /// They are over.
    #[error(
        "the AWS credentials that fleetscan runs with have expired: sign in again (for SSO, `aws sso login`), then run the same command"
    )]
    Expired,
    /// AWS does not know them.
    #[error("AWS does not accept the credentials that fleetscan runs with ({0}): check the profile or the access key")]
    Rejected(String),
    /// The role that was named cannot be assumed.
    #[error(
        "fleetscan's own role, which --hub-role names, cannot be assumed ({0}): check that it exists, that it trusts the identity that fleetscan runs with, and its ExternalId"
    )]
    Role(String),
    /// There is no such way to AWS.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No answer.
    #[error("STS cannot be reached at {0}: check the network, the proxy and AWS_ENDPOINT_URL")]
    Unreachable(String),
    /// Somebody answers, with a certificate that nobody here vouches for.
    #[error(
        "the certificate that {0} shows is none that this machine trusts: where a proxy opens TLS, or the endpoint is your own, name its authority's certificates with --ca-bundle (FLEETSCAN_CA_BUNDLE, AWS_CA_BUNDLE)"
    )]
    Untrusted(String),
    /// AWS asked to slow down, or erred itself, for too long.
    #[error("STS does not answer as it should ({0}): try again in a minute")]
    Unavailable(String),
}

/// What AssumeRole answered when it did not let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeFailure {
    /// What it means.
    pub kind: AssumeFailureKind,
    /// AWS's code.
    pub code: String,
    /// AWS's request id.
    pub request_id: Option<String>,
}

/// What an AssumeRole that failed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssumeFailureKind {
    /// The role is gone, the ExternalId or the trust was changed, the account closed: AWS does not tell which.
    Denied {
        /// The text says that our own identity's policies deny it.
        our_fault: bool,
    },
    /// Our own credentials ended.
    HubExpired,
    /// Too fast.
    Throttled,
    /// Try again.
    Transient,
    /// The grant or the request cannot work (STS off in the region, session too long, policy malformed).
    Permanent,
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    sts: StsRegions,
    http: Http,
    endpoint: String,
    /// The first one, and the one that stands in.
    sts_regions: (String, Option<String>),
    provider: SharedCredentialsProvider,
    role: Option<RoleCredentials>,
}

impl Hub {
    /// Finds credentials and the STS endpoint; calls nothing yet.
    pub async fn connect(options: HubOptions) -> Result<Hub, HubError> {
        let network = &options.network;
        let region = options.sts_region.clone().unwrap_or_else(|| STS_REGION.to_owned());
        for region in [Some(&region), options.sts_fallback_region.as_ref()].into_iter().flatten() {
            if network.fips && fips::host("sts", region).is_none() {
                return Err(NetworkError::NoFipsSts(region.clone()).into());
            }
        }
        let config = sdk_config(&options, &region).await?;
        let endpoint = config.endpoint_url().map(str::to_owned);
        let http = Http::new(endpoint.clone(), network)?;
        let provider = config.credentials_provider().ok_or(HubError::NoCredentials)?;
        let fallback = options.sts_fallback_region.as_deref().filter(|fallback| *fallback != region);
        let base = StsRegions::of(&config, fallback);
        let role = options.role.clone().map(|role| RoleCredentials::new(role, base.clone()));
        let sts = match &role {
            None => base,
            Some(role) => {
                // Its credentials are kept and renewed by itself, and must not be kept longer elsewhere.
                let provider = SharedCredentialsProvider::new(role.clone());
                let builder = config.to_builder().credentials_provider(provider);
                StsRegions::of(&builder.identity_cache(IdentityCache::no_cache()).build(), fallback)
            }
        };
        let host = match network.fips {
            true => fips::host("sts", &region).map(str::to_owned),
            false => None,
        };
        let host = host.unwrap_or_else(|| format!("sts.{region}.{}", partition_of(&region).1));
        let endpoint = endpoint.unwrap_or_else(|| format!("https://{host}"));
        let sts_regions = (region.clone(), fallback.map(str::to_owned));
        Ok(Hub { sts, http, endpoint, sts_regions, provider, role })
    }

    /// The HTTP client, pointed at the same endpoint.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Where STS is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Regions of STS, in the order in which they are asked.
    pub fn sts_regions(&self) -> impl Iterator<Item = &str> {
        [Some(&self.sts_regions.0), self.sts_regions.1.as_ref()].into_iter().flatten().map(String::as_str)
    }

    /// Who we are: STS's GetCallerIdentity, which needs no permission.
    pub async fn identity(&self) -> Result<Identity, HubError> {
        let used = self.credentials().await?;
        match self.sts.call(|sts| Box::pin(sts.get_caller_identity().send())).await {
            Ok(who) => Ok(Identity { account: who.account.unwrap_or_default(), arn: who.arn.unwrap_or_default() }),
            Err(error) => {
                let error = self.hub_error(&error);
                if let (Some(role), HubError::Expired | HubError::Rejected(_)) = (&self.role, &error) {
                    role.forget(used.access_key_id()).await;
                }
                Err(error)
            }
        }
    }

    /// When the hub's credentials end, asked of where they come from; `None`: they say nothing of an end.
    ///
    /// # Errors
    /// When there are none.
    pub async fn credentials_end(&self) -> Result<Option<jiff::Timestamp>, HubError> {
        let credentials = self.credentials().await?;
        Ok(credentials.expiry().and_then(|at| jiff::Timestamp::try_from(at).ok()))
    }

    /// The hub's credentials: its role's, where it has one.
    async fn credentials(&self) -> Result<aws_credential_types::Credentials, HubError> {
        let found = match &self.role {
            Some(role) => role.get().await?,
            None => self.provider.provide_credentials().await.map_err(|error| no_credentials(&error))?,
        };
        // A program or file that hands them out may not notice that they are over.
        match found.expiry().is_some_and(|end| end <= std::time::SystemTime::now()) {
            true => Err(HubError::Expired),
            false => Ok(found),
        }
    }

    fn hub_error<E: ProvideErrorMetadata, R>(&self, error: &SdkError<E, R>) -> HubError {
        let code = error.code().unwrap_or_default().to_owned();
        match (error, code.as_str()) {
            (_, "ExpiredToken" | "ExpiredTokenException") => HubError::Expired,
            (_, "InvalidClientTokenId" | "SignatureDoesNotMatch" | "AccessDenied" | "UnrecognizedClientException") => {
                HubError::Rejected(code)
            }
            (SdkError::DispatchFailure(failure), _) if failure.as_connector_error().is_some_and(is_untrusted) => {
                HubError::Untrusted(self.endpoint.clone())
            }
            (SdkError::DispatchFailure(_) | SdkError::TimeoutError(_), _) => {
                HubError::Unreachable(self.endpoint.clone())
            }
            (SdkError::ConstructionFailure(_), _) => HubError::NoCredentials,
            (SdkError::ResponseError(_), _) => HubError::Unavailable("an answer that is not STS's".into()),
            _ => HubError::Unavailable(if code.is_empty() { "an error without a code".into() } else { code }),
        }
    }

    /// Whether an account's role lets us in: AssumeRole, and the session is dropped unused.
    pub async fn lets_in(&self, account: &Account, session_name: &str) -> Result<(), AssumeFailure> {
        self.assume_role(account, session_name, None).await.map(drop)
    }

    /// AssumeRole for an account, with its ExternalId, for 900 seconds.
    pub(crate) async fn assume_role(
        &self,
        account: &Account,
        session_name: &str,
        policy: Option<&str>,
    ) -> Result<aws_sdk_sts::types::Credentials, AssumeFailure> {
        self.ask(account, Some(account.grant.external_id.expose()), session_name, policy).await
    }

    /// Whether an account's role lets us in with another ExternalId than its own, or with none: it must not. What it
    /// gives is dropped unused.
    ///
    /// # Errors
    /// When AWS gave no answer to that.
    pub async fn lets_in_with(
        &self,
        account: &Account,
        external_id: Option<&str>,
        session_name: &str,
    ) -> Result<bool, AssumeFailure> {
        match self.ask(account, external_id, session_name, None).await {
            Ok(credentials) => {
                drop(credentials);
                Ok(true)
            }
            Err(AssumeFailure { kind: AssumeFailureKind::Denied { .. }, .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(
        &self,
        account: &Account,
        external_id: Option<&str>,
        session_name: &str,
        policy: Option<&str>,
    ) -> Result<aws_sdk_sts::types::Credentials, AssumeFailure> {
        let mut used = None;
        if let Some(role) = &self.role {
            match role.get().await {
                Ok(credentials) => used = Some((role, credentials)),
                Err(error) => {
                    tracing::debug!(%error, "hub.no_role");
                    let code = "HubRoleUnavailable".to_owned();
                    return Err(AssumeFailure { kind: AssumeFailureKind::HubExpired, code, request_id: None });
                }
            }
        }
        let call = |sts: aws_sdk_sts::Client| {
            let request = sts
                .assume_role()
                .role_arn(account.grant.role_arn.expose())
                .set_external_id(external_id.map(str::to_owned))
                .role_session_name(session_name)
                .duration_seconds(900)
                .set_policy(policy.map(str::to_owned));
            Box::pin(request.send())
                as BoxFuture<'static, Result<AssumeRoleOutput, SdkError<AssumeRoleError, HttpResponse>>>
        };
        match self.sts.call(call).await {
            Ok(output) => output.credentials.ok_or_else(|| AssumeFailure {
                kind: AssumeFailureKind::Transient,
                code: "NoCredentials".into(),
                request_id: None,
            }),
            Err(error) => {
                let failure = assume_failure(&error);
                if let (Some((role, credentials)), AssumeFailureKind::HubExpired) = (used, failure.kind) {
                    role.forget(credentials.access_key_id()).await;
                }
                Err(failure)
            }
        }
    }
}

impl StsRegions {
    /// STS in the region of `config`, and in another one.
    fn of(config: &SdkConfig, fallback: Option<&str>) -> Self {
        let client = |config: &SdkConfig| aws_sdk_sts::Client::new(config);
        let second = fallback.map(|region| config.to_builder().region(Region::new(region.to_owned())).build());
        Self::new(client(config), second.as_ref().map(client))
    }
}

async fn sdk_config(options: &HubOptions, region: &str) -> Result<SdkConfig, HubError> {
    let bare = Http::new(None, &options.network)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(bare.sdk_client())
        .region(Region::new(region.to_owned()))
        .use_fips(options.network.fips)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_timeout(Duration::from_secs(30))
                .build(),
        );
    if let Some((key, secret)) = &options.credentials {
        loader =
            loader.credentials_provider(aws_credential_types::Credentials::new(key, secret, None, None, "fleetscan"));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Ok(loader.load().await)
}

fn no_credentials(error: &aws_credential_types::provider::error::CredentialsError) -> HubError {
    use aws_credential_types::provider::error::CredentialsError as E;
    match error {
        E::CredentialsNotLoaded(_) => HubError::NoCredentials,
        other => HubError::NotLoaded(sentence(other)),
    }
}

fn assume_failure<E: ProvideErrorMetadata + std::fmt::Debug>(
    error: &SdkError<E, aws_sdk_sts::config::http::HttpResponse>,
) -> AssumeFailure {
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let kind = match (error, code) {
        (_, "AccessDenied" | "AccessDeniedException") => {
            AssumeFailureKind::Denied { our_fault: names_our_side(message) }
        }
        (_, "ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "SignatureDoesNotMatch") => {
            AssumeFailureKind::HubExpired
        }
        (_, "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequestsException") => {
            AssumeFailureKind::Throttled
        }
        (SdkError::ServiceError(answer), _) if answer.raw().status().as_u16() >= 500 => AssumeFailureKind::Transient,
        (SdkError::ServiceError(_), _) => AssumeFailureKind::Permanent,
        _ => AssumeFailureKind::Transient,
    };
    AssumeFailure { kind, code: code.to_owned(), request_id: error.request_id().map(str::to_owned) }
}

/// Whether the text of AssumeRole's denial names a policy of the caller's side: the hub's identity, its boundary or
/// session, its organisation's service control policies, or the VPC endpoint that the call went through. The role's own
/// side is its trust policy and its organisation's resource control policies. Source: IAM User Guide, "Troubleshoot
/// access denied error messages".
fn names_our_side(message: &str) -> bool {
    matches!(denied_by(message), DeniedBy::Identity | DeniedBy::Scp | DeniedBy::Boundary)
        || message.contains("VPC endpoint policy")
}

/// The first line of an error, without its causes: enough for a person, and without a token in it.
fn sentence(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(120).collect()
}

/// A session's name, as DESIGN and AWS's character rules (`[\w+=,.@-]{2,64}`) want it.
pub fn session_name(prefix: &str, account: &AccountId, now: jiff::Timestamp) -> String {
    fitting(&format!("{prefix}-{account}-{}", now.as_second()))
}

/// What of a name AWS takes for a session's.
fn fitting(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c)).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_that_names_a_policy_of_our_own_side_is_our_fault() {
        let denied = "User: arn:aws:sts::999999999999:assumed-role/hub/x is not authorized to perform: sts:AssumeRole on \
                      resource: arn:aws:iam::111122223333:role/SecurityV0ReadOnly";
        for ours in [
            " because no identity-based policy allows the sts:AssumeRole action",
            " with an explicit deny in an identity-based policy",
            " because no service control policy allows the sts:AssumeRole action",
            " with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-x/p-y",
            " because no permissions boundary allows the sts:AssumeRole action",
            " with an explicit deny in a permissions boundary",
            " because no session policy allows the sts:AssumeRole action",
            " because no VPC endpoint policy allows the sts:AssumeRole action",
        ] {
            assert!(names_our_side(&format!("{denied}{ours}")), "{ours}");
        }
        for theirs in [
            "",
            " because no role trust policy allows the sts:AssumeRole action",
            " because no resource-based policy allows the sts:AssumeRole action",
            " with an explicit deny in a resource-based policy",
            " with an explicit deny in a resource control policy",
        ] {
            assert!(!names_our_side(&format!("{denied}{theirs}")), "{theirs}");
        }
    }
}
