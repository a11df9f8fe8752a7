"""`accounts sync-org`: against moto's organisations, which have units, policies and closed accounts; and against the simulated
AWS's, which have many pages and roles that may not read everything."""

import http.server
import itertools
import json
import os
import pty
import subprocess
import threading
import urllib.error
import urllib.request

import accounts
import fleet
import pytest
import servers
import simulated

# moto lives as long as the session: each organisation has a management account of its own.
MANAGERS = itertools.count(9_001)
EXTERNAL = "one-for-{account}-and-all"


class Command:
    def __init__(self, fleetscan, folder, url, key, secret):
        self.fleetscan, self.folder = fleetscan, folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {
            **kept, "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true",
            "FLEETSCAN_KEY": fleet.KEY, "FLEETSCAN_DATA": str(folder / "data"), "FLEETSCAN_VERIFY_SHARE": "1",
        }
        self.external = folder / "external-id"
        self.external.write_text(EXTERNAL + "\n")

    def run(self, *command, ok=(0,)):
        ended = subprocess.run([self.fleetscan, "accounts", *map(str, command)], env=self.environment, capture_output=True, text=True, timeout=120, cwd=self.folder, stdin=subprocess.DEVNULL)
        assert ended.returncode in ok, f"{command}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    def sync(self, role, *flags, ok=(0,)):
        return json.loads(self.run("sync-org", "--org-role", role, "--external-id-file", self.external, "--json", *flags, ok=ok).stdout)

    def list(self):
        return {account["id"]: account for account in json.loads(self.run("list", "--json").stdout)}

    def show(self, account):
        return json.loads(self.run("show", account, "--history", "--json").stdout)


@pytest.fixture
def organisation(moto, fleetscan, tmp_path):
    """An organisation in moto, of a management account of its own."""
    manager = accounts.number(next(MANAGERS))
    session = accounts.session(moto, manager)
    client = session.client("organizations", region_name="us-east-1")
    client.create_organization(FeatureSet="ALL")
    root = client.list_roots()["Roots"][0]["Id"]
    client.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    unit = client.create_organizational_unit(ParentId=root, Name="Workloads")["OrganizationalUnit"]["Id"]
    below = client.create_organizational_unit(ParentId=unit, Name="Production")["OrganizationalUnit"]["Id"]
    content = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "cloudtrail:StopLogging", "Resource": "*"}]}
    policy = client.create_policy(Content=json.dumps(content), Description="d", Name="ProtectTheTrail", Type="SERVICE_CONTROL_POLICY")["Policy"]["PolicySummary"]["Id"]
    client.attach_policy(PolicyId=policy, TargetId=unit)
    made = []
    for n in range(24):
        account = client.create_account(Email=f"a{n}@example.com", AccountName=f"team-{n}")["CreateAccountStatus"]["AccountId"]
        made.append(account)
        if n >= 2:
            client.move_account(AccountId=account, SourceParentId=root, DestinationParentId=below)
    return Command(fleetscan, tmp_path, moto, "AKIAHUB", "hub"), client, f"arn:aws:iam::{manager}:role/Reader", made, manager


def test_members_are_connected_and_suspended_ones_marked(organisation):
    command, client, role, made, manager = organisation
    shown = command.sync(role, "--dry-run")
    assert {one["id"] for one in shown["added"]} == set(made) and not shown["applied"] and shown["complete"]
    assert "management account" in {one["id"]: one["why"] for one in shown["skipped"]}[manager]
    assert command.list() == {}, "a dry run changes nothing"
    part = command.sync(role, "--ou", "/Workloads", "--customer", "acme")
    assert {one["id"] for one in part["added"]} == set(made[2:]) and part["applied"]
    member = command.list()[made[5]]
    assert member["status"] == "pending" and member["customer"] == "acme" and member["name"] == "team-5"
    assert member["organisation"]["path"] == "/Workloads/Production" and "ProtectTheTrail" in member["organisation"]["policies"]
    again = command.sync(role, "--ou", "/Workloads")
    assert again["added"] == [] == again["marked"] and again["unchanged"] == 22
    client.close_account(AccountId=made[5])
    marked = command.sync(role, "--ou", "/Workloads")["marked"]
    assert [(one["id"], one["before"]["standing"], one["after"]["standing"]) for one in marked] == [(made[5], "active", "suspended")]
    shown = command.show(made[5])
    assert shown["organisation"]["standing"] == "suspended" and shown["status"] == "pending", "marked, and not revoked or removed"
    acts = [change["evidence"].get("act") for change in shown["history"]]
    assert acts == ["connect", "sync-org", "sync-org"] and shown["history"][-1]["evidence"]["standing"] == "suspended"
    assert "suspended" in command.run("show", made[5]).stdout


