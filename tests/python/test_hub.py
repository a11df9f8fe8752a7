"""Who fleetscan is in AWS and how it gets there: a role of its own, a proxy, a private authority, FIPS endpoints, a second STS.

AWS's own host names are used throughout; the proxy leads them all to the simulated AWS."""

import json
import os
import pathlib
import subprocess

import botocore
import pytest
import results
import simulated
import tunnel

ROOT = pathlib.Path(__file__).resolve().parents[2]


class World:
    """A simulated AWS that only a proxy leads to."""

    def __init__(self, fleetscan, folder):
        self.fleetscan, self.folder = fleetscan, folder
        self.aws = simulated.Simulated(fleetscan, folder, "--accounts", "3", "--world", "lambda:ListFunctions=3;regions=3", "--limits", "off")
        self.authority = tunnel.Authority(folder)
        self.proxy = tunnel.Tunnel(self.authority, self.aws.url)
        self.hub = self.aws.get("hub")

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_")) and "proxy" not in k.lower()}
        return {
            **kept, "AWS_ACCESS_KEY_ID": self.hub["access_key_id"], "AWS_SECRET_ACCESS_KEY": self.hub["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(self.folder), **more,
        }

    def run(self, *command, **environment):
        return subprocess.run([self.fleetscan, *map(str, command)], env=self.environment(**environment), capture_output=True, text=True, timeout=180, cwd=self.folder)

    def doctor(self, *flags, **environment):
        """What the doctor says of the hub."""
        ended = self.run("doctor", "--json", "--out", self.folder / "doctor", "--data", self.folder / "data", *flags, **environment)
        if not ended.stdout:
            return ended.returncode, ended.stderr
        found = {check["check"]: check for check in json.loads(ended.stdout)}
        return found["hub"]["ok"], found["hub"]["says"]

    def through(self, **more):
        return {"FLEETSCAN_PROXY": f"http://{self.proxy.address}", "AWS_CA_BUNDLE": str(self.authority.file), **more}

    def scan(self, name, *flags, **environment):
        out = self.folder / name
        ended = self.run("scan", "--accounts", self.folder / "accounts.toml", "--out", out, "--data", self.folder / f"{name}-data", "--share", "1", "--json", *flags, **environment)
        assert ended.returncode in (0, 3), ended.stderr
        return results.Scan(out), json.loads(ended.stdout), ended


@pytest.fixture
def world(fleetscan, tmp_path):
    world = World(fleetscan, tmp_path)
    yield world
    world.proxy.end()
    world.aws.end()


def test_the_role_of_its_own_is_assumed_first_with_its_external_id(world):
    direct = {"AWS_ENDPOINT_URL": world.aws.url, "FLEETSCAN_HUB_ROLE": world.hub["role_arn"]}
    world.aws.do("break_hub", how="role_only")
    ok, says = world.doctor(**direct, FLEETSCAN_HUB_EXTERNAL_ID=world.hub["external_id"])
    assert ok and "assumed-role/fleetscan-hub-role/SecurityV0-Connector-" in says, says
    file = world.folder / "external-id"
    file.write_text(world.hub["external_id"] + "\n")
    scan, printed, _ = world.scan("role", "--regions", "us-east-1", "--services", "lambda", "--hub-external-id-file", file, **direct)
    assert printed["exit"] == 0 and {c["outcome"] for c in scan.ledger} == {"complete"}
    _, printed, _ = world.scan("without", "--regions", "us-east-1", "--services", "lambda", AWS_ENDPOINT_URL=world.aws.url)
    assert printed["exit"] == 3, "without its role the hub is let in nowhere"


def test_a_role_of_its_own_that_is_lost_marks_nobody(world):
    direct = {"AWS_ENDPOINT_URL": world.aws.url, "FLEETSCAN_HUB_ROLE": world.hub["role_arn"], "FLEETSCAN_HUB_EXTERNAL_ID": world.hub["external_id"]}
    world.scan("before", "--regions", "us-east-1", "--services", "lambda", **direct)
    world.aws.do("break_hub", how="role_lost")
    ok, says = world.doctor(**direct)
    assert not ok and "--hub-role" in says and "AccessDenied" in says and world.hub["role_arn"] not in says, says
    ended = world.run("scan", "--accounts", world.folder / "accounts.toml", "--out", world.folder / "before", "--data", world.folder / "before-data", "--new", **direct)
    assert ended.returncode == 1 and "--hub-role" in ended.stderr and "revoked" not in ended.stderr
    ok, says = world.doctor(**{**direct, "FLEETSCAN_HUB_EXTERNAL_ID": "not-the-hubs-external-id"})
    assert not ok and "not-the-hubs" not in says


def test_a_proxy_a_private_authority_and_a_name_on_every_call(world):
    scan, printed, _ = world.scan("proxied", "--regions", "us-east-1", "--services", "lambda,iam", **world.through(AWS_EC2_METADATA_DISABLED="true"))
    assert printed["exit"] == 0, printed
    assert {"sts.us-east-1.amazonaws.com", "lambda.us-east-1.amazonaws.com", "iam.amazonaws.com"} <= world.proxy.hosts(), world.proxy.hosts()
    # The hub's AssumeRole, the catalogue's calls and the typed SDK's alike.
    version = world.run("--version").stdout.split()[1]
    assert all(agent.startswith(f"fleetscan/{version}") for _, agent, _ in world.proxy.requests), {a for _, a, _ in world.proxy.requests}
    assert any("aws-sdk-rust" in agent for host, agent, _ in world.proxy.requests if host == "iam.amazonaws.com")


def test_the_usual_variables_of_proxies_hold(world):
    usual = {"HTTPS_PROXY": f"http://fleet:p%40ss@{world.proxy.address}", "FLEETSCAN_CA_BUNDLE": str(world.authority.file)}
    ok, says = world.doctor(**usual)
    assert ok, says
    assert {authorization for _, _, authorization in world.proxy.requests} == {"Basic ZmxlZXQ6cEBzcw=="}
    before = len(world.proxy.requests)
    ok, says = world.doctor(**usual, NO_PROXY="sts.us-east-1.amazonaws.com", AWS_EC2_METADATA_DISABLED="true")
    assert not ok and len(world.proxy.requests) == before, "what NO_PROXY names is asked directly"


def test_an_authority_that_is_not_named_is_not_trusted(world):
    ok, says = world.doctor(FLEETSCAN_PROXY=f"http://{world.proxy.address}")
    assert not ok and "none that this machine trusts" in says and not world.proxy.requests


def test_what_cannot_be_a_way_is_said_before_anything_is_called(world):
    for environment, word in [
        ({"FLEETSCAN_PROXY": "socks5://u:hunter2@proxy:1"}, "proxy"),
        ({"AWS_CA_BUNDLE": str(world.folder / "accounts.toml")}, "PEM"),
        ({"AWS_CA_BUNDLE": "/nowhere.pem"}, "/nowhere.pem"),
        ({"FLEETSCAN_FIPS": "true", "AWS_ENDPOINT_URL": world.aws.url}, "AWS_ENDPOINT_URL"),
        ({"FLEETSCAN_FIPS": "1", "FLEETSCAN_STS_REGION": "eu-west-1"}, "no FIPS endpoint of STS in eu-west-1"),
        ({"FLEETSCAN_STS_REGION": "nowhere"}, "region"),
        ({"FLEETSCAN_HUB_ROLE": "arn:aws:iam::1:role/x"}, "12 digits"),
        ({"FLEETSCAN_HUB_ROLE": world.hub["role_arn"], "FLEETSCAN_HUB_EXTERNAL_ID": "short"}, "5 characters"),
    ]:
        ended = world.run("scan", "--accounts", world.folder / "accounts.toml", "--out", world.folder / "o", **environment)
        assert ended.returncode == 2 and word in ended.stderr and "hunter2" not in ended.stderr, (environment, ended.stderr)
    ended = world.run("scan", "--accounts", world.folder / "accounts.toml", "--proxy", "http://u:hunter2@proxy:1")
    assert ended.returncode == 2 and "FLEETSCAN_PROXY" in ended.stderr


def test_fips_endpoints_alone_and_where_there_is_none_a_hole(world):
    scan, printed, _ = world.scan("fips", "--regions", "us-east-1,eu-west-1", "--services", "lambda,iam", "--fips", **world.through())
    called = world.proxy.hosts()
    assert {"sts-fips.us-east-1.amazonaws.com", "lambda-fips.us-east-1.amazonaws.com", "iam-fips.amazonaws.com"} <= called
    assert all("fips" in host for host in called), called
    ended = {(c["region"], c["service"]): (c["outcome"], c.get("error") or "") for c in scan.ledger}
    assert ended["us-east-1", "lambda"][0] == "complete" and ended["global", "iam"][0] == "complete"
    outcome, error = ended["eu-west-1", "lambda"]
    assert outcome == "failed" and "no FIPS endpoint of lambda in eu-west-1" in error
    assert printed["exit"] == 3


def test_the_second_region_of_sts_stands_in(world):
    second = {"FLEETSCAN_STS_FALLBACK_REGION": "us-west-2", **world.through()}
    for broken in (world.proxy.away, world.proxy.ill):
        world.proxy.requests.clear()
        broken.add("sts.us-east-1.amazonaws.com")
        name = "away" if broken is world.proxy.away else "ill"
        scan, printed, ended = world.scan(name, "--regions", "us-east-1", "--services", "lambda", "-v", **second)
        # An account's own GetCallerIdentity is a customer's call, which fails over to nothing: it is tried again later.
        assert "sts.us-west-2.amazonaws.com" in world.proxy.hosts(), ended.stderr[-2000:]
        assert "hub.sts_away" in ended.stderr
        broken.clear()
    world.proxy.requests.clear()
    ok, says = world.doctor(**second)
    assert ok and world.proxy.hosts() == {"sts.us-east-1.amazonaws.com"}, "a whole first region is asked again"


def test_the_table_of_fips_endpoints_is_awss_own():
    listed = {tuple(line.split("\t")) for line in (ROOT / "worker/src/fips.tsv").read_text().splitlines() if not line.startswith("#")}
    endpoints = json.loads((pathlib.Path(botocore.__file__).parent / "data" / "endpoints.json").read_text())
    hosts = set()
    for partition in endpoints["partitions"]:
        usual = next(v["hostname"] for v in partition["defaults"]["variants"] if v["tags"] == ["fips"]) if partition["defaults"].get("variants") else None
        for service, described in partition["services"].items():
            own = next((v["hostname"] for v in described.get("defaults", {}).get("variants", []) if v["tags"] == ["fips"] and "hostname" in v), usual)
            for region, endpoint in described["endpoints"].items():
                if "-fips-" in region or region.startswith("fips-") or region.endswith("-fips"):
                    hosts.add(endpoint.get("hostname"))
                for variant in endpoint.get("variants", []):
                    if variant["tags"] == ["fips"]:
                        hosts.add((variant.get("hostname") or own).format(service=service, region=region, dnsSuffix=variant.get("dnsSuffix", partition["dnsSuffix"])))
    assert len(listed) > 100 and {host for _, _, host in listed} <= hosts
