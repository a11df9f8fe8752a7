"""The second opinion: an AWS emulator that this project did not write, listed by boto3 and scanned by fleetscan."""

import json
import os
import random
import subprocess
import time

import accounts
import listing
import pytest
import results
import seed

REGIONS = ["us-east-1", "eu-west-1"]
ACCOUNTS = [accounts.number(n) for n in range(20)]


@pytest.fixture(scope="module")
def world(moto):
    """Twenty accounts, filled."""
    for n, account in enumerate(ACCOUNTS):
        seed.account(accounts.session(moto, account), account, n, REGIONS)
    return moto


def command(fleetscan, folder, file, *more):
    out, data = folder / "out", folder / "data"
    return [fleetscan, "scan", "--accounts", str(file), "--out", str(out), "--data", str(data), "--regions", ",".join(REGIONS), "--share", "1", *more]


def environment(url):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    return {**kept, "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def undisturbed(world, fleetscan, tmp_path_factory):
    """One scan that nothing interrupts, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = accounts.write_file(folder / "accounts.toml", ACCOUNTS)
    run = subprocess.run(command(fleetscan, folder, file, "--json"), env=environment(world), capture_output=True, text=True, timeout=900)
    assert run.returncode in (0, 3), run.stderr[-4000:]
    return results.Scan(folder / "out"), json.loads(run.stdout), folder


def test_nothing_is_missing_invented_or_from_another_account(world, undisturbed):
    scan, _, _ = undisturbed
    found = {}
    for record in scan.records():
        found.setdefault(record["account"], {}).setdefault((record["region"], record["type"]), []).append(record["id"])
    for account in ACCOUNTS:
        expected = listing.everything(accounts.session(world, account), account, REGIONS)
        kinds = {kind for _, kind in expected}
        mine = {key: sorted(ids) for key, ids in found[account].items() if key[1] in kinds}
        assert mine == expected, f"account {account}"


def test_what_could_not_be_read_is_only_what_moto_lacks(undisturbed):
    """moto answers some operations with an error of its own making; each must be named, and nothing else."""
    scan, printed, _ = undisturbed
    assert {c["outcome"] for c in scan.ledger} <= {"complete", "partial", "failed"}
    # Of this one it has nothing at all.
    assert {c["service"] for c in scan.ledger if c["outcome"] == "failed"} == {"accessanalyzer"}
    lacking = {part.split(":")[0].strip() for c in scan.ledger if c.get("error") for part in c["error"].split(";")}
    known = {
        "ListFunctionUrlConfigs", "ListCodeSigningConfigs", "GetAccountSettings",
        "DescribeKinesisStreamingDestination", "GetDataProtectionPolicy", "GetResourcePolicies", "DescribeInstanceInformation",
        "GetSnapshotBlockPublicAccessState", "GetImageBlockPublicAccessState", "GetInstanceMetadataDefaults",
        "ListServiceSpecificCredentials", "DescribeCapacityProviders",
        "ListAnalyzers", "ListEnforcedGuardrailsConfiguration", "ListGuardrails", "ListImportedModels",
        "ListInferenceProfiles", "ListProvisionedModelThroughputs", "ListAgentAliases", "ListAgentVersions",
        "ListDataSources", "ListFlows", "ListPrompts", "ListEventDataStores", "DescribeComplianceByConfigRule",
        "DescribeConformancePacks", "DescribePullThroughCacheRules", "ListAccessEntries", "ListAddons",
        "ListIdentityProviderConfigs", "ListPodIdentityAssociations", "ListEndpoints", "DescribeResourcePolicy",
        "DescribeInstance", "GetPermissionsBoundaryForPermissionSet", "ListApplications", "ListTagsForResource",
        "ListTrustedTokenIssuers", "ListStateMachineVersions", "LookupEvents", "events",
    }
    assert lacking <= known, lacking - known
    assert printed["exit"] == (3 if any(c["outcome"] != "complete" for c in scan.ledger) else 0)


def test_properties_are_those_that_boto3_parses(world, undisturbed):
    """XML has no types: what fleetscan makes of it must be what botocore's models make of it."""
    scan, _, _ = undisturbed
    account, region = ACCOUNTS[2], "eu-west-1"
    mine = {(r["type"], r["id"]): r["properties"] for r in scan.records() if r["account"] == account and r["region"] in (region, "global")}
    session = accounts.session(world, account)
    ec2, iam, lambdas = session.client("ec2", region_name=region), session.client("iam"), session.client("lambda", region_name=region)
    compared = 0
    for kind, items, name in [
        ("AWS::EC2::Instance", [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]], "InstanceId"),
        ("AWS::EC2::SecurityGroup", ec2.describe_security_groups()["SecurityGroups"], "GroupId"),
        ("AWS::EC2::Subnet", ec2.describe_subnets()["Subnets"], "SubnetId"),
        ("AWS::EC2::Volume", ec2.describe_volumes()["Volumes"], "VolumeId"),
        ("AWS::EC2::RouteTable", ec2.describe_route_tables()["RouteTables"], "RouteTableId"),
        ("AWS::EC2::NetworkInterface", ec2.describe_network_interfaces()["NetworkInterfaces"], "NetworkInterfaceId"),
        ("AWS::EC2::SecurityGroupRule", ec2.describe_security_group_rules()["SecurityGroupRules"], "SecurityGroupRuleId"),
        ("AWS::EC2::NatGateway", ec2.describe_nat_gateways()["NatGateways"], "NatGatewayId"),
        ("AWS::EC2::VPCPeeringConnection", ec2.describe_vpc_peering_connections()["VpcPeeringConnections"], "VpcPeeringConnectionId"),
        ("AWS::EC2::TransitGateway", ec2.describe_transit_gateways()["TransitGateways"], "TransitGatewayId"),
        ("AWS::EC2::FlowLog", ec2.describe_flow_logs()["FlowLogs"], "FlowLogId"),
        ("AWS::EC2::Snapshot", ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"], "SnapshotId"),
        ("AWS::IAM::User", iam.get_account_authorization_details(Filter=["User"])["UserDetailList"], "Arn"),
        ("AWS::IAM::Group", iam.get_account_authorization_details(Filter=["Group"])["GroupDetailList"], "Arn"),
        ("AWS::Lambda::Function", lambdas.list_functions()["Functions"], "FunctionArn"),
    ]:
        assert items, kind
        for item in items:
            properties = mine[(kind, item[name])]
            for key, value in plain(item).items():
                if key in ("Environment", "Versions"):
                    continue
                assert plain(properties.get(key)) == value, f"{kind} {item[name]} {key}"
                compared += 1
    assert compared > 100


def plain(value):
    """JSON as both sides can be compared: times as they are on the wire, documents as objects."""
    if hasattr(value, "isoformat"):
        return value.strftime("%Y-%m-%dT%H:%M:%S")
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str) and len(value) >= 20 and value[4:5] == "-" and value[10:11] == "T":
        return value[:19]
    return value


