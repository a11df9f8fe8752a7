"""What the tests share: the binary, a moto server of their own, and readers of results."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import fleet
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long fault tests as well")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long; runs with --long only")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="long: tests/run --long")
        for item in items:
            if "long" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def fleetscan():
    """The binary under test."""
    binary = pathlib.Path(os.environ.get("FLEETSCAN_BIN", ROOT / "target" / "debug" / "fleetscan"))
    assert binary.exists(), f"{binary} is not there: build it with `cargo build`, or run tests/run"
    return str(binary)


@pytest.fixture
def team(fleetscan, tmp_path, request):
    """A fleet in its module's `WORLD`, which is asked for scans of its module's `SCOPE`."""
    one = fleet.Fleet(fleetscan, tmp_path, request.module.WORLD)
    one.scope = request.module.SCOPE
    yield one
    one.end()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    """The address of a moto server that lives as long as the session."""
    port = free_port()
    log = open(tmp_path_factory.mktemp("moto") / "log", "wb")
    # moto keeps accounts apart by assumed role, and checks no permission.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # Without it, every region of every account owns the 1,300 snapshots behind the public images that moto makes up.
    environment = {**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert server.poll() is None, "moto ended at its start"
            try:
                urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=2).read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("moto does not answer")
        # boto3 honours it as fleetscan does.
        os.environ["AWS_ENDPOINT_URL"] = url
        yield url
    finally:
        os.environ.pop("AWS_ENDPOINT_URL", None)
        # It waits for every connection that a client has kept open.
        server.kill()
        server.wait(10)
        log.close()
