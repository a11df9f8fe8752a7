"""A customer's own program, that calls the same buckets while a scan runs: evenly spaced, never again after a throttle."""

import threading
import time

import boto3
import botocore.config
import botocore.exceptions


class Client(threading.Thread):
    """Calls Lambda's GetAccountSettings, of the bucket that all of Lambda's control plane shares, so often a second."""

    def __init__(self, sim, account, region, rate):
        super().__init__(daemon=True)
        # No retries: every throttled answer is one that the customer's program would have had.
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        keys = sim.environment["AWS_ACCESS_KEY_ID"], sim.environment["AWS_SECRET_ACCESS_KEY"]
        hub = boto3.Session(*keys).client("sts", endpoint_url=sim.endpoint, region_name=region, config=config)
        given = hub.assume_role(RoleArn=account["role_arn"], ExternalId=account["external_id"], RoleSessionName="own", DurationSeconds=3600)["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=region)
        self.client = session.client("lambda", endpoint_url=sim.endpoint, config=config)
        self.rate, self.over = rate, threading.Event()
        self.asked = self.refused = 0
        self.asked += 1  # AssumeRole, which the simulator counts as well
        self.start()

    def run(self):
        due = time.monotonic()
        while not self.over.is_set():
            # Evenly: what was missed while the machine was busy is not made up for.
            due = max(due + 1 / self.rate, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
            self.asked += 1
            try:
                self.client.get_account_settings()
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "TooManyRequestsException":
                    raise
                self.refused += 1

    def ended(self):
        """Calls, and how many of them were throttled."""
        self.over.set()
        self.join(30)
        return self.asked, self.refused
