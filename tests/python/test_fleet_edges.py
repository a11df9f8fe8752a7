"""The fleet where things are large, full, scheduled or secret: servers and accounts of each test's own."""

import base64
import collections
import os
import pathlib
import re
import subprocess
import time

import pytest

import fleet
import servers

SMALL = ("--accounts", "6", "--seed", "5", "--latency-ms", "5", "--limits", "off")


@pytest.fixture
def made(fleetscan, tmp_path):
    """Makes fleets, and ends them."""
    fleets = []

    def make(*arguments, **more):
        fleets.append(fleet.Fleet(fleetscan, tmp_path, *arguments, **more))
        return fleets[-1]

    yield make
    for one in fleets:
        one.end()


@pytest.mark.long
def test_a_giant_goes_on_across_workers_and_adds_up(made, tmp_path):
    """200,000 interfaces in one cell, read in slices of five seconds, while the broker takes back what is held longer
    than a minute."""
    rabbit = servers.Rabbit(tmp_path / "rabbit", "consumer_timeout = 60000")
    world = ("--accounts", "2", "--latency-ms", "400", "--limits", "off", "--world", "ec2:DescribeNetworkInterfaces=200000;regions=1")
    team = made(world, rabbit=rabbit)
    team.connect()
    team.coordinator()
    for n in range(2):
        team.worker(f"worker-{n}", "--slice-seconds", "5")
    scan = team.scan("--services", "ec2")
    ended = time.monotonic() + 900
    born = 2
    # Every twenty seconds the worker leaves that has been there longest, so that nobody reads a giant alone.
    while team.show(scan)["state"] == "running":
        assert time.monotonic() < ended, team.show(scan)
        time.sleep(20)
        if team.show(scan)["state"] != "running":
            break
        team.worker(f"worker-{born}", "--slice-seconds", "5")
        born += 1
        assert team.stop(next(name for name in team.processes if name.startswith("worker"))) == 0
    assert team.ended(scan)["state"] == "finished"
    result = team.results(scan)
    giants = [cell for cell in result.ledger if cell["records"] >= 200_000]
    assert giants, sorted((cell["records"], cell["region"]) for cell in result.ledger)[-4:]
    for cell in giants:
        parts = cell["parts"]
        assert len(parts) > 5, "it was never interrupted"
        assert sum(part["records"] for part in parts) == cell["records"]
    ids = [(r["account"], r["id"]) for r in result.records() if r["type"] == "AWS::EC2::NetworkInterface"]
    assert len(ids) == len(set(ids)) == 200_000 * len(giants)
    told = "".join(path.read_text(errors="replace") for path in (tmp_path / "rabbit" / "logs").glob("*.log"))
    assert "delivery acknowledgement on channel" not in told, "the broker's timeout fired"


@pytest.mark.long
def test_a_worker_that_dies_between_a_giants_slices_loses_nothing(made, tmp_path):
    """A cell goes on after its slice under a new generation, which no message has: what the broker delivers again is void,
    and the coordinator finds it."""
    world = ("--accounts", "1", "--latency-ms", "300", "--limits", "off", "--world", "ec2:DescribeNetworkInterfaces=40000;regions=1")
    team = made(world)
    team.connect()
    team.coordinator()
    team.worker("worker-1", "--slice-seconds", "2")
    scan = team.scan("--services", "ec2")
    folders = lambda: collections.Counter(part.parent for part in (tmp_path / "out").rglob("part-*.zst"))
    servers.until(lambda: max(folders().values(), default=0) >= 2, 120)
    team.kill("worker-1")
    team.worker("worker-2", "--slice-seconds", "2")
    assert team.ended(scan)["state"] == "finished"
    result = team.results(scan)
    [giant] = [cell for cell in result.ledger if cell["records"] >= 40_000]
    assert sum(part["records"] for part in giant["parts"]) == giant["records"]
    ids = [r["id"] for r in result.records() if r["type"] == "AWS::EC2::NetworkInterface"]
    assert len(ids) == len(set(ids)) == 40_000


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which only root may")
def test_a_full_disk_only_delays(made, tmp_path):
    team = made(("--accounts", "12", "--seed", "5", "--latency-ms", "20", "--limits", "off"))
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(out)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        team.connect()
        team.coordinator()
        team.worker("worker-0")
        scan = team.scan()
        servers.until(lambda: "the disk is full" in team.log("worker-0"), 120)
        time.sleep(20)
        assert team.show(scan)["state"] == "running"
        subprocess.run(["mount", "-o", "remount,size=256m", str(out)], check=True)
        shown = team.ended(scan)
        assert shown["state"] == "finished" and not shown["outcomes"].get("failed"), shown
        cells, records = team.results(scan).inventory()
        assert sum(cell[4] for cell in cells) == len(records) > 0
    finally:
        for one in list(team.processes):
            team.kill(one)
        subprocess.run(["umount", "-l", str(out)], check=False)


