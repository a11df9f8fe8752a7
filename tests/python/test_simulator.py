"""boto3 as a client of the simulator: scanner and simulator read the same catalogue, so somebody else must vouch."""

import base64
import collections
import datetime
import json
import math
import time
import urllib.parse

import botocore
import botocore.exceptions
import check_catalogue
import pytest
import simulated

FILES = {file.id: file for file in (check_catalogue.File(path.read_text()) for path in check_catalogue.paths())}
# A HEAD is answered without a body, and so without words.
OPERATIONS = sorted({
    (service, operation["name"])
    for service, file in FILES.items()
    for operation in file.own
    # Events come and go with the time: test_activity.py looks at them.
    if service != "sts" and not operation.get("http", "").startswith("HEAD") and "history" not in operation
})
# Accounts of the demo by place: the first is of middle size, the third a giant, the second nearly empty.
MIDDLING, SMALL, GIANT = 0, 1, 2
# Answers of an operation that are compared, an account and region.
SAMPLE = 25
# Items of a page where AWS leaves no choice, as its pages of the operations say.
FIXED_PAGES = {"dynamodb": 10, "sns": 100}
# What the simulator takes for a page where a file does not say, as there is no parameter for it.
OTHER_PAGES = 100

# Codes and HTTP statuses of throttling, denial, expired sessions and regions that are not enabled, service by service:
# botocore's models and _retry.json, AWS's pages of common errors, and, for the last two, answers that people met.
JSON = {
    "throttled": ("ThrottlingException", 400),
    "denied": ("AccessDeniedException", 400),
    "expired": ("ExpiredTokenException", 400),
    "disabled": ("UnrecognizedClientException", 400),
}
REST = {
    "throttled": ("TooManyRequestsException", 429),
    "denied": ("AccessDeniedException", 403),
    "expired": ("ExpiredTokenException", 403),
    "disabled": ("UnrecognizedClientException", 403),
}
QUERY = {
    "throttled": ("Throttling", 400),
    "denied": ("AccessDenied", 403),
    "expired": ("ExpiredToken", 403),
    "disabled": ("InvalidClientTokenId", 403),
}
S3 = {
    "throttled": ("SlowDown", 503),
    "denied": ("AccessDenied", 403),
    "expired": ("ExpiredToken", 400),
    "disabled": ("InvalidToken", 400),
}
CODES = {
    "accessanalyzer": {**REST, "throttled": ("ThrottlingException", 429)},
    "account": REST,
    "bedrock": {**REST, "throttled": ("ThrottlingException", 429)},
    "bedrock-agent": {**REST, "throttled": ("ThrottlingException", 429)},
    "cloudtrail": JSON,
    "config": JSON,
    "dynamodb": JSON,
    "ec2": {
        "throttled": ("RequestLimitExceeded", 503),
        "denied": ("UnauthorizedOperation", 403),
        "expired": ("RequestExpired", 400),
        "disabled": ("AuthFailure", 401),
    },
    "ecr": JSON,
    "ecs": JSON,
    "eks": {**REST, "throttled": ("ThrottlingException", 429)},
    "events": JSON,
    "iam": QUERY,
    "identitystore": JSON,
    "kms": JSON,
    "lambda": REST,
    "organizations": {**JSON, "throttled": ("TooManyRequestsException", 400)},
    "pipes": {**REST, "throttled": ("ThrottlingException", 429)},
    "s3": S3,
    "s3control": S3,
    "scheduler": {**REST, "throttled": ("ThrottlingException", 429)},
    "secretsmanager": JSON,
    "sns": {**QUERY, "throttled": ("Throttled", 429), "denied": ("AuthorizationError", 403)},
    "sso-admin": JSON,
    "ssm": JSON,
    "stepfunctions": JSON,
}

