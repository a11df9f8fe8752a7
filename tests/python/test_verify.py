"""`accounts verify` on roles of every kind: a good one, one that ignores its ExternalId, one that lacks or grants too much."""

import contextlib
import datetime
import json
import os
import sqlite3
import subprocess
import time

import accounts
import fleet
import pytest
import simulated

ADMINISTRATOR = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class World:
    def __init__(self, fleetscan, folder):
        self.fleetscan, self.folder = fleetscan, folder
        self.aws = simulated.Simulated(fleetscan, folder, "--accounts", "6", "--world", "lambda:ListFunctions=1;regions=1", "--limits", "off")
        hub = self.aws.get("hub")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {
            **kept, "AWS_ENDPOINT_URL": self.aws.url, "AWS_ACCESS_KEY_ID": hub["access_key_id"], "AWS_SECRET_ACCESS_KEY": hub["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true", "FLEETSCAN_KEY": fleet.KEY, "FLEETSCAN_DATA": str(folder / "data"),
            # No worker calls beside it.
            "FLEETSCAN_VERIFY_SHARE": "1",
        }
        self.ids = [account["id"] for account in self.aws.accounts]

    def run(self, *command, **more):
        return self.fleetscan_run("accounts", *command, **more)

    def fleetscan_run(self, *command, ok=(0,), timeout=120):
        ended = subprocess.run([self.fleetscan, *map(str, command)], env=self.environment, capture_output=True, text=True, timeout=timeout, cwd=self.folder)
        assert ended.returncode in ok, f"{command}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        secrets = [account[key] for account in self.aws.accounts for key in ("external_id", "role_arn")]
        assert not any(secret in ended.stdout + ended.stderr for secret in secrets)
        return ended

    def verify(self, account, *flags, exit):
        (found,) = json.loads(self.run("verify", account, "--json", *flags, ok=(exit,)).stdout)
        return found

    def status(self, account):
        return json.loads(self.run("show", account, "--history", "--json").stdout)

    def kinds(self, found):
        return {finding["kind"]: finding for finding in found["findings"]}


@pytest.fixture
def world(fleetscan, tmp_path):
    world = World(fleetscan, tmp_path)
    world.run("import", tmp_path / "accounts.toml")
    yield world
    world.aws.end()


def test_a_good_role_is_fine_and_its_account_active(world):
    account = world.ids[0]
    assert world.status(account)["status"] == "pending"
    found = world.verify(account, exit=0)
    assert found["standing"] == "fine" and found["lets_in"] and found["refused_without_external_id"] and found["refused_with_wrong_external_id"]
    assert found["rights"]["allowed"] > 100 and not found["rights"]["lacking"]
    assert world.status(account)["status"] == "active"
    told = world.run("verify", account).stdout
    assert "refused, as it should be" in told and "fine" in told and "service control policies" in told
    changes = world.status(account)["history"]
    assert [c["evidence"].get("act") for c in changes][-1] == "verify" and changes[-1]["evidence"]["found"] == "fine"


def test_all_connected_accounts_are_looked_at(world):
    found = json.loads(world.run("verify", "--json").stdout)
    assert [one["id"] for one in found] == sorted(world.ids)
    assert all(world.status(account)["status"] == "active" for account in world.ids)
    assert world.run("verify", "111122223333", ok=(2,)).stderr.count("not connected") == 1


def test_a_role_that_ignores_its_external_id_is_a_confused_deputy(world):
    account = world.ids[1]
    world.aws.do("ignore_external_id", account=account, on=True)
    found = world.verify(account, exit=3)
    assert found["refused_without_external_id"] is False and found["refused_with_wrong_external_id"] is False
    hole = world.kinds(found)["external_id_ignored"]
    assert hole["severity"] == "critical" and "confused deputy" in hole["says"] and "sts:ExternalId" in hole["fix"]
    assert "LET IN" in world.run("verify", account, ok=(3,)).stdout
    assert world.status(account)["status"] == "active", "it does let us in"
    calls = world.aws.get("counters")["accounts"][account]
    assert calls["calls"] > 0


def test_what_the_role_lacks_is_named(world):
    account = world.ids[2]
    world.aws.do("detach_actions", account=account, actions=["lambda:GetPolicy", "sns:*"])
    found = world.verify(account, exit=3)
    assert "lambda:GetPolicy" in found["rights"]["lacking"] and "sns:ListTopics" in found["rights"]["lacking"]
    assert world.kinds(found)["lacking"]["severity"] == "medium"
    world.aws.do("detach_actions", account=account, actions=["iam:GetRole"])
    found = world.verify(account, exit=3)
    assert found["rights"] is None and "iam:GetRole" in found["rights_unknown"], "what may not be read is said so"
    assert world.kinds(found)["lacking"]["actions"] == ["iam:GetRole"] and found["standing"] == "holes"


def test_a_role_without_any_policy_is_not_fine(world):
    account = world.ids[0]
    world.aws.do("detach_actions", account=account, actions=["iam:*"])
    found = world.verify(account, exit=3)
    assert found["lets_in"] and found["standing"] == "holes" and world.kinds(found)["lacking"]["severity"] == "medium"
    assert "iam:GetRole" in world.run("verify", account, ok=(3,)).stdout


def test_everything_within_fleetscans_own_boundary_is_only_reading(world):
    account = world.ids[3]
    boundary = json.loads(world.fleetscan_run("catalogue", "policy", "--of", "boundary").stdout)
    world.aws.do("attach_policy", account=account, name="AdministratorAccess", document=ADMINISTRATOR)
    world.aws.do("bound_role", account=account, document=boundary)
    assert set(world.kinds(world.verify(account, exit=0))) == {"reading"}


def test_each_look_is_noted_when_it_ends_and_not_when_those_before_it_do(world):
    first, *others = sorted(world.ids)
    world.aws.do("settle_role", account=first, seconds=6)
    found = json.loads(world.run("verify", "--json").stdout)
    assert [one["id"] for one in found] == [first, *others] and found[0]["waited_seconds"] > 4
    noted = {account: datetime.datetime.fromisoformat(world.status(account)["history"][-1]["at"]) for account in world.ids}
    assert all((noted[first] - noted[other]).total_seconds() > 2 for other in others), noted


def test_what_cannot_be_noted_is_told_all_the_same(world):
    (database,) = (world.folder / "data").glob("*.db")
    broken = sorted(world.ids)[1]
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO history VALUES (?, 99, 'no change')", [broken])
    ended = world.run("verify", "--json", ok=(1,))
    assert [one["standing"] for one in json.loads(ended.stdout)] == ["fine"] * 6
    assert [line for line in ended.stderr.splitlines() if "not in the registry" in line][0].startswith(f"account {broken}")
    assert all(world.status(account)["history"][-1]["evidence"]["act"] == "verify" for account in world.ids if account != broken)


def test_a_paused_account_is_left_alone(world):
    account = world.ids[2]
    world.run("pause", account)
    assert "resume" in world.run("verify", account, ok=(2,)).stderr
    ended = world.run("verify", "--json")
    assert account not in {one["id"] for one in json.loads(ended.stdout)} and "1 account left out: paused" in ended.stderr
    assert not world.aws.get("counters")["accounts"].get(account, {}).get("calls")
    assert world.status(account)["status"] == "paused"
    world.run("resume", account)
    world.verify(account, exit=0)


def test_what_is_switched_off_is_not_called(world):
    account = world.ids[0]
    world.fleetscan_run("switch", "off", "iam", "--reason", "AWS asked")
    found = world.verify(account, exit=3)
    assert found["lets_in"] and "AWS asked" in found["rights_unknown"] and set(world.kinds(found)) == {"policies_unread"}
    assert not any(name.startswith("iam:") for name in world.aws.get("counters")["operations"])
    world.fleetscan_run("switch", "on", "iam")
    world.verify(account, exit=0)


def test_what_the_role_grants_beyond_need_is_named_by_severity(world):
    account = world.ids[3]
    world.aws.do("attach_policy", account=account, name="AdministratorAccess", document=ADMINISTRATOR)
    found = world.verify(account, exit=3)
    assert world.kinds(found)["administrator"]["policies"] == ["AdministratorAccess"]
    other = world.ids[4]
    allow = {"Effect": "Allow", "Action": ["iam:PassRole", "s3:Get*", "EC2:runinstances", "sns:List*"], "Resource": "*"}
    world.aws.do("attach_policy", account=other, name="Team", document={"Version": "2012-10-17", "Statement": allow})
    kinds = world.kinds(world.verify(other, exit=3))
    assert {k: f["severity"] for k, f in kinds.items()} == {"escalation": "critical", "secrets": "high", "writing": "high", "reading": "low"}
    assert kinds["escalation"]["actions"] == ["iam:PassRole"] and kinds["secrets"]["actions"] == ["s3:GetObject*"]
    boundary = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["*:Get*", "*:List*", "*:Describe*", "*:BatchGet*", "iam:Generate*", "cloudtrail:LookupEvents"], "Resource": "*"},
        {"Effect": "Deny", "Action": ["s3:GetObject*"], "Resource": "*"},
    ]}
    world.aws.do("bound_role", account=other, document=boundary)
    kinds = world.kinds(world.verify(other, exit=0))
    assert set(kinds) <= {"reading"}, "what the boundary takes away is not granted"


