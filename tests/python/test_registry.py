"""The registry of accounts, by the commands that operators use: on the embedded store and on Redis alike."""

import json
import os
import pathlib
import secrets
import base64
import subprocess
import time

import pytest

import servers

MANY = 5_000


def key():
    return base64.b64encode(secrets.token_bytes(32)).decode()


def number(n):
    return str(100_000_000_000 + n)


def entry(n):
    return {
        "id": number(n),
        "role_arn": f"arn:aws:iam::{number(n)}:role/SecurityV0ReadOnly",
        "external_id": f"planted-external-id-{n:06}",
        "name": f"account {n}",
        "customer": f"customer-{n % 40}",
    }


def toml(entries):
    return "".join("[[account]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in one.items()) + "\n" for one in entries)


def csv(entries):
    columns = ["id", "role_arn", "external_id", "name", "customer"]
    return "\n".join([",".join(columns), *(",".join(one[c] for c in columns) for one in entries)]) + "\n"


class Accounts:
    def __init__(self, fleetscan, folder, redis=None):
        self.fleetscan, self.folder = fleetscan, folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {**kept, "FLEETSCAN_DATA": str(folder / "data"), "FLEETSCAN_KEY": key()}
        if redis:
            self.environment["FLEETSCAN_STORE"] = redis.url

    def run(self, *command, ok=0, **environment):
        command = [self.fleetscan, "accounts", *map(str, command)]
        done = subprocess.run(command, env={**self.environment, **environment}, capture_output=True, text=True, timeout=300, cwd=self.folder)
        assert done.returncode == ok, f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        # Whatever is said, no secret is.
        assert "planted-external-id" not in done.stdout + done.stderr and ":role/Security" not in done.stdout + done.stderr
        return done

    def json(self, *command, **more):
        return json.loads(self.run(*command, "--json", **more).stdout)

    def write(self, name, text):
        file = self.folder / name
        file.write_text(text)
        return file


@pytest.fixture(params=["embedded", "redis"])
def accounts(request, fleetscan, tmp_path):
    redis = servers.Redis(tmp_path / "redis") if request.param == "redis" else None
    yield Accounts(fleetscan, tmp_path, redis)
    if redis:
        redis.kill()


@pytest.mark.parametrize("kind", ["toml", "csv"])
def test_five_thousand_accounts_are_imported_quickly_and_again_without_a_change(accounts, kind):
    entries = [entry(n) for n in range(MANY)]
    file = accounts.write(f"many.{kind}", toml(entries) if kind == "toml" else csv(entries))
    began = time.monotonic()
    said = accounts.json("import", file)
    took = time.monotonic() - began
    assert said == {"connected": MANY, "updated": 0, "unchanged": 0}
    # Two minutes would be a debug build on a busy machine; minutes more, a round trip too many for each.
    assert took < 120, f"{took:.0f} s"
    listed = accounts.json("list")
    assert len(listed) == MANY and {one["status"] for one in listed} == {"pending"}
    assert len(accounts.json("list", "--customer", "customer-7")) == MANY // 40
    entries[3]["name"] = "renamed"
    file = accounts.write(f"many.{kind}", toml(entries) if kind == "toml" else csv(entries))
    assert accounts.json("import", file) == {"connected": 0, "updated": 1, "unchanged": MANY - 1}


@pytest.mark.parametrize("kind", ["toml", "csv"])
def test_all_mistakes_of_a_long_file_are_told_at_once_and_nothing_is_imported(accounts, kind):
    entries = [entry(n) for n in range(MANY)]
    entries[10]["id"] = "12345"
    entries[20]["external_id"] = "short"
    entries[30]["role_arn"] = entry(31)["role_arn"]
    entries[4_000]["id"] = entries[3_999]["id"]
    entries[4_000]["role_arn"] = entries[3_999]["role_arn"]
    file = accounts.write(f"wrong.{kind}", toml(entries) if kind == "toml" else csv(entries))
    lines = [(n * 7 + 1 if kind == "toml" else n + 2) for n in (10, 20, 30, 4_000)]
    said = accounts.run("import", file, ok=2).stderr
    assert "and no account was connected" in said
    for line in lines:
        assert any(f"wrong.{kind}:{near}" in said for near in range(line, line + 6)), (line, said)
    told = [line for line in said.splitlines() if f"wrong.{kind}:" in line]
    assert len(told) == 4, said
    # On Redis not even a memory was begun.
    if "FLEETSCAN_STORE" in accounts.environment:
        assert "no accounts yet" in accounts.run("list", ok=1).stderr
    else:
        assert accounts.json("list") == []
    said = accounts.run("import", file, "--partial")
    assert "4 mistakes" in said.stderr and f"{MANY - 4:,}" in said.stdout
    assert len(accounts.json("list")) == MANY - 4


def test_grants_are_sealed_anew_while_both_keys_are_there_and_not_otherwise(accounts):
    old, new = accounts.environment["FLEETSCAN_KEY"], key()
    accounts.run("import", accounts.write("few.toml", toml([entry(n) for n in range(3)])))
    before = {one["id"]: one["key"] for one in accounts.json("list")}
    # A wrong key, and none: a clear error each, and nothing changes.
    said = accounts.run("rekey", ok=1, FLEETSCAN_KEY=new).stderr
    assert "key" in said and len(said.splitlines()) <= 3, said
    said = accounts.run("rekey", ok=2, FLEETSCAN_KEY="").stderr
    assert "FLEETSCAN_KEY" in said and "openssl rand" in said, said
    said = accounts.run("rekey", ok=2, FLEETSCAN_KEY="c2hvcnQ=").stderr
    assert "32" in said, said
    assert {one["id"]: one["key"] for one in accounts.json("list")} == before
    # The new key first, the old one after it.
    assert accounts.json("rekey", FLEETSCAN_KEY=f"{new}\n{old}")["sealed"] == 3
    after = {one["id"]: one["key"] for one in accounts.json("list")}
    assert set(after.values()).isdisjoint(before.values()) and len(set(after.values())) == 1
    assert accounts.json("rekey", FLEETSCAN_KEY=f"{new}\n{old}")["sealed"] == 0
    # From now on the new one is enough, and the old one opens nothing.
    assert accounts.json("rekey", FLEETSCAN_KEY=new)["sealed"] == 0
    accounts.run("import", accounts.folder / "few.toml", FLEETSCAN_KEY=new)
    accounts.run("import", accounts.folder / "few.toml", ok=1, FLEETSCAN_KEY=old)
    acts = [change["evidence"]["act"] for change in accounts.json("show", number(0), "--history")["history"]]
    assert acts == ["connect", "rekey"]


def test_a_copy_is_sealed_and_brings_back_what_was_not_disconnected(accounts, fleetscan, tmp_path):
    accounts.run("import", accounts.write("few.toml", toml([entry(n) for n in range(4)])))
    copy = accounts.folder / "copy.json"
    accounts.run("export", "--sealed", "--to", copy)
    text = copy.read_text()
    assert "planted-external-id" not in text and "SecurityV0ReadOnly" not in text and text.count('"sealed"') == 4
    accounts.run("export", ok=2)
    accounts.run("remove", number(1))
    assert accounts.json("restore", copy) == {"restored": 3, "in_copy": 4}
    states = {one["id"]: one["status"] for one in accounts.json("list", "--all")}
    assert states == {number(0): "pending", number(1): "disconnected", number(2): "pending", number(3): "pending"}
    shown = accounts.run("show", number(1), "--history").stdout
    assert "erased" in shown and "remove" in shown, shown
    # Elsewhere, a copy made after the removal brings the tombstone; the grants open with the same key.
    accounts.run("export", "--sealed", "--to", copy)
    (tmp_path / "elsewhere").mkdir()
    other = Accounts(fleetscan, tmp_path / "elsewhere")
    other.environment["FLEETSCAN_KEY"] = accounts.environment["FLEETSCAN_KEY"]
    assert other.json("restore", copy) == {"restored": 4, "in_copy": 4}
    assert other.json("import", accounts.folder / "few.toml") == {"connected": 1, "updated": 0, "unchanged": 3}
    other.run("restore", accounts.write("no-copy.json", "{}"), ok=2)


def test_the_whole_history_of_an_account_is_listed(accounts):
    accounts.run("import", accounts.write("few.toml", toml([entry(1)])))
    id = number(1)
    accounts.run("update", id, "--customer", "acme", "--regions", "eu-west-1")
    accounts.run("pause", id)
    accounts.run("resume", id)
    accounts.run("remove", id)
    accounts.run("import", accounts.folder / "few.toml")
    history = accounts.json("show", id, "--history")["history"]
    told = [(change["from"], change["to"], change["evidence"]["act"]) for change in history]
    assert told == [
        (None, "pending", "connect"), ("pending", "pending", "update"), ("pending", "paused", "pause"), ("paused", "pending", "resume"),
        ("pending", "disconnected", "remove"), ("disconnected", "pending", "connect"),
    ]
    assert history[1]["evidence"]["changed"] == "customer, regions"
    assert all(change["evidence"]["by"] == "operator" for change in history)
    text = accounts.run("show", id, "--history").stdout
    assert "paused → pending" in text and "changed: customer, regions" in text, text
    said = accounts.run("resume", id, ok=2).stderr
    assert "is not paused" in said
    said = accounts.run("show", number(9), ok=2).stderr
    assert "is not known" in said


def test_a_new_external_id_is_unlike_any_other_and_fits(accounts):
    made = {accounts.json("new-external-id")["external_id"] for _ in range(5)}
    assert len(made) == 5 and all(16 <= len(one) <= 64 for one in made)


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_process_with_sessions_forbids_core_dumps_and_tracing(fleetscan, tmp_path):
    """What below /proc/<pid> tells of the memory of a process that may not be dumped is root's, whoever runs it; and
    then the kernel lets nobody but root trace it (proc(5), ptrace(2))."""
    import fleet

    # Root's own files would be root's anyway.
    somebody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    world = ("--accounts", "3", "--seed", "5", "--latency-ms", "5", "--limits", "off", "--world", "lambda:ListFunctions=3;regions=1")
    team = fleet.Fleet(fleetscan, tmp_path, world)
    running = []
    try:
        team.connect()
        # Its results lie in no folder of somebody's; a worker needs none until there is a task.
        command = [fleetscan, "worker", "--name", "worker-1"]
        running.append(subprocess.Popen(command, env=team.environment, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **somebody))
        running.append(subprocess.Popen(["sleep", "600"], cwd="/", **somebody))
        servers.until(lambda: "worker-1" in team.run("workers"))
        worker, other = (os.stat(f"/proc/{process.pid}/environ").st_uid for process in running)
        assert other != 0, "what tells the two apart"
        assert worker == 0, "it can be dumped and traced"
        limits = pathlib.Path(f"/proc/{running[0].pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], core
    finally:
        for process in running:
            process.kill()
            process.wait(30)
        team.end()
