"""Fills an account of the emulator with what the services beyond the first twelve have."""

import json

SECRET = "planted-secret-value-that-must-not-leak"
TAGS = [{"Key": "team", "Value": "payments"}]
LOWER = [{"key": "team", "value": "payments"}]
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}


def states(client, role, n):
    definition = {
        "StartAt": "Charge",
        "States": {"Charge": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"Token": SECRET}, "End": True}},
    }
    for s in range(n % 3 + 1):
        client.create_state_machine(name=f"machine-{s}", definition=json.dumps(definition), roleArn=role, tags=LOWER)
    client.create_activity(name="activity")


def events(client, account, region, n):
    client.create_event_bus(Name="orders")
    arn = f"arn:aws:lambda:{region}:{account}:function:function-0"
    for bus in ("default", "orders"):
        for r in range(n % 2 + 1):
            client.put_rule(Name=f"rule-{r}", EventBusName=bus, EventPattern=json.dumps({"source": ["aws.ec2"]}), Tags=TAGS)
            client.put_targets(Rule=f"rule-{r}", EventBusName=bus, Targets=[{"Id": "t", "Arn": arn, "Input": json.dumps({"token": SECRET})}])
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": SECRET}}
    connection = client.create_connection(Name="partner", AuthorizationType="API_KEY", AuthParameters=key)["ConnectionArn"]
    client.create_api_destination(Name="partner", ConnectionArn=connection, InvocationEndpoint="https://example.com", HttpMethod="POST")
    client.create_archive(ArchiveName="archive", EventSourceArn=f"arn:aws:events:{region}:{account}:event-bus/orders")


def scheduler(client, account, region, role):
    client.create_schedule_group(Name="nightly", Tags=TAGS)
    target = {"Arn": f"arn:aws:lambda:{region}:{account}:function:function-0", "RoleArn": role, "Input": json.dumps({"token": SECRET})}
    for group in ("default", "nightly"):
        client.create_schedule(Name="tidy", GroupName=group, ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target)


def ecr(client, n):
    for r in range(n % 3 + 1):
        client.create_repository(repositoryName=f"app-{r}", tags=TAGS)
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "config": {"digest": f"sha256:{r}{n}"}, "layers": []}
        client.put_image(repositoryName=f"app-{r}", imageManifest=json.dumps(manifest), imageTag="latest")
    client.set_repository_policy(repositoryName="app-0", policyText=json.dumps(ALLOW))
    rule = {"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 3}, "action": {"type": "expire"}}
    client.put_lifecycle_policy(repositoryName="app-0", lifecyclePolicyText=json.dumps({"rules": [rule]}))


def cloudtrail(session, account, region, n):
    bucket = f"trail-{account}-{region}"
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    session.client("s3", region_name=region).create_bucket(Bucket=bucket, **where)
    client = session.client("cloudtrail", region_name=region)
    for t in range(n % 2 + 1):
        client.create_trail(Name=f"trail-{region}-{t}", S3BucketName=bucket, IsMultiRegionTrail=False, TagsList=TAGS)
    client.start_logging(Name=f"trail-{region}-0")


def kms(client, n):
    for k in range(n % 3 + 1):
        key = client.create_key(Tags=[{"TagKey": "team", "TagValue": "payments"}])["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName=f"alias/key-{k}", TargetKeyId=key)
        client.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::123456789012:role/app", Operations=["Decrypt"])


def eks(client, role):
    network = {"subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": []}
    client.create_cluster(name="cluster", roleArn=role, resourcesVpcConfig=network, tags={"team": "payments"})
    client.create_nodegroup(clusterName="cluster", nodegroupName="workers", subnets=["subnet-1"], nodeRole=role)
    client.create_fargate_profile(clusterName="cluster", fargateProfileName="batch", podExecutionRoleArn=role, selectors=[{"namespace": "batch"}])


def config(client, account, role):
    client.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    client.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "anywhere"})
    client.put_config_rule(ConfigRule={"ConfigRuleName": "keys", "Source": {"Owner": "AWS", "SourceIdentifier": "ACCESS_KEYS_ROTATED"},
                                       "InputParameters": json.dumps({"maxAccessKeyAge": "90"})})
    sources = [{"AccountIds": [account], "AllAwsRegions": True}]
    client.put_configuration_aggregator(ConfigurationAggregatorName="all", AccountAggregationSources=sources)


