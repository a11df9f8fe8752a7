"""Fills a moto account with resources of every service that is scanned."""

import base64
import io
import json
import zipfile

import seed_more
from seed_more import SECRET

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": SECRET}},
    }],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}
TAGS = [{"Key": "team", "Value": "payments"}, {"Key": "empty", "Value": ""}]


def code():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("main.py", "def handler(event, context): pass")
    return buffer.getvalue()


def iam(client, n):
    role = client.create_role(RoleName=f"app-{n}", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=TAGS)["Role"]["Arn"]
    client.put_role_policy(RoleName=f"app-{n}", PolicyName="inline", PolicyDocument=json.dumps(ALLOW))
    policy = client.create_policy(PolicyName=f"managed-{n}", PolicyDocument=json.dumps(ALLOW))["Policy"]["Arn"]
    client.attach_role_policy(RoleName=f"app-{n}", PolicyArn=policy)
    client.create_instance_profile(InstanceProfileName=f"profile-{n}")
    client.add_role_to_instance_profile(InstanceProfileName=f"profile-{n}", RoleName=f"app-{n}")
    client.create_group(GroupName=f"group-{n}")
    for u in range(n % 3 + 1):
        client.create_user(UserName=f"user-{u}", Tags=TAGS)
        client.create_access_key(UserName=f"user-{u}")
        client.add_user_to_group(GroupName=f"group-{n}", UserName=f"user-{u}")
    client.put_user_policy(UserName="user-0", PolicyName="inline", PolicyDocument=json.dumps(ALLOW))
    client.create_login_profile(UserName="user-0", Password="Planted-Passw0rd!")
    client.create_virtual_mfa_device(VirtualMFADeviceName=f"mfa-{n}")
    client.create_open_id_connect_provider(Url=f"https://idp{n}.example.com", ThumbprintList=["a" * 40], ClientIDList=["client"])
    client.create_saml_provider(SAMLMetadataDocument="x" * 1024, Name=f"saml-{n}")
    client.create_account_alias(AccountAlias=f"alias-{n}")
    return role


def s3(session, account, n):
    for region in ("us-east-1", "eu-west-1"):
        client = session.client("s3", region_name=region)
        name = f"bucket-{account}-{region}"
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client.create_bucket(Bucket=name, **where)
        client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": TAGS})
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if n % 2:
            client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": False})
            statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{name}/*"}
            client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def s3control(session, account, n):
    client = session.client("s3control", region_name="us-east-1")
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": bool(n % 2), "RestrictPublicBuckets": False}
    client.put_public_access_block(AccountId=account, PublicAccessBlockConfiguration=block)


def regional(session, region, role, n):
    def client(service):
        return session.client(service, region_name=region)

    lambdas, dynamodb, ecs, sns = client("lambda"), client("dynamodb"), client("ecs"), client("sns")
    for f in range(n % 4 + 1):
        name = f"function-{f}"
        lambdas.create_function(FunctionName=name, Runtime="python3.12", Role=role, Handler="main.handler", Code={"ZipFile": code()},
                                Environment={"Variables": {"TOKEN": SECRET}}, Tags={"team": "payments"})
    lambdas.add_permission(FunctionName="function-0", StatementId="s", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com")
    lambdas.publish_version(FunctionName="function-0")
    lambdas.create_alias(FunctionName="function-0", Name="live", FunctionVersion="1")
    lambdas.publish_layer_version(LayerName="layer", Content={"ZipFile": code()})
    for t in range(n % 3 + 1):
        dynamodb.create_table(TableName=f"table-{t}", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                              AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST", Tags=TAGS)
    dynamodb.create_backup(TableName="table-0", BackupName="backup")
    ecs.create_cluster(clusterName="cluster", tags=[{"key": "team", "value": "payments"}])
    container = {"name": "web", "image": "nginx", "memory": 64, "environment": [{"name": "TOKEN", "value": SECRET}],
                 "command": ["serve", f"--token={SECRET}"]}
    for revision in range(2):
        ecs.register_task_definition(family="web", containerDefinitions=[container])
    for s in range(11):
        ecs.create_service(cluster="cluster", serviceName=f"service-{s}", taskDefinition="web", desiredCount=1)
    for t in range(n % 3 + 1):
        topic = sns.create_topic(Name=f"topic-{t}", Tags=TAGS)["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="https", Endpoint="https://example.com/hook")
    secrets = client("secretsmanager")
    for s in range(n % 2 + 1):
        secrets.create_secret(Name=f"secret-{s}", SecretString=SECRET, Tags=TAGS)
    secrets.put_resource_policy(SecretId="secret-0", ResourcePolicy=json.dumps(ALLOW))
    ssm = client("ssm")
    for p in range(n % 5 + 50):
        ssm.put_parameter(Name=f"/app/p{p}", Value=SECRET, Type="SecureString" if p % 2 else "String")
    ssm.create_document(Content=json.dumps({"schemaVersion": "2.2", "mainSteps": []}), Name="document", DocumentType="Command", DocumentFormat="JSON")
    ec2(client("ec2"), n)


def ec2(client, n):
    vpc = client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = client.create_security_group(GroupName="open", Description="open", VpcId=vpc)["GroupId"]
    world = {"IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    client.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **world}])
    image = "ami-12345678"
    instance = client.run_instances(ImageId=image, MinCount=n % 3 + 1, MaxCount=n % 3 + 1, SubnetId=subnet, UserData=SECRET,
                                    TagSpecifications=[{"ResourceType": "instance", "Tags": TAGS}])["Instances"][0]["InstanceId"]
    volume = client.create_volume(AvailabilityZone=client.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"], Size=8)["VolumeId"]
    snapshot = client.create_snapshot(VolumeId=volume)["SnapshotId"]
    client.modify_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add", GroupNames=["all"])
    client.create_image(InstanceId=instance, Name="image")
    client.create_key_pair(KeyName="key")
    address = client.allocate_address(Domain="vpc")["AllocationId"]
    client.create_internet_gateway()
    network(client, vpc, subnet, address)
    client.create_launch_template(LaunchTemplateName="template", LaunchTemplateData={"ImageId": image, "UserData": base64.b64encode(SECRET.encode()).decode()})


def network(client, vpc, subnet, address):
    client.create_nat_gateway(SubnetId=subnet, AllocationId=address)
    client.create_vpc_endpoint(VpcId=vpc, ServiceName=f"com.amazonaws.{client.meta.region_name}.s3")
    other = client.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    client.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)
    gateway = client.create_transit_gateway(Description="between them")["TransitGateway"]["TransitGatewayId"]
    client.create_transit_gateway_vpc_attachment(TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet])
    client.create_managed_prefix_list(PrefixListName="offices", MaxEntries=2, AddressFamily="IPv4")
    client.create_flow_logs(ResourceIds=[vpc], ResourceType="VPC", TrafficType="ALL", LogDestinationType="cloud-watch-logs",
                            LogGroupName="flows", DeliverLogsPermissionArn="arn:aws:iam::123456789012:role/flows")


def account(session, account, n, regions):
    """Resources of every service, in these regions."""
    role = iam(session.client("iam"), n)
    s3(session, account, n)
    s3control(session, account, n)
    for region in regions:
        regional(session, region, role, n)
        seed_more.regional(session, account, region, role, n)
        if n < 3:
            seed_more.identity_center(session, account, region)
    if n == 0:
        seed_more.organization(session.client("organizations"))
