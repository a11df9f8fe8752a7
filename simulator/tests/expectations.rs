//! What is expected is what is served, and both follow from the seed.

mod support;

use fleetscan_proto::{
    AccountId, Cell, Outcome,
    catalogue::{Catalogue, Operation, Protocol, Service, place},
};
use fleetscan_simulator::{Config, ExpectedRecord, Limits, SECRET_MARK, Simulator, WorldKind};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use support::{Answer, Client, Plain, account, start};

/// A plain reading of the catalogue, for services that speak JSON (boto3 reads the others).
struct Reader<'a> {
    client: Client,
    service: &'a Service,
    region: String,
    account: String,
    found: BTreeSet<ExpectedRecord>,
    refused: bool,
}

impl Reader<'_> {
    async fn read(&mut self) {
        for operation in self.service.operations.iter().filter(|o| o.parent.is_none() && o.opt_in.is_none()) {
            // Events are no records: what is made of them is the scanner's.
            if operation.fallback_for.is_none() && !operation.joined && operation.history.is_none() {
                Box::pin(self.all_pages(operation, operation.input.clone(), &[])).await;
            }
        }
    }

    async fn all_pages(&mut self, operation: &Operation, mut params: Map<String, Value>, chain: &[Value]) {
        loop {
            if let Some((name, _)) = operation.paging.as_ref().and_then(|p| p.size.as_ref()) {
                params.insert(name.clone(), json!(7));
            }
            let answer = self.ask(operation, &params).await;
            if answer.status != 200 {
                self.refused |= !operation.absent.contains(&answer.code());
                return;
            }
            let answer = answer.json();
            self.answer(operation, &answer, chain).await;
            let token = operation.paging.as_ref().and_then(|p| p.output.get(&answer)).and_then(Value::as_str);
            let (Some(token), Some(paging)) = (token, &operation.paging) else { return };
            params.insert(paging.input.clone(), json!(token));
        }
    }

    async fn answer(&mut self, operation: &Operation, answer: &Value, chain: &[Value]) {
        for (index, emit) in operation.emits.iter().enumerate() {
            let items = if emit.items.as_str() == "." { vec![answer] } else { emit.items.items(answer) };
            let items: Vec<Value> = items.into_iter().map(|item| lifted(operation, item)).collect();
            for mut item in items {
                let variables = |name: &str| if name == "account" { self.account.clone() } else { self.region.clone() };
                operation.enrich(&mut item, &|up| chain.get(up.checked_sub(1)?), &variables);
                let item = &item;
                if emit.is_record() {
                    let id = emit
                        .id
                        .fill(item, &|name| if name == "account" { self.account.clone() } else { self.region.clone() });
                    let id = id.or_else(|| item.as_str().map(str::to_owned)).expect("an id");
                    self.found.insert(ExpectedRecord { kind: emit.kind.clone(), id });
                }
                let chain: Vec<Value> = [item.clone()].into_iter().chain(chain.iter().cloned()).collect();
                for child in self.service.children(operation.index, index) {
                    let wanted = child.parent.as_ref().is_none_or(|parent| parent.wants(item));
                    if child.opt_in.is_some() || child.fallback_for.is_some() || !wanted {
                        continue;
                    }
                    let (account, region) = (self.account.clone(), self.region.clone());
                    let variables = |name: &str| match name {
                        "account" => account.clone(),
                        "partition" => "aws".to_owned(),
                        _ => region.clone(),
                    };
                    if let Some(params) = bound(child, &chain, &variables) {
                        Box::pin(self.all_pages(child, params, &chain)).await;
                    }
                }
            }
        }
    }

    async fn ask(&mut self, operation: &Operation, params: &Map<String, Value>) -> Answer {
        // What is borrowed is asked for at its own service.
        let lender = operation.lender.as_ref().and_then(|id| Catalogue::built_in().service(id));
        let service = lender.map_or(self.service, |lender| lender.as_ref());
        let plain = match service.protocol {
            Protocol::RestJson => rest(operation, params),
            _ => {
                Plain::target(&format!("{}.{}", service.target_prefix, operation.name), &Value::Object(params.clone()))
            }
        };
        self.client.call(&service.signing_name, &self.region, &plain).await
    }
}

