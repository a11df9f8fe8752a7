"""A profile narrows what a scan reads: its cells, its calls, its sessions."""

import json
import os
import pathlib
import subprocess
import tomllib

import pytest
import results
import simulated

CATALOGUE = pathlib.Path(__file__).resolve().parents[2] / "proto" / "catalogue"


@pytest.fixture(scope="module")
def aws(fleetscan, tmp_path_factory):
    """Two accounts where everything can be read."""
    folder = tmp_path_factory.mktemp("simulated")
    world = "lambda:ListFunctions=3,sns:ListTopics=2,s3:ListBuckets=3,ec2:DescribeInstances=2,iam:ListUsers=2,iam:GetAccountAuthorizationDetails=2;regions=2"
    simulator = simulated.Simulated(fleetscan, folder, "--accounts", "2", "--limits", "off", "--world", world)
    simulator.file = folder / "accounts.toml"
    yield simulator
    simulator.end()


def environment(aws):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    hub = aws.hub.get_credentials()
    return {**kept, "AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": hub.access_key, "AWS_SECRET_ACCESS_KEY": hub.secret_key, "AWS_EC2_METADATA_DISABLED": "true"}


def run(fleetscan, aws, folder, *more):
    command = [fleetscan, "scan", "--accounts", str(aws.file), "--out", str(folder / "out"), "--data", str(folder / "data"), "--share", "1", "--json", *more]
    return subprocess.run(command, env=environment(aws), capture_output=True, text=True, timeout=300)


def calls(aws):
    return {operation: sum(counts.values()) for operation, counts in aws.get("counters")["operations"].items()}


def called_since(aws, before):
    return {operation for operation, count in calls(aws).items() if count > before.get(operation, 0)}


def operations(service):
    """The operations of a service's file, with the IAM action of each."""
    file = tomllib.loads((CATALOGUE / f"{service}.toml").read_text())
    prefix = file.get("signing_name", service)
    return {o["name"]: o.get("action", f"{prefix}:{o['name']}") for o in file["operation"]}


def granted(fleetscan, profile):
    ended = subprocess.run([fleetscan, "catalogue", "policy", "--profile", profile, "--json"], capture_output=True, text=True, check=True)
    return {action for document in json.loads(ended.stdout) for s in document["Statement"] for action in s["Action"]}


def test_minimal_calls_four_operations_and_nothing_else(aws, fleetscan, tmp_path):
    before = calls(aws)
    ended = run(fleetscan, aws, tmp_path, "--profile", "minimal", "--new")
    assert ended.returncode == 0, ended.stderr[-3000:]
    called = called_since(aws, before)
    assert called == {"sts:AssumeRole", "sts:GetCallerIdentity", "ec2:DescribeRegions", "ec2:DescribeInstances", "s3:ListBuckets"}
    scan = results.Scan(tmp_path / "out")
    assert scan.manifest["profile"] == "minimal"
    assert {cell["service"] for cell in scan.ledger} == {"ec2", "s3"}
    assert {record["type"] for record in scan.records()} == {"AWS::EC2::Instance", "AWS::S3::Bucket"}


def test_a_role_that_grants_just_the_agreed_profile_has_no_holes(aws, fleetscan, tmp_path):
    account = aws.accounts[0]["id"]
    actions = granted(fleetscan, "securityv0")
    services = [path.stem for path in CATALOGUE.glob("*.toml") if path.stem != "sts"]
    beyond = sorted({action for service in services for action in operations(service).values()} - actions)
    assert "ec2:DescribeInstances" in beyond and "account:ListRegions" in beyond
    aws.do("detach_actions", account=account, actions=beyond)
    try:
        before = calls(aws)
        ended = run(fleetscan, aws, tmp_path, "--profile", "securityv0", "--new")
        assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
        called = called_since(aws, before)
        assert not [operation for operation in called if operation.startswith(("ec2:", "account:"))]
        scan = results.Scan(tmp_path / "out")
        assert {cell["outcome"] for cell in scan.ledger} <= {"complete", "region_disabled"}
        assert not [cell for cell in scan.ledger if cell["denied"]]
        everything = run(fleetscan, aws, tmp_path, "--profile", "full", "--new")
        assert everything.returncode == 3, "the same role has holes where more is asked of it"
    finally:
        aws.do("attach_actions", account=account, actions=beyond)


