"""Exports are read back by tools that this project did not write, and held against the raw records."""

import csv
import json
import pathlib
import re
import sqlite3
import sys

import duckdb
import pytest
import results
import scanning
import simulated

ROOT = pathlib.Path(__file__).resolve().parents[2]
csv.field_size_limit(sys.maxsize)


@pytest.fixture(scope="module")
def scanned(fleetscan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    aws = simulated.Simulated(fleetscan, folder, "--accounts", "6")
    try:
        scanner = scanning.Scanner(fleetscan, aws, folder, folder / "results")
        scanner.id = scanner.scan("--services", "lambda,sns,iam,ec2")
    finally:
        aws.end()
    scanner.found = results.Scan(folder / "results", scanner.id)
    scanner.records = {key(record): record for record in scanner.found.records()}
    assert len({record["type"] for record in scanner.records.values()}) > 8
    return scanner


def key(record):
    return tuple(record[name] for name in ("account", "region", "service", "type", "id"))


def compare(rows, expected):
    """Rows as dictionaries, nested values as JSON text."""
    found = {}
    for row in rows:
        assert key(row) not in found, row
        record = expected[key(row)]
        assert json.loads(row["properties"]) == record["properties"]
        assert json.loads(row["tags"]) == record["tags"]
        assert (row["arn"] or None, row["name"] or None) == (record.get("arn"), record.get("name"))
        denied = row["denied"] if isinstance(row["denied"], list) else json.loads(row["denied"])
        assert denied == record.get("denied", [])
        found[key(row)] = row
    assert found.keys() == expected.keys()
    return found


def rows(query):
    """Of DuckDB or SQLite."""
    names = [column[0] for column in query.description]
    return [dict(zip(names, row)) for row in query.fetchall()]


def microseconds(text):
    """A time of a record, which may have nanoseconds, since 1970."""
    return duckdb.sql(f"SELECT epoch_us(TIMESTAMPTZ '{text}')").fetchall()[0][0]


def test_parquet(scanned, tmp_path):
    told = scanned.json("results", "export", "--format", "parquet", "--to", tmp_path / "out")
    assert told["records"] == len(scanned.records) and told["scan"] == scanned.id
    files = {path.stem for path in (tmp_path / "out").glob("*.parquet")}
    assert files == {kind.replace("::", "_") for kind in told["types"]} | {"ledger"}
    found = []
    for kind in told["types"]:
        path = tmp_path / "out" / f"{kind.replace('::', '_')}.parquet"
        query = duckdb.sql(f"SELECT * FROM '{path}'")
        types = dict(zip(query.columns, map(str, query.types)))
        assert types["collected_at"] == "TIMESTAMP WITH TIME ZONE" and types["denied"] == "VARCHAR[]", types
        assert types["properties"] == "JSON" and types["account"] == "VARCHAR"
        here = rows(duckdb.sql(f"SELECT * REPLACE (epoch_us(collected_at) AS collected_at) FROM '{path}'"))
        assert {row["type"] for row in here} == {kind}
        found += here
    compared = compare(found, scanned.records)
    for name, row in list(compared.items())[:50]:
        assert abs(row["collected_at"] - microseconds(scanned.records[name]["collected_at"])) <= 1
    ledger = rows(duckdb.sql(f"SELECT * EXCLUDE (started_at) FROM '{tmp_path / 'out' / 'ledger.parquet'}'"))
    assert [(c["account"], c["region"], c["service"], c["outcome"], c["records"]) for c in ledger] == [
        (c["account"], c["region"], c["service"], c["outcome"], c["records"]) for c in scanned.found.ledger]
    assert [json.loads(c["denied"]) for c in ledger] == [c["denied"] for c in scanned.found.ledger]
    again = scanned.run("results", "export", "--format", "parquet", "--to", tmp_path / "out", ok=(2,))
    assert "there already" in again.stderr
    assert not list(tmp_path.glob(".fleetscan-export-*"))


def test_csv(scanned, tmp_path):
    scanned.run("results", "export", "--format", "csv", "--to", tmp_path / "out")
    found = []
    for path in (tmp_path / "out").glob("AWS_*.csv"):
        with open(path, newline="") as file:
            found += list(csv.DictReader(file))
    compare(found, scanned.records)
    with open(tmp_path / "out" / "ledger.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(scanned.found.ledger)


def test_sqlite(scanned, tmp_path):
    scanned.run("results", "export", "--format", "sqlite", "--to", tmp_path / "new" / "scan.db")
    database = sqlite3.connect(tmp_path / "new" / "scan.db")
    found = rows(database.execute("SELECT * FROM records"))
    compare(found, scanned.records)
    assert {row["collected_at"] for row in found} == {r["collected_at"] for r in scanned.records.values()}
    assert database.execute("SELECT count(*), sum(records) FROM ledger").fetchone() == (len(scanned.found.ledger), len(scanned.records))
    [(scan, manifest)] = database.execute("SELECT id, manifest FROM scan").fetchall()
    assert scan == scanned.id and json.loads(manifest) == scanned.found.manifest
    plan = str(database.execute("EXPLAIN QUERY PLAN SELECT * FROM records WHERE type = 'AWS::IAM::Role'").fetchall())
    assert "records_by_type" in plan, plan
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_part_of_a_scan(scanned, tmp_path):
    account = sorted({record["account"] for record in scanned.records.values()})[1]
    kinds = ["AWS::IAM::Role", "AWS::Lambda::Function"]
    flags = ("--type", ",".join(kinds), "--account", account, "--scan", scanned.id)
    scanned.run("results", "export", "--format", "sqlite", "--to", tmp_path / "part.db", *flags)
    expected = {k: r for k, r in scanned.records.items() if r["account"] == account and r["type"] in kinds}
    assert expected
    database = sqlite3.connect(tmp_path / "part.db")
    compare(rows(database.execute("SELECT * FROM records")), expected)
    assert database.execute("SELECT DISTINCT account FROM ledger").fetchall() == [(account,)]


def test_what_the_ledger_does_not_list_is_not_exported_and_what_is_damaged_is_said(scanned, tmp_path):
    cell = next(cell for cell in scanned.found.ledger if cell["parts"])
    folder = scanned.found.folder / "records" / f"cell_account=a{cell['account']}" / f"cell_region={cell['region']}" / f"cell_service={cell['service']}"
    part = folder / cell["parts"][0]["name"]
    whole = part.read_bytes()
    stray = folder / "part-stray-0000.jsonl.zst"
    stray.write_bytes(whole)
    try:
        assert scanned.json("results", "export", "--format", "csv", "--to", tmp_path / "a")["records"] == len(scanned.records)
        part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        failed = scanned.run("results", "export", "--format", "csv", "--to", tmp_path / "b", ok=(1,))
        assert part.name in failed.stderr and "SHA-256" in failed.stderr
        assert list(tmp_path.iterdir()) == [tmp_path / "a"], "an export that fails leaves nothing"
    finally:
        stray.unlink()
        part.write_bytes(whole)


def test_the_readme_query_runs_on_the_raw_results(scanned, monkeypatch):
    text = (ROOT / "README.md").read_text()
    [query] = [block for block in re.findall(r"```sql\n(.*?)```", text, re.S) if "records/**" in block]
    monkeypatch.chdir(scanned.folder)
    found = {key: count for *key, count in duckdb.sql(query.strip().rstrip(";")).fetchall() for key in [tuple(key)]}
    expected = {}
    for cell in scanned.found.ledger:
        folder = scanned.found.folder / "records" / f"cell_account=a{cell['account']}" / f"cell_region={cell['region']}" / f"cell_service={cell['service']}"
        for part in cell["parts"]:
            for record in results.lines(folder / part["name"]):
                key = scanned.id, cell["region"], record["type"]
                expected[key] = expected.get(key, 0) + 1
    assert found == expected
