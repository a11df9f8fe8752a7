//! What a role's policies allow, as IAM evaluates them: an explicit Deny wins, then an Allow is needed, in the permissions
//! boundary as well where there is one (IAM User Guide, "Policy evaluation logic"). Resources and conditions are not
//! evaluated but noted: what is allowed on some resources or under conditions is allowed in part.

use super::pattern::{covers, matches, meet};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

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
    /// It has conditions.
    pub conditional: bool,
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
    let everywhere = match value.get("Resource") {
        Some(list) => texts(list)?.iter().any(|resource| resource.chars().all(|c| c == '*')),
        None => false,
    };
    let conditional = match value.get("Condition") {
        None | Some(Value::Null) => false,
        Some(Value::Object(conditions)) => !conditions.is_empty(),
        Some(_) => return None,
    };
    Some(Statement { allow, actions, everywhere, conditional })
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
        let bounded = |policy: &Policy| !policy.statements.iter().any(|s| s.allow && s.actions.include_any(pattern));
        self.all().any(|s| !s.allow && s.everywhere && !s.conditional && s.actions.include_all(pattern))
            || self.boundary.as_ref().is_some_and(bounded)
    }

    fn all(&self) -> impl Iterator<Item = &Statement> {
        self.identity.iter().chain(&self.boundary).flat_map(|policy| &policy.statements)
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
