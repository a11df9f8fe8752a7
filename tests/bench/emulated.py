"""moto as the AWS that is read: no limits, no permissions, and an implementation that this project did not write."""

import contextlib
import dataclasses
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import accounts
import tools

EACH = 3


@dataclasses.dataclass
class Moto:
    endpoint: str
    accounts: str
    environment: dict

    def afresh(self):
        """It counts nothing and limits nothing."""

    def counters(self):
        return {"calls": None, "throttled": None}


def fill(url, number, regions):
    """Some of everything; each account has the same."""
    its = accounts.session(url, number)
    iam = its.client("iam", endpoint_url=url)
    trust = '{"Version": "2012-10-17", "Statement": []}'
    may = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}'
    for n in range(EACH):
        iam.create_user(UserName=f"user-{n}")
        role = iam.create_role(RoleName=f"role-{n}", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.create_group(GroupName=f"group-{n}")
        iam.create_policy(PolicyName=f"policy-{n}", PolicyDocument=may)
        its.client("s3", endpoint_url=url).create_bucket(Bucket=f"bucket-{number}-{n}")
    for region in regions:
        client = {name: its.client(name, endpoint_url=url, region_name=region) for name in ("lambda", "ec2", "dynamodb", "sns", "ecs")}
        for n in range(EACH):
            client["lambda"].create_function(FunctionName=f"function-{n}", Runtime="python3.12", Role=role, Handler="a.b", Code={"ZipFile": b"-"})
            client["dynamodb"].create_table(TableName=f"table-{n}", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
                                            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}])
            client["sns"].create_topic(Name=f"topic-{n}")
            client["ecs"].create_cluster(clusterName=f"cluster-{n}")
            client["ec2"].create_volume(AvailabilityZone=f"{region}a", Size=8)
            client["ec2"].create_vpc(CidrBlock=f"10.{n}.0.0/16")


@contextlib.contextmanager
def moto(folder, count, regions):
    """A moto server that lives as long as the block, its accounts filled."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url, numbers = f"http://127.0.0.1:{port}", [accounts.number(n) for n in range(count)]
    with open(f"{folder}/moto.log", "wb") as log:
        # Without it, every region of every account owns the snapshots behind the images that moto makes up.
        given = {**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log, env=given)
    try:
        for _ in range(600):
            if server.poll() is not None:
                sys.exit("moto ended at its start")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url + "/moto-api/", timeout=5).close()
                break
            time.sleep(0.1)
        for number in numbers:
            fill(url, number, regions)
        file = accounts.write_file(pathlib.Path(folder) / "accounts.toml", numbers)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        yield Moto(url, str(file), {**kept, "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub"})
    finally:
        server.terminate()
        server.wait()


def planted(aws, numbers, regions):
    """What is there, moto's default VPCs and groups included, as boto3 lists it: one page holds all."""
    found = set()
    asked = {"iam": ("list_users", "list_roles", "list_groups"), "s3": ("list_buckets",), "lambda": ("list_functions",),
             "ec2": ("describe_instances", "describe_security_groups", "describe_vpcs", "describe_volumes"),
             "dynamodb": ("list_tables",), "sns": ("list_topics",), "ecs": ("list_clusters",)}
    for number in numbers:
        its = accounts.session(aws.endpoint, number)
        for service, methods in asked.items():
            for region in regions[:1] if service in tools.GLOBAL else regions:
                client = its.client(service, endpoint_url=aws.endpoint, region_name=region)
                answers = [getattr(client, method)() for method in methods]
                if service == "iam":
                    answers.append(client.list_policies(Scope="Local"))
                place = "global" if service in tools.GLOBAL else region
                for answer in answers:
                    for name, items in answer.items():
                        if isinstance(items, list):
                            found |= {(number, place, kind, one) for kind, one in tools.named(name, items)}
    return found