def bedrock_agents(client, role, n):
    for a in range(n % 2 + 1):
        client.create_agent(agentName=f"agent-{a}", agentResourceRoleArn=role, tags={"team": "payments"})
    vectors = {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": "arn:aws:bedrock:us-east-1::foundation-model/titan"}}
    names = {"vectorField": "v", "textField": "t", "metadataField": "m"}
    store = {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": {
        "collectionArn": "arn:aws:aoss:us-east-1:123456789012:collection/abcdefghij1234567890", "vectorIndexName": "i", "fieldMapping": names}}
    client.create_knowledge_base(name="knowledge", roleArn=role, knowledgeBaseConfiguration=vectors, storageConfiguration=store)


def pipes(client, account, region, role):
    queue = f"arn:aws:sqs:{region}:{account}:"
    client.create_pipe(Name="pipe", Source=f"{queue}from", Target=f"{queue}to", RoleArn=role, TargetParameters={"InputTemplate": SECRET})


def organization(client):
    """A root, units within units, accounts in them, and a policy of one's own."""
    client.create_organization(FeatureSet="ALL")
    root = client.list_roots()["Roots"][0]["Id"]
    outer = client.create_organizational_unit(ParentId=root, Name="workloads")["OrganizationalUnit"]["Id"]
    inner = client.create_organizational_unit(ParentId=outer, Name="production")["OrganizationalUnit"]["Id"]
    made = client.create_account(AccountName="deep", Email="deep@example.com")["CreateAccountStatus"]["AccountId"]
    client.move_account(AccountId=made, SourceParentId=root, DestinationParentId=inner)
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "cloudtrail:StopLogging", "Resource": "*"}]}
    client.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    policy = client.create_policy(Name="trail", Description="", Type="SERVICE_CONTROL_POLICY", Content=json.dumps(deny))["Policy"]["PolicySummary"]["Id"]
    client.attach_policy(PolicyId=policy, TargetId=inner)
    return root, outer, inner, made, policy


def identity_center(session, account, region):
    sso, store = session.client("sso-admin", region_name=region), session.client("identitystore", region_name=region)
    instance = sso.list_instances()["Instances"][0]
    group = store.create_group(IdentityStoreId=instance["IdentityStoreId"], DisplayName="auditors")["GroupId"]
    user = store.create_user(IdentityStoreId=instance["IdentityStoreId"], UserName="ada", DisplayName="Ada", Name={"GivenName": "Ada", "FamilyName": "L"},
                             PhoneNumbers=[{"Value": SECRET, "Type": "work", "Primary": True}])["UserId"]
    store.create_group_membership(IdentityStoreId=instance["IdentityStoreId"], GroupId=group, MemberId={"UserId": user})
    made = sso.create_permission_set(InstanceArn=instance["InstanceArn"], Name="Audit", SessionDuration="PT1H")["PermissionSet"]["PermissionSetArn"]
    sso.attach_managed_policy_to_permission_set(InstanceArn=instance["InstanceArn"], PermissionSetArn=made, ManagedPolicyArn="arn:aws:iam::aws:policy/SecurityAudit")
    sso.create_account_assignment(InstanceArn=instance["InstanceArn"], TargetId=account, TargetType="AWS_ACCOUNT", PermissionSetArn=made, PrincipalType="GROUP", PrincipalId=group)


def regional(session, account, region, role, n):
    """What has a region."""
    def client(service):
        return session.client(service, region_name=region)

    states(client("stepfunctions"), role, n)
    events(client("events"), account, region, n)
    scheduler(client("scheduler"), account, region, role)
    ecr(client("ecr"), n)
    cloudtrail(session, account, region, n)
    kms(client("kms"), n)
    eks(client("eks"), role)
    config(client("config"), account, role)
    bedrock_agents(client("bedrock-agent"), role, n)
    pipes(client("pipes"), account, region, role)