def test_no_planted_secret_leaves_the_parser(undisturbed):
    scan, _, folder = undisturbed
    planted = [seed.SECRET.encode(), accounts.EXTERNAL_ID.encode()]
    for record in scan.records():
        text = json.dumps(record).encode()
        assert not any(secret in text for secret in planted), record["id"]
    for path in (folder / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret in content for secret in planted), path
    roles = [r for r in scan.records() if r["type"] == "AWS::IAM::Role" and r["name"].startswith("app-")]
    assert roles and all("<set>" in json.dumps(r["properties"]) for r in roles)
    functions = [r for r in scan.records() if r["type"] == "AWS::Lambda::Function"]
    assert functions and all(r["properties"]["Environment"]["Variables"] == {"TOKEN": "<redacted>"} for r in functions)
    containers = [c for r in scan.records() if r["type"] == "AWS::ECS::TaskDefinition" for c in r["properties"]["containerDefinitions"]]
    assert containers and all(c["environment"] == [{"name": "TOKEN", "value": "<redacted>"}] for c in containers)
    assert all(c["command"] == ["<redacted>", "<redacted>"] for c in containers), "free text, and so what people write into it"
    templates = [v for r in scan.records() if r["type"] == "AWS::EC2::LaunchTemplate" for v in r["properties"]["LaunchTemplateVersions"]]
    assert templates and all(v["LaunchTemplateData"]["UserData"] == "<redacted>" for v in templates)
    instances = [r for r in scan.records() if r["type"] == "AWS::EC2::Instance"]
    assert instances and not any("UserData" in r["properties"] for r in instances), "user data of instances is never read"


@pytest.mark.long
def test_a_scan_killed_again_and_again_ends_as_if_nothing_had_been(world, undisturbed, fleetscan, tmp_path):
    expected = undisturbed[0].inventory()
    file = accounts.write_file(tmp_path / "accounts.toml", ACCOUNTS)
    chance = random.Random(7)
    kills = 0
    for _ in range(60):
        scan = subprocess.Popen(command(fleetscan, tmp_path, file, "--json"), env=environment(world), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            output, _ = scan.communicate(timeout=chance.uniform(1.0, 8.0) if kills < 6 else 900)
            break
        except subprocess.TimeoutExpired:
            scan.kill()
            scan.communicate()
            kills += 1
    assert kills >= 3, "it was over before it could be killed"
    printed = json.loads(output)
    scan = results.Scan(tmp_path / "out")
    cells, records = scan.inventory()
    assert cells == expected[0]
    assert records.keys() == expected[1].keys()
    for key, properties in records.items():
        assert steady(properties) == steady(expected[1][key]), key
    folders = list((tmp_path / "out").glob("scan=*"))
    assert len(folders) == 1, "the same scan was gone on with"
    assert printed["id"] == scan.manifest["scan"]
    listed = {p["name"] for c in scan.ledger for p in c["parts"]}
    lying = {p.name for p in (folders[0] / "records").rglob("*") if p.is_file()}
    assert lying == listed, "files that do not count were left behind"


def steady(properties):
    """moto makes some times up anew for each call: those of last use, of a trail's deliveries, and of a secret's versions."""
    kept = {k: v for k, v in properties.items() if k not in ("RoleLastUsed", "AccessKeysLastUsed")}
    if "IsLogging" in kept.get("Status", {}):
        kept["Status"] = {"IsLogging": kept["Status"]["IsLogging"]}
    if "VersionIdsToStages" in kept:
        kept["Versions"] = sorted(version["VersionId"] for version in kept["Versions"])
    return kept


def test_a_second_process_is_kept_out_and_told_why(world, fleetscan, tmp_path):
    file = accounts.write_file(tmp_path / "accounts.toml", ACCOUNTS)
    first = subprocess.Popen(command(fleetscan, tmp_path, file), env=environment(world), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "data" / "fleetscan.db").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(command(fleetscan, tmp_path, file), env=environment(world), capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert str(first.pid) in second.stderr, second.stderr
    finally:
        first.kill()
        first.wait()
