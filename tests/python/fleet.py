"""Coordinators and workers, as processes, on servers of their own and a simulated AWS."""

import json
import os
import signal
import subprocess
import time

import results
import servers
import simulated

KEY = "ZmxlZXRzY2FuLXRlc3RzLWtleS0wMTIzNDU2Nzg5YWI="


class Fleet:
    """A store, a broker, a simulated AWS, and any number of processes of the fleet."""

    def __init__(self, fleetscan, folder, world, shards=8, rabbit=None, redis=None):
        self.fleetscan, self.folder, self.shards = fleetscan, folder, shards
        self.aws = simulated.Simulated(fleetscan, folder, *world)
        self.redis = redis or servers.Redis(folder / "redis")
        self.rabbit = rabbit or servers.Rabbit(folder / "rabbit")
        self.processes = {}
        # What scans are asked for where a test does not say.
        self.scope = ()
        hub = self.aws.get("hub")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {
            **kept,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": hub["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": hub["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "FLEETSCAN_STORE": self.redis.url,
            "FLEETSCAN_BROKER": self.rabbit.url.replace("guest@", "guest:guest@"),
            "FLEETSCAN_SHARDS": str(shards),
            "FLEETSCAN_KEY": KEY,
            "FLEETSCAN_OUT": str(folder / "out"),
        }

    def run(self, *command, ok=(0,), timeout=120):
        done = subprocess.run([self.fleetscan, *map(str, command)], env=self.environment, capture_output=True, text=True, timeout=timeout, cwd=self.folder)
        assert done.returncode in ok, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *command, **more):
        return json.loads(self.run(*command, "--json", **more))

    def connect(self):
        self.run("accounts", "import", self.folder / "accounts.toml")

    def start(self, kind, name, *flags):
        log = open(self.folder / f"{name}.log", "ab")
        command = [self.fleetscan, kind, "-v", "--name", name, *map(str, flags)]
        self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.folder)

    def coordinator(self, name="coordinator-1", *flags):
        self.start("coordinator", name, "--stuck-after-seconds", "5", *flags)

    def led(self):
        """Connects the accounts, and starts a coordinator: once this is over, it leads."""
        self.connect()
        self.coordinator()
        servers.until(lambda: "coordinator.leads" in self.log("coordinator-1"), 30)

    def worker(self, name, *flags):
        self.start("worker", name, "--share", "1", *flags)

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait(30)

    def stop(self, name, seconds=90):
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(seconds)

    def signal(self, name, which):
        self.processes[name].send_signal(which)

    def freeze(self, name):
        self.signal(name, signal.SIGSTOP)

    def thaw(self, name):
        self.signal(name, signal.SIGCONT)

    def scan(self, *flags):
        scope = () if "--services" in flags else self.scope
        return self.json("scans", "start", *flags, *scope)["id"]

    def show(self, scan):
        return self.json("scans", "show", scan)

    def done(self, scan):
        return self.show(scan)["cells_done"]

    def until_done(self, scan, cells, seconds=180):
        servers.until(lambda: self.done(scan) >= cells, seconds)

    def ended(self, scan, seconds=300):
        """Waits for a scan's end; answers what `scans show` says of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended with {process.returncode}\n{self.log(name)[-3000:]}"
            shown = self.show(scan)
            if shown["state"] not in ("running", "cancelling"):
                return shown
            time.sleep(0.3)
        raise AssertionError(f"scan {scan} did not end: {shown}\n" + "\n".join(f"== {n}\n{self.log(n)[-1500:]}" for n in self.processes))

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def results(self, scan):
        return results.Scan(self.folder / "out", scan)

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait(30)
        self.aws.end()
        self.rabbit.end()
        self.redis.kill()
