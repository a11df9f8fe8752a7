use super::*;
use crate::{never::NEVER, wire::prepare};
use fleetscan_proto::Profile;
use serde_json::{Map, Value, json};

/// A catalogue of one file with one operation.
pub(super) fn doctored(service: &str, head: &str, operation: &str, rest: &str) -> Catalogue {
    let text = format!(
        "service = \"{service}\"\ntitle = \"x\"\nscope = \"regional\"\n{head}\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n[[operation]]\nname = \"{operation}\"\n{rest}"
    );
    Catalogue::from_files([("doctored.toml", text.as_str())]).expect("well-formed")
}

pub(super) const JSON: &str = "protocol = \"json-1.1\"\ntarget_prefix = \"T\"";
pub(super) const REST: &str = "protocol = \"rest-json\"";

fn refuses(catalogue: Catalogue) -> bool {
    let service = Arc::clone(&catalogue.services()[0]);
    let operation = service.operations[0].clone();
    let gate = Gate::new(Arc::new(catalogue));
    let Ok((service, operation)) = gate.admit(&service.id, &operation.name) else { return true };
    let params: Map<String, Value> = operation.input.clone();
    inspect(service, operation, &prepare(service, operation, params)).is_err()
}

#[test]
fn what_the_catalogue_lacks_is_refused() {
    let gate = Gate::new(Arc::new(Catalogue::built_in().clone()));
    assert!(gate.admit("lambda", "ListFunctions").is_ok());
    for (service, operation) in
        [("lambda", "Invoke"), ("lambda", "GetLayerVersion"), ("nosuch", "ListThings"), ("sts", "AssumeRole")]
    {
        assert!(gate.admit(service, operation).is_err(), "{service}:{operation}");
    }
}

#[test]
fn what_the_profile_lacks_is_refused() {
    let part = Profile::built_in("securityv0").expect("there").of(Catalogue::built_in()).expect("sound");
    let gate = Gate::new(Arc::new(part));
    assert!(gate.admit("lambda", "ListFunctions").is_ok() && gate.admit("sts", "GetCallerIdentity").is_ok());
    for (service, operation) in [("ec2", "DescribeInstances"), ("account", "ListRegions"), ("ec2", "DescribeRegions")] {
        assert!(gate.admit(service, operation).is_err(), "{service}:{operation}");
    }
}

#[test]
fn what_the_catalogue_has_may_be_called_and_asks_for_what_it_says() {
    let catalogue = Catalogue::built_in();
    for service in catalogue.services() {
        for operation in service.operations.iter().filter(|operation| operation.action != "sts:AssumeRole") {
            assert!(may_read(service, operation), "{}:{}", service.id, operation.name);
            // Each parameter of a path is there in a real call.
            let mut params = operation.input.clone();
            params.extend(operation.with.iter().map(|(name, _)| (name.clone(), json!("a/b"))));
            let request = prepare(service, operation, params);
            assert_eq!(inspect(service, operation, &request), Ok(()), "{}:{}", service.id, operation.name);
        }
    }
}

#[test]
fn no_reader_of_secrets_or_data_and_no_doer_is_let_through_whatever_a_file_says() {
    let more = [
        "dynamodb:ExecuteStatement",
        "lambda:InvokeWithResponseStream",
        "states:StartExecution",
        "events:PutEvents",
        "s3:GetObject",
        "s3:ListObjectsV2",
        "ssm:GetParametersByPath",
        "ecr-public:GetAuthorizationToken",
        "iam:GenerateSomethingElse",
    ];
    for action in NEVER.iter().chain(&more) {
        let (service, operation) = action.split_once(':').expect("service:Operation");
        let operation = operation.trim_end_matches('*');
        assert!(refuses(doctored(service, JSON, operation, "")), "{action}");
        // The same under another service's name.
        let signed = format!("{JSON}\nsigning_name = \"{service}\"");
        assert!(refuses(doctored("harmless", &signed, operation, "")), "{action} signed for {service}");
        let sent = format!("{JSON}\nendpoint_prefix = \"{service}\"");
        assert!(refuses(doctored("harmless", &sent, operation, "")), "{action} sent to {service}");
    }
    assert!(!refuses(doctored("lambda", JSON, "ListThings", "")), "the check can say yes");
}

#[test]
fn no_writer_is_let_through_whatever_a_file_says() {
    for verb in [
        "Put",
        "Create",
        "Update",
        "Delete",
        "Attach",
        "Detach",
        "Tag",
        "Untag",
        "Add",
        "Remove",
        "Set",
        "Start",
        "Stop",
        "Run",
        "Invoke",
        "Send",
        "Publish",
        "Modify",
        "Associate",
        "Disassociate",
        "Enable",
        "Disable",
        "Register",
        "Deregister",
        "Terminate",
        "Reboot",
        "Restore",
        "Import",
        "Export",
        "Copy",
        "Assume",
        "Pass",
        "Execute",
        "Query",
        "Scan",
        "Write",
        "BatchWrite",
        "BatchExecute",
        "Transact",
        "Upload",
        "Revoke",
        "Authorize",
        "Change",
        "Reset",
        "list",
        "",
    ] {
        let operation = format!("{verb}Thing");
        let file = if operation.is_empty() { "Thing" } else { &operation };
        for service in ["iam", "s3", "lambda", "organizations", "anything"] {
            assert!(refuses(doctored(service, JSON, file, "")), "{service}:{file}");
        }
    }
}

#[test]
fn a_readers_name_does_not_open_a_writers_door() {
    for (head, rest, why) in [
        (REST, "http = \"POST /2015-03-31/functions/f/invocations\"", "a path that runs something"),
        (REST, "http = \"POST /model/m/invoke\"", "a path that runs a model"),
        (JSON, "headers = { Extra = \"X-Amz-Target\" }\ninput = { Extra = \"T.DeleteThing\" }", "a second target"),
        ("protocol = \"json-1.1\"\ntarget_prefix = \"T.DeleteThing \"", "", "a target with a name in its prefix"),
        ("protocol = \"query\"\napi_version = \"1&Action=DeleteThing\"", "", "a version with an action in it"),
        (
            "protocol = \"query\"\napi_version = \"1\"",
            "input = { Action = \"DeleteThing\" }",
            "a parameter named Action",
        ),
        (
            REST,
            "http = \"POST /x\"\nheaders = { M = \"X-HTTP-Method-Override\" }\ninput = { M = \"DELETE\" }",
            "an override",
        ),
        (REST, "action = \"secretsmanager:GetSecretValue\"", "an IAM action of the list"),
    ] {
        assert!(refuses(doctored("thing", head, "ListThings", rest)), "{why}");
    }
    let s3 = "protocol = \"rest-xml\"\nsigning_name = \"s3\"";
    for (http, why) in [
        ("GET /bucket/key", "an object"),
        ("HEAD /bucket/key", "an object's head"),
        ("GET /bucket", "a list of keys"),
        ("GET /bucket?list-type=2", "a list of keys"),
        ("GET /bucket?versions", "a list of versions"),
        ("POST /bucket?delete", "a deletion"),
    ] {
        assert!(refuses(doctored("s3", s3, "GetBucketPolicy", &format!("http = \"{http}\""))), "{why}");
    }
    assert!(!refuses(doctored("s3", s3, "GetBucketPolicy", "http = \"GET /bucket?policy\"")), "the check can say yes");
}
