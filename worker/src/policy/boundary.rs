use super::{MAX_MANAGED_CHARACTERS, actions, document, with_wildcard};
use crate::never::NEVER;
use fleetscan_proto::catalogue::Catalogue;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A statement of a permissions boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundaryStatement {
    /// Letters only.
    pub sid: &'static str,
    /// `Allow` or `Deny`.
    pub effect: &'static str,
    /// Actions, with wildcards.
    pub actions: Vec<String>,
}

/// A permissions boundary: whatever else is attached to the role, it can do no more than the reading verbs of the
/// catalogue's services, and nothing of the never-list. Two statements, an Allow and a Deny.
///
/// # Errors
/// When it is longer than IAM takes; the number is how long.
pub fn boundary(catalogue: &Catalogue) -> Result<[BoundaryStatement; 2], usize> {
    let verbs: BTreeSet<String> = actions(catalogue).into_values().flatten().map(with_wildcard).collect();
    let statements = [
        BoundaryStatement { sid: "ReadConfiguration", effect: "Allow", actions: verbs.into_iter().collect() },
        BoundaryStatement {
            sid: "NeverSecretsNorData",
            effect: "Deny",
            actions: NEVER.iter().map(|action| (*action).to_owned()).collect(),
        },
    ];
    match boundary_document(&statements).to_string().len() {
        fits if fits <= MAX_MANAGED_CHARACTERS => Ok(statements),
        too_long => Err(too_long),
    }
}

/// A boundary of these statements, as IAM takes it.
pub fn boundary_document(statements: &[BoundaryStatement]) -> Value {
    document(
        statements
            .iter()
            .map(|s| json!({ "Sid": s.sid, "Effect": s.effect, "Action": s.actions, "Resource": "*" }))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_fits_and_leaves_room_for_every_action_of_the_catalogue() {
        let [allow, deny] = boundary(Catalogue::built_in()).expect("fits");
        let holds = |list: &[String], action: &str| {
            list.iter().any(|p| p == action || p.strip_suffix('*').is_some_and(|begin| action.starts_with(begin)))
        };
        for action in actions(Catalogue::built_in()).into_values().flatten() {
            assert!(holds(&allow.actions, action) && !holds(&deny.actions, action), "{action}");
        }
        for action in ["secretsmanager:GetSecretValue", "dynamodb:Scan", "lambda:InvokeFunction", "s3:GetObject"] {
            assert!(holds(&deny.actions, action), "{action}");
        }
        for action in ["iam:CreateUser", "s3:PutBucketPolicy", "lambda:UpdateFunctionCode", "sts:AssumeRole"] {
            assert!(!holds(&allow.actions, action), "{action}");
        }
    }
}
