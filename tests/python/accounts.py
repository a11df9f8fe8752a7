"""Customers' accounts in moto: sessions, and the accounts file that scans them."""

import boto3
import simulated

ROLE = "SecurityV0ReadOnly"
EXTERNAL_ID = "planted-external-id-0123456789"


def number(n):
    return f"{222200000000 + n}"


def session(url, account, region="us-east-1"):
    """A boto3 session of the account's role."""
    hub = boto3.client("sts", endpoint_url=url, region_name="us-east-1", aws_access_key_id="AKIAHUB", aws_secret_access_key="hub")
    given = hub.assume_role(RoleArn=f"arn:aws:iam::{account}:role/{ROLE}", RoleSessionName="seed", ExternalId=EXTERNAL_ID)["Credentials"]
    its = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=region)
    its.events.register("before-sign.s3-control", simulated.keep_to_the_host)
    return its


def write_file(path, accounts):
    text = "".join(
        f'[[account]]\nid = "{a}"\nrole_arn = "arn:aws:iam::{a}:role/{ROLE}"\nexternal_id = "{EXTERNAL_ID}"\nname = "account-{a}"\n\n' for a in accounts
    )
    path.write_text(text)
    return path