# What many items lack, and what AWS's pages of the operations say then.
ABSENT = {
    ("cloudtrail", "GetInsightSelectors"): ("InsightNotEnabledException", 400),
    ("ecr", "GetLifecyclePolicy"): ("LifecyclePolicyNotFoundException", 400),
    ("ecr", "GetRepositoryPolicy"): ("RepositoryPolicyNotFoundException", 400),
    ("kms", "GetKeyRotationStatus"): ("UnsupportedOperationException", 400),
    ("organizations", "ListRoots"): ("AWSOrganizationsNotInUseException", 400),
    ("dynamodb", "GetResourcePolicy"): ("PolicyNotFoundException", 400),
    ("iam", "GetAccountPasswordPolicy"): ("NoSuchEntity", 404),
    ("iam", "GetLoginProfile"): ("NoSuchEntity", 404),
    ("lambda", "GetLayerVersionPolicy"): ("ResourceNotFoundException", 404),
    ("lambda", "GetPolicy"): ("ResourceNotFoundException", 404),
    ("s3", "GetBucketCors"): ("NoSuchCORSConfiguration", 404),
    ("s3", "GetBucketLifecycleConfiguration"): ("NoSuchLifecycleConfiguration", 404),
    ("s3", "GetBucketOwnershipControls"): ("OwnershipControlsNotFoundError", 404),
    ("s3", "GetBucketPolicy"): ("NoSuchBucketPolicy", 404),
    ("s3", "GetBucketPolicyStatus"): ("NoSuchBucketPolicy", 404),
    ("s3", "GetBucketReplication"): ("ReplicationConfigurationNotFoundError", 404),
    ("s3", "GetBucketTagging"): ("NoSuchTagSet", 404),
    ("s3", "GetBucketWebsite"): ("NoSuchWebsiteConfiguration", 404),
    ("s3", "GetObjectLockConfiguration"): ("ObjectLockConfigurationNotFoundError", 404),
    ("s3", "GetPublicAccessBlock"): ("NoSuchPublicAccessBlockConfiguration", 404),
    ("s3control", "GetAccessPointPolicy"): ("NoSuchAccessPointPolicy", 404),
}


def names_an_item(operation):
    """Whether it asks for one thing, which may be gone; batches tell of those that are there."""
    return any(not b.startswith("$") for b in operation.get("with", {}).values()) and "batch" not in operation


GONE = [
    (service, name)
    for service, name in OPERATIONS
    if names_an_item(FILES[service].operations[name]) and FILES[service].operations[name].get("absent")
]

BATCHED = [(service, name) for service, name in OPERATIONS if "batch" in FILES[service].operations[name]]


@pytest.fixture(scope="module")
def aws(fleetscan, tmp_path_factory):
    """An AWS without limits: what it answers is what counts."""
    started = simulated.Simulated(fleetscan, tmp_path_factory.mktemp("simulator"), "--accounts", "12", "--limits", "off")
    yield started
    started.end()


@pytest.fixture(scope="module")
def slow_aws(fleetscan, tmp_path_factory):
    """An AWS whose every bucket holds a few calls at most, and hardly fills again."""
    started = simulated.Simulated(fleetscan, tmp_path_factory.mktemp("slow"), "--accounts", "3", "--limits", "0.0001")
    yield started
    started.end()


def regions(aws, account, service):
    """The two places where an account has most of a service."""
    cells = aws.once("expectations", account=account["id"])
    found = [(-len(c["records"]), c["region"]) for c in cells if c["service"] == service]
    return [region for _, region in sorted(found)[:2]] or ["us-east-1"]


def meant(aws, place, service, name):
    """Some answers that the simulator says it has for an operation: absent ones, small ones and big ones."""
    account = aws.accounts[place]
    for region in regions(aws, account, service):
        answers = aws.once("meant", account=account["id"], region=region, service=service, operation=name)
        absent, there = [a for a in answers if a["error"]], [a for a in answers if not a["error"]]
        there.sort(key=lambda answer: len(json.dumps(answer["value"])))
        yield from ((account, answer) for answer in absent[:3] + there[:3] + there[3:][-SAMPLE:])


