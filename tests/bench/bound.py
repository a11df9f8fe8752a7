"""The least time that a scan can take, from AWS's buckets, and the fewest calls that the accounts need.

It knows nothing of the scanner: the calls are counted from what the simulator holds (its `meant` pages) and from the
catalogue's paging, batches and parents; the buckets come from the catalogue's [[limit]]s.
"""

import json
import math
import pathlib
import tomllib
import urllib.request

CATALOGUE = pathlib.Path(__file__).resolve().parents[2] / "proto" / "catalogue"


def fetch(endpoint, path):
    with urllib.request.urlopen(endpoint + path, timeout=60) as answer:
        return json.load(answer)


def at(value, path):
    """All values at a path of the catalogue."""
    found = [value]
    for step in [] if path == "." else path.replace("[]", ".[]").split("."):
        if step == "[]":
            found = [x for v in found for x in (v or [])]
        else:
            found = [v[step] for v in found if isinstance(v, dict) and v.get(step) is not None]
    return [x for v in found for x in (v if isinstance(v, list) else [v])]


class Service:
    def __init__(self, raw, all_raw):
        self.raw = raw
        self.operations = {}
        for operation in raw["operation"]:
            if lender := operation.get("from"):
                lent = next(o for o in all_raw[lender]["operation"] if o["name"] == operation["name"])
                operation = {**{k: v for k, v in lent.items() if k in ("pages", "items", "emit")}, **operation}
            self.operations[operation["name"]] = operation
        self.limits = {group["group"]: group for group in raw["limit"]}
        # Read in one go and merged into another list: called for itself, not for children of its own.
        self.joined = {o["join"]["operation"] for o in self.operations.values() if "join" in o}
        self.called = [o for o in self.operations.values() if self.is_called(o)]
        self.by_global = raw["scope"] == "global"

    def limit(self, operation):
        return self.limits.get(operation.get("limit"), self.raw["limit"][0])

    def is_called(self, operation):
        if "opt_in" in operation:
            return False
        return operation["name"] in self.joined or "fallback_for" not in operation

    def parents(self, operation):
        """What an operation is called for, as (operation, path of its items); of several, those that are walked."""
        named = operation.get("for", [])
        for name in [named] if isinstance(named, str) else named:
            name, _, path = name.partition("/")
            above = self.operations[name]
            if self.is_called(above) and name not in self.joined and self.walked(above):
                yield above, path

    def walked(self, operation):
        """Whether anything leads to it: an operation's child is not called where the operation is not."""
        named = operation.get("for")
        names = {n.partition("/")[0] for n in ([named] if isinstance(named, str) else named or [])}
        return not names or any(
            self.is_called(self.operations[n]) and n not in self.joined and (n == operation["name"] or self.walked(self.operations[n]))
            for n in names
        )


def services():
    """The catalogue's services by id."""
    raw = {path.stem: tomllib.loads(path.read_text()) for path in CATALOGUE.glob("*.toml")}
    return {name: Service(one, raw) for name, one in raw.items()}


def calls(service, meant, operation):
    """The fewest calls of one operation in one cell. A `poll` is counted once: the answer may be ready at once."""
    pages = operation.get("pages", {})
    lists = [operation["items"]] if "items" in operation else [e["items"] for e in operation.get("emit", []) if "items" in e]

    def paged(answer):
        items = sum(len(at(answer["value"], path)) for path in lists) if answer["value"] else 0
        return max(1, math.ceil(items / pages["max"])) if "max" in pages and lists else 1

    if "for" not in operation:
        return sum(paged(a) for a in meant(operation["name"])) or 1
    items = []
    for above, path in service.parents(operation):
        below = [path] if path else [above.get("items", ".")] if "emit" not in above else [e["items"] for e in above["emit"]]
        items += [i for a in meant(above["name"]) if a["value"] for p in below for i in at(a["value"], p)]
    if "only" in operation:
        only = operation["only"]
        items = [i for i in items if any(v in only["values"] for v in at(i, only["field"]))]
    if not items:
        return 0
    if "batch" in operation:
        return math.ceil(len(items) / operation["batch"]["max"])
    return len(items) + sum(paged(a) - 1 for a in meant(operation["name"]))


def cells(endpoint, account, least_records=0):
    """Region and service of an account's cells, of those that hold so many records."""
    for cell in fetch(endpoint, f"/_simulator/expectations?account={account}"):
        if len(cell["records"]) >= least_records:
            yield cell["region"], cell["service"]


def counted(endpoint, account, where):
    """The fewest calls by (region, service, operation) in the cells that `where` lists."""
    catalogue, found = services(), {}
    for region, name in where:
        service, cache = catalogue[name], {}
        region = "global" if service.by_global else region

        def meant(operation):
            if operation not in cache:
                query = f"account={account}&region={region}&service={name}&operation={operation}"
                cache[operation] = fetch(endpoint, f"/_simulator/meant?{query}")
            return cache[operation]

        for operation in service.called:
            if count := calls(service, meant, operation):
                found[region, name, operation["name"]] = count
    return found


def binding(found, share=1.0, scaled=1.0):
    """Seconds, the bucket that binds, and how many calls it needs, of what `counted` found in an account."""
    catalogue, buckets, worst = services(), {}, (0.0, None, 0)
    for (region, name, called), count in found.items():
        service = catalogue[name]
        limit = service.limit(service.operations[called])
        # Unpublished limits bind nobody who does not know them.
        if "rate" not in limit:
            continue
        own = limit.get("by_region", {}).get(region)
        rate, burst = (own, own) if own else (limit["rate"], limit.get("burst", max(1.0, limit["rate"])))
        key = ("*" if limit.get("every_region") else region, name, limit["group"], None if limit.get("shared") else called)
        total, _, _ = buckets.get(key, (0, 0, 0))
        buckets[key] = (total + count, rate * share * scaled, burst * share * scaled)
    for key, (total, rate, burst) in buckets.items():
        seconds = max(0.0, (total - burst) / rate)
        if seconds > worst[0]:
            worst = (seconds, key, total)
    return worst


def lower_bound(endpoint, accounts, where=None, share=1.0, scaled=1.0, least_records=20):
    """Seconds, (account, *bucket) that binds, and how many calls it needs, of the accounts' worst. Without `where`,
    every cell is looked at that has enough records to matter."""
    worst = (0.0, None, 0)
    for account in accounts:
        found = counted(endpoint, account, where or list(cells(endpoint, account, least_records)))
        seconds, bucket, total = binding(found, share, scaled)
        if seconds > worst[0]:
            worst = (seconds, (account, *bucket), total)
    return worst


def fewest(endpoint, account, where):
    """All the calls that the cells need, AssumeRole included."""
    return 1 + sum(counted(endpoint, account, where).values())
