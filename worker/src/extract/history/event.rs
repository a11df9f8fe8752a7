//! Who did what, from CloudTrail's own document of an event. Its other members, the parameters and the answer of the call
//! among them, are passed over by the parser and kept nowhere.
//!
//! Source of the members: CloudTrail User Guide, "CloudTrail userIdentity element".

use fleetscan_proto::activity::{Deed, Principal};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What stands in place of a principal's name where an event tells none.
const NOBODY: &str = "unknown";
/// What begins a long-term access key; those of sessions (`ASIA`) come and go.
const LONG_TERM: &str = "AKIA";
/// A longer text of a name is cut: none of AWS's has so many characters.
const LONGEST: usize = 512;

/// What changes what a trail records, or ends it.
const CHANGES: [&str; 4] = ["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"];

/// The members of an event that are read at all.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    user_identity: Option<Identity>,
    event_name: Option<String>,
    event_source: Option<String>,
    event_time: Option<String>,
    aws_region: Option<String>,
    recipient_account_id: Option<String>,
    error_code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    #[serde(rename = "type")]
    kind: Option<String>,
    arn: Option<String>,
    account_id: Option<String>,
    principal_id: Option<String>,
    user_name: Option<String>,
    access_key_id: Option<String>,
    invoked_by: Option<String>,
    identity_provider: Option<String>,
    on_behalf_of: Option<OnBehalfOf>,
    session_context: Option<SessionContext>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OnBehalfOf {
    user_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SessionContext {
    session_issuer: Option<Issuer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Issuer {
    arn: Option<String>,
}

impl Event {
    /// Reads CloudTrail's document; one that cannot be read tells of nobody.
    pub(crate) fn parse(document: &str) -> Self {
        serde_json::from_str(document).unwrap_or_default()
    }

    /// The second in which it was done.
    pub(crate) fn at(&self) -> Option<i64> {
        self.event_time.as_deref()?.parse().ok().map(Timestamp::as_second)
    }

    /// Whether it is of that account and region, as far as it says.
    pub(crate) fn is_of(&self, account: &str, region: &str) -> bool {
        self.recipient_account_id.as_deref().is_none_or(|recipient| recipient == account)
            && self.aws_region.as_deref().is_none_or(|of| of == region)
    }

    /// Whether a trail records less since, or may.
    pub(crate) fn changes_trail(&self) -> bool {
        self.error_code.is_none()
            && self.event_source.as_deref() == Some("cloudtrail.amazonaws.com")
            && self.event_name.as_deref().is_some_and(|name| CHANGES.contains(&name))
    }

    /// Who it was, by name, and what it did at that second.
    pub(crate) fn principal(self, at: i64) -> (String, Principal) {
        let identity = self.user_identity.unwrap_or_default();
        let keys = identity.access_key_id.iter().filter(|key| key.starts_with(LONG_TERM));
        let principal = Principal {
            kind: identity.kind.clone().map_or_else(|| NOBODY.to_owned(), cut),
            last: Deed {
                at,
                event: self.event_name.map(cut).unwrap_or_default(),
                source: self.event_source.map(cut).unwrap_or_default(),
            },
            keys: keys.map(|key| (cut(key.clone()), at)).collect::<BTreeMap<_, _>>(),
        };
        (cut(identity.id()), principal)
    }
}

impl Identity {
    /// Sessions of a role are the role; a service is its name; what has no ARN is named by what it has.
    fn id(self) -> String {
        let issuer = self.session_context.and_then(|context| context.session_issuer).and_then(|issuer| issuer.arn);
        let named = match self.kind.as_deref().unwrap_or_default() {
            "AssumedRole" | "Role" | "FederatedUser" => issuer.or_else(|| self.arn.as_deref().map(role_of)),
            "AWSService" => self.invoked_by,
            "AWSAccount" => self.account_id,
            "SAMLUser" | "WebIdentityUser" => self.identity_provider,
            "IdentityCenterUser" => self.on_behalf_of.and_then(|user| user.user_id),
            _ => self.arn.clone(),
        };
        let named = named.or(self.arn).or(self.principal_id).or(self.user_name);
        named.filter(|name| !name.is_empty()).unwrap_or_else(|| NOBODY.to_owned())
    }
}

/// `arn:aws:sts::111122223333:assumed-role/Deploy/session` → `arn:aws:iam::111122223333:role/Deploy`. The role's path is
/// not in it.
fn role_of(arn: &str) -> String {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "sts", _, account, resource] = fields[..] else { return arn.to_owned() };
    match resource.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next()) {
        Some(role) => format!("arn:{partition}:iam::{account}:role/{role}"),
        None => arn.to_owned(),
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(identity: Value) -> (String, Principal) {
        let document = json!({
            "eventName": "CreateUser", "eventSource": "iam.amazonaws.com", "userIdentity": identity,
            "requestParameters": { "password": "hunter2" }, "responseElements": { "secret": "hunter2" },
        });
        Event::parse(&document.to_string()).principal(5)
    }

    #[test]
    fn every_session_of_a_role_is_the_role() {
        let role = "arn:aws:iam::111122223333:role/team/Deploy";
        for session in ["one", "two"] {
            let (id, principal) = of(json!({
                "type": "AssumedRole", "arn": format!("arn:aws:sts::111122223333:assumed-role/Deploy/{session}"),
                "accessKeyId": "ASIAEXAMPLE", "sessionContext": { "sessionIssuer": { "type": "Role", "arn": role } },
            }));
            assert_eq!((id.as_str(), principal.kind.as_str()), (role, "AssumedRole"));
            assert!(principal.keys.is_empty(), "a session's key tells nothing");
        }
        let bare = json!({ "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/Deploy/three" });
        assert_eq!(of(bare).0, "arn:aws:iam::111122223333:role/Deploy");
    }

    #[test]
    fn every_kind_of_principal_has_a_name() {
        let user = "arn:aws:iam::111122223333:user/ann";
        for (identity, id) in [
            (json!({ "type": "IAMUser", "arn": user, "userName": "ann" }), user),
            (json!({ "type": "Root", "arn": "arn:aws:iam::111122223333:root" }), "arn:aws:iam::111122223333:root"),
            (json!({ "type": "AWSService", "invokedBy": "ec2.amazonaws.com" }), "ec2.amazonaws.com"),
            (json!({ "type": "AWSAccount", "accountId": "444455556666", "principalId": "AIDA:x" }), "444455556666"),
            (json!({ "type": "WebIdentityUser", "identityProvider": "idp", "userName": "repo:x" }), "idp"),
            (json!({ "type": "IdentityCenterUser", "onBehalfOf": { "userId": "9067-user" } }), "9067-user"),
            (
                json!({ "type": "IAMUser", "principalId": "AIDAX", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS" }),
                "AIDAX",
            ),
            (json!({}), "unknown"),
            (Value::Null, "unknown"),
        ] {
            assert_eq!(of(identity.clone()).0, id, "{identity}");
        }
        assert_eq!(Event::parse("no JSON").principal(5).0, "unknown");
    }

    #[test]
    fn long_term_keys_are_kept_and_nothing_of_what_was_asked_or_answered() {
        let (id, principal) = of(json!({ "type": "IAMUser", "arn": "u", "accessKeyId": "AKIAEXAMPLE" }));
        assert_eq!(principal.keys, BTreeMap::from([("AKIAEXAMPLE".to_owned(), 5)]));
        assert_eq!(
            (principal.last.event.as_str(), principal.last.source.as_str()),
            ("CreateUser", "iam.amazonaws.com")
        );
        assert!(!format!("{id} {principal:?}").contains("hunter2"));
    }
}