def test_reading_a_buckets_log_files_is_no_excess_where_that_bucket_is_named(world):
    account = world.ids[1]
    resources = ["arn:aws:s3:::its-logs", "arn:aws:s3:::its-logs/org/AWSLogs/*"]
    allow = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": resources}
    world.aws.do("attach_policy", account=account, name="CloudTrailLogs", document={"Version": "2012-10-17", "Statement": allow})
    for flags in [(), ("--cloudtrail-bucket-name", "other-logs")]:
        found = world.kinds(world.verify(account, *flags, exit=3))
        assert found["secrets"]["actions"] == ["s3:GetObject", "s3:ListBucket"] and found["secrets"]["policies"] == ["CloudTrailLogs"], flags
    assert set(world.kinds(world.verify(account, "--cloudtrail-bucket-name", "its-logs/org", exit=0))) == {"reading"}
    # What the registry has of the account goes before what the operator says of all.
    world.run("update", account, "--cloudtrail-bucket", "none")
    assert "secrets" in world.kinds(world.verify(account, "--cloudtrail-bucket-name", "its-logs/org", exit=3))
    world.run("update", account, "--cloudtrail-bucket", "its-logs/org")
    assert set(world.kinds(world.verify(account, "--cloudtrail-bucket-name", "other-logs", exit=0))) == {"reading"}


