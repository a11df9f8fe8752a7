"""Profiles in a fleet: what a scan reads of what each account's owner was told of."""

import json
import pathlib

import pytest

import fleet
import servers

WORLD = ("--accounts", "3", "--latency-ms", "0", "--limits", "off", "--world", "lambda:ListFunctions=2,sns:ListTopics=2,iam:ListUsers=2,s3:ListBuckets=1;regions=2")


@pytest.fixture(scope="module")
def team(fleetscan, tmp_path_factory):
    team = fleet.Fleet(fleetscan, tmp_path_factory.mktemp("fleet"), WORLD)
    team.own = team.folder / "topics.toml"
    team.own.write_text('name = "topics"\nversion = 1\ntitle = "Topics"\nservices = ["sns"]\nexcept = ["sns:GetTopicAttributes"]\noperations = ["account:ListRegions"]\n')
    try:
        team.run("accounts", "import", team.folder / "accounts.toml", "--profile", team.own)
        team.coordinator()
        team.worker("worker-0")
        servers.until(lambda: team.json("workers") != [], 30)
        yield team
    finally:
        team.end()


def scanned(team, *flags):
    """The services of a scan's cells, and the operations that it called."""
    before = {o: sum(c.values()) for o, c in team.aws.get("counters")["operations"].items()}
    scan = team.scan(*flags)
    assert team.ended(scan)["state"] == "finished"
    after = {o: sum(c.values()) for o, c in team.aws.get("counters")["operations"].items()}
    services = {cell["service"] for cell in team.results(scan).ledger}
    return services, {operation for operation, count in after.items() if count > before.get(operation, 0)}


def test_a_scan_reads_of_its_profile_what_each_accounts_owner_was_told_of(team):
    account = team.aws.accounts[0]["id"]
    shown = team.json("accounts", "show", account)
    assert (shown["profile"], shown["profile_version"], shown["upgrade_adds"]) == ("topics", 1, [])

    services, called = scanned(team, "--profile", "full")
    assert services == {"sns"}, "the owners were told of topics alone"
    assert "sns:ListTopics" in called and "sns:GetTopicAttributes" not in called
    assert {operation.split(":")[0] for operation in called} <= {"sns", "sts", "account"}

    # The catalogue reads more of topics now, and a newer version of the profile says so.
    team.own.write_text('name = "topics"\nversion = 2\ntitle = "Topics"\nservices = ["sns"]\noperations = ["account:ListRegions"]\n')
    [moved] = [team.json("accounts", "upgrade-profile", account, "--profile", team.own)]
    assert moved["profile_version"] == 2 and "sns:GetTopicAttributes" in moved["added"]
    services, called = scanned(team, "--accounts", team.aws.accounts[1]["id"])
    assert "sns:GetTopicAttributes" not in called, "another account was not moved"
    services, called = scanned(team, "--accounts", account)
    assert services == {"sns"} and "sns:GetTopicAttributes" in called


def test_an_account_is_moved_to_another_profile_and_a_scan_may_read_less_of_it(team):
    account = team.aws.accounts[2]["id"]
    team.run("accounts", "upgrade-profile", account, "--profile", "identity")
    assert team.json("accounts", "show", account)["profile"] == "identity"
    services, called = scanned(team, "--accounts", account)
    assert services == {"iam", "identitystore", "sso-admin"} and "iam:GetAccountAuthorizationDetails" in called
    own = team.folder / "users.toml"
    own.write_text('name = "users"\nversion = 1\ntitle = "Users"\noperations = ["iam:GetAccountSummary", "iam:ListAccountAliases"]\n')
    services, called = scanned(team, "--accounts", account, "--profile", own)
    assert services == {"iam"}
    assert {o for o in called if o.startswith("iam:")} == {"iam:GetAccountSummary", "iam:ListAccountAliases"}


def test_a_profile_that_is_not_there_is_named(team):
    said = fleet.subprocess.run([team.fleetscan, "scans", "start", "--profile", "fulll"], env=team.environment, capture_output=True, text=True)
    assert said.returncode == 2 and 'did you mean "full"?' in said.stderr
    said = fleet.subprocess.run([team.fleetscan, "accounts", "upgrade-profile", team.aws.accounts[1]["id"]], env=team.environment, capture_output=True, text=True)
    assert said.returncode == 2 and "name its file with --profile" in said.stderr


def test_a_worker_that_reads_by_another_catalogue_is_named(team):
    account = team.aws.accounts[1]["id"]
    services = pathlib.Path(__file__).resolve().parents[1] / "services"
    command = [team.fleetscan, "scans", "start", "--accounts", account, "--json"]
    same = fleet.subprocess.run(command, env=team.environment, capture_output=True, text=True)
    assert same.returncode == 0 and "another catalogue" not in same.stderr, same.stderr
    team.ended(json.loads(same.stdout)["id"])
    said = fleet.subprocess.run([*command, "--catalogue", str(services)], env=team.environment, capture_output=True, text=True)
    assert said.returncode == 0 and "another catalogue than this command's have worker-0" in said.stderr, said.stderr
    # It waits for a coordinator that knows such services, and can be ended without one.
    scan = json.loads(said.stdout)["id"]
    team.run("scans", "cancel", scan)
    assert team.ended(scan)["state"] == "cancelled"
