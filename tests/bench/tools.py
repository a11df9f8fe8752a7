"""The tools that peers compares: how each is told what to read, and what it found."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import results
from processes import binary

SERVICES = ["iam", "lambda", "ec2", "s3", "dynamodb", "sns", "ecs"]
GLOBAL = ("iam", "s3")

# Types that are looked for: service, list in AWS's answer, field of its items that names them (`.`: the item does).
TYPES = {
    "AWS::IAM::User": ("iam", ("Users", "UserDetailList"), "UserName"),
    "AWS::IAM::Role": ("iam", ("Roles", "RoleDetailList"), "RoleName"),
    "AWS::IAM::Group": ("iam", ("Groups", "GroupDetailList"), "GroupName"),
    "AWS::IAM::ManagedPolicy": ("iam", ("Policies",), "PolicyName"),
    "AWS::Lambda::Function": ("lambda", ("Functions",), "FunctionName"),
    "AWS::EC2::Instance": ("ec2", ("Reservations",), "InstanceId"),
    "AWS::EC2::SecurityGroup": ("ec2", ("SecurityGroups",), "GroupId"),
    "AWS::EC2::VPC": ("ec2", ("Vpcs",), "VpcId"),
    "AWS::EC2::Volume": ("ec2", ("Volumes",), "VolumeId"),
    "AWS::S3::Bucket": ("s3", ("Buckets",), "Name"),
    "AWS::DynamoDB::Table": ("dynamodb", ("TableNames",), "."),
    "AWS::SNS::Topic": ("sns", ("Topics",), "TopicArn"),
    "AWS::ECS::Cluster": ("ecs", ("clusterArns",), "."),
}


def tail(name):
    """A resource's own name, of its ARN or of itself."""
    return re.split(r"[/:]", name)[-1]


def named(list_name, items):
    """(type, name) of what AWS's list of that name holds."""
    for kind, (_, lists, field) in TYPES.items():
        if list_name in lists:
            if list_name == "Reservations":
                items = [i for reservation in items for i in reservation.get("Instances", [])]
            for item in items:
                # A list of AWS's own policies is nothing of the account's.
                if not (isinstance(item, dict) and str(item.get("Arn", "")).startswith("arn:aws:iam::aws:")):
                    name = item if field == "." else item.get(field) or item.get("Arn")
                    if name:
                        yield kind, tail(name)


def version_of(venv, package):
    shown = subprocess.run([str(venv / "python"), "-m", "pip", "show", package], capture_output=True, text=True, check=False).stdout
    return next((line.split()[1] for line in shown.splitlines() if line.startswith("Version")), "?")


class Tool:
    NAME = READS = SETTINGS = ""
    # Types that it cannot be asked for on an emulation, and why: no fault of the tool's.
    BEYOND = {}
    version = "?"

    def __init__(self, venv):
        """Some tools tell their version by their package."""

    def also_said(self, ran):
        """Names of accounts in what it wrote beside its output."""
        return ""


class Fleetscan(Tool):
    NAME = "fleetscan"
    READS = "lists and, for each item, its details (policies, tags, settings)"
    SETTINGS = "scan --share 1 --concurrency 64"

    def __init__(self, venv):
        self.version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        self.ledger = []

    def command(self, folder, aws, regions, venv):
        return [binary(), "scan", "--accounts", aws.accounts, "--out", str(folder / "out"), "--data", str(folder / "data"), "--share", "1",
                "--concurrency", "64", "--services", ",".join(SERVICES), "--regions", ",".join(regions)], {}

    def found(self, folder):
        if not list((folder / "out").glob("scan=*/manifest.json")):
            return set()
        scan = results.Scan(folder / "out")
        self.ledger = scan.ledger
        return {(r["account"], "global" if r["service"] in GLOBAL else r["region"], r["type"], tail(r["id"])) for r in scan.records() if r["type"] in TYPES}

    def also_said(self, ran):
        return " ".join({line["account"] for line in self.ledger if line["outcome"] != "complete"})


class Boto3(Tool):
    NAME = "boto3"
    READS = "lists and, for each item, the same details (reader.py)"
    SETTINGS = "64 threads, standard retries, 10 tries, largest pages, a session an account"

    def __init__(self, venv):
        import boto3
        self.version = boto3.__version__

    def command(self, folder, aws, regions, venv):
        reader = str(pathlib.Path(__file__).with_name("reader.py"))
        return [sys.executable, reader, "--accounts", aws.accounts, "--services", ",".join(SERVICES), "--regions", ",".join(regions),
                "--retries", "standard", "--threads", "64", "--found", str(folder / "found.jsonl")], {}

    def found(self, folder):
        found = set()
        for line in (folder / "found.jsonl").read_text().splitlines():
            account, region, name, items = json.loads(line)
            found |= {(account, region, kind, one) for kind, one in named(name, items)}
        return found


