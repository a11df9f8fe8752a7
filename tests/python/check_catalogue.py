"""Holds the catalogue, or the files that are named, against botocore's models: `python check_catalogue.py [FILE…]` prints
every difference and exits 1.

Protocol, versions, names, paths, parameters, paging, result keys, fields and error codes of every operation: what AWS's
own models do not know must not be in a file. The one thing that they do not tell is the IAM action.
"""

import pathlib
import re
import sys
import tomllib
import types

import botocore.session
import wanted
import xml_hints

CATALOGUE = pathlib.Path(__file__).resolve().parents[2] / "proto" / "catalogue"

# Protocols that catalogue files can name, as botocore calls them.
OURS = ("json", "rest-json", "rest-xml", "query", "ec2")

# Codes that services answer and the models lack: S3's and EC2's models hardly name any.
UNMODELLED = {
    "iam": {"NoSuchEntity"},
    "s3": {
        "NoSuchBucketPolicy", "ServerSideEncryptionConfigurationNotFoundError", "NoSuchPublicAccessBlockConfiguration",
        "OwnershipControlsNotFoundError", "NoSuchTagSet", "NoSuchLifecycleConfiguration", "NoSuchWebsiteConfiguration",
        "ReplicationConfigurationNotFoundError", "NoSuchCORSConfiguration", "ObjectLockConfigurationNotFoundError",
        "NoSuchBucket",
    },
    "s3control": {"NoSuchAccessPointPolicy", "NoSuchAccessPoint"},
    "ec2": {
        "InvalidVpcID.NotFound", "InvalidSnapshot.NotFound", "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable",
        "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound", "InvalidInstanceID.NotFound",
    },
}


def wire_name(name, shape, protocol, typed=False):
    """What a parameter is called in a request, which is what the files call it; those of typed clients, as the API."""
    if typed:
        return name
    if protocol == "ec2":
        own = shape.serialization.get("name", name)
        return shape.serialization.get("queryName", own[0].upper() + own[1:])
    if shape.serialization.get("location") == "uri":
        return name
    return shape.serialization.get("name", name)


def steps(path):
    """`A[].B.*` as keys, `[]` and `*`."""
    found = []
    for part in path.split("."):
        name = part.replace("[]", "")
        found += [name] if name else []
        found += ["[]"] * part.count("[]")
    return found


def follow(shape, path):
    """The shape where a path leads; None where it leads nowhere."""
    if path == ".":
        return shape
    for step in steps(path):
        if shape is None:
            return None
        if step == "*" and shape.type_name == "structure":
            shape = next(iter(shape.members.values()), None)
        elif step == "*":
            shape = getattr(shape, "value", None) or getattr(shape, "member", None)
        elif step == "[]":
            shape = shape.member if shape.type_name == "list" else None
        elif shape.type_name == "map":
            shape = shape.value
        else:
            shape = shape.members.get(step) if shape.type_name == "structure" else None
    return shape


def fields(text):
    """The paths that a template reads; alternatives apart."""
    if "{" not in text:
        return text.split("|")
    return [p for inner in re.findall(r"\{([^}]*)\}", text) if not inner.startswith("$") for p in inner.removesuffix("/").split("|")]


def parents(operation):
    """What an operation is called for: nothing, one operation's items, or several's."""
    named = operation.get("for", [])
    return [named] if isinstance(named, str) else named


def outermost(param):
    """`MemberId.UserId` and `Names[]` are given in the parameters MemberId and Names."""
    return param.split(".")[0].removesuffix("[]")


class Row:
    """What a table's rows are: a member for each column, which no model knows."""

    type_name, enum = "map", ()

    def __init__(self):
        self.value = types.SimpleNamespace(type_name="string", enum=(), metadata={})


def bound_paths(binding):
    """The paths that a binding reads: one, or those in a text's braces."""
    if "{" in binding:
        return [p.removesuffix("/") for p in re.findall(r"\{([^}]*)\}", binding) if not p.startswith("$")]
    return [binding.replace("*", "")]


