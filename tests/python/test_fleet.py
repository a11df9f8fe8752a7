"""Faults: whatever dies or freezes in the middle of a scan, inventory and ledger are those of an undisturbed run."""

import itertools
import os
import time

import pytest

import fleet
import servers

# Enough accounts that a fault finds work under way, small enough that a test takes some twenty seconds.
WORLD = ("--accounts", "18", "--seed", "7", "--latency-ms", "35", "--limits", "off")
# Enough services that cells differ: calls that depend on others, batches, giants, global ones.
SCOPE = ("--services", "iam,s3,lambda,sns,dynamodb,ecs,secretsmanager,ssm")
WORKERS = 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One broker for the module: it takes seconds to start. Tests that break it start it again."""
    rabbit = servers.Rabbit(tmp_path_factory.mktemp("broker") / "rabbit")
    yield rabbit
    rabbit.end()


@pytest.fixture(scope="module")
def undisturbed(fleetscan, tmp_path_factory):
    """What the world holds, read by one process alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    aws = fleet.simulated.Simulated(fleetscan, folder, *WORLD)
    hub = aws.get("hub")
    environment = {**os.environ, "AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": hub["access_key_id"], "AWS_SECRET_ACCESS_KEY": hub["secret_access_key"]}
    command = [fleetscan, "scan", "--accounts", folder / "accounts.toml", "--out", folder / "out", "--data", folder / "data", "--share", "1", "--json", *SCOPE]
    done = fleet.subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    aws.end()
    assert done.returncode in (0, 3), done.stderr
    return fleet.results.Scan(folder / "out").inventory()


@pytest.fixture
def broker(shared):
    """The module's broker, empty."""
    if shared.process.poll() is not None or not servers.answers(shared.port):
        shared.start()
    shared.control("stop_app")
    shared.control("reset")
    shared.control("start_app")
    return shared


@pytest.fixture
def team(fleetscan, broker, tmp_path):
    """A fleet whose accounts are connected: a coordinator and some workers."""
    team = fleet.Fleet(fleetscan, tmp_path, WORLD, rabbit=broker)
    team.scope = SCOPE
    try:
        team.connect()
        team.coordinator()
        for n in range(WORKERS):
            team.worker(f"worker-{n}")
        servers.until(lambda: settled(team), 30)
        yield team
    finally:
        keep, team.rabbit.end = team.rabbit.end, lambda: None
        team.end()
        broker.end = keep


def settled(team):
    """Every shard has its worker, and every worker its shards."""
    workers = team.json("workers")
    return len(workers) == WORKERS and sum(len(w["shards"]) for w in workers) == team.shards and all(w["shards"] for w in workers)


def agrees(team, scan, undisturbed):
    """The scan ended as if nothing had been."""
    shown = team.ended(scan)
    assert shown["state"] == "finished", shown
    cells, records = team.results(scan).inventory()
    assert cells == undisturbed[0]
    assert records.keys() == undisturbed[1].keys()
    for key, properties in records.items():
        assert properties == undisturbed[1][key], key
    # Files that no ledger line lists are gone.
    result = team.results(scan)
    listed = {p["name"] for c in result.ledger for p in c["parts"]}
    assert {p.name for p in (result.folder / "records").rglob("*") if p.is_file()} == listed
    return result


def begun(team, cells=150):
    """A scan that is well under way."""
    scan = team.scan()
    team.until_done(scan, cells)
    return scan


def calls_of(aws, service):
    operations = aws.get("counters")["operations"]
    return sum(sum(results.values()) for name, results in operations.items() if name.startswith(f"{service}:"))


def test_a_fleet_reads_what_one_process_reads(team, undisturbed):
    result = agrees(team, team.scan(), undisturbed)
    workers = {cell["worker"] for cell in result.ledger if cell["calls"]}
    assert workers >= {f"worker-{n}" for n in range(WORKERS)}, workers
    assumed = [a["assume_role"] for a in team.aws.get("counters")["accounts"].values()]
    # A denial is asked for twice before it is believed.
    assert sum(assumed) <= 1.3 * len(assumed) + 10, assumed


def test_killed_workers_lose_nothing(team, undisturbed):
    scan = begun(team)
    team.kill("worker-0")
    team.kill("worker-1")
    team.worker("worker-9")
    agrees(team, scan, undisturbed)