def test_a_session_is_narrowed_to_its_profile_by_aws_too(aws, fleetscan):
    ended = subprocess.run([fleetscan, "catalogue", "policy", "--profile", "identity", "--of", "session"], capture_output=True, text=True, check=True)
    given = aws.assume(aws.accounts[0], Policy=json.dumps(json.loads(ended.stdout)))
    session = simulated.boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    client = lambda service: session.client(service, endpoint_url=aws.url, region_name="us-east-1", config=simulated.PLAIN)
    assert client("iam").list_users()["Users"]
    with pytest.raises(simulated.boto3.exceptions.botocore.exceptions.ClientError) as denied:
        client("lambda").list_functions()
    assert "no session policy allows" in str(denied.value)


def test_a_profile_of_ones_own_is_read_and_what_it_leaves_out_is_not(aws, fleetscan, tmp_path):
    own = tmp_path / "topics.toml"
    own.write_text('name = "topics"\nversion = 1\ntitle = "Topics"\nservices = ["sns"]\nexcept = ["sns:GetTopicAttributes"]\noperations = ["account:ListRegions"]\n')
    before = calls(aws)
    ended = run(fleetscan, aws, tmp_path, "--profile", str(own), "--new")
    assert ended.returncode == 0, ended.stderr[-3000:]
    called = called_since(aws, before)
    assert "sns:ListTopics" in called and "sns:GetTopicAttributes" not in called
    assert {operation.split(":")[0] for operation in called} == {"sns", "sts", "account"}
    assert results.Scan(tmp_path / "out").manifest["profile"] == "topics"


@pytest.mark.parametrize(
    "more, said",
    [
        (["--profile", "securtyv0"], 'did you mean "securityv0"?'),
        (["--profile", "nowhere.toml"], "there is no profile file nowhere.toml"),
        (["--profile", "minimal", "--services", "lambda"], "profile minimal does not read lambda"),
    ],
)
def test_a_wrong_profile_is_named_and_no_account_touched(aws, fleetscan, tmp_path, more, said):
    before = calls(aws)
    ended = run(fleetscan, aws, tmp_path, *more)
    assert ended.returncode == 2 and said in ended.stderr, ended.stderr
    assert called_since(aws, before) == set()


def test_a_scan_of_another_profile_is_not_gone_on_with(aws, fleetscan, tmp_path):
    first = json.loads(run(fleetscan, aws, tmp_path, "--profile", "minimal").stdout)
    second = json.loads(run(fleetscan, aws, tmp_path, "--profile", "identity").stdout)
    assert first["id"] != second["id"]