def test_what_was_disconnected_stays_so_and_what_left_is_marked(organisation):
    command, client, role, made, _ = organisation
    command.sync(role)
    command.run("remove", made[3])
    client.remove_account_from_organization(AccountId=made[4])
    found = command.sync(role)
    assert [one["after"]["standing"] for one in found["marked"] if one["id"] == made[4]] == ["left"]
    assert "disconnected" in {one["id"]: one["why"] for one in found["skipped"]}[made[3]]
    assert made[4] in command.list() and made[3] not in command.list()


def test_each_member_has_an_external_id_of_the_template(organisation, moto):
    """The grant that was sealed is the one that AssumeRole is asked with."""
    command, _, role, made, _ = organisation
    command.sync(role)
    found = json.loads(command.run("verify", made[0], "--json", "--wait", "0s", ok=(0, 1, 3)).stdout)[0]
    assert found["lets_in"], found


class Between:
    """Stands before an AWS, and does something once, right before the first call that it is told to wait for; or changes what is
    answered to such calls."""

    def __init__(self, url, operation, fragment="", act=lambda: None, change=lambda text: text):
        waits = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = self.headers.get("x-amz-target", "").endswith(f".{operation}") and fragment.encode() in body
                if asked and waits.acquire(blocking=False):
                    act()
                request = urllib.request.Request(url + self.path, body, dict(self.headers), method="POST")
                try:
                    answer = urllib.request.urlopen(request, timeout=60)
                except urllib.error.HTTPError as error:
                    answer = error
                with answer:
                    text = change(answer.read()) if asked else answer.read()
                    self.send_response(answer.status)
                    for name in ("content-type", "x-amzn-requestid"):
                        if answer.headers.get(name):
                            self.send_header(name, answer.headers[name])
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.acted = waits.locked
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def test_an_account_that_is_moved_during_the_listing_has_not_left(organisation, moto):
    command, client, role, made, _ = organisation
    command.sync(role)
    (root,) = client.list_roots()["Roots"]
    (unit,) = client.list_organizational_units_for_parent(ParentId=root["Id"])["OrganizationalUnits"]
    (below,) = client.list_organizational_units_for_parent(ParentId=unit["Id"])["OrganizationalUnits"]
    # The unit above has been read by then.
    move = {"AccountId": made[9], "SourceParentId": below["Id"], "DestinationParentId": unit["Id"]}
    between = Between(moto, "ListAccountsForParent", below["Id"], lambda: client.move_account(**move))
    command.environment["AWS_ENDPOINT_URL"] = between.url
    try:
        found = command.sync(role)
    finally:
        between.end()
    assert between.acted() and found["complete"]
    assert [(one["id"], one["after"]["standing"], one["after"]["path"]) for one in found["marked"]] == [(made[9], "active", "/Workloads")]


def test_at_a_terminal_json_is_asked_about_as_well(organisation):
    command, _, role, _, _ = organisation
    words = [command.fleetscan, "accounts", "sync-org", "--org-role", role, "--external-id-file", str(command.external), "--json"]
    for answer, exit, applied in [(b"no\n", 1, False), (b"yes\n", 0, True)]:
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        try:
            ended = subprocess.run(words, env=command.environment, stdin=theirs, capture_output=True, text=True, timeout=120)
        finally:
            os.close(ours)
            os.close(theirs)
        assert ended.returncode == exit and "Write yes" in ended.stderr, ended.stderr
        assert json.loads(ended.stdout)["applied"] is applied and bool(command.list()) is applied


class Simulated:
    def __init__(self, fleetscan, folder):
        self.aws = simulated.Simulated(fleetscan, folder, "--accounts", "40", "--limits", "off")
        hub = self.aws.get("hub")
        self.command = Command(fleetscan, folder, self.aws.url, hub["access_key_id"], hub["secret_access_key"])

    def manager(self):
        """An account that may read its organisation, and what boto3 reads of it."""
        for account in self.aws.accounts:
            try:
                client = self.aws.client(account, "organizations", "us-east-1")
                roots = client.list_roots()["Roots"]
            except Exception:
                continue
            members = {}
            todo = [root["Id"] for root in roots]
            while todo:
                parent = todo.pop()
                for page in client.get_paginator("list_accounts_for_parent").paginate(ParentId=parent, PaginationConfig={"PageSize": 1}):
                    members.update({found["Id"]: found for found in page["Accounts"]})
                for page in client.get_paginator("list_organizational_units_for_parent").paginate(ParentId=parent):
                    todo += [found["Id"] for found in page["OrganizationalUnits"]]
            if len(members) > 2:
                return account, members
        raise AssertionError("no simulated account has an organisation")


