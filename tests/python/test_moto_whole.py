"""Every operation of the catalogue once against answers that this project did not write: moto's where moto has the
operation, else answers made of botocore's output shapes (see shaped.py). Ids are those that boto3 lists."""

import json
import os
import subprocess
import tomllib

import accounts
import check_catalogue
import listing
import listing_shaped
import pytest
import results
import seed
import seed_whole
import shaped

ACCOUNT = accounts.number(800)
REGIONS = ["us-east-1", "eu-west-1"]
FILES = {path.stem: tomllib.loads(path.read_text()) for path in check_catalogue.paths()}
OPERATIONS = {(service, o["name"]): o for service, file in FILES.items() for o in file["operation"] if "from" not in o}

# Operations that these scans do not call, and why.
NOT_CALLED = {
    ("sts", "GetAccessKeyInfo"): "no scan asks whose an access key is",
    ("ssm", "GetResourcePolicies"): "moto tells no parameter's ARN, by which it is asked for",
    ("account", "GetRegionOptStatus"): "the probe asks ListRegions, which tells it of all regions at once",
}
# moto has code for these, and no way to make what they would tell of.
NEVER_THERE = {
    ("ecs", "DescribeCapacityProviders"): "moto wants names, which AWS does not ask for: HTTP 500",
}
# Record types that are not held against a list.
UNLISTED = {
    "AWS::CloudTrail::Event": "what happened, and no resource",
    "AWS::EC2::Tag": "of every resource, which has its tags itself",
    "AWS::Config::AggregatedResource": "what another account's recorder saw",
}
# Told a second time by an operation that is to be asked for.
TWICE = {"AWS::CloudTrail::Trail"}
# What stands in for others where they are denied: these are denied, and then those are called.
DENIED = {("iam", "GetAccountAuthorizationDetails"), ("lambda", "GetFunction"), ("account", "ListRegions")}
DENIED_TOO = DENIED | {("iam", "GetUser"), ("iam", "GetRole")}


def profile():
    """Everything, what is to be asked for included."""
    asked_for = [f"{s}:{n}" for (s, n), o in OPERATIONS.items() if (o.get("opt_in") or o.get("probe") or not FILES[s].get("cells", True)) and s != "sts"]
    return f'name = "everything"\nversion = 1\ntitle = "Everything"\ncategories = ["*"]\noperations = {json.dumps(asked_for)}\n'


@pytest.fixture(scope="module")
def aws(moto):
    server = shaped.Aws(moto, FILES)
    account = accounts.session(moto, ACCOUNT)
    seed.account(account, ACCOUNT, 0, REGIONS)
    seed_whole.account(account, ACCOUNT, REGIONS)
    yield server
    server.end()


def scan_of(aws, fleetscan, folder, *more):
    (folder / "everything.toml").write_text(profile())
    file = accounts.write_file(folder / "accounts.toml", [ACCOUNT])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    hub = {"AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [fleetscan, "scan", "--accounts", file, "--out", folder / "out", "--data", folder / "data", "--share", "1", "--json",
               "--regions", ",".join(REGIONS), "--profile", folder / "everything.toml", *more]
    ended = subprocess.run(list(map(str, command)), env={**kept, **hub}, capture_output=True, text=True, timeout=600)
    assert ended.returncode in (0, 3), ended.stderr[-3000:]
    return results.Scan(folder / "out")


