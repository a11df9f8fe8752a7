"""What boto3 itself lists of an account: ids by (region, type), in fleetscan's words."""

import listing_more
from paging import pages


def _iam(c):
    kinds = {
        "AWS::IAM::User": [u["Arn"] for u in pages(c, "list_users", "Users")],
        "AWS::IAM::Role": [r["Arn"] for r in pages(c, "list_roles", "Roles")],
        "AWS::IAM::Group": [g["Arn"] for g in pages(c, "list_groups", "Groups")],
        "AWS::IAM::ManagedPolicy": [p["Arn"] for p in pages(c, "list_policies", "Policies", Scope="Local")],
        "AWS::IAM::InstanceProfile": [p["Arn"] for p in pages(c, "list_instance_profiles", "InstanceProfiles")],
        "AWS::IAM::OIDCProvider": [p["Arn"] for p in c.list_open_id_connect_providers()["OpenIDConnectProviderList"]],
        "AWS::IAM::SAMLProvider": [p["Arn"] for p in c.list_saml_providers()["SAMLProviderList"]],
        "AWS::IAM::VirtualMFADevice": [d["SerialNumber"] for d in pages(c, "list_virtual_mfa_devices", "VirtualMFADevices")],
    }
    return {("global", kind): ids for kind, ids in kinds.items()}


def _ecs(c):
    clusters = pages(c, "list_clusters", "clusterArns")
    families = pages(c, "list_task_definition_families", "families", status="ACTIVE")
    return {
        "AWS::ECS::Cluster": clusters,
        "AWS::ECS::Service": [s for k in clusters for s in pages(c, "list_services", "serviceArns", cluster=k)],
        "AWS::ECS::Task": [t for k in clusters for t in pages(c, "list_tasks", "taskArns", cluster=k)],
        "AWS::ECS::TaskDefinition": [c.describe_task_definition(taskDefinition=f)["taskDefinition"]["taskDefinitionArn"] for f in families],
    }


def _ec2(c):
    instances = [i["InstanceId"] for r in pages(c, "describe_instances", "Reservations") for i in r["Instances"]]

    def ids(operation, key, name, **kwargs):
        return [item[name] for item in pages(c, operation, key, **kwargs)]

    return {
        "AWS::EC2::Instance": instances,
        "AWS::EC2::VPC": ids("describe_vpcs", "Vpcs", "VpcId"),
        "AWS::EC2::Subnet": ids("describe_subnets", "Subnets", "SubnetId"),
        "AWS::EC2::SecurityGroup": ids("describe_security_groups", "SecurityGroups", "GroupId"),
        "AWS::EC2::NetworkAcl": ids("describe_network_acls", "NetworkAcls", "NetworkAclId"),
        "AWS::EC2::RouteTable": ids("describe_route_tables", "RouteTables", "RouteTableId"),
        "AWS::EC2::InternetGateway": ids("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        "AWS::EC2::Volume": ids("describe_volumes", "Volumes", "VolumeId"),
        "AWS::EC2::Snapshot": ids("describe_snapshots", "Snapshots", "SnapshotId", OwnerIds=["self"]),
        "AWS::EC2::Image": ids("describe_images", "Images", "ImageId", Owners=["self"]),
        "AWS::EC2::NetworkInterface": ids("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
        "AWS::EC2::EIP": ids("describe_addresses", "Addresses", "AllocationId"),
        "AWS::EC2::KeyPair": ids("describe_key_pairs", "KeyPairs", "KeyPairId"),
        "AWS::EC2::LaunchTemplate": ids("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
        "AWS::EC2::SecurityGroupRule": ids("describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
        "AWS::EC2::NatGateway": ids("describe_nat_gateways", "NatGateways", "NatGatewayId"),
        "AWS::EC2::VPCEndpoint": ids("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        "AWS::EC2::VPCPeeringConnection": ids("describe_vpc_peering_connections", "VpcPeeringConnections", "VpcPeeringConnectionId"),
        "AWS::EC2::TransitGateway": ids("describe_transit_gateways", "TransitGateways", "TransitGatewayId"),
        "AWS::EC2::TransitGatewayAttachment": ids(
            "describe_transit_gateway_attachments", "TransitGatewayAttachments", "TransitGatewayAttachmentId"
        ),
        "AWS::EC2::PrefixList": ids("describe_managed_prefix_lists", "PrefixLists", "PrefixListId"),
        "AWS::EC2::FlowLog": ids("describe_flow_logs", "FlowLogs", "FlowLogId"),
    }


def _regional(session, region):
    def client(service):
        return session.client(service, region_name=region)

    lambdas, dynamodb, sns, secrets, ssm = (client(s) for s in ("lambda", "dynamodb", "sns", "secretsmanager", "ssm"))
    layers = [v["LayerVersionArn"] for layer in pages(lambdas, "list_layers", "Layers")
              for v in pages(lambdas, "list_layer_versions", "LayerVersions", LayerName=layer["LayerName"])]
    tables = [dynamodb.describe_table(TableName=t)["Table"]["TableArn"] for t in pages(dynamodb, "list_tables", "TableNames")]
    return {
        "AWS::Lambda::Function": [f["FunctionArn"] for f in pages(lambdas, "list_functions", "Functions")],
        "AWS::Lambda::LayerVersion": layers,
        "AWS::DynamoDB::Table": tables,
        "AWS::DynamoDB::Backup": [b["BackupArn"] for b in pages(dynamodb, "list_backups", "BackupSummaries")],
        "AWS::SNS::Topic": [t["TopicArn"] for t in pages(sns, "list_topics", "Topics")],
        "AWS::SNS::Subscription": [f"{s['TopicArn']}/{s['Protocol']}/{s['Endpoint']}" for s in pages(sns, "list_subscriptions", "Subscriptions")],
        "AWS::SecretsManager::Secret": [s["ARN"] for s in pages(secrets, "list_secrets", "SecretList")],
        "AWS::SSM::Parameter": [p["Name"] for p in pages(ssm, "describe_parameters", "Parameters")],
        "AWS::SSM::Document": [d["Name"] for d in pages(ssm, "list_documents", "DocumentIdentifiers", Filters=[{"Key": "Owner", "Values": ["Self"]}])],
        **_ecs(client("ecs")),
        **_ec2(client("ec2")),
        **listing_more.of_region(session, region),
    }


def everything(session, account, regions):
    """{(region, type): sorted ids}"""
    found = {**_iam(session.client("iam")), **listing_more.organization(session.client("organizations"))}
    found["global", "AWS::IAM::CredentialReportEntry"] = listing_more.credential_report(session.client("iam"))
    control = session.client("s3control", region_name="us-east-1")
    assert control.get_public_access_block(AccountId=account)["PublicAccessBlockConfiguration"]
    found["global", "AWS::S3::AccountPublicAccessBlock"] = [account]
    for bucket in session.client("s3").list_buckets()["Buckets"]:
        location = session.client("s3").get_bucket_location(Bucket=bucket["Name"])["LocationConstraint"] or "us-east-1"
        found.setdefault((location, "AWS::S3::Bucket"), []).append(bucket["Name"])
    for region in regions:
        found.update({(region, kind): ids for kind, ids in _regional(session, region).items()})
    return {key: sorted(ids) for key, ids in found.items() if ids}
