"""The role that grants the catalogue, by other people's judgement: IAM's own list of actions, cfn-lint, parliament."""

import json
import pathlib
import subprocess
import tomllib

import cfnlint.api
import cfnlint.decode.cfn_yaml
import parliament
import pytest
from policy_sentry.querying.actions import get_action_data, get_actions_for_service

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "aws"
PROFILES = sorted(path.stem for path in (ROOT / "proto" / "profiles").glob("*.toml"))
TEMPLATES = sorted(DEPLOY.glob("*.yaml"))
POLICIES = sorted(DEPLOY.glob("*.json"))


def known(action):
    """What IAM's reference says of an action; None where it knows none of that name."""
    service, name = action.split(":")
    found = (get_action_data(service, name) or {}).get(service) or []
    # The database has a row a resource type, and finds names that begin alike as well.
    return next((row for row in found if row["action"].lower() == action.lower()), None)


def cli(fleetscan, *args):
    ended = subprocess.run([fleetscan, "catalogue", *args], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def statements(document):
    return document["Statement"]


def compact(document):
    """The characters that IAM counts."""
    return len(json.dumps(document, separators=(",", ":")))


def resources(path):
    template = cfnlint.decode.cfn_yaml.load(str(path))
    return template["Resources"]


def catalogue_actions():
    """Every IAM action of the catalogue, as the files themselves say it."""
    actions = set()
    for path in (ROOT / "proto" / "catalogue").glob("*.toml"):
        file = tomllib.loads(path.read_text())
        prefix = file.get("signing_name", file["service"])
        # What is borrowed from another service has that one's action.
        actions |= {o.get("action", f"{prefix}:{o['name']}") for o in file["operation"] if "from" not in o}
    return actions


def test_every_action_of_the_catalogue_exists_and_reads():
    wrong = []
    for action in sorted(catalogue_actions() - {"sts:AssumeRole"}):
        row = known(action)
        if row is None:
            wrong.append(f"{action}: IAM has no such action")
        elif row["access_level"] not in ("List", "Read"):
            wrong.append(f"{action}: {row['access_level']}")
    assert wrong == []


@pytest.mark.parametrize("action, why", [("lambda:UpdateFunctionCode", "Write"), ("lambda:NoSuchThing", None), ("iam:GetUse", None)])
def test_the_check_knows_writers_and_strangers(action, why):
    row = known(action)
    assert (row and row["access_level"]) == why


def test_the_never_list_is_of_actions_that_there_are(fleetscan):
    denied = json.loads(cli(fleetscan, "policy", "--of", "boundary"))["Statement"][1]
    assert denied["Effect"] == "Deny"
    for action in denied["Action"]:
        service, name = action.split(":")
        of_service = get_actions_for_service(service)
        assert any(a.lower() == action.lower() or (name.endswith("*") and a.lower().startswith(action[:-1].lower())) for a in of_service), action


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_passes_cfn_lint(path):
    found = cfnlint.api.lint_file(path)
    assert [str(match) for match in found] == []


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_a_policy_passes_parliament(path):
    findings = parliament.analyze_policy_string(path.read_text()).findings
    # An inventory is of all resources. Actions younger than parliament's list are looked up in the newer one.
    def stands(finding):
        if finding.issue == "UNKNOWN_ACTION":
            return known(finding.detail.rsplit(" ", 1)[-1]) is None
        return finding.issue != "RESOURCE_STAR"

    assert [f"{f.issue}: {f.detail}" for f in findings if stands(f)] == []


def test_a_mistake_in_a_policy_is_found():
    bad = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObjct", "Resource": "*"}]}
    assert [f.issue for f in parliament.analyze_policy_string(json.dumps(bad)).findings] == ["UNKNOWN_ACTION"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("variant", ["role", "stackset"])
def test_a_role_is_what_its_profile_says(fleetscan, profile, variant):
    path = DEPLOY / f"{variant}-{profile}.yaml"
    printed = cli(fleetscan, "template", "--profile", profile, *(["--stackset"] if variant == "stackset" else []))
    assert printed == path.read_text(), "`fleetscan catalogue template` prints what is committed"
    found = resources(path)
    role = found["Role"]["Properties"]
    assert role["MaxSessionDuration"] == 3600
    [trust] = statements(role["AssumeRolePolicyDocument"])
    assert trust["Principal"] == {"AWS": {"Ref": "HubPrincipal"}} and trust["Action"] == "sts:AssumeRole"
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}

    policies = {name: r["Properties"]["PolicyDocument"] for name, r in found.items() if r["Type"] == "AWS::IAM::ManagedPolicy"}
    archive = policies.pop("ReadArchive")
    assert found["ReadArchive"]["Condition"] == "ReadsArchive"
    assert [(s["Action"], s["Resource"]) for s in statements(archive)] == [
        ("s3:ListBucket", {"Ref": "CloudTrailBucketArn"}),
        ("s3:GetObject", {"Fn::Sub": "${CloudTrailBucketArn}/*"}),
    ]
    attached = [reference["Ref"] for reference in role["ManagedPolicyArns"] if "Ref" in reference]
    assert attached == sorted(policies) and len(attached) <= 9
    granted = [action for document in policies.values() for s in statements(document) for action in s["Action"]]
    assert len(granted) == len(set(granted)) and not [action for action in granted if "*" in action]
    assert all(compact(document) <= 6144 for document in policies.values())
    printed = json.loads(cli(fleetscan, "policy", "--profile", profile, "--json"))
    assert sorted(granted) == sorted(action for document in printed for s in statements(document) for action in s["Action"])
    assert set(granted) <= catalogue_actions() - {"sts:AssumeRole"}


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("role-*.yaml")), ids=lambda path: path.name)
def test_a_role_has_the_parameters_that_its_page_promises(path):
    template = cfnlint.decode.cfn_yaml.load(str(path))
    external_id = template["Parameters"]["ExternalId"]
    assert (external_id["NoEcho"], external_id["MinLength"], external_id["MaxLength"]) == (True, 16, 64)
    assert template["Parameters"]["RoleName"]["Default"] == "SecurityV0ReadOnly"
    assert template["Parameters"]["CloudTrailBucketArn"]["Default"] == ""
    assert template["Outputs"]["RoleArn"]["Value"] == {"Fn::GetAtt": ["Role", "Arn"]}
    profile = tomllib.loads((ROOT / "proto" / "profiles" / f"{path.stem.removeprefix('role-')}.toml").read_text())
    assert f"Profile {profile['name']} version {profile['version']}" in template["Description"]


