//! A service that the catalogue lacks is added by its file alone.

mod support;

use fleetscan_proto::{
    AccountId, Cell, Outcome,
    catalogue::{Catalogue, Operation},
};
use fleetscan_simulator::{Config, Limits, Simulator};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use support::{Client, Plain, account, start};

const GLUE: &str = r#"
service = "glue"
title = "AWS Glue"
protocol = "json-1.1"
scope = "regional"
target_prefix = "AWSGlue"
[[limit]]
group = "control"
start = 5
source = "no figure is published"
[[operation]]
name = "GetDatabases"
pages = { in = "NextToken", out = "NextToken", size = "MaxResults", max = 100 }
items = "DatabaseList"
record = { type = "AWS::Glue::Database", id = "Name", name = "Name" }
[[operation]]
name = "GetTables"
for = "GetDatabases"
with = { DatabaseName = "Name" }
pages = { in = "NextToken", out = "NextToken", size = "MaxResults", max = 100 }
items = "TableList"
add = { Database = "^Name" }
record = { type = "AWS::Glue::Table", id = "{Database}/{Name}", name = "Name" }
redact = ["Parameters.*"]
absent = ["EntityNotFoundException"]
"#;

/// The answer, or none where it says that there is none.
async fn ask(client: &mut Client, region: &str, operation: &Operation, params: Value) -> Option<Value> {
    let answer = client.call("glue", region, &Plain::target(&format!("AWSGlue.{}", operation.name), &params)).await;
    if operation.absent.contains(&answer.code()) {
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    Some(answer.json())
}

async fn busiest(simulator: &Simulator) -> (AccountId, Cell, BTreeSet<(String, String)>) {
    let id: AccountId = account(simulator, 2).parse().expect("an id");
    let cells = simulator.expectations().cells(&id);
    let expected = cells.filter(|c| c.cell.service == "glue").max_by_key(|c| c.records.len()).expect("it has cells");
    assert_eq!(expected.outcome, Outcome::Complete);
    (id, expected.cell, expected.records.into_iter().map(|r| (r.kind, r.id)).collect())
}

#[tokio::test]
async fn its_file_is_all_that_it_takes() {
    let account = include_str!("../../proto/catalogue/account.toml");
    let files = [("account.toml", account), ("glue.toml", GLUE)];
    let catalogue = Arc::new(Catalogue::from_files(files).expect("sound"));
    let service = Arc::clone(catalogue.service("glue").expect("there"));
    let config = Config { catalogue, accounts: 12, limits: Limits::Off, ..Config::default() };
    let simulator = start(config).await;
    let (id, cell, expected) = busiest(&simulator).await;
    let mut client = Client::of_account(&simulator, id.as_str()).await;
    let [databases, tables] = ["GetDatabases", "GetTables"].map(|name| service.operation(name).expect("there"));
    let mut found = BTreeSet::new();
    let answer = ask(&mut client, &cell.region, databases, json!({})).await.expect("it is never absent");
    for database in answer["DatabaseList"].as_array().expect("a list") {
        let name = database["Name"].as_str().expect("a name");
        found.insert(("AWS::Glue::Database".to_owned(), name.to_owned()));
        let answer = ask(&mut client, &cell.region, tables, json!({"DatabaseName": name})).await;
        for table in answer.iter().flat_map(|a| a["TableList"].as_array().expect("a list")) {
            let id = format!("{name}/{}", table["Name"].as_str().expect("a name"));
            found.insert(("AWS::Glue::Table".to_owned(), id));
        }
    }
    assert_eq!(found, expected);
    assert!(found.iter().any(|(kind, _)| kind == "AWS::Glue::Table"), "{found:?}");
}
