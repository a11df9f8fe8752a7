//! The never-list on the wire: doctored catalogue files whose every call is really made, by the hub's own client, to an
//! endpoint that counts what reaches it.

use super::{
    Gate,
    tests::{JSON, REST, doctored},
};
use crate::{
    aws::{Aws as _, Request},
    counted::CountedEndpoint,
    http::SendError,
    hub::{Hub, HubOptions},
    never::NEVER,
    session::Session,
};
use fleetscan_proto::catalogue::Catalogue;
use std::{sync::Arc, time::SystemTime};

/// How each protocol begins its file, and how an operation of it is asked for.
const PROTOCOLS: [(&str, &str); 7] = [
    (JSON, ""),
    ("protocol = \"json-1.0\"\ntarget_prefix = \"T\"", ""),
    ("protocol = \"query\"\napi_version = \"1\"", ""),
    ("protocol = \"ec2\"\napi_version = \"1\"", ""),
    (REST, "http = \"GET /things\"\n"),
    (REST, "http = \"POST /things\"\n"),
    ("protocol = \"rest-xml\"", "http = \"GET /things?policy\"\n"),
];

/// What AWS has behind each pattern of the list.
const BEHIND: [(&str, &[&str]); 8] = [
    ("ssm:GetParameter*", &["GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory"]),
    ("s3:GetObject*", &["GetObject", "GetObjectAcl", "GetObjectTagging", "GetObjectAttributes", "GetObjectTorrent"]),
    ("s3:ListBucket*", &["ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"]),
    ("lambda:Invoke*", &["Invoke", "InvokeAsync", "InvokeFunction", "InvokeFunctionUrl", "InvokeWithResponseStream"]),
    ("states:Start*", &["StartExecution", "StartSyncExecution", "StartActivity"]),
    ("bedrock:Invoke*", &["InvokeModel", "InvokeModelWithResponseStream", "InvokeAgent", "InvokeFlow"]),
    ("ec2:GetConsole*", &["GetConsoleOutput", "GetConsoleScreenshot"]),
    ("kms:GenerateDataKey*", &["GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyWithoutPlaintext"]),
];

/// Operations that write, of services that customers ask about.
const WRITERS: [(&str, &[&str]); 6] = [
    (
        "iam",
        &[
            "PutRolePolicy",
            "CreateUser",
            "UpdateAssumeRolePolicy",
            "DeleteRole",
            "AttachRolePolicy",
            "DetachUserPolicy",
            "TagRole",
            "UntagRole",
            "AddUserToGroup",
            "PassRole",
        ],
    ),
    ("s3", &["PutBucketPolicy", "CreateBucket", "DeleteBucket", "PutObject", "DeleteObject", "TagResource"]),
    ("lambda", &["CreateFunction", "UpdateFunctionCode", "DeleteFunction", "AddPermission", "UntagResource"]),
    ("ec2", &["CreateTags", "DeleteTags", "AttachVolume", "DetachVolume", "RunInstances", "ModifyInstanceAttribute"]),
    (
        "organizations",
        &["AttachPolicy", "DetachPolicy", "UpdatePolicy", "MoveAccount", "TagResource", "LeaveOrganization"],
    ),
    ("dynamodb", &["PutItem", "UpdateItem", "DeleteItem", "UpdateTable", "ExecuteStatement", "BatchWriteItem"]),
];

/// A hub whose every call goes to an endpoint that counts it.
struct Wire {
    hub: Hub,
    endpoint: CountedEndpoint,
}

impl Wire {
    async fn new() -> Self {
        let endpoint = CountedEndpoint::open().await;
        let credentials = Some(("AKIAHUB".to_owned(), "secret".to_owned()));
        let options = HubOptions { endpoint: Some(endpoint.url.clone()), credentials, ..HubOptions::default() };
        Self { hub: Hub::connect(options).await.expect("a hub"), endpoint }
    }

    /// Makes the one call of a catalogue; answers whether it was refused, and nothing left.
    async fn refuses(&self, catalogue: Catalogue) -> bool {
        let before = self.endpoint.arrived();
        let service = Arc::clone(&catalogue.services()[0]);
        let operation = service.operations[0].clone();
        let gate = Gate::new(Arc::new(catalogue));
        let is_refused = match gate.admit(&service.id, &operation.name) {
            Err(_) => true,
            Ok((service, operation)) => {
                let session = Session::for_tests();
                let account = "111122223333".parse().expect("an id");
                let sent = self.hub.exchange(Request {
                    account: &account,
                    service,
                    operation,
                    region: "us-east-1",
                    params: &operation.input,
                    session: &session,
                    gate: &gate,
                    log_files: None,
                    now: SystemTime::now(),
                });
                matches!(sent.await, Err(SendError::Refused(_)))
            }
        };
        is_refused && self.endpoint.arrived() == before
    }

