use super::*;
use serde_json::json;

const SAMPLE: &str = r#"
service = "lambda"
title = "AWS Lambda"
protocol = "rest-json"
scope = "regional"
[[limit]]
group = "control"
rate = 15
shared = true
source = "published"
[[operation]]
name = "ListFunctions"
http = "GET /2015-03-31/functions"
pages = { in = "Marker", out = "NextMarker", size = "MaxItems", max = 50 }
items = "Functions"
record = { type = "AWS::Lambda::Function", id = "FunctionArn" }
redact = ["Environment.Variables.*"]
[[operation]]
name = "GetPolicy"
http = "GET /2015-03-31/functions/{FunctionName}/policy"
for = "ListFunctions"
with = { FunctionName = "FunctionName" }
keep = ["Policy"]
absent = ["ResourceNotFoundException"]
"#;

#[test]
fn the_built_in_catalogue_is_sound() {
    assert!(Catalogue::built_in().scanned().count() > 0);
}

#[test]
fn a_service_is_a_file() {
    let catalogue = Catalogue::from_files([("lambda.toml", SAMPLE)]).expect("sound");
    let service = catalogue.service("lambda").expect("there");
    assert_eq!(service.operation("GetPolicy").expect("there").action, "lambda:GetPolicy");
    assert_eq!(service.children(0, 0).map(|o| o.name.as_str()).collect::<Vec<_>>(), ["GetPolicy"]);
    assert!(catalogue.operation("lambda", "Invoke").is_none());
}

#[test]
fn mistakes_are_named() {
    for (from, to, says) in [
        ("for = \"ListFunctions\"", "for = \"ListFunctoins\"", "no operation ListFunctoins"),
        ("rate = 15", "rate = 0", "above 0"),
        ("AWS::Lambda::Function", "Function", "not like"),
        ("keep =", "kept =", "unknown field"),
        ("items =", "with = { A = \"B\" }\nitems =", "there is no item"),
        ("GET /2015-03-31/functions\"", "DELETE /2015-03-31/functions\"", "use GET"),
    ] {
        let text = SAMPLE.replacen(from, to, 1);
        let error = Catalogue::from_files([("lambda.toml", text.as_str())]).expect_err(to);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn paths_reach_into_lists_and_maps() {
    let value = json!({"Reservations": [{"Instances": [{"Id": 1}, {"Id": 2}]}, {"Instances": [{"Id": 3}]}], "Env": {"A": "x", "B": "y"}});
    let path = FieldPath::parse("Reservations[].Instances[]").expect("path");
    assert_eq!(path.items(&value).len(), 3);
    let mut changed = value.clone();
    FieldPath::parse("Env.*").expect("path").edit(&mut changed, &mut |v| *v = json!("<redacted>"));
    assert_eq!(changed["Env"], json!({"A": "<redacted>", "B": "<redacted>"}));
    assert!(FieldPath::parse("a..b").is_err());
    assert!(FieldPath::parse("a|").is_err());
    let either = FieldPath::parse("Missing|Env.B").expect("path");
    assert_eq!(either.get(&value), Some(&json!("y")));
    assert_eq!(FieldPath::parse("Env.A|Env.B").expect("path").items(&value), [&json!("x")]);
    FieldPath::parse("Env.A").expect("path").remove(&mut changed);
    assert_eq!(changed["Env"], json!({"B": "<redacted>"}));
}

#[test]
fn templates_put_arns_together() {
    let template =
        Template::parse("arn:{$partition}:ec2:{$region}:{$account}:instance/{InstanceId}").expect("template");
    let filled = template.fill(&json!({"InstanceId": "i-1"}), &|name| name.to_uppercase());
    assert_eq!(filled.as_deref(), Some("arn:PARTITION:ec2:REGION:ACCOUNT:instance/i-1"));
    assert_eq!(template.fill(&json!({}), &|_| String::new()), None);
}
