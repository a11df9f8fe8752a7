use super::{Capture, Params, number, sdk_config, send_error, text, truth};
use crate::{
    gate::{Gate, TypedGate},
    http::{Http, SendError},
    session::Session,
};
use aws_sdk_iam::{
    Client,
    config::Builder,
    types::{EntityType, PolicyScopeType},
};
use serde_json::Value;

/// Sends one call, with the parameters that the SDK's builder of it takes; the answer goes to the capture.
macro_rules! call {
    ($capture:ident, $builder:expr $(, $set:ident($value:expr))*) => {
        $builder$(.$set($value))*.customize().interceptor($capture).send().await.map(drop).map_err(|e| send_error(&e))
    };
}

/// Calls an IAM operation.
pub(super) async fn send(
    http: &Http,
    gate: &Gate,
    operation: &str,
    region: &str,
    p: &Params,
    session: &Session,
    capture: Capture,
) -> Result<(), SendError> {
    let client = client(http, gate, region, session);
    if operation.starts_with("List") {
        list(&client, operation, p, capture).await
    } else {
        get(&client, operation, p, capture).await
    }
}

pub(super) fn client(http: &Http, gate: &Gate, region: &str, session: &Session) -> Client {
    let config =
        Builder::from(&sdk_config(http, region, session)).interceptor(TypedGate::new(gate.clone(), "iam")).build();
    Client::from_conf(config)
}

async fn get(client: &Client, operation: &str, p: &Params, capture: Capture) -> Result<(), SendError> {
    let t = |name| text(p, name);
    match operation {
        "GetAccountAuthorizationDetails" => {
            call!(
                capture,
                client.get_account_authorization_details(),
                set_filter(entities(p)),
                set_marker(t("Marker")),
                set_max_items(number(p, "MaxItems"))
            )
        }
        "GetAccountSummary" => call!(capture, client.get_account_summary()),
        "GetAccountPasswordPolicy" => call!(capture, client.get_account_password_policy()),
        "GetUser" => call!(capture, client.get_user(), set_user_name(t("UserName"))),
        "GetRole" => call!(capture, client.get_role(), set_role_name(t("RoleName"))),
        "GetGroup" => call!(
            capture,
            client.get_group(),
            set_group_name(t("GroupName")),
            set_marker(t("Marker")),
            set_max_items(number(p, "MaxItems"))
        ),
        "GetUserPolicy" => {
            call!(capture, client.get_user_policy(), set_user_name(t("UserName")), set_policy_name(t("PolicyName")))
        }
        "GetRolePolicy" => {
            call!(capture, client.get_role_policy(), set_role_name(t("RoleName")), set_policy_name(t("PolicyName")))
        }
        "GetGroupPolicy" => {
            call!(capture, client.get_group_policy(), set_group_name(t("GroupName")), set_policy_name(t("PolicyName")))
        }
        "GetPolicy" => call!(capture, client.get_policy(), set_policy_arn(t("PolicyArn"))),
        "GetPolicyVersion" => {
            call!(capture, client.get_policy_version(), set_policy_arn(t("PolicyArn")), set_version_id(t("VersionId")))
        }
        "GetAccessKeyLastUsed" => {
            call!(capture, client.get_access_key_last_used(), set_access_key_id(t("AccessKeyId")))
        }
        "GetLoginProfile" => call!(capture, client.get_login_profile(), set_user_name(t("UserName"))),
        "GetInstanceProfile" => {
            call!(capture, client.get_instance_profile(), set_instance_profile_name(t("InstanceProfileName")))
        }
        "GetOpenIDConnectProvider" => {
            call!(
                capture,
                client.get_open_id_connect_provider(),
                set_open_id_connect_provider_arn(t("OpenIDConnectProviderArn"))
            )
        }
        "GetSAMLProvider" => call!(capture, client.get_saml_provider(), set_saml_provider_arn(t("SAMLProviderArn"))),
        "GetOutboundWebIdentityFederationInfo" => call!(capture, client.get_outbound_web_identity_federation_info()),
        other => Err(unknown(other)),
    }
}

