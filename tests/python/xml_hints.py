"""The [xml] blocks of the catalogue, from botocore's models: AWS's XML has no types, and the models do.

    xml_hints.py ec2            prints the block
    xml_hints.py --write ec2    puts it into proto/catalogue/ec2.toml
    xml_hints.py --check        compares all files' blocks with it (or the named services'); exits 1 where one differs

A service that is not built in is named by its file's path, as in `xml_hints.py --write mine/rds.toml`.

The models are those of the installed botocore; the files are made from the version in requirements.txt.
"""

import collections
import json
import pathlib
import sys
import tomllib

import botocore.session

CATALOGUE = pathlib.Path(__file__).resolve().parents[2] / "proto" / "catalogue"
WIDTH = 120
ORDER = ["lists", "flat", "maps", "integers", "floats", "booleans", "structures"]
KIND = {
    "structure": "structures", "map": "maps", "list": "lists", "integer": "integers", "long": "integers",
    "boolean": "booleans", "double": "floats", "float": "floats",
}

# The models do not say what the document is called that holds a REST answer's members: by custom, the operation's name
# and `Response`, which S3 does not keep.
ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "ListAccessPoints": "ListAccessPointsResult",
    "GetAccessPointPolicy": "GetAccessPointPolicyResult",
}


class Elements:
    """What every element of some operations' answers is, by the element around it."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.kinds = collections.defaultdict(dict)
        self.flats = collections.defaultdict(dict)
        self.names = collections.defaultdict(dict)
        self.seen = set()

    def own(self, element):
        """The name that an element has in the API where nothing else is said."""
        return element[0].upper() + element[1:] if self.protocol == "ec2" else element

    def note(self, parent, element, kind, flat, name):
        renamed = None if name == self.own(element) else name
        for table, value in ((self.kinds, kind), (self.flats, flat or None), (self.names, renamed)):
            old = table[element].get(parent, value)
            if old != value:
                raise SystemExit(f"{parent}/{element} is both {old} and {value}: the hints cannot tell them apart")
            table[element][parent] = value

    def structure(self, shape, parent):
        if (shape.name, parent) in self.seen:
            return
        self.seen.add((shape.name, parent))
        for name, member in shape.members.items():
            wire = member.serialization
            if wire.get("location") or wire.get("xmlAttribute"):
                continue
            element = wire.get("name", name)
            if member.type_name == "list" and wire.get("flattened"):
                element = wire.get("name") or member.member.serialization.get("name", name)
                self.note(parent, element, KIND.get(member.member.type_name), True, name)
                self.inside(member.member, element)
                continue
            self.note(parent, element, KIND.get(member.type_name), False, name)
            self.inside(member, element)

    def inside(self, shape, element):
        if shape.type_name == "structure":
            self.structure(shape, element)
        elif shape.type_name == "list":
            item = shape.member
            # The items of a list are asked about under the list's name.
            if item.type_name == "structure":
                self.structure(item, element)
            else:
                # Texts as well: an element of the same name that is a number elsewhere must not make them numbers.
                name = item.serialization.get("name", "member")
                self.note(element, name, KIND.get(item.type_name), False, self.own(name))
                self.inside(item, name)
        elif shape.type_name == "map":
            self.note(element, "value", KIND.get(shape.value.type_name), False, "value")
            self.inside(shape.value, "value")


def names(by_parent, element):
    """Bare where all agree, else with the parent's name. A map's values are always said to be that map's."""
    if len(set(by_parent.values())) == 1 and element != "value":
        return {element: next(iter(by_parent.values()))}
    return {f"{parent}/{element}": value for parent, value in by_parent.items()}


