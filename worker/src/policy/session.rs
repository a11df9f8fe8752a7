use super::{MAX_SESSION_CHARACTERS, actions, document, prefix, with_wildcard};
use crate::never::NEVER;
use fleetscan_proto::catalogue::Catalogue;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A policy that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the session policy has {0} characters, and AWS takes {MAX_SESSION_CHARACTERS}: leave services out of the profile"
)]
pub struct TooLong(pub usize);

/// The inline session policy for a scan of what a catalogue (or a profile's part of it) has: narrows a session to that
/// even where the customer attached more. Exact actions where they fit AWS's bound; else the services' reading verbs
/// with a wildcard, as few of them as need be, and a Deny of what must never be read there.
pub fn session_policy(catalogue: &Catalogue) -> Result<String, TooLong> {
    let exact: BTreeSet<&str> = actions(catalogue).into_values().flatten().collect();
    let text = document(vec![json!({ "Effect": "Allow", "Action": exact, "Resource": "*" })]).to_string();
    if text.len() <= MAX_SESSION_CHARACTERS {
        return Ok(text);
    }
    let mut verbs: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for action in &exact {
        verbs.entry(with_wildcard(action)).or_default().insert(action);
    }
    let services: BTreeSet<&str> = exact.iter().map(|action| prefix(action)).collect();
    let never: Vec<&str> = NEVER.iter().copied().filter(|action| services.contains(prefix(action))).collect();
    let text = |spelt: &BTreeSet<&str>| {
        let allowed: BTreeSet<&str> = verbs
            .iter()
            .flat_map(|(verb, actions)| match spelt.contains(verb.as_str()) {
                true => actions.iter().copied().collect(),
                false => vec![verb.as_str()],
            })
            .collect();
        document(vec![
            json!({ "Effect": "Allow", "Action": allowed, "Resource": "*" }),
            json!({ "Effect": "Deny", "Action": never, "Resource": "*" }),
        ])
        .to_string()
    };
    // What is left of the room goes to verbs that cost least to spell out.
    let mut cheapest: Vec<(usize, &str)> = verbs
        .iter()
        .map(|(verb, actions)| (actions.iter().map(|a| a.len() + 3).sum::<usize>(), verb.as_str()))
        .collect();
    cheapest.sort_unstable();
    let mut spelt = BTreeSet::new();
    let mut best = text(&spelt);
    if best.len() > MAX_SESSION_CHARACTERS {
        return Err(TooLong(best.len()));
    }
    for (_, verb) in cheapest {
        spelt.insert(verb);
        let longer = text(&spelt);
        if longer.len() > MAX_SESSION_CHARACTERS {
            break;
        }
        best = longer;
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::Profile;
    use serde_json::Value;

    fn allowed_and_denied(policy: &str) -> (Vec<String>, Vec<String>) {
        let policy: Value = serde_json::from_str(policy).expect("JSON");
        let of = |n: usize| serde_json::from_value(policy["Statement"][n]["Action"].clone()).unwrap_or_default();
        (of(0), of(1))
    }

    #[test]
    fn every_profile_fits_and_allows_what_it_reads() {
        for profile in Profile::all_built_in() {
            let part = profile.of(Catalogue::built_in()).expect("sound");
            let policy = session_policy(&part).expect("fits");
            assert!(policy.len() <= MAX_SESSION_CHARACTERS, "{profile}");
            let (allowed, denied) = allowed_and_denied(&policy);
            let holds = |list: &[String], action: &str| {
                list.iter().any(|p| p == action || p.strip_suffix('*').is_some_and(|begin| action.starts_with(begin)))
            };
            for action in actions(&part).into_values().flatten() {
                assert!(holds(&allowed, action) && !holds(&denied, action), "{profile}: {action}");
            }
            let wild = allowed.iter().any(|action| action.contains('*'));
            assert_eq!(wild, !denied.is_empty(), "{profile}: wildcards stand beside a Deny, and never alone");
        }
    }

    #[test]
    fn a_few_actions_are_spelt_out_and_many_are_not() {
        let of = |name| {
            let part = Profile::built_in(name).expect("there").of(Catalogue::built_in()).expect("sound");
            session_policy(&part).expect("fits")
        };
        assert!(!of("minimal").contains("*\","), "{}", of("minimal"));
        let (allowed, denied) = allowed_and_denied(&of("full"));
        assert!(allowed.iter().any(|action| action == "iam:Get*"), "{allowed:?}");
        for action in ["secretsmanager:GetSecretValue", "ssm:GetParameter*", "dynamodb:GetItem", "s3:GetObject*"] {
            assert!(denied.iter().any(|denied| denied == action), "{action}");
        }
    }

    #[test]
    fn what_cannot_fit_is_an_error() {
        let mut files = Vec::new();
        for n in 0..120 {
            files.push((format!("service-with-a-long-name-{n:03}"), String::new()));
        }
        for (id, text) in &mut files {
            *text = format!(
                "service = \"{id}\"\ntitle = \"x\"\nprotocol = \"rest-json\"\nscope = \"regional\"\n[[limit]]\ngroup = \"g\"\nrate = 1\nsource = \"s\"\n[[operation]]\nname = \"ListThings\"\n"
            );
        }
        let catalogue = Catalogue::from_files(files.iter().map(|(id, text)| (id.as_str(), text.as_str()))).expect("ok");
        let error = session_policy(&catalogue).expect_err("too long");
        assert!(error.0 > MAX_SESSION_CHARACTERS);
    }
}
