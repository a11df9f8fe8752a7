"""What a reviewer would flag: planted in moto by boto3 and found, and what is in order beside it left alone."""

import collections
import json
import pathlib
import subprocess
import tomllib

import cfnlint
import pytest

import accounts
import seed
import test_moto

ACCOUNT = "470000000001"
REGION, OTHER = "eu-west-1", "us-east-1"
WORLD = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
LITTLE = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]})


def trust(principal, **condition):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def passing(**condition):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", **condition}]})


def trust_of_builds(subject):
    provider = "token.actions.githubusercontent.com"
    keys = {f"{provider}:aud": "sts.amazonaws.com", **({f"{provider}:sub": subject} if subject else {})}
    federated = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"}
    statement = {"Effect": "Allow", "Principal": federated, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": keys}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def iam(session):
    """By rule, the ARNs that it must name."""
    iam, found = session.client("iam"), collections.defaultdict(set)
    deputy = {"Condition": {"StringEquals": {"sts:ExternalId": "a-secret-of-sixteen"}}}
    other = {"AWS": "arn:aws:iam::480000000002:root"}
    for name, document, rule in (
        ("open", trust({"AWS": "*"}), "iam-role-trusts-world"),
        ("vendor", trust(other), "iam-role-cross-account-without-external-id"),
        ("vendor-well", trust(other, **deputy), None),
        ("people", trust(other, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}), None),
        ("pipeline", trust_of_builds(None), "iam-role-trusts-any-build"),
        ("pipeline-well", trust_of_builds("repo:acme/shop:ref:refs/heads/main"), None),
        ("service", trust({"Service": "ec2.amazonaws.com"}), None),
        ("own", trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), None),
    ):
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if rule:
            found[rule].add(arn)
        if name == "open":
            found["iam-role-cross-account-without-external-id"].add(arn)
    iam.put_role_policy(RoleName="service", PolicyName="all", PolicyDocument=EVERYTHING)
    found["iam-role-inline-everything"].add(f"arn:aws:iam::{ACCOUNT}:role/service")
    for name, document in (("all", EVERYTHING), ("little", LITTLE), ("all-but-unused", EVERYTHING), ("passes", passing()), ("passes-to-ecs", passing(Condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}))):
        arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
        if "unused" not in name:
            iam.attach_role_policy(RoleName="own", PolicyArn=arn)
    found["iam-policy-allows-everything"].add(f"arn:aws:iam::{ACCOUNT}:policy/all")
    found["iam-policy-passes-any-role"].add(f"arn:aws:iam::{ACCOUNT}:policy/passes")
    for name in ("without-mfa", "without-password", "with-mfa"):
        iam.create_user(UserName=name)
        if name != "without-password":
            iam.create_login_profile(UserName=name, Password="Planted-Passw0rd!")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="with-mfa")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(UserName="with-mfa", SerialNumber=device, AuthenticationCode1="123456", AuthenticationCode2="654321")
    found["iam-user-without-mfa"].add(f"arn:aws:iam::{ACCOUNT}:user/without-mfa")
    found["iam-no-password-policy"].add(None)
    return found