def generate(file):
    """The block that a file should have."""
    model = botocore.session.get_session().get_service_model(file["service"])
    elements = Elements(file["protocol"])
    # A HEAD is answered without a document.
    for operation in (o for o in file["operation"] if not o.get("http", "").startswith("HEAD")):
        operation = model.operation_model(operation["name"])
        shape = operation.output_shape
        if shape is None:
            continue
        payload = shape.serialization.get("payload")
        if payload:
            if shape.members[payload].type_name == "structure":
                elements.structure(shape.members[payload], shape.members[payload].serialization.get("name", payload))
        elif file["protocol"] == "rest-xml":
            elements.structure(shape, ROOTS.get(operation.name, f"{operation.name}Response"))
        else:
            elements.structure(shape, operation.name + ("Response" if file["protocol"] == "ec2" else "Result"))
    block = collections.defaultdict(list)
    rename = {}
    for element in sorted(elements.kinds):
        for name, kind in sorted(names(elements.kinds[element], element).items()):
            if kind:
                block[kind].append(name)
        block["flat"] += sorted(name for name, flat in names(elements.flats[element], element).items() if flat)
        rename.update({n: to for n, to in sorted(names(elements.names[element], element).items()) if to})
    found = {key: block[key] for key in ORDER if block[key]}
    return {**found, "rename": rename} if rename else found


def written(block):
    """The block as TOML."""
    lines = ["[xml]"]
    for key in ORDER:
        if key not in block:
            continue
        line = f"{key} = {json.dumps(block[key])}"
        if len(line) <= WIDTH:
            lines.append(line)
            continue
        lines.append(f"{key} = [")
        row = "   "
        for name in block[key]:
            piece = f' "{name}",'
            if len(row) + len(piece) > WIDTH:
                lines.append(row)
                row = "   "
            row += piece
        lines += [row, "]"]
    if "rename" in block:
        lines += ["", "[xml.rename]"]
        lines += [f'"{a}" = "{b}"' if "/" in a else f'{a} = "{b}"' for a, b in block["rename"].items()]
    return "\n".join(lines) + "\n"


def files():
    """Every file of the catalogue whose answers are XML, by path."""
    found = {path: tomllib.loads(path.read_text()) for path in sorted(CATALOGUE.glob("*.toml"))}
    return {path: file for path, file in found.items() if file["protocol"] in ("query", "ec2", "rest-xml")}


def differing(services=()):
    """Files whose block is not the one that botocore's models make; of all services where none is named."""
    chosen = [(path, file) for path, file in files().items() if not services or file["service"] in services]
    return [path.name for path, file in chosen if file.get("xml", {}) != generate(file)]


def write(path, file):
    text = path.read_text()
    if "\n[xml]\n" not in text:
        text = text.replace("\n[[limit]]", "\n[xml]\n\n[[limit]]", 1)
    before, after = text.split("\n[xml]\n", 1)
    # The block ends where the first limit, or the comment above it, begins.
    rest = after[after.index("\n[[limit]]"):]
    comment = after[: after.index("\n[[limit]]")].split("\n")
    kept = []
    while comment and comment[-1].startswith("#"):
        kept.insert(0, comment.pop())
    path.write_text(before + "\n" + written(generate(file)) + "".join("\n" + line for line in kept) + rest)


def main(arguments):
    options = [word for word in arguments if word.startswith("-")]
    services = [word for word in arguments if not word.startswith("-")]
    known = {file["service"]: (path, file) for path, file in files().items()}
    known |= {word: (pathlib.Path(word), tomllib.loads(pathlib.Path(word).read_text())) for word in services if word.endswith(".toml")}
    unknown = [word for word in options if word not in ("--check", "--write")] + [s for s in services if s not in known]
    if unknown or len(options) > 1 or not services and options != ["--check"]:
        complaints = [f"neither an option nor an XML service: {word}" for word in unknown]
        print(__doc__, *complaints, sep="\n", file=sys.stderr)
        return 2
    if options == ["--check"]:
        wrong = differing(services) + [s for s in services if s.endswith(".toml") and known[s][1].get("xml", {}) != generate(known[s][1])]
        for name in wrong:
            print(f"{name}: [xml] is not what botocore {botocore.__version__}'s models say; see xml_hints.py --write")
        return int(bool(wrong))
    for service in services:
        path, file = known[service]
        if options == ["--write"]:
            write(path, file)
        else:
            print(written(generate(file)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
