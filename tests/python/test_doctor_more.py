"""What `fleetscan doctor` says when the way to a server, its memory, its disk or AWS itself is not as it should be."""

import contextlib
import datetime
import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest

import fleet
import servers
from test_doctor import SMALL, looked, mends
from test_fleet_edges import certificates
from tunnel import Authority


@pytest.fixture(scope="module")
def team(fleetscan, tmp_path_factory):
    """A fleet behind TLS and passwords, with nothing to mend."""
    folder = tmp_path_factory.mktemp("private")
    keys = folder / "keys"
    keys.mkdir()
    certificates(keys)
    store, broker = servers.free_port(), servers.free_port()
    tls = ("--tls-port", str(store), "--tls-cert-file", str(keys / "server.pem"), "--tls-key-file", str(keys / "server.key"), "--tls-ca-cert-file", str(keys / "ca.pem"), "--tls-auth-clients", "no")
    redis = servers.Redis(folder / "redis", "--appendfsync", "always", *tls)
    rabbit = servers.Rabbit(folder / "rabbit", f"listeners.ssl.default = 127.0.0.1:{broker}", f"ssl_options.cacertfile = {keys / 'ca.pem'}",
                            f"ssl_options.certfile = {keys / 'server.pem'}", f"ssl_options.keyfile = {keys / 'server.key'}")
    team = fleet.Fleet(fleetscan, folder, SMALL, redis=redis, rabbit=rabbit)
    redis.ask("ACL", "SETUSER", "fleet", "on", ">right", "~*", "+@all")
    team.ports = store, broker
    team.environment |= {
        "FLEETSCAN_STORE": f"rediss://fleet:right@localhost:{store}",
        "FLEETSCAN_STORE_CA": str(keys / "ca.pem"),
        "FLEETSCAN_BROKER": f"amqps://guest:guest@localhost:{broker}",
        "FLEETSCAN_BROKER_CA": str(keys / "ca.pem"),
    }
    try:
        team.led()
        yield team
    finally:
        team.end()


def strangers(folder):
    """The certificate of an authority that signed nothing here."""
    return str(Authority(folder).file)


def test_behind_tls_there_is_nothing_to_mend(team):
    looked(team, ok=(0,))


def test_a_store_whose_authority_nobody_knows(team, tmp_path):
    for authority in ("/etc/ssl/certs/ca-certificates.crt", strangers(tmp_path)):
        found = looked(team, {"FLEETSCAN_STORE_CA": authority})
        mends(found, "store", "certificate", "FLEETSCAN_STORE_CA")
    found = looked(team, {"FLEETSCAN_STORE_CA": str(tmp_path / "gone.pem")})
    mends(found, "store", "gone.pem cannot be read")


def test_a_store_of_another_name_than_its_certificate(team):
    found = looked(team, {"FLEETSCAN_STORE": f"rediss://fleet:right@127.0.0.1:{team.ports[0]}"})
    mends(found, "store", "not valid for", "The name in the URL must be one of the certificate's")


def test_a_store_that_does_not_let_us_in(team):
    found = looked(team, {"FLEETSCAN_STORE": f"rediss://fleet:wrong@localhost:{team.ports[0]}"})
    mends(found, "store", "user or password", "FLEETSCAN_STORE_PASSWORD_FILE")
    assert "wrong" not in found["store"][1], "the password is shown"


def test_a_store_that_is_away(team):
    found = looked(team, {"FLEETSCAN_STORE": f"redis://localhost:{(port := servers.free_port())}"})
    mends(found, "store", f"localhost:{port}", "FLEETSCAN_STORE")


def test_a_store_that_speaks_tls_and_is_not_spoken_to_so(team):
    found = looked(team, {"FLEETSCAN_STORE": f"redis://fleet:right@localhost:{team.ports[0]}"})
    mends(found, "store", "rediss://")


def test_a_store_that_remembers_nothing(team, tmp_path):
    """As after it was wiped, or put in the place of another."""
    empty = servers.Redis(tmp_path / "empty")
    try:
        found = looked(team, {"FLEETSCAN_STORE": empty.url})
        mends(found, "store", "no accounts yet", "fleetscan accounts restore FILE")
    finally:
        empty.kill()


def test_a_broker_whose_authority_nobody_knows(team, tmp_path):
    for authority in ("/etc/ssl/certs/ca-certificates.crt", strangers(tmp_path)):
        found = looked(team, {"FLEETSCAN_BROKER_CA": authority})
        mends(found, "broker", "certificate", "FLEETSCAN_BROKER_CA")
    found = looked(team, {"FLEETSCAN_BROKER": f"amqps://guest:guest@127.0.0.1:{team.ports[1]}"})
    mends(found, "broker", "not valid for", "The name in the URL must be one of the certificate's")


