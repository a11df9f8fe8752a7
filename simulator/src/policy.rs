//! Who may do what: inline session policies, and the role's own holes.

use crate::{live::Changes, persona::Persona};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// By which policy a call is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeniedBy {
    Identity,
    Scp,
    Session,
}

/// Whether an action (`lambda:ListFunctions`) of a service is denied in an account, whatever the session.
pub(crate) fn denied(persona: &Persona, changes: Option<&Changes>, service: &str, action: &str) -> Option<DeniedBy> {
    let forbidden = persona.scp.contains(&service) || changes.is_some_and(|c| c.scp.contains(service));
    if forbidden {
        return Some(DeniedBy::Scp);
    }
    let lacks = |pattern: &str| {
        pattern == action
            || pattern.strip_suffix(":*").is_some_and(|s| s == service || action.split(':').next() == Some(s))
    };
    let detached = persona.detached.iter().any(|pattern| lacks(pattern))
        || changes.is_some_and(|c| c.detached.iter().any(|pattern| lacks(pattern)));
    detached.then_some(DeniedBy::Identity)
}

/// The text by which AWS says so. Source: IAM User Guide, "Troubleshoot access denied error messages".
pub(crate) fn denial(by: DeniedBy, principal: &str, action: &str) -> String {
    let why = match by {
        DeniedBy::Identity => format!("because no identity-based policy allows the {action} action"),
        DeniedBy::Scp => "with an explicit deny in a service control policy".to_owned(),
        DeniedBy::Session => format!("because no session policy allows the {action} action"),
    };
    format!("User: {principal} is not authorized to perform: {action} {why}")
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    allow: bool,
    actions: Vec<String>,
}

/// An inline policy, as far as its actions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionPolicy(Vec<Statement>);

impl SessionPolicy {
    /// Reads a policy document; `None`: malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let statements = match document.get("Statement")? {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        };
        let statement = |value: &Value| {
            let allow = match value.get("Effect")?.as_str()? {
                "Allow" => true,
                "Deny" => false,
                _ => return None,
            };
            let actions = match value.get("Action")? {
                Value::String(one) => vec![one.to_lowercase()],
                Value::Array(list) => list.iter().map(|a| a.as_str().map(str::to_lowercase)).collect::<Option<_>>()?,
                _ => return None,
            };
            Some(Statement { allow, actions })
        };
        statements.into_iter().map(statement).collect::<Option<Vec<_>>>().map(Self)
    }

    pub(crate) fn allows(&self, action: &str) -> bool {
        let action = action.to_lowercase();
        let says = |allow: bool| {
            self.0.iter().any(|s| s.allow == allow && s.actions.iter().any(|pattern| matches(pattern, &action)))
        };
        says(true) && !says(false)
    }
}

/// `*` and `?` as IAM has them.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.len() == text.len() && pattern.bytes().zip(text.bytes()).all(|(p, t)| p == b'?' || p == t),
        Some((before, after)) => {
            text.len() >= before.len()
                && text.is_char_boundary(before.len())
                && matches(before, &text[..before.len()])
                && (0..=text.len() - before.len())
                    .any(|skip| text.get(before.len() + skip..).is_some_and(|rest| matches(after, rest)))
        }
    }
}

/// Policies that sessions were given, by the name that their tokens carry.
#[derive(Debug, Default)]
pub(crate) struct SessionPolicies(Mutex<HashMap<u64, Arc<SessionPolicy>>>);

/// Different policies that are remembered; callers have one or a few.
const REMEMBERED: usize = 10_000;

impl SessionPolicies {
    pub(crate) fn keep(&self, name: u64, policy: SessionPolicy) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.entry(name).or_insert_with(|| Arc::new(policy));
    }
    /// The policy; one that was forgotten allows nothing.
    pub(crate) fn allows(&self, name: u64, action: &str) -> bool {
        let policy = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        name == 0 || policy.is_some_and(|policy| policy.allows(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_policies_allow_what_they_say_and_nothing_else() {
        let text = r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["lambda:List*", "sns:Get?opicAttributes"], "Resource": "*"},
            {"Effect": "Deny", "Action": "lambda:ListLayers", "Resource": "*"}]}"#;
        let policy = SessionPolicy::parse(text).expect("well-formed");
        for (action, allowed) in [
            ("lambda:ListFunctions", true),
            ("lambda:ListLayers", false),
            ("lambda:GetFunction", false),
            ("sns:GetTopicAttributes", true),
            ("sns:GetTopic", false),
        ] {
            assert_eq!(policy.allows(action), allowed, "{action}");
        }
        assert_eq!(SessionPolicy::parse("{}"), None);
        assert_eq!(SessionPolicy::parse(r#"{"Statement": [{"Effect": "Maybe", "Action": "*"}]}"#), None);
        assert!(matches("*", "") && matches("a*b*c", "aXbYc") && !matches("a*b", "ac"));
    }
}
