"""The processes that benchmarks start: the release binary, and a simulator of its own."""

import contextlib
import dataclasses
import os
import pathlib
import re
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    """The binary that FLEETSCAN_BIN names, or the release one, built if need be."""
    if given := os.environ.get("FLEETSCAN_BIN"):
        return str(pathlib.Path(given).resolve())
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    subprocess.run(["cargo", "build", "--release", "--quiet", "--package", "fleetscan-cli"], cwd=ROOT, check=True)
    return str(target / "release" / "fleetscan")


@dataclasses.dataclass
class Simulator:
    endpoint: str
    accounts: str
    environment: dict


@contextlib.contextmanager
def simulator(folder, accounts, limits, latency_ms, world):
    """A simulator that lives as long as the block."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    file = f"{folder}/accounts.toml"
    command = [binary(), "simulator", "--listen", f"127.0.0.1:{port}", "--accounts", str(accounts), "--accounts-file", file,
               "--limits", limits, "--latency-ms", str(latency_ms), "--world", world]
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
        yield Simulator(environment["AWS_ENDPOINT_URL"], file, environment)
    finally:
        process.terminate()
        process.wait()
