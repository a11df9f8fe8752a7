"""What an SRE sees, for real: Prometheus scrapes a fleet that is throttled, loses a customer and a worker; then every
query of every dashboard and alert is asked of it."""

import datetime
import json
import subprocess
import time
import urllib.error
import urllib.request

import pytest

import fleet
import monitoring
import servers

# AWS's limits are below what its documents say, so that the limiters have something to learn.
WORLD = ("--accounts", "8", "--seed", "7", "--latency-ms", "10", "--limits", "0.5")

# What is promised to whoever builds dashboards of their own: names, and labels beside those that Prometheus adds.
PROMISED = {
    "tasks_total": {"service", "outcome"},
    "task_seconds_count": {"service"},
    "tasks_in_flight": set(),
    "api_calls_total": {"service", "operation", "result"},
    "api_call_seconds_count": {"service"},
    "limiter_wait_seconds_count": {"service"},
    "assume_role_total": {"result"},
    "sessions": set(),
    "records_total": {"service"},
    "result_bytes_total": set(),
    "accounts": {"status"},
    "revocations_total": set(),
    "hub_breaker_open": set(),
    "scan_cells": {"state"},
    "scan_started_timestamp_seconds": set(),
    "scan_eta_seconds": set(),
    "queue_messages": {"queue"},
    "workers": set(),
    "accounts_stale": {"older_than"},
}

# Alerts' queries that have nothing to say on a fleet like this one; what they read must be there all the same.
QUIET = "an alert that does not fire answers nothing"
# Figures that this fleet has none of, and why.
NONE_HERE = {'fleetscan_event_deliveries_total{result="undelivered"}': "there is nobody who is told of events: test_events has receivers"}


