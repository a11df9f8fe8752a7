"""moto, with answers for the operations that it lacks: made of botocore's output shapes, and written by moto's serializers.

Stands between a client and a moto server, passes on what moto implements, answers the rest itself, and keeps what was
asked. Neither the catalogue nor fleetscan's simulator has a part in what it answers.
"""

import collections
import datetime
import hashlib
import http.server
import importlib
import inspect
import json
import re
import threading
import urllib.parse

import botocore.session
import urllib3
from moto.core.responses import BaseResponse
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

# Where moto's module is not called as botocore calls the service.
MODULES = {"lambda": "awslambda", "bedrock-agent": "bedrockagent", "sso-admin": "ssoadmin"}
# What moto implements under names of its own.
RENAMED = {"s3": {"GetBucketLifecycleConfiguration", "GetBucketNotificationConfiguration", "GetBucketTagging", "ListBuckets"}}
# Items of a page; there are two pages of what is paged.
PER_PAGE = 2
# Members that mean something to whoever asks: by name, the value of the item of a number.
MEANINGS = {
    "RegionName": lambda n: ("us-east-1", "eu-west-1", "eu-west-2", "us-west-2")[n % 4],
    "RegionOptStatus": lambda n: "ENABLED",
}
# Answers that take a while: the second time they are ready.
READY = {"JobStatus": ("IN_PROGRESS", "COMPLETED")}
PAGING = re.compile("(?i)max|limit$|pagesize$|(next|continuation)?token$|marker$")
WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)

Asked = collections.namedtuple("Asked", "service operation region params agent status answer")


def implements(service, operation):
    """Whether moto has code for an operation."""
    if operation in RENAMED.get(service, ()):
        return True
    try:
        module = importlib.import_module(f"moto.{MODULES.get(service, service)}.responses")
    except ModuleNotFoundError:
        return False
    name = botocore.xform_name(operation)
    return any(hasattr(kind, name) for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, BaseResponse))


class Route:
    """A REST operation's way to be asked for."""

    def __init__(self, model):
        path, _, query = model.http["requestUri"].partition("?")
        self.method, self.model = model.http["method"], model
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.names = re.findall(r"\{([^}+]+)\+?\}", path)
        pattern = "".join(f"(?P<p{n}>.+)" if part.endswith("+}") else f"(?P<p{n}>[^/]+)" if part.startswith("{") else re.escape(part)
                          for n, part in enumerate(re.split(r"(\{[^}]+\})", path.rstrip("/"))))
        self.pattern = re.compile(pattern)
        self.rank = len(self.query), path.count("/"), -len(self.names), not model.deprecated

    def match(self, method, path, query):
        found = self.pattern.fullmatch(path.rstrip("/"))
        if method != self.method or not found or any(query.get(key) != value for key, value in self.query.items()):
            return None
        return dict(zip(self.names, map(urllib.parse.unquote, found.groups())))


class Models:
    """botocore's models of some services, and which operation a request means."""

    def __init__(self, services):
        session = botocore.session.get_session()
        self.by_signing_name = collections.defaultdict(list)
        self.paginators = {}
        for service in services:
            model = get_service_model(service)
            rest = [Route(model.operation_model(n)) for n in model.operation_names] if "rest" in model.protocol else []
            self.by_signing_name[model.signing_name].append((service, model, rest))
            try:
                self.paginators[service] = session.get_paginator_model(service)._paginator_config
            except botocore.exceptions.UnknownServiceError:
                self.paginators[service] = {}

    def find(self, signing_name, method, target, headers, body):
        """Service, operation's model and parameters as they are on the wire; None where no service is known."""
        path, _, text = target.partition("?")
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        routes = []
        for service, model, rest in self.by_signing_name.get(signing_name, ()):
            if model.protocol == "json":
                return service, model.operation_model(headers["x-amz-target"].rsplit(".", 1)[1]), json.loads(body or b"{}")
            if model.protocol in ("query", "ec2"):
                form = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
                return service, model.operation_model(form.pop("Action")), form
            for route in rest:
                params = route.match(method, path, query)
                if params is not None:
                    body_of = json.loads(body) if body.startswith(b"{") else {}
                    routes.append((route.rank, service, route.model, {**params, **query, **body_of}))
        return max(routes, key=lambda found: found[0])[1:] if routes else None