    /// Each way in which a file can ask for an operation, under each name that its service can go by.
    async fn lets_none_of_it_out(&self, service: &str, operation: &str) {
        for (head, http) in PROTOCOLS {
            let case = format!("{service}:{operation} by {head} {http}");
            assert!(self.refuses(doctored(service, head, operation, http)).await, "{case}");
            for disguise in ["signing_name", "endpoint_prefix"] {
                let head = format!("{head}\n{disguise} = \"{service}\"");
                assert!(self.refuses(doctored("harmless", &head, operation, http)).await, "{case}, {disguise}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_the_never_list_leaves_whatever_a_file_says() {
    let wire = Wire::new().await;
    for pattern in NEVER {
        let (service, name) = pattern.split_once(':').expect("service:Operation");
        let behind = BEHIND.iter().find(|(of, _)| of == pattern).map(|(_, names)| *names);
        let names = match name.strip_suffix('*') {
            // A pattern without real operations behind it would be tried by nothing.
            Some(_) => behind.unwrap_or_else(|| panic!("{pattern}: say what AWS has behind it")),
            None => &[name],
        };
        for name in names {
            wire.lets_none_of_it_out(service, name).await;
            // A harmless operation whose IAM action is the one that must never be used.
            for (head, http) in PROTOCOLS {
                let rest = format!("{http}action = \"{service}:{name}\"\n");
                assert!(wire.refuses(doctored("harmless", head, "ListThings", &rest)).await, "{pattern} as an action");
            }
        }
    }
    assert_eq!(wire.endpoint.arrived(), 0);
    for (n, (head, http)) in PROTOCOLS.into_iter().enumerate() {
        assert!(!wire.refuses(doctored("harmless", head, "ListThings", http)).await, "{head}");
        assert_eq!(wire.endpoint.arrived(), n + 1, "what may be called does leave, so that the count means something");
    }
}

#[tokio::test]
async fn no_writer_leaves_whatever_a_file_says() {
    let wire = Wire::new().await;
    for (service, operations) in WRITERS {
        for operation in operations {
            wire.lets_none_of_it_out(service, operation).await;
        }
    }
    for verb in ["Put", "Create", "Update", "Delete", "Attach", "Detach", "Tag", "Untag"] {
        for service in ["iam", "s3", "lambda", "sqs", "anything"] {
            wire.lets_none_of_it_out(service, &format!("{verb}Thing")).await;
        }
    }
    // A reader's name on a writer's door.
    for (head, rest, why) in [
        (JSON, "headers = { Extra = \"X-Amz-Target\" }\ninput = { Extra = \"T.DeleteThing\" }", "a second target"),
        ("protocol = \"json-1.1\"\ntarget_prefix = \"T.DeleteThing \"", "", "a name in the target's prefix"),
        ("protocol = \"query\"\napi_version = \"1&Action=DeleteThing\"", "", "an action in the version"),
        ("protocol = \"query\"\napi_version = \"1\"", "input = { Action = \"DeleteThing\" }", "a parameter Action"),
        (REST, "http = \"POST /2015-03-31/functions/f/invocations\"", "a path that runs something"),
        (
            REST,
            "http = \"POST /x\"\nheaders = { M = \"X-HTTP-Method-Override\" }\ninput = { M = \"DELETE\" }",
            "an override of the method",
        ),
    ] {
        assert!(wire.refuses(doctored("thing", head, "ListThings", rest)).await, "{why}");
    }
    let s3 = "protocol = \"rest-xml\"\nsigning_name = \"s3\"";
    for http in ["GET /bucket/key", "HEAD /bucket/key", "GET /bucket", "GET /bucket?list-type=2", "POST /bucket?delete"]
    {
        let rest = format!("http = \"{http}\"");
        assert!(wire.refuses(doctored("harmless", s3, "GetBucketPolicy", &rest)).await, "{http}");
    }
    assert_eq!(wire.endpoint.arrived(), 0);
}