fn lifted(operation: &Operation, item: &Value) -> Value {
    let mut item = item.clone();
    if let (Some(member), Value::Object(map)) = (&operation.lift, &mut item)
        && let Some(Value::Object(inner)) = map.remove(member)
    {
        map.extend(inner);
    }
    item
}

fn bound(child: &Operation, chain: &[Value], variables: &dyn Fn(&str) -> String) -> Option<Map<String, Value>> {
    let mut params = child.input.clone();
    let batch = child.parent.as_ref().and_then(|p| p.batch.as_ref()).map(|(name, _)| name.as_str());
    for (name, binding) in child.with.iter().filter(|(_, binding)| binding.is_of_item()) {
        let value = binding.value(&|up| chain.get(up), variables)?;
        place(&mut params, name, if batch == Some(name) { json!([value]) } else { value });
    }
    Some(params)
}

fn rest(operation: &Operation, params: &Map<String, Value>) -> Plain {
    let encoded = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut path = operation.http.path.clone();
    let mut query = Vec::new();
    let mut body = Map::new();
    for (name, value) in params {
        let hole = format!("{{{name}}}");
        if path.contains(&hole) {
            path = path.replace(&hole, &encoded(value));
        } else if operation.http.method == "POST" {
            body.insert(name.clone(), value.clone());
        } else {
            query.push(format!("{name}={}", encoded(value)));
        }
    }
    match operation.http.method.as_str() {
        "POST" => Plain::post(&path, &Value::Object(body)),
        _ => Plain::get(&format!("{path}?{}", query.join("&"))),
    }
}

async fn read(simulator: &Simulator, cell: &Cell) -> Reader<'static> {
    let service = Catalogue::built_in().service(&cell.service).expect("there");
    let mut reader = Reader {
        client: Client::of_account(simulator, cell.account.as_str()).await,
        service,
        region: service.signing_region(&cell.region).to_owned(),
        account: cell.account.as_str().to_owned(),
        found: BTreeSet::new(),
        refused: false,
    };
    reader.read().await;
    reader
}

fn speaks_json(service: &str) -> bool {
    !Catalogue::built_in().service(service).expect("there").protocol.is_xml()
}

#[tokio::test]
async fn what_the_pages_hold_is_what_is_expected() {
    let simulator = start(Config { limits: Limits::Off, ..Config::default() }).await;
    let (mut records, mut cells) = (0, 0);
    // A giant, a small account, ones with detached policies, one under an SCP.
    for number in [2, 1, 4, 63, 81, 52, 25] {
        let id: AccountId = account(&simulator, number).parse().expect("an id");
        let expected: Vec<_> = simulator.expectations().cells(&id).filter(|c| speaks_json(&c.cell.service)).collect();
        let mut seen: BTreeMap<(String, Outcome), usize> = BTreeMap::new();
        for cell in &expected {
            // The largest of each service and outcome, and two more.
            let count = seen.entry((cell.cell.service.clone(), cell.outcome)).or_default();
            let largest =
                expected.iter().filter(|c| c.cell.service == cell.cell.service).map(|c| c.records.len()).max();
            if *count >= 2 && largest != Some(cell.records.len()) {
                continue;
            }
            *count += 1;
            let reader = read(&simulator, &cell.cell).await;
            let service = Catalogue::built_in().service(&cell.cell.service).expect("there");
            let told = |kind: &str| {
                service.operations.iter().any(|o| o.history.is_some() && o.emits.iter().any(|emit| emit.kind == kind))
            };
            let expected: BTreeSet<_> = cell.records.iter().filter(|record| !told(&record.kind)).cloned().collect();
            let told = cell.records.iter().filter(|record| told(&record.kind)).count();
            assert_eq!(expected.len() + told, cell.records.len(), "{}: a record stands twice", cell.cell);
            assert_eq!(reader.found, expected, "{}", cell.cell);
            assert_eq!(reader.refused, cell.outcome != Outcome::Complete, "{} {}", cell.cell, cell.outcome);
            records += reader.found.len();
            cells += 1;
        }
    }
    assert!(records > 800 && cells > 60, "{records} records in {cells} cells");
}

