//! One classifier for every answer that is an error.

use fleetscan_proto::{DeniedBy, catalogue::Operation};

/// What an error answer means for whoever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too fast: slow down and try again.
    Throttled,
    /// No permission.
    Denied(DeniedBy),
    /// There is none: an answer.
    Absent,
    /// The session's time is up.
    SessionExpired,
    /// The session's credentials are not known here: the region is not enabled, or the role is gone.
    SessionInvalid,
    /// The service is not available to the account in this region.
    NotSubscribed,
    /// AWS's fault: try again.
    Transient,
    /// The page token is not accepted any more.
    BadToken,
    /// Anything else: trying again will not help.
    Permanent,
}

/// Codes that mean throttling, of all services: botocore's and smithy-rs's sets, and SNS's `Throttled`, which both lack.
const THROTTLING: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "Throttled",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "TransactionInProgressException",
    "ThrottlingExceptionException",
];
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedException",
    "NotAuthorized",
    "AllAccessDisabled",
    "AccountProblem",
];
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
const INVALID: &[&str] = &[
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "InvalidToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "IncompleteSignature",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
];
const UNSUBSCRIBED: &[&str] = &["OptInRequired", "SubscriptionRequiredException", "NotSignedUp"];
const TRANSIENT: &[&str] = &[
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "InternalServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ServiceException",
    "ServerException",
    "Unavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalErrorException",
    "ServiceFailureException",
    "ServiceFailure",
];
const BAD_TOKEN: &[&str] = &[
    "InvalidNextToken",
    "InvalidNextTokenException",
    "InvalidPaginationToken",
    "InvalidPaginationTokenException",
    "ExpiredNextToken",
    "ExpiredNextTokenException",
    "InvalidMarker",
    "PaginationException",
];

/// Classifies an error answer by its code, text and HTTP status; `paged` says that a page token was sent.
pub fn classify(operation: &Operation, status: u16, code: &str, message: &str, paged: bool) -> Class {
    let is = |set: &[&str]| set.contains(&code);
    // A file's own codes come first: an operation's "not found" is its answer, and some name their denial oddly.
    let says = |(c, text): &(String, String)| c == code && message.contains(text.as_str());
    if operation.absent.iter().any(|c| c == code) || operation.absent_with_text.iter().any(says) {
        return Class::Absent;
    }
    if operation.denied.iter().any(|c| c == code) || is(DENIED) {
        return Class::Denied(denied_by(message));
    }
    // "LimitExceededException" is a throttle for some services and a quota for others; only 400s and 429s are throttles.
    if is(THROTTLING) || status == 429 || code.ends_with("Throttling") || code.ends_with("ThrottlingException") {
        return Class::Throttled;
    }
    if is(EXPIRED) {
        return Class::SessionExpired;
    }
    if is(INVALID) {
        return Class::SessionInvalid;
    }
    if is(UNSUBSCRIBED) {
        return Class::NotSubscribed;
    }
    if is(TRANSIENT) || status >= 500 {
        return Class::Transient;
    }
    if paged && (is(BAD_TOKEN) || speaks_of_token(code, message)) {
        return Class::BadToken;
    }
    match status {
        403 => Class::Denied(denied_by(message)),
        _ => Class::Permanent,
    }
}

fn speaks_of_token(code: &str, message: &str) -> bool {
    let invalid = code.contains("Validation")
        || code.starts_with("InvalidParameter")
        || code == "InvalidArgument"
        || code == "InvalidInput";
    let message = message.to_ascii_lowercase();
    invalid && (message.contains("token") || message.contains("marker"))
}

/// Which policy denied, as AWS's text tells it. Source: IAM User Guide, "Troubleshoot access denied error messages".
pub fn denied_by(message: &str) -> DeniedBy {
    if message.contains("service control policy") {
        DeniedBy::Scp
    } else if message.contains("permissions boundary") || message.contains("session policy") {
        DeniedBy::Boundary
    } else if message.contains("resource-based policy")
        || message.contains("VPC endpoint policy")
        || message.contains("resource control policy")
    {
        DeniedBy::Resource
    } else if message.contains("identity-based policy") {
        DeniedBy::Identity
    } else {
        DeniedBy::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;

    fn lambda() -> Catalogue {
        let text = r#"
            service = "lambda"
            title = "AWS Lambda"
            protocol = "rest-json"
            scope = "regional"
            [[limit]]
            group = "g"
            rate = 1
            source = "s"
            [[operation]]
            name = "GetPolicy"
            absent = ["ResourceNotFoundException"]
        "#;
        Catalogue::from_files([("lambda.toml", text)]).expect("sound")
    }

    #[test]
    fn every_services_throttling_code_is_a_throttle() {
        let catalogue = lambda();
        let operation = catalogue.operation("lambda", "GetPolicy").expect("there");
        for (status, code) in [
            (400, "Throttling"),
            (503, "RequestLimitExceeded"),
            (503, "EC2ThrottledException"),
            (429, "TooManyRequestsException"),
            (400, "TooManyRequestsException"),
            (429, "ThrottlingException"),
            (400, "ThrottlingException"),
            (429, "Throttled"),
            (503, "SlowDown"),
            (400, "ProvisionedThroughputExceededException"),
            (429, "SomethingNew"),
        ] {
            assert_eq!(classify(operation, status, code, "", false), Class::Throttled, "{code}");
        }
    }

    #[test]
    fn denials_absences_and_sessions_are_told_apart() {
        let catalogue = lambda();
        let operation = catalogue.operation("lambda", "GetPolicy").expect("there");
        let by = |code, text| classify(operation, 403, code, text, false);
        assert_eq!(
            by("AccessDeniedException", "x with an explicit deny in a service control policy: arn"),
            Class::Denied(DeniedBy::Scp)
        );
        assert_eq!(
            by("UnauthorizedOperation", "because no identity-based policy allows the ec2:X action"),
            Class::Denied(DeniedBy::Identity)
        );
        assert_eq!(by("AuthorizationError", ""), Class::Denied(DeniedBy::Unknown));
        assert_eq!(by("InvalidClientTokenId", ""), Class::SessionInvalid);
        assert_eq!(classify(operation, 401, "AuthFailure", "", false), Class::SessionInvalid);
        assert_eq!(classify(operation, 404, "ResourceNotFoundException", "", false), Class::Absent);
        assert_eq!(classify(operation, 400, "ExpiredTokenException", "", false), Class::SessionExpired);
        assert_eq!(classify(operation, 503, "ServiceUnavailable", "", false), Class::Transient);
        assert_eq!(classify(operation, 400, "ValidationException", "The token is invalid", true), Class::BadToken);
        assert_eq!(classify(operation, 400, "ValidationException", "The token is invalid", false), Class::Permanent);
    }
}
