"""CloudTrail's log files in a customer's bucket, put there by boto3 and read by fleetscan out of an AWS emulator that this
project did not write. That has no LookupEvents, so what the archive does not tell is lacking, and said to be."""

import base64
import datetime
import gzip
import json
import os
import secrets
import subprocess
import urllib.parse

import accounts
import fleet
import pytest
import recorder
import results
import servers

REGION = "eu-west-1"
SCOPE = ("--services", "cloudtrail", "--regions", REGION)
KIND = "AWS::CloudTrail::PrincipalActivity"
HOUR = datetime.timedelta(hours=1)
ORGANISATION = "o-abcdefghij"
NUMBERS = iter(range(700, 800))


def text_of(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Customer:
    """An account of its own in moto with a bucket of log files, and scans of it through an endpoint that keeps all calls."""

    def __init__(self, fleetscan, moto, folder, prefix="", organisation=None):
        self.fleetscan, self.folder = fleetscan, folder
        self.account = accounts.number(next(NUMBERS))
        self.session = accounts.session(moto, self.account)
        # S3 on the moto server is told apart by the path.
        self.s3 = self.session.client("s3", endpoint_url=moto, region_name="us-east-1")
        self.bucket = f"trail-{self.account}"
        self.place = "/".join(part for part in (self.bucket, prefix) if part)
        self.s3.create_bucket(Bucket=self.bucket)
        parts = (prefix, "AWSLogs", organisation, self.account, "CloudTrail", REGION)
        self.root = "/".join(part for part in parts if part)
        self.aws = recorder.Recorder(moto)
        self.file = folder / "accounts.toml"
        self.own(None)
        # A minute that is over, so that all files of a test have stamps of their own.
        self.now = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
        self.trail(prefix, organisation)

    def trail(self, prefix="", organisation=None, records="All", since=90):
        """A trail that delivers there, and is on for so many days, which moto does not let anybody say."""
        cloudtrail = self.session.client("cloudtrail", region_name=REGION)
        place = {"S3BucketName": self.bucket, **({"S3KeyPrefix": prefix} if prefix else {})}
        cloudtrail.create_trail(Name="its-trail", IsOrganizationTrail=bool(organisation), IsMultiRegionTrail=True, **place)
        self.records(records)
        status = {"IsLogging": True, "StartLoggingTime": (self.now - datetime.timedelta(days=since)).timestamp()}
        self.aws.operations["GetTrailStatus"] = (200, [("content-type", "application/x-amz-json-1.1")], json.dumps(status).encode())

    def records(self, kind):
        selector = {"ReadWriteType": kind, "IncludeManagementEvents": True, "DataResources": [], "ExcludeManagementEventSources": []}
        self.session.client("cloudtrail", region_name=REGION).put_event_selectors(TrailName="its-trail", EventSelectors=[selector])

    def own(self, place):
        """From now on the accounts file names this bucket."""
        accounts.write_file(self.file, [self.account])
        if place:
            self.file.write_text(self.file.read_text().rstrip() + f'\ncloudtrail_bucket = "{place}"\n')

    def user(self, name):
        return f"arn:aws:iam::{self.account}:user/{name}"

    def event(self, name, at, deed="CreateUser"):
        return {
            "eventVersion": "1.11", "eventTime": text_of(at), "eventSource": "iam.amazonaws.com", "eventName": deed,
            "awsRegion": REGION, "recipientAccountId": self.account, "sourceIPAddress": "198.51.100.7", "readOnly": False,
            "userIdentity": {"type": "IAMUser", "arn": self.user(name), "accountId": self.account, "accessKeyId": f"AKIA{name.upper()}"},
            "requestParameters": {"password": "planted-secret-1"}, "responseElements": None, "eventCategory": "Management",
        }

    def key(self, at):
        stamp = at.strftime("%Y%m%dT%H%MZ")
        return f"{self.root}/{at:%Y/%m/%d}/{self.account}_CloudTrail_{REGION}_{stamp}_{secrets.token_hex(8)}.json.gz"

    def put(self, at, *events, content=None):
        key = self.key(at)
        body = gzip.compress(json.dumps({"Records": list(events)}).encode()) if content is None else content
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return key

    def hourly(self, newest, oldest):
        """A log file for each hour: what ann did five minutes before each, and somebody of that hour alone."""
        keys = []
        for back in range(newest, oldest + 1):
            at = self.now - back * HOUR
            done = at - datetime.timedelta(minutes=5)
            keys.append(self.put(at, self.event(f"hour{back}", done), self.event("ann", done, f"Deed{back}")))
        return keys

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        aws = {"AWS_ENDPOINT_URL": self.aws.url, "AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub", "AWS_EC2_METADATA_DISABLED": "true"}
        return {**kept, **aws, "FLEETSCAN_SHARE": "1", "FLEETSCAN_DATA": str(self.folder / "data"), "FLEETSCAN_OUT": str(self.folder / "out"), **more}

    def scan(self, *flags, enabled=True, **environment):
        """The cell, its records by name, and the keys of objects that were read."""
        self.aws.requests.clear()
        command = [self.fleetscan, "scan", "--accounts", str(self.file), "--new", *SCOPE, "--json", *flags]
        if enabled:
            command.append("--cloudtrail-enabled")
        run = subprocess.run(command, env=self.environment(**environment), cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert run.returncode in (0, 3), run.stderr[-4000:]
        scan = results.Scan(self.folder / "out", json.loads(run.stdout)["id"])
        [cell] = [cell for cell in scan.ledger if cell["service"] == "cloudtrail"]
        records = {record["name"]: record["properties"] for record in scan.records() if record["type"] == KIND}
        return cell, records, self.read()

    def to_s3(self):
        """Paths and queries of whatever was asked of S3: by its path, for all others ask moto at its root by POST."""
        return [path for method, path, _ in self.aws.requests if method != "POST"]

    def read(self):
        """Keys of the objects that were read."""
        prefix = f"/{self.bucket}/"
        paths = [urllib.parse.urlsplit(path).path for path in self.to_s3()]
        return sorted(path.removeprefix(prefix) for path in paths if path.startswith(prefix) and len(path) > len(prefix))


@pytest.fixture
def customer(fleetscan, moto, tmp_path):
    started = []

    def begin(**more):
        folder = tmp_path / f"customer-{len(started)}"
        folder.mkdir()
        started.append(Customer(fleetscan, moto, folder, **more))
        return started[-1]

    yield begin
    for one in started:
        one.aws.end()


def test_records_are_what_the_log_files_say_and_the_newest_deed_counts(customer):
    one = customer(prefix="logs/eu")
    keys = one.hourly(1, 30)
    # What lies beside them is none of them.
    day = keys[0].rsplit("/", 1)[0]
    beside = ["secrets.json", keys[0].replace("/CloudTrail/", "/CloudTrail-Digest/"), f"{day}/notes.txt", keys[0].replace(one.account, accounts.number(1))]
    for key in beside:
        one.s3.put_object(Bucket=one.bucket, Key=key, Body=b"planted-secret-2")
    cell, records, read = one.scan("--cloudtrail-bucket-name", f"s3://{one.place}/")
    assert read == sorted(keys)
    ann = records["ann"]
    assert (ann["LastActivity"], ann["LastEventName"]) == (text_of(one.now - HOUR - datetime.timedelta(minutes=5)), "Deed1")
    assert ann["AccessKeys"] == [{"AccessKeyId": "AKIAANN", "LastActivity": ann["LastActivity"]}]
    assert set(records) == {"ann", *(f"hour{back}" for back in range(1, 31))}
    # Before the first file and after the newest nothing is known.
    assert cell["outcome"] == "partial" and "archive" not in cell["error"], cell
    after = text_of(one.now - HOUR + datetime.timedelta(minutes=1))
    assert f"and so not read from {after} to " in cell["error"] and ", nor in 1 older gaps since " in cell["error"], cell
    assert cell["calls"] >= 30
    for file in (one.folder / "out").rglob("*.zst"):
        assert "planted-secret" not in json.dumps(results.lines(file)), file
    # Nobody asked for what lies beside them: neither as an object, nor for anything about one.
    asked = [urllib.parse.urlsplit(path).path for path in one.to_s3()]
    assert len(asked) > 30 and not [path for path in asked if path.removeprefix(f"/{one.bucket}/") in beside], asked


def test_files_of_a_trail_that_records_less_tell_of_principals_and_close_nothing(customer):
    one = customer()
    one.own(one.place)
    keys = one.hourly(1, 10)
    one.records("WriteOnly")
    for _ in range(2):
        cell, records, read = one.scan()
        assert read == sorted(keys) and len(records) == 11
        assert f"archive: s3://{one.place}: it is not known that all management events are in its files" in cell["error"], cell
        assert "older gaps" not in cell["error"], "all of it is one gap"
    # Since it records everything, the same files close what they lie in, and are read no more.
    one.records("All")
    cell, records, read = one.scan()
    assert read == sorted(keys) and "it is not known" not in cell["error"], cell
    assert one.scan()[2] == []


def test_an_account_that_says_none_is_left_alone_whatever_the_operator_has(customer):
    one = customer()
    one.hourly(1, 4)
    one.own("none")
    _, records, read = one.scan("--cloudtrail-bucket-name", one.place)
    assert (records, read) == ({}, []) and not [path for path in one.to_s3() if one.bucket in path]


def test_what_is_looked_up_first_decides_whether_files_are_read(customer):
    one = customer()
    one.own(one.place)
    one.hourly(1, 4)
    json_of = [("content-type", "application/x-amz-json-1.1")]
    denied = {"__type": "AccessDeniedException", "message": "not authorized because no identity-based policy allows it"}
    one.aws.operations["LookupEvents"] = (400, json_of, json.dumps(denied).encode())
    cell, records, _ = one.scan()
    assert "cloudtrail:LookupEvents" in json.dumps(cell["denied"]) and records == {}, cell
    assert not [path for path in one.to_s3() if one.bucket in path]
    # What is told at once has no need of files.
    one.aws.operations["LookupEvents"] = (200, json_of, b'{"Events": []}')
    cell, records, _ = one.scan()
    assert "archive" not in (cell["error"] or "") and records == {}, cell
    assert not [path for path in one.to_s3() if one.bucket in path]


def test_a_list_that_breaks_off_closes_nothing(customer):
    one = customer()
    one.own(one.place)
    one.hourly(1, 4)
    broken = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    for path in (f"/{one.bucket}", f"/{one.bucket}/"):
        one.aws.instead[path] = (200, [("content-type", "application/xml")], broken)
    cell, _, read = one.scan()
    assert f"archive: s3://{one.place}: a list breaks off" in cell["error"] and read == [], cell


def test_of_very_many_organisations_few_are_looked_into(customer):
    one = customer()
    one.own(one.place)
    keys = one.hourly(1, 4)
    for n in range(10):
        one.s3.put_object(Bucket=one.bucket, Key=f"AWSLogs/o-aaaaaaaaa{n}/x", Body=b"x")
    cell, _, read = one.scan()
    assert read == sorted(keys) and "more organisations than the 8" in cell["error"], cell
    assert len([path for path in one.to_s3() if "o-aaaaaaaaa" in path]) == 8


def test_archived_files_end_their_folder_and_are_named(customer):
    one = customer()
    one.own(one.place)
    keys = one.hourly(1, 20)
    archived = b"<Error><Code>InvalidObjectState</Code><Message>planted-secret-4</Message></Error>"
    for key in keys[10:]:
        one.aws.instead[f"/{one.bucket}/{key}"] = (403, [("content-type", "application/xml")], archived)
    cell, records, _ = one.scan()
    name = keys[10].rsplit("/", 1)[1]
    assert f"archive: s3://{one.place}: {name}: it is archived" in cell["error"] and "planted-secret" not in json.dumps(cell), cell
    assert "hour10" in records and "hour11" not in records


def test_a_second_scan_reads_only_new_files(customer):
    one = customer()
    one.own(one.place)
    old = one.hourly(3, 20)
    assert one.scan()[2] == sorted(old)
    assert one.scan()[2] == []
    new = one.hourly(1, 2)
    cell, records, read = one.scan()
    assert read == sorted(new)
    assert records["ann"]["LastEventName"] == "Deed1" and len(records) == 21


def test_an_organisations_trail_is_found(customer):
    one = customer(prefix="central", organisation=ORGANISATION)
    keys = one.hourly(1, 10)
    _, records, read = one.scan(FLEETSCAN_CLOUDTRAIL_BUCKET_NAME=one.place)
    assert read == sorted(keys) and len(records) == 11


def test_a_damaged_file_is_named_and_leaves_a_gap(customer):
    one = customer()
    one.own(one.place)
    one.hourly(1, 4)
    bad = one.put(one.now - 5 * HOUR, content=b"no gzip")
    one.hourly(6, 10)
    cell, records, _ = one.scan()
    assert cell["outcome"] == "partial" and len(records) == 10
    name = bad.rsplit("/", 1)[1]
    assert f"archive: s3://{one.place}: the log file {name} was not read: it is not gzip, or damaged" in cell["error"], cell
    # What it told of is a quarter of an hour: that is left to be looked up.
    assert one.scan()[2] == []


def test_what_is_denied_or_missing_is_said_and_the_rest_of_the_cell_goes_on(customer):
    one = customer()
    one.own(one.place)
    [key] = one.hourly(1, 1)
    one.hourly(2, 4)
    denied = b"<Error><Code>AccessDenied</Code><Message>planted-secret-3</Message></Error>"
    one.aws.instead[f"/{one.bucket}/{key}"] = (403, [("content-type", "application/xml")], denied)
    cell, _, _ = one.scan()
    assert f"archive: s3://{one.place}: s3:GetObject is denied; files that a KMS key encrypts are" in cell["error"], cell
    assert "planted-secret" not in json.dumps(cell)
    # No action is noted as denied that the role is not told to have: the account stays as it was.
    assert cell["denied"] == [] and cell["outcome"] == "partial"
    one.own("no-such-bucket-anywhere/x")
    cell, _, _ = one.scan()
    assert "archive: s3://no-such-bucket-anywhere/x: there is no such bucket" in cell["error"], cell


def test_no_object_is_read_where_one_of_the_two_switches_is_off(customer):
    one = customer()
    one.hourly(1, 4)
    for enabled, own, environment in [
        (False, one.place, {}),
        (False, one.place, {"FLEETSCAN_CLOUDTRAIL_BUCKET_NAME": one.place}),
        (False, one.place, {"FLEETSCAN_CLOUDTRAIL_ENABLED": "false"}),
        (True, None, {}),
        (True, None, {"FLEETSCAN_CLOUDTRAIL_BUCKET_NAME": ""}),
    ]:
        one.own(own)
        _, records, read = one.scan(enabled=enabled, **environment)
        assert (records, read) == ({}, [])
        assert not [path for path in one.to_s3() if one.bucket in path]
    one.own(None)
    _, records, read = one.scan(enabled=False, FLEETSCAN_CLOUDTRAIL_ENABLED="1", FLEETSCAN_CLOUDTRAIL_BUCKET_NAME=one.place)
    assert len(records) == 5 and len(read) == 4


def test_an_accounts_own_bucket_goes_before_that_of_all_and_no_other_is_touched(customer):
    one, other = customer(), customer()
    one.hourly(1, 4)
    other.hourly(1, 4)
    one.own(one.place)
    _, records, read = one.scan("--cloudtrail-bucket-name", other.place)
    assert len(records) == 5 and len(read) == 4
    assert not [path for path in one.to_s3() if other.bucket in path]


def test_log_files_are_read_on_a_session_that_can_do_nothing_else(customer):
    one = customer()
    one.own(one.place)
    one.hourly(1, 4)
    one.scan()
    assumed = [urllib.parse.parse_qs(body.decode()) for method, _, body in one.aws.requests if method == "POST" and b"Action=AssumeRole" in body]
    policies = [json.loads(form["Policy"][0]) for form in assumed if "Policy" in form]
    [its] = [policy for policy in policies if "AWSLogs" in json.dumps(policy)]
    [listing, reading] = its["Statement"]
    assert (listing["Action"], listing["Resource"]) == ("s3:ListBucket", f"arn:aws:s3:::{one.bucket}")
    assert reading["Action"] == "s3:GetObject"
    assert reading["Resource"] == [f"arn:aws:s3:::{one.bucket}/AWSLogs/{way}{one.account}/CloudTrail/*" for way in ("", "o-*/")]
    others = [policy for policy in policies if policy != its]
    assert others and all("s3:GetObject" not in json.dumps(s.get("Action")) for p in others for s in p["Statement"] if s["Effect"] == "Allow")


@pytest.mark.parametrize("text", ["logs--euw1-az1--x-s3", "192.0.2.7", "Not_A_Bucket", "logs/*", "logs/AWSLogs/x", "ab"])
def test_a_name_that_is_none_is_refused_with_what_to_write(customer, text):
    one = customer()
    run = subprocess.run([one.fleetscan, "scan", "--accounts", str(one.file), "--cloudtrail-bucket-name", text], env=one.environment(), cwd=one.folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "CloudTrail bucket" in run.stderr and "write" in run.stderr, run.stderr
    one.own(text)
    run = subprocess.run([one.fleetscan, "scan", "--accounts", str(one.file)], env=one.environment(), cwd=one.folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "accounts.toml:" in run.stderr and "write" in run.stderr, run.stderr


@pytest.mark.long
def test_a_fleet_reads_the_registrys_bucket_and_goes_on_where_a_killed_worker_was(fleetscan, customer, tmp_path):
    one = customer()
    keys = one.hourly(1, 80)
    running = fleet.Fleet(fleetscan, tmp_path, ("--accounts", "1"), shards=2)
    try:
        running.environment |= {k: v for k, v in one.environment().items() if k.startswith("AWS_")}
        running.run("accounts", "import", one.file)
        running.run("accounts", "update", one.account, "--cloudtrail-bucket", one.place)
        running.coordinator()
        running.worker("worker-1", "--cloudtrail-enabled")
        one.aws.slow = 0.3
        scan = running.scan(*SCOPE)
        servers.until(lambda: len(one.read()) >= 45, 120, 0.02)
        running.kill("worker-1")
        one.aws.slow = 0
        before = len(one.read())
        assert before < 80
        running.worker("worker-2", "--cloudtrail-enabled")
        assert running.ended(scan)["state"] == "finished"
        # Thirty at least were remembered; none is left out.
        assert set(one.read()) == set(keys) and len(one.read()) <= 80 + 16 + 30
        assert len(one.read()) - before <= 80 - 30 + 8
        found = [record for record in running.results(scan).records() if record["type"] == KIND]
        assert len(found) == 81 and {r["name"]: r["properties"] for r in found}["ann"]["LastEventName"] == "Deed1"
        # A worker without the switch reads none, whatever the registry says.
        assert running.stop("worker-2") == 0
        one.hourly(0, 0)
        one.aws.requests.clear()
        running.worker("worker-3")
        running.ended(running.scan(*SCOPE))
        assert not [path for path in one.to_s3() if one.bucket in path]
        assert running.stop("worker-3") == 0
        # Nor does one with it, where sessions cannot be narrowed: they could read whatever the role can.
        running.run("accounts", "update", one.account, "--session-policy", "false")
        running.worker("worker-4", "--cloudtrail-enabled")
        scan = running.scan(*SCOPE)
        running.ended(scan)
        assert not [path for path in one.to_s3() if one.bucket in path]
        [cell] = [cell for cell in running.results(scan).ledger if cell["service"] == "cloudtrail"]
        assert "sessions cannot be narrowed to its log files" in cell["error"], cell
    finally:
        running.end()


@pytest.fixture(params=["embedded", "redis"])
def registry(request, fleetscan, tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    environment = {**kept, "FLEETSCAN_DATA": str(tmp_path / "data"), "FLEETSCAN_KEY": base64.b64encode(secrets.token_bytes(32)).decode()}
    redis = servers.Redis(tmp_path / "redis") if request.param == "redis" else None
    if redis:
        environment["FLEETSCAN_STORE"] = redis.url

    def run(*command, ok=0, stdin=None):
        done = subprocess.run([fleetscan, "accounts", *command], env=environment, cwd=tmp_path, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == ok, done.stderr[-2000:]
        return done.stdout

    yield run
    if redis:
        redis.kill()


def test_the_registry_keeps_an_accounts_bucket(registry, tmp_path):
    account = accounts.number(1)
    role = f"arn:aws:iam::{account}:role/SecurityV0ReadOnly"

    def bucket():
        return json.loads(registry("show", account, "--json"))["cloudtrail_bucket"]

    registry("add", account, "--role-arn", role, "--cloudtrail-bucket", "its-logs/org", stdin=f"{accounts.EXTERNAL_ID}\n")
    assert bucket() == "its-logs/org" and "s3://its-logs/org" in registry("show", account)
    copy = tmp_path / "copy.json"
    registry("export", "--sealed", "--to", str(copy))
    registry("update", account, "--name", "renamed")
    assert bucket() == "its-logs/org"
    registry("update", account, "--cloudtrail-bucket", "")
    assert bucket() is None and "CloudTrail bucket" in registry("show", account, "--history")
    registry("update", account, "--cloudtrail-bucket", "Not_One", ok=2)
    table = tmp_path / "accounts.csv"
    table.write_text(f"id,role_arn,external_id,cloudtrail_bucket\n{account},{role},{accounts.EXTERNAL_ID},s3://other-logs/\n")
    registry("import", str(table))
    assert bucket() == "other-logs"
    # A file that does not mention it leaves it.
    table.write_text(f"id,role_arn,external_id,name\n{account},{role},{accounts.EXTERNAL_ID},renamed-again\n")
    registry("import", str(table))
    assert bucket() == "other-logs" and json.loads(registry("show", account, "--json"))["name"] == "renamed-again"
    registry("update", account, "--cloudtrail-bucket", "none")
    assert bucket() == "none" and "never read" in registry("show", account)
    registry("import", str(table))
    assert bucket() == "none"
    # A copy brings back what is not newer.
    [kept] = json.loads(copy.read_text())["accounts"]
    kept["version"] = 99
    copy.write_text(json.dumps({**json.loads(copy.read_text()), "accounts": [kept]}))
    registry("restore", str(copy))
    assert bucket() == "its-logs/org"
    # What was written by other rules is still read, and shown as what it is.
    kept["version"], kept["cloudtrail_bucket"] = 100, "logs--x-s3"
    copy.write_text(json.dumps({**json.loads(copy.read_text()), "accounts": [kept]}))
    registry("restore", str(copy))
    assert bucket() == "logs--x-s3" and "no bucket that is read" in registry("show", account)
    del kept["cloudtrail_bucket"]
    kept["version"] = 101
    copy.write_text(json.dumps({**json.loads(copy.read_text()), "accounts": [kept]}))
    registry("restore", str(copy))
    assert bucket() is None, "what was written before there were buckets has none"
