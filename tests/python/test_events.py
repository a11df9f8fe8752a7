"""Events out: real receivers, which check signatures by themselves, fail, die and answer slowly; a fleet on RabbitMQ and
Redis whose coordinators are killed meanwhile."""

import json
import time

import pytest

import fleet
import listener
import servers

WORLD = ("--accounts", "12", "--seed", "5", "--latency-ms", "5", "--limits", "off", "--world", "lambda:ListFunctions=3,sns:ListTopics=3;regions=1")
SCOPE = ("--services", "lambda,sns", "--regions", "us-east-1")


@pytest.fixture
def made():
    """Makes receivers, and ends them."""
    all = []

    def make(**more):
        all.append(listener.Listener(**more))
        return all[-1]

    yield make
    for one in all:
        one.stop()


def receivers(folder, **named):
    """The file that names them, with their secrets beside it."""
    text = ""
    for name, one in named.items():
        one, more = one if isinstance(one, tuple) else (one, "")
        (folder / f"{name}.secret").write_text(one.secret + "\n")
        text += f'[[receiver]]\nname = "{name}"\nurl = "{one.url}"\nsecret_file = "{name}.secret"\n{more}\n'
    file = folder / "receivers.toml"
    file.write_text(text)
    return file


def ids(events):
    return [event["id"] for event in events]


def test_what_happens_is_told_signed_once_and_in_order(team, made, tmp_path):
    all, few = made(), made()
    file = receivers(tmp_path, all=all, few=(few, 'types = ["account.revoked"]'))
    team.connect()
    team.coordinator("coordinator-1", "--receivers", file)
    team.worker("worker-1")
    one, other = team.aws.accounts[0]["id"], team.aws.accounts[1]["id"]
    first = team.scan()
    assert team.ended(first)["state"] == "finished"
    team.aws.do("delete_role", account=one)
    team.aws.do("detach_actions", account=other, actions=["sns:GetTopicAttributes"])
    assert team.ended(team.scan())["state"] == "finished"
    team.aws.do("restore_role", account=one)
    team.aws.do("attach_actions", account=other, actions=["sns:GetTopicAttributes"])
    scans = [first]

    def is_back():
        # A worker remembers a denial for five seconds, so the first scan after may be too soon.
        scans.append(team.scan())
        team.ended(scans[-1])
        return team.json("accounts", "show", one)["status"] == "active"

    servers.until(is_back)
    servers.until(lambda: [k for k, _ in all.kinds()].count("scan.finished") == len(scans) + 1)
    scan = ("scan.finished", None)
    assert all.kinds()[:4] == [scan, ("account.revoked", one), ("account.degraded", other), scan]
    assert sorted(k for k in all.kinds()[4:] if k != scan) == [("account.recovered", other), ("account.reinstated", one)]
    told_of = len(all.kinds())
    assert not all.unsigned and not few.unsigned
    assert few.kinds() == [("account.revoked", one)]
    revoked = few.taken()[0]
    assert revoked["schema"] == 1 and revoked["data"]["status"] == "revoked" and revoked["data"]["previous"] == "active"
    evidence = revoked["data"]["evidence"]
    assert evidence["code"] == "AccessDenied" and evidence["request_id"] and evidence["doing"]
    degraded = next(e for e in all.taken() if e["type"] == "account.degraded")
    assert degraded["data"]["denied"] == [{"action": "sns:GetTopicAttributes", "by": "identity"}]
    ended = [e["data"] for e in all.taken() if e["type"] == "scan.finished"]
    assert [ended[0]["scan"], *(e["scan"] for e in ended[2:])] == scans and [e["complete"] for e in ended[:2]] == [True, False]
    assert ended[0]["cells"] == {"complete": 24} and ended[0]["accounts"] == 12
    # The trail says the same, and no secret has left.
    trail = team.json("events", "list")
    assert ids(trail) == ids(all.taken())
    assert ids(team.json("events", "list", "--account", one)) == [e["id"] for e in trail if e["data"].get("account") == one]
    told = json.dumps(trail) + team.log("coordinator-1") + team.run("events", "receivers") + team.run("events", "list")
    for secret in [all.secret, few.secret, "planted-path", "arn:aws:iam", *(a["external_id"] for a in team.aws.accounts)]:
        assert secret not in told, secret
    standing = {r["name"]: r for r in team.json("events", "receivers")}
    assert (standing["all"]["delivered"], standing["few"]["delivered"]) == (told_of, 1)
    assert all_zero(standing) and standing["few"]["told_up_to"] == told_of
    # The manifest of a fleet's scan counts the roles that were assumed for it.
    assert team.results(first).manifest["assume_role_calls"] == 12


def all_zero(standing):
    return all(r["pending"] == 0 and r["given_up"] == 0 and "failing" not in r for r in standing.values())


