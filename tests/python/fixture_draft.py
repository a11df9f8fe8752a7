"""A draft of simulator/fixtures/<service>.toml, from the catalogue's file and botocore's models.

    fixture_draft.py eks        prints what of the service's operations has no fixture yet

Every member of AWS's model that is required, that the catalogue reads, or that lies near the top, with a value of its
type. What an item has in common with the one that it is asked for is taken from that. Read it before you keep it: a
draft knows shapes, and not what is believable.
"""

import json
import pathlib
import re
import sys
import tomllib

import check_catalogue

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "simulator" / "fixtures"
DEEPEST = 4
SPREADS = "small = [0, 1]\nmedium = [0, 2]\ngiant = [3, 6]\n"
TAG = "${pick:payments|search|ledger|growth}"


class Draft:
    """The answers of one operation."""

    def __init__(self, file, operation):
        self.file, self.operation = file, operation
        self.model = file.model_of(operation["name"])
        self.parents = check_catalogue.parents(operation)
        self.above = [s for p in self.parents[:1] for s in file.items_of_parent(p)]
        self.read = {path.split(".")[0].split("[")[0] for key in ("redact", "drop", "decode") for path in operation.get(key, [])}

    def kind(self, items):
        """What the names of its items share with those that ask about them."""
        return re.sub(r"\W", "", items).lower() or self.operation["name"].lower()

    def text(self, name, shape, kind, path):
        lower = name.lower()
        if path in self.operation.get("redact", []) or path in self.operation.get("drop", []):
            return "${secret}"
        if path in self.operation.get("decode", []):
            return {"$json": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
        if shape.enum:
            return f"${{pick:{'|'.join(shape.enum[:3])}}}" if len(shape.enum) > 1 else shape.enum[0]
        if lower.endswith("arn"):
            own = lower.removesuffix("arn") in ("", kind, kind.rstrip("s"))
            if "rolearn" in lower or "roleresourcearn" in lower:
                return "arn:aws:iam::${account}:role/${name:role@0}"
            # Labels are shared by all items of a number: what hangs on an item needs a name that is its alone.
            last = "${name}-${hex:6}" if self.parents else f"${{name:{kind}}}"
            what = kind.rstrip("s") if own else lower.removesuffix("arn")
            return f"arn:aws:{self.file.model.signing_name}:${{region}}:${{account}}:{what}/{last}"
        if lower in ("accountid", "owner", "registryid", "owneraccountid"):
            return "${account}"
        if lower.startswith("subnet"):
            return "subnet-${hex:17}"
        if "securitygroup" in lower:
            return "sg-${hex:17}"
        if lower.endswith(("id", "ids", "digest")):
            return "${hex:10}" if self.parents else f"${{hex:10:{kind}}}"
        if lower.endswith("version"):
            return "${index:1}"
        if lower.endswith("name"):
            return "${name}" if self.parents else f"${{name:{kind}}}"
        if "description" in lower:
            return "${pick:Handles orders|Rebuilds the index|Sends mail}"
        if lower.endswith(("url", "uri", "endpoint", "issuer")):
            return "https://${hex:8}.example.com"
        return "10.0.0.0/16" if "cidr" in lower else "${hex:8}"

    def value(self, name, shape, kind, path, depth, seen):
        common = self.common(name, shape, kind, depth)
        if common:
            return common
        match shape.type_name:
            case "string":
                return self.text(name, shape, kind, path)
            case "boolean":
                return "${true:0.5}"
            case "integer" | "long":
                low = max(1, shape.metadata.get("min", 1))
                return f"${{number:{low}:{min(low + 90, shape.metadata.get('max', low + 90))}}}"
            case "float" | "double":
                return 0.5
            case "timestamp":
                wire = shape.serialization.get("timestampFormat", "iso8601" if self.file.protocol == "query" else "unixTimestamp")
                return "${iso}" if wire == "iso8601" else "${epoch}"
            case "blob":
                return {"$base64": "${name}"}
            case "list":
                tag = getattr(shape.member, "members", {})
                key = next((k for k in ("Key", "key", "TagKey") if k in tag), None)
                if key and len(tag) == 2:
                    return [{key: "team", key.replace("ey", "alue").replace("K", "V").replace("k", "v"): TAG}]
                inner = self.value(name.rstrip("s"), shape.member, kind, f"{path}[]", depth + 1, seen)
                return [] if inner is None else [inner]
            case "map":
                inner = self.value(name.rstrip("s"), shape.value, kind, f"{path}.*", depth + 1, seen)
                return {} if inner is None else {"team": TAG if "tag" in name.lower() else inner}
            case "structure":
                return self.structure(shape, kind, path, depth + 1, seen)
        return None

    def common(self, name, shape, kind, depth):
        """What the item above has under the same name."""
        if depth > 1 or shape.type_name not in ("string", "timestamp", "integer", "boolean") or name in self.new:
            return None
        bound = {outer: binding for outer, binding in self.operation.get("with", {}).items() if "$" not in binding and "{" not in binding}
        if name in bound and "|" not in bound[name]:
            return "${^" + bound[name].removeprefix(".") + "}"
        for above in self.above:
            if above.type_name == "structure" and name in above.members and above.members[name].type_name == shape.type_name:
                return f"${{^{name}}}"
        return None

    def structure(self, shape, kind, path, depth, seen):
        if shape.name in seen or getattr(shape, "is_document_type", False):
            return {}
        seen = (*seen, shape.name)
        members = shape.members.items()
        if getattr(shape, "is_tagged_union", False):
            members = list(members)[:1]
        found = {}
        for name, member in members:
            here = f"{path}.{name}" if path else name
            read = any(p == here or p.startswith((f"{here}.", f"{here}[")) for key in ("redact", "drop", "decode") for p in self.operation.get(key, []))
            if depth > DEEPEST and name not in shape.required_members and not read:
                continue
            if depth > 2 and member.type_name in ("list", "structure", "map") and name not in shape.required_members and not read:
                continue
            value = self.value(name, member, kind, here, depth, seen)
            if value is not None:
                found[name] = value
        return found

    def item(self, emit):
        """One item of an emit."""
        shape = self.file.item_shape(self.operation, emit["items"])
        kind = self.kind(emit["items"].split(".")[-1] if emit["items"] != "." else self.operation.get("lift", "."))
        listed = self.is_list(emit["items"])
        identity = check_catalogue.fields(emit["record"]["id"]) if emit.get("record") and listed and self.parents else []
        self.new = {identity[-1]} if identity else set()
        if listed and emit.get("record") and self.parents:
            self.new |= {m for text in (emit["record"].get("arn", ""), emit["record"].get("name", "")) for m in check_catalogue.fields(text)}
        if shape.type_name != "structure":
            return self.value("arn" if self.says_arn(emit) else "name", shape, kind, "", 1, ())
        lift = self.operation.get("lift")
        if lift and lift in shape.members:
            return {lift: self.structure(shape.members[lift], kind, "", 1, ())}
        paging = self.operation.get("pages", {})
        whole = self.structure(shape, kind, "", 1, ())
        return {k: v for k, v in whole.items() if k not in (paging.get("out"), paging.get("more"))}

    def says_arn(self, emit):
        asked = [p for o in self.file.own for p, b in o.get("with", {}).items() if b == "." and self.operation["name"] in {n.split("/")[0] for n in check_catalogue.parents(o)}]
        return any(p.lower().endswith("arn") for p in asked)

    def is_list(self, items):
        shape = self.model.output_shape
        first = check_catalogue.follow(shape, items.split("[]")[0]) if items != "." else None
        return first is not None and first.type_name == "list"

    def written(self):
        emits = self.file.emits(self.operation)
        lines = [f"[operation.{self.operation['name']}]"]
        if self.operation.get("absent"):
            # Of what was listed a moment ago, nothing is gone; of what need not be there, some is not.
            gone = re.search(r"(ResourceNotFound|DoesNotExist|(?<!Policy)NotFoundException|NotRegistered)", self.operation["absent"][0])
            lines += [] if gone or self.is_list(emits[0]["items"]) else ["present = 0.7"]
        listed = [e for e in emits if self.is_list(e["items"]) and "[]" not in e["items"]]
        if not listed:
            emit = emits[0]
            value = self.item(emit)
            for key in reversed([] if emit["items"] == "." else emit["items"].split(".")):
                value = {key: value}
            return "\n".join([*lines, f"answer = '''{json.dumps(value)}'''"]) + "\n"
        batched = "batch" in self.operation
        lines.append("count = [0, 2]" if self.parents and not batched else "" if batched else SPREADS.rstrip())
        lines.append(f"each = '''{json.dumps(self.item(listed[0]))}'''")
        return "\n".join(line for line in lines if line) + "\n"


def main(services):
    for service in services:
        file = check_catalogue.File((check_catalogue.CATALOGUE / f"{service}.toml").read_text())
        path = FIXTURES / f"{service}.toml"
        known = set(tomllib.loads(path.read_text()).get("operation", {})) if path.exists() else set()
        for operation in file.own:
            if operation["name"] not in known:
                known.add(operation["name"])
                print(Draft(file, operation).written())
    return 0 if services else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
