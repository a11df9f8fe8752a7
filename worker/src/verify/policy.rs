//! What a role's policies allow, as IAM evaluates them: an explicit Deny wins, then an Allow is needed, in the permissions
//! boundary as well where there is one (IAM User Guide, "Policy evaluation logic"). Resources and conditions are not
//! evaluated but noted: what is allowed on some resources or under conditions is allowed in part.

use super::{
    pattern::{covers, matches, meet, narrower},
    resource::{is_every_arn, is_everything, may_have_no_arn},
};
use crate::never::NEVER;
use fleetscan_proto::TrailBucket;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Patterns that may stand for what is left of one: a boundary has some seventy. What would make more is passed over.
const MAX_LEFT: usize = 500;

/// What the role's template grants on a bucket of CloudTrail's log files.
const LOG_FILE_ACTIONS: [&str; 2] = ["s3:ListBucket", "s3:GetObject"];

/// The actions that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actions {
    /// These patterns.
    Only(Vec<String>),
    /// All but these (`NotAction`).
    AllBut(Vec<String>),
}

impl Actions {
    fn include(&self, action: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        match self {
            Actions::Only(patterns) => named(patterns),
            Actions::AllBut(patterns) => !named(patterns),
        }
    }

    /// Whether everything that a pattern stands for is among them.
    fn include_all(&self, pattern: &str) -> bool {
        match self {
            Actions::Only(patterns) => patterns.iter().any(|outer| covers(outer, pattern)),
            Actions::AllBut(patterns) => !patterns.iter().any(|other| meet(other, pattern)),
        }
    }

    /// Whether anything that a pattern stands for is among them.
    fn include_any(&self, pattern: &str) -> bool {
        match self {
            Actions::Only(patterns) => patterns.iter().any(|other| meet(other, pattern)),
            Actions::AllBut(patterns) => !patterns.iter().any(|outer| covers(outer, pattern)),
        }
    }
}

/// A statement, as far as it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Allow, or Deny.
    pub allow: bool,
    /// About what.
    pub actions: Actions,
    /// It is about every resource.
    pub everywhere: bool,
    /// It is about every resource that has an ARN. Many lists are about none, which only `*` stands for.
    pub every_arn: bool,
    /// It has conditions.
    pub conditional: bool,
    /// It is about a bucket and its objects alone, and about nothing but listing and reading them: its name.
    pub log_files: Option<String>,
}

impl Statement {
    /// Whether it allows anything that a pattern stands for.
    pub fn allows_any(&self, pattern: &str) -> bool {
        self.allow && self.actions.include_any(pattern)
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// As its owner called it.
    pub name: String,
    /// Its statements.
    pub statements: Vec<Statement>,
}

/// A document that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document of policy {0} cannot be understood")]
pub struct Malformed(pub String);

impl Policy {
    /// Reads a document: an object, or text of one, percent-encoded or not.
    pub fn parse(name: &str, document: &Value) -> Result<Policy, Malformed> {
        let malformed = || Malformed(name.to_owned());
        let decoded = match document {
            Value::String(text) => {
                let plain = match text.trim_start().starts_with('{') {
                    true => text.clone(),
                    false => percent_decode_str(text).decode_utf8().map_err(|_| malformed())?.into_owned(),
                };
                serde_json::from_str(&plain).map_err(|_| malformed())?
            }
            other => other.clone(),
        };
        let statements = match decoded.get("Statement").ok_or_else(malformed)? {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        };
        let statements = statements.into_iter().map(statement).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        Ok(Policy { name: name.to_owned(), statements })
    }
}

fn statement(value: &Value) -> Option<Statement> {
    let allow = match value.get("Effect")?.as_str()? {
        "Allow" => true,
        "Deny" => false,
        _ => return None,
    };
    let actions = match (value.get("Action"), value.get("NotAction")) {
        (Some(list), None) => Actions::Only(texts(list)?),
        (None, Some(list)) => Actions::AllBut(texts(list)?),
        _ => return None,
    };
    let resources = value.get("Resource").map_or(Some(Vec::new()), texts)?;
    let everywhere = resources.iter().any(|resource| is_everything(resource));
    let every_arn = resources.iter().any(|resource| is_every_arn(resource, &actions));
    let conditional = match value.get("Condition") {
        None | Some(Value::Null) => false,
        Some(Value::Object(conditions)) => !conditions.is_empty(),
        Some(_) => return None,
    };
    let log_files = bucket_of_log_files(&actions, &resources);
    Some(Statement { allow, actions, everywhere, every_arn, conditional, log_files })
}

/// The bucket, where a statement is what the template grants for CloudTrail's log files.
fn bucket_of_log_files(actions: &Actions, resources: &[String]) -> Option<String> {
    let Actions::Only(actions) = actions else { return None };
    let is_reading = |action: &String| LOG_FILE_ACTIONS.iter().any(|known| action.eq_ignore_ascii_case(known));
    let bucket = |resource: &String| {
        let name = resource.split_once(":s3:::")?.1;
        let name = name.split_once('/').map_or(name, |(bucket, _)| bucket);
        (!name.contains(['*', '?'])).then(|| name.to_owned())
    };
    let mut buckets = resources.iter().map(bucket);
    let first = buckets.next()??;
    (actions.iter().all(is_reading) && buckets.all(|other| other.as_ref() == Some(&first))).then_some(first)
}

/// One text or a list of them.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether an action is allowed. What is less comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// On every resource, unconditionally.
    Allowed,
    /// On some resources.
    SomeResources,
    /// Under conditions, which are not evaluated.
    Conditional,
    /// No policy allows it.
    Lacking,
    /// The permissions boundary does not allow it.
    Bounded,
    /// A policy denies it.
    Denied,
}