def test_the_schedule_scans_all_and_newcomers_at_once_and_keeps_copies_of_the_registry(made, tmp_path):
    team = made(SMALL)
    accounts = (tmp_path / "accounts.toml").read_text().split("[[account]]")[1:]
    whole = tmp_path / "most.toml"
    whole.write_text("".join(f"[[account]]{text}" for text in accounts[:-1]))
    team.run("accounts", "import", whole)
    team.coordinator("coordinator-1", "--every-hours", "1")
    team.worker("worker-0")
    servers.until(lambda: len(team.json("scans", "list")) == 1, 60)
    first = team.json("scans", "list")[0]["id"]
    shown = team.ended(first)
    assert shown["state"] == "finished" and shown["accounts"] == len(accounts) - 1, shown
    # Another that takes the lead does not begin again what was done within the hour.
    team.coordinator("coordinator-2", "--every-hours", "1")
    team.kill("coordinator-1")
    servers.until(lambda: "coordinator.leads" in team.log("coordinator-2"), 30)
    # An account that is connected now is read now, and alone.
    last = tmp_path / "last.toml"
    last.write_text(f"[[account]]{accounts[-1]}")
    team.run("accounts", "import", last)
    servers.until(lambda: len(team.json("scans", "list")) == 2, 90)
    newest = team.json("scans", "list")[0]["id"]
    shown = team.ended(newest)
    assert shown["accounts"] == 1 and shown["state"] == "finished", shown
    assert [scan["id"] for scan in team.json("scans", "list")] == [newest, first]
    # Copies of the registry lie beside the results, sealed, and bring it back.
    copies = sorted((tmp_path / "out" / "registry").glob("accounts-*.json"))
    assert copies
    secrets = [account["external_id"] for account in team.aws.accounts]
    assert not any(secret in copy.read_text() for copy in copies for secret in secrets)
    team.redis.ask("FLUSHALL")
    for name in list(team.processes):
        assert team.processes.pop(name).wait(60) == 1
    team.run("accounts", "restore", copies[0])
    assert len(team.json("accounts", "list")) == len(accounts) - 1


def test_no_secret_is_written_sent_or_logged(made, tmp_path):
    """Behind TLS and passwords; and afterwards in no file of anybody's."""
    keys = tmp_path / "keys"
    keys.mkdir()
    certificates(keys)
    tls = ("--tls-port", str(port := servers.free_port()), "--tls-cert-file", str(keys / "server.pem"), "--tls-key-file", str(keys / "server.key"),
           "--tls-ca-cert-file", str(keys / "ca.pem"), "--tls-auth-clients", "no")
    redis = servers.Redis(tmp_path / "redis", *tls)
    redis.ask("CONFIG", "SET", "requirepass", "planted-store-password")
    amqps = servers.free_port()
    rabbit = servers.Rabbit(tmp_path / "rabbit", f"listeners.ssl.default = 127.0.0.1:{amqps}", f"ssl_options.cacertfile = {keys / 'ca.pem'}",
                            f"ssl_options.certfile = {keys / 'server.pem'}", f"ssl_options.keyfile = {keys / 'server.key'}")
    rabbit.control("add_user", "fleet", "planted-broker-password")
    rabbit.control("set_permissions", "fleet", ".*", ".*", ".*")
    team = made(SMALL, redis=redis, rabbit=rabbit)
    (tmp_path / "store-password").write_text("planted-store-password\n")
    (tmp_path / "broker-password").write_text("planted-broker-password\n")
    team.environment |= {
        "FLEETSCAN_STORE": f"rediss://localhost:{port}",
        "FLEETSCAN_STORE_CA": str(keys / "ca.pem"),
        "FLEETSCAN_STORE_PASSWORD_FILE": str(tmp_path / "store-password"),
        "FLEETSCAN_BROKER": f"amqps://fleet@localhost:{amqps}",
        "FLEETSCAN_BROKER_CA": str(keys / "ca.pem"),
        "FLEETSCAN_BROKER_PASSWORD_FILE": str(tmp_path / "broker-password"),
    }
    team.connect()
    team.start("coordinator", "coordinator-1", "-v", "-v")
    team.start("worker", "worker-0", "-v", "-v", "--share", "1")
    scan = team.scan()
    shown = team.ended(scan)
    assert shown["state"] == "finished" and shown["outcomes"]["complete"] > 0, shown
    command_lines = [pathlib.Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in team.processes.values()]
    assert not any(b"planted" in line for line in command_lines)
    redis.ask("--no-auth-warning", "-a", "planted-store-password", "BGREWRITEAOF")
    for account in team.aws.accounts[:2]:
        team.run("accounts", "remove", account["id"])
    for name in list(team.processes):
        assert team.stop(name) == 0
    hub = team.aws.get("hub")["secret_access_key"].encode()
    planted = [account["external_id"].encode() for account in team.aws.accounts] + [b"planted-store-password", b"planted-broker-password", hub, fleet.KEY.encode()]
    roles = [account["role_arn"].encode() for account in team.aws.accounts]
    found = []
    own = {tmp_path / "accounts.toml", tmp_path / "store-password", tmp_path / "broker-password"}
    for path in tmp_path.rglob("*"):
        # What the broker knows of its users is the broker's.
        if not path.is_file() or path in own or keys in path.parents or "mnesia" in path.parts:
            continue
        data = content(path)
        found += [(path, secret) for secret in planted if secret in data]
        # Our role stands in the account's own IAM records, as any role does, and nowhere else.
        if "cell_service=iam" not in str(path):
            found += [(path, role) for role in roles if role in data]
        found += [(path, match) for match in re.findall(rb"ASIA[A-Z2-7]{16}", data)]
        found += [(path, "a session token") for part in token_parts() if part in data]
    assert not found, found[:5]
    assert len(list((tmp_path / "redis").rglob("*.aof"))) > 0 and (tmp_path / "coordinator-1.log").stat().st_size > 0


def content(path):
    data = path.read_bytes()
    if path.suffix == ".zst":
        return b"\n".join(str(line).encode() for line in fleet.results.lines(path))
    return data


def token_parts():
    """A session's name as it stands in the simulator's tokens, at each of base64's three alignments."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + b"SecurityV0-")
        yield text[4 if shift else 0 : 12]


def certificates(folder):
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    script = f"""
        {new} -keyout ca.key -out ca.pem -subj '/CN=authority of the tests' -addext 'keyUsage=critical,keyCertSign' &&
        {new} -keyout server.key -out server.pem -subj /CN=localhost -CA ca.pem -CAkey ca.key \\
            -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:false
    """
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
