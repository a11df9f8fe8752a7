"""What boto3 lists of the record types that moto lacks, through `shaped.Aws`: ids by (region, type), in fleetscan's words."""

from paging import pages


def every(client, operation, key, token="NextToken", **kwargs):
    """All pages, where botocore knows no paginator."""
    found, more = [], {}
    while True:
        page = getattr(client, operation)(**kwargs, **more)
        found += page[key]
        if not page.get(token):
            return found
        more = {token: page[token]}


def _agents(c):
    agents = [a["agentId"] for a in pages(c, "list_agents", "agentSummaries")]
    versions = [(a, v["agentVersion"]) for a in agents for v in pages(c, "list_agent_versions", "agentVersionSummaries", agentId=a)]
    groups = [(a, v, g["actionGroupId"]) for a, v in versions for g in pages(c, "list_agent_action_groups", "actionGroupSummaries", agentId=a, agentVersion=v)]
    bases = [b["knowledgeBaseId"] for b in pages(c, "list_knowledge_bases", "knowledgeBaseSummaries")]
    flows = [f["id"] for f in pages(c, "list_flows", "flowSummaries")]
    return {
        "AWS::Bedrock::AgentVersion": ["/".join(v) for v in versions],
        "AWS::Bedrock::AgentActionGroup": ["/".join(g) for g in groups],
        "AWS::Bedrock::AgentAlias": [f"{a}/{s['agentAliasId']}" for a in agents for s in pages(c, "list_agent_aliases", "agentAliasSummaries", agentId=a)],
        "AWS::Bedrock::DataSource": [f"{b}/{s['dataSourceId']}" for b in bases for s in pages(c, "list_data_sources", "dataSourceSummaries", knowledgeBaseId=b)],
        "AWS::Bedrock::Flow": [f["arn"] for f in pages(c, "list_flows", "flowSummaries")],
        "AWS::Bedrock::FlowVersion": [f"{v['id']}/{v['version']}" for f in flows for v in pages(c, "list_flow_versions", "flowVersionSummaries", flowIdentifier=f)],
        "AWS::Bedrock::FlowAlias": [s["arn"] for f in flows for s in pages(c, "list_flow_aliases", "flowAliasSummaries", flowIdentifier=f)],
        "AWS::Bedrock::Prompt": [p["arn"] for p in pages(c, "list_prompts", "promptSummaries")],
    }


def _bedrock(c):
    return {
        "AWS::Bedrock::Guardrail": [g["arn"] for g in pages(c, "list_guardrails", "guardrails")],
        "AWS::Bedrock::EnforcedGuardrailConfiguration": [g["configId"] for g in pages(c, "list_enforced_guardrails_configuration", "guardrailsConfig")],
        "AWS::Bedrock::ImportedModel": [m["modelArn"] for m in pages(c, "list_imported_models", "modelSummaries")],
        "AWS::Bedrock::ProvisionedModelThroughput": [m["provisionedModelArn"] for m in pages(c, "list_provisioned_model_throughputs", "provisionedModelSummaries")],
        "AWS::Bedrock::ApplicationInferenceProfile": [p["inferenceProfileArn"] for p in pages(c, "list_inference_profiles", "inferenceProfileSummaries", typeEquals="APPLICATION")],
        "AWS::Bedrock::FoundationModel": [m["modelArn"] for m in c.list_foundation_models()["modelSummaries"]],
    }


def _eks(c):
    clusters = pages(c, "list_clusters", "clusters")
    entries = [(k, e) for k in clusters for e in pages(c, "list_access_entries", "accessEntries", clusterName=k)]
    addons = [(k, a) for k in clusters for a in pages(c, "list_addons", "addons", clusterName=k)]
    providers = [(k, p) for k in clusters for p in pages(c, "list_identity_provider_configs", "identityProviderConfigs", clusterName=k)]
    return {
        "AWS::EKS::PodIdentityAssociation": [a["associationArn"] for k in clusters for a in pages(c, "list_pod_identity_associations", "associations", clusterName=k)],
        "AWS::EKS::AccessEntry": [c.describe_access_entry(clusterName=k, principalArn=e)["accessEntry"]["accessEntryArn"] for k, e in entries],
        "AWS::EKS::Addon": [c.describe_addon(clusterName=k, addonName=a)["addon"]["addonArn"] for k, a in addons],
        "AWS::EKS::IdentityProviderConfig": [
            c.describe_identity_provider_config(clusterName=k, identityProviderConfig=p)["identityProviderConfig"]["oidc"]["identityProviderConfigArn"]
            for k, p in providers
        ],
    }


def _sso(c):
    instances = [i["InstanceArn"] for i in pages(c, "list_instances", "Instances")]
    return {
        "AWS::SSO::Application": [a["ApplicationArn"] for i in instances for a in pages(c, "list_applications", "Applications", InstanceArn=i)],
        "AWS::SSO::TrustedTokenIssuer": [t["TrustedTokenIssuerArn"] for i in instances for t in pages(c, "list_trusted_token_issuers", "TrustedTokenIssuers", InstanceArn=i)],
    }