def test_a_killed_coordinator_is_replaced(team, undisturbed):
    team.coordinator("coordinator-2")
    scan = begun(team)
    team.kill("coordinator-1")
    killed = time.monotonic()
    servers.until(lambda: "coordinator.leads" in team.log("coordinator-2"), 20)
    assert time.monotonic() - killed <= 15
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_a_broker_that_is_killed_and_comes_back_loses_nothing(team, undisturbed):
    scan = begun(team)
    team.rabbit.restart()
    agrees(team, scan, undisturbed)


def test_a_broker_that_comes_back_empty_loses_nothing(team, undisturbed):
    scan = begun(team)
    team.rabbit.wipe()
    agrees(team, scan, undisturbed)


def test_a_store_that_is_killed_and_comes_back_loses_nothing(team, undisturbed):
    scan = begun(team)
    team.redis.restart()
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_a_worker_frozen_beyond_its_lease_does_no_harm(team, undisturbed):
    scan = begun(team)
    team.freeze("worker-0")
    time.sleep(14)
    team.thaw("worker-0")
    agrees(team, scan, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("server", ["rabbit", "redis"])
def test_a_server_that_stands_still_for_a_while_loses_nothing(team, undisturbed, server):
    scan = begun(team)
    getattr(team, server).freeze()
    time.sleep(20)
    getattr(team, server).thaw()
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_a_memory_alarm_of_the_broker_only_delays(team, undisturbed):
    scan = begun(team)
    team.rabbit.control("set_vm_memory_high_watermark", "absolute", "1")
    time.sleep(20)
    team.rabbit.control("set_vm_memory_high_watermark", "0.6")
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_a_store_without_memory_only_delays(team, undisturbed):
    scan = begun(team)
    team.redis.ask("CONFIG", "SET", "maxmemory", "1")
    time.sleep(10)
    team.redis.ask("CONFIG", "SET", "maxmemory", "0")
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_results_that_cannot_be_written_for_a_while_only_delay(team, undisturbed):
    scan = begun(team)
    out = team.folder / "out"
    away = team.folder / "away"
    out.rename(away)
    out.write_text("a file in the folder's place\n")
    time.sleep(10)
    out.unlink()
    away.rename(out)
    agrees(team, scan, undisturbed)


def test_a_wiped_store_stops_everything_and_says_so(team):
    team.run("accounts", "export", "--sealed", "--to", team.folder / "copy.json")
    scan = begun(team)
    team.redis.ask("FLUSHALL")
    for name in list(team.processes):
        process = team.processes.pop(name)
        assert process.wait(30) == 1, name
        assert "lost its memory" in team.log(name), team.log(name)[-2000:]
    refused = fleet.subprocess.run([team.fleetscan, "scans", "show", scan], env=team.environment, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0 and "accounts restore" in refused.stderr, refused.stderr
    assert not list((team.folder / "out").glob(f"scan={scan}/manifest.json")), "never a silent success"
    team.run("accounts", "restore", team.folder / "copy.json")
    assert len(team.json("accounts", "list")) == len(team.aws.accounts)
    team.coordinator("coordinator-3")
    team.worker("worker-3")
    assert team.ended(team.scan())["state"] == "finished"


def test_a_cancelled_scan_stops_within_two_seconds_and_goes_on_when_asked(team, undisturbed):
    scan = begun(team)
    team.run("scans", "cancel", scan)
    time.sleep(2)
    before = team.aws.get("counters")["calls"]
    time.sleep(2)
    assert team.aws.get("counters")["calls"] == before, "a call began later than two seconds after"
    shown = team.ended(scan)
    assert shown["state"] == "cancelled" and shown["outcomes"]["cancelled"] > 0 and shown["exit"] == 3, shown
    team.run("scans", "start", "--resume", scan)
    agrees(team, scan, undisturbed)


def test_an_account_that_is_paused_in_mid_scan_is_left_alone(team):
    def calls():
        return {account: counted["calls"] for account, counted in team.aws.get("counters")["accounts"].items()}

    scan = begun(team, 60)
    before = calls()
    servers.until(lambda: any(n > before.get(account, 0) for account, n in calls().items()), 30)
    account = next(account for account, n in calls().items() if n > before.get(account, 0))
    team.run("accounts", "pause", account)
    time.sleep(2)
    then = calls()[account]
    assert team.ended(scan)["state"] == "finished"
    assert calls()[account] == then, "a call began later than two seconds after"
    cells = [cell for cell in team.results(scan).ledger if cell["account"] == account]
    stopped = [cell for cell in cells if cell["outcome"] == "cancelled"]
    assert stopped and all("paused" in cell["error"] for cell in stopped), cells
    assert {row["id"]: row["status"] for row in team.json("accounts", "list")}[account] == "paused"


@pytest.mark.long
def test_a_drained_worker_hands_in_what_it_has(team, undisturbed):
    scan = begun(team)
    assert team.stop("worker-0") == 0
    assert "worker.drain.cut" not in team.log("worker-0")
    agrees(team, scan, undisturbed)


def test_an_operators_errand_does_not_wait_for_the_fleet(team):
    whole = begun(team, 20)
    first, last = (sorted(a["id"] for a in team.aws.accounts)[n] for n in (0, -1))
    joined = team.json("scans", "start", "--accounts", last, *SCOPE)
    assert joined["id"] == whole and joined["joined"], "overlapping scans of an account are one"
    # Another scope, so that it is a scan of its own.
    errand = team.scan("--accounts", first, "--services", "lambda,sns")
    assert errand != whole
    assert team.ended(errand, 60)["state"] == "finished"
    assert team.show(whole)["state"] == "running", "the fleet-wide scan was over first: the test shows nothing"
    team.ended(whole)


def test_a_service_that_is_switched_off_is_not_called(team):
    scan = begun(team, 60)
    team.run("switch", "off", "lambda", "--reason", "the customer asked")
    time.sleep(2)
    before = calls_of(team.aws, "lambda")
    shown = team.ended(scan)
    assert calls_of(team.aws, "lambda") == before
    assert shown["exit"] == 3
    result = team.results(scan)
    told = [c["error"] for c in result.ledger if c["service"] == "lambda" and c["outcome"] in ("failed", "partial")]
    assert told and all("the customer asked" in text for text in told), told
    team.run("switch", "on", "lambda")


@pytest.mark.long
def test_a_task_that_kills_its_workers_ends_as_failed_and_the_innocent_complete(team, undisturbed):
    scan = begun(team, 20)
    row = next(c for c in undisturbed[0] if c[2] == "sns" and c[3] == "complete" and c[1] == "ap-southeast-2")
    poison = "/".join(row[:3])
    for name in list(team.processes):
        if name.startswith("worker"):
            team.kill(name)
    deaths = itertools.count()
    names = set()
    end = time.monotonic() + 240
    while team.show(scan)["state"] == "running":
        assert time.monotonic() < end, "the scan does not end"
        for name in [n for n in names if team.processes[n].poll() is not None]:
            team.processes.pop(name)
            names.discard(name)
            next(deaths)
        if len(names) < 2:
            name = f"fresh-{next(deaths)}-{len(names)}"
            team.worker(name, "--dies-of", poison)
            names.add(name)
        time.sleep(0.3)
    assert team.ended(scan)["exit"] == 3
    cells, _ = team.results(scan).inventory()
    expected = [c if c[:3] != row[:3] else (*row[:3], "failed", 0) for c in undisturbed[0]]
    assert cells == expected
    line = next(c for c in team.results(scan).ledger if (c["account"], c["region"], c["service"]) == row[:3])
    assert "poison" in line["error"], line
    assert team.rabbit.queues()["fleetscan.v1.dead"] >= 1


@pytest.mark.long
def test_what_is_delivered_twice_counts_once(team, undisturbed):
    scan = begun(team)
    # The broker takes back what every worker holds, and hands it out again.
    for _ in range(3):
        team.rabbit.control("close_all_connections", "a test")
        time.sleep(3)
    agrees(team, scan, undisturbed)


@pytest.mark.long
def test_a_rolling_restart_of_every_worker_loses_nothing(team, undisturbed):
    scan = begun(team)
    for n in range(WORKERS):
        assert team.stop(f"worker-{n}") == 0
        team.worker(f"next-{n}")
    agrees(team, scan, undisturbed)