class Shaper:
    """Answers of an operation's output shape: every member there is, with texts that stand nowhere else. What a list has
    told of a thing (`told`: its members by each text in it) is told again where somebody asks about the thing."""

    def __init__(self, service, model, region, params, paginator, told):
        self.model, self.params = model, params
        inputs = model.input_shape.members if model.input_shape else {}
        wire = {name: shape.serialization.get("name", name) for name, shape in inputs.items()}
        first = lambda value: value[0] if isinstance(value, list) else value
        self.token_in = wire.get(first(paginator["input_token"])) if paginator else None
        self.token_out = first(paginator["output_token"]).split(" ")[0] if paginator else None
        self.more = paginator.get("more_results") if paginator else None
        self.second = bool(self.token_in) and bool(params.get(self.token_in))
        # How many are asked for at once, and which page, changes nothing of what there is.
        known = {key: value for key, value in params.items() if key != self.token_in and not PAGING.match(key)}
        self.seed = json.dumps([service, model.name, region, known], sort_keys=True)
        # What was asked for is what the answer is about.
        self.told = told
        asked = [(key, value) for key, value in known.items() if isinstance(value, str)]
        self.echoed = {name.lower(): member for _, value in asked for name, member in told.get(value, {}).items()}
        self.named = {key.lower(): value for key, value in asked}
        self.texts = []

    def answer(self, times):
        """The answer, asked for the so manieth time."""
        shape = self.model.output_shape
        if shape is None:
            return {}
        whole = {}
        for name, member in shape.members.items():
            if name == self.token_out:
                whole |= {} if self.second else {name: "page-2"}
            elif name == self.more:
                whole[name] = not self.second
            elif name.lower().endswith(("token", "marker")):
                continue
            elif name in READY:
                whole[name] = READY[name][min(times, 2) - 1]
            else:
                whole[name] = self.value(member, name, 0, ())
        return whole

    def value(self, shape, path, n, above):
        name = path.rsplit(".", 1)[-1]
        match shape.type_name:
            case "structure":
                if shape.name in above or len(above) > 8 or shape.metadata.get("document"):
                    return {}
                members = shape.members.items()
                if shape.metadata.get("union"):
                    members = list(members)[:1]
                return {key: self.value(member, f"{path}.{key}", n, (*above, shape.name)) for key, member in members}
            case "list" if len(above) <= 1 and shape.member.type_name == "structure":
                begin = PER_PAGE * self.second
                listed = [self.value(shape.member, f"{path}[]", begin + i, (*above, shape.name)) for i in range(PER_PAGE)]
                for item in listed:
                    texts = {key: member for key, member in item.items() if isinstance(member, str)}
                    self.told.update({text: texts for text in texts.values() if text in self.texts})
                return listed
            case "list":
                if shape.name in above:
                    return []
                if len(above) > 1:
                    return [self.value(shape.member, f"{path}[]", n, (*above, shape.name))]
                begin = PER_PAGE * self.second
                return [self.value(shape.member, f"{path}[]", begin + i, (*above, shape.name)) for i in range(PER_PAGE)]
            case "map":
                return {self.text(f"{path}.key", n): self.value(shape.value, f"{path}.value", n, (*above, shape.name))}
            case "string" | "character":
                if name in MEANINGS:
                    return MEANINGS[name](n)
                if name.lower() in self.named:
                    return self.named[name.lower()]
                if "[]" not in path and name.lower() in self.echoed:
                    return self.echoed[name.lower()]
                return shape.enum[n % len(shape.enum)] if getattr(shape, "enum", None) else self.text(path, n)
            case "integer" | "long":
                return 1 + n
            case "float" | "double":
                return 0.5
            case "boolean":
                return n % 2 == 0
            case "timestamp":
                return WHEN
            case "blob":
                return b"bytes"
        raise AssertionError(f"{path}: {shape.type_name}")

    def text(self, path, n):
        mark = hashlib.sha256(f"{self.seed}{path}{n}".encode()).hexdigest()[:12]
        text = f"{re.sub('[^A-Za-z]', '', path.rsplit('.', 1)[-1])}-{mark}"
        self.texts.append(text)
        return text


def denial(protocol):
    """The answer to whoever lacks the permission."""
    if protocol == "query":
        return 403, {"content-type": "text/xml"}, b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    return 403, {"content-type": "application/json", "x-amzn-errortype": "AccessDeniedException"}, b'{"message": "no"}'


class Aws:
    """The server; `denied` has the operations, (service, name), that nobody may call at present."""

    def __init__(self, moto, services):
        self.moto, self.models, self.asked, self.denied = moto, Models(services), [], set()
        self.told = collections.defaultdict(dict)
        self.pool, self.times, self.lock = urllib3.PoolManager(maxsize=64), collections.Counter(), threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, answer = outer.exchange(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.pool.clear()

    def exchange(self, method, target, headers, body):
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", headers.get("authorization") or "")
        region, signing_name = scope.groups() if scope else ("", "")
        found = self.models.find(signing_name, method, target, headers, body)
        if found and (found[0], found[1].name) in self.denied:
            answer, texts = denial(found[1].service_model.protocol), ()
        elif found is None or implements(found[0], found[1].name):
            answer = self.passed_on(method, target, headers, body)
            texts = ()
        else:
            answer, texts = self.shaped(*found, region)
        if found:
            service, model, params = found
            with self.lock:
                self.asked.append(Asked(service, model.name, region, params, headers.get("user-agent") or "", answer[0], texts))
        return answer

    def passed_on(self, method, target, headers, body):
        sent = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "connection")}
        answer = self.pool.request(method, self.moto + target, headers=sent, body=body or None, redirect=False, retries=False)
        dropped = ("content-length", "connection", "date", "server", "transfer-encoding")
        return answer.status, {name: value for name, value in answer.headers.items() if name.lower() not in dropped}, answer.data

    def shaped(self, service, model, params, region):
        shaper = Shaper(service, model, region, params, self.models.paginators[service].get(model.name), self.told[service, region])
        with self.lock:
            self.times[shaper.seed] += 1
            times = self.times[shaper.seed]
        written = get_serializer_class(service, model.service_model.resolved_protocol)(operation_model=model).serialize(shaper.answer(times))
        body = written["body"]
        headers = {name: value for name, value in written["headers"].items() if name.lower() != "content-length"}
        return (written["status_code"], headers, body.encode() if isinstance(body, str) else body), tuple(shaper.texts)