#[tokio::test]
async fn the_same_seed_is_the_same_world_to_the_byte() {
    let config = |seed| Config { seed, accounts: 12, limits: Limits::Off, ..Config::default() };
    let (one, same, other) = (start(config(5)).await, start(config(5)).await, start(config(6)).await);
    assert_eq!(one.accounts_toml(), same.accounts_toml());
    assert_ne!(one.accounts_toml(), other.accounts_toml());
    let id: AccountId = account(&one, 2).parse().expect("an id");
    let cells: Vec<_> = one.expectations().cells(&id).collect();
    assert_eq!(cells, same.expectations().cells(&id).collect::<Vec<_>>());
    let largest = cells.iter().filter(|c| c.cell.service == "lambda").max_by_key(|c| c.records.len()).expect("cells");
    let functions = Plain::get("/2015-03-31/functions");
    let mut bodies = Vec::new();
    for simulator in [&one, &same] {
        let mut client = Client::of_account(simulator, id.as_str()).await;
        bodies.push(client.call("lambda", &largest.cell.region, &functions).await.body);
    }
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].contains(SECRET_MARK), "there are secrets to be redacted");
}

#[tokio::test]
async fn a_demo_has_every_kind_of_hole_and_most_of_it_is_whole() {
    let simulator = start(Config::default()).await;
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for id in simulator.expectations().accounts() {
        for cell in simulator.expectations().cells(&id) {
            *outcomes.entry(cell.outcome).or_default() += 1;
        }
    }
    for outcome in [Outcome::Partial, Outcome::Denied, Outcome::DeniedByScp, Outcome::Revoked, Outcome::Unconfirmed] {
        assert!(outcomes.get(&outcome).is_some_and(|n| *n > 0), "{outcome}: {outcomes:?}");
    }
    let all: usize = outcomes.values().sum();
    assert!(outcomes[&Outcome::Complete] * 10 > all * 8, "{outcomes:?}");
    let whole = start(Config { holes: false, ..Config::default() }).await;
    for id in whole.expectations().accounts().take(60) {
        assert!(whole.expectations().cells(&id).all(|c| c.outcome == Outcome::Complete), "{id}");
    }
}

