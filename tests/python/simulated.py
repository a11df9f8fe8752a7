"""A simulated AWS of its own, and boto3 as its client."""

import json
import re
import ssl
import subprocess
import tomllib
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.config

PLAIN = botocore.config.Config(
    retries={"total_max_attempts": 1},
    s3={"addressing_style": "path"},
    inject_host_prefix=False,
    request_checksum_calculation="when_required",
)


def keep_to_the_host(request, **_):
    """S3 Control's client puts the account before the host name, which an address of numbers cannot have."""
    request.url = re.sub(r"//\d{12}\.", "//", request.url, count=1)


class Simulated:
    """The process, its accounts, and what it says of itself at `/_simulator`."""

    def __init__(self, fleetscan, folder, *more, authority=None):
        self.trusted = ssl.create_default_context(cafile=authority) if authority else None
        file = folder / "accounts.toml"
        command = [fleetscan, "simulator", "--listen", "127.0.0.1:0", "--accounts-file", str(file), *more]
        if "--latency-ms" not in more:
            command += ["--latency-ms", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        self.url = re.search(r"https?://[\d.:]+", first).group(0)
        self.accounts = tomllib.loads(file.read_text())["account"]
        hub = self.get("hub")
        self.hub = boto3.Session(hub["access_key_id"], hub["secret_access_key"])
        self.sessions = {}
        self.told = {}

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=20)

    def get(self, page, **query):
        address = f"{self.url}/_simulator/{page}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30, context=self.trusted) as answer:
            return json.load(answer)

    def once(self, page, **query):
        """What the simulator says of its world, which nothing changes, asked once."""
        key = page, *sorted(query.items())
        if key not in self.told:
            self.told[key] = self.get(page, **query)
        return self.told[key]

    def do(self, command, **what):
        request = urllib.request.Request(f"{self.url}/_simulator/control", json.dumps({"do": command, **what}).encode())
        with urllib.request.urlopen(request, timeout=30, context=self.trusted) as answer:
            assert answer.status == 200

    def assume(self, account, **more):
        """The role's credentials, as STS gives them."""
        sts = self.hub.client("sts", endpoint_url=self.url, region_name="us-east-1", config=PLAIN)
        asked = {"RoleArn": account["role_arn"], "ExternalId": account["external_id"], "RoleSessionName": "boto3", **more}
        return sts.assume_role(**asked)["Credentials"]

    def client(self, account, service, region):
        """A client of a session in an account; one AssumeRole an account."""
        name = account["id"]
        if name not in self.sessions:
            given = self.assume(account)
            self.sessions[name] = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]), {}
        session, clients = self.sessions[name]
        if (service, region) not in clients:
            client = session.client(service, endpoint_url=self.url, region_name=region, config=PLAIN)
            client.meta.events.register("before-sign.s3-control", keep_to_the_host)
            clients[service, region] = client
        return clients[service, region]
