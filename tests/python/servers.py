"""A RabbitMQ and a Redis of a test's own: private ports and folders, so that they may be killed."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

STARTS = 90


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def until(what, seconds=STARTS, every=0.1):
    """Waits until `what()` is true, and answers what it said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said = what()
        if said:
            return said
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


class Server:
    """A process that can be killed, frozen, and started again on what it left."""

    process = None

    def freeze(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        until(lambda: not answers(self.port))

    def restart(self):
        self.kill()
        self.start()

    def pids(self):
        """The process and all that it started, youngest first."""
        parents = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rsplit(")", 1)[1].split()
                parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += parents.get(pid, [])
        return found[::-1]


class Redis(Server):
    def __init__(self, folder, *more):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.more = more
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                   "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction", *self.more]
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        until(lambda: answers(self.port) and b"PONG" in self.ask("PING"))

    def ask(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, timeout=30).stdout


class Rabbit(Server):
    def __init__(self, folder, *settings, plugins=(), epmd=None, cookie=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.dist, self.epmd = free_port(), free_port(), epmd or free_port()
        self.url = f"amqp://guest@127.0.0.1:{self.port}"
        self.settings = settings
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        if cookie:
            (home / ".erlang.cookie").write_text(cookie)
            (home / ".erlang.cookie").chmod(0o400)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"fleetscan{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
        }
        (self.folder / "plugins").write_text(f"[{','.join(plugins)}].\n")
        (self.folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in ("vm_memory_high_watermark.relative = 0.6", "disk_free_limit.absolute = 50MB", *settings)))
        self.start()

    def program(self, name):
        """The script itself: Debian's wrapper would change to another user."""
        inner = pathlib.Path("/usr/lib/rabbitmq/bin") / name
        return str(inner if inner.exists() else shutil.which(name))

    def start(self):
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([self.program("rabbitmq-server")], env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True)
        until(lambda: self.process.poll() is None and answers(self.port))
        self.control("await_startup")

    def control(self, *words):
        done = subprocess.run([self.program("rabbitmqctl"), "-q", *words], env=self.environment, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def wipe(self):
        """Kills it, and starts it with nothing."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        self.start()

    def queues(self):
        """Messages by queue."""
        rows = self.control("list_queues", "name", "messages", "--no-table-headers").splitlines()
        return {name: int(count) for name, count in (row.split("\t") for row in rows if "\t" in row)}

    def end(self):
        self.kill()
        # The port mapper outlives its nodes.
        subprocess.run(["pkill", "-9", "-f", f"epmd.*{self.epmd}"], check=False)
        for stat in pathlib.Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"ERL_EPMD_PORT={self.epmd}".encode() in stat.read_bytes():
                    os.kill(int(stat.parent.name), signal.SIGKILL)


class Cluster:
    """Nodes of one RabbitMQ, on one machine: a port mapper and a cookie of their own."""

    def __init__(self, folder, *settings, nodes=3):
        epmd, cookie = free_port(), os.urandom(16).hex()
        self.nodes = [Rabbit(pathlib.Path(folder) / f"node-{n}", *settings, epmd=epmd, cookie=cookie) for n in range(nodes)]
        first = self.nodes[0].environment["RABBITMQ_NODENAME"]
        for node in self.nodes[1:]:
            node.control("stop_app")
            node.control("join_cluster", first)
            node.control("start_app")

    @property
    def url(self):
        return ",".join(node.url for node in self.nodes)

    def control(self, *words):
        return next(node for node in self.nodes if node.process.poll() is None).control(*words)

    def end(self):
        for node in self.nodes:
            node.end()


class Configured(Server):
    """A Redis of a configuration file, behind its password."""

    def __init__(self, file, password):
        self.file, self.password = file, password
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.log = open(self.file.parent / "log", "ab")
        self.process = subprocess.Popen(["redis-server", self.file, "--port", str(self.port), "--bind", "127.0.0.1"], stdout=self.log, stderr=self.log)
        until(lambda: answers(self.port) and b"PONG" in self.ask("PING"))

    def ask(self, *words):
        environment = {**os.environ, "REDISCLI_AUTH": self.password}
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], env=environment, capture_output=True, timeout=30).stdout
