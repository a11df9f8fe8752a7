"""What was read and cannot be read back at a scan's end: damaged parts, parts that are gone, results that are away. A fleet on
RabbitMQ and Redis, whose coordinator stands still while somebody else is at its results."""

import pytest

import servers

WORLD = ("--accounts", "4", "--seed", "5", "--latency-ms", "300", "--limits", "off", "--world", "lambda:ListFunctions=3,sns:ListTopics=3;regions=1")
SCOPE = ("--services", "lambda,sns", "--regions", "us-east-1")


@pytest.fixture(autouse=True)
def at_work(team):
    team.led()
    team.worker("worker-1")


def all_read(team):
    """A scan of which everything is read, and whose coordinator has not noticed yet; and its parts."""
    scan = team.scan()
    servers.until(lambda: team.show(scan)["accounts_by_state"].get("planned") == 4)
    team.freeze("coordinator-1")
    servers.until(lambda: (s := team.show(scan))["cells_done"] == s["cells"])
    return scan, sorted((team.folder / "out").glob(f"scan={scan}/records/**/part-*"))


def test_a_cell_whose_part_is_damaged_or_gone_is_read_anew(team):
    scan, parts = all_read(team)
    assert len(parts) == 8
    parts[0].write_bytes(b"damaged")
    parts[1].unlink()
    team.thaw("coordinator-1")
    shown = team.ended(scan)
    assert shown["state"] == "finished" and shown["outcomes"] == {"complete": 8}
    result = team.results(scan)
    assert sorted(cell["attempts"] for cell in result.ledger) == [1] * 6 + [2] * 2
    assert len(list(result.records())) == sum(cell["records"] for cell in result.ledger)
    assert not parts[0].exists() and team.log("coordinator-1").count("cell.read_anew") == 2


def test_a_cancelled_scan_ends_though_a_part_is_damaged(team):
    scan, parts = all_read(team)
    parts[0].write_bytes(b"damaged")
    team.run("scans", "cancel", scan)
    team.thaw("coordinator-1")
    shown = team.ended(scan)
    assert shown["state"] == "cancelled" and shown["outcomes"] == {"complete": 7, "failed": 1}
    failed = [cell for cell in team.results(scan).ledger if cell["outcome"] == "failed"]
    assert "cannot be read back" in failed[0]["error"] and failed[0]["parts"] == []


def test_results_that_are_away_are_waited_for_and_the_doctor_says_so(team):
    scan, parts = all_read(team)
    records = parts[0].parents[3]
    assert records.name == "records"
    records.rename(team.folder / "elsewhere")
    team.thaw("coordinator-1")
    said = servers.until(lambda: "MEND  scans" in (d := team.run("doctor", ok=(0, 1))) and d, 60)
    assert f"{scan} cannot go on since" in said and "none of the scan's files is at" in said
    assert "results.unreachable" in team.log("coordinator-1")
    assert team.show(scan)["state"] == "running"
    for left in records.glob("*"):
        left.unlink()
    if records.exists():
        records.rmdir()
    (team.folder / "elsewhere").rename(records)
    shown = team.ended(scan)
    assert shown["outcomes"] == {"complete": 8}
    assert all(cell["attempts"] == 1 for cell in team.results(scan).ledger), "nothing was read anew"
    servers.until(lambda: "ok    scans" in team.run("doctor", ok=(0, 1)))
