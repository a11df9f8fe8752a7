"""TLS to AWS: HTTP/2 where the endpoint offers it, HTTP/1.1 where it does not, and the same records by both."""

import json
import os
import re
import ssl
import subprocess
import urllib.request

import pytest
import results
import tunnel


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = tunnel.Authority(tmp_path_factory.mktemp("authority"))
    authority.context("127.0.0.1")
    return authority


def scanned(fleetscan, authority, folder, *flags):
    """Scans a simulated AWS on TLS; answers the records and what the simulator counted."""
    pair = authority.folder / "127.0.0.1.pem"
    accounts = folder / "accounts.toml"
    command = [fleetscan, "simulator", "--listen", "127.0.0.1:0", "--accounts", "3", "--accounts-file", accounts, "--limits", "off",
               "--world", "lambda:ListFunctions=12,sns:ListTopics=12,s3:ListBuckets=3", "--tls-certificate", pair, "--tls-key", pair, *flags]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = "".join(simulator.stdout.readline() for _ in range(4))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FLEETSCAN_"))}
        environment = kept | dict(re.findall(r"(AWS_[A-Z_]+)=(\S+)", said)) | {"AWS_EC2_METADATA_DISABLED": "true"}
        out = folder / "out"
        done = subprocess.run(
            [fleetscan, "scan", "--accounts", accounts, "--ca-bundle", authority.file, "--out", out, "--data", folder / "data",
             "--services", "lambda,sns,s3", "--regions", "us-east-1,eu-west-1", "--share", "1", "--json"],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        trusted = ssl.create_default_context(cafile=authority.file)
        with urllib.request.urlopen(f"{environment['AWS_ENDPOINT_URL']}/_simulator/counters", context=trusted, timeout=30) as answer:
            counted = json.load(answer)
        return list(results.Scan(out).records()), counted
    finally:
        simulator.terminate()
        simulator.communicate(timeout=20)


def test_http_2_is_spoken_where_it_is_offered_and_finds_the_same(fleetscan, authority, tmp_path):
    found, asked = {}, {}
    for name, flags in (("http/2", ()), ("http/1.1", ("--no-http2",))):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        found[name], counted = scanned(fleetscan, authority, folder, *flags)
        # Whoever counts asks by HTTP/1.1, and is counted too.
        assert counted["connections"].pop("http/1.1") > (1 if name == "http/1.1" else 0)
        asked[name] = counted["connections"].get("http/2", 0)
        refused = {operation: how for operation, how in counted["operations"].items() if "bad_signature" in how}
        assert not refused, "a signature has the host among its headers, and HTTP/2 does not"
    assert asked["http/1.1"] == 0 and 1 <= asked["http/2"] <= 24, asked
    assert len(found["http/2"]) > 3 * (12 + 12 + 3)
    keys = {name: sorted(json.dumps([record["account"], record["region"], record["type"], record["id"]]) for record in records) for name, records in found.items()}
    assert keys["http/2"] == keys["http/1.1"]


@pytest.mark.parametrize("key, told", [("nothing at all", "no PEM private key"), (None, "do not go together")])
def test_a_key_that_is_none_is_told(fleetscan, authority, tmp_path, key, told):
    other = tunnel.Authority(tmp_path)
    other.context("localhost")
    file = tmp_path / "key.pem"
    file.write_text(key or (tmp_path / "localhost.pem").read_text())
    command = [fleetscan, "simulator", "--listen", "127.0.0.1:0", "--accounts-file", tmp_path / "accounts.toml",
               "--tls-certificate", authority.folder / "127.0.0.1.pem", "--tls-key", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode not in (0, 101) and told in done.stderr, done.stderr