async fn list(client: &Client, operation: &str, p: &Params, capture: Capture) -> Result<(), SendError> {
    let t = |name| text(p, name);
    /// The parameters of paging, which all lists but a few have.
    macro_rules! paged {
        ($builder:expr $(, $set:ident($value:expr))*) => {
            call!(capture, $builder, set_marker(t("Marker")), set_max_items(number(p, "MaxItems")) $(, $set($value))*)
        };
    }
    match operation {
        "ListAccountAliases" => paged!(client.list_account_aliases()),
        "ListUsers" => paged!(client.list_users()),
        "ListRoles" => paged!(client.list_roles()),
        "ListGroups" => paged!(client.list_groups()),
        "ListPolicies" => {
            paged!(
                client.list_policies(),
                set_scope(t("Scope").map(|s| PolicyScopeType::from(s.as_str()))),
                set_only_attached(truth(p, "OnlyAttached"))
            )
        }
        "ListUserPolicies" => paged!(client.list_user_policies(), set_user_name(t("UserName"))),
        "ListRolePolicies" => paged!(client.list_role_policies(), set_role_name(t("RoleName"))),
        "ListGroupPolicies" => paged!(client.list_group_policies(), set_group_name(t("GroupName"))),
        "ListAttachedUserPolicies" => paged!(client.list_attached_user_policies(), set_user_name(t("UserName"))),
        "ListAttachedRolePolicies" => paged!(client.list_attached_role_policies(), set_role_name(t("RoleName"))),
        "ListAttachedGroupPolicies" => paged!(client.list_attached_group_policies(), set_group_name(t("GroupName"))),
        "ListGroupsForUser" => paged!(client.list_groups_for_user(), set_user_name(t("UserName"))),
        "ListPolicyVersions" => paged!(client.list_policy_versions(), set_policy_arn(t("PolicyArn"))),
        "ListEntitiesForPolicy" => paged!(client.list_entities_for_policy(), set_policy_arn(t("PolicyArn"))),
        "ListAccessKeys" => paged!(client.list_access_keys(), set_user_name(t("UserName"))),
        "ListMFADevices" => paged!(client.list_mfa_devices(), set_user_name(t("UserName"))),
        "ListVirtualMFADevices" => paged!(client.list_virtual_mfa_devices()),
        "ListSigningCertificates" => paged!(client.list_signing_certificates(), set_user_name(t("UserName"))),
        "ListSSHPublicKeys" => paged!(client.list_ssh_public_keys(), set_user_name(t("UserName"))),
        "ListServiceSpecificCredentials" => {
            paged!(
                client.list_service_specific_credentials(),
                set_user_name(t("UserName")),
                set_all_users(truth(p, "AllUsers"))
            )
        }
        "ListInstanceProfiles" => paged!(client.list_instance_profiles()),
        "ListInstanceProfilesForRole" => paged!(client.list_instance_profiles_for_role(), set_role_name(t("RoleName"))),
        "ListOpenIDConnectProviders" => call!(capture, client.list_open_id_connect_providers()),
        "ListSAMLProviders" => call!(capture, client.list_saml_providers()),
        "ListServerCertificates" => paged!(client.list_server_certificates()),
        "ListUserTags" => paged!(client.list_user_tags(), set_user_name(t("UserName"))),
        "ListRoleTags" => paged!(client.list_role_tags(), set_role_name(t("RoleName"))),
        "ListPolicyTags" => paged!(client.list_policy_tags(), set_policy_arn(t("PolicyArn"))),
        "ListOrganizationsFeatures" => call!(capture, client.list_organizations_features()),
        other => Err(unknown(other)),
    }
}

fn entities(p: &Params) -> Option<Vec<EntityType>> {
    let list = p.get("Filter")?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(EntityType::from).collect())
}

fn unknown(operation: &str) -> SendError {
    SendError::Refused(format!("iam:{operation} has no typed call"))
}
