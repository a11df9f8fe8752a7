"""Canaries: accounts known to be well. While one of them does not let us in, nobody is marked."""

import urllib.request

import pytest

import servers

WORLD = ("--accounts", "12", "--seed", "5", "--latency-ms", "5", "--limits", "off", "--world", "lambda:ListFunctions=3;regions=1")
SCOPE = ("--services", "lambda", "--regions", "us-east-1")


def states(team):
    return {account["id"]: account["status"] for account in team.json("accounts", "list")}


def test_a_canary_that_fails_opens_the_breaker_and_one_that_comes_back_closes_it(team):
    canary, leaver, *others = [account["id"] for account in team.aws.accounts]
    team.connect()
    team.coordinator("coordinator-1", "--canary", canary)
    team.worker("worker-1")
    assert team.ended(team.scan())["outcomes"] == {"complete": 12}
    team.aws.do("delete_role", account=canary)
    team.aws.do("delete_role", account=leaver)
    scan = team.scan()
    said = servers.until(lambda: (b := team.json("breaker", "show"))["open"] and b)
    assert "canary" in said["standing"]["why"]
    assert "MEND  breaker" in team.run("doctor", ok=(0, 1))
    # The others go on, and the two that are denied wait.
    team.until_done(scan, 10)
    assert set(states(team).values()) == {"active"} and team.show(scan)["state"] == "running"
    team.aws.do("restore_role", account=canary)
    shown = team.ended(scan)
    assert shown["state"] == "finished"
    assert states(team) == {leaver: "revoked", canary: "active", **dict.fromkeys(others, "active")}
    # An account that did not let us in has the cells that any account would have.
    assert {k: v for k, v in shown["outcomes"].items() if k != "revoked"} == {"complete": 11}, shown["outcomes"]
    servers.until(lambda: not team.json("breaker", "show")["open"])
    kinds = [event["type"] for event in team.json("events", "list")]
    assert [k for k in kinds if k.startswith("breaker")] == ["breaker.opened", "breaker.closed"], kinds
    assert kinds.count("account.revoked") == 1


@pytest.mark.parametrize(("how", "why"), [("policy_lost", "a policy of our own identity denies AssumeRole"), ("invalid", "our own identity, or a canary, does not work")])
def test_a_hub_that_is_refused_before_the_first_probe_opens_the_breaker_and_marks_nobody(team, how, why):
    team.connect()
    port = servers.free_port()
    team.coordinator("coordinator-1", "--listen", f"127.0.0.1:{port}")
    team.worker("worker-1")
    assert team.ended(team.scan())["outcomes"] == {"complete": 12}
    team.aws.do("break_hub", how=how)
    # A session of the first scan's would serve the second one's probe.
    team.aws.do("expire_sessions")
    scan = team.scan()
    said = servers.until(lambda: (b := team.json("breaker", "show"))["open"] and b)
    assert said["standing"]["why"] == why
    assert "MEND  breaker" in team.run("doctor", ok=(0, 1))
    assert "breaker.opened" in team.log("coordinator-1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as metrics:
        assert "fleetscan_hub_breaker_open 1" in metrics.read().decode()
    assert team.done(scan) == 0 and set(states(team).values()) == {"active"}
    team.aws.do("break_hub", how="none")
    shown = team.ended(scan)
    assert shown["state"] == "finished" and shown["outcomes"] == {"complete": 12}
    servers.until(lambda: not team.json("breaker", "show")["open"])
    kinds = [event["type"] for event in team.json("events", "list")]
    assert [k for k in kinds if k != "scan.finished"] == ["breaker.opened", "breaker.closed"], kinds
    histories = [team.json("accounts", "show", account["id"], "--history")["history"] for account in team.aws.accounts]
    assert all([change["to"] for change in history] == ["pending", "active"] for history in histories), histories


def test_an_operator_forces_the_breaker_either_way(team):
    # Of all four customers: two of them may well leave together.
    leavers = [account["id"] for account in team.aws.accounts[::2]]
    team.connect()
    team.coordinator()
    team.worker("worker-1")
    team.ended(team.scan())
    # Held open, nobody is marked, though one alone has left.
    team.run("breaker", "open", "--reason", "we are moving the hub")
    team.aws.do("delete_role", account=leavers[0])
    scan = team.scan()
    said = servers.until(lambda: (b := team.json("breaker", "show"))["open"] and b)
    assert said["standing"]["why"] == "an operator opened it" and said["forced"]["reason"] == "we are moving the hub"
    assert "since" in team.run("breaker", "show")
    team.until_done(scan, 11)
    assert set(states(team).values()) == {"active"}
    team.run("breaker", "auto")
    team.ended(scan)
    assert states(team)[leavers[0]] == "revoked"
    # Five of eleven at once open it by themselves; held closed, all of them are marked.
    for account in leavers[1:]:
        team.aws.do("delete_role", account=account)
    scan = team.scan()
    servers.until(lambda: team.json("breaker", "show")["open"])
    assert [s for s in states(team).values()].count("revoked") == 1
    team.run("breaker", "close", "--reason", "they did leave")
    assert team.ended(scan)["state"] == "finished"
    assert {a for a, s in states(team).items() if s == "revoked"} == set(leavers)
