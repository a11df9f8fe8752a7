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
fn what_tells_what_was_done_has_pages_of_one_list_and_nothing_hangs_on_it() {
    const HISTORY: &str =
        "history = { from = \"A\", to = \"B\", time = \"T\", document = \"D\", days = 90, late_minutes = 15 }\nitems =";
    let told = SAMPLE.replacen("items =", HISTORY, 1);
    let alone = told.split("[[operation]]\nname = \"GetPolicy\"").next().expect("there").to_owned();
    let parsed = Catalogue::from_files([("lambda.toml", alone.as_str())]).expect("sound");
    let history = parsed.operation("lambda", "ListFunctions").and_then(|o| o.history.clone()).expect("there");
    assert_eq!((history.span, history.days), (("A".to_owned(), "B".to_owned()), 90));
    for (text, says) in [
        (told, "nothing hangs on it"),
        (alone.replace("pages =", "# pages ="), "goes with `pages`"),
        (alone.replace("record =", "# record ="), "goes with `pages`"),
        (alone.replace("days = 90", "days = 0"), "above 0"),
        (alone.replace("late_minutes = 15", "late_minutes = 129600"), "below them"),
    ] {
        let error = Catalogue::from_files([("lambda.toml", text.as_str())]).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn mistakes_are_named() {
    for (from, to, says) in [
        ("for = \"ListFunctions\"", "for = \"ListFunctoins\"", "no operation ListFunctoins"),
        ("rate = 15", "rate = 0", "above 0"),
        ("AWS::Lambda::Function", "Function", "not like"),
        ("keep =", "kept =", "unknown field"),
        ("items =", "with = { A = \"B\" }\nitems =", "there is no item"),
        ("service = \"lambda\"", "service = \"../lambda\"", "lower-case letters"),
        ("title = \"AWS Lambda\"", "title = \"AWS\\nLambda\"", "`title`"),
        ("scope", "endpoint_prefix = \"elsewhere.example/\"\nscope", "`endpoint_prefix"),
        ("scope", "signing_name = \"a b\"\nscope", "`signing_name"),
        ("scope", "one_host = true\nscope", "a host a region"),
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

#[test]
fn one_operation_may_be_called_for_the_items_of_several_and_of_itself() {
    let more = r#"
[[operation]]
name = "ListAliases"
http = "GET /aliases/{Name}"
for = ["ListFunctions", "ListAliases"]
with = { Name = "FunctionName|AliasName" }
items = "Aliases"
add = { Above = "^*FunctionName" }
record = { type = "AWS::Lambda::Alias", id = "AliasName" }
[[operation]]
name = "ListTags"
http = "GET /tags/{Arn}"
for = "ListFunctions"
with = { Arn = "FunctionArn" }
keep = ["Tags"]
[[operation]]
name = "ListTags"
http = "GET /tags/{Arn}"
for = "ListAliases"
with = { Arn = "arn:{$partition}:{AliasName}" }
keep = ["Tags"]
"#;
    let text = format!("{SAMPLE}{more}");
    let catalogue = Catalogue::from_files([("lambda.toml", text.as_str())]).expect("sound");
    let service = catalogue.service("lambda").expect("there");
    let aliases: Vec<&Operation> = service.operations.iter().filter(|o| o.name == "ListAliases").collect();
    assert_eq!(aliases.len(), 2);
    for one in &aliases {
        let below: Vec<&str> = service.children(one.index, 0).map(|o| o.name.as_str()).collect();
        assert_eq!(below, ["ListAliases", "ListTags"], "wherever it was found, the same hangs on it");
    }
    let wrong = text.replace(
        "name = \"ListTags\"\nhttp = \"GET /tags/{Arn}\"\nfor = \"ListAliases\"",
        "name = \"ListTags\"\nhttp = \"GET /tag/{Arn}\"\nfor = \"ListAliases\"",
    );
    let error = Catalogue::from_files([("lambda.toml", wrong.as_str())]).expect_err("two ways of calling it");
    assert!(error.to_string().contains("not with the same"), "{error}");
}

#[test]
fn an_operation_may_be_borrowed_from_another_service() {
    let borrower = r#"
service = "directory"
title = "A directory"
protocol = "json-1.1"
scope = "regional"
target_prefix = "Directory"
[[limit]]
group = "each"
rate = 20
source = "published"
[[operation]]
name = "ListFunctions"
from = "lambda"
[[operation]]
name = "ListPeople"
for = "ListFunctions"
with = { Of = "FunctionName" }
items = "People"
record = { type = "AWS::Directory::Person", id = "Id" }
"#;
    let catalogue = Catalogue::from_files([("directory.toml", borrower), ("lambda.toml", SAMPLE)]).expect("sound");
    let borrowed = catalogue.operation("directory", "ListFunctions").expect("there");
    assert_eq!((borrowed.action.as_str(), borrowed.lender.as_deref()), ("lambda:ListFunctions", Some("lambda")));
    assert!(borrowed.paging.is_some() && !borrowed.emits[0].is_record());
    for (from, to, says) in [
        ("from = \"lambda\"", "from = \"nosuch\"", "no service \"nosuch\""),
        ("from = \"lambda\"", "from = \"iam\"", "typed client"),
        ("\"ListFunctions\"\nfrom", "\"GetPolicy\"\nfrom", "needs no other"),
    ] {
        let text = borrower.replace(from, to).replace("for = \"ListFunctions\"", "");
        let text = text.replace("with = { Of = \"FunctionName\" }\n", "");
        let error = Catalogue::from_files([("directory.toml", text.as_str()), ("lambda.toml", SAMPLE)]).expect_err(to);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_lies_deep_is_found_and_texts_tell_codes_apart() {
    let mut value = json!({"definition": {"States": {"A": {"Parameters": {"Token": "x"}, "Branches": [{"States": {"B": {"Parameters": {"Token": "y"}}}}]}}}});
    FieldPath::parse("definition.**.Parameters.*").expect("path").edit(&mut value, &mut |v| *v = json!("<redacted>"));
    assert_eq!(value.to_string().matches("<redacted>").count(), 2);
    assert!(!value.to_string().contains('x') && !value.to_string().contains('y'));
    let text =
        SAMPLE.replace("\"ResourceNotFoundException\"", "\"ResourceNotFoundException\", \"AccessDenied: not yours\"");
    let catalogue = Catalogue::from_files([("lambda.toml", text.as_str())]).expect("sound");
    let operation = catalogue.operation("lambda", "GetPolicy").expect("there");
    assert_eq!(operation.absent, ["ResourceNotFoundException"]);
    assert_eq!(operation.absent_with_text, [("AccessDenied".to_owned(), "not yours".to_owned())]);
}