def test_a_receiver_that_fails_dies_and_is_slow_is_told_of_everything_though_coordinators_are_killed(team, made, tmp_path):
    hook = made(answers=[500, 302, 503])
    file = receivers(tmp_path, siem=hook)
    team.connect()
    for n in (1, 2):
        team.coordinator(f"coordinator-{n}", "--receivers", file)
    team.worker("worker-1")
    assert team.ended(team.scan())["state"] == "finished"
    servers.until(lambda: hook.kinds() == [("scan.finished", None)])
    assert [status for status, *_ in hook.heard] == [500, 302, 503, 204], "and no redirect is followed"
    assert len(set(ids(event for *_, event in hook.heard))) == 1, "always under the same id"
    assert not hook.unsigned

    # It is gone while accounts are revoked; and so is the coordinator that leads, before it could tell.
    hook.stop()
    gone = [a["id"] for a in team.aws.accounts[:3]]
    for account in gone:
        team.aws.do("delete_role", account=account)
    assert team.ended(team.scan())["state"] == "finished"
    servers.until(lambda: team.json("events", "receivers")[0].get("failing"))
    assert "cannot be reached" in team.json("events", "receivers")[0]["failing"]["problem"]
    leads = next(n for n in (1, 2) if "coordinator.leads" in team.log(f"coordinator-{n}") and f"coordinator-{n}" in team.processes)
    team.kill(f"coordinator-{leads}")

    # Back, it answers slowly at first: the first answer comes too late for whoever asked.
    def slow():
        time.sleep(17)
        return 204

    hook.answers = [slow]
    hook.start()
    expected = sorted([("account.revoked", account) for account in gone]) + [("scan.finished", None)] * 2
    servers.until(lambda: len(hook.kinds()) >= len(expected), 120)
    assert sorted(hook.kinds()[1:4]) == expected[:3] and [k for k, _ in hook.kinds()].count("scan.finished") == 2
    trail = team.json("events", "list")
    taken = hook.taken()
    assert set(ids(trail)) == set(ids(taken)), "each at least once, and nothing else"
    first_times = list(dict.fromkeys(ids(taken)))
    assert first_times == ids(trail), "in order"
    assert not hook.unsigned
    other = f"coordinator-{3 - leads}"
    servers.until(lambda: "events.receiver_takes" in team.log(other) or not team.json("events", "receivers")[0].get("failing"))
    assert team.json("events", "receivers")[0]["given_up"] == 0


def test_a_receiver_that_will_have_nothing_of_an_event_is_told_of_the_next_and_the_doctor_says_so(team, made, tmp_path):
    hook = made(answers=[422] * 5)
    team.connect()
    team.coordinator("coordinator-1", "--receivers", receivers(tmp_path, siem=hook), "--listen", "0")
    team.worker("worker-1")
    team.ended(team.scan())
    servers.until(lambda: team.json("events", "receivers")[0]["given_up"] == 1, 120)
    team.ended(team.scan())
    servers.until(lambda: len(hook.taken()) == 1)
    [given_up] = team.json("events", "receivers")[0]["undelivered"]
    assert given_up["type"] == "scan.finished" and given_up["tries"] == 5 and "422" in given_up["problem"]
    assert given_up["event"] != hook.taken()[0]["id"]
    assert team.log("coordinator-1").count("events.undelivered") == 1
    doctor = team.run("doctor", ok=(0, 1))
    assert "MEND  events" in doctor and "siem never took 1 event" in doctor, doctor


def test_a_test_event_says_what_each_receiver_answers(fleetscan, made, tmp_path):
    import subprocess

    good, bad, strange = made(), made(answers=[503]), made()
    file = receivers(tmp_path, good=good, bad=bad, strange=strange)
    (tmp_path / "strange.secret").write_text(listener.new_secret())
    done = subprocess.run([fleetscan, "events", "test", "--receivers", str(file), "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    said = {one["receiver"]: one for one in json.loads(done.stdout)}
    assert said["good"]["ok"] and not said["bad"]["ok"] and "503" in said["bad"]["problem"]
    assert "secret" in said["strange"]["problem"] and strange.unsigned
    assert good.taken()[0]["type"] == "fleetscan.test"
    for secret in (good.secret, bad.secret, "planted-path"):
        assert secret not in done.stdout + done.stderr
    # Both of two secrets sign while one replaces the other.
    (tmp_path / "strange.secret").write_text(f"{listener.new_secret()}\n{strange.secret}\n")
    done = subprocess.run([fleetscan, "events", "test", "--receivers", str(file), "--only", "strange"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and len(strange.taken()) == 1, done.stdout


def test_an_address_beyond_this_machine_without_tls_is_refused_and_not_repeated(fleetscan, tmp_path):
    import subprocess

    (tmp_path / "s").write_text(listener.new_secret())
    file = tmp_path / "receivers.toml"
    file.write_text('[[receiver]]\nname = "a"\nurl = "http://10.1.2.3/planted-path"\nsecret_file = "s"\n[[receiver]]\nname = "b"\nurl = "https://h.example/"\nsecret_env = "NOT_SET"\n')
    done = subprocess.run([fleetscan, "events", "test", "--receivers", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stdout
    assert "use https://" in done.stderr and "NOT_SET is not set" in done.stderr, "all mistakes at once"
    assert "planted-path" not in done.stderr and "10.1.2.3" not in done.stderr
