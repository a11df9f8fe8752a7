"""The least time that a scan can take, from AWS's buckets and the fewest calls that the accounts need.

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
    def __init__(self, path):
        self.raw = tomllib.loads(path.read_text())
        self.operations = {o["name"]: o for o in self.raw["operation"]}
        self.limits = {g["group"]: g for g in self.raw["limit"]}
        joined = {o["join"]["operation"] for o in self.raw["operation"] if "join" in o}
        self.called = [o for o in self.raw["operation"] if "opt_in" not in o and ("fallback_for" not in o or o["name"] in joined)]

    def limit(self, operation):
        return self.limits.get(operation.get("limit"), self.raw["limit"][0])


def calls(service, meant, operation):
    """The fewest calls of one operation in one cell."""
    parent = operation.get("for")
    pages = operation.get("pages", {})
    lists = [operation["items"]] if "items" in operation else [e["items"] for e in operation.get("emit", [])]

    def paged(answer):
        items = sum(len(at(answer["value"], path)) for path in lists) if answer["value"] else 0
        return max(1, math.ceil(items / pages["max"])) if "max" in pages and lists else 1

    if parent is None:
        return sum(paged(a) for a in meant(operation["name"])) or 1
    name, _, path = parent.partition("/")
    above = service.operations[name]
    if above not in service.called:
        return 0
    items = [i for a in meant(name) if a["value"] for p in ([path] if path else [above.get("items", ".")]) for i in at(a["value"], p)]
    if "only" in operation:
        only = operation["only"]
        items = [i for i in items if any(v in only["values"] for v in at(i, only["field"]))]
    if "batch" in operation:
        return math.ceil(len(items) / operation["batch"]["max"])
    answers = meant(operation["name"])
    extra = sum(paged(a) - 1 for a in answers)
    return len(items) + extra


def lower_bound(endpoint, accounts, share=1.0, least_records=20):
    """Seconds, the bucket that binds, and how many calls it needs. Cells with few records cannot bind."""
    services = {p.stem: Service(p) for p in CATALOGUE.glob("*.toml")}
    worst = (0.0, None, 0)
    for account in accounts:
        buckets = {}
        for cell in fetch(endpoint, f"/_simulator/expectations?account={account}"):
            found = cell["records"] if isinstance(cell["records"], int) else len(cell["records"])
            if found < least_records:
                continue
            region, service = cell.get("region"), services[cell["service"]]
            cache = {}

            def meant(operation):
                if operation not in cache:
                    cache[operation] = fetch(endpoint, f"/_simulator/meant?account={account}&region={region}&service={cell['service']}&operation={operation}")
                return cache[operation]

            for operation in service.called:
                limit = service.limit(operation)
                if "rate" not in limit:
                    continue
                rate = limit.get("by_region", {}).get(region, limit["rate"])
                burst = rate if region in limit.get("by_region", {}) else limit.get("burst", max(1.0, limit["rate"]))
                where = "*" if limit.get("every_region") else region
                key = (where, cell["service"], limit["group"], None if limit.get("shared") else operation["name"])
                total, _, _ = buckets.get(key, (0, 0, 0))
                buckets[key] = (total + calls(service, meant, operation), rate * share, burst * share)
        for key, (total, rate, burst) in buckets.items():
            seconds = max(0.0, (total - burst) / rate)
            if seconds > worst[0]:
                worst = (seconds, (account, *key), total)
    return worst
