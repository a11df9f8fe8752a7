"""What was done in accounts: CloudTrail's LookupEvents as the simulator answers it, and as scans read and remember it."""

import collections
import datetime
import json
import signal
import subprocess
import time

import botocore.config
import botocore.exceptions
import fleet
import pytest
import results
import scanning
import servers
import simulated

KIND = "AWS::CloudTrail::PrincipalActivity"
SECRET = b"planted-secret-"
SCOPE = ("--services", "cloudtrail", "--regions", "us-east-1")


def world(fleetscan, folder, events, *more):
    """One account, with so many events in ninety days in each of two regions, and nothing else."""
    folder.mkdir(exist_ok=True)
    flags = ("--accounts", "1", "--world", f"cloudtrail:LookupEvents={events};regions=17", *more)
    return simulated.Simulated(fleetscan, folder, *flags)


@pytest.fixture
def begin(fleetscan, tmp_path):
    """Starts simulated AWSes that end with the test."""
    started = []

    def start(events, *more):
        aws = world(fleetscan, tmp_path / f"aws-{len(started)}", events, *more)
        started.append(aws)
        return aws

    yield start
    for aws in started:
        aws.end()


@pytest.fixture
def unlimited(begin):
    return begin(400, "--limits", "off")


def client(aws, region="us-east-1", **config):
    """A client as `simulated` has them, or set otherwise."""
    usual = aws.client(aws.accounts[0], "cloudtrail", region)
    if not config:
        return usual
    session, _ = aws.sessions[aws.accounts[0]["id"]]
    return session.client("cloudtrail", endpoint_url=aws.url, region_name=region, config=botocore.config.Config(**config))


def all_pages(cloudtrail, **asked):
    events, pages, token = [], 0, {}
    while True:
        answer = cloudtrail.lookup_events(**asked, **token)
        pages += 1
        events += answer["Events"]
        if "NextToken" not in answer:
            return events, pages
        token = {"NextToken": answer["NextToken"]}


def test_boto3_reads_ninety_days_of_events_newest_first(unlimited):
    events, pages = all_pages(client(unlimited))
    assert len(events) in range(390, 405) and pages == -(-len(events) // 50)
    times = [event["EventTime"] for event in events]
    assert times == sorted(times, reverse=True)
    now = datetime.datetime.now(datetime.UTC)
    assert now - times[-1] < datetime.timedelta(days=90, minutes=1) and times[0] < now
    assert len({event["EventId"] for event in events}) == len(events)
    for event in events:
        document = json.loads(event["CloudTrailEvent"])
        assert (document["eventName"], document["eventSource"]) == (event["EventName"], event["EventSource"])
        assert datetime.datetime.fromisoformat(document["eventTime"]) == event["EventTime"]
    elsewhere, _ = all_pages(client(unlimited, "eu-west-1"))
    assert not {event["EventId"] for event in elsewhere} & {event["EventId"] for event in events}


def test_both_ends_of_a_span_are_part_of_it(unlimited):
    cloudtrail = client(unlimited)
    events, _ = all_pages(cloudtrail)
    count = collections.Counter(event["EventTime"] for event in events)
    second = events[100]["EventTime"]
    one, _ = all_pages(cloudtrail, StartTime=second, EndTime=second)
    assert [event["EventTime"] for event in one] == [second] * count[second] and count[second] > 1
    inner = [event for event in events if events[200]["EventTime"] <= event["EventTime"] <= second]
    paged, _ = all_pages(cloudtrail, StartTime=events[200]["EventTime"], EndTime=second, MaxResults=3)
    assert [event["EventId"] for event in paged] == [event["EventId"] for event in inner]


def test_an_attribute_narrows_the_answer(unlimited):
    cloudtrail = client(unlimited)
    events, _ = all_pages(cloudtrail)
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "CreateUser"}]
    found, _ = all_pages(cloudtrail, LookupAttributes=wanted)
    assert [e["EventId"] for e in found] == [e["EventId"] for e in events if e["EventName"] == "CreateUser"] != []


