"""`fleetscan doctor`: each thing that is wrong with a deployment is brought about, and said in a sentence that mends it."""

import contextlib
import datetime
import email.utils
import http.server
import json
import os
import re
import resource
import socket
import subprocess
import threading

import pytest

import fleet
import servers

SMALL = ("--accounts", "3", "--seed", "5", "--limits", "off")


@pytest.fixture(scope="module")
def team(fleetscan, tmp_path_factory):
    """A fleet with nothing to mend: a coordinator leads, accounts are connected."""
    folder = tmp_path_factory.mktemp("well")
    redis = servers.Redis(folder / "redis", "--appendfsync", "always")
    team = fleet.Fleet(fleetscan, folder, SMALL, redis=redis)
    try:
        team.led()
        yield team
    finally:
        team.end()


def looked(team, changed=(), ok=(0, 1), **more):
    """What doctor says, by check: whether it is well, and the sentence."""
    environment = {**team.environment, **dict(changed)}
    done = subprocess.run([team.fleetscan, "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=90, cwd=team.folder, **more)
    assert done.returncode in ok, done.stderr
    found = {finding["check"]: (finding["ok"], finding["says"]) for finding in json.loads(done.stdout)}
    assert done.returncode == (0 if all(ok for ok, _ in found.values()) else 1), found
    return found


def mends(found, check, *words):
    """This check alone is not well, and says these words."""
    wrong = {name: says for name, (ok, says) in found.items() if not ok}
    assert wrong.keys() == {check}, wrong
    for word in words:
        assert word in wrong[check], wrong[check]


@contextlib.contextmanager
def configured(team, name, value):
    before = team.redis.ask("CONFIG", "GET", name).decode().split()[1]
    team.redis.ask("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        team.redis.ask("CONFIG", "SET", name, before)


def test_a_fleet_that_is_well_has_nothing_to_mend(team):
    found = looked(team, ok=(0,))
    assert {"hub", "clock", "open files", "results", "store", "durability", "breaker", "events", "broker", "scans"} == found.keys()
    assert "appends every change, synced before it answers" in found["durability"][1]
    assert "coordinator-1 leads" in found["store"][1] and "opens its grants" in found["store"][1]
    assert "the fleet's coordinator writes there too" in found["results"][1]


@pytest.mark.parametrize("name, value, words", [
    ("appendfsync", "everysec", ("`appendfsync` is everysec", "Set `appendfsync always`")),
    ("appendonly", "no", ("`appendonly` is off", "Set `appendonly yes`")),
    ("maxmemory-policy", "allkeys-lru", ("`maxmemory-policy` is allkeys-lru", "Set `maxmemory-policy noeviction`")),
])
def test_a_store_that_does_not_keep_what_it_acknowledges(team, name, value, words):
    with configured(team, name, value):
        mends(looked(team), "durability", *words)


def test_a_store_that_tells_nobody_its_configuration_is_no_fault(team):
    """As managed ones, or a user with the least that docs/redis.md says is enough: INFO answers, CONFIG does not."""
    team.redis.ask("ACL", "SETUSER", "managed", "on", ">word", "~{fleetscan:*", "+@all", "-@dangerous", "+info")
    found = looked(team, {"FLEETSCAN_STORE": team.redis.url.replace("redis://", "redis://managed:word@")}, ok=(0,))
    assert "does not say when that is synced" in found["durability"][1]


def test_a_key_that_opens_nothing(team):
    mends(looked(team, {"FLEETSCAN_KEY": "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMDE="}), "store", "key")


def test_no_key(team):
    mends(looked(team, {"FLEETSCAN_KEY": ""}), "store", "openssl rand -base64 32")


def test_a_hub_without_credentials_or_with_wrong_ones(team):
    found = looked(team, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(team.folder)})
    mends(found, "hub", "no AWS credentials were found", "AWS_PROFILE")
    found = looked(team, {"AWS_ACCESS_KEY_ID": "AKIAAAAAAAAAAAAAAAAA"})
    mends(found, "hub", "does not accept the credentials", "check the profile or the access key")


def test_results_that_are_not_where_the_fleets_are(team, tmp_path):
    (tmp_path / "out").mkdir()
    for out in (tmp_path / "out", tmp_path / "nowhere"):
        found = looked(team, {"FLEETSCAN_OUT": f"file://{out}"})
        mends(found, "results", "is not the one that the coordinator writes to", "mount the same folder under the same path")


def test_few_open_files(team):
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    mends(looked(team, preexec_fn=few), "open files", "a process may have 200 files open", "LimitNOFILE=")


@contextlib.contextmanager
def users_and_alarms(team):
    """Puts the broker back as it was."""
    try:
        yield team.rabbit
    finally:
        team.rabbit.control("set_vm_memory_high_watermark", "0.6")


def test_a_broker_that_does_not_let_us_in(team):
    at = f"127.0.0.1:{team.rabbit.port}"
    team.rabbit.control("add_user", "weak", "word")
    team.rabbit.control("set_permissions", "weak", "^other$", "^other$", "^other$")
    found = looked(team, {"FLEETSCAN_BROKER": f"amqp://weak:word@{at}"})
    mends(found, "broker", "rabbitmqctl set_permissions", r"'^fleetscan\..*'")
    found = looked(team, {"FLEETSCAN_BROKER": f"amqp://weak:wrong@{at}"})
    mends(found, "broker", "Check the user and its password")
    found = looked(team, {"FLEETSCAN_BROKER": f"amqp://guest:guest@{at}/nowhere"})
    mends(found, "broker", "Check the virtual host", "rabbitmqctl add_vhost")


def test_a_broker_whose_queues_are_another_fleets(team):
    mends(looked(team, {"FLEETSCAN_SHARDS": "5"}), "broker", "a fleet with 8 shards", "the same number of shards")


def test_a_broker_that_takes_no_messages(team):
    with users_and_alarms(team) as rabbit:
        rabbit.control("set_vm_memory_high_watermark", "absolute", "1")
        servers.until(lambda: "memory" in rabbit.control("eval", "rabbit_alarm:get_alarms()."), 30)
        mends(looked(team), "broker", "an alarm is on", "rabbitmq-diagnostics alarms")


def test_a_broker_that_is_away(team):
    mends(looked(team, {"FLEETSCAN_BROKER": f"amqp://guest:guest@127.0.0.1:{servers.free_port()}"}), "broker", "amqp://127.0.0.1:")


class Late(http.server.BaseHTTPRequestHandler):
    """An AWS whose clock is an hour behind ours: all it knows is who asks."""

    answer = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
        <Arn>arn:aws:iam::111122223333:user/hub</Arn><UserId>AIDA</UserId><Account>111122223333</Account>
        </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    do_GET = do_POST

    def date_time_string(self, timestamp=None):
        return email.utils.format_datetime(datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1), usegmt=True)

    def log_message(self, *_):
        pass


def test_a_clock_that_aws_would_refuse(team):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = looked(team, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"})
        mends(found, "clock", "s ahead of AWS's", "300 s", "NTP")
        assert re.search(r"36\d\d s ahead|359\d s ahead", found["clock"][1]), found["clock"]
    finally:
        server.shutdown()


def late_store(port):
    """A way to a Redis on which its TIME becomes an hour later. Answers the way's port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink, change):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(change(data))
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def later(data):
        return re.sub(rb"(\*2\r\n\$10\r\n)(\d{10})(\r\n\$\d\r\n\d+\r\n)", lambda m: m[1] + str(int(m[2]) + 3600).encode() + m[3], data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pump, args=(client, server, bytes), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, later), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_a_clock_that_is_not_the_stores(team):
    with contextlib.closing(late_store(team.redis.port)) as way:
        found = looked(team, {"FLEETSCAN_STORE": f"redis://127.0.0.1:{way.getsockname()[1]}"})
    # Its leases look ended by an hour, too; but that nobody leads is for the store's own line to say.
    wrong = {name: says for name, (ok, says) in found.items() if not ok}
    assert "the store's are 3600 s apart" in wrong["store"] or "s apart: set both by NTP" in wrong["store"], wrong


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder of its own under the same name needs root")
def test_a_worker_with_another_folder_under_the_same_name_writes_nothing_there(team, tmp_path):
    """As on a second host, where nobody mounted the results."""
    log = open(tmp_path / "log", "wb")
    out = team.environment["FLEETSCAN_OUT"]
    elsewhere = f"mount -t tmpfs tmpfs {out} && exec {team.fleetscan} worker --name elsewhere"
    worker = subprocess.Popen(["unshare", "--mount", "sh", "-c", elsewhere], env=team.environment, stdout=log, stderr=log, cwd=team.folder)
    try:
        told = lambda: (tmp_path / "log").read_text()
        servers.until(lambda: worker.poll() is not None or any(w["worker"] == "elsewhere" for w in team.json("workers")), 30)
        if worker.poll() is not None and "mount" in told():
            pytest.skip("this machine lets nobody mount")
        scan = team.scan("--services", "lambda,sns")
        servers.until(lambda: "is not the one that the coordinator writes to" in told(), 60)
        assert team.done(scan) == 0, "it wrote where nobody would look"
    finally:
        worker.kill()
        worker.wait(10)
    team.worker("worker-here")
    assert team.ended(scan)["state"] == "finished"
    assert team.stop("worker-here") == 0
