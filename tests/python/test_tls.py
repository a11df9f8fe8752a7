"""TLS to AWS: HTTP/2 where the endpoint offers it, HTTP/1.1 where it does not, and the same records by both."""

import json
import subprocess

import pytest
import results
import scanning
import simulated
import tunnel


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = tunnel.Authority(tmp_path_factory.mktemp("authority"))
    authority.context("127.0.0.1")
    return authority


def scanned(fleetscan, authority, folder, *flags):
    """Scans a simulated AWS on TLS; answers the records and what the simulator counted."""
    pair = authority.folder / "127.0.0.1.pem"
    aws = simulated.Simulated(fleetscan, folder, "--accounts", "3", "--limits", "off", "--world", "lambda:ListFunctions=12,sns:ListTopics=12,s3:ListBuckets=3",
                              "--tls-certificate", pair, "--tls-key", pair, *flags, authority=authority.file)
    try:
        scanner = scanning.Scanner(fleetscan, aws, folder, folder / "out")
        scanner.run("scan", "--accounts", scanner.accounts, "--ca-bundle", authority.file, "--services", "lambda,sns,s3", "--regions", "us-east-1,eu-west-1")
        return list(results.Scan(scanner.out).records()), aws.get("counters")
    finally:
        aws.end()


def test_http_2_is_spoken_where_it_is_offered_and_finds_the_same(fleetscan, authority, tmp_path):
    found, asked = {}, {}
    for name, flags in (("http/2", ()), ("http/1.1", ("--no-http2",))):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        found[name], counted = scanned(fleetscan, authority, folder, *flags)
        # Three are the test's own: twice for the hub's keys, and for the counters.
        others = counted["connections"].pop("http/1.1") - 3
        assert others > 0 if name == "http/1.1" else others == 0
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
