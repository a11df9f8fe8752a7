"""Services that the catalogue lacks, each added by one TOML file: checked, granted, simulated, and read from moto.

The files are in tests/services, one for each protocol of AWS's that has operations to read: json-1.0, json-1.1, rest-json,
query and rest-xml (the last one global).
"""

import json
import os
import pathlib
import subprocess

import accounts
import check_catalogue
import pytest
import results
import simulated
import xml_hints
from paging import pages
from policy_sentry.querying.actions import get_action_data

SERVICES = pathlib.Path(__file__).resolve().parents[1] / "services"
FILES = sorted(SERVICES.glob("*.toml"))
NAMES = [path.stem for path in FILES]
REGIONS = ["us-east-1", "eu-west-1"]
ACCOUNTS = [accounts.number(n) for n in (700, 701)]
SECRET = "planted-secret-in-another-service"
# What the simulated accounts have.
WORLD = ("sqs:ListQueues=4,sesv2:ListEmailIdentities=2,sesv2:ListConfigurationSets=2,glue:GetDatabases=3,glue:GetTables=2,glue:GetJobs=2,"
         "rds:DescribeDBInstances=3,route53:ListHostedZones=3,codebuild:ListProjects=3;regions=2")
# Of the region us-east-1; Route 53 has one place for all.
PLENTY = 120


def run(fleetscan, *command, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    return subprocess.run([fleetscan, *map(str, command)], env={**kept, **more}, capture_output=True, text=True, timeout=300)


def printed(fleetscan, *command):
    ended = run(fleetscan, *command, "--catalogue", SERVICES)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def queues(client, n):
    for q in range(n):
        url = client.create_queue(QueueName=f"queue-{q}", tags={"team": "payments"})["QueueUrl"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}]}
    client.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


def mail(client, n):
    for i in range(n):
        client.create_email_identity(EmailIdentity=f"team-{i}@example.com", Tags=[{"Key": "team", "Value": "payments"}])
    client.create_configuration_set(ConfigurationSetName="bounces", Tags=[{"Key": "team", "Value": "payments"}])


def tables(client, n):
    for d in range(n):
        client.create_database(DatabaseInput={"Name": f"lake_{d}"})
        client.create_table(DatabaseName=f"lake_{d}", TableInput={"Name": "orders", "Parameters": {"classification": "parquet"}})
    client.create_job(Name="nightly", Role="role", Command={"Name": "glueetl"}, DefaultArguments={"--password": SECRET})
    for c in range(3):
        client.create_crawler(Name=f"crawler-{c}", Role="role", DatabaseName="lake_0", Targets={"S3Targets": [{"Path": "s3://lake/"}]})


def databases(client, n):
    for d in range(n):
        client.create_db_instance(DBInstanceIdentifier=f"orders-{d}", DBInstanceClass="db.t3.micro", Engine="postgres", AllocatedStorage=20,
                                  MasterUsername="admin", MasterUserPassword=SECRET, Tags=[{"Key": "team", "Value": "payments"}])
    client.create_db_snapshot(DBSnapshotIdentifier="before", DBInstanceIdentifier="orders-0")
    client.modify_db_snapshot_attribute(DBSnapshotIdentifier="before", AttributeName="restore", ValuesToAdd=["all"])
    client.create_db_cluster(DBClusterIdentifier="cluster", Engine="aurora-postgresql", MasterUsername="admin", MasterUserPassword=SECRET)


def builds(client, account, n):
    """Free text with a secret in it, as people write it."""
    text = f"version: 0.2\nphases:\n  build:\n    commands:\n      - deploy --token {SECRET}\n"
    for p in range(n):
        client.create_project(
            name=f"build-{p}", source={"type": "S3", "location": "bucket/key", "buildspec": text}, artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL",
                         "environmentVariables": [{"name": "TOKEN", "value": SECRET, "type": "PLAINTEXT"}]},
            serviceRole=f"arn:aws:iam::{account}:role/service-role/build")