def test_a_new_external_id_comes_with_the_stacks_parameters(fleetscan):
    hub = "arn:aws:iam::111122223333:role/hub"
    url = "https://templates.s3.eu-west-1.amazonaws.com/role-securityv0.yaml"
    command = [fleetscan, "accounts", "new-external-id", "--hub-principal", hub, "--profile", "securityv0", "--template-url", url, "--json"]
    offer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in offer["parameters"]}
    template = tomllib.loads((CATALOGUE.parent / "profiles" / "securityv0.toml").read_text())
    assert parameters == {"HubPrincipal": hub, "RoleName": "SecurityV0ReadOnly", "ExternalId": offer["external_id"]}
    assert (offer["profile"], offer["profile_version"]) == (template["name"], template["version"])
    assert offer["external_id"] not in offer["quick_create_url"] and "quickcreate?templateURL=" in offer["quick_create_url"]
    plain = subprocess.run(command[:3], capture_output=True, text=True, check=True)
    assert len(plain.stdout.split()) == 1, "on stdout stands the ExternalId alone"
    wrong = subprocess.run([*command[:3], "--hub-principal", "me"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "arn:aws:iam::<12 digits>" in wrong.stderr


LAST_ACCESSED = """name = "last-accessed"
version = 1
title = "Who used what, and when"
categories = ["identity"]
operations = [
    "account:ListRegions", "iam:GenerateServiceLastAccessedDetails", "iam:GetServiceLastAccessedDetails",
    "iam:GetServiceLastAccessedDetailsWithEntities",
]
"""


def test_service_last_accessed_details_are_read_where_a_profile_asks_for_them(aws, fleetscan, tmp_path):
    """A job for each user, group, role and policy: asked for, waited for, and read with who it was."""
    before = calls(aws)
    assert run(fleetscan, aws, tmp_path, "--profile", "identity", "--new").returncode == 0
    assert not [operation for operation in called_since(aws, before) if "LastAccessedDetails" in operation], "nobody asked for it"
    own = tmp_path / "last-accessed.toml"
    own.write_text(LAST_ACCESSED)
    assert "iam:GenerateServiceLastAccessedDetails" in granted(fleetscan, str(own)), "the role's template follows"
    before = calls(aws)
    ended = run(fleetscan, aws, tmp_path, "--profile", str(own), "--new")
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    after = calls(aws)
    count = lambda name: after.get(f"iam:{name}", 0) - before.get(f"iam:{name}", 0)
    scan = results.Scan(tmp_path / "out")
    kinds = {"AWS::IAM::User", "AWS::IAM::Group", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"}
    principals = [record for record in scan.records() if record["type"] in kinds]
    assert {record["type"] for record in principals} >= {"AWS::IAM::User", "AWS::IAM::Role"}
    assert count("GenerateServiceLastAccessedDetails") == len(principals)
    used = 0
    account = aws.accounts[0]["id"]
    # What the simulator means: each job's services, by the principal that it was for.
    jobs = {a["params"]["Arn"]: a["value"]["JobId"] for a in aws.get("meant", account=account, region="us-east-1", service="iam", operation="GenerateServiceLastAccessedDetails")}
    told = {a["params"]["JobId"]: a["value"]["ServicesLastAccessed"] for a in aws.get("meant", account=account, region="us-east-1", service="iam", operation="GetServiceLastAccessedDetails")}
    for record in (r for r in principals if r["account"] == account):
        expected = told[jobs[record["properties"]["Arn"]]]
        found = record["properties"].get("ServicesLastAccessed", [])
        assert [s["ServiceNamespace"] for s in found] == [s["ServiceNamespace"] for s in expected], record["id"]
        assert all(s["LastAuthenticated"] for s in found)
        used += len(found)
    assert used and count("GetServiceLastAccessedDetailsWithEntities") >= used
    assert any(entry["EntityInfo"]["Arn"] for r in principals for entry in r["properties"].get("ServicesLastAccessedBy", []))


def test_half_a_million_revisions_of_task_definitions_cost_a_call_a_family(fleetscan, tmp_path):
    world = "ecs:ListTaskDefinitions=500000,ecs:ListTaskDefinitionFamilies=120;regions=1"
    simulator = simulated.Simulated(fleetscan, tmp_path, "--accounts", "1", "--limits", "off", "--world", world)
    simulator.file = tmp_path / "accounts.toml"
    try:
        ended = run(fleetscan, simulator, tmp_path, "--services", "ecs")
        assert ended.returncode == 0, ended.stderr[-3000:]
        called = calls(simulator)
        assert called["ecs:DescribeTaskDefinition"] == 120 and "ecs:ListTaskDefinitions" not in called
        regions = len({cell["region"] for cell in results.Scan(tmp_path / "out").ledger})
        assert called["ecs:ListTaskDefinitionFamilies"] == 2 + regions - 1, "two pages of families where they are, an empty one elsewhere"
    finally:
        simulator.end()
