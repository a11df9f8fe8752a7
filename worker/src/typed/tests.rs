//! What the typed clients send, on the wire: an endpoint that counts connections.

use super::*;
use crate::{counted::CountedEndpoint, gate::Gate, network::Network, never::NEVER, session::Session};
use fleetscan_proto::catalogue::Catalogue;

/// A client of an endpoint that counts what is asked.
async fn endpoint() -> (Http, CountedEndpoint) {
    let endpoint = CountedEndpoint::open().await;
    (Http::new(Some(endpoint.url.clone()), &Network::default()).expect("a client"), endpoint)
}

/// A catalogue in which every operation that is named stands, writers and readers of secrets included.
fn doctored(service: &str, operations: &[&str]) -> Arc<Catalogue> {
    let names: String = operations.iter().map(|name| format!("[[operation]]\nname = \"{name}\"\n")).collect();
    let text = format!(
        "service = \"{service}\"\ntitle = \"x\"\nprotocol = \"query\"\napi_version = \"1\"\nscope = \"regional\"\ntyped = true\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n{names}"
    );
    Arc::new(Catalogue::from_files([("doctored.toml", text.as_str())]).expect("well-formed"))
}

fn params() -> Params {
    ["Bucket", "Key", "UserName", "RoleName"].iter().map(|name| ((*name).to_owned(), "thing".into())).collect()
}

/// Sends an operation through the catalogue's way to the typed clients.
async fn try_to_send(http: &Http, catalogue: &Arc<Catalogue>, operation: &str) -> Result<RawAnswer, SendError> {
    let service = Arc::clone(&catalogue.services()[0]);
    let gate = Gate::new(Arc::clone(catalogue));
    send(http, &gate, &service, operation, "us-east-1", &params(), &Session::for_tests()).await
}

#[tokio::test]
async fn no_writer_and_no_reader_of_data_leaves_through_a_typed_client() {
    // Every entry of the list that is a typed client's own, and a writer of every kind.
    for (service, harmless) in [("s3", "GetBucketPolicy"), ("iam", "ListUsers"), ("sts", "GetCallerIdentity")] {
        let (http, asked) = endpoint().await;
        let of_list = NEVER.iter().filter_map(|action| action.strip_prefix(service)?.strip_prefix(':'));
        let listed = of_list.map(|name| name.replace('*', "Versions"));
        let verbs = ["Put", "Create", "Update", "Delete", "Attach", "Detach", "Tag", "Untag"];
        let names: Vec<String> = listed.chain(verbs.map(|verb| format!("{verb}Thing"))).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).chain([harmless]).collect();
        let catalogue = doctored(service, &all);
        for operation in &names {
            let answer = try_to_send(&http, &catalogue, operation).await;
            assert!(matches!(answer, Err(SendError::Refused(_))), "{service}:{operation}: {answer:?}");
        }
        assert_eq!(asked.arrived(), 0, "{service}: nothing left the process");
    }
    for (service, harmless, operations) in [
        ("s3", "GetBucketPolicy", &["GetObject", "PutBucketPolicy", "DeleteBucket", "PutObject", "ListObjectsV2"][..]),
        (
            "iam",
            "ListUsers",
            &["CreateUser", "DeleteRole", "AttachRolePolicy", "TagRole", "UntagRole", "UpdateUser"][..],
        ),
        ("sts", "GetCallerIdentity", &["AssumeRole", "GetSessionToken", "GetFederationToken"][..]),
    ] {
        let (http, asked) = endpoint().await;
        let all: Vec<&str> = operations.iter().copied().chain([harmless]).collect();
        let catalogue = doctored(service, &all);
        for operation in operations {
            let answer = try_to_send(&http, &catalogue, operation).await;
            assert!(matches!(answer, Err(SendError::Refused(_))), "{service}:{operation}: {answer:?}");
        }
        assert_eq!(asked.arrived(), 0, "{service}: nothing left the process");
        let answer = try_to_send(&http, &catalogue, harmless).await;
        assert!(answer.is_ok() && asked.arrived() == 1, "{service}:{harmless} does leave: {answer:?}");
    }
}

/// The interceptor alone, below everything that would refuse before it: whoever gets hold of a client.
#[tokio::test]
async fn a_typed_client_in_hand_sends_no_writer_and_no_reader_of_data() {
    let (http, asked) = endpoint().await;
    let gate = Gate::new(doctored(
        "s3",
        &["GetObject", "PutBucketPolicy", "DeleteObject", "PutBucketTagging", "GetBucketAcl"],
    ));
    let s3 = s3::client(&http, &gate, "us-east-1", &Session::for_tests());
    assert!(s3.get_object().bucket("thing").key("k").send().await.is_err());
    assert!(s3.put_bucket_policy().bucket("thing").policy("{}").send().await.is_err());
    assert!(s3.delete_object().bucket("thing").key("k").send().await.is_err());
    assert!(s3.list_objects_v2().bucket("thing").send().await.is_err());
    assert!(s3.get_object_acl().bucket("thing").key("k").send().await.is_err());
    assert!(s3.list_object_versions().bucket("thing").send().await.is_err());
    assert!(s3.create_bucket().bucket("thing").send().await.is_err());
    assert!(s3.delete_bucket_policy().bucket("thing").send().await.is_err());
    let gate =
        Gate::new(doctored("iam", &["CreateUser", "AttachRolePolicy", "DetachRolePolicy", "TagUser", "ListUsers"]));
    let iam = iam::client(&http, &gate, "us-east-1", &Session::for_tests());
    assert!(iam.create_user().user_name("thing").send().await.is_err());
    assert!(iam.attach_role_policy().role_name("thing").policy_arn("arn:aws:iam::aws:policy/X").send().await.is_err());
    assert!(iam.detach_role_policy().role_name("thing").policy_arn("arn:aws:iam::aws:policy/X").send().await.is_err());
    assert!(iam.delete_user().user_name("thing").send().await.is_err());
    assert!(iam.put_role_policy().role_name("r").policy_name("p").policy_document("{}").send().await.is_err());
    assert!(iam.update_role().role_name("thing").send().await.is_err());
    assert!(iam.untag_role().role_name("thing").tag_keys("k").send().await.is_err());
    assert_eq!(asked.arrived(), 0, "nothing left the process");
    let _ = s3.get_bucket_acl().bucket("thing").send().await;
    let _ = iam.list_users().send().await;
    assert_eq!(asked.arrived(), 2, "readers of configuration do leave");
}
