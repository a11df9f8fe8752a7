use super::BucketPlace;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use fleetscan_proto::SinkError;

/// IAM actions that the sink needs: on the bucket's objects, and on the bucket itself.
pub const ACTIONS: [&[&str]; 2] = [
    &["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
    &["s3:ListBucket", "s3:ListBucketMultipartUploads"],
];

/// A call that failed: what it was, for sentences that say what to mend. S3's own texts are never shown: those of
/// denials name roles.
pub(super) struct Trouble<'a> {
    pub(super) place: &'a BucketPlace,
    pub(super) kms_key: Option<&'a str>,
    /// The IAM action that it needs.
    pub(super) action: &'static str,
    /// Path, key or folder.
    pub(super) about: &'a str,
}

impl Trouble<'_> {
    /// What an error of the SDK means.
    pub(super) fn of<E>(&self, error: &SdkError<E, HttpResponse>) -> SinkError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let (status, code) = (answer.raw().status().as_u16(), error.code().unwrap_or_default());
                let text = error.message().unwrap_or_default();
                let region = answer.raw().headers().get("x-amz-bucket-region");
                self.of_answer(status, code, region.map(str::to_owned).or_else(|| region_in(text)), text)
            }
            SdkError::TimeoutError(_) => self.later("S3 did not answer in time"),
            SdkError::ResponseError(_) => self.later("the answer broke off"),
            _ if concerns_credentials(error) => SinkError::Refused(no_credentials()),
            SdkError::DispatchFailure(failure) if !failure.is_user() => {
                self.later("S3 cannot be reached: check the network, --out-region and --out-endpoint")
            }
            _ => SinkError::Refused(format!("{}: the call could not be made", self.url())),
        }
    }

    /// There is no such object.
    pub(super) fn missing(&self) -> SinkError {
        SinkError::Missing(format!("{}: there is no such object", self.url()))
    }

    /// What a code means that came without an answer of its own.
    pub(super) fn of_code(&self, code: &str) -> SinkError {
        self.of_answer(if code == "AccessDenied" { 403 } else { 500 }, code, None, "")
    }

    fn of_answer(&self, status: u16, code: &str, region: Option<String>, text: &str) -> SinkError {
        let bucket = &self.place.bucket;
        match (status, code) {
            (_, "NoSuchKey" | "NoSuchUpload") => self.missing(),
            (_, "NoSuchBucket") => SinkError::Refused(format!(
                "there is no bucket {bucket}: make it, or name another with --out s3://BUCKET/PREFIX"
            )),
            (301 | 307, _)
            | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                let region = region.map_or("its own".to_owned(), |region| format!("--out-region {region}"));
                SinkError::Refused(format!(
                    "the bucket {bucket} is in another region: name it with {region} or FLEETSCAN_OUT_REGION"
                ))
            }
            (_, "ExpiredToken" | "ExpiredTokenException" | "RequestTimeTooSkewed") => {
                self.later("the AWS credentials that fleetscan runs with have expired, or the clock is wrong")
            }
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") => SinkError::Refused(format!(
                "S3 does not accept the AWS credentials that fleetscan runs with ({code}): check the profile or the \
                 access key"
            )),
            (_, code) if code.starts_with("KMS.") => SinkError::Refused(format!(
                "the KMS key {} cannot be used ({code}): it must be enabled, and in the bucket's region",
                self.kms_key.unwrap_or("of the bucket")
            )),
            (403, _) => SinkError::Refused(self.denied(text)),
            (429 | 500.., _) => self.later(&format!("S3 asks to wait ({code})")),
            (404, _) => self.missing(),
            _ => SinkError::Refused(format!("{}: S3 refuses it ({})", self.url(), said(status, code))),
        }
    }

    /// Which action is lacking. AWS's text is searched for KMS's actions, and not shown.
    fn denied(&self, text: &str) -> String {
        let kms = ["kms:GenerateDataKey", "kms:Decrypt"].into_iter().find(|action| text.contains(action));
        let bucket = &self.place.bucket;
        match kms {
            Some(action) => format!(
                "{action} is denied on the KMS key that encrypts the bucket {bucket}: allow it in the key's policy and \
                 in that of the identity that fleetscan runs as"
            ),
            None => format!(
                "{} is denied on the bucket {bucket} ({}): allow it to the identity that fleetscan runs as; `fleetscan \
                 catalogue policy --sink {bucket}` prints the whole policy, and the bucket's own policy must not deny it",
                self.action, self.about
            ),
        }
    }

    fn later(&self, why: &str) -> SinkError {
        SinkError::Unavailable(format!("{}: {why}", self.url()))
    }

    fn url(&self) -> String {
        let below = self.about.strip_prefix(&self.place.prefix).unwrap_or(self.about);
        self.place.url(below)
    }
}

fn said(status: u16, code: &str) -> String {
    if code.is_empty() { format!("status {status}") } else { code.to_owned() }
}

fn no_credentials() -> String {
    "no AWS credentials were found to reach the bucket of the results: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
     AWS_SECRET_ACCESS_KEY, or run where an instance or task role is attached"
        .to_owned()
}

/// The region that S3 names in an error: "the region 'us-east-1' is wrong; expecting 'eu-west-1'".
fn region_in(text: &str) -> Option<String> {
    let rest = text.split_once("expecting '")?.1;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// Whether somewhere among the causes the credential chain had nothing.
fn concerns_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
