"""A fleet in the middle of an upgrade: workers and coordinators of two versions beside each other. What the older ones do
not know they leave to the newer, and lose nothing of it."""

import os
import re
import time

import pytest

import fleet
import servers
from conftest import ROOT
from test_fleet import SCOPE, WORLD, agrees, undisturbed  # noqa: F401: a fixture is known by its name

LEFT = ("lambda", "sns")


@pytest.fixture
def made(fleetscan, tmp_path):
    """A fleet of no process yet, whose accounts are connected."""
    team = fleet.Fleet(fleetscan, tmp_path, WORLD)
    team.scope = SCOPE
    try:
        team.connect()
        yield team
    finally:
        team.end()


@pytest.fixture
def older(tmp_path):
    """The catalogue as a version had it that did not know SNS, and read less of Lambda."""
    folder = tmp_path / "older"
    folder.mkdir()
    for file in (ROOT / "proto" / "catalogue").glob("*.toml"):
        if file.stem != "sns":
            (folder / file.name).write_text(file.read_text())
    whole = (folder / "lambda.toml").read_text()
    blocks = re.split(r"(?m)^(?=\[\[operation\]\])", whole)
    fewer = [block for block in blocks if 'name = "ListCodeSigningConfigs"' not in block]
    assert len(fewer) == len(blocks) - 1
    (folder / "lambda.toml").write_text("".join(fewer))
    return folder


def all_shards(team, *names):
    """Whether these workers, and no others, have every shard between them."""
    shards = {worker["worker"]: len(worker["shards"]) for worker in team.json("workers")}
    return set(shards) == set(names) and sum(shards.values()) == team.shards


def readers(result):
    """The workers that ended cells of a scan."""
    return {cell["worker"] for cell in result.ledger if cell["calls"]} - {"coordinator"}


def nothing_was_put_aside(team):
    return team.rabbit.queues()["fleetscan.v1.dead"] == 0


@pytest.mark.long
def test_older_workers_leave_what_their_catalogue_lacks_to_newer_ones(made, older, undisturbed):  # noqa: F811
    team = made
    team.coordinator()
    for name in ("older-0", "older-1"):
        team.worker(name, "--catalogue-instead", older)
    servers.until(lambda: all_shards(team, "older-0", "older-1"))
    scan = team.scan()
    # Cells of accounts that let nobody in end without a worker.
    rest = sum(row[2] not in LEFT or row[3] in ("revoked", "unconfirmed") for row in undisturbed[0])
    team.until_done(scan, rest)
    called = team.aws.get("counters")["operations"]
    assert not [name for name in called if name.startswith(tuple(f"{service}:" for service in LEFT))], called.keys()
    # They would wait for ever, and come to no harm by it: nothing is begun, and so nothing is taken for poison.
    shown = team.show(scan)
    assert shown["state"] == "running" and shown["cells_done"] == rest, shown
    team.worker("newer")
    result = agrees(team, scan, undisturbed)
    assert nothing_was_put_aside(team)
    read = [cell for cell in result.ledger if cell["calls"] and cell["worker"] != "coordinator"]
    assert {cell["worker"] for cell in read if cell["service"] in LEFT} == {"newer"}
    assert {cell["worker"] for cell in read if cell["service"] not in LEFT} >= {"older-0", "older-1"}
    # Each line of a version other than the scan's says so.
    by = {name: {cell.get("catalogue") for cell in read if cell["worker"].startswith(name)} for name in ("older", "newer")}
    assert by["newer"] == {None}, by
    assert len(by["older"]) == 1 and by["older"].isdisjoint({None, result.manifest["catalogue"]}), by
    assert all(cell["attempts"] == 1 for cell in read if cell["service"] in LEFT), "what was left was charged"


@pytest.mark.long
def test_tasks_of_a_newer_format_wait_for_workers_that_read_it(made, undisturbed):  # noqa: F811
    team = made
    team.coordinator("coordinator-1", "--wire-version", "2")
    team.worker("older")
    servers.until(lambda: all_shards(team, "older"))
    scan = team.scan()
    servers.until(lambda: "tasks of a newer fleetscan go back" in team.log("older"), 60)
    time.sleep(5)
    shown = team.show(scan)
    assert shown["state"] == "running" and shown["cells_done"] == 0, shown
    assert nothing_was_put_aside(team)
    team.worker("newer", "--wire-version", "2")
    result = agrees(team, scan, undisturbed)
    assert readers(result) == {"newer"}
    assert nothing_was_put_aside(team)


@pytest.mark.long
@pytest.mark.long
def test_an_older_coordinator_leaves_a_newer_scan_to_its_own_kind(made, older, undisturbed):  # noqa: F811
    team = made
    team.coordinator("older", "--catalogue-instead", older)
    servers.until(lambda: "coordinator.leads" in team.log("older"))
    team.worker("worker-0")
    scan = team.scan()
    servers.until(lambda: "scan.not_known" in team.log("older"), 60)
    assert team.show(scan)["state"] == "running" and team.done(scan) == 0
    team.coordinator("newer")
    assert team.stop("older") == 0
    agrees(team, scan, undisturbed)


@pytest.mark.long
@pytest.mark.skipif("FLEETSCAN_OLDER_BIN" not in os.environ, reason="FLEETSCAN_OLDER_BIN names no binary of an older version")
def test_a_binary_of_an_older_version_and_this_one_do_a_scan_together(made, undisturbed):  # noqa: F811
    """Coordinator and one worker of either version: whoever leads and whoever reads."""
    team = made
    old, new = os.environ["FLEETSCAN_OLDER_BIN"], team.fleetscan
    team.fleetscan = old
    team.coordinator("older-coordinator")
    team.worker("older-worker")
    team.fleetscan = new
    team.worker("newer-worker")
    servers.until(lambda: all_shards(team, "older-worker", "newer-worker"))
    scan = team.scan()
    team.until_done(scan, 150)
    team.coordinator("newer-coordinator")
    assert team.stop("older-coordinator") == 0
    result = agrees(team, scan, undisturbed)
    assert readers(result) == {"older-worker", "newer-worker"}
    assert nothing_was_put_aside(team)
