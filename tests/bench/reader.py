#!/usr/bin/env python3
"""What a program of one's own would do with boto3: the same answers that a scan reads, by paginators and a pool of
threads, with one session an account and retries as botocore has them.

    reader.py --accounts FILE --services lambda,sns --regions us-east-1 --retries adaptive

Prints one JSON object: items, calls that were given up, seconds. The endpoint and the hub's keys come from AWS's own
environment variables.
"""

import argparse
import collections
import concurrent.futures
import json
import threading
import time
import tomllib

import boto3
import botocore.config
import botocore.exceptions

# Lists, their page sizes, and for each of their items the calls that tell the rest: method, parameters by field (`.` is
# the item itself, `[.]` a list of it alone), and where an answer is a list that has items of its own, its name and their
# calls; of several names, the calls are for the last one's items.
PLANS = {
    "lambda": [
        ("list_functions", {}, 50, "Functions", [
            ("get_function", {"FunctionName": "FunctionName"}, None, None, []),
            ("get_function_concurrency", {"FunctionName": "FunctionName"}, None, None, []),
            ("get_policy", {"FunctionName": "FunctionName"}, None, None, []),
            ("list_aliases", {"FunctionName": "FunctionName"}, 50, "Aliases", []),
            ("list_versions_by_function", {"FunctionName": "FunctionName"}, 50, "Versions", []),
            ("list_function_url_configs", {"FunctionName": "FunctionName"}, 50, "FunctionUrlConfigs", []),
            ("list_function_event_invoke_configs", {"FunctionName": "FunctionName"}, 50, "FunctionEventInvokeConfigs", []),
            ("get_function_code_signing_config", {"FunctionName": "FunctionName"}, None, None, []),
        ]),
        ("list_event_source_mappings", {}, 100, "EventSourceMappings", []),
        ("list_layers", {}, 50, "Layers", []),
        ("list_code_signing_configs", {}, 100, "CodeSigningConfigs", []),
        ("get_account_settings", {}, None, None, []),
    ],
    "dynamodb": [
        ("list_tables", {}, 100, "TableNames", [
            ("describe_table", {"TableName": "."}, None, "Table", [
                ("list_tags_of_resource", {"ResourceArn": "TableArn"}, None, "Tags", []),
                ("get_resource_policy", {"ResourceArn": "TableArn"}, None, None, []),
                ("describe_continuous_backups", {"TableName": "TableName"}, None, None, []),
                ("describe_time_to_live", {"TableName": "TableName"}, None, None, []),
                ("describe_kinesis_streaming_destination", {"TableName": "TableName"}, None, None, []),
            ]),
        ]),
        ("list_backups", {}, 100, "BackupSummaries", []),
    ],
    "sns": [
        ("list_topics", {}, None, "Topics", [
            ("get_topic_attributes", {"TopicArn": "TopicArn"}, None, None, []),
            ("list_tags_for_resource", {"ResourceArn": "TopicArn"}, None, None, []),
            ("list_subscriptions_by_topic", {"TopicArn": "TopicArn"}, None, "Subscriptions", []),
            ("get_data_protection_policy", {"ResourceArn": "TopicArn"}, None, None, []),
        ]),
        ("list_subscriptions", {}, None, "Subscriptions", [
            ("get_subscription_attributes", {"SubscriptionArn": "SubscriptionArn"}, None, None, []),
        ]),
    ],
    "iam": [
        ("get_account_authorization_details", {"Filter=": ["User", "Role", "Group", "LocalManagedPolicy"]}, 1000, ("UserDetailList", "RoleDetailList", "GroupDetailList", "Policies"), [
            ("list_policy_tags", {"PolicyArn": "Arn"}, 1000, "Tags", []),
        ]),
        ("list_users", {}, 1000, "Users", [
            ("list_access_keys", {"UserName": "UserName"}, 1000, "AccessKeyMetadata", [
                ("get_access_key_last_used", {"AccessKeyId": "AccessKeyId"}, None, None, []),
            ]),
            ("list_mfa_devices", {"UserName": "UserName"}, 1000, "MFADevices", []),
            ("get_login_profile", {"UserName": "UserName"}, None, None, []),
            ("list_signing_certificates", {"UserName": "UserName"}, 1000, "Certificates", []),
            ("list_ssh_public_keys", {"UserName": "UserName"}, 1000, "SSHPublicKeys", []),
            ("list_service_specific_credentials", {"UserName": "UserName"}, None, "ServiceSpecificCredentials", []),
        ]),
        ("get_account_summary", {}, None, None, []),
        ("get_account_password_policy", {}, None, None, []),
        ("list_account_aliases", {}, 1000, "AccountAliases", []),
        ("list_virtual_mfa_devices", {}, 1000, "VirtualMFADevices", []),
        ("list_open_id_connect_providers", {}, None, "OpenIDConnectProviderList", []),
        ("list_saml_providers", {}, None, "SAMLProviderList", []),
        ("list_server_certificates", {}, 1000, "ServerCertificateMetadataList", []),
        ("list_instance_profiles", {}, 1000, "InstanceProfiles", []),
        ("generate_credential_report", {}, None, None, []),
        ("get_credential_report", {}, None, None, []),
    ],
    "ec2": [
        ("describe_instances", {}, 1000, "Reservations", []),
        ("describe_security_groups", {}, 1000, "SecurityGroups", []),
        ("describe_vpcs", {}, 1000, "Vpcs", []),
        ("describe_volumes", {}, 500, "Volumes", []),
        ("describe_subnets", {}, 1000, "Subnets", []),
        ("describe_route_tables", {}, 100, "RouteTables", []),
        ("describe_network_interfaces", {}, 1000, "NetworkInterfaces", []),
        ("describe_network_acls", {}, 1000, "NetworkAcls", []),
        ("describe_internet_gateways", {}, 1000, "InternetGateways", []),
        ("describe_nat_gateways", {}, 1000, "NatGateways", []),
        ("describe_addresses", {}, None, "Addresses", []),
        ("describe_key_pairs", {}, None, "KeyPairs", []),
    ],
    "s3": [
        ("list_buckets", {}, 1000, "Buckets", [
            (method, {"Bucket": "Name"}, None, None, [])
            for method in (
                "get_bucket_location", "get_bucket_tagging", "get_bucket_policy", "get_bucket_policy_status", "get_bucket_acl",
                "get_bucket_encryption", "get_public_access_block", "get_bucket_versioning", "get_bucket_logging",
                "get_bucket_ownership_controls", "get_bucket_lifecycle_configuration", "get_bucket_replication",
                "get_bucket_website", "get_bucket_cors", "get_bucket_notification_configuration")
        ]),
    ],
    "ecs": [
        ("list_clusters", {}, 100, "clusterArns", [
            ("describe_clusters", {"clusters": "[.]"}, None, None, []),
            ("list_services", {"cluster": "."}, 100, "serviceArns", []),
            ("list_tasks", {"cluster": "."}, 100, "taskArns", []),
            ("list_container_instances", {"cluster": "."}, 100, "containerInstanceArns", []),
        ]),
        ("list_task_definition_families", {}, 100, "families", [
            ("describe_task_definition", {"taskDefinition": "."}, None, None, []),
        ]),
    ],
}
GLOBAL = ("iam", "s3")
ABSENT = ("NotFound", "NoSuch", "NoPolicy", "ClientException", "ReportNotPresent", "ReportInProgress")


