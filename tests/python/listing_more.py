"""What boto3 itself lists of the services beyond the first twelve: ids by type, in fleetscan's words."""

import csv
import io
import time

from paging import pages


def _states(c):
    return {
        "AWS::StepFunctions::StateMachine": [m["stateMachineArn"] for m in pages(c, "list_state_machines", "stateMachines")],
        "AWS::StepFunctions::Activity": [a["activityArn"] for a in pages(c, "list_activities", "activities")],
    }


def _events(c):
    buses = c.list_event_buses()["EventBuses"]
    return {
        "AWS::Events::EventBus": [b["Arn"] for b in buses],
        "AWS::Events::Rule": [r["Arn"] for b in buses for r in pages(c, "list_rules", "Rules", EventBusName=b["Name"])],
        "AWS::Events::Connection": [k["ConnectionArn"] for k in c.list_connections()["Connections"]],
        "AWS::Events::ApiDestination": [d["ApiDestinationArn"] for d in c.list_api_destinations()["ApiDestinations"]],
        "AWS::Events::Archive": [a["ArchiveName"] for a in c.list_archives()["Archives"]],
    }


def _ecr(c):
    repositories = pages(c, "describe_repositories", "repositories")
    names = [r["repositoryName"] for r in repositories]
    return {
        "AWS::ECR::Repository": [r["repositoryArn"] for r in repositories],
        "AWS::ECR::Image": [f"{n}@{i['imageDigest']}" for n in names for i in pages(c, "describe_images", "imageDetails", repositoryName=n)],
        "AWS::ECR::Registry": [c.describe_registry()["registryId"]],
    }


def _eks(c):
    clusters = pages(c, "list_clusters", "clusters")
    groups = [(k, g) for k in clusters for g in pages(c, "list_nodegroups", "nodegroups", clusterName=k)]
    profiles = [(k, p) for k in clusters for p in pages(c, "list_fargate_profiles", "fargateProfileNames", clusterName=k)]
    return {
        "AWS::EKS::Cluster": [c.describe_cluster(name=k)["cluster"]["arn"] for k in clusters],
        "AWS::EKS::Nodegroup": [c.describe_nodegroup(clusterName=k, nodegroupName=g)["nodegroup"]["nodegroupArn"] for k, g in groups],
        "AWS::EKS::FargateProfile": [
            c.describe_fargate_profile(clusterName=k, fargateProfileName=p)["fargateProfile"]["fargateProfileArn"] for k, p in profiles
        ],
    }


def _config(c):
    return {
        "AWS::Config::ConfigRule": [r["ConfigRuleArn"] for r in pages(c, "describe_config_rules", "ConfigRules")],
        "AWS::Config::ConfigurationRecorder": [r["name"] for r in c.describe_configuration_recorders()["ConfigurationRecorders"]],
        "AWS::Config::DeliveryChannel": [d["name"] for d in c.describe_delivery_channels()["DeliveryChannels"]],
        "AWS::Config::ConfigurationAggregator": [
            a["ConfigurationAggregatorArn"] for a in pages(c, "describe_configuration_aggregators", "ConfigurationAggregators")
        ],
    }


def _identity_center(sso, store):
    found = {kind: [] for kind in ("SSO::Instance", "SSO::PermissionSet", "SSO::Assignment", "IdentityStore::User", "IdentityStore::Group", "IdentityStore::GroupMembership")}
    for instance in pages(sso, "list_instances", "Instances"):
        arn, directory = instance["InstanceArn"], instance["IdentityStoreId"]
        found["SSO::Instance"].append(arn)
        for each in pages(sso, "list_permission_sets", "PermissionSets", InstanceArn=arn):
            found["SSO::PermissionSet"].append(each)
            for account in pages(sso, "list_accounts_for_provisioned_permission_set", "AccountIds", InstanceArn=arn, PermissionSetArn=each):
                whose = pages(sso, "list_account_assignments", "AccountAssignments", InstanceArn=arn, AccountId=account, PermissionSetArn=each)
                found["SSO::Assignment"] += [f"{account}/{each}/{a['PrincipalType']}/{a['PrincipalId']}" for a in whose]
        groups = [g["GroupId"] for g in pages(store, "list_groups", "Groups", IdentityStoreId=directory)]
        found["IdentityStore::User"] += [u["UserId"] for u in pages(store, "list_users", "Users", IdentityStoreId=directory)]
        found["IdentityStore::Group"] += groups
        for group in groups:
            members = pages(store, "list_group_memberships", "GroupMemberships", IdentityStoreId=directory, GroupId=group)
            found["IdentityStore::GroupMembership"] += [m["MembershipId"] for m in members]
    return {f"AWS::{kind}": ids for kind, ids in found.items()}


def of_region(session, region):
    """What has a region."""
    def client(service):
        return session.client(service, region_name=region)

    kms, agents, trails = client("kms"), client("bedrock-agent"), client("cloudtrail")
    return {
        **_states(client("stepfunctions")),
        **_events(client("events")),
        **_ecr(client("ecr")),
        **_eks(client("eks")),
        **_config(client("config")),
        **_identity_center(client("sso-admin"), client("identitystore")),
        "AWS::Scheduler::ScheduleGroup": [g["Arn"] for g in pages(client("scheduler"), "list_schedule_groups", "ScheduleGroups")],
        "AWS::Scheduler::Schedule": [s["Arn"] for s in pages(client("scheduler"), "list_schedules", "Schedules")],
        "AWS::Pipes::Pipe": [p["Arn"] for p in pages(client("pipes"), "list_pipes", "Pipes")],
        "AWS::KMS::Key": [k["KeyArn"] for k in pages(kms, "list_keys", "Keys")],
        "AWS::KMS::Alias": [a["AliasName"] for a in pages(kms, "list_aliases", "Aliases")],
        "AWS::CloudTrail::Trail": [t["TrailARN"] for t in trails.describe_trails(includeShadowTrails=False)["trailList"]],
        "AWS::Bedrock::Agent": [a["agentId"] for a in pages(agents, "list_agents", "agentSummaries")],
        "AWS::Bedrock::KnowledgeBase": [b["knowledgeBaseId"] for b in pages(agents, "list_knowledge_bases", "knowledgeBaseSummaries")],
    }


def organization(client):
    """The whole tree, level by level; nothing where there is none."""
    try:
        roots = pages(client, "list_roots", "Roots")
    except client.exceptions.AWSOrganizationsNotInUseException:
        return {}
    found = {"Root": [r["Id"] for r in roots], "OrganizationalUnit": [], "Account": [], "Policy": []}
    found["Organization"] = [client.describe_organization()["Organization"]["Id"]]
    level = [r["Id"] for r in roots]
    while level:
        found["Account"] += [a["Id"] for parent in level for a in pages(client, "list_accounts_for_parent", "Accounts", ParentId=parent)]
        level = [u["Id"] for parent in level for u in pages(client, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=parent)]
        found["OrganizationalUnit"] += level
    for kind in (t["Type"] for r in roots for t in r["PolicyTypes"] if t["Status"] == "ENABLED"):
        found["Policy"] += [p["Id"] for p in pages(client, "list_policies", "Policies", Filter=kind)]
    return {("global", f"AWS::Organizations::{kind}"): ids for kind, ids in found.items()}


def credential_report(client):
    """The ARNs in it."""
    while client.generate_credential_report()["State"] != "COMPLETE":
        time.sleep(0.1)
    text = client.get_credential_report()["Content"].decode()
    return [row["arn"] for row in csv.DictReader(io.StringIO(text))]
