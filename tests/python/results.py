"""Reads a scan's results as any program would: ledger, and the parts that it lists."""

import hashlib
import io
import json
import pathlib

import zstandard


def lines(path):
    data = pathlib.Path(path).read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return [json.loads(line) for line in text.splitlines()]


class Scan:
    """The named scan below a folder, or the newest (or only) one."""

    def __init__(self, out, scan="*"):
        # Two may have begun in the same second, and then their names do not say which is the newer.
        newer = lambda folder: (folder.name.partition("-")[0], (folder / "manifest.json").stat().st_mtime_ns)
        folders = sorted(pathlib.Path(out).glob(f"scan={scan}"), key=newer)
        assert folders, f"no scan {scan} in {out}"
        self.folder = folders[-1]
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.ledger = lines(self.folder / "ledger.jsonl.zst")

    def records(self):
        """Records of the parts that count; checks each part's digest and count on the way."""
        for cell in self.ledger:
            folder = self.folder / "records" / f"cell_account=a{cell['account']}" / f"cell_region={cell['region']}" / f"cell_service={cell['service']}"
            total = 0
            for part in cell["parts"]:
                path = folder / part["name"]
                assert hashlib.sha256(path.read_bytes()).hexdigest() == part["sha256"], path
                found = lines(path)
                assert len(found) == part["records"], path
                total += len(found)
                yield from found
            assert total == cell["records"], cell

    def inventory(self):
        """What must not depend on how often a scan was interrupted."""
        cells = sorted((c["account"], c["region"], c["service"], c["outcome"], c["records"]) for c in self.ledger)
        records = {}
        for record in self.records():
            key = (record["account"], record["service"], record["type"], record["region"], record["id"])
            assert key not in records, f"stands twice: {key}"
            # What a principal did last changes with the time.
            told = record["type"] == "AWS::CloudTrail::PrincipalActivity"
            records[key] = record["properties"]["PrincipalType"] if told else record["properties"]
        return cells, records