def zones(client, n):
    for z in range(n):
        made = client.create_hosted_zone(Name=f"zone-{z}.example.com.", CallerReference=f"{z}")["HostedZone"]["Id"]
        client.change_tags_for_resource(ResourceType="hostedzone", ResourceId=made.rsplit("/", 1)[1], AddTags=[{"Key": "team", "Value": "payments"}])
    record = lambda name, kind, value, **more: {"Action": "CREATE", "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}], **more}}
    changes = [record(f"host-{h:03}.zone-0.example.com.", kind, value) for h in range(170) for kind, value in (("A", "192.0.2.1"), ("TXT", '"x"'))]
    changes += [record("w.zone-0.example.com.", "A", f"192.0.2.{w}", SetIdentifier=f"w{w}", Weight=1) for w in (1, 2)]
    first = client.list_hosted_zones()["HostedZones"][0]["Id"]
    client.change_resource_record_sets(HostedZoneId=first, ChangeBatch={"Changes": changes})
    client.create_health_check(CallerReference="h", HealthCheckConfig={"Type": "HTTP", "IPAddress": "192.0.2.1", "Port": 80})


def seed(session, n):
    for region in REGIONS:
        client = lambda service: session.client(service, region_name=region)
        queues(client("sqs"), n + 2)
        mail(client("sesv2"), n + 2)
        tables(client("glue"), PLENTY if n == 0 and region == REGIONS[0] else 2)
        databases(client("rds"), PLENTY if n == 0 and region == REGIONS[0] else 2)
        builds(client("codebuild"), ACCOUNTS[n], n + 1)
    zones(session.client("route53"), PLENTY if n == 0 else 2)


def of_region(session, region):
    client = lambda service: session.client(service, region_name=region)
    mail, glue, rds = client("sesv2"), client("glue"), client("rds")
    bases = [d["Name"] for d in pages(glue, "get_databases", "DatabaseList")]
    return {
        "AWS::SQS::Queue": pages(client("sqs"), "list_queues", "QueueUrls"),
        "AWS::SES::EmailIdentity": [i["IdentityName"] for i in mail.list_email_identities()["EmailIdentities"]],
        "AWS::SES::ConfigurationSet": mail.list_configuration_sets()["ConfigurationSets"],
        "AWS::Glue::Database": bases,
        "AWS::Glue::Table": [f"{d}/{t['Name']}" for d in bases for t in pages(glue, "get_tables", "TableList", DatabaseName=d)],
        "AWS::Glue::Job": [j["Name"] for j in pages(glue, "get_jobs", "Jobs")],
        "AWS::Glue::Crawler": [c["Name"] for c in pages(glue, "get_crawlers", "Crawlers")],
        "AWS::CodeBuild::Project": [p["arn"] for p in client("codebuild").batch_get_projects(names=pages(client("codebuild"), "list_projects", "projects"))["projects"]],
        "AWS::RDS::DBInstance": [d["DBInstanceIdentifier"] for d in pages(rds, "describe_db_instances", "DBInstances")],
        "AWS::RDS::DBCluster": [d["DBClusterIdentifier"] for d in pages(rds, "describe_db_clusters", "DBClusters")],
        "AWS::RDS::DBSnapshot": [d["DBSnapshotIdentifier"] for d in pages(rds, "describe_db_snapshots", "DBSnapshots", SnapshotType="manual")],
        "AWS::RDS::DBSubnetGroup": [g["DBSubnetGroupName"] for g in pages(rds, "describe_db_subnet_groups", "DBSubnetGroups")],
    }


def of_route53(client):
    zones = pages(client, "list_hosted_zones", "HostedZones")
    named = lambda zone, r: f"{zone['Id'].rsplit('/', 1)[1]}/{r['Name']}/{r['Type']}/{r.get('SetIdentifier', r['Type'])}"
    return {
        "AWS::Route53::HostedZone": [z["Id"].rsplit("/", 1)[1] for z in zones],
        "AWS::Route53::RecordSet": [named(z, r) for z in zones for r in pages(client, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=z["Id"])],
        "AWS::Route53::HealthCheck": [h["Id"] for h in pages(client, "list_health_checks", "HealthChecks")],
    }


@pytest.fixture(scope="module")
def scan(moto, fleetscan, tmp_path_factory):
    """What a scan of moto finds of these services."""
    folder = tmp_path_factory.mktemp("others")
    for n, account in enumerate(ACCOUNTS):
        seed(accounts.session(moto, account), n)
    file = accounts.write_file(folder / "accounts.toml", ACCOUNTS)
    where = ("--out", folder / "out", "--data", folder / "data", "--share", "1", "--regions", ",".join(REGIONS))
    hub = {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub", "AWS_EC2_METADATA_DISABLED": "true"}
    ended = run(fleetscan, "scan", "--accounts", file, *where, "--catalogue", SERVICES, "--services", ",".join(NAMES), "--json", **hub)
    assert ended.returncode == 0, ended.stderr[-3000:] + ended.stdout
    return results.Scan(folder / "out")


def test_their_ids_are_those_that_boto3_lists(moto, scan):
    found = {}
    for record in scan.records():
        found.setdefault((record["account"], record["region"], record["type"]), []).append(record["id"])
    expected = {}
    for account in ACCOUNTS:
        session = accounts.session(moto, account)
        for region in REGIONS:
            expected |= {(account, region, kind): ids for kind, ids in of_region(session, region).items()}
        expected |= {(account, "global", kind): ids for kind, ids in of_route53(session.client("route53")).items()}
    assert {key: sorted(ids) for key, ids in found.items()} == {key: sorted(ids) for key, ids in expected.items() if ids}
    assert len(expected[ACCOUNTS[0], "us-east-1", "AWS::RDS::DBInstance"]) == PLENTY, "more than a page"
    assert len(expected[ACCOUNTS[0], "global", "AWS::Route53::RecordSet"]) > 300 + 2 * PLENTY, "more than a page of one zone"


def test_their_properties_have_types_tags_and_no_secret(scan):
    of = lambda kind: [r for r in scan.records() if r["type"] == kind]
    database = of("AWS::RDS::DBInstance")[0]
    assert (database["properties"]["AllocatedStorage"], database["properties"]["MultiAZ"]) == (20, False)
    assert database["tags"] == {"team": "payments"}
    [attributes, *_] = of("AWS::RDS::DBSnapshot")[0]["properties"]["DBSnapshotAttributes"]
    assert attributes["DBSnapshotAttributes"][0]["AttributeValues"] == ["all"], "a public snapshot can be told"
    assert all(r["properties"]["DefaultArguments"] == {"--password": "<redacted>"} for r in of("AWS::Glue::Job"))
    assert any(r["properties"].get("Policy", {}).get("Statement") for r in of("AWS::SQS::Queue")), "a policy is an object"
    assert all(r["tags"] == {"team": "payments"} for r in of("AWS::SQS::Queue") + of("AWS::Route53::HostedZone") + of("AWS::SES::EmailIdentity"))
    [project, *_] = of("AWS::CodeBuild::Project")
    assert project["properties"]["source"]["buildspec"] == "<redacted>"
    assert project["properties"]["environment"]["environmentVariables"][0] == {"name": "TOKEN", "value": "<redacted>", "type": "PLAINTEXT"}
    assert not [r["id"] for r in scan.records() if SECRET in json.dumps(r)]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_says_what_aws_says(path):
    assert check_catalogue.File(path.read_text()).check() == []
    file = xml_hints.tomllib.loads(path.read_text())
    if file["protocol"] in ("query", "rest-xml"):
        assert file["xml"] == xml_hints.generate(file)


def test_the_catalogue_is_sound_with_them_and_says_that_it_is_another_one(fleetscan):
    sound = json.loads(printed(fleetscan, "catalogue", "check", "--json"))
    plain = json.loads(run(fleetscan, "catalogue", "check", "--json").stdout)
    assert sound["services"] == plain["services"] + len(FILES) and sound["digest"] != plain["digest"]
    alone = run(fleetscan, "catalogue", "check", *FILES)
    assert alone.returncode == 0, alone.stderr


def test_role_template_and_session_policy_follow(fleetscan):
    documents = json.loads(printed(fleetscan, "catalogue", "policy", "--json"))
    granted = {a for d in documents for s in d["Statement"] for a in s["Action"]}
    plain = {a for d in json.loads(run(fleetscan, "catalogue", "policy", "--json").stdout) for s in d["Statement"] for a in s["Action"]}
    added = granted - plain
    assert {"sqs:ListQueues", "ses:GetEmailIdentity", "glue:GetTables", "rds:DescribeDBSnapshots", "route53:ListResourceRecordSets"} <= added
    for action in added:
        service, name = action.split(":")
        known = get_action_data(service, name)
        assert known and known[service][0]["access_level"] in ("List", "Read"), action
    template = printed(fleetscan, "catalogue", "template")
    assert "Of the operator's own services in it: AWS CodeBuild, AWS Glue, Amazon RDS, Amazon Route 53, Amazon SES, Amazon SQS." in template
    assert all(action in template for action in added)
    session = printed(fleetscan, "catalogue", "policy", "--of", "session")
    assert len(json.dumps(json.loads(session), separators=(",", ":"))) <= 2048


def test_the_simulator_serves_them_and_a_scan_reads_all_of_it(fleetscan, tmp_path):
    aws = simulated.Simulated(fleetscan, tmp_path, "--accounts", "2", "--limits", "off", "--world", WORLD, "--catalogue", str(SERVICES))
    try:
        hub = aws.hub.get_credentials()
        where = ("--out", tmp_path / "out", "--data", tmp_path / "data", "--share", "1")
        keys = {"AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": hub.access_key, "AWS_SECRET_ACCESS_KEY": hub.secret_key}
        command = ("scan", "--accounts", tmp_path / "accounts.toml", *where, "--services", ",".join(NAMES), "--catalogue", SERVICES)
        ended = run(fleetscan, *command, AWS_EC2_METADATA_DISABLED="true", **keys)
        assert ended.returncode == 0, ended.stderr[-3000:]
        scan = results.Scan(tmp_path / "out")
        found = {}
        for record in scan.records():
            found.setdefault((record["account"], record["region"], record["service"]), []).append((record["type"], record["id"]))
        for account in aws.accounts:
            for cell in aws.once("expectations", account=account["id"]):
                if cell["service"] in NAMES:
                    planted = sorted((r["type"], r["id"]) for r in cell["records"])
                    assert sorted(found.get((account["id"], cell["region"], cell["service"]), [])) == planted, cell["service"]
        assert {service for _, _, service in found} == set(NAMES)
        # boto3 as well, so that the two do not just agree with each other.
        account = aws.accounts[0]
        databases = [d["Name"] for d in aws.client(account, "glue", "us-east-1").get_databases()["DatabaseList"]]
        assert sorted(databases) == sorted(i for k, i in found[account["id"], "us-east-1", "glue"] if k == "AWS::Glue::Database")
        instances = aws.client(account, "rds", "us-east-1").describe_db_instances()["DBInstances"]
        assert len(instances) == 3
        assert sorted(i["DBInstanceIdentifier"] for i in instances) == sorted(i for k, i in found[account["id"], "us-east-1", "rds"] if k == "AWS::RDS::DBInstance")
    finally:
        aws.end()


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("sns.toml", ("sqs", "sns"), "two files describe this service"),
        ("sqs.toml", ('name = "ListQueues"', 'name = "ReceiveMessage"'), "there is no operation ListQueues"),
        ("sqs.toml", ('name = "ListQueueTags"', 'name = "PurgeQueue"'), "sqs:PurgeQueue can never be called"),
        ("sqs.toml", ('service = "sqs"', 'service = "secrets"\nsigning_name = "secretsmanager"'), None),
        ("sqs.toml", ('name = "ListQueueTags"', 'name = "ListQueueTags"\naction = "ssm:GetParameter"'), "can never be called"),
        ("sqs.toml", ('protocol = "json-1.0"', 'protocol = "json-1.0"\ntyped = true'), "`typed` is for iam, s3, sts alone"),
        ("sqs.toml", ('service = "sqs"', 'service = "sqs"\nendpoint_prefix = "elsewhere.example/x"'), "`endpoint_prefix"),
    ],
)
def test_a_folder_that_asks_for_what_may_not_be_read_is_refused_before_anything_is_called(fleetscan, tmp_path, name, change, said):
    text = (SERVICES / "sqs.toml").read_text()
    assert change[0] in text
    (tmp_path / name).write_text(text.replace(change[0], change[1], 1))
    ended = run(fleetscan, "catalogue", "list", "--catalogue", tmp_path)
    if said is None:
        assert ended.returncode == 0, ended.stderr
    else:
        assert ended.returncode == 2 and said in ended.stderr, ended.stderr


