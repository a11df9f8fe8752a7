"""Results in folders and in buckets: written, listed, pruned, deleted, and added up."""

import json
import pathlib
import re

import buckets
import pytest
import results
import scanning
import simulated

ACCOUNTS = 4


@pytest.fixture(scope="module")
def aws(fleetscan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aws")
    aws = simulated.Simulated(fleetscan, folder, "--accounts", str(ACCOUNTS))
    aws.file = folder / "accounts.toml"
    aws.do("detach_actions", account=aws.accounts[1]["id"], actions=["lambda:ListFunctions", "sns:ListTopics"])
    yield aws
    aws.end()


@pytest.fixture(params=["folder", "bucket"])
def place(request, fleetscan, aws, moto, tmp_path):
    """A scanner whose results go to a folder, or to a bucket; `files()` reads them back either way."""
    (tmp_path / "accounts.toml").write_text(aws.file.read_text())
    if request.param == "folder":
        scanner = scanning.Scanner(fleetscan, aws, tmp_path, tmp_path / "out")
        scanner.copy = lambda name: tmp_path / "out"
        return scanner
    bucket = buckets.make(moto, "results-" + "".join(c if c.isalnum() else "-" for c in tmp_path.name.lower())[-40:])
    scanner = scanning.Scanner(fleetscan, aws, tmp_path, f"s3://{bucket}/some/prefix", moto)
    scanner.copy = lambda name: buckets.download(moto, bucket, "some/prefix/", tmp_path / name)
    scanner.bucket = bucket
    return scanner


@pytest.fixture(scope="module")
def in_folder(fleetscan, aws, tmp_path_factory):
    """What a scan into a folder finds."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "accounts.toml").write_text(aws.file.read_text())
    scanner = scanning.Scanner(fleetscan, aws, folder, folder / "out")
    scanner.id = scanner.scan()
    return scanner


def plain(path):
    """A file's text, unpacked."""
    return json.dumps(results.lines(path)) if path.suffix == ".zst" else path.read_text()


def test_a_scan_leaves_the_same_in_a_folder_and_in_a_bucket(place, in_folder):
    scan = place.scan()
    found = results.Scan(place.copy("copy"), scan)
    expected = results.Scan(in_folder.folder / "out", in_folder.id)
    assert found.inventory() == expected.inventory()
    assert found.manifest["records"] == expected.manifest["records"]
    summary = place.json("results", "summary", ok=(0, 3))
    assert summary["id"] == scan and summary["records"] == found.manifest["records"]
    ledger = [json.loads(line) for line in place.run("results", "ledger", "--json").stdout.splitlines()]
    assert ledger == found.ledger
    assert place.run("doctor", ok=(0, 1)).stdout.count("can be written") == 1
    lying = {p.name for p in found.folder.rglob("part-*")}
    assert lying == {part["name"] for cell in found.ledger for part in cell["parts"]}


def test_summaries_by_anything_add_up_to_the_manifest(in_folder):
    scan = results.Scan(in_folder.folder / "out", in_folder.id)
    records, cells = sum(scan.manifest["records"].values()), len(scan.ledger)
    for by in ("account", "region", "service"):
        rows = in_folder.json("results", "summary", "--by", by, ok=(0, 3))
        assert {row[by] for row in rows} == {cell[by] for cell in scan.ledger}
        assert (sum(row["records"] for row in rows), sum(row["cells"] for row in rows)) == (records, cells)
    types = in_folder.json("results", "summary", "--by", "type", ok=(0, 3))
    assert {row["type"]: row["records"] for row in types} == scan.manifest["records"]
    denied = in_folder.json("results", "summary", "--by", "denied", ok=(0, 3))
    listed = {(d["action"], d["by"]) for cell in scan.ledger for d in cell["denied"]}
    assert {(row["action"], row["by"]) for row in denied} == listed and listed
    for by in ("account", "region", "service", "type", "denied"):
        assert len(in_folder.run("results", "summary", "--by", by, ok=(0, 3)).stdout.splitlines()) > 1


def test_the_ledger_is_filtered(in_folder):
    scan = results.Scan(in_folder.folder / "out", in_folder.id)
    account, other = sorted({cell["account"] for cell in scan.ledger})[:2]
    action = next(d["action"] for cell in scan.ledger for d in cell["denied"])
    service = action.split(":")[0]

    def ledger(*flags):
        return [json.loads(line) for line in in_folder.run("results", "ledger", "--json", *flags).stdout.splitlines()]

    def those(chosen):
        return [cell for cell in scan.ledger if chosen(cell)]

    assert ledger("--account", f"{account},{other}", "--region", "global") == those(
        lambda c: c["account"] in (account, other) and c["region"] == "global")
    assert ledger("--service", "sns", "--region", "eu-west-1") == those(lambda c: (c["service"], c["region"]) == ("sns", "eu-west-1"))
    assert ledger("--denied", action) == those(lambda c: action in [d["action"] for d in c["denied"]])
    assert ledger("--denied", f"{service}:*") == those(lambda c: any(d["action"].startswith(service + ":") for d in c["denied"]))
    assert ledger("--since", "1h") == those(lambda c: c["started_at"])
    assert ledger("--since", "2099-01-01T00:00:00Z") == []
    assert "2h" in in_folder.run("results", "ledger", "--since", "yesterday", ok=(2,)).stderr


def test_old_scans_are_kept_for_what_no_newer_one_read(place):
    oldest = place.scan("--services", "sns,iam")
    middle = place.scan("--services", "iam", "--keep", "2")
    assert [row["state"] for row in place.json("results", "list")] == ["whole", "whole"]
    newest = place.scan("--services", "iam", "--keep", "1")
    listed = {row["id"]: row for row in place.json("results", "list")}
    assert list(listed) == sorted(listed, reverse=True) and newest in listed
    assert listed[newest]["state"] == "whole" and listed[newest]["bytes"] > 0
    # Nothing of the middle one is the last full reading, but for what the newest read with holes, as it did itself.
    assert middle not in listed
    old = listed[oldest]
    assert old["state"] == "thinned" and "last full reading" in old["kept_as"]
    scan = results.Scan(place.copy("copy"), oldest)
    assert {(cell["service"], cell["outcome"]) for cell in scan.ledger} == {("sns", "complete")}
    found = list(scan.records())
    assert len(found) == sum(scan.manifest["records"].values()) == old["records"]
    assert {p.name for p in scan.folder.rglob("part-*")} == {p["name"] for c in scan.ledger for p in c["parts"]}
    assert place.run("results", "list").stdout.count("last full reading") == 1
    assert place.json("results", "summary", ok=(0, 3))["id"] == newest


def test_purging_an_account_leaves_no_trace_of_it(place, aws):
    first, second = place.scan(), place.scan()
    before = {p.relative_to(place.copy("before")) for p in place.copy("before").rglob("*") if p.is_file()}
    manifest = results.Scan(place.copy("before"), first).manifest
    gone, left = aws.accounts[0]["id"], aws.accounts[1]["id"]
    [told] = place.json("results", "purge", "--account", gone)
    copy = place.copy("after")
    for path in (p for p in copy.rglob("*") if p.is_file()):
        assert gone not in str(path) and gone not in plain(path), path
    after = {p.relative_to(copy) for p in copy.rglob("*") if p.is_file()}
    removed = before - after
    assert told["parts"] == len(removed) > 0 and all(gone in str(path) for path in removed) and not after - before
    assert sorted(told["scans"]) == [first, second] and told["ledger_lines"] > 0 and told["bytes"] > 0
    for scan in (first, second):
        scan = results.Scan(copy, scan)
        counts = {}
        for record in scan.records():
            counts[record["type"]] = counts.get(record["type"], 0) + 1
        assert scan.manifest["records"] == counts
        assert scan.manifest["accounts"] == manifest["accounts"] - 1
        assert sum(scan.manifest["cells"].values()) == len(scan.ledger) and left in {c["account"] for c in scan.ledger}
    assert "0 parts" in place.run("results", "purge", "--account", gone, "--yes").stdout

    [told] = place.json("results", "purge", "--scan", first)
    assert told["parts"] > 0 and [row["id"] for row in place.json("results", "list")] == [second]
    assert not list(place.copy("last").glob(f"scan={first}/**/part-*"))
    assert "there is no scan" in place.run("results", "purge", "--scan", first, ok=(2,)).stderr


def test_disconnecting_an_account_with_purge_removes_what_was_read(place, aws):
    key = {"FLEETSCAN_KEY": "ZmxlZXRzY2FuLXRlc3RzLWtleS0wMTIzNDU2Nzg5YWI="}
    place.scan()
    place.run("accounts", "import", place.accounts, **key)
    gone = aws.accounts[0]["id"]
    told = place.json("accounts", "remove", gone, "--purge", **key)
    assert told["status"] == "disconnected" and told["purged"]["parts"] > 0
    for path in (p for p in place.copy("after").rglob("*") if p.is_file()):
        assert gone not in str(path) and gone not in plain(path), path


def test_programs_get_the_members_that_the_document_names(in_folder, tmp_path):
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs/results-storage.md").read_text()
    section = text.split("## For programs")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in section.splitlines() if line.startswith("| `")]
    told = {command.split("`")[1]: (answer, members) for command, answer, members in rows}
    more = {"export": ["--format", "sqlite", "--to", str(tmp_path / "x.db")], "diff": [in_folder.id, in_folder.id]}
    for command, (answer, members) in told.items():
        if command == "purge":
            continue  # it would take the scan from the others
        names = set(re.findall(r"`(\w+)`", members.split(";")[0]))
        text = in_folder.run("results", *command.split(), *more.get(command, []), "--json", ok=(0, 3)).stdout
        objects = [json.loads(line) for line in text.splitlines()] if answer == "lines" else json.loads(text)
        first = objects if answer == "object" else objects[0]
        if command == "diff":
            assert first["change"] == "summary"
        elif command == "ledger":
            assert set(first) >= names - {"error", "started_at"}, command
            assert set().union(*objects) <= names, command
        else:
            assert set(first) == names, command