class Asking:
    """An operation of the catalogue as boto3 calls it."""

    def __init__(self, service, name):
        self.file = FILES[service]
        self.operation = self.file.operations[name]
        self.model = self.file.model.operation_model(name)
        self.method = botocore.xform_name(name)
        self.pages = self.operation.get("pages")
        self.api_names = {wire: api for wire, (api, _) in self.file.inputs(self.model).items()}

    def parameters(self, wire):
        return {self.api_names.get(name, name): value for name, value in wire.items()}

    def page_size(self, items):
        """A size that makes three pages of so many items, where AWS allows it."""
        if "size" not in self.pages:
            return FIXED_PAGES.get(self.file.id, OTHER_PAGES)
        shape = self.file.inputs(self.model)[self.pages["size"]][1]
        return min(max(shape.metadata.get("min", 1), math.ceil(items / 3)), self.pages["max"])

    def items(self, value):
        """How many items an answer has in all its lists."""
        lists = {check_catalogue.steps(emit["items"])[0] for emit in self.file.emits(self.operation)}
        return sum(len(value.get(name) or []) for name in lists)

    def ask(self, client, wire, size=None):
        """The whole answer, all pages together, and how many there were."""
        parameters, whole, count = self.parameters(wire), {}, 0
        if size and "size" in self.pages:
            parameters[self.api_names[self.pages["size"]]] = size
        for page in self.every_page(client, parameters):
            count += 1
            assert count < 500, "it never ends"
            # The paginator reads its token from the page after this.
            page = {key: value for key, value in page.items() if key != "ResponseMetadata"}
            self.take_token(page)
            for key, value in page.items():
                whole[key] = whole[key] + value if isinstance(value, list) and key in whole else value
        return whole, count

    def every_page(self, client, parameters):
        """boto3 turns the pages where it knows how to, else the catalogue's tokens do."""
        if self.pages and client.can_paginate(self.method):
            yield from client.get_paginator(self.method).paginate(**parameters)
            return
        while True:
            page = getattr(client, self.method)(**parameters)
            token = self.take_token(dict(page))
            yield page
            if not token:
                return
            parameters[self.api_names[self.pages["in"]]] = token

    def take_token(self, page):
        if not self.pages:
            return None
        token = page.pop(self.pages["out"], None)
        more = page.pop(self.pages["more"], False) if "more" in self.pages else True
        assert not more or token or "more" not in self.pages, "there is more, and no token"
        return token if more else None


def differences(meant, parsed, where=""):
    """Where boto3 reads another thing than was meant; what is empty counts as not there."""
    if isinstance(parsed, datetime.datetime):
        if isinstance(meant, str):
            meant = datetime.datetime.fromisoformat(meant.replace("Z", "+00:00")).timestamp()
        return [] if int(meant) == int(parsed.timestamp()) else [(where, meant, parsed)]
    if isinstance(parsed, bytes):
        parsed = base64.b64encode(parsed).decode()
    if isinstance(meant, str) and isinstance(parsed, (dict, list)):
        # Policy documents, which boto3 reads.
        meant = json.loads(urllib.parse.unquote(meant))
    if isinstance(meant, dict) and isinstance(parsed, dict):
        keys = [key for key in {**meant, **parsed} if filled(meant.get(key)) or filled(parsed.get(key))]
        return [d for key in keys for d in differences(meant.get(key), parsed.get(key), f"{where}.{key}")]
    if isinstance(meant, list) and isinstance(parsed, list) and len(meant) == len(parsed):
        return [d for n, pair in enumerate(zip(meant, parsed)) for d in differences(*pair, f"{where}[{n}]")]
    # To Python, true is 1 and 1 is 1.0; to those who read the answer they differ.
    same = meant == parsed and (type(meant) is type(parsed) or isinstance(parsed, float))
    return [] if same else [(where, meant, parsed)]


def filled(value):
    return value not in (None, "", [], {})


@pytest.mark.parametrize("service, name", OPERATIONS)
def test_boto3_reads_what_the_simulator_means(aws, service, name):
    asking = Asking(service, name)
    compared = 0
    for place in (GIANT, MIDDLING, SMALL):
        for account, answer in meant(aws, place, service, name):
            client = aws.client(account, service, answer["region"])
            if answer["error"]:
                found, kind, _ = raised(asking, client, answer["params"])
                assert found[0] == answer["error"]
                assert (found[1], kind) == modelled(asking, found[0])
                continue
            items = asking.items(answer["value"]) if asking.pages else 0
            size = asking.page_size(items) if asking.pages else None
            whole, pages = asking.ask(client, answer["params"], size)
            assert differences(answer["value"], whole) == [], answer["params"]
            assert pages == (max(1, math.ceil(items / size)) if size else 1), (items, size)
            compared += any(filled(value) for value in whole.values())
    assert compared, "nothing of it is planted"