class C7nOrg(Tool):
    NAME = "c7n-org"
    READS = "lists, and what each resource type adds by itself (tags; buckets' settings)"
    SETTINGS = "run, one policy a type, no cache, its default of workers (four a core)"
    POLICIES = {
        "aws.iam-user": "AWS::IAM::User", "aws.iam-role": "AWS::IAM::Role", "aws.iam-group": "AWS::IAM::Group", "aws.iam-policy": "AWS::IAM::ManagedPolicy",
        "aws.lambda": "AWS::Lambda::Function", "aws.ec2": "AWS::EC2::Instance", "aws.security-group": "AWS::EC2::SecurityGroup", "aws.vpc": "AWS::EC2::VPC",
        "aws.ebs": "AWS::EC2::Volume", "aws.s3": "AWS::S3::Bucket", "aws.dynamodb-table": "AWS::DynamoDB::Table", "aws.sns": "AWS::SNS::Topic", "aws.ecs": "AWS::ECS::Cluster",
    }
    BEYOND = {"simulator": ({"AWS::IAM::ManagedPolicy", "AWS::Lambda::Function", "AWS::DynamoDB::Table", "AWS::SNS::Topic"},
                            "it reads tags by the Resource Groups Tagging API, which the simulator lacks")}
    FIELDS = {"AWS::DynamoDB::Table": "TableName", "AWS::ECS::Cluster": "clusterArn"}

    def __init__(self, venv):
        self.version = f"{version_of(venv, 'c7n_org')} (c7n {version_of(venv, 'c7n')})"

    def command(self, folder, aws, regions, venv):
        accounts = tomllib.loads(pathlib.Path(aws.accounts).read_text())["account"]
        # JSON is YAML.
        (folder / "accounts.yml").write_text(json.dumps({"accounts": [
            {"account_id": a["id"], "name": a["id"], "role": a["role_arn"], "external_id": a["external_id"], "regions": regions} for a in accounts]}))
        (folder / "policies.yml").write_text(json.dumps({"policies": [
            {"name": name.removeprefix("aws."), "resource": name} for name in self.POLICIES]}))
        return [str(venv / "c7n-org"), "run", "-c", str(folder / "accounts.yml"), "-u", str(folder / "policies.yml"), "-s", str(folder / "out"),
                "--cache-period", "0"], {"PATH": f"{venv}:/usr/bin:/bin"}

    def found(self, folder):
        found = set()
        for path in (folder / "out").glob("*/*/*/resources.json"):
            account, region, policy = path.parts[-4:-1]
            kind = self.POLICIES[f"aws.{policy}"]
            service, _, field = TYPES[kind]
            field = self.FIELDS.get(kind, field)
            found |= {(account, "global" if service in GLOBAL else region, kind, tail(r[field])) for r in json.loads(path.read_text())}
        return found


class AwsListAll(Tool):
    NAME = "aws-list-all"
    READS = "the lists that need no parameters, one page of each"
    SETTINGS = "query, only the operations that list what is looked for, a profile an account (it reads one at a time), four accounts at once, its default of 32 threads each"
    OPERATIONS = ["ListUsers", "ListRoles", "ListGroups", "ListPolicies", "ListFunctions", "DescribeInstances", "DescribeSecurityGroups",
                  "DescribeVpcs", "DescribeVolumes", "ListBuckets", "ListTables", "ListTopics", "ListClusters"]

    def __init__(self, venv):
        self.version = version_of(venv, "aws-list-all")

    def command(self, folder, aws, regions, venv):
        accounts = tomllib.loads(pathlib.Path(aws.accounts).read_text())["account"]
        profiles = "".join(
            f"[profile a{a['id']}]\nrole_arn = {a['role_arn']}\nexternal_id = {a['external_id']}\ncredential_source = Environment\nregion = {regions[0]}\n\n" for a in accounts)
        (folder / "config").write_text(profiles)
        query = [str(venv / "aws-list-all"), "query", *(x for s in SERVICES for x in ("-s", s)), *(x for r in regions for x in ("-r", r)),
                 *(x for o in self.OPERATIONS for x in ("-o", o))]
        each = f'mkdir -p "{folder}/out/$0" && cd "{folder}/out/$0" && {" ".join(query)} -c "a$0" -d . > said 2>&1'
        ids = "\n".join(a["id"] for a in accounts)
        (folder / "ids").write_text(ids)
        return ["xargs", "-a", str(folder / "ids"), "-n", "1", "-P", "4", "sh", "-c", each], {"AWS_CONFIG_FILE": str(folder / "config")}

    def found(self, folder):
        self.complaints, found = [], set()
        for said in (folder / "out").glob("*/said"):
            if re.search(r"^(!!!|>:\|)|Traceback|AccessDenied", said.read_text(errors="replace"), re.M):
                self.complaints.append(said.parent.name)
        for path in (folder / "out").glob("*/*.json"):
            # Killed in the middle of one.
            if not (text := path.read_text()):
                continue
            listing = json.loads(text)
            region = "global" if listing["service"] in GLOBAL else listing["region"]
            for name, items in (listing.get("response") or {}).items():
                if isinstance(items, list) and any(name in lists and service == listing["service"] for service, lists, _ in TYPES.values()):
                    found |= {(path.parent.name, region, kind, one) for kind, one in named(name, items)}
        return found

    def also_said(self, ran):
        return " ".join(self.complaints)


TOOLS = {"fleetscan": Fleetscan, "boto3": Boto3, "c7n-org": C7nOrg, "aws-list-all": AwsListAll}
