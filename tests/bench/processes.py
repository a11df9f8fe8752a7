"""The processes that benchmarks start: the release binary, and a simulator of its own."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def binary():
    """The binary that FLEETSCAN_BIN names, or the release one, built if need be."""
    if given := os.environ.get("FLEETSCAN_BIN"):
        return str(pathlib.Path(given).resolve())
    subprocess.run(["cargo", "build", "--release", "--quiet", "--package", "fleetscan-cli"], cwd=ROOT, check=True)
    return str(TARGET / "release" / "fleetscan")


def simulating_binary():
    """The simulator's, where FLEETSCAN_SIMULATOR names another: to hold two scanners against one simulator."""
    return os.environ.get("FLEETSCAN_SIMULATOR") or binary()


def within_venv(module):
    """Starts the script again with the tests' Python where this one lacks a module that the tests have."""
    try:
        __import__(module)
    except ModuleNotFoundError:
        venv = TARGET / "test-venv" / "bin" / "python"
        if not venv.exists() or sys.prefix == str(venv.parents[1]):
            sys.exit("run ./tests/run first: it installs the Python packages that this needs")
        os.execv(venv, [str(venv), *sys.argv])


@dataclasses.dataclass
class Simulator:
    endpoint: str
    accounts: str
    environment: dict
    process: subprocess.Popen

    def get(self, page):
        with urllib.request.urlopen(f"{self.endpoint}/_simulator/{page}", timeout=120) as answer:
            return json.load(answer)

    def post(self, page, body=None):
        data = json.dumps(body or {}).encode()
        with urllib.request.urlopen(f"{self.endpoint}/_simulator/{page}", data, timeout=30) as answer:
            return json.load(answer)

    def counters(self):
        return self.get("counters")

    def afresh(self):
        """Full buckets, and nothing counted."""
        self.post("control", {"do": "fill_buckets"})
        self.post("reset-counters")


@contextlib.contextmanager
def simulator(folder, accounts, limits, latency_ms, world):
    """A simulator that lives as long as the block."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    file = f"{folder}/accounts.toml"
    command = [simulating_binary(), "simulator", "--listen", f"127.0.0.1:{port}", "--accounts", str(accounts), "--accounts-file", file,
               "--limits", str(limits), "--latency-ms", str(latency_ms), "--world", world]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        for line in process.stdout:
            for name, value in re.findall(r"(AWS_[A-Z_]+)=(\S+)", line):
                environment[name] = value
            if "Ctrl-C" in line:
                break
        if "AWS_ENDPOINT_URL" not in environment:
            sys.exit("the simulator did not start")
        yield Simulator(environment["AWS_ENDPOINT_URL"], file, environment, process)
    finally:
        process.terminate()
        process.wait()