def test_a_folder_without_files_is_named(fleetscan, tmp_path):
    ended = run(fleetscan, "catalogue", "list", "--catalogue", tmp_path)
    assert ended.returncode == 2 and "there is no *.toml" in ended.stderr


def test_a_connected_account_reads_nothing_of_them_before_its_owner_was_told(fleetscan, tmp_path):
    """One, then all: `accounts show` says what would be added, `upgrade-profile` adds it."""
    keep = {"FLEETSCAN_KEY": "A" * 43 + "=", "FLEETSCAN_DATA": str(tmp_path / "data")}
    ids = [accounts.number(n) for n in (710, 711, 712)]
    (tmp_path / "id").write_text(accounts.EXTERNAL_ID)

    def ask(*command):
        ended = run(fleetscan, "accounts", *command, "--json", **keep)
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    def would_add(account, *more):
        return ask("show", account, *more)[0]["upgrade_adds"]

    for account in ids:
        ask("add", account, "--role-arn", f"arn:aws:iam::{account}:role/{accounts.ROLE}", "--external-id-file", tmp_path / "id", "--profile", "full")
    assert [would_add(account) for account in ids] == [[], [], []]
    added = would_add(ids[0], "--catalogue", SERVICES)
    assert {"sqs:ListQueues", "route53:ListResourceRecordSets", "glue:GetJobs"} <= set(added)
    assert {name.split(":")[0] for name in added} == set(NAMES)
    [moved] = ask("upgrade-profile", ids[0], "--catalogue", SERVICES)
    assert sorted(moved["added"]) == sorted(added)
    assert would_add(ids[0], "--catalogue", SERVICES) == [] and would_add(ids[1], "--catalogue", SERVICES) == added
    everyone = ask("upgrade-profile", "--all", "--catalogue", SERVICES)
    assert [len(one["added"]) for one in sorted(everyone, key=lambda one: one["id"])] == [0, len(added), len(added)]
