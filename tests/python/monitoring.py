"""A Prometheus of a test's own, and what the dashboards and alerts ask of it."""

import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import yaml

import servers

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"


class Prometheus(servers.Server):
    """Scrapes `targets` (by job) each second."""

    def __init__(self, folder, targets):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = servers.free_port()
        jobs = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]} for job, ports in targets.items()]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}, "rule_files": [str(ALERTS)], "scrape_configs": jobs}
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.start()

    def start(self):
        self.log = open(self.folder / "log", "ab")
        command = ["prometheus", f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        servers.until(lambda: servers.answers(self.port))
        servers.until(self.ready)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, page, **query):
        address = f"http://127.0.0.1:{self.port}/api/v1/{page}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def now(self, expression):
        return self.ask("query", query=expression)["result"]

    def range(self, expression, start, end):
        """Every series of it, with samples that are numbers."""
        result = self.ask("query_range", query=expression, start=start, end=end, step=1)["result"]
        return [one for one in result if any(value != "NaN" for _, value in one["values"])]


def panels():
    """(dashboard, panel, query) of every panel."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield file.stem, panel, target["expr"]


def rules():
    """Every alert."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def concrete(expression):
    """As Grafana would send it, at a scrape a second."""
    return expression.replace("$__rate_interval", "10s")


def selectors(expression):
    """The series that an expression reads."""
    return set(re.findall(r"\b(?:fleetscan_\w+|up\b|process_\w+|rabbitmq_\w+|redis_\w+)(?:\{[^}]*\})?", expression))
