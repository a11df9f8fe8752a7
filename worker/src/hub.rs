//! The principal that fleetscan runs as, in the operator's own account. Its clients are not those of customers'
//! sessions: they can do no more than assume roles and say who they are.

use crate::http::Http;
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sts::{
    config::ProvideCredentials,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use fleetscan_proto::{Account, AccountId};
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
    /// They are over.
    #[error(
        "the AWS credentials that fleetscan runs with have expired: sign in again (for SSO, `aws sso login`), then run the same command"
    )]
    Expired,
    /// AWS does not know them.
    #[error("AWS does not accept the credentials that fleetscan runs with ({0}): check the profile or the access key")]
    Rejected(String),
    /// No answer.
    #[error("STS cannot be reached at {0}: check the network, the proxy and AWS_ENDPOINT_URL")]
    Unreachable(String),
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
    sts: aws_sdk_sts::Client,
    http: Http,
    endpoint: String,
    provider: aws_sdk_sts::config::SharedCredentialsProvider,
}

impl Hub {
    /// Finds credentials and the STS endpoint; calls nothing yet.
    pub async fn connect(options: HubOptions) -> Result<Hub, HubError> {
        let region = options.sts_region.unwrap_or_else(|| STS_REGION.to_owned());
        let bare = Http::new(None);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(bare.sdk_client())
            .region(Region::new(region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_timeout(Duration::from_secs(30))
                    .build(),
            );
        if let Some((key, secret)) = options.credentials {
            loader = loader.credentials_provider(aws_credential_types::Credentials::new(
                key,
                secret,
                None,
                None,
                "fleetscan",
            ));
        }
        if let Some(endpoint) = &options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let endpoint = config.endpoint_url().map(str::to_owned);
        let provider = config.credentials_provider().ok_or(HubError::NoCredentials)?;
        Ok(Hub {
            sts: aws_sdk_sts::Client::new(&config),
            http: Http::new(endpoint.clone()),
            endpoint: endpoint.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com")),
            provider,
        })
    }

    /// The HTTP client, pointed at the same endpoint.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Where STS is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Who we are: STS's GetCallerIdentity, which needs no permission.
    pub async fn identity(&self) -> Result<Identity, HubError> {
        if let Err(error) = self.provider.provide_credentials().await {
            return Err(no_credentials(&error));
        }
        match self.sts.get_caller_identity().send().await {
            Ok(who) => Ok(Identity { account: who.account.unwrap_or_default(), arn: who.arn.unwrap_or_default() }),
            Err(error) => Err(self.hub_error(&error)),
        }
    }

    /// When the hub's credentials end, asked of where they come from; `None`: they say nothing of an end.
    ///
    /// # Errors
    /// When there are none.
    pub async fn credentials_end(&self) -> Result<Option<jiff::Timestamp>, HubError> {
        let credentials = self.provider.provide_credentials().await.map_err(|error| no_credentials(&error))?;
        Ok(credentials.expiry().and_then(|at| jiff::Timestamp::try_from(at).ok()))
    }

    fn hub_error<E: ProvideErrorMetadata, R>(&self, error: &SdkError<E, R>) -> HubError {
        let code = error.code().unwrap_or_default().to_owned();
        match (error, code.as_str()) {
            (_, "ExpiredToken" | "ExpiredTokenException") => HubError::Expired,
            (_, "InvalidClientTokenId" | "SignatureDoesNotMatch" | "AccessDenied" | "UnrecognizedClientException") => {
                HubError::Rejected(code)
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
        let answer = self
            .sts
            .assume_role()
            .role_arn(account.grant.role_arn.expose())
            .external_id(account.grant.external_id.expose())
            .role_session_name(session_name)
            .duration_seconds(900)
            .set_policy(policy.map(str::to_owned))
            .send()
            .await;
        match answer {
            Ok(output) => output.credentials.ok_or_else(|| AssumeFailure {
                kind: AssumeFailureKind::Transient,
                code: "NoCredentials".into(),
                request_id: None,
            }),
            Err(error) => Err(assume_failure(&error)),
        }
    }
}

fn no_credentials(error: &aws_credential_types::provider::error::CredentialsError) -> HubError {
    use aws_credential_types::provider::error::CredentialsError as E;
    match error {
        E::CredentialsNotLoaded(_) => HubError::NoCredentials,
        other => HubError::Rejected(sentence(other)),
    }
}

fn assume_failure<E: ProvideErrorMetadata + std::fmt::Debug>(
    error: &SdkError<E, aws_sdk_sts::config::http::HttpResponse>,
) -> AssumeFailure {
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let kind = match (error, code) {
        (_, "AccessDenied" | "AccessDeniedException") => AssumeFailureKind::Denied {
            our_fault: message.contains("because no identity-based policy allows")
                || message.contains("explicit deny in a service control policy"),
        },
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

/// The first line of an error, without its causes: enough for a person, and without a token in it.
fn sentence(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(120).collect()
}

/// A session's name, as DESIGN and AWS's character rules (`[\w+=,.@-]{2,64}`) want it.
pub fn session_name(prefix: &str, account: &AccountId, now: jiff::Timestamp) -> String {
    format!("{prefix}-{account}-{}", now.as_second())
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c))
        .take(64)
        .collect()
}