def page(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


class Observed:
    """A fleet, its exporters, and a Prometheus that has seen a scan."""

    def __init__(self, fleetscan, folder):
        self.started = time.time()
        metrics = servers.free_port()
        rabbit = servers.Rabbit(folder / "rabbit", "prometheus.tcp.ip = 127.0.0.1", f"prometheus.tcp.port = {metrics}", plugins=("rabbitmq_prometheus",))
        self.team = team = fleet.Fleet(fleetscan, folder, WORLD, rabbit=rabbit)
        self.with_credentials_that_end(folder)
        self.ports = {name: servers.free_port() for name in ("coordinator-1", "worker-1", "worker-2", "redis")}
        exporter = ["prometheus-redis-exporter", f"-redis.addr={team.redis.url}", f"-web.listen-address=127.0.0.1:{self.ports['redis']}"]
        self.exporter = subprocess.Popen(exporter, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = [self.ports[name] for name in ("coordinator-1", "worker-1", "worker-2")]
        self.prometheus = monitoring.Prometheus(folder / "prometheus", {"fleetscan": ours, "rabbitmq": [metrics], "redis": [self.ports["redis"]]})

    def with_credentials_that_end(self, folder):
        """The hub's credentials come from a program that says when they end."""
        given = self.team.environment
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=6)
        said = {"Version": 1, "AccessKeyId": given.pop("AWS_ACCESS_KEY_ID"), "SecretAccessKey": given.pop("AWS_SECRET_ACCESS_KEY"), "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        (folder / "credentials.json").write_text(json.dumps(said))
        (folder / "aws").write_text(f"[default]\nregion = us-east-1\ncredential_process = cat {folder}/credentials.json\n")
        given["AWS_CONFIG_FILE"] = str(folder / "aws")
        given["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "none")
        self.ends = ends.timestamp()

    def work(self):
        team = self.team
        team.connect()
        team.coordinator("coordinator-1", "--listen", f"127.0.0.1:{self.ports['coordinator-1']}")
        for name in ("worker-1", "worker-2"):
            team.worker(name, "--listen", f"127.0.0.1:{self.ports[name]}")
        servers.until(lambda: sum(len(w["shards"]) for w in team.json("workers")) == team.shards, 30)
        servers.until(lambda: all(one["health"] == "up" for one in self.prometheus.ask("targets")["activeTargets"]), 30)
        scope = ("--services", "lambda,sns,ssm", "--regions", "us-east-1,eu-west-1")
        # The first scan makes the accounts active, the second finds one of them revoked.
        assert team.ended(team.scan(*scope))["state"] == "finished"
        # Rates need two looks at each counter.
        self.revoked = next(a["id"] for a in sorted(team.json("accounts", "list"), key=lambda a: a["id"]) if a["status"] == "active")
        team.aws.do("delete_role", account=self.revoked)
        scan = team.scan(*scope)
        team.until_done(scan, 8)
        team.kill("worker-2")
        self.shown = team.ended(scan)
        revoked = sum(account["status"] == "revoked" for account in team.json("accounts", "list"))
        servers.until(lambda: self.prometheus.now(f"fleetscan_revocations_total == {revoked} and fleetscan_revocations_total > 0"), 30)
        servers.until(lambda: self.prometheus.now("fleetscan_scans == 0"), 30)
        # The coordinator looks at all accounts twice a minute.
        servers.until(lambda: self.prometheus.now('fleetscan_accounts{status="revoked"} >= 1'), 60)
        self.ended = time.time()

    def end(self):
        self.prometheus.process.kill()
        self.prometheus.process.wait(30)
        self.exporter.kill()
        self.exporter.wait(30)
        self.team.end()


@pytest.fixture(scope="module")
def observed(fleetscan, tmp_path_factory):
    observed = Observed(fleetscan, tmp_path_factory.mktemp("observed"))
    try:
        observed.work()
        yield observed
    finally:
        observed.end()


def test_every_panel_has_something_to_show(observed):
    empty = []
    for board, panel, query in monitoring.panels():
        if not observed.prometheus.range(monitoring.concrete(query), observed.started, observed.ended):
            empty.append(f"{board}: {panel['title']}: {query}")
    assert not empty, "\n".join(empty)


def test_every_alert_asks_for_what_is_there(observed):
    empty = []
    for rule in monitoring.rules():
        observed.prometheus.now(rule["expr"])  # it parses, or this fails; it need not answer: QUIET
        for selector in monitoring.selectors(rule["expr"]):
            if selector not in NONE_HERE and not observed.prometheus.range(selector, observed.started, observed.ended):
                empty.append(f"{rule['alert']}: {selector}")
    assert not empty, "\n".join(empty)


def test_prometheus_says_what_happened(observed):
    ask = observed.prometheus
    seen = lambda query: ask.range(query, observed.started, observed.ended)
    assert seen('sum(fleetscan_api_calls_total{result="throttled"}) > 0'), "nothing was throttled: the test shows nothing"
    assert seen("min(fleetscan_limiter_factor_lowest) < 1"), "the limiters learned nothing"
    assert seen("sum(fleetscan_throttled_seconds_total) > 0")
    assert seen('up{job="fleetscan"} == 0'), "the worker's death was not seen"
    assert seen("max(fleetscan_workers) == 2") and seen("max(fleetscan_workers) == 1")
    assert seen('sum(fleetscan_scan_cells{state="pending"}) > 0') and seen("max(fleetscan_scan_eta_seconds) > 0")
    assert float(ask.now("max(fleetscan_hub_credentials_expiry_timestamp_seconds)")[0]["value"][1]) == pytest.approx(observed.ends, abs=2)
    active = {alert["labels"]["alertname"] for alert in ask.ask("alerts")["alerts"] if alert["state"] == "firing"}
    assert not active & {"FleetscanBreakerOpen", "FleetscanHubBroken", "FleetscanStoreUnreachable", "FleetscanDeadLetters"}, active


@pytest.mark.parametrize("name", PROMISED)
def test_every_metric_that_is_promised_is_there_with_its_labels(observed, name):
    found = observed.prometheus.range(f"fleetscan_{name}", observed.started, observed.ended)
    assert found
    for one in found:
        assert one["metric"].keys() - {"__name__", "job", "instance"} == PROMISED[name], one["metric"]


@pytest.mark.parametrize("name", ["task_seconds", "api_call_seconds", "limiter_wait_seconds", "assume_role_seconds"])
def test_buckets_fit_the_durations_that_are_met(observed, name):
    """Not all in one bucket, and next to none beyond the last: a percentile of these would be made up."""
    found = observed.prometheus.now(f"sum by (le) (last_over_time(fleetscan_{name}_bucket[1h]))")
    counts = sorted((float(one["metric"]["le"]), float(one["value"][1])) for one in found)
    whole = counts[-1][1]
    each = [after - before for before, after in zip([0, *(count for _, count in counts)], (count for _, count in counts))]
    assert whole > 5 and each[-1] < 0.01 * whole, counts
    if name == "assume_role_seconds":
        # Few calls, which the simulator answers in much the same time: they lie in one bucket or two, and not in the first.
        assert each[0] < whole, counts
        return
    # On a quiet machine the simulator takes much the same time for all of its answers.
    least = 2 if name == "api_call_seconds" else 3
    assert max(each) < 0.98 * whole and sum(one > 0 for one in each) >= least, counts


def test_the_revoked_account_is_counted_and_no_label_names_an_account(observed):
    for name in ("coordinator-1", "worker-1"):
        text = page(observed.ports[name], "/metrics")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr
        for account in observed.team.aws.accounts:
            assert account["id"] not in text
        assert "arn:" not in text
        assert text.count("\n") < 3_000, "too many series for one process"


def test_health_names_the_part_that_is_away(observed):
    port = observed.ports["coordinator-1"]
    well = page(port, "/readyz").splitlines()
    assert well[:4] == ["ready", "broker: ok", "hub: ok", "store: ok"] and well[4].startswith("breaker: The breaker is "), well
    observed.team.redis.freeze()
    try:
        def unready():
            try:
                page(port, "/readyz")
            except urllib.error.HTTPError as error:
                text = error.read().decode()
                return text if error.code == 503 and text.startswith("not ready\n") and "store" in text and "store: ok" not in text else None
        assert servers.until(unready, 60)
        assert page(port, "/healthz") == "ok\n", "a restart would mend nothing"
        servers.until(lambda: observed.prometheus.now('fleetscan_up{part="store",instance="127.0.0.1:%d"} == 0' % port), 30)
    finally:
        observed.team.redis.thaw()
    servers.until(lambda: observed.prometheus.now('fleetscan_up{part="store",instance="127.0.0.1:%d"} == 1' % port), 60)


def test_logs_are_lines_of_json_with_stable_fields(observed):
    lines = [json.loads(line) for name in ("coordinator-1", "worker-1") for line in observed.team.log(name).splitlines()]
    assert all({"timestamp", "level", "target", "message"} <= line.keys() for line in lines)
    revoked = [line for line in lines if line["message"].startswith("account.revoked") and line["account"] == observed.revoked]
    assert len(revoked) == 1, "a failure is told once, where it is handled"
    assert revoked[0]["scan"] == observed.shown["id"] and revoked[0]["aws.request_id"]
    text = json.dumps(lines)
    for account in observed.team.aws.accounts:
        assert account["external_id"] not in text and account["role_arn"] not in text