#[tokio::test]
async fn a_revoked_account_lets_the_probe_through_and_then_nothing() {
    let simulator = start(Config::default()).await;
    let id: AccountId = account(&simulator, 6).parse().expect("an id");
    assert!(simulator.expectations().cells(&id).all(|c| c.outcome == Outcome::Revoked));
    let mut client = Client::of_account(&simulator, id.as_str()).await;
    let who = Plain::form("Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(client.call("sts", "us-east-1", &who).await.status, 200);
    let regions = client.call("account", "us-east-1", &Plain::post("/listRegions", &json!({}))).await;
    assert_eq!(regions.status, 200, "{}", regions.body);
    let functions = client.call("lambda", "us-east-1", &Plain::get("/2015-03-31/functions")).await;
    assert_eq!(functions.code(), "AccessDeniedException");
    let mut hub = Client::hub(&simulator).await;
    assert_eq!(hub.assume(&simulator, id.as_str(), "").await.code(), "AccessDenied");
    // And one whose ExternalId never fitted.
    assert_eq!(hub.assume(&simulator, &account(&simulator, 8), "").await.code(), "AccessDenied");
}

#[tokio::test]
async fn regions_are_listed_as_the_account_has_them() {
    let simulator = start(Config { limits: Limits::Off, ..Config::default() }).await;
    for number in [0, 3, 19] {
        let id: AccountId = account(&simulator, number).parse().expect("an id");
        let mut client = Client::of_account(&simulator, id.as_str()).await;
        let wanted = json!({"RegionOptStatusContains": ["ENABLED", "ENABLED_BY_DEFAULT"]});
        let answer = client.call("account", "us-east-1", &Plain::post("/listRegions", &wanted)).await.json();
        let names = answer["Regions"].as_array().expect("a list").iter();
        let names: BTreeSet<String> = names.map(|r| r["RegionName"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(names, simulator.expectations().regions(&id).into_iter().collect());
        assert_eq!(names.len() > 17, number != 0);
        let all = client.call("account", "us-east-1", &Plain::post("/listRegions", &json!({}))).await.json();
        assert!(all["Regions"].as_array().expect("a list").len() > 30);
    }
}

#[tokio::test]
async fn every_operation_of_the_catalogue_is_served() {
    let world = WorldKind::Uniform { items: 3, regions: 1 };
    let simulator = start(Config { accounts: 12, holes: false, world, ..Config::default() }).await;
    for service in Catalogue::built_in().services().iter().filter(|s| s.id != "sts") {
        let region = service.signing_region(fleetscan_proto::GLOBAL).replace(fleetscan_proto::GLOBAL, "us-east-1");
        for operation in service.operations.iter().filter(|operation| operation.history.is_none()) {
            let answers = simulator.expectations().accounts().flat_map(|id| {
                let cell = Cell::new(id, &region, &service.id);
                simulator.expectations().meant(&cell, &operation.name).expect("known")
            });
            let there = answers.filter(|meant| meant.value.is_some()).count();
            assert!(there > 0, "{}:{} is about nothing, or always absent", service.id, operation.name);
        }
    }
}

#[tokio::test]
async fn ten_thousand_accounts_are_started_in_a_moment() {
    let began = std::time::Instant::now();
    let simulator = start(Config { accounts: 10_000, ..Config::default() }).await;
    assert_eq!(simulator.expectations().accounts().count(), 10_000);
    let last: AccountId = account(&simulator, 9_999).parse().expect("an id");
    assert!(simulator.expectations().cells(&last).count() > 80);
    assert!(began.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn a_service_without_fixtures_is_served_from_its_catalogue_file_alone() {
    let text = r#"
        service = "brandnew"
        title = "Brand New"
        protocol = "json-1.1"
        scope = "regional"
        target_prefix = "BrandNew"
        [[limit]]
        group = "g"
        rate = 10
        source = "s"
        [[operation]]
        name = "ListThings"
        pages = { in = "Next", out = "Next", size = "Max", max = 5 }
        items = "Things"
        record = { type = "AWS::Brand::New", id = "ThingArn", name = "ThingName" }
        redact = ["Settings.Token"]
        [[operation]]
        name = "GetThing"
        for = "ListThings"
        with = { Thing = "ThingArn" }
        keep = ["Detail"]
        absent = ["NoSuchThing"]
    "#;
    let catalogue = Catalogue::from_files([("brandnew.toml", text)]).expect("sound");
    let world = WorldKind::Uniform { items: 8, regions: 1 };
    let config =
        Config { accounts: 1, holes: false, world, catalogue: std::sync::Arc::new(catalogue), ..Config::default() };
    let simulator = start(config).await;
    let id: AccountId = account(&simulator, 0).parse().expect("an id");
    let cell = Cell::new(id.clone(), "us-east-1", "brandnew");
    let expected = simulator.expectations().cell(&cell).expect("there");
    assert_eq!((expected.outcome, expected.records.len()), (Outcome::Complete, 8));
    let mut client = Client::of_account(&simulator, id.as_str()).await;
    let first = client.call("brandnew", "us-east-1", &Plain::target("BrandNew.ListThings", &json!({}))).await.json();
    assert_eq!(first["Things"].as_array().map(Vec::len), Some(5));
    assert!(first["Things"][0]["Settings"]["Token"].as_str().is_some_and(|t| t.starts_with(SECRET_MARK)));
    let thing = json!({"Thing": first["Things"][0]["ThingArn"]});
    let answer = client.call("brandnew", "us-east-1", &Plain::target("BrandNew.GetThing", &thing)).await;
    assert!(answer.status == 200 || answer.code() == "NoSuchThing", "{}", answer.body);
}