def of_account(session, account):
    """What has no region, and settings of which there is one."""
    iam = session.client("iam")
    found = {
        "AWS::IAM::AccountAlias": pages(iam, "list_account_aliases", "AccountAliases"),
        "AWS::IAM::AccountSummary": [account] if iam.get_account_summary()["SummaryMap"] else [],
        "AWS::IAM::AccountPasswordPolicy": [account] if iam.get_account_password_policy()["PasswordPolicy"] else [],
        "AWS::Organizations::DelegatedAdministrator": [a["Id"] for a in pages(session.client("organizations"), "list_delegated_administrators", "DelegatedAdministrators")],
        "AWS::S3::AccessPoint": [p["AccessPointArn"] for p in session.client("s3control", region_name="us-east-1").list_access_points(AccountId=account)["AccessPointList"]],
        "AWS::IAM::OrganizationsFeatures": [iam.list_organizations_features()["OrganizationId"]],
        "AWS::IAM::OutboundWebIdentityFederation": [account] if iam.get_outbound_web_identity_federation_info()["IssuerIdentifier"] else [],
    }
    return {("global", kind): sorted(ids) for kind, ids in found.items()}


def of_region(session, region, account):
    def client(service):
        return session.client(service, region_name=region)

    analyzers, config, ec2 = client("accessanalyzer"), client("config"), client("ec2")
    found = pages(analyzers, "list_analyzers", "analyzers")
    active = {"status": {"eq": ["ACTIVE"]}}
    ecs, machines = client("ecs"), client("stepfunctions")
    hosts = [h for k in pages(ecs, "list_clusters", "clusterArns") for h in pages(ecs, "list_container_instances", "containerInstanceArns", cluster=k)]
    arns = [m["stateMachineArn"] for m in pages(machines, "list_state_machines", "stateMachines")]
    one = {True: [f"{account}/{region}"], False: []}
    return {
        "AWS::AccessAnalyzer::Analyzer": [a["arn"] for a in found],
        "AWS::AccessAnalyzer::Finding": [f"{a['arn']}/{f['id']}" for a in found for f in pages(analyzers, "list_findings_v2", "findings", analyzerArn=a["arn"], filter=active)],
        **_agents(client("bedrock-agent")),
        **_bedrock(client("bedrock")),
        **_eks(client("eks")),
        **_sso(client("sso-admin")),
        "AWS::CloudTrail::EventDataStore": [s["EventDataStoreArn"] for s in every(client("cloudtrail"), "list_event_data_stores", "EventDataStores")],
        "AWS::Config::ConformancePack": [p["ConformancePackArn"] for p in pages(config, "describe_conformance_packs", "ConformancePackDetails")],
        "AWS::ECS::ContainerInstance": hosts,
        "AWS::StepFunctions::StateMachineAlias": [
            s["stateMachineAliasArn"] for m in arns for s in machines.list_state_machine_aliases(stateMachineArn=m)["stateMachineAliases"]
        ],
        "AWS::Bedrock::CustomModel": [m["modelArn"] for m in client("bedrock").list_custom_models()["modelSummaries"]],
        "AWS::Bedrock::ModelInvocationLoggingConfiguration": one["ResponseMetadata" in client("bedrock").get_model_invocation_logging_configuration()],
        "AWS::DynamoDB::AccountLimits": one["TableMaxReadCapacityUnits" in client("dynamodb").describe_limits()],
        "AWS::EC2::AccountAttribute": [f"{account}/{region}/{a['AttributeName']}" for a in ec2.describe_account_attributes()["AccountAttributes"]],
        "AWS::EC2::EbsEncryptionByDefault": one["EbsEncryptionByDefault" in ec2.get_ebs_encryption_by_default()],
        "AWS::EC2::SnapshotBlockPublicAccess": one["State" in ec2.get_snapshot_block_public_access_state()],
        "AWS::EC2::ImageBlockPublicAccess": one["ImageBlockPublicAccessState" in ec2.get_image_block_public_access_state()],
        "AWS::EC2::InstanceMetadataDefaults": one["AccountLevel" in ec2.get_instance_metadata_defaults()],
        "AWS::ECR::PullThroughCacheRule": [r["ecrRepositoryPrefix"] for r in pages(client("ecr"), "describe_pull_through_cache_rules", "pullThroughCacheRules")],
        "AWS::Events::Endpoint": [e["Arn"] for e in every(client("events"), "list_endpoints", "Endpoints")],
        "AWS::Lambda::CodeSigningConfig": [s["CodeSigningConfigArn"] for s in pages(client("lambda"), "list_code_signing_configs", "CodeSigningConfigs")],
        "AWS::Lambda::AccountSettings": one["AccountLimit" in client("lambda").get_account_settings()],
        "AWS::SSM::ManagedInstance": [i["InstanceId"] for i in pages(client("ssm"), "describe_instance_information", "InstanceInformationList")],
    }