@pytest.fixture
def simulation(fleetscan, tmp_path):
    world = Simulated(fleetscan, tmp_path)
    yield world
    world.aws.end()


def test_a_partial_listing_adds_and_marks_nothing(simulation, tmp_path):
    account, members = simulation.manager()
    command = simulation.command
    role_id = tmp_path / "manager"
    role_id.write_text(account["external_id"])
    flags = ("--org-external-id-file", role_id)
    whole = command.sync(account["role_arn"], *flags)
    assert whole["complete"] and {one["id"] for one in whole["added"]} == set(members), "every unit and every page"
    victim = next(iter(members))
    # The registry knows more than a listing that stops half-way.
    simulation.aws.do("detach_actions", account=account["id"], actions=["organizations:ListOrganizationalUnitsForParent"])
    part = command.sync(account["role_arn"], *flags, ok=(3,))
    assert not part["complete"] and part["marked"] == [] and "ListOrganizationalUnitsForParent" in part["gaps"][0]
    assert command.show(victim)["organisation"]["standing"] == "active"
    told = command.run("sync-org", "--org-role", account["role_arn"], "--external-id-file", command.external, *flags, "--dry-run", ok=(3,)).stdout
    assert "not read whole" in told and account["external_id"] not in told and "role/" not in told
    simulation.aws.do("detach_actions", account=account["id"], actions=["organizations:ListTargetsForPolicy"])
    assert any("ListTargetsForPolicy" in gap for gap in command.sync(account["role_arn"], *flags, ok=(3,))["gaps"])
    simulation.aws.do("delete_role", account=account["id"])
    ended = command.run("sync-org", "--org-role", account["role_arn"], "--external-id-file", command.external, *flags, ok=(1,))
    assert "does not let fleetscan in" in ended.stderr and account["role_arn"] not in ended.stderr


def test_only_organisations_operations_are_called(simulation, tmp_path):
    account, _ = simulation.manager()
    role_id = tmp_path / "manager"
    role_id.write_text(account["external_id"])
    before = simulation.aws.get("counters")["operations"]
    simulation.command.sync(account["role_arn"], "--org-external-id-file", role_id)
    after = simulation.aws.get("counters")["operations"]
    called = {name for name, results in after.items() if results != before.get(name)}
    assert called <= {"sts:AssumeRole", "sts:GetCallerIdentity"} | {name for name in after if name.startswith("organizations:")}, called


def test_a_connected_account_is_read_as_far_as_its_owner_was_told(simulation, tmp_path):
    account, members = simulation.manager()
    command = simulation.command
    command.run("import", tmp_path / "accounts.toml", "--profile", "minimal")
    refused = ("sync-org", "--org-role", account["id"], "--external-id-file", command.external, "--json")
    before = simulation.aws.get("counters")["operations"]
    ended = command.run(*refused, ok=(2,))
    assert "upgrade-profile" in ended.stderr and simulation.aws.get("counters")["operations"] == before
    command.run("upgrade-profile", account["id"], "--profile", "organisation")
    assert command.sync(account["id"], "--dry-run")["accounts"] == len(members)
    command.run("pause", account["id"])
    for role in (account["id"], account["role_arn"]):
        ended = command.run("sync-org", "--org-role", role, "--external-id-file", command.external, ok=(2,))
        assert "paused" in ended.stderr and account["role_arn"] not in ended.stderr


def test_what_is_switched_off_is_not_called(simulation, tmp_path):
    account, _ = simulation.manager()
    command = simulation.command
    command.run("import", tmp_path / "accounts.toml")
    subprocess.run([command.fleetscan, "switch", "off", "organizations:ListPolicies", "--reason", "AWS asked"], env=command.environment, check=True)
    before = simulation.aws.get("counters")["operations"].get("organizations:ListPolicies")
    found = command.sync(account["id"], "--dry-run", ok=(3,))
    assert any("AWS asked" in gap for gap in found["gaps"])
    assert simulation.aws.get("counters")["operations"].get("organizations:ListPolicies") == before


