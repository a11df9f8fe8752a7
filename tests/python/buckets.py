"""Buckets in moto, and what lies in them."""

import boto3


def client(url):
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="AKIATEST", aws_secret_access_key="test")


def make(url, name):
    client(url).create_bucket(Bucket=name)
    return name


def objects(url, bucket):
    """Every object: key and bytes."""
    s3 = client(url)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            yield found["Key"], s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()


def download(url, bucket, prefix, folder):
    """What lies below a prefix, as files."""
    for key, content in objects(url, bucket):
        assert key.startswith(prefix), key
        path = folder / key[len(prefix):]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
