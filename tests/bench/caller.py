#!/usr/bin/env python3
"""boto3's way in the benchmark of the engine: one session, sixteen threads, the same call again and again.

    caller.py SERVICE OPERATION ENDPOINT KEY SECRET ACCOUNTS SECONDS

Prints calls a second and microseconds of processor a call. The benchmark starts it; retries are off, as nothing fails.
"""

import pathlib
import sys
import threading
import time
import tomllib

import boto3
import botocore.config

AT_ONCE = 16
WARM = 200


def client(service, endpoint, key, secret, accounts):
    """A client with a session of the one account."""
    config = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=AT_ONCE)
    account = tomllib.loads(pathlib.Path(accounts).read_text())["account"][0]
    hub = boto3.Session(key, secret, region_name="us-east-1").client("sts", endpoint_url=endpoint, config=config)
    given = hub.assume_role(RoleArn=account["role_arn"], ExternalId=account["external_id"], RoleSessionName="bench", DurationSeconds=900)["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name="us-east-1")
    return session.client(service, endpoint_url=endpoint, config=config)


def main():
    service, operation, endpoint, key, secret, accounts, seconds = sys.argv[1:]
    call = getattr(client(service, endpoint, key, secret, accounts), botocore.xform_name(operation))
    for _ in range(WARM):
        call(MaxItems=50)
    made = [0] * AT_ONCE
    began, before = time.monotonic(), time.process_time()
    ends = began + float(seconds)

    def line(n):
        while time.monotonic() < ends:
            call(MaxItems=50)
            made[n] += 1

    threads = [threading.Thread(target=line, args=(n,)) for n in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = sum(made)
    print(calls / (time.monotonic() - began), (time.process_time() - before) * 1e6 / calls)


if __name__ == "__main__":
    main()
