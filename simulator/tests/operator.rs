//! The pages that are not AWS's.

mod support;

use fleetscan_simulator::{Config, Counters, WorldKind};
use serde_json::{Value, json};
use support::{Client, Plain, account, start};

fn quiet() -> Config {
    Config { accounts: 3, holes: false, world: WorldKind::Uniform { items: 2, regions: 1 }, ..Config::default() }
}

#[tokio::test]
async fn counters_and_expectations_are_read_over_http() {
    let simulator = start(quiet()).await;
    let id = account(&simulator, 0);
    let mut client = Client::of_account(&simulator, &id).await;
    for _ in 0..3 {
        client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions")).await;
    }
    let mut ask = async |path: &str| client.call("x", "x", &Plain::get(path)).await;
    let counters = ask("/_simulator/counters").await;
    let read: Counters = serde_json::from_str(&counters.body).expect("counters");
    assert_eq!(read, simulator.counters());
    assert_eq!((read.operations["lambda:ListFunctions"]["ok"], read.accounts[&id].calls), (3, 3));
    let cells = ask(&format!("/_simulator/expectations?account={id}")).await.json();
    let lambda = |cell: &&Value| cell["service"] == "lambda" && cell["region"] == "us-east-1";
    let cell = cells.as_array().expect("a list").iter().find(lambda).expect("the cell");
    assert_eq!(cell["outcome"], "complete");
    let functions = cell["records"].as_array().expect("a list").iter().filter(|r| r["type"] == "AWS::Lambda::Function");
    assert_eq!(functions.count(), 2);
    let query = format!("account={id}&region=us-east-1&service=lambda&operation=ListFunctions");
    let meant = ask(&format!("/_simulator/meant?{query}")).await;
    assert_eq!(meant.json()[0]["value"]["Functions"].as_array().map(Vec::len), Some(2));
    assert_eq!(ask("/_simulator/meant?account=1").await.status, 400);
    assert_eq!(ask("/_simulator/expectations").await.status, 400);
    assert_eq!(ask("/_simulator/nothing").await.status, 404);
}

#[tokio::test]
async fn commands_are_carried_out_over_http_and_mistakes_are_told() {
    let simulator = start(quiet()).await;
    let (id, other) = (account(&simulator, 0), account(&simulator, 1));
    let mut client = Client::hub(&simulator).await;
    for (command, status) in [
        (json!({"do": "delete_role", "account": id}), 200),
        (json!({"do": "delete_role", "account": "111122223333"}), 400),
        (json!({"do": "dance"}), 400),
        (json!({"do": "break_hub", "how": "mistrusted"}), 200),
        (json!({"do": "switch_region", "account": id, "region": "mars-1", "on": true}), 400),
    ] {
        let answer = client.call("x", "x", &Plain::post("/_simulator/control", &command)).await;
        assert_eq!(answer.status, status, "{command} {}", answer.body);
    }
    assert_eq!(client.assume(&simulator, &other, "").await.code(), "AccessDenied");
    let mend = json!({"do": "break_hub", "how": "none"});
    client.call("x", "x", &Plain::post("/_simulator/control", &mend)).await;
    assert_eq!(client.assume(&simulator, &other, "").await.status, 200);
    assert_eq!(client.assume(&simulator, &id, "").await.code(), "AccessDenied");
    client.call("x", "x", &Plain::post("/_simulator/reset-counters", &json!({}))).await;
    assert_eq!(simulator.counters(), Counters::default());
}

#[tokio::test]
async fn a_stopped_simulation_does_not_answer() {
    let simulator = start(quiet()).await;
    let host = simulator.endpoint().trim_start_matches("http://").to_owned();
    assert!(tokio::net::TcpStream::connect(&host).await.is_ok());
    simulator.stop().await;
    assert!(tokio::net::TcpStream::connect(&host).await.is_err());
}