def test_what_is_asked_wrongly_is_refused_as_aws_refuses_it(unlimited):
    cloudtrail = client(unlimited, parameter_validation=False, retries={"total_max_attempts": 1})
    late, early = datetime.datetime(2026, 2, 1), datetime.datetime(2026, 1, 1)
    token = cloudtrail.lookup_events()["NextToken"]
    for code, asked in [
        ("InvalidMaxResultsException", {"MaxResults": 51}),
        ("InvalidMaxResultsException", {"MaxResults": 0}),
        ("InvalidTimeRangeException", {"StartTime": late, "EndTime": early}),
        ("InvalidNextTokenException", {"NextToken": "nonsense"}),
        # A token is good for the parameters that it was given for.
        ("InvalidNextTokenException", {"NextToken": token, "EndTime": late}),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            cloudtrail.lookup_events(**asked)
        assert raised.value.response["Error"]["Code"] == code, asked


def test_two_calls_a_second_are_answered_in_each_region(begin):
    aws = begin(400)
    for region in ("us-east-1", "eu-west-1"):
        cloudtrail = client(aws, region)
        answered = 0
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            while answered < 100:
                cloudtrail.lookup_events()
                answered += 1
        assert raised.value.response["Error"]["Code"] == "ThrottlingException"
        assert answered in range(2, 20)


class Reader(scanning.Scanner):
    """Scans the trail's cell of a simulated AWS."""

    def __init__(self, fleetscan, aws, folder):
        super().__init__(fleetscan, aws, folder, folder / "out")
        self.aws = aws
        self.accounts.write_text((folder / "aws-0" / "accounts.toml").read_text())

    def lookups(self):
        told = self.aws.get("counters")["operations"].get("cloudtrail:LookupEvents", {})
        return told.get("ok", 0)

    def read(self, *flags):
        """A new scan: its one cell, its records by principal, and how many pages of events it read."""
        before = self.lookups()
        scan = results.Scan(self.folder / "out", self.scan(*SCOPE, *flags))
        [cell] = [cell for cell in scan.ledger if cell["service"] == "cloudtrail"]
        records = {record["id"]: record for record in scan.records() if record["type"] == KIND}
        return cell, records, self.lookups() - before

    def planted(self):
        """What the simulator's own events say of each principal."""
        events, _ = all_pages(client(self.aws, retries={"mode": "standard", "total_max_attempts": 20}))
        last = {}
        for event in events:
            who = json.loads(event["CloudTrailEvent"])["userIdentity"]
            issuer = who.get("sessionContext", {}).get("sessionIssuer", {}).get("arn")
            id = {"AWSService": who.get("invokedBy"), "AWSAccount": who.get("accountId")}.get(who["type"]) or issuer or who["arn"]
            deed = (event["EventTime"].strftime("%Y-%m-%dT%H:%M:%SZ"), event["EventName"], event["EventSource"])
            last[id] = max(last.get(id, deed), deed)
        # The role that is read by is left out: it stands, sealed, in the registry alone.
        return {id: deed for id, deed in last.items() if not id.endswith(":role/SecurityV0ReadOnly")}


@pytest.fixture
def reader(fleetscan, begin, tmp_path):
    def over(events, *more):
        return Reader(fleetscan, begin(events, *more), tmp_path)

    return over


def deeds(records):
    at = ("LastActivity", "LastEventName", "LastEventSource")
    return {id: tuple(record["properties"][name] for name in at) for id, record in records.items()}


def test_a_second_scan_reads_only_what_is_new_and_tells_all_that_is_known(reader, tmp_path):
    reads = reader(400, "--limits", "off")
    cell, first, pages = reads.read()
    assert cell["outcome"] == "complete", cell
    assert pages in (8, 9)
    planted = reads.planted()
    assert deeds(first) == planted and len(first) == 11
    kinds = {record["properties"]["PrincipalType"] for record in first.values()}
    assert kinds == {"AssumedRole", "IAMUser", "AWSService", "Root", "AWSAccount"}
    user = next(record for record in first.values() if record["properties"]["PrincipalType"] == "IAMUser")
    assert [key["AccessKeyId"][:4] for key in user["properties"]["AccessKeys"]] == ["AKIA"]
    assert user["arn"] == user["id"] and user["name"] == user["arn"].rsplit("/")[-1]
    cell, second, pages = reads.read()
    assert (cell["outcome"], pages) == ("complete", 1)
    assert deeds(second) == deeds(first)
    # Nothing of what calls asked for or were answered is anywhere.
    for file in [*(tmp_path / "out").rglob("*"), *(tmp_path / "data").rglob("*")]:
        if file.is_file():
            content = json.dumps(results.lines(file)).encode() if file.suffix == ".zst" else file.read_bytes()
            assert SECRET not in content, file


def test_what_a_scan_has_no_time_for_the_next_ones_read(reader):
    reads = reader(1_000, "--limits", "published")
    cell, some, pages = reads.read("--activity-seconds", "4")
    assert cell["outcome"] == "partial", cell
    assert "LookupEvents: not read from 20" in cell["error"] and "the 4 s that a scan may take for it are over" in cell["error"]
    assert 3 <= pages <= 11 and some
    cell, whole, more = reads.read()
    assert cell["outcome"] == "complete", cell
    # A page is read again where the first scan stopped within a second, and the last minutes are young.
    assert 20 <= pages + more <= 23
    assert deeds(whole) == reads.planted()


def test_nothing_is_read_where_it_is_switched_off(reader):
    reads = reader(400, "--limits", "off")
    cell, records, pages = reads.read("--activity-seconds", "0")
    assert (cell["outcome"], records, pages) == ("complete", {}, 0)


@pytest.mark.long
def test_a_scan_that_is_killed_goes_on_near_where_it_was(reader):
    reads = reader(2_400, "--limits", "published")
    command = [reads.fleetscan, "scan", "--accounts", str(reads.accounts), *SCOPE, "--json"]
    running = subprocess.Popen(command, env=reads.environment, cwd=reads.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        while reads.lookups() < 36:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    before = reads.lookups()
    resumed = reads.json("scan", "--accounts", reads.accounts, *SCOPE)
    assert resumed["exit"] == 0
    more = reads.lookups() - before
    # Thirty pages were remembered; forty-eight there are.
    assert 18 <= more <= 21, more
    scan = results.Scan(reads.folder / "out", resumed["id"])
    records = {record["id"]: record for record in scan.records() if record["type"] == KIND}
    assert deeds(records) == reads.planted()


def test_a_denied_lookup_is_a_denial_and_tells_nothing(reader):
    reads = reader(400, "--limits", "off")
    assert reads.read()[1]
    reads.aws.do("detach_actions", account=reads.aws.accounts[0]["id"], actions=["cloudtrail:LookupEvents"])
    cell, records, _ = reads.read()
    assert (cell["outcome"], records) == ("partial", {})
    assert [denied["action"] for denied in cell["denied"]] == ["cloudtrail:LookupEvents"]


@pytest.mark.long
def test_a_fleet_remembers_what_a_killed_worker_read_and_forgets_it_with_the_account(fleetscan, tmp_path):
    running = fleet.Fleet(fleetscan, tmp_path, ("--accounts", "1", "--world", "cloudtrail:LookupEvents=2400;regions=17"), shards=2)

    def lookups():
        return running.aws.get("counters")["operations"].get("cloudtrail:LookupEvents", {}).get("ok", 0)

    def remembered():
        return [key for key in running.redis.ask("KEYS", "*").decode().split() if key.endswith(":activity")]

    def found(scan):
        return {record["id"] for record in running.results(scan).records() if record["type"] == KIND}

    try:
        running.connect()
        running.coordinator()
        running.worker("worker-1")
        scan = running.scan(*SCOPE)
        servers.until(lambda: lookups() >= 36, 120)
        running.kill("worker-1")
        assert len(remembered()) == 1
        before = lookups()
        running.worker("worker-2")
        assert running.ended(scan)["holes"] == 0
        # Thirty pages of forty-eight were remembered.
        assert 18 <= lookups() - before <= 21
        before = lookups()
        second = running.scan(*SCOPE)
        assert running.ended(second)["holes"] == 0
        assert lookups() - before == 1
        assert len(found(second)) == 11 and found(second) == found(scan)
        account = running.aws.accounts[0]["id"]
        running.run("accounts", "remove", account)
        assert remembered() == []
    finally:
        running.end()
