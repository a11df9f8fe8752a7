"""`results diff`: two scans of moto with changes between, and of a simulated AWS that denies more the second time."""

import json
import os
import pathlib
import subprocess

import accounts
import pytest
import scanning
import simulated

ACCOUNT = accounts.number(900)
REGION = "eu-west-1"


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


class Moto:
    """Scans one account of moto again and again into one folder."""

    def __init__(self, fleetscan, url, folder):
        self.fleetscan, self.folder = fleetscan, folder
        self.file = accounts.write_file(folder / "accounts.toml", [ACCOUNT])
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {
            **kept, "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub",
            "AWS_EC2_METADATA_DISABLED": "true", "FLEETSCAN_OUT": str(folder / "out"), "FLEETSCAN_DATA": str(folder / "data"),
        }

    def run(self, *command, ok=(0,)):
        done = subprocess.run([self.fleetscan, *command], env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode in ok, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    def scan(self):
        flags = ["--new", "--share", "1", "--json", "--regions", REGION, "--services", "secretsmanager,iam"]
        return json.loads(self.run("scan", "--accounts", str(self.file), *flags, ok=(0, 3)).stdout)["id"]


@pytest.fixture(scope="module")
def changed(fleetscan, moto, tmp_path_factory):
    """A secret deleted, one added, one with another tag and policy, and one left alone, between two scans."""
    scanner = Moto(fleetscan, moto, tmp_path_factory.mktemp("diff"))
    secrets = accounts.session(moto, ACCOUNT, REGION).client("secretsmanager")
    kept = secrets.create_secret(Name="kept", SecretString="x", Tags=[{"Key": "team", "Value": "red"}])["ARN"]
    gone = secrets.create_secret(Name="gone", SecretString="x")["ARN"]
    secrets.create_secret(Name="still", SecretString="x")
    scanner.first = scanner.scan()
    secrets.delete_secret(SecretId=gone, ForceDeleteWithoutRecovery=True)
    scanner.new = secrets.create_secret(Name="new", SecretString="x")["ARN"]
    secrets.tag_resource(SecretId=kept, Tags=[{"Key": "team", "Value": "blue"}])
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}
    secrets.put_resource_policy(SecretId=kept, ResourcePolicy=json.dumps(policy))
    scanner.second = scanner.scan()
    scanner.kept, scanner.gone = kept, gone
    return scanner


def secrets(found):
    return {(o["change"], o["id"]): o for o in found if o.get("type") == "AWS::SecretsManager::Secret"}


def test_added_removed_and_changed_are_told_apart(changed):
    # moto dates the versions of secrets anew whenever it is asked.
    found = lines(changed.run("results", "diff", "--json", "--service", "secretsmanager", "--ignore", "properties.Versions"))
    mine = secrets(found)
    assert set(mine) == {("changed", changed.kept), ("removed", changed.gone), ("added", changed.new)}
    properties = {p["path"]: p for p in mine["changed", changed.kept]["properties"]}
    assert (properties["tags.team"]["before"], properties["tags.team"]["after"]) == ("red", "blue")
    assert any("Policy" in path for path in properties), properties
    assert found[-1]["change"] == "summary" and (found[-1]["a"], found[-1]["b"]) == (changed.first, changed.second)


def test_a_scan_differs_in_nothing_from_itself(changed):
    (summary,) = lines(changed.run("results", "diff", changed.first, changed.first, "--json"))
    assert [summary[k] for k in ("added", "removed", "changed", "unknown")] == [0, 0, 0, 0]


def test_paths_can_be_ignored_and_lines_limited(changed):
    found = lines(changed.run("results", "diff", "--json", "--service", "secretsmanager", "--ignore", "tags.team", "--ignore", "properties"))
    assert set(secrets(found)) == {("removed", changed.gone), ("added", changed.new)}
    text = changed.run("results", "diff", "--service", "secretsmanager", "--limit", "1").stdout
    assert "AWS::SecretsManager::Secret" in text and "more: --limit" in text


def test_a_part_that_was_altered_is_an_error(changed, tmp_path):
    part = next((pathlib.Path(changed.folder) / "out" / f"scan={changed.second}").rglob("cell_service=secretsmanager/part-*"))
    whole = part.read_bytes()
    part.chmod(0o600)
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        done = changed.run("results", "diff", "--service", "secretsmanager", ok=(1,))
    finally:
        part.write_bytes(whole)
    assert "SHA-256" in done.stderr and part.name in done.stderr


def test_what_a_later_scan_may_not_read_is_unknown_and_not_removed(fleetscan, tmp_path):
    aws = simulated.Simulated(fleetscan, tmp_path, "--accounts", "2", "--world", "lambda:ListFunctions=5,sns:ListTopics=3")
    try:
        scanner = scanning.Scanner(fleetscan, aws, tmp_path, tmp_path / "out")
        scope = ("--services", "lambda,sns", "--regions", "us-east-1,eu-west-1")
        scanner.scan(*scope)
        denied = aws.accounts[0]["id"]
        aws.do("detach_actions", account=denied, actions=["lambda:ListFunctions"])
        scanner.scan(*scope)
        found = lines(scanner.run("results", "diff", "--json"))
        functions = [o for o in found if o.get("type") == "AWS::Lambda::Function"]
        assert functions and {(o["change"], o["account"], o["only_in"]) for o in functions} == {("unknown", denied, "A")}
        assert found[-1]["removed"] == 0 and found[-1]["unknown"] >= len(functions)
        back = lines(scanner.run("results", "diff", found[-1]["b"], found[-1]["a"], "--json"))
        assert back[-1]["added"] == 0 and back[-1]["unknown"] == found[-1]["unknown"]
        # A narrower scan says nothing of what is beyond it.
        scanner.scan("--services", "sns", "--regions", "us-east-1")
        last = lines(scanner.run("results", "diff", "--json"))[-1]
        assert last["removed"] == 0 and last["cells_only_in_a"] > 0
    finally:
        aws.end()
