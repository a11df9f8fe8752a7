//! What an IAM policy allows, as far as its text tells.

use super::condition::{OneOrMany, like};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// Something that a policy may allow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// To whom, in a resource's policy or a role's trust.
    #[serde(default)]
    pub who: Who,
    /// One of these actions, `iam:PassRole`; `*:*` is everything. None: whatever it may be.
    #[serde(default)]
    pub actions: Vec<String>,
    /// On every resource.
    #[serde(default)]
    pub on_all_resources: bool,
    /// Only if no condition of the statement narrows who may, or from where.
    #[serde(default)]
    pub unconditioned: bool,
    /// Only if no condition of the statement is about one of these keys.
    #[serde(default)]
    pub without: OneOrMany,
    /// To whomever an identity provider like one of these vouches for: `*:oidc-provider/gitlab.com`.
    #[serde(default)]
    pub federated: OneOrMany,
}

/// Whom a statement lets in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Whomever it may be about.
    #[default]
    Any,
    /// Everybody in the world.
    World,
    /// A principal of another account, named or by a wildcard.
    OtherAccount,
    /// A service of AWS, which acts for whoever makes it act.
    Service,
}

/// Keys of conditions that narrow who may, or from where. Those of a function's URL say only by which way; whether that
/// asks who one is, is told of the URL itself.
const NARROWING: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltag/*",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:userid",
    "aws:vpceaccount",
    "aws:vpceorgid",
    "aws:vpceorgpaths",
    "aws:vpcsourceip",
    "kms:calleraccount",
    "lambda:eventsourcetoken",
    "lambda:functionurlauthtype",
    "lambda:invokedviafunctionurl",
    "lambda:principal",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "sns:endpoint",
    "sts:externalid",
    "*:aud",
    "*:sub",
];

/// The first statement that allows it, or nothing. `document`: an object, or its text.
pub(super) fn allowed(document: &Value, wanted: &Allowance, account: &str) -> Option<Value> {
    let document: Cow<'_, Value> = match document {
        Value::String(text) => Cow::Owned(serde_json::from_str(text).ok()?),
        other => Cow::Borrowed(other),
    };
    list(document.get("Statement")?).into_iter().find(|statement| allows(statement, wanted, account)).cloned()
}

fn allows(statement: &Value, wanted: &Allowance, account: &str) -> bool {
    statement.get("Effect").and_then(Value::as_str) == Some("Allow")
        && lets_in(statement, wanted.who, account)
        && (wanted.actions.is_empty() || wanted.actions.iter().any(|action| covers(statement, action)))
        && (!wanted.on_all_resources || on_all_resources(statement))
        && (!wanted.unconditioned || !is_narrowed(statement))
        && !keys(statement).any(|key| wanted.without.iter().any(|pattern| like(pattern, key)))
        && (wanted.federated.is_empty() || wanted.federated.iter().any(|pattern| trusts_provider(statement, pattern)))
}

fn trusts_provider(statement: &Value, pattern: &str) -> bool {
    let providers = statement.get("Principal").and_then(|principal| principal.get("Federated"));
    texts(providers).iter().any(|provider| like(pattern, provider))
}

fn lets_in(statement: &Value, who: Who, account: &str) -> bool {
    let principals = match statement.get("Principal") {
        Some(Value::String(all)) => vec![all.as_str()],
        Some(principal) => texts(principal.get("AWS")),
        // NotPrincipal with Allow lets in all others.
        None if statement.get("NotPrincipal").is_some() => vec!["*"],
        None => Vec::new(),
    };
    match who {
        Who::Any => true,
        Who::Service => statement.get("Principal").is_some_and(|principal| principal.get("Service").is_some()),
        Who::World => principals.contains(&"*"),
        Who::OtherAccount => principals.iter().any(|principal| {
            let of = principal.split(':').nth(4).unwrap_or(principal);
            // A principal that was deleted is shown by its id.
            let is_account = of.len() == 12 && of.bytes().all(|b| b.is_ascii_digit());
            *principal == "*" || (is_account && of != account)
        }),
    }
}

/// Whether the statement's actions take in this one.
fn covers(statement: &Value, action: &str) -> bool {
    let takes_in = |pattern: &&str| match action {
        // Everything is nothing less than everything.
        "*:*" => matches!(*pattern, "*" | "*:*"),
        action => like(pattern, action),
    };
    match statement.get("NotAction") {
        Some(left_out) => action != "*:*" && !texts(Some(left_out)).iter().any(takes_in),
        None => texts(statement.get("Action")).iter().any(takes_in),
    }
}

fn on_all_resources(statement: &Value) -> bool {
    match statement.get("Resource") {
        Some(resource) => texts(Some(resource)).contains(&"*"),
        None => statement.get("NotResource").is_some(),
    }
}

/// Keys of the statement's conditions that ask for something, but for those that anybody meets.
fn keys(statement: &Value) -> impl Iterator<Item = &str> {
    let conditions = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    let asking = conditions.filter(|(operator, _)| asks(operator));
    let pairs = asking.filter_map(|(_, pairs)| pairs.as_object()).flatten();
    pairs.filter(|(key, value)| !is_met_by_anybody(key, value)).map(|(key, _)| key.as_str())
}

/// Whether an operator asks for a value: one that says which may not be there does not, nor one that is void where the key
/// is missing (`…IfExists`, `ForAllValues:…`: IAM User Guide, "Set operators for multivalued context keys").
fn asks(operator: &str) -> bool {
    let operator = operator.to_ascii_lowercase();
    let void_if_missing = operator.ends_with("ifexists") || operator.starts_with("forallvalues:");
    !operator.contains("not") && !void_if_missing && !operator.contains("null")
}

fn is_met_by_anybody(key: &str, value: &Value) -> bool {
    if key.eq_ignore_ascii_case("aws:MultiFactorAuthPresent") {
        return !(value.as_bool() == Some(true)
            || texts(Some(value)).iter().any(|text| text.eq_ignore_ascii_case("true")));
    }
    // A build's subject is `repo:<owner>/<name>:…` or the like: with a wildcard for the owner, it is everybody's.
    let is_subject = key.to_ascii_lowercase().ends_with(":sub");
    let of_any_owner = |text: &str| is_subject && text.split_once(':').is_some_and(|(_, owner)| owner.starts_with('*'));
    texts(Some(value)).iter().any(|text| *text == "*" || of_any_owner(text))
}

/// Whether a condition says who may, or from where.
fn is_narrowed(statement: &Value) -> bool {
    let Some(conditions) = statement.get("Condition").and_then(Value::as_object) else { return false };
    conditions.iter().any(|(operator, pairs)| {
        let narrowing = |key: &str| NARROWING.iter().any(|pattern| like(pattern, key));
        let to_something = |value: &Value| texts(Some(value)).iter().all(|text| !is_anybody(text));
        asks(operator)
            && pairs
                .as_object()
                .is_some_and(|pairs| pairs.iter().any(|(key, value)| narrowing(key) && to_something(value)))
    })
}

/// Whether a condition's value stands for everybody: a wildcard, every address, or an ARN of whatever account. A bucket's
/// name is one in all the world, whatever stands for its account.
fn is_anybody(text: &str) -> bool {
    let part = |n: usize| text.split(':').nth(n).unwrap_or_default();
    let is_bucket = part(2) == "s3" && !part(5).is_empty() && !part(5).starts_with('*');
    let of_any_account = text.starts_with("arn:") && part(4) == "*" && !is_bucket;
    of_any_account || matches!(text, "*" | "0.0.0.0/0" | "::/0")
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        other => vec![other],
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    value.map(list).unwrap_or_default().into_iter().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ACCOUNT: &str = "111122223333";

    fn wanted(text: &str) -> Allowance {
        toml::from_str(text).expect("an allowance")
    }
    fn allows(statement: &Value, text: &str) -> bool {
        allowed(&json!({ "Statement": statement }), &wanted(text), ACCOUNT).is_some()
    }

    #[test]
    fn a_key_protects_only_where_it_asks_for_something_that_not_everybody_has() {
        let without = "who = 'any'\nwithout = ['*:sub', 'aws:MultiFactorAuthPresent']";
        let trust = |condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::1:oidc-provider/x"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
        let sub =
            |operator: &str, text: &str| trust(json!({ operator: {"token.actions.githubusercontent.com:sub": text} }));
        for protects in [
            sub("StringEquals", "repo:acme/app:ref:refs/heads/main"),
            sub("StringLike", "repo:acme/*"),
            sub("StringLike", "system:serviceaccount:*:*"),
            trust(json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}})),
            trust(json!({"Bool": {"aws:MultiFactorAuthPresent": true}})),
        ] {
            assert!(!allows(&protects, without), "{protects}");
        }
        for lets_in in [
            sub("StringLike", "*"),
            sub("StringLike", "repo:*"),
            sub("StringLike", "repo:*/app:ref:refs/heads/main"),
            sub("ForAllValues:StringLike", "repo:acme/*"),
            sub("StringNotEquals", "repo:acme/app"),
            sub("StringLikeIfExists", "repo:acme/*"),
            trust(json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}})),
            trust(json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}})),
        ] {
            assert!(allows(&lets_in, without), "{lets_in}");
        }
    }

    #[test]
    fn the_world_is_everybody_unless_a_condition_narrows_it() {
        let world = "who = 'world'\nunconditioned = true";
        let statement = |principal: Value, condition: Value| json!({"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "*", "Condition": condition});
        assert!(allows(&statement(json!("*"), json!({})), world));
        assert!(allows(&statement(json!({"AWS": ["*"]}), json!({})), world));
        assert!(allows(&statement(json!("*"), json!({"Bool": {"aws:SecureTransport": "true"}})), world));
        assert!(allows(&statement(json!("*"), json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})), world));
        assert!(allows(&statement(json!("*"), json!({"StringNotEquals": {"aws:SourceAccount": ACCOUNT}})), world));
        assert!(allows(&statement(json!("*"), json!({"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}})), world));
        let for_all = json!({"ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/*"}});
        assert!(allows(&statement(json!("*"), for_all), world));
        let arn = |arn: &str| json!({"ArnLike": {"aws:PrincipalArn": arn}});
        assert!(allows(&statement(json!("*"), arn("arn:aws:iam::*:role/deploy")), world));
        assert!(!allows(&statement(json!("*"), arn("arn:aws:iam::444455556666:role/*")), world));
        let source = |arn: &str| json!({"ArnLike": {"aws:SourceArn": arn}});
        assert!(
            !allows(&statement(json!("*"), source("arn:aws:s3:*:*:my-bucket")), world),
            "a bucket's name is global"
        );
        assert!(allows(&statement(json!("*"), source("arn:aws:s3:*:*:*")), world));
        let for_any = json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/*"}});
        assert!(!allows(&statement(json!("*"), for_any), world));
        assert!(!allows(&statement(json!("*"), json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}})), world));
        assert!(!allows(&statement(json!("*"), json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs"}})), world));
        let url = json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}});
        assert!(!allows(&statement(json!("*"), url), world), "the URL has a rule of its own");
        assert!(!allows(&statement(json!("*"), json!({"StringEquals": {"AWS:SourceOwner": ACCOUNT}})), world));
        assert!(!allows(&statement(json!({"AWS": "arn:aws:iam::444455556666:root"}), json!({})), world));
        assert!(!allows(&statement(json!({"Service": "*.amazonaws.com"}), json!({})), world));
        let mut denied = statement(json!("*"), json!({}));
        denied["Effect"] = json!("Deny");
        assert!(!allows(&denied, world));
    }

    #[test]
    fn a_service_acts_for_whoever_makes_it_act_unless_a_condition_says_for_whom() {
        let service = "who = 'service'\nunconditioned = true";
        let statement = |principal: Value, condition: Value| json!({"Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction", "Condition": condition});
        let s3 = json!({"Service": "s3.amazonaws.com"});
        assert!(allows(&statement(s3.clone(), json!({})), service));
        assert!(!allows(&statement(s3.clone(), json!({"StringEquals": {"AWS:SourceAccount": ACCOUNT}})), service));
        assert!(!allows(&statement(s3, json!({"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::uploads"}})), service));
        assert!(!allows(&statement(json!("*"), json!({})), service));
    }

    #[test]
    fn another_account_is_told_from_ours_whatever_form_it_has() {
        let other = "who = 'other_account'\nwithout = 'sts:ExternalId'";
        let trust = |aws: &str, condition: Value| json!({"Effect": "Allow", "Principal": {"AWS": aws}, "Action": "sts:AssumeRole", "Condition": condition});
        for aws in ["arn:aws:iam::444455556666:root", "444455556666", "*", "arn:aws:iam::444455556666:role/x"] {
            assert!(allows(&trust(aws, json!({})), other), "{aws}");
        }
        for aws in ["arn:aws:iam::111122223333:root", "111122223333", "AROAEXAMPLEEXAMPLE"] {
            assert!(!allows(&trust(aws, json!({})), other), "{aws}");
        }
        let set = json!({"StringEquals": {"sts:ExternalId": "<set>"}});
        assert!(!allows(&trust("444455556666", set), other));
        let with_mfa = "who = 'other_account'\nwithout = ['sts:ExternalId', 'aws:MultiFactorAuthPresent']";
        assert!(allows(&trust("444455556666", json!({})), with_mfa));
        assert!(!allows(&trust("444455556666", json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}})), with_mfa));
    }

    #[test]
    fn a_provider_that_vouches_for_many_is_narrowed_by_whom_it_vouches_for() {
        let github = "federated = '*:oidc-provider/token.actions.githubusercontent.com'\nwithout = '*:sub'";
        let trust = |provider: &str, condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": format!("arn:aws:iam::111122223333:oidc-provider/{provider}")}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
        let audience = json!({"StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}});
        assert!(allows(&trust("token.actions.githubusercontent.com", audience.clone()), github));
        assert!(!allows(&trust("oidc.example.com", audience), github));
        let subject = json!({"StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme/*"}});
        assert!(!allows(&trust("token.actions.githubusercontent.com", subject), github));
        let whatever = json!({"StringLike": {"token.actions.githubusercontent.com:sub": "*"}});
        assert!(allows(&trust("token.actions.githubusercontent.com", whatever), github));
    }

    #[test]
    fn actions_are_patterns_and_everything_is_everything() {
        let of = |action: Value| json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        let everything = "actions = ['*:*']\non_all_resources = true";
        assert!(allows(&of(json!("*")), everything));
        assert!(!allows(&of(json!(["iam:*", "s3:*"])), everything));
        let pass = "actions = ['iam:PassRole']\non_all_resources = true";
        assert!(allows(&of(json!(["iam:Pass*"])), pass));
        assert!(allows(&of(json!("IAM:passrole")), pass));
        assert!(!allows(&of(json!("iam:Get*")), pass));
        let but = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
        assert!(!allows(&but, pass));
        assert!(allows(&but, "actions = ['s3:GetObject']"));
        let narrow = json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::mine/*"});
        assert!(!allows(&narrow, everything));
    }

    #[test]
    fn a_document_may_be_a_text_and_a_statement_no_list() {
        let text = json!(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#);
        assert!(allowed(&text, &wanted("actions = ['*:*']"), ACCOUNT).is_some());
        for broken in [json!("{"), json!(7), json!({}), json!({"Statement": 3})] {
            assert!(allowed(&broken, &wanted("actions = ['*:*']"), ACCOUNT).is_none());
        }
    }
}