def some_call(aws, service, name):
    """An account, a region, and parameters that are answered there."""
    for place in (MIDDLING, GIANT, SMALL):
        for account, answer in meant(aws, place, service, name):
            if not answer["error"]:
                return account, answer["region"], answer["params"]
    return pytest.fail("nothing of it is planted")


def raised(asking, client, wire):
    """The error's code and HTTP status, and the exception's own class; None where it is answered."""
    try:
        getattr(client, asking.method)(**asking.parameters(wire))
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        return found, type(error).__name__, error.response["Error"]["Message"]
    return None


@pytest.mark.parametrize("service, name", BATCHED)
def test_many_things_asked_for_at_once_are_answered_at_once(aws, service, name):
    asking, widest = Asking(service, name), 0
    batch = asking.operation["batch"]
    # Answers of one region that differ in nothing but the batched parameter.
    alike = collections.defaultdict(list)
    for account, answer in meant(aws, GIANT, service, name):
        others = {key: value for key, value in answer["params"].items() if key != batch["param"]}
        alike[json.dumps([answer["region"], others])].append(answer)
    for together in alike.values():
        together = together[: batch["max"]]
        asked = {**together[0]["params"], batch["param"]: [one for a in together for one in a["params"][batch["param"]]]}
        whole, _ = asking.ask(aws.client(account, service, together[0]["region"]), asked)
        for key in {check_catalogue.steps(emit["items"])[0] for emit in asking.file.emits(asking.operation)}:
            assert differences([item for a in together for item in a["value"].get(key, [])], whole[key]) == []
        widest = max(widest, len(together))
    assert widest > 1, "nothing that could be asked for together"


def modelled(asking, code):
    """An error's HTTP status and its class in boto3: as AWS's model says, else as its kind of API has it."""
    for shape in asking.file.model.error_shapes:
        error = shape.metadata.get("error", {})
        if error.get("code", shape.name) == code:
            return error.get("httpStatusCode", 400), shape.name
    return 404 if asking.file.protocol == "rest-xml" else 400, "ClientError"


@pytest.mark.parametrize("service, name", ABSENT)
def test_what_is_not_set_is_an_error_with_a_name_of_its_own(aws, service, name):
    asking = Asking(service, name)
    for place in (GIANT, MIDDLING, SMALL):
        for account, answer in meant(aws, place, service, name):
            if answer["error"]:
                found, _, _ = raised(asking, aws.client(account, service, answer["region"]), answer["params"])
                assert found == ABSENT[service, name]
                return
    pytest.fail("nothing of it is planted")