def test_a_deleted_role_cannot_be_looked_at_and_is_not_marked(world):
    account = world.ids[5]
    world.verify(account, exit=0)
    world.aws.do("delete_role", account=account)
    found = world.verify(account, "--wait", "1s", exit=1)
    assert found["standing"] == "cannot" and "AccessDenied" in found["cannot"] and found["refused_without_external_id"] is None
    assert found["denied_tries"] >= 1
    shown = world.status(account)
    assert shown["status"] == "active" and shown["history"][-1]["evidence"]["found"] == "cannot"


def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(world):
    account = world.ids[0]
    world.aws.do("settle_role", account=account, seconds=4)
    began = time.monotonic()
    found = world.verify(account, exit=0)
    assert 3 < time.monotonic() - began < 40 and found["waited_seconds"] > 3 and found["standing"] == "fine"


def test_the_share_holds_from_the_first_call_on(world):
    """A worker may have emptied AWS's buckets a moment ago: nothing of a burst is taken to be left."""
    began = time.monotonic()
    world.verify(world.ids[0], "--share", "0.05", exit=0)
    # Three operations with a bucket of fifteen calls a second each, one after the other.
    assert time.monotonic() - began > 3 / (15 * 0.05)


def test_our_own_side_that_is_broken_says_nothing_of_roles(world):
    account = world.ids[0]
    world.verify(account, exit=0)
    for how, word in [("policy_lost", "our own identity"), ("mistrusted", "AssumeRole was denied")]:
        world.aws.do("break_hub", how=how)
        found = world.verify(account, "--wait", "0s", exit=1)
        assert word in found["cannot"] and world.status(account)["status"] == "active"


def test_the_accounts_of_a_file_need_no_registry_and_no_key(world, tmp_path):
    environment = dict(world.environment)
    del environment["FLEETSCAN_KEY"]
    environment["FLEETSCAN_DATA"] = str(tmp_path / "other")
    command = [world.fleetscan, "accounts", "verify", "--file", str(tmp_path / "accounts.toml"), world.ids[2], "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and json.loads(ended.stdout)[0]["id"] == world.ids[2], ended.stderr


def test_the_roles_of_a_file_say_nothing_of_connected_accounts(world, tmp_path):
    account = world.ids[2]
    found = json.loads(world.run("verify", "--file", tmp_path / "accounts.toml", account, "--json").stdout)
    assert found[0]["lets_in"]
    shown = world.status(account)
    assert shown["status"] == "pending" and [change["evidence"]["act"] for change in shown["history"]] == ["connect"]


def test_a_profile_that_does_not_read_iam_is_not_read_beyond(world, tmp_path):
    command = [world.fleetscan, "accounts", "verify", "--file", str(tmp_path / "accounts.toml"), "--profile", "minimal", world.ids[2], "--json"]
    ended = subprocess.run(command, env=world.environment, capture_output=True, text=True, timeout=60)
    (found,) = json.loads(ended.stdout)
    assert found["rights"] is None and "does not read IAM" in found["rights_unknown"]
    asked = world.aws.get("counters")["operations"]
    assert not any(name.startswith("iam:") for name in asked)


def test_against_an_iam_that_this_project_did_not_write(moto, fleetscan, tmp_path):
    """moto lets everybody assume every role, which is a confused deputy; and its IAM has real documents of policies."""
    account = accounts.number(77)
    iam = accounts.session(moto, account).client("iam", region_name="us-east-1")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    file = accounts.write_file(tmp_path / "accounts.toml", [account])
    role = file.read_text().split("role/")[1].split('"')[0].rsplit("/")[-1]
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
    mine = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["lambda:List*", "kms:Decrypt"], "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="inline", PolicyDocument=json.dumps(mine))
    arn = iam.create_policy(PolicyName="attached", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sns:ListTopics", "Resource": "arn:aws:sns:*:*:x"}}))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    environment |= {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub", "AWS_EC2_METADATA_DISABLED": "true", "FLEETSCAN_VERIFY_SHARE": "1"}
    command = [fleetscan, "accounts", "verify", "--file", str(file), "--data", str(tmp_path / "data"), "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 3, ended.stderr
    (found,) = json.loads(ended.stdout)
    kinds = {finding["kind"]: finding for finding in found["findings"]}
    assert kinds["external_id_ignored"]["severity"] == "critical"
    assert kinds["secrets"]["actions"] == ["kms:Decrypt"] and kinds["secrets"]["policies"] == ["inline"]
    assert "sns:ListTopics" in found["rights"]["some_resources"] and "iam:ListUsers" in found["rights"]["lacking"]
    assert "lambda:ListFunctions" not in found["rights"]["lacking"]
