//! Each service refuses in its own protocol's words.

mod support;

use fleetscan_proto::catalogue::Catalogue;
use fleetscan_simulator::{CallResult, Config, Limits, Simulator, WorldKind};
use support::{Client, Plain, account, start};

/// A service of each protocol, an operation of it, and the words it refuses with (code and status).
struct Words {
    service: &'static str,
    operation: &'static str,
    denied: (&'static str, u16),
    throttled: (&'static str, u16),
    expired: (&'static str, u16),
    region_disabled: Option<(&'static str, u16)>,
    unknown_operation: (&'static str, u16),
}

const WORDS: &[Words] = &[
    Words {
        service: "lambda",
        operation: "ListFunctions",
        denied: ("AccessDeniedException", 403),
        throttled: ("TooManyRequestsException", 429),
        expired: ("ExpiredTokenException", 403),
        region_disabled: Some(("UnrecognizedClientException", 403)),
        unknown_operation: ("UnknownOperationException", 404),
    },
    Words {
        service: "dynamodb",
        operation: "ListTables",
        denied: ("AccessDeniedException", 400),
        throttled: ("ThrottlingException", 400),
        expired: ("ExpiredTokenException", 400),
        region_disabled: Some(("UnrecognizedClientException", 400)),
        unknown_operation: ("UnknownOperationException", 400),
    },
    Words {
        service: "ssm",
        operation: "DescribeParameters",
        denied: ("AccessDeniedException", 400),
        throttled: ("ThrottlingException", 400),
        expired: ("ExpiredTokenException", 400),
        region_disabled: Some(("UnrecognizedClientException", 400)),
        unknown_operation: ("UnknownOperationException", 400),
    },
    Words {
        service: "iam",
        operation: "ListAccountAliases",
        denied: ("AccessDenied", 403),
        throttled: ("Throttling", 400),
        expired: ("ExpiredToken", 403),
        region_disabled: None,
        unknown_operation: ("InvalidAction", 400),
    },
    Words {
        service: "sns",
        operation: "ListTopics",
        denied: ("AuthorizationError", 403),
        throttled: ("Throttled", 429),
        expired: ("ExpiredToken", 403),
        region_disabled: Some(("InvalidClientTokenId", 403)),
        unknown_operation: ("InvalidAction", 400),
    },
    Words {
        service: "ec2",
        operation: "DescribeVpcs",
        denied: ("UnauthorizedOperation", 403),
        throttled: ("RequestLimitExceeded", 503),
        expired: ("RequestExpired", 400),
        region_disabled: Some(("AuthFailure", 401)),
        unknown_operation: ("InvalidAction", 400),
    },
    Words {
        service: "s3",
        operation: "ListBuckets",
        denied: ("AccessDenied", 403),
        throttled: ("SlowDown", 503),
        expired: ("ExpiredToken", 400),
        region_disabled: Some(("InvalidToken", 400)),
        unknown_operation: ("MethodNotAllowed", 405),
    },
];

fn plain(words: &Words) -> (Plain, String) {
    let service = Catalogue::built_in().service(words.service).expect("in the catalogue");
    let operation = service.operation(words.operation).expect("in the catalogue");
    (Plain::of(service, operation), operation.action.clone())
}

async fn quiet(limits: Limits) -> (Simulator, String) {
    let world = WorldKind::Uniform { items: 2, regions: 1 };
    let simulator = start(Config { accounts: 3, holes: false, world, limits, ..Config::default() }).await;
    let id = account(&simulator, 0);
    (simulator, id)
}

#[tokio::test]
async fn a_detached_action_is_denied_by_the_identity_and_an_scp_says_that_it_is_one() {
    let (simulator, id) = quiet(Limits::Off).await;
    let mut client = Client::of_account(&simulator, &id).await;
    for words in WORDS {
        let (plain, action) = plain(words);
        let mut ask = async || client.call(words.service, "us-east-1", &plain).await;
        assert_eq!(ask().await.status, 200, "{}", words.service);
        simulator.control().detach_actions(&id, [&action]).expect("simulated");
        let denied = ask().await;
        assert_eq!((denied.code().as_str(), denied.status), words.denied, "{}", denied.body);
        assert!(denied.body.contains(&format!("because no identity-based policy allows the {action} action")));
        simulator.control().attach_actions(&id, [&action]).expect("simulated");
        assert_eq!(ask().await.status, 200);
        simulator.control().scp(&id, words.service, true).expect("simulated");
        let denied = ask().await;
        assert_eq!((denied.code().as_str(), denied.status), words.denied);
        assert!(denied.body.contains("with an explicit deny in a service control policy"), "{}", denied.body);
        simulator.control().scp(&id, words.service, false).expect("simulated");
    }
    let counters = simulator.counters();
    assert_eq!(counters.of("lambda:ListFunctions", CallResult::Ok), 2);
    assert_eq!(counters.of("lambda:ListFunctions", CallResult::Denied), 1);
    assert_eq!(counters.of("lambda:ListFunctions", CallResult::DeniedByScp), 1);
}

#[tokio::test]
async fn an_empty_bucket_is_answered_with_the_services_own_throttling_code() {
    // Every bucket holds a single call, and gets none back while this test lasts.
    let (simulator, id) = quiet(Limits::Scaled(1e-7)).await;
    let mut client = Client::of_account(&simulator, &id).await;
    for words in WORDS {
        let (plain, _) = plain(words);
        assert_eq!(client.call(words.service, "us-east-1", &plain).await.status, 200, "{}", words.service);
        let throttled = client.call(words.service, "us-east-1", &plain).await;
        assert_eq!((throttled.code().as_str(), throttled.status), words.throttled, "{}", throttled.body);
    }
    assert_eq!(simulator.counters().throttled, WORDS.len() as u64);
}

#[tokio::test]
async fn expired_sessions_and_disabled_regions_are_told_as_each_protocol_tells_them() {
    let (simulator, id) = quiet(Limits::Off).await;
    let mut client = Client::of_account(&simulator, &id).await;
    for words in WORDS {
        let (plain, _) = plain(words);
        if let Some(disabled) = words.region_disabled {
            let answer = client.call(words.service, "af-south-1", &plain).await;
            assert_eq!((answer.code().as_str(), answer.status), disabled, "{}", answer.body);
            simulator.control().switch_region(&id, "af-south-1", true).expect("simulated");
            assert_eq!(client.call(words.service, "af-south-1", &plain).await.status, 200, "{}", words.service);
            simulator.control().switch_region(&id, "af-south-1", false).expect("simulated");
        }
    }
    simulator.control().expire_sessions();
    for words in WORDS {
        let (plain, _) = plain(words);
        let answer = client.call(words.service, "us-east-1", &plain).await;
        assert_eq!((answer.code().as_str(), answer.status), words.expired, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_scope_that_does_not_fit_the_request_is_refused() {
    let (simulator, id) = quiet(Limits::Off).await;
    let mut client = Client::of_account(&simulator, &id).await;
    let functions = Plain::get("/2015-03-31/functions");
    assert_eq!(client.call("lambda", "us-east-1", &functions).await.status, 200);
    assert_eq!(client.call("lambda", "mars-north-1", &functions).await.status, 403);
    assert_eq!(client.call("nosuch", "us-east-1", &functions).await.code(), "SignatureDoesNotMatch");
    let aliases = Plain::form("Action=ListAccountAliases&Version=2010-05-08");
    assert_eq!(client.call("iam", "eu-west-1", &aliases).await.code(), "SignatureDoesNotMatch", "IAM has one home");
    assert_eq!(client.call("lambda", "us-east-1", &aliases).await.code(), "UnknownOperationException");
}

#[tokio::test]
async fn a_tampered_request_does_not_pass() {
    let (simulator, id) = quiet(Limits::Off).await;
    let mut client = Client::of_account(&simulator, &id).await;
    let mut request = client.signed("lambda", "us-east-1", &Plain::get("/2015-03-31/functions?MaxItems=1"));
    *request.uri_mut() = "/2015-03-31/functions?MaxItems=2".parse().expect("a path");
    assert_eq!(client.send(request).await.code(), "InvalidSignatureException");
    let mut request = client.signed("lambda", "us-east-1", &Plain::get("/2015-03-31/functions"));
    request.headers_mut().remove("authorization");
    assert_eq!(client.send(request).await.code(), "MissingAuthenticationToken");
    assert_eq!(simulator.counters().of("lambda:ListFunctions", CallResult::BadSignature), 1);
}

#[tokio::test]
async fn what_the_catalogue_lacks_is_unknown_and_counted() {
    let (simulator, id) = quiet(Limits::Off).await;
    let mut client = Client::of_account(&simulator, &id).await;
    for words in WORDS {
        let plain = match words.service {
            "lambda" => Plain::get("/2015-03-31/nothing"),
            "dynamodb" => Plain::target("DynamoDB_20120810.Scan", &serde_json::json!({})),
            "ssm" => Plain::target("AmazonSSM.GetParameter", &serde_json::json!({})),
            "s3" => Plain::get("/bucket/key"),
            _ => Plain::form("Action=DeleteEverything&Version=2010-05-08"),
        };
        let answer = client.call(words.service, "us-east-1", &plain).await;
        assert_eq!((answer.code().as_str(), answer.status), words.unknown_operation, "{}", answer.body);
    }
    assert_eq!(simulator.counters().of("dynamodb:?", CallResult::UnknownOperation), 1);
}

#[tokio::test]
async fn a_page_token_that_was_never_given_is_not_accepted() {
    let world = WorldKind::Uniform { items: 7, regions: 1 };
    let simulator = start(Config { accounts: 1, holes: false, world, ..Config::default() }).await;
    let mut client = Client::of_account(&simulator, &account(&simulator, 0)).await;
    let first = client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions?MaxItems=3")).await.json();
    assert_eq!(first["Functions"].as_array().map(Vec::len), Some(3));
    let token = first["NextMarker"].as_str().expect("there is more");
    let next = format!("/2015-03-31/functions?MaxItems=3&Marker={}", token.replace('+', "%2B").replace('=', "%3D"));
    let second = client.call("lambda", "us-east-1", &Plain::get(&next)).await.json();
    assert_ne!(first["Functions"][0], second["Functions"][0]);
    let wrong = client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions?Marker=abc")).await;
    assert_eq!((wrong.code().as_str(), wrong.status), ("InvalidParameterValueException", 400));
    let wrong = client
        .call(
            "ssm",
            "us-east-1",
            &Plain::target("AmazonSSM.DescribeParameters", &serde_json::json!({"NextToken": token})),
        )
        .await;
    assert_eq!(wrong.code(), "InvalidNextToken", "a token of another operation");
    let wrong = client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions?MaxItems=0")).await;
    assert_eq!(wrong.status, 400);
}
