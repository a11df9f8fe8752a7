"""Dashboards, alerts and runbook: well-formed, and of one mind."""

import json
import re
import subprocess

import pytest

import monitoring

RUNBOOK = monitoring.ROOT / "docs" / "runbook.md"


def anchors(text):
    return {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")}


def test_the_alerts_fire_when_they_should_and_only_then():
    tests = monitoring.ALERTS.with_name("alerts_test.yaml")
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = monitoring.yaml.safe_load(tests.read_text())["tests"]
    told = {(rule["alertname"], bool(rule["exp_alerts"])) for test in tested for rule in test["alert_rule_test"]}
    assert told == {(rule["alert"], fires) for rule in monitoring.rules() for fires in (True, False)}


def test_prometheus_takes_the_configuration():
    done = subprocess.run(["promtool", "check", "config", monitoring.ALERTS.with_name("prometheus.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_names_a_page_of_the_runbook_and_every_page_an_alert():
    known = anchors(RUNBOOK.read_text()) - {"runbook"}
    named = set()
    for rule in monitoring.rules():
        page, anchor = rule["annotations"]["runbook_url"].split("#")
        assert page == "docs/runbook.md"
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["alert"] in RUNBOOK.read_text(), rule["alert"]
        named.add(anchor)
    assert named == known


@pytest.mark.parametrize("file", monitoring.DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file):
    board = json.loads(file.read_text())
    assert board["schemaVersion"] >= 38, "Grafana 10 or later"
    assert board["uid"] == f"fleetscan-{file.stem}"
    assert [v["name"] for v in board["templating"]["list"] if v["type"] == "datasource"] == ["datasource"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        about = panel["title"]
        assert len(panel["description"]) > 30, f"{about}: say what it tells, and what to do"
        assert panel["datasource"]["uid"] == "${datasource}", about
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"]), about
        assert panel["fieldConfig"]["defaults"]["unit"], about
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None and steps[1:] == sorted(set(steps[1:])), f"{about}: a threshold that nobody sees"
        spot = panel["gridPos"]
        assert spot["x"] + spot["w"] <= 24, about
    taken = [(x, y) for p in board["panels"] for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"]) for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])]
    assert len(taken) == len(set(taken)), "panels overlap"
