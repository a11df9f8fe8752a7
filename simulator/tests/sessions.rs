//! STS: who is let in, for how long, and with which words others are not.

mod support;

use fleetscan_simulator::{Config, HubBreakage, Simulator, WorldKind};
use support::{Client, Plain, account, credentials, start};

const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";

async fn quiet() -> (Simulator, String) {
    let world = WorldKind::Uniform { items: 1, regions: 1 };
    let simulator = start(Config { accounts: 2, holes: false, world, ..Config::default() }).await;
    let id = account(&simulator, 0);
    (simulator, id)
}

#[tokio::test]
async fn a_session_knows_whose_it_is() {
    let (simulator, id) = quiet().await;
    let mut hub = Client::hub(&simulator).await;
    let who = hub.call("sts", "us-east-1", &Plain::form(WHO)).await;
    assert_eq!(who.element("Arn").as_deref(), Some("arn:aws:iam::900000000001:user/fleetscan-hub"));
    let mut client = Client::of_account(&simulator, &id).await;
    let who = client.call("sts", "us-east-1", &Plain::form(WHO)).await;
    assert_eq!(who.element("Account").as_deref(), Some(id.as_str()));
    assert!(who.body.contains(&format!("assumed-role/SecurityV0ReadOnly/test-{id}")));
    assert_eq!(simulator.counters().accounts[&id].assume_role, 1);
}

#[tokio::test]
async fn assume_role_is_denied_alike_for_a_wrong_external_id_a_deleted_role_and_an_unknown_account() {
    let (simulator, id) = quiet().await;
    let mut hub = Client::hub(&simulator).await;
    let form = |account: &str, external_id: &str| {
        Plain::form(&format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::{account}:role/SecurityV0ReadOnly&RoleSessionName=s-1{external_id}"
        ))
    };
    let right = format!("&ExternalId={}", support::external_id(&simulator, &id));
    for (account, external_id) in
        [(id.as_str(), ""), (&id, "&ExternalId=another-external-id"), ("111122223333", &right)]
    {
        let answer = hub.call("sts", "us-east-1", &form(account, external_id)).await;
        assert_eq!((answer.code().as_str(), answer.status), ("AccessDenied", 403));
        assert!(answer.body.contains(&format!("is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::{account}:role/SecurityV0ReadOnly</Message>")), "{}", answer.body);
    }
    assert_eq!(hub.assume(&simulator, &id, "").await.status, 200);
    simulator.control().delete_role(&id).expect("simulated");
    assert_eq!(hub.assume(&simulator, &id, "").await.code(), "AccessDenied");
    simulator.control().restore_role(&id).expect("simulated");
    assert_eq!(hub.assume(&simulator, &id, "").await.status, 200);
    let new = simulator.control().rotate_external_id(&id).expect("simulated");
    assert_eq!(hub.assume(&simulator, &id, "").await.code(), "AccessDenied");
    assert_eq!(hub.call("sts", "us-east-1", &form(&id, &format!("&ExternalId={new}"))).await.status, 200);
}

#[tokio::test]
async fn sessions_of_a_deleted_role_are_denied_and_a_new_role_does_not_know_them() {
    let (simulator, id) = quiet().await;
    let mut client = Client::of_account(&simulator, &id).await;
    let functions = Plain::get("/2015-03-31/functions");
    assert_eq!(client.call("lambda", "us-east-1", &functions).await.status, 200);
    simulator.control().delete_role(&id).expect("simulated");
    assert_eq!(client.call("lambda", "us-east-1", &functions).await.code(), "AccessDeniedException");
    assert_eq!(client.call("sts", "us-east-1", &Plain::form(WHO)).await.code(), "InvalidClientTokenId");
    assert_eq!(simulator.counters().accounts[&id].after_revocation, 2);
    simulator.control().restore_role(&id).expect("simulated");
    assert_eq!(client.call("lambda", "us-east-1", &functions).await.code(), "UnrecognizedClientException");
}

#[tokio::test]
async fn stss_own_rules_are_checked() {
    let (simulator, id) = quiet().await;
    let mut hub = Client::hub(&simulator).await;
    let long = "x".repeat(2_100);
    for (more, code) in [
        ("&RoleSessionName=a b", "ValidationError"),
        ("&DurationSeconds=899", "ValidationError"),
        ("&DurationSeconds=3601", "ValidationError"),
        ("&DurationSeconds=soon", "ValidationError"),
        ("&Policy={", "MalformedPolicyDocument"),
        (&format!("&Policy={long}"), "PackedPolicyTooLarge"),
    ] {
        let name = more[1..].split('=').next().expect("a name");
        let base = format!(
            "RoleArn=arn:aws:iam::{id}:role/SecurityV0ReadOnly&RoleSessionName=s-1&DurationSeconds=900&ExternalId={}",
            support::external_id(&simulator, &id)
        );
        let kept: Vec<&str> = base.split('&').filter(|pair| !pair.starts_with(name)).collect();
        let body = format!("Action=AssumeRole&Version=2011-06-15&{}{more}", kept.join("&"));
        let answer = hub.call("sts", "us-east-1", &Plain::form(&body)).await;
        assert_eq!(answer.code(), code, "{more:.40} {}", answer.body);
    }
    simulator.control().switch_sts(&id, false).expect("simulated");
    let answer = hub.assume(&simulator, &id, "").await;
    assert_eq!((answer.code().as_str(), answer.status), ("RegionDisabledException", 403));
}

#[tokio::test]
async fn an_inline_policy_narrows_the_session() {
    let (simulator, id) = quiet().await;
    let policy =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:List*","Resource":"*"}]}"#;
    let policy = policy.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let answer = Client::hub(&simulator).await.assume(&simulator, &id, &format!("&Policy={policy}")).await;
    let mut client = Client::new(&simulator, credentials(&answer)).await;
    let tables = Plain::target("DynamoDB_20120810.ListTables", &serde_json::json!({}));
    assert_eq!(client.call("dynamodb", "us-east-1", &tables).await.status, 200);
    let denied = client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions")).await;
    assert!(
        denied.body.contains("because no session policy allows the lambda:ListFunctions action"),
        "{}",
        denied.body
    );
}

#[tokio::test]
async fn a_broken_hub_is_told_in_five_ways() {
    let (simulator, id) = quiet().await;
    let mut hub = Client::hub(&simulator).await;
    for (how, assume, identity) in [
        (HubBreakage::Expired, "ExpiredToken", "ExpiredToken"),
        (HubBreakage::Invalid, "InvalidClientTokenId", "InvalidClientTokenId"),
        (HubBreakage::PolicyLost, "AccessDenied", ""),
        (HubBreakage::Scp, "AccessDenied", ""),
        (HubBreakage::Mistrusted, "AccessDenied", ""),
        (HubBreakage::None, "", ""),
    ] {
        simulator.control().break_hub(how);
        assert_eq!(hub.assume(&simulator, &id, "").await.code(), assume, "{how:?}");
        assert_eq!(hub.call("sts", "us-east-1", &Plain::form(WHO)).await.code(), identity, "{how:?}");
    }
    simulator.control().break_hub(HubBreakage::PolicyLost);
    let answer = hub.assume(&simulator, &id, "").await;
    assert!(answer.body.contains("because no identity-based policy allows the sts:AssumeRole action"));
}

#[tokio::test]
async fn a_session_cannot_assume_another_role() {
    let (simulator, id) = quiet().await;
    let mut client = Client::of_account(&simulator, &id).await;
    let other = account(&simulator, 1);
    assert_eq!(client.assume(&simulator, &other, "").await.code(), "AccessDenied");
}
