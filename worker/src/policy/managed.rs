use super::{MAX_MANAGED_CHARACTERS, actions, document};
use fleetscan_proto::catalogue::Catalogue;
use serde_json::{Value, json};

/// Actions under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Letters only: `SecretsAndParameters`.
    pub sid: String,
    /// Exact actions, sorted.
    pub actions: Vec<String>,
}

impl Statement {
    fn json(&self) -> Value {
        json!({ "Sid": self.sid, "Effect": "Allow", "Action": self.actions, "Resource": "*" })
    }
}

/// The policies of a role that grants exactly what a catalogue (or a profile's part of it) calls: each action by name,
/// by category, in as few policies as IAM's bound allows.
pub fn role_policies(catalogue: &Catalogue) -> Vec<Vec<Statement>> {
    let mut policies: Vec<Vec<Statement>> = vec![Vec::new()];
    for (category, actions) in actions(catalogue) {
        let sid: String = category.title().split(' ').map(capital).collect();
        for action in actions {
            let last = policies.len() - 1;
            let longer = with_action(&policies[last], &sid, action);
            if length(&longer) <= MAX_MANAGED_CHARACTERS {
                policies[last] = longer;
            } else {
                policies.push(with_action(&[], &sid, action));
            }
        }
    }
    policies
}

/// A policy of these statements, as IAM takes it.
pub fn role_document(statements: &[Statement]) -> Value {
    document(statements.iter().map(Statement::json).collect())
}

fn with_action(policy: &[Statement], sid: &str, action: &str) -> Vec<Statement> {
    let mut longer = policy.to_vec();
    match longer.last_mut().filter(|statement| statement.sid == sid) {
        Some(statement) => statement.actions.push(action.to_owned()),
        None => longer.push(Statement { sid: sid.to_owned(), actions: vec![action.to_owned()] }),
    }
    longer
}

/// As IAM counts; the compact form has no white space.
fn length(policy: &[Statement]) -> usize {
    role_document(policy).to_string().len()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::Profile;
    use std::collections::BTreeSet;

    #[test]
    fn the_policies_of_a_role_have_every_action_once_and_fit() {
        for profile in Profile::all_built_in() {
            let part = profile.of(Catalogue::built_in()).expect("sound");
            let policies = role_policies(&part);
            assert!(policies.len() <= 10, "{profile}: a role takes ten policies");
            assert!(policies.iter().all(|policy| length(policy) <= MAX_MANAGED_CHARACTERS), "{profile}");
            let granted: Vec<&str> = policies.iter().flatten().flat_map(|s| &s.actions).map(String::as_str).collect();
            let wanted: BTreeSet<&str> = actions(&part).into_values().flatten().collect();
            assert_eq!(granted.len(), wanted.len(), "{profile}");
            assert_eq!(granted.iter().copied().collect::<BTreeSet<_>>(), wanted, "{profile}");
            assert!(granted.iter().all(|action| !action.contains('*')), "{profile}");
        }
    }

    #[test]
    fn what_does_not_fit_one_policy_goes_on_in_the_next() {
        let names: String = (0..400).map(|n| format!("[[operation]]\nname = \"ListThingsNumbered{n}\"\n")).collect();
        let text = format!(
            "service = \"x\"\ntitle = \"x\"\nprotocol = \"rest-json\"\nscope = \"regional\"\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n{names}"
        );
        let catalogue = Catalogue::from_files([("x.toml", text.as_str())]).expect("sound");
        let policies = role_policies(&catalogue);
        assert_eq!(policies.len(), 2);
        assert_eq!(policies.iter().flatten().map(|s| s.actions.len()).sum::<usize>(), 400);
        assert!(length(&policies[0]) > MAX_MANAGED_CHARACTERS - 40, "the first is filled");
    }
}