def gone(value):
    """The name of something that nobody has, as long as AWS lets it be."""
    match value:
        case str():
            return "0" * 12 if value.isdigit() and len(value) == 12 else f"{value[:-5]}-gone"
        case list():
            return [gone(one) for one in value]
        case dict():
            return {key: gone(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize("service, name", GONE)
def test_what_was_deleted_in_the_meantime_is_an_error_that_the_catalogue_knows(aws, service, name):
    asking = Asking(service, name)
    account, region, wire = some_call(aws, service, name)
    bound = {check_catalogue.outermost(p) for p, b in asking.operation["with"].items() if not b.startswith("$")}
    assert bound
    found, kind, _ = raised(asking, aws.client(account, service, region), {**wire, **{p: gone(wire[p]) for p in bound}})
    assert found[0] in asking.operation["absent"]
    assert (found[1], kind) == modelled(asking, found[0])


@pytest.mark.parametrize("service, name", OPERATIONS)
def test_a_detached_action_is_denied_in_the_services_words(aws, service, name):
    asking = Asking(service, name)
    account, region, wire = some_call(aws, service, name)
    client = aws.client(account, service, region)
    action = asking.operation.get("action", f"{FILES[service].model.signing_name}:{name}")
    assert raised(asking, client, wire) is None
    aws.do("detach_actions", account=account["id"], actions=[action])
    try:
        found, _, message = raised(asking, client, wire)
        assert found == CODES[service]["denied"]
        assert action in message
    finally:
        aws.do("attach_actions", account=account["id"], actions=[action])
    assert raised(asking, client, wire) is None


@pytest.mark.parametrize("service", CODES)
def test_a_service_control_policy_says_so(aws, service):
    name = FILES[service].own[0]["name"]
    account, region, wire = some_call(aws, service, name)
    aws.do("scp", account=account["id"], service=service, deny=True)
    try:
        found, _, message = raised(Asking(service, name), aws.client(account, service, region), wire)
        assert found == CODES[service]["denied"]
        assert "service control policy" in message
    finally:
        aws.do("scp", account=account["id"], service=service, deny=False)


@pytest.mark.parametrize("service, name", OPERATIONS)
def test_a_bucket_that_is_empty_throttles_in_the_services_words(slow_aws, service, name):
    asking = Asking(service, name)
    account, region, wire = some_call(slow_aws, service, name)
    client = slow_aws.client(account, service, region)
    slow_aws.do("fill_buckets")
    answers = [raised(asking, client, wire) for _ in range(12)]
    assert answers[0] is None, "the first call of a full bucket"
    throttled = [answer for answer in answers if answer]
    assert throttled, "twelve calls at once, and no throttle"
    code = CODES[service]["throttled"]
    assert {found for found, _, _ in throttled} == {code}
    assert {kind for _, kind, _ in throttled} == {modelled(asking, code[0])[1]}


@pytest.mark.parametrize("service", CODES)
def test_a_session_that_is_over_says_so(aws, service):
    name = FILES[service].own[0]["name"]
    account, region, wire = some_call(aws, service, name)
    client = aws.client(account, service, region)
    aws.do("expire_sessions")
    aws.sessions.clear()
    assert raised(Asking(service, name), client, wire)[0] == CODES[service]["expired"]
    assert raised(Asking(service, name), aws.client(account, service, region), wire) is None


@pytest.mark.parametrize("service", [s for s in CODES if FILES[s].file["scope"] == "regional"])
def test_a_region_that_is_not_enabled_does_not_know_the_session(aws, service):
    name = FILES[service].own[0]["name"]
    account, _, wire = some_call(aws, service, name)
    found, _, _ = raised(Asking(service, name), aws.client(account, service, "ap-east-1"), wire)
    assert found == CODES[service]["disabled"]


@pytest.mark.parametrize(
    "wrong, code, status",
    [
        ({"ExternalId": "another-external-id-0123"}, "AccessDenied", 403),
        ({"RoleArn": "arn:aws:iam::999999999999:role/None"}, "AccessDenied", 403),
        ({"DurationSeconds": 43200}, "ValidationError", 400),
        ({"Policy": "{"}, "MalformedPolicyDocument", 400),
    ],
)
def test_sts_refuses_what_sts_refuses(aws, wrong, code, status):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        aws.assume(aws.accounts[GIANT], **wrong)
    assert (raised.value.response["Error"]["Code"], raised.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_sts_knows_whose_a_session_is(aws):
    account = aws.accounts[GIANT]
    given = aws.assume(account, DurationSeconds=900)
    left = given["Expiration"].timestamp() - time.time()
    assert 840 < left <= 905
    identity = aws.client(account, "sts", "us-east-1").get_caller_identity()
    assert identity["Account"] == account["id"]
    role = account["role_arn"].rsplit("/", 1)[1]
    assert identity["Arn"] == f"arn:aws:sts::{account['id']}:assumed-role/{role}/boto3"
    hub = aws.hub.client("sts", endpoint_url=aws.url, region_name="us-east-1").get_caller_identity()
    assert hub["Account"] != account["id"]


def test_a_difference_is_seen():
    """What every comparison above rests on."""
    then = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    whole = {"A": [{"At": then.timestamp(), "Doc": "%7B%22a%22%3A1%7D", "On": False, "N": 1}], "None": []}
    read = {"A": [{"At": then, "Doc": {"a": 1}, "On": False, "N": 1}]}
    assert differences(whole, read) == []
    for change in ({"At": then.replace(year=2025)}, {"Doc": {"a": 2}}, {"On": True}, {"On": None}, {"On": 0}, {"N": True}, {"N": "1"}, {"More": 1}):
        assert differences(whole, {"A": [{**read["A"][0], **change}]}), change
    assert differences(whole, {"A": []}) and differences(whole, {}) and differences(whole, {**read, "B": "x"})
