"""RabbitMQ in several nodes: each may die, and any of those that are named will do."""

import pytest

import fleet
import servers
from test_fleet import SCOPE, WORLD, agrees, undisturbed  # noqa: F401: a fixture is known by its name

# What docs/rabbitmq.md tells operators to allow.
PERMISSIONS = (r"^fleetscan\..*",) * 3
# The same accounts as the undisturbed run's, but each call takes long: a node needs a while to die and to come back.
SLOW = (*WORLD[: WORLD.index("--latency-ms")], "--latency-ms", "350", "--limits", "off")


def members(cluster):
    """How many nodes hold each work queue, and which node leads it."""
    rows = cluster.control("list_queues", "-p", "fleetscan", "name", "members", "leader", "--no-table-headers").splitlines()
    found = {}
    for row in rows:
        name, nodes, leader = row.split("\t")
        if ".work." in name or ".urgent." in name:
            found[name] = (nodes.count("@"), leader.strip())
    return found


@pytest.mark.long
def test_nodes_of_a_cluster_die_one_after_the_other_and_nothing_is_lost(fleetscan, tmp_path, undisturbed):  # noqa: F811
    cluster = servers.Cluster(tmp_path / "rabbit", "queue_leader_locator = balanced", "cluster_partition_handling = pause_minority")
    cluster.control("add_vhost", "fleetscan")
    cluster.control("add_user", "fleet", "a-password")
    cluster.control("set_permissions", "-p", "fleetscan", "fleet", *PERMISSIONS)
    team = fleet.Fleet(fleetscan, tmp_path, SLOW, rabbit=cluster)
    team.scope = SCOPE
    team.environment["FLEETSCAN_BROKER"] = ",".join(f"amqp://fleet:a-password@127.0.0.1:{node.port}/fleetscan" for node in cluster.nodes)
    try:
        team.connect()
        team.coordinator()
        for n in range(3):
            team.worker(f"worker-{n}")
        servers.until(lambda: len(team.json("workers")) == 3, 60)
        held = members(cluster)
        assert len(held) == 2 * team.shards and all(count == 3 for count, _ in held.values()), held
        assert len({leader for _, leader in held.values()}) == 3, f"one node leads too many: {held}"
        scan = team.scan()
        team.until_done(scan, 60, 240)
        first, second, _ = cluster.nodes
        first.kill()
        gone = team.done(scan)
        team.until_done(scan, gone + 40, 240)
        first.start()
        servers.until(lambda: all(count == 3 for count, _ in members(cluster).values()))
        second.kill()
        assert team.show(scan)["state"] == "running", "the scan was over first: the test shows nothing"
        result = agrees(team, scan, undisturbed)
        assert not [cell for cell in result.ledger if cell["outcome"] == "failed"]
        assert all(not count for name, count in cluster_depth(first).items() if name.endswith(".dead"))
    finally:
        team.end()


def cluster_depth(node):
    rows = node.control("list_queues", "-p", "fleetscan", "name", "messages", "--no-table-headers").splitlines()
    return {name: int(count or 0) for name, count in (row.split("\t") for row in rows if "\t" in row)}


@pytest.mark.long
def test_any_of_the_named_nodes_will_do(fleetscan, tmp_path):
    """Two addresses where nobody listens, and one where the broker is."""
    team = fleet.Fleet(fleetscan, tmp_path, ("--accounts", "3", "--seed", "5", "--limits", "off"))
    alone = team.environment["FLEETSCAN_BROKER"]
    nobody = [f"amqp://guest:guest@127.0.0.1:{servers.free_port()}" for _ in range(2)]
    team.environment["FLEETSCAN_BROKER"] = f"{nobody[0]}, {alone},{nobody[1]}"
    try:
        team.connect()
        team.coordinator()
        team.worker("worker-0")
        scan = team.scan("--services", "iam,lambda,sns")
        assert team.ended(scan)["state"] == "finished"
        # Connections that break are made anew, wherever one is to be had.
        team.rabbit.restart()
        assert team.ended(team.scan("--services", "iam,lambda,sns"))["state"] == "finished"
        # Where none of them answers, each is named, without user or password.
        team.environment["FLEETSCAN_BROKER"] = ",".join(nobody)
        done = fleet.subprocess.run([fleetscan, "doctor"], env=team.environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 1 and "amqp://127.0.0.1:" in done.stdout and "guest" not in done.stdout, done.stdout
        # The nodes of one cluster have the same virtual host.
        team.environment["FLEETSCAN_BROKER"] = f"{nobody[0]}/one,{nobody[1]}/two"
        done = fleet.subprocess.run([fleetscan, "doctor"], env=team.environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert "different virtual hosts" in done.stdout, done.stdout
    finally:
        team.end()