def test_a_broker_that_speaks_tls_and_is_not_spoken_to_so(team):
    found = looked(team, {"FLEETSCAN_BROKER": f"amqp://guest:guest@localhost:{team.ports[1]}"})
    mends(found, "broker", "amqps://")


# -- Results ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(place, *options):
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, which only root may")
def test_results_that_cannot_be_written(team):
    out = pathlib.Path(team.environment["FLEETSCAN_OUT"])
    with mounted(out, "-o", "bind", str(out)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(out)], check=True)
        mends(looked(team), "results", str(out), "read-only", "make it writable")
    mark = (out / ".fleetscan-fleet").read_text()
    with mounted(out, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        (out / ".fleetscan-fleet").write_text(mark)
        with contextlib.suppress(OSError), open(out / "full", "wb") as full:
            full.write(bytes(1 << 20))
        mends(looked(team), "results", str(out), "the disk is full", "make room")


def test_results_where_a_file_is(team, tmp_path):
    (tmp_path / "file").write_text("")
    found = looked(team, {"FLEETSCAN_OUT": str(tmp_path / "file")})
    assert not found["results"][0] and str(tmp_path / "file") in found["results"][1], found["results"]


# -- AWS ----------------------------------------------------------------------------------------------------------------


class Refusing(http.server.BaseHTTPRequestHandler):
    """An STS that answers all with one error."""

    protocol_version, code = "HTTP/1.1", ""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{self.code}</Code><Message>No.</Message></Error><RequestId>r</RequestId></ErrorResponse>".encode()
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def sts(code, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Refusing,), {"code": code}))
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def test_a_hub_whose_credentials_ended(team, tmp_path):
    with sts("ExpiredToken") as url:
        mends(looked(team, {"AWS_ENDPOINT_URL": url, "AWS_SESSION_TOKEN": "ended"}), "hub", "have expired", "aws sso login")
    # Whoever hands them out knows as well.
    said = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "secret", "SessionToken": "t", "Expiration": "2020-01-01T00:00:00Z"}
    (tmp_path / "said").write_text(json.dumps(said))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/said\n")
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    mends(looked(team, nothing), "hub", "expired", "aws sso login")


def test_a_hub_whose_credentials_end_soon(team, tmp_path):
    """Good for now, and of a kind that nobody renews."""
    hub = team.aws.get("hub")
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=9)
    said = {"Version": 1, "AccessKeyId": hub["access_key_id"], "SecretAccessKey": hub["secret_access_key"], "Expiration": soon.strftime("%Y-%m-%dT%H:%M:%SZ")}
    (tmp_path / "said").write_text(json.dumps(said))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/said\n")
    given = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    found = looked(team, given, ok=(0,))
    assert re.search(r"its credentials end in ([5-8] min|9 min 0 s)", found["hub"][1]), found["hub"]


def test_an_aws_that_cannot_be_reached(team):
    found = looked(team, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{servers.free_port()}"})
    for check in ("hub", "clock"):
        assert not found[check][0] and "check the network, the proxy and AWS_ENDPOINT_URL" in found[check][1], found[check]


def test_an_aws_whose_authority_nobody_knows(team, tmp_path):
    """As behind a proxy that opens TLS."""
    authority = Authority(tmp_path)
    with sts("ExpiredToken", authority.context("127.0.0.1")) as url:
        found = looked(team, {"AWS_ENDPOINT_URL": url})
        for check in ("hub", "clock"):
            assert not found[check][0] and "certificate" in found[check][1] and "--ca-bundle" in found[check][1], found[check]
        found = looked(team, {"AWS_ENDPOINT_URL": url, "FLEETSCAN_CA_BUNDLE": str(authority.file)})
        mends(found, "hub", "have expired")


def test_a_canary_that_does_not_let_us_in(team):
    canary, other = (account["id"] for account in team.aws.accounts[:2])
    asks = {"FLEETSCAN_CANARY": canary}
    found = looked(team, asks, ok=(0,))
    assert found["canaries"] == (True, "it lets us in")
    mends(looked(team, {"FLEETSCAN_CANARY": "999999999999"}), "canaries", "canary 999999999999 is not connected")
    found = looked(team, {**asks, "FLEETSCAN_KEY": ""})
    assert not found["canaries"][0] and "no key" in found["canaries"][1], found["canaries"]
    team.aws.do("delete_role", account=canary)
    found = looked(team, {"FLEETSCAN_CANARY": f"{canary},{other}"})
    mends(found, "canaries", f"canary {canary} does not let us in (AccessDenied)", "no account is marked revoked")


def test_a_breaker_that_is_open_is_told_with_its_reason(team):
    team.run("breaker", "open", "--reason", "a rehearsal")
    try:
        found = looked(team)
        assert not found["breaker"][0] and "a rehearsal" in found["breaker"][1] and "fleetscan breaker auto" in found["breaker"][1], found["breaker"]
    finally:
        team.run("breaker", "auto")