@pytest.fixture(scope="module")
def scan(aws, fleetscan, tmp_path_factory):
    """Everything that may be called, called."""
    return scan_of(aws, fleetscan, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def narrow(aws, scan, fleetscan, tmp_path_factory):
    """Two more scans, of roles that lack what tells most at once."""
    try:
        found = []
        for aws.denied in (DENIED, DENIED_TOO):
            found.append(scan_of(aws, fleetscan, tmp_path_factory.mktemp("narrow"), "--services", "iam,lambda"))
        return found
    finally:
        aws.denied = set()


@pytest.fixture(scope="module")
def scanned(aws, scan, narrow):
    """What the scanner asked in all scans: calls by operation."""
    found = {}
    for asked in aws.asked:
        if "Boto3" not in asked.agent:
            found.setdefault((asked.service, asked.operation), []).append(asked)
    return found


def test_every_operation_that_moto_has_is_called_and_answered(scanned):
    has = {key for key in OPERATIONS if shaped.implements(*key)}
    assert len(has) >= 251
    assert NEVER_THERE.keys() <= has
    never_called = sorted(has - scanned.keys() - NOT_CALLED.keys())
    assert not never_called, str(never_called)
    answered = {key for key in has & scanned.keys() if any(asked.status < 300 for asked in scanned[key])}
    assert answered.isdisjoint(NEVER_THERE), "the list of exceptions is too long"
    never_answered = sorted(has - answered - NOT_CALLED.keys() - NEVER_THERE.keys())
    assert not never_answered, str(never_answered)


def test_every_operation_that_moto_lacks_is_called_and_answered_by_its_shape(scanned):
    lacks = {key for key in OPERATIONS if not shaped.implements(*key)}
    never_called = sorted(lacks - scanned.keys() - NOT_CALLED.keys())
    assert not never_called, str(never_called)
    assert {asked.status for key in (lacks & scanned.keys()) - DENIED for asked in scanned[key]} == {200}


def test_nothing_failed_but_what_moto_answers_with_an_error_of_its_own(scan):
    failed = {(c["service"], part.split(":")[0].strip()) for c in scan.ledger if c.get("error") for part in c["error"].split(";")}
    assert failed == {("ecs", "DescribeCapacityProviders")}, failed


def test_the_ids_of_every_record_type_are_those_that_boto3_lists(aws, scan, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    session = accounts.session(aws.url, ACCOUNT)
    expected = listing.everything(session, ACCOUNT, REGIONS) | listing_shaped.of_account(session, ACCOUNT)
    for region in REGIONS:
        expected |= {(region, kind): sorted(ids) for kind, ids in listing_shaped.of_region(session, region, ACCOUNT).items() if ids}
    found = {}
    for record in scan.records():
        ids = found.setdefault((record["region"], record["type"]), [])
        if record["type"] not in TWICE or record["id"] not in ids:
            ids.append(record["id"])
    unasked = sorted({kind for _, kind in found} - {kind for _, kind in expected} - UNLISTED.keys())
    differing = [key for key in sorted(expected.keys() | found.keys()) if sorted(found.get(key, [])) != expected.get(key, []) and key[1] not in (*unasked, *UNLISTED)]
    assert not unasked, f"types that boto3 was not asked for: {unasked}; and differing: {differing}"
    assert not differing, str({key: (found.get(key), expected.get(key)) for key in differing})


def test_a_role_that_lacks_what_tells_most_at_once_is_asked_for_the_same_piece_by_piece(scan, narrow):
    kinds = {"AWS::IAM::User", "AWS::IAM::Role", "AWS::IAM::Group", "AWS::IAM::ManagedPolicy", "AWS::Lambda::Function"}
    ids = lambda of: sorted((r["region"], r["type"], r["id"]) for r in of.records() if r["type"] in kinds)
    assert {kind for _, kind, _ in ids(scan)} == kinds
    for narrower in narrow:
        assert ids(narrower) == ids(scan)
        denied = {d["action"] for cell in narrower.ledger for d in cell["denied"]}
        assert {"iam:GetAccountAuthorizationDetails", "lambda:GetFunction"} <= denied, "denied is not empty"
        [role] = [r["properties"] for r in narrower.records() if r["id"].endswith(":role/app-0")]
        assert "s3:ListAllMyBuckets" in json.dumps(role), "the policy within the role is read by itself"


def test_what_shapes_answer_is_in_the_records(scan, scanned):
    """Of each answer that moto did not give, something stands in a record: no call is made for nothing."""
    # What these tell is only whom to ask next, or is asked for by name.
    only_asks = {("iam", "GenerateServiceLastAccessedDetails"), ("eks", "ListIdentityProviderConfigs"), ("config", "DescribeComplianceByConfigRule"),
                 ("account", "ListRegions"),
                 # Of events is kept who did what last; test_activity has documents that tell.
                 ("cloudtrail", "LookupEvents")}
    whole = json.dumps(list(scan.records()))
    lost = {}
    for key, calls in scanned.items():
        if not shaped.implements(*key) and key not in only_asks:
            seen = [any(text in whole for text in asked.answer) for asked in calls if asked.answer]
            if seen and not all(seen):
                lost[key] = f"{seen.count(False)} of {len(seen)}"
    assert not lost, str(lost)