def s3(session):
    s3 = session.client("s3", region_name=REGION)
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    for name in ("open-bucket-470", "blocked-bucket-470"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps({**WORLD, "Statement": [{**WORLD["Statement"][0], "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}]}))
    s3.put_public_access_block(Bucket="blocked-bucket-470", PublicAccessBlockConfiguration=block)
    s3.put_bucket_versioning(Bucket="blocked-bucket-470", VersioningConfiguration={"Status": "Enabled"})
    bucket = "arn:aws:s3:::open-bucket-470"
    return {"s3-bucket-public": {bucket}, "s3-bucket-without-public-access-block": {bucket}, "s3-bucket-without-versions": {bucket}}


def ec2(session):
    ec2, found = session.client("ec2", region_name=REGION), collections.defaultdict(set)
    vpcs = [ec2.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"] for n in range(2)]
    ec2.create_flow_logs(ResourceIds=vpcs[:1], ResourceType="VPC", TrafficType="ALL", LogDestinationType="s3", LogDestination="arn:aws:s3:::blocked-bucket-470")
    # The default network of each region has none either.
    found["ec2-vpc-without-flow-logs"] = {f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/{vpcs[1]}"}
    for region in (REGION, OTHER):
        default = session.client("ec2", region_name=region).describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        found["ec2-vpc-without-flow-logs"] |= {f"arn:aws:ec2:{region}:{ACCOUNT}:vpc/{v['VpcId']}" for v in default}
    for name, ports, cidr, rules in (
        ("ssh", (22, 22), "0.0.0.0/0", ["ec2-security-group-administration-open"]),
        ("postgres", (5432, 5432), "0.0.0.0/0", ["ec2-security-group-database-open"]),
        ("web", (443, 443), "0.0.0.0/0", []),
        ("inside", (22, 22), "10.0.0.0/8", []),
    ):
        group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpcs[0])["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": ports[0], "ToPort": ports[1], "IpRanges": [{"CidrIp": cidr}]}])
        for rule in rules:
            found[rule].add(f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{group}")
    for encrypted in (True, False):
        volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, Encrypted=encrypted)["VolumeId"]
        if not encrypted:
            found["ec2-volume-unencrypted"].add(f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{volume}")
    return found


def others(session):
    sns, ecr, secrets = (session.client(name, region_name=REGION) for name in ("sns", "ecr", "secretsmanager"))
    topics = [sns.create_topic(Name=name)["TopicArn"] for name in ("open", "as-aws-makes-it")]
    sns.set_topic_attributes(TopicArn=topics[0], AttributeName="Policy", AttributeValue=json.dumps(WORLD))
    repositories = [ecr.create_repository(repositoryName=name, imageTagMutability=tags)["repository"]["repositoryArn"] for name, tags in (("open", "MUTABLE"), ("shut", "IMMUTABLE"))]
    ecr.set_repository_policy(repositoryName="open", policyText=json.dumps(WORLD))
    secret = secrets.create_secret(Name="unrotated", SecretString="planted")["ARN"]
    return {"sns-topic-open": {topics[0]}, "ecr-repository-open": {repositories[0]}, "ecr-tags-mutable": {repositories[0]}, "secretsmanager-not-rotated": {secret}}


def functions(session):
    """Invoked by anybody, by a service for anybody, and by a service for its own account."""
    functions, found = session.client("lambda", region_name=REGION), collections.defaultdict(set)
    role = f"arn:aws:iam::{ACCOUNT}:role/service"
    for name, runtime, principal, more, rules in (
        ("anybodys", "python3.13", "*", {}, ["lambda-function-open"]),
        ("of-the-organisation", "python3.13", "*", {"PrincipalOrgID": "o-a1b2c3d4e5"}, []),
        ("any-buckets", "python3.13", "s3.amazonaws.com", {}, ["lambda-function-service-without-source"]),
        ("own-buckets", "python3.13", "s3.amazonaws.com", {"SourceArn": "arn:aws:s3:::blocked-bucket-470", "SourceAccount": ACCOUNT}, []),
        ("old", "python3.8", None, {}, ["lambda-runtime-deprecated"]),
    ):
        arn = functions.create_function(FunctionName=name, Runtime=runtime, Role=role, Handler="main.handler", Code={"ZipFile": seed.code()})["FunctionArn"]
        if principal:
            functions.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal=principal, **more)
        for rule in rules:
            found[rule].add(arn)
        found["lambda-function-broad-role"].add(arn)
    return found


def trails(session):
    """One that is off, and one of all regions that is on: it is told of once, in its home region."""
    trails, bucket = session.client("cloudtrail", region_name=REGION), "blocked-bucket-470"
    off = trails.create_trail(Name="off", S3BucketName=bucket, EnableLogFileValidation=True)["TrailARN"]
    everywhere = trails.create_trail(Name="everywhere", S3BucketName=bucket, IsMultiRegionTrail=True)["TrailARN"]
    trails.start_logging(Name=everywhere)
    return {"cloudtrail-not-logging": {off}, "cloudtrail-without-validation": {everywhere}, "cloudtrail-none-for-all-regions": set()}


def insights(fleetscan, out, *flags, code=0):
    command = [fleetscan, "results", "insights", "--out", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def planted(moto, fleetscan, tmp_path_factory):
    """A scan of what was planted; the rules and whom they must name; and where the results are."""
    session = accounts.session(moto, ACCOUNT)
    must = {**iam(session), **s3(session), **ec2(session), **others(session), **functions(session), **trails(session)}
    folder = tmp_path_factory.mktemp("insights")
    file = accounts.write_file(folder / "accounts.toml", [ACCOUNT])
    command = [fleetscan, "scan", "--accounts", str(file), "--out", str(folder / "out"), "--data", str(folder / "data"), "--regions", f"{REGION},{OTHER}", "--share", "1"]
    done = subprocess.run(command, env=test_moto.environment(moto), capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 3), done.stderr[-3000:]
    return must, folder / "out"


def test_what_was_planted_is_found_and_nothing_beside_it(fleetscan, planted):
    must, out = planted
    found = collections.defaultdict(set)
    for line in map(json.loads, insights(fleetscan, out, "--json", "--rule", ",".join(must)).splitlines()):
        if "evidence" in line:
            assert line["account"] == ACCOUNT and line["why"] and line["fix"]
            found[line["rule"]].add(line["arn"] or line["id"])
    assert found == {rule: those for rule, those in must.items() if those}


def test_what_moto_does_not_answer_is_not_assessed(fleetscan, planted):
    _, out = planted
    lines = [json.loads(line) for line in insights(fleetscan, out, "--json").splitlines()]
    # moto has no ListFunctionUrlConfigs and no access analyser.
    silent = {line["rule"] for line in lines if "not_assessed" in line}
    assert "accessanalyzer-none" in silent
    assert not {line["rule"] for line in lines if "evidence" in line} & {"accessanalyzer-none"}
    assert "a-secret-of-sixteen" not in json.dumps(lines)


def test_a_person_reads_what_it_is_why_it_matters_and_what_to_do(fleetscan, planted):
    _, out = planted
    text = insights(fleetscan, out, "--severity", "critical", "--fail-on", "critical", code=3)
    for word in ("critical: ", "Bucket policy lets the world in", "→ Name the principals", "arn:aws:s3:::open-bucket-470", "found nothing"):
        assert word in text, text
    assert "blocked-bucket-470" not in text
    assert "finding" in insights(fleetscan, out, "--trend")


def test_rules_of_ones_own(fleetscan, planted, tmp_path):
    _, out = planted
    rule = tmp_path / "volume-large.toml"
    rule.write_text('id = "volume-large"\ntitle = "Volume is large"\nseverity = "low"\nservice = "ec2"\ntype = "AWS::EC2::Volume"\nwhy = "It costs."\nfix = "Shrink it."\n\n[when]\npath = "Size"\nat_least = 8\n')
    lines = insights(fleetscan, out, "--rules", str(tmp_path), "--rule", "volume-large", "--json").splitlines()
    assert len(lines) == 2 and json.loads(lines[0])["evidence"] == [{"path": "Size", "value": 8}]
    rule.write_text(rule.read_text().replace("at_least", "at_lest"))
    done = subprocess.run([fleetscan, "results", "insights", "--out", str(out), "--rules", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and "volume-large.toml" in done.stderr and "at_lest" in done.stderr, done.stderr
    assert "no-such" in insights_error(fleetscan, out, "--rule", "no-such")


def test_runtimes_are_deprecated_on_the_days_that_aws_names():
    root = pathlib.Path(__file__).resolve().parents[2]
    rows = tomllib.loads((root / "proto/insights/lambda-runtime-deprecated.toml").read_text())["when"]["any"]
    ours = {row["equals"]: row["read_since"] for row in rows if "equals" in row}
    lifecycle = json.loads((pathlib.Path(cfnlint.__file__).parent / "data/AdditionalSpecs/LmbdRuntimeLifecycle.json").read_text())
    theirs = {name: dates["deprecated"] for name, dates in lifecycle.items()}
    assert ours == {name: theirs[name] for name in ours}
    [gone] = [row["in"] for row in rows if "in" in row]
    first = min(ours.values())
    assert {name for name, day in theirs.items() if day < first} <= set(gone)
    assert not [name for name in gone if theirs.get(name, first) > first]
    assert {name for name, day in theirs.items() if first <= day < max(ours.values())} <= ours.keys()


def insights_error(fleetscan, out, *flags):
    done = subprocess.run([fleetscan, "results", "insights", "--out", str(out), *flags], capture_output=True, text=True)
    assert done.returncode == 2
    return done.stderr