@pytest.mark.long
def test_a_suspended_account_is_told_apart_from_one_that_took_its_role_away(fleetscan, tmp_path):
    """AWS denies AssumeRole alike in both: what tells them apart is the organisation."""
    calls = ("DescribeOrganization=1", "ListRoots=1", "ListAccountsForParent=3", "ListOrganizationalUnitsForParent=0", "ListPolicies=0")
    world = f"lambda:ListFunctions=3,{','.join(f'organizations:{call}' for call in calls)};regions=1"
    team = fleet.Fleet(fleetscan, tmp_path, ("--accounts", "6", "--seed", "5", "--limits", "off", "--world", world))
    team.scope = ("--services", "lambda", "--regions", "us-east-1")
    try:
        manager = team.aws.accounts[0]
        client = team.aws.client(manager, "organizations", "us-east-1")
        member = client.list_accounts_for_parent(ParentId=client.list_roots()["Roots"][0]["Id"])["Accounts"][0]["Id"]
        suspended, leaver = team.aws.accounts[1]["id"], team.aws.accounts[2]["id"]
        said = {"Status": "SUSPENDED", "State": "SUSPENDED"}

        def change(text):
            """One of the simulated organisation's members is a simulated account."""
            answer = json.loads(text)
            for one in answer.get("Accounts", []):
                if one["Id"] == member:
                    one.update(said, Id=suspended)
            return json.dumps(answer).encode()

        between = Between(team.aws.url, "ListAccountsForParent", change=change)
        (tmp_path / "id").write_text("one-for-{account}-and-all")

        def sync():
            team.environment["AWS_ENDPOINT_URL"] = between.url
            found = team.json("accounts", "sync-org", "--org-role", manager["id"], "--external-id-file", tmp_path / "id", "--ou", "/Nowhere", "--yes")
            team.environment["AWS_ENDPOINT_URL"] = team.aws.url
            return [(one["id"], one["after"]["standing"]) for one in found["marked"]]

        team.led()
        team.worker("worker-1")
        team.ended(team.scan())
        assert sync() == [(suspended, "suspended")]
        shown = team.json("accounts", "show", suspended)
        assert shown["status"] == "active" and shown["organisation"]["standing"] == "suspended", "marked by its organisation, and by nothing else"
        for account in (suspended, leaver):
            team.aws.do("delete_role", account=account)
        scan = team.scan()
        assert team.ended(scan)["state"] == "finished"
        told = {account: team.json("accounts", "show", account) for account in (suspended, leaver)}
        assert {one["status"] for one in told.values()} == {"revoked"}
        assert told[suspended]["evidence"]["organisation"] == "suspended in the organisation"
        assert "organisation" not in told[leaver]["evidence"] and told[leaver]["evidence"]["tries"] == "2"
        reasons = {cell["account"]: cell["error"] for cell in team.results(scan).ledger if cell["outcome"] == "revoked"}
        assert reasons == {
            suspended: "the role no longer lets us in: the account is suspended in the organisation",
            leaver: "the role no longer lets us in",
        }
        events = {event["data"]["account"]: event["data"]["evidence"].get("organisation") for event in team.json("events", "list", "--type", "account.revoked")}
        assert events == {suspended: "suspended in the organisation", leaver: None}
        assert "suspended in the organisation" in team.run("accounts", "show", suspended)
        # AWS lets it work again.
        said.update(Status="ACTIVE", State="ACTIVE")
        assert sync() == [(suspended, "active")]
        team.aws.do("restore_role", account=suspended)

        def is_back():
            team.ended(team.scan())
            return team.json("accounts", "show", suspended)["status"] == "active"

        servers.until(is_back)
        between.end()
    finally:
        team.end()


def test_bad_input_says_what_to_mend(fleetscan, tmp_path):
    command = Command(fleetscan, tmp_path, "http://127.0.0.1:1", "a", "b")
    (tmp_path / "short").write_text("short")
    for flags, word in [
        (("--org-role", "nonsense", "--external-id-file", command.external), "--org-role"),
        (("--org-role", "111122223333", "--external-id-file", command.external), "not connected"),
        (("--org-role", "111122223333", "--external-id-file", tmp_path / "short"), "5 characters"),
        (("--org-role", "111122223333", "--external-id-file", tmp_path / "none"), "no ExternalId file"),
        (("--org-role", "111122223333", "--external-id-file", command.external, "--ou", "Workloads"), "/Workloads"),
        (("--org-role", "111122223333", "--external-id-file", command.external, "--role-name", "a b"), "SecurityV0ReadOnly"),
    ]:
        ended = command.run("sync-org", *flags, ok=(2,))
        assert word in ended.stderr, ended.stderr