def test_minimal_grants_exactly_four_actions(fleetscan):
    [document] = json.loads(cli(fleetscan, "policy", "--profile", "minimal", "--json"))
    granted = sorted(action for s in statements(document) for action in s["Action"])
    assert granted == ["ec2:DescribeInstances", "ec2:DescribeRegions", "s3:ListAllMyBuckets", "sts:GetCallerIdentity"]


def test_the_agreed_grant_is_without_ec2(fleetscan):
    documents = json.loads(cli(fleetscan, "policy", "--profile", "securityv0", "--json"))
    granted = [action for document in documents for s in statements(document) for action in s["Action"]]
    assert not [action for action in granted if action.startswith(("ec2:", "account:"))]
    assert {"iam:ListUsers", "lambda:ListFunctions", "s3:GetBucketPolicy", "secretsmanager:ListSecrets"} <= set(granted)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_session_policy_fits_and_denies_what_wildcards_would_let_in(fleetscan, profile):
    [document] = json.loads(cli(fleetscan, "policy", "--profile", profile, "--of", "session", "--json"))
    assert compact(document) <= 2048
    wild = [a for s in statements(document) if s["Effect"] == "Allow" for a in s["Action"] if a.endswith("*")]
    denied = [a for s in statements(document) if s["Effect"] == "Deny" for a in s["Action"]]
    reaches = lambda action: any(action.startswith(w[:-1]) for w in wild)
    for action in ("secretsmanager:GetSecretValue", "ssm:GetParameter", "dynamodb:GetItem", "s3:GetObject", "s3:ListBucket"):
        held = any(action == d or (d.endswith("*") and action.startswith(d[:-1])) for d in denied)
        assert held or not reaches(action), action


def test_the_hub_can_assume_roles_of_one_name_and_nothing_else(fleetscan):
    document = json.loads((DEPLOY / "hub-policy.json").read_text())
    assert [(s["Action"], s["Resource"]) for s in statements(document)] == [("sts:AssumeRole", "arn:aws:iam::*:role/SecurityV0ReadOnly")]
    other = json.loads(cli(fleetscan, "policy", "--of", "hub", "--role-name", "Other"))
    assert statements(other)[0]["Resource"] == "arn:aws:iam::*:role/Other"


def test_a_profile_of_ones_own_makes_a_role(fleetscan, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nversion = 3\ntitle = "Topics"\nservices = ["sns"]\n')
    assert "Profile own version 3: Topics." in cli(fleetscan, "template", "--profile", str(own))
    [document] = json.loads(cli(fleetscan, "policy", "--profile", str(own), "--json"))
    assert {a.split(":")[0] for s in statements(document) for a in s["Action"]} == {"sns", "sts"}
    own.write_text('name = "own"\nversion = 3\ntitle = "Topics"\nservices = ["snss"]\n')
    ended = subprocess.run([fleetscan, "catalogue", "template", "--profile", str(own)], capture_output=True, text=True)
    assert ended.returncode == 2 and "no snss in the catalogue" in ended.stderr, ended.stderr


FILE = 'service = "{id}"\ntitle = "x"\nprotocol = "json-1.1"\ntarget_prefix = "T"\nscope = "regional"\n[[limit]]\ngroup = "g"\nrate = 1\nsource = "s"\n[[operation]]\nname = "{name}"\n'


def check(fleetscan, *files):
    return subprocess.run([fleetscan, "catalogue", "check", *map(str, files)], capture_output=True, text=True)


@pytest.mark.parametrize("service, name", [("secretsmanager", "GetSecretValue"), ("iam", "CreateUser"), ("dynamodb", "Scan"), ("ssm", "GetParameters")])
def test_check_refuses_what_can_never_be_called(fleetscan, tmp_path, service, name):
    file = tmp_path / f"{service}.toml"
    file.write_text(FILE.format(id=service, name=name))
    ended = check(fleetscan, file)
    assert ended.returncode == 2 and f"{service}:{name} can never be called" in ended.stderr, ended.stderr
    file.write_text(FILE.format(id=service, name="ListThings"))
    assert check(fleetscan, file).returncode == 0


def test_check_refuses_a_catalogue_whose_session_policy_aws_would_not_take(fleetscan, tmp_path):
    files = []
    for n in range(130):
        files.append(tmp_path / f"s{n}.toml")
        files[-1].write_text(FILE.format(id=f"a-service-called-{n:03}", name="ListThings"))
    assert check(fleetscan, *files[:20]).returncode == 0
    ended = check(fleetscan, *files)
    assert ended.returncode == 2 and "AWS takes 2048" in ended.stderr, ended.stderr


def test_the_built_in_catalogue_and_its_profiles_are_sound(fleetscan):
    assert check(fleetscan).returncode == 0
