//! Everything that is no log file of the account, really asked for, of an endpoint that counts what reaches it.

use super::*;
use crate::{
    archive::{operations, params},
    aws::{Aws as _, Request},
    gate::Gate,
    hub::{Hub, HubOptions},
    typed::s3,
};
use fleetscan_proto::catalogue::Catalogue;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::SystemTime,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const FOLDER: &str = "org/AWSLogs/111122223333/CloudTrail/eu-west-1/";
const FILE: &str = "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE9xkLmN0pRsTu.json.gz";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const ELSEWHERE: &str = "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-north-1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A hub whose every call goes to an endpoint that keeps it; what is asked for is answered with these, one after another.
async fn wire(answers: &'static [&'static str]) -> (Hub, Arc<AtomicUsize>, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let arrived = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (counter, keeper) = (Arc::clone(&arrived), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[counter.fetch_add(1, SeqCst).min(answers.len() - 1)];
            let mut request = [0_u8; 16_384];
            let read = stream.read(&mut request).await.unwrap_or_default();
            keeper.lock().expect("kept").push(String::from_utf8_lossy(&request[..read]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let credentials = Some(("AKIAHUB".to_owned(), "secret".to_owned()));
    let options = HubOptions { endpoint: Some(endpoint), credentials, ..HubOptions::default() };
    (Hub::connect(options).await.expect("a hub"), arrived, seen)
}

fn gate() -> ArchiveGate {
    ArchiveGate::new("logs/org".parse().expect("a bucket"), "111122223333".parse().expect("an id"), "eu-west-1")
}

/// Sends an operation of the archive's, as log files are asked for or as anything else is.
async fn exchange(
    hub: &Hub,
    operation: &str,
    params: &Params,
    log_files: Option<&ArchiveGate>,
) -> Result<Answer, SendError> {
    let service = archive::service().expect("well-formed");
    let operation = operations().find(|known| known.name == operation).expect("known");
    let account = "111122223333".parse().expect("an id");
    let gate = Gate::new(Arc::new(Catalogue::built_in().clone()));
    let session = Session::for_tests();
    let request = Request {
        account: &account,
        service,
        operation,
        region: "eu-west-1",
        params,
        session: &session,
        gate: &gate,
        log_files,
        now: SystemTime::now(),
    };
    hub.exchange(request).await
}

#[tokio::test]
async fn nothing_but_the_accounts_log_files_leaves() {
    let (hub, arrived, _) = wire(&[EMPTY]).await;
    let (gate, key) = (gate(), format!("{FOLDER}{FILE}"));
    for (bucket, key) in [
        ("other", key.clone()),
        ("logs", "org/secrets.json".to_owned()),
        ("logs", format!("{FOLDER}../../444455556666/CloudTrail/eu-west-1/{FILE}")),
        ("logs", key.replace("111122223333", "444455556666")),
        ("logs", key.replace("eu-west-1", "us-east-1")),
        ("logs", key.replace("/CloudTrail/", "/CloudTrail-Digest/")),
        ("logs", key.replace(".json.gz", ".json")),
    ] {
        let answer = exchange(&hub, "GetObject", &params(&[("Bucket", bucket), ("Key", &key)]), Some(&gate)).await;
        assert!(matches!(answer, Err(SendError::Refused(_))), "{bucket}/{key}: {answer:?}");
    }
    for (bucket, prefix) in [
        ("other", FOLDER),
        ("logs", ""),
        ("logs", "org/"),
        ("logs", "org/AWSLogs/"),
        ("logs", "org/AWSLogs/444455556666/"),
    ] {
        let asked = params(&[("Bucket", bucket), ("Prefix", prefix)]);
        let answer = exchange(&hub, "ListObjectsV2", &asked, Some(&gate)).await;
        assert!(matches!(answer, Err(SendError::Refused(_))), "{bucket}/{prefix}: {answer:?}");
    }
    // As anything else is asked for, on the usual way: where the archive is off, there is no other.
    for (operation, name, value) in [("GetObject", "Key", key.as_str()), ("ListObjectsV2", "Prefix", FOLDER)] {
        let answer = exchange(&hub, operation, &params(&[("Bucket", "logs"), (name, value)]), None).await;
        assert!(matches!(answer, Err(SendError::Refused(_))), "{operation}: {answer:?}");
    }
    assert_eq!(arrived.load(SeqCst), 0, "nothing left the process");
    let asked = params(&[("Bucket", "logs"), ("Key", &key)]);
    assert!(matches!(exchange(&hub, "GetObject", &asked, Some(&gate)).await, Ok(Answer::Object(_))));
    assert!(
        exchange(&hub, "ListObjectsV2", &params(&[("Bucket", "logs"), ("Prefix", FOLDER)]), Some(&gate)).await.is_ok()
    );
    assert_eq!(arrived.load(SeqCst), 2, "what may be read does leave, so that the count means something");
}

/// The interceptor alone, below everything that would refuse before it: whoever gets hold of a client.
#[tokio::test]
async fn a_client_in_hand_sends_nothing_else_either() {
    let (hub, arrived, _) = wire(&[EMPTY]).await;
    let gate = gate().at(hub.http().custom_endpoint());
    let client = s3::client_of(hub.http(), gate, "eu-west-1", &Session::for_tests());
    let key = format!("{FOLDER}{FILE}");
    assert!(client.get_object().bucket("other").key(&key).send().await.is_err());
    assert!(client.get_object().bucket("logs").key("org/secrets.json").send().await.is_err());
    assert!(client.get_object().bucket("logs").key(&key).version_id("1").send().await.is_err());
    assert!(client.get_object().bucket("logs").key(key.replace("111122223333", "444455556666")).send().await.is_err());
    assert!(client.get_object_acl().bucket("logs").key(&key).send().await.is_err());
    assert!(client.head_object().bucket("logs").key(&key).send().await.is_err());
    assert!(client.delete_object().bucket("logs").key(&key).send().await.is_err());
    assert!(client.put_object().bucket("logs").key(&key).send().await.is_err());
    assert!(client.list_objects_v2().bucket("logs").send().await.is_err());
    assert!(client.list_objects_v2().bucket("logs").prefix("org/AWSLogs/").send().await.is_err());
    assert!(client.list_objects().bucket("logs").prefix(FOLDER).send().await.is_err());
    assert!(client.list_buckets().send().await.is_err());
    assert!(client.get_bucket_policy().bucket("logs").send().await.is_err());
    assert_eq!(arrived.load(SeqCst), 0, "nothing left the process");
    assert!(client.get_object().bucket("logs").key(&key).send().await.is_ok());
    assert_eq!(arrived.load(SeqCst), 1);
}

/// A name that the SDK takes for a directory bucket would have a session made in it: another operation, at another host.
#[tokio::test]
async fn no_name_makes_the_sdk_ask_for_a_session_in_the_bucket() {
    let (hub, arrived, seen) = wire(&[EMPTY]).await;
    let http = hub.http();
    let session = Session::for_tests();
    let own = s3::client_of(http, gate().at(http.custom_endpoint()), "eu-west-1", &session);
    let key = format!("{FOLDER}{FILE}");
    for bucket in ["logs--euw1-az1--x-s3", "logs--x-s3", "logs-s3alias", "logs.mrap"] {
        assert!(own.get_object().bucket(bucket).key(&key).send().await.is_err(), "{bucket}");
        assert!(own.list_objects_v2().bucket(bucket).prefix(FOLDER).send().await.is_err(), "{bucket}");
    }
    assert_eq!(arrived.load(SeqCst), 0, "nothing left the process");
    let others = s3::client(http, &Gate::new(Arc::new(Catalogue::built_in().clone())), "eu-west-1", &session);
    let _ = others.get_bucket_policy().bucket("logs--euw1-az1--x-s3").send().await;
    let seen = seen.lock().expect("kept");
    assert!(!seen.iter().any(|asked| asked.lines().next().is_some_and(|line| line.contains("session"))), "{seen:?}");
}

#[tokio::test]
async fn a_bucket_of_another_region_is_asked_there() {
    let (hub, arrived, seen) = wire(&[ELSEWHERE, EMPTY]).await;
    let gate = gate();
    let asked = params(&[("Bucket", "logs"), ("Prefix", FOLDER)]);
    for _ in 0..2 {
        let answer = exchange(&hub, "ListObjectsV2", &asked, Some(&gate)).await;
        assert!(matches!(answer, Ok(Answer::Raw(RawAnswer { status: 200, .. }))), "{answer:?}");
    }
    assert_eq!(arrived.load(SeqCst), 3, "it is known then");
    let regions: Vec<bool> = seen.lock().expect("kept").iter().map(|asked| asked.contains("/eu-north-1/s3/")).collect();
    assert_eq!(regions, [false, true, true], "signed for");
}