/// All that decides what a role may do, within its account: what its organisation allows is not known here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolePolicies {
    /// Attached and inline.
    pub identity: Vec<Policy>,
    /// The permissions boundary, if there is one.
    pub boundary: Option<Policy>,
}

impl RolePolicies {
    /// Whether the role may do this.
    pub fn right(&self, action: &str) -> Right {
        let own = right_of(self.identity.iter().flat_map(|policy| &policy.statements), action);
        let Some(boundary) = &self.boundary else { return own };
        match right_of(boundary.statements.iter(), action) {
            Right::Lacking if own < Right::Lacking => Right::Bounded,
            bounded => own.max(bounded),
        }
    }

    /// Whether whatever a pattern stands for is out of reach: denied, or outside the boundary.
    pub fn rules_out(&self, pattern: &str) -> bool {
        let bounded = |policy: &Policy| !policy.statements.iter().any(|s| s.allows_any(pattern));
        let denies = |s: &Statement| {
            // Which other actions no ARN reaches (`iam:UpdateAccountPasswordPolicy`), nobody here knows.
            let by_arn = NEVER.iter().any(|never| covers(never, pattern)) && !may_have_no_arn(pattern);
            let reaches = s.everywhere || (s.every_arn && by_arn);
            !s.allow && reaches && !s.conditional && s.actions.include_all(pattern)
        };
        self.all().any(denies) || self.boundary.as_ref().is_some_and(bounded)
    }

    /// What is left of a pattern that an identity policy allows: patterns that lie within the boundary, and within what
    /// each statement leaves that denies all but some actions. They may stand for more than is left, never for less.
    pub fn left_of(&self, pattern: &str) -> BTreeSet<String> {
        let mut left = BTreeSet::from([pattern.to_owned()]);
        for fence in self.fences() {
            let narrowed: BTreeSet<String> =
                left.iter().flat_map(|pattern| fence.iter().flat_map(|side| side.left_of(pattern))).collect();
            if narrowed.len() <= MAX_LEFT {
                left = narrowed;
            }
        }
        left
    }

    /// What nothing goes beyond, whatever is allowed: the boundary, and what a Deny of all else leaves alone.
    fn fences(&self) -> Vec<Vec<Side<'_>>> {
        let boundary = self.boundary.iter().map(|policy| {
            policy.statements.iter().filter(|s| s.allow).map(|s| Side::of(&s.actions)).collect::<Vec<_>>()
        });
        let denials = self.all().filter(|s| !s.allow && s.everywhere && !s.conditional);
        let left_alone = denials.filter_map(|statement| match &statement.actions {
            Actions::AllBut(patterns) => Some(vec![Side::Within(patterns)]),
            Actions::Only(_) => None,
        });
        boundary.chain(left_alone).collect()
    }

    /// Leaves out what is granted for CloudTrail's log files in a bucket, which is no excess where it was asked for.
    pub fn without_log_files(mut self, bucket: &TrailBucket) -> Self {
        for policy in &mut self.identity {
            policy.statements.retain(|s| !s.allow || s.log_files.as_deref() != Some(bucket.bucket()));
        }
        self
    }

    fn all(&self) -> impl Iterator<Item = &Statement> {
        self.identity.iter().chain(&self.boundary).flat_map(|policy| &policy.statements)
    }
}