def test_what_is_wrong_with_a_bucket_is_said(fleetscan, aws, moto, tmp_path):
    (tmp_path / "accounts.toml").write_text(aws.file.read_text())
    scanner = scanning.Scanner(fleetscan, aws, tmp_path, "s3://nobody-made-it/x", moto)
    scan = ("scan", "--accounts", scanner.accounts, *scanning.SCOPE)
    said = scanner.run(*scan, ok=(1,)).stderr
    assert "there is no bucket nobody-made-it" in said, said
    assert "there is no bucket nobody-made-it" in scanner.run("results", "summary", ok=(1,)).stderr
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path), "AWS_ENDPOINT_URL": ""}
    assert "no AWS credentials were found" in scanner.run("results", "list", ok=(1,), **nobody).stderr
    bucket = buckets.make(moto, "empty-bucket")
    empty = scanner.run("results", "summary", "--out", f"s3://{bucket}", ok=(2,)).stderr
    assert "there are no results in s3://empty-bucket" in empty, empty
    assert "s3://" in scanner.run("results", "list", "--out", "s3://Bad_Name", ok=(2,)).stderr
    assert "https://" in scanner.run("results", "list", "--out-endpoint", "localhost", ok=(2,)).stderr


def test_results_are_encrypted_with_the_key_that_is_named(fleetscan, aws, moto, tmp_path):
    (tmp_path / "accounts.toml").write_text(aws.file.read_text())
    bucket = buckets.make(moto, "encrypted")
    scanner = scanning.Scanner(fleetscan, aws, tmp_path, f"s3://{bucket}", moto)
    scanner.scan("--services", "sns", "--out-kms-key", "alias/results")
    keys = [key for key, _ in buckets.objects(moto, bucket)]
    heads = [buckets.client(moto).head_object(Bucket=bucket, Key=key) for key in keys]
    assert len(heads) > 3 and {head.get("SSEKMSKeyId") for head in heads} == {"alias/results"}


def test_the_policy_of_the_sink_is_for_its_bucket(fleetscan, in_folder):
    [policy] = in_folder.json("catalogue", "policy", "--sink", "my-fleetscan-results/fleetscan")
    committed = pathlib.Path(__file__).resolve().parents[2] / "deploy/aws/sink-policy.json"
    assert json.loads(committed.read_text()) == policy
    assert all(r.startswith("arn:aws:s3:::my-fleetscan-results") for s in policy["Statement"] for r in [s["Resource"]])