class Reader:
    def __init__(self, args):
        self.args = args
        self.pool = concurrent.futures.ThreadPoolExecutor(args.threads)
        self.config = botocore.config.Config(
            retries={"mode": args.retries, "total_max_attempts": args.attempts},
            max_pool_connections=args.threads, request_checksum_calculation="when_required",
        )
        self.lock = threading.Condition()
        self.open = 0
        self.items, self.given_up = 0, collections.Counter()
        self.found = open(args.found, "w") if args.found else None

    def submit(self, what, *args):
        with self.lock:
            self.open += 1
        self.pool.submit(self.run, what, *args)

    def run(self, what, *args):
        try:
            what(*args)
        except botocore.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if not any(word in code for word in ABSENT):
                self.lost(code)
        except botocore.exceptions.BotoCoreError as error:
            self.lost(type(error).__name__)
        finally:
            with self.lock:
                self.open -= 1
                self.lock.notify_all()

    def lost(self, code):
        with self.lock:
            self.given_up[code] += 1

    def account(self, hub, account):
        given = hub.client("sts", config=self.config).assume_role(
            RoleArn=account["role_arn"], ExternalId=account["external_id"], RoleSessionName="reader", DurationSeconds=3600)["Credentials"]
        regions = self.args.regions.split(",")
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=regions[0])
        for service in self.args.services.split(","):
            for region in regions[:1] if service in GLOBAL else regions:
                client = session.client(service, region_name=region, config=self.config)
                place = account["id"], "global" if service in GLOBAL else region
                for step in PLANS[service]:
                    self.submit(self.step, client, place, step, None)

    def step(self, client, place, step, item):
        method, params, size, names, below = step
        names = (names,) if isinstance(names, str) else names or ()
        bound = {}
        for key, field in params.items():
            if key.endswith("="):
                bound[key[:-1]] = field
            elif field == "[.]":
                bound[key] = [item]
            elif (value := item if field == "." else item.get(field)) is None:
                return
            else:
                bound[key] = value
        if client.can_paginate(method):
            paging = {"PageSize": size} if size else {}
            answers = client.get_paginator(method).paginate(**bound, PaginationConfig=paging)
        else:
            answers = [getattr(client, method)(**bound)]
        for answer in answers:
            for name in names:
                found = answer.get(name) or []
                found = found if isinstance(found, list) else [found]
                with self.lock:
                    self.items += len(found)
                    if self.found:
                        self.found.write(json.dumps([*place, name, found], default=str) + "\n")
                for one in found if name == names[-1] else []:
                    for child in below:
                        self.submit(self.step, client, place, child, one)

    def read(self, accounts):
        began = time.monotonic()
        hub = boto3.Session(region_name=self.args.regions.split(",")[0])
        for account in accounts:
            self.submit(self.account, hub, account)
        with self.lock:
            self.lock.wait_for(lambda: self.open == 0)
        self.pool.shutdown()
        if self.found:
            self.found.close()
        return {"items": self.items, "given_up": sum(self.given_up.values()), "why": dict(self.given_up), "seconds": time.monotonic() - began}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", required=True)
    parser.add_argument("--services", required=True)
    parser.add_argument("--regions", default="us-east-1")
    parser.add_argument("--found", help="where what was listed goes: JSON Lines of account, region, list, items")
    parser.add_argument("--retries", choices=("standard", "adaptive"), default="standard")
    parser.add_argument("--attempts", type=int, default=10, help="tries of a call, the first included")
    parser.add_argument("--threads", type=int, default=64)
    args = parser.parse_args()
    with open(args.accounts, "rb") as file:
        accounts = tomllib.load(file)["account"]
    print(json.dumps(Reader(args).read(accounts)))


if __name__ == "__main__":
    main()
