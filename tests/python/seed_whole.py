"""What an account of moto has beside `seed.account`, so that each operation has something to tell."""

import json


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", **statement}]})


def bucket(client, account):
    """One whose every setting is set."""
    name = f"whole-{account}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]})
    client.put_bucket_ownership_controls(Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    client.put_bucket_policy(Bucket=name, Policy=policy(Action="s3:GetObject", Resource=f"arn:aws:s3:::{name}/*"))
    client.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False})
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]})
    client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.create_bucket(Bucket=f"{name}-copy")
    client.put_bucket_versioning(Bucket=f"{name}-copy", VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "r", "Priority": 1, "Filter": {"Prefix": ""}, "Status": "Enabled", "Destination": {"Bucket": f"arn:aws:s3:::{name}-copy"}, "DeleteMarkerReplication": {"Status": "Disabled"}}
    client.put_bucket_replication(Bucket=name, ReplicationConfiguration={"Role": f"arn:aws:iam::{account}:role/app-0", "Rules": [rule]})
    return name


def access_point(client, account, name):
    client.create_access_point(AccountId=account, Name="point", Bucket=name)
    client.put_access_point_policy(AccountId=account, Name="point", Policy=policy(Action="s3:GetObject", Resource="*"))


def identity(client, organizations, made):
    client.update_account_password_policy(MinimumPasswordLength=14)
    client.put_group_policy(GroupName="group-0", PolicyName="inline", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}))
    organizations.register_delegated_administrator(AccountId=made, ServicePrincipal="ssm.amazonaws.com")


def functions(client):
    client.add_layer_version_permission(LayerName="layer", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")
    client.put_function_concurrency(FunctionName="function-0", ReservedConcurrentExecutions=1)


def containers(client, ec2, region):
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    document = {"instanceId": made, "region": region, "imageId": image, "instanceType": "t2.micro", "accountId": "1", "availabilityZone": f"{region}a",
                "pendingTime": "2026-01-01T00:00:00Z", "privateIp": "10.0.0.1", "version": "2010-08-31", "kernelId": None, "ramdiskId": None}
    client.register_container_instance(cluster="cluster", instanceIdentityDocument=json.dumps(document))
    client.run_task(cluster="cluster", taskDefinition="web", launchType="EC2", count=2)
    group = {"autoScalingGroupArn": f"arn:aws:autoscaling:{region}:123456789012:autoScalingGroup:1:autoScalingGroupName/g"}
    client.create_capacity_provider(name="spot", autoScalingGroupProvider=group)


def images(client, account, region):
    image = client.describe_images(repositoryName="app-0")["imageDetails"][0]["imageDigest"]
    client.start_image_scan(repositoryName="app-0", imageId={"imageDigest": image})
    client.put_registry_policy(policyText=policy(Action="ecr:ReplicateImage", Resource=f"arn:aws:ecr:{region}:{account}:repository/*"))


def workforce(client):
    instance = client.list_instances()["Instances"][0]["InstanceArn"]
    for each in client.list_permission_sets(InstanceArn=instance)["PermissionSets"]:
        client.provision_permission_set(InstanceArn=instance, PermissionSetArn=each, TargetType="ALL_PROVISIONED_ACCOUNTS")


def machines(client, account):
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    made = client.create_state_machine(name="versioned", definition=definition, roleArn=f"arn:aws:iam::{account}:role/app-0", publish=True)
    client.create_state_machine_alias(name="live", routingConfiguration=[{"stateMachineVersionArn": made["stateMachineVersionArn"], "weight": 100}])


def models(client, account):
    client.create_model_customization_job(
        jobName="tune", customModelName="tuned", roleArn=f"arn:aws:iam::{account}:role/app-0", baseModelIdentifier="amazon.titan-text-lite-v1",
        trainingDataConfig={"s3Uri": f"s3://whole-{account}/train"}, outputDataConfig={"s3Uri": f"s3://whole-{account}/out"}, hyperParameters={"epochCount": "1"})


def account(session, account, regions):
    """Resources for the operations that the other seeds leave without an answer."""
    name = bucket(session.client("s3", region_name="us-east-1"), account)
    access_point(session.client("s3control", region_name="us-east-1"), account, name)
    organizations = session.client("organizations")
    made = next(a["Id"] for a in organizations.list_accounts()["Accounts"] if a["Name"] == "deep")
    identity(session.client("iam"), organizations, made)
    for region in regions:
        client = lambda service: session.client(service, region_name=region)
        functions(client("lambda"))
        containers(client("ecs"), client("ec2"), region)
        images(client("ecr"), account, region)
        workforce(client("sso-admin"))
        machines(client("stepfunctions"), account)
        models(client("bedrock"), account)
        table = client("dynamodb").describe_table(TableName="table-0")["Table"]["TableArn"]
        client("dynamodb").put_resource_policy(ResourceArn=table, Policy=policy(Action="dynamodb:GetItem", Resource=table))
        client("ssm").put_parameter(Name="/app/advanced", Value="x", Type="String", Tier="Advanced")