/// A part of a fence.
enum Side<'a> {
    Within(&'a [String]),
    Outside(&'a [String]),
}

impl<'a> Side<'a> {
    fn of(actions: &'a Actions) -> Self {
        match actions {
            Actions::Only(patterns) => Side::Within(patterns),
            Actions::AllBut(patterns) => Side::Outside(patterns),
        }
    }

    fn left_of(&self, pattern: &str) -> Vec<String> {
        match self {
            Side::Within(others) => others.iter().filter_map(|other| narrower(pattern, other)).collect(),
            Side::Outside(others) if others.iter().any(|other| covers(other, pattern)) => Vec::new(),
            Side::Outside(_) => vec![pattern.to_owned()],
        }
    }
}

fn right_of<'a>(statements: impl Iterator<Item = &'a Statement>, action: &str) -> Right {
    let mut right = Right::Lacking;
    // A Deny that holds for some resources or under conditions leaves the rest.
    let mut at_best = Right::Allowed;
    for statement in statements.filter(|statement| statement.actions.include(action)) {
        let so_far = match (statement.conditional, statement.everywhere) {
            (true, _) => Right::Conditional,
            (false, false) => Right::SomeResources,
            (false, true) => Right::Allowed,
        };
        match (statement.allow, so_far) {
            (true, _) => right = right.min(so_far),
            (false, Right::Allowed) => return Right::Denied,
            (false, partly) => at_best = at_best.max(partly),
        }
    }
    right.max(at_best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(statements: Value) -> Policy {
        Policy::parse("p", &json!({ "Version": "2012-10-17", "Statement": statements })).expect("a policy")
    }
    fn role(statements: Value) -> RolePolicies {
        RolePolicies { identity: vec![policy(statements)], boundary: None }
    }

    #[test]
    fn an_action_is_allowed_by_a_pattern_in_any_case_and_by_nothing_else() {
        let role =
            role(json!([{ "Effect": "Allow", "Action": ["lambda:List*", "SNS:get?opicAttributes"], "Resource": "*" }]));
        assert_eq!(role.right("lambda:ListFunctions"), Right::Allowed);
        assert_eq!(role.right("LAMBDA:listfunctions"), Right::Allowed);
        assert_eq!(role.right("sns:GetTopicAttributes"), Right::Allowed);
        assert_eq!(role.right("lambda:GetFunction"), Right::Lacking);
    }

    #[test]
    fn a_deny_wins_wherever_it_stands() {
        let role = role(json!([
            { "Effect": "Deny", "Action": "s3:GetObject*", "Resource": "*" },
            { "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
        ]));
        assert_eq!(role.right("s3:GetObjectVersion"), Right::Denied);
        assert_eq!(role.right("s3:GetBucketPolicy"), Right::Allowed);
        assert!(role.rules_out("s3:GetObject*") && !role.rules_out("s3:Get*"));
    }

    #[test]
    fn not_action_is_everything_else() {
        let role = role(json!({ "Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*" }));
        assert_eq!(role.right("iam:ListUsers"), Right::Lacking);
        assert_eq!(role.right("ec2:RunInstances"), Right::Allowed);
        let denied = RolePolicies {
            identity: vec![
                policy(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })),
                policy(json!({ "Effect": "Deny", "NotAction": "lambda:*", "Resource": "*" })),
            ],
            boundary: None,
        };
        assert_eq!(denied.right("lambda:GetPolicy"), Right::Allowed);
        assert_eq!(denied.right("sns:ListTopics"), Right::Denied);
        assert!(denied.rules_out("s3:*") && !denied.rules_out("*"));
    }

    #[test]
    fn resources_and_conditions_make_it_partly() {
        let condition = json!({ "StringEquals": { "aws:RequestedRegion": "eu-west-1" } });
        let role = role(json!([
            { "Effect": "Allow", "Action": "sns:*", "Resource": "arn:aws:sns:*:*:mine" },
            { "Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*", "Condition": condition },
            { "Effect": "Allow", "Action": "lambda:*", "Resource": ["arn:x", "*"] },
            { "Effect": "Deny", "Action": "lambda:GetPolicy", "Resource": "*", "Condition": condition },
            { "Effect": "Deny", "Action": "lambda:GetFunction", "Resource": "arn:aws:lambda:*:*:function:secret" },
            { "Effect": "Allow", "Action": "iam:List*", "NotResource": "arn:x" },
        ]));
        for (action, right) in [
            ("sns:ListTopics", Right::SomeResources),
            ("ec2:DescribeVpcs", Right::Conditional),
            ("lambda:ListFunctions", Right::Allowed),
            ("lambda:GetPolicy", Right::Conditional),
            ("lambda:GetFunction", Right::SomeResources),
            ("iam:ListUsers", Right::SomeResources),
        ] {
            assert_eq!(role.right(action), right, "{action}");
        }
    }

    #[test]
    fn a_boundary_takes_away_and_gives_nothing() {
        let role = RolePolicies {
            boundary: Some(policy(json!([{ "Effect": "Allow", "Action": ["s3:Get*", "kms:*"], "Resource": "*" }]))),
            ..role(json!([{ "Effect": "Allow", "Action": ["s3:*", "sns:*"], "Resource": "*" }]))
        };
        assert_eq!(role.right("s3:GetBucketAcl"), Right::Allowed);
        assert_eq!(role.right("sns:ListTopics"), Right::Bounded);
        assert_eq!(role.right("kms:ListKeys"), Right::Lacking);
        assert!(role.rules_out("sns:*") && role.rules_out("s3:PutObject") && !role.rules_out("s3:*"));
    }

    #[test]
    fn what_is_left_of_a_pattern_lies_within_the_boundary_and_what_a_deny_leaves_alone() {
        let left = |role: &RolePolicies, pattern: &str| role.left_of(pattern).into_iter().collect::<Vec<_>>();
        let bounded = RolePolicies {
            boundary: Some(policy(json!([
                { "Effect": "Allow", "Action": ["s3:Get*", "*:List*", "iam:PassRole"], "Resource": "*" },
                { "Effect": "Deny", "Action": "s3:GetObject*", "Resource": "*" },
            ]))),
            ..role(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }))
        };
        assert_eq!(left(&bounded, "*"), ["*:List*", "iam:PassRole", "s3:Get*"]);
        assert_eq!(left(&bounded, "s3:*"), ["s3:Get*", "s3:List*"], "service and name each by itself");
        assert_eq!(left(&bounded, "S3:GetBucket*"), ["S3:GetBucket*"]);
        assert!(left(&bounded, "ec2:RunInstances").is_empty());
        let denied = role(json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "NotAction": ["lambda:*", "sns:List*"], "Resource": "*" },
            { "Effect": "Deny", "NotAction": "s3:*", "Resource": "*", "Condition": { "Bool": { "aws:SecureTransport": "false" } } },
        ]));
        assert_eq!(left(&denied, "*"), ["lambda:*", "sns:List*"], "a Deny under conditions leaves the rest");
        assert_eq!(left(&denied, "*:Get*"), ["lambda:Get*"]);
        let outside = RolePolicies {
            boundary: Some(policy(json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" }))),
            ..RolePolicies::default()
        };
        assert_eq!((left(&outside, "iam:Get*").len(), left(&outside, "ec2:*").len()), (0, 1));
        assert_eq!(left(&RolePolicies::default(), "s3:*"), ["s3:*"], "nothing bounds it");
    }

    #[test]
    fn the_patterns_that_are_left_are_bounded() {
        let but = |patterns: Vec<String>| json!({ "Effect": "Deny", "NotAction": patterns, "Resource": "*" });
        let services: Vec<String> = (10..40).map(|n| format!("s{n}:*")).collect();
        let names = (10..40).map(|n| format!("*:Name{n}*")).collect();
        let role = role(json!([but(services.clone()), but(names)]));
        assert_eq!(role.left_of("*"), services.into_iter().collect(), "nine hundred are not worth it");
        assert_eq!(role.left_of("s12:*").len(), 30);
    }

    #[test]
    fn a_deny_of_every_arn_rules_out_what_has_one() {
        let deny = |actions: &str, resource: &str| {
            role(json!({ "Effect": "Deny", "Action": actions, "Resource": ["arn:x", resource] }))
        };
        assert!(deny("s3:GetObject*", "arn:aws:s3:::*/*").rules_out("s3:GetObject*"));
        assert!(deny("kms:Decrypt", "arn:aws*:*").rules_out("kms:Decrypt"));
        assert!(!deny("iam:*", "arn:aws:iam::*:*").rules_out("iam:*"), "an account's password policy has none");
        assert!(deny("iam:*", "*").rules_out("iam:*"));
        assert!(!deny("kms:Decrypt", "arn:aws:kms:*:*:key/mine").rules_out("kms:Decrypt"));
        assert!(!deny("ecr:Get*", "arn:aws:ecr:*:*:*").rules_out("ecr:GetAuthorizationToken"), "it has none");
        let lists = role(json!({ "Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:*:*" }));
        assert_eq!(lists.right("ec2:DescribeVpcs"), Right::SomeResources, "lists are about no ARN");
    }

    #[test]
    fn documents_come_as_objects_and_as_text_and_some_are_none() {
        let text = r#"{"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*"}}"#;
        let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        for document in [json!(text), json!(encoded), serde_json::from_str(text).expect("json")] {
            let role = RolePolicies { identity: vec![Policy::parse("p", &document).expect("reads")], boundary: None };
            assert_eq!(role.right("a:b"), Right::Allowed);
        }
        for wrong in [
            json!({}),
            json!("{"),
            json!({"Statement": [{"Effect": "Maybe"}]}),
            json!(3),
            json!({"Statement": [{"Effect": "Allow", "Action": "a", "NotAction": "b"}]}),
        ] {
            assert_eq!(Policy::parse("p", &wrong), Err(Malformed("p".into())), "{wrong}");
        }
    }
}