class File:
    """One service's file beside its model."""

    def __init__(self, text):
        self.file = tomllib.loads(text)
        self.id = self.file["service"]
        self.protocol = self.file["protocol"]
        self.model = botocore.session.get_session().get_service_model(self.id)
        try:
            self.paginators = botocore.session.get_session().get_paginator_model(self.id)._paginator_config
        except botocore.exceptions.UnknownServiceError:
            self.paginators = {}
        # What is borrowed is checked where it is at home.
        self.own = [o for o in self.file["operation"] if "from" not in o]
        self.operations = {o["name"]: self.home(o) for o in self.file["operation"]}
        self.problems = []

    @staticmethod
    def home(operation):
        """The operation, or the one that it borrows."""
        if "from" not in operation:
            return operation
        lender = tomllib.loads((CATALOGUE / f"{operation['from']}.toml").read_text())
        return next(o for o in lender["operation"] if o["name"] == operation["name"])

    def model_of(self, name):
        """An operation's model, in its own service's."""
        borrowed = next((o["from"] for o in self.file["operation"] if o["name"] == name and "from" in o), None)
        model = botocore.session.get_session().get_service_model(borrowed) if borrowed else self.model
        return model.operation_model(name)

    def check(self):
        for operation in self.own:
            if operation["name"] not in self.model.operation_names:
                self.say(operation, "AWS has no such operation")
        if self.problems:
            return self.problems
        self.metadata()
        for operation in self.own:
            model = self.model.operation_model(operation["name"])
            for part in (self.http, self.parameters, self.paging, self.records, self.merged, self.edited, self.codes, self.polls_and_owners):
                part(operation, model)
        self.coverage()
        return self.problems

    def say(self, operation, problem):
        self.problems.append(f"{self.id}.toml: {operation['name']}: {problem}")

    def expect(self, key, found, model):
        if found != model:
            self.problems.append(f"{self.id}.toml: {key} is {found!r}, and {model!r} in AWS's model")

    def metadata(self):
        meta, file = self.model.metadata, self.file
        protocol = meta["protocol"]
        # Some speak several; botocore's favourite need not be one of ours.
        if protocol not in OURS:
            protocol = next((p for p in meta.get("protocols", ()) if p in OURS), protocol)
        self.expect("protocol", self.protocol, f"json-{meta['jsonVersion']}" if protocol == "json" else protocol)
        signing = file.get("signing_name", self.id)
        self.expect("signing_name", signing, self.model.signing_name)
        self.expect("endpoint_prefix", file.get("endpoint_prefix", signing), meta["endpointPrefix"])
        if protocol in ("query", "ec2"):
            self.expect("api_version", file.get("api_version"), self.model.api_version)
        if protocol == "json":
            self.expect("target_prefix", file.get("target_prefix"), meta["targetPrefix"])

    def http(self, operation, model):
        written = operation.get("http", "POST /")
        if self.protocol.startswith("rest"):
            uri = re.sub(r"\{(\w+)\+?\}", lambda m: "{" + self.placeholder(model, m.group(1)) + "}", model.http["requestUri"])
            real = f"{model.http['method']} {uri}"
            slash = lambda text: text.rstrip("/") if len(text.split(" ")[1]) > 1 else text
            if slash(written) != slash(real):
                self.say(operation, f"{written!r} is {real!r} in AWS's model")
        elif written != "POST /":
            self.say(operation, f"{self.protocol} is POST / always")

    @staticmethod
    def placeholder(model, wire):
        """The parameter that a path calls by its wire name."""
        members = model.input_shape.members.items()
        return next(n for n, s in members if s.serialization.get("location") == "uri" and s.serialization.get("name", n) == wire)

    def inputs(self, model):
        members = model.input_shape.members if model.input_shape else {}
        return {wire_name(n, s, self.protocol, self.file.get("typed")): (n, s) for n, s in members.items()}

    def parameters(self, operation, model):
        known = self.inputs(model)
        batch = [operation["batch"]["param"]] if "batch" in operation else []
        history = operation.get("history", {})
        span = [history[end] for end in ("from", "to") if history]
        given = {*operation.get("input", {}), *map(outermost, operation.get("with", {})), *batch, *span}
        posted = self.protocol == "rest-json" and operation.get("http", "").startswith("POST")
        for name in given & set(known) if posted else ():
            if known[name][1].serialization.get("location") == "querystring":
                self.say(operation, f"{name} of a POST would go into the body, and belongs into the query string")
        for name in given - set(known) - set(operation.get("headers", {})):
            self.say(operation, f"no parameter {name}; there are {', '.join(known) or 'none'}")
        # What has no cells is called by the probe and the sessions, which bring parameters of their own.
        required = set(model.input_shape.required_members) if model.input_shape and self.file.get("cells", True) else set()
        names = {known[g][0] for g in given if g in known} | set(operation.get("headers", {}))
        for name in required - names:
            self.say(operation, f"the required parameter {name} is not given")
        for name, header in operation.get("headers", {}).items():
            shape = model.input_shape.members.get(name)
            if shape is None or shape.serialization.get("name", "").lower() != header:
                self.say(operation, f"{name} does not go into the header {header}")
        for name, value in operation.get("input", {}).items():
            if name in known:
                self.constant(operation, name, value, known[name][1])
        for name, binding in operation.get("with", {}).items():
            self.binding(operation, name, binding, known)
        if batch and batch[0] in known and (known[batch[0]][1].metadata.get("max") or 10**9) < operation["batch"]["max"]:
            self.say(operation, f"{batch[0]} takes at most {known[batch[0]][1].metadata['max']}")

    def constant(self, operation, name, value, shape):
        """A constant's type, and its place in an enumeration."""
        kinds = {"boolean": bool, "integer": int, "long": int, "string": str, "list": list, "structure": dict, "map": dict}
        if not isinstance(value, kinds.get(shape.type_name, object)):
            self.say(operation, f"{name} is a {shape.type_name}")
        elif shape.type_name == "list":
            if self.protocol == "query" and shape.member.serialization.get("name", "member") != "member":
                self.say(operation, f"the items of {name} are not called member")
            for item in value:
                self.constant(operation, f"{name}[]", item, shape.member)
        elif shape.type_name == "structure":
            for key, item in value.items():
                if key not in shape.members:
                    self.say(operation, f"{name} has no {key}")
                else:
                    self.constant(operation, f"{name}.{key}", item, shape.members[key])
        elif shape.type_name == "string" and shape.enum and value not in shape.enum:
            self.say(operation, f"{name} is one of {shape.enum}, not {value!r}")

    def binding(self, operation, name, binding, known):
        if binding in ("$account", "$region"):
            return
        for parent in parents(operation):
            found = [self.leads(parent, path) for path in bound_paths(binding)]
            if not all(found):
                self.say(operation, f"{parent} has no {binding} for {name}")
        if name in known and (known[name][1].type_name == "list") != (operation.get("batch", {}).get("param") == name):
            self.say(operation, f"{name} is a {known[name][1].type_name}")

    def leads(self, parent, path):
        """Whether `^^Field` leads somewhere from the items of a parent; alternatives suffice."""
        if path.startswith("^"):
            return any(self.leads(above, path[1:]) for above in parents(self.operations[parent.split("/")[0]]))
        shapes = self.items_of_parent(parent)
        added = self.operations[parent.split("/")[0]].get("add", {})
        return any(p in added or any(follow(s, p or ".") is not None for s in shapes) for p in path.split("|"))

    def emits(self, operation):
        return operation.get("emit") or [{"items": operation.get("items", "."), "record": operation.get("record")}]

    def item_shape(self, operation, items):
        """The shape of the items; None where they are nowhere."""
        model = self.model_of(operation["name"])
        if "table" in operation and items == operation["table"]:
            return Row()
        shape = follow(model.output_shape, items) if model.output_shape else None
        # A path that ends at a list means its elements.
        return shape.member if shape is not None and shape.type_name == "list" else shape

    def items_of_parent(self, named):
        """The shapes of a parent's items: as they are answered, and what is lifted."""
        name, _, items = named.partition("/")
        parent = self.operations[name]
        shape = self.item_shape(parent, items or self.emits(parent)[0]["items"])
        return [] if shape is None else [shape, *self.lifted(parent, shape)]

    def paging(self, operation, model):
        pages, paginator = operation.get("pages"), self.paginators.get(operation["name"])
        if not pages:
            if paginator and "batch" not in operation:
                self.say(operation, "AWS pages it")
            return
        known = self.inputs(model)
        for role in ("in", "size"):
            if role in pages and pages[role] not in known:
                self.say(operation, f"pages.{role}: no parameter {pages[role]}")
        for role in ("out", "more"):
            if role in pages and follow(model.output_shape, pages[role]) is None:
                self.say(operation, f"pages.{role}: no {pages[role]} in the answer")
        for name, path in pages.get("also", {}).items():
            if name not in known or follow(model.output_shape, path) is None:
                self.say(operation, f"pages.also: no parameter {name}, or no {path} in the answer")
        if paginator and isinstance(paginator["input_token"], list):
            named = {known[name][0] for name in [pages["in"], *pages.get("also", {})] if name in known}
            if named != set(paginator["input_token"]):
                self.say(operation, f"a page is named by {paginator['input_token']} in AWS's model")
        if paginator:
            token = lambda key: (lambda v: v if isinstance(v, str) else v[0])(paginator[key])
            if pages["in"] in known and known[pages["in"]][0] != token("input_token"):
                self.say(operation, f"pages.in is {token('input_token')} in AWS's model")
            # Some are written with a second choice, or as the last element of a list.
            if pages["out"] not in token("output_token"):
                self.say(operation, f"pages.out is {token('output_token')} in AWS's model")
            if "more_results" in paginator and pages.get("more") != paginator["more_results"]:
                self.say(operation, f"pages.more is {paginator['more_results']} in AWS's model")
        if pages.get("size") in known:
            limits = known[pages["size"]][1].metadata
            if not limits.get("min", 0) <= pages["max"] <= limits.get("max", 10**9):
                self.say(operation, f"{pages['size']} is from {limits.get('min', 0)} to {limits.get('max')}")

    def records(self, operation, model):
        for emit in self.emits(operation):
            shape = self.item_shape(operation, emit["items"])
            if shape is None:
                self.say(operation, f"no {emit['items']} in the answer")
                continue
            record = emit.get("record")
            if not record:
                continue
            shapes = self.shapes_of_record(operation, emit, shape)
            texts = [record["id"], *(record.get(key, ".") for key in ("arn", "name", "region", "tags"))]
            # Of events a principal is made, which has members of its own.
            if "history" in operation:
                texts = [operation["history"][key] for key in ("time", "document")]
            added = {*operation.get("add", {})}
            for path in (path for text in texts for path in fields(text) if path not in {".", *added}):
                if shape.type_name == "string" and path == "Name":
                    continue
                if all(follow(one, path) is None for one in shapes):
                    self.say(operation, f"a record has no {path}")
            if "tags" not in record and self.tagged_elsewhere(shapes):
                self.say(operation, f"tags are called {self.tagged_elsewhere(shapes)}")

    @staticmethod
    def tagged_elsewhere(shapes):
        members = {name for s in shapes if s.type_name == "structure" for name in s.members}
        return next((n for n in ("tags", "TagList", "TagSet") if n in members), None) if "Tags" not in members else None

    def shapes_of_record(self, operation, emit, shape):
        """The shapes whose members a record has: its item's, what is lifted, and what children add."""
        shapes = [shape, *self.lifted(operation, shape)]
        if "join" in operation:
            joined = self.operations[operation["join"]["operation"]]
            shapes.append(self.item_shape(joined, self.emits(joined)[0]["items"]))
        for child in self.file["operation"]:
            called_for = [named.partition("/")[::2] for named in parents(child)]
            first = self.emits(operation)[0]["items"]
            its_own = any(n == operation["name"] and (items or first) == emit["items"] for n, items in called_for)
            output = self.model_of(child["name"]).output_shape
            if its_own and output is not None and "into" not in child and not self.emits(child)[0].get("record"):
                shapes += [output, *self.lifted(child, output)]
        return shapes

    @staticmethod
    def lifted(operation, shape):
        lifted = follow(shape, operation["lift"]) if "lift" in operation else None
        return [] if lifted is None else [lifted]

    def merged(self, operation, model):
        for name in operation.get("keep", []):
            shapes = [] if model.output_shape is None else [model.output_shape, *self.lifted(operation, model.output_shape)]
            if all(name not in shape.members for shape in shapes):
                self.say(operation, f"keep: no {name} in the answer")
        if "lift" in operation and not self.lifted(operation, self.item_shape(operation, self.emits(operation)[0]["items"])):
            self.say(operation, f"lift: no {operation['lift']}")
        if "in_region" in operation:
            siblings = [o for o in self.file["operation"] if o.get("for") == operation["for"]]
            outputs = [self.model.operation_model(o["name"]).output_shape for o in siblings]
            known = [*self.items_of_parent(operation["for"]), *(output for output in outputs if output is not None)]
            for path in operation["in_region"].split("|"):
                if all(follow(shape, path) is None for shape in known):
                    self.say(operation, f"in_region: no {path}")
        if "only" in operation:
            shapes = [follow(s, operation["only"]["field"]) for p in parents(operation) for s in self.items_of_parent(p)]
            enums = [set(getattr(shape, "enum", ())) for shape in shapes if shape is not None]
            if not enums or any(enum and not set(operation["only"]["values"]) <= enum for enum in enums):
                self.say(operation, f"only: {operation['only']['field']} is not one of {operation['only']['values']}")

    def edited(self, operation, model):
        items = [self.item_shape(operation, emit["items"]) for emit in self.emits(operation)]
        shapes = [one for s in items if s is not None for one in [s, *self.lifted(operation, s)]]
        documents = operation.get("decode", [])
        for key in ("redact", "drop", "decode"):
            for path in operation.get(key, []):
                if any(path.startswith(f"{document}.") for document in documents):
                    continue
                if all(follow(shape, path) is None for shape in shapes):
                    self.say(operation, f"{key}: no {path}")

    def codes(self, operation, model):
        # The model's name of a query service's error is not its code.
        modelled = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        for code in (code.split(": ")[0] for code in operation.get("absent", [])):
            if code not in modelled and code not in UNMODELLED.get(self.id, ()):
                self.say(operation, f"absent: {code} is none of its errors: {', '.join(sorted(modelled))}")

    def polls_and_owners(self, operation, model):
        for key, path in [("poll.field", operation.get("poll", {}).get("field")), ("table", operation.get("table"))]:
            if path and follow(model.output_shape, path) is None:
                self.say(operation, f"{key}: no {path}")
        if "poll" in operation:
            shape = follow(model.output_shape, operation["poll"]["field"])
            for word in [*operation["poll"]["until"], *operation["poll"].get("failed", [])]:
                if shape is not None and shape.enum and word not in shape.enum:
                    self.say(operation, f"poll: {word} is none of {shape.enum}")
        if "owner" in operation and follow(self.item_shape(operation, self.emits(operation)[0]["items"]), operation["owner"]) is None:
            self.say(operation, f"owner: no {operation['owner']}")
        for name, binding in operation.get("add", {}).items():
            for parent in parents(operation):
                if not all(self.leads(parent, path[1:]) for path in bound_paths(binding) if path.startswith("^")):
                    self.say(operation, f"add: {name}: {parent} has no {binding}")

    def coverage(self):
        """What an inventory wants of the service is there, or left out for a reason."""
        left_out = wanted.LEFT_OUT.get(self.id, {})
        for name in wanted.WANTED.get(self.id, ()):
            if name not in self.operations and name not in left_out:
                self.problems.append(f"{self.id}.toml: {name} is missing, and nothing says why")
        for name in set(left_out) & set(self.operations):
            self.problems.append(f"{self.id}.toml: {name} is there, and said to be left out")


def paths():
    """Every file of the catalogue."""
    return sorted(CATALOGUE.glob("*.toml"))


def main():
    chosen = list(map(pathlib.Path, sys.argv[1:])) or paths()
    problems = [problem for path in chosen for problem in File(path.read_text()).check()]
    problems += [f"{name}: [xml] is not what AWS's model says: run xml_hints.py --write" for name in xml_hints.differing()]
    print("\n".join(problems) or f"{len(chosen)} files agree with botocore {botocore.__version__}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
