"""The coordinator's live page and its API, on a fleet with a scan under way, in a browser and for programs."""

import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import browser
import fleet
import servers

WORLD = ("--accounts", "12", "--seed", "7", "--latency-ms", "40", "--limits", "off")
TOKEN = "a-token-that-is-long-enough-0123456789"
# What a customer might call an account.
HOSTILE = "<img src=x onerror=alert(1)>\"'&</td><script>alert(2)</script>"


class Site:
    """A coordinator that listens, and a browser's view of it."""

    def __init__(self, team, name, *flags):
        self.port = servers.free_port()
        team.coordinator(name, "--listen", str(self.port), *flags)
        servers.until(lambda: servers.answers(self.port), 30)
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, path, method="GET", headers=None, body=None):
        """Status, headers and text; follows nothing."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        link.request(method, path, body=body, headers=headers or {})
        answer = link.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def json(self, path, **more):
        status, headers, text = self.ask(f"/api/v1/{path}", **more)
        assert status == 200, text
        assert headers["content-type"] == "application/json"
        return json.loads(text)


@pytest.fixture(scope="module")
def world(fleetscan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    team = fleet.Fleet(fleetscan, folder, WORLD)
    try:
        text = (folder / "accounts.toml").read_text()
        first = re.search(r'^name\s*=.*$', text, re.M).group(0)
        (folder / "accounts.toml").write_text(text.replace(first, "name = " + json.dumps(HOSTILE), 1))
        team.connect()
        team.site = Site(team, "coordinator-1")
        team.guarded = Site(team, "coordinator-2", "--token-file", token_file(folder))
        for name in ("worker-1", "worker-2"):
            team.worker(name)
        servers.until(lambda: sum(len(w["shards"]) for w in team.json("workers")) == team.shards, 30)
        team.first = team.scan("--services", "lambda,sns")
        assert team.ended(team.first)["state"] == "finished"
        team.now = team.scan()
        team.until_done(team.now, 60)
        # Each coordinator looks at the fleet every two seconds.
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for site in (team.site, team.guarded):
            servers.until(lambda: any(scan["id"] == team.now for scan in site.json("overview", headers=bearer)["scans"]), 30)
        yield team
    finally:
        team.end()


def token_file(folder):
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="module")
def site(world):
    return world.site


@pytest.fixture(scope="module")
def guarded(world):
    return world.guarded


def test_the_page_shows_the_scan_the_workers_and_the_accounts(world, site):
    servers.until(lambda: len(site.json("overview")["history"]) > 2, 30)
    status, headers, text = site.ask("/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    for word in (world.now, world.first, "worker-1", "worker-2", "<svg", "/accounts?status=active"):
        assert word in text, word
    assert "http://" not in text and "https://" not in text, "nothing from outside"
    assert " style=" not in text and "onclick" not in text, "nothing that the policy forbids"


def test_every_answer_carries_the_headers_that_keep_it_safe(site):
    for path in ("/", "/accounts", "/api/v1/overview", "/assets/live.js", "/nowhere", "/api/v1/nowhere"):
        _, headers, _ = site.ask(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path


def test_a_hostile_name_is_only_a_name(world, site):
    found = site.json("accounts?q=onerror")["accounts"]
    assert [one["name"] for one in found] == [HOSTILE]
    for path in ("/accounts", "/accounts?q=onerror", f"/accounts/{found[0]['id']}", "/accounts?q=%22%3E%3Cscript%3Ealert(3)%3C/script%3E"):
        status, _, text = site.ask(path)
        assert status == 200
        assert not re.search(r"<img|<script>|onerror=alert\(1\)>(?!\s*)", text.replace("&lt;img src=x onerror=alert(1)&gt;", "")), path


def test_an_account_has_its_history_and_coverage(world, site):
    account = next(a for a in site.json("accounts?status=active")["accounts"])
    told = site.json(f"accounts/{account['id']}")
    assert told["history"] and told["history"][0]["to"] == "active"
    cells = told["coverage"]["cells"]
    assert {c["service"] for c in cells} >= {"lambda", "sns"} and len(cells) > 20, "the scan under way has this account"
    assert {c["outcome"] for c in cells} & {"complete", "pending"}
    _, _, text = site.ask(f"/accounts/{account['id']}")
    assert "Coverage in scan" in text and "us-east-1" in text


def test_what_is_secret_is_nowhere(world, site):
    secrets = [a[key] for a in world.aws.accounts for key in ("role_arn", "external_id")]
    pages = ["/", "/accounts", "/api/v1/overview", "/api/v1/accounts?limit=1000", "/metrics"]
    pages += [f"/api/v1/accounts/{a['id']}" for a in world.aws.accounts] + [f"/accounts/{a['id']}" for a in world.aws.accounts]
    for path in pages:
        text = site.ask(path)[2]
        assert not any(secret in text for secret in secrets), path


def test_events_bring_what_changes(world, site):
    link = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    link.request("GET", "/events")
    answer = link.getresponse()
    assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
    events, text = [], ""
    while len(events) < 2:
        text += answer.readline().decode()
        if text.endswith("\n\n"):
            events.append(text)
            text = ""
    assert all(line.startswith("data: ") for event in events for line in event.strip().splitlines())
    assert all("cells done" in event or "No scan is under way" in event for event in events)
    link.close()


def test_without_a_token_it_is_read_only_and_for_this_machine(site, world):
    assert site.ask(f"/api/v1/scans/{world.now}/cancel", "POST")[0] == 403
    assert site.ask("/", "DELETE")[0] == 405
    assert site.ask("/", headers={"Host": "evil.example"})[0] == 403, "a name that another site points here"


def test_a_token_is_asked_for_and_opens(guarded, site, world):
    status, headers, _ = guarded.ask("/api/v1/overview")
    assert status == 401 and headers["www-authenticate"] == "Bearer"
    assert "password" in guarded.ask("/")[2] and world.now not in guarded.ask("/")[2]
    assert guarded.ask("/api/v1/overview", headers={"Authorization": f"Bearer {TOKEN[:-1]}"})[0] == 401
    assert guarded.json("overview", headers={"Authorization": f"Bearer {TOKEN}"})["scans"], "one that stands by shows the same"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert guarded.ask("/login", "POST", form, "token=wrong")[0] == 401
    status, headers, _ = guarded.ask("/login", "POST", form, f"token={TOKEN}")
    assert status == 303 and "HttpOnly" in headers["set-cookie"] and TOKEN not in headers["set-cookie"]
    cookie = {"Cookie": headers["set-cookie"].split(";")[0]}
    assert world.now in guarded.ask("/", headers=cookie)[2]
    account = guarded.json("accounts?status=active", headers=cookie)["accounts"][-1]["id"]
    forged = {**cookie, "Sec-Fetch-Site": "cross-site"}
    assert guarded.ask(f"/api/v1/accounts/{account}/pause", "POST", forged)[0] == 403
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for act, status in (("pause", "paused"), ("resume", "active")):
        code, _, text = guarded.ask(f"/api/v1/accounts/{account}/{act}", "POST", bearer)
        assert code == 200 and json.loads(text)["status"] == status, text
    assert guarded.ask(f"/api/v1/accounts/{account}/resume", "POST", bearer)[0] == 409
    assert guarded.ask("/metrics")[0] == 200, "Prometheus has no token"


def test_the_api_is_what_its_document_says(site, guarded, tmp_path):
    tool = pathlib.Path(sys.executable).with_name("schemathesis")
    common = ["--checks", "all", "--max-examples", "25", "--generation-deterministic", "--workers", "1", "--phases", "examples,coverage,fuzzing", "--exclude-checks", "unsupported_method,ignored_auth", "--exclude-path-regex", "(cancel|pause|resume)$"]
    done = subprocess.run([tool, "run", f"{site.url}/api/v1/openapi.json", "--url", f"{site.url}/api/v1", *common], capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


BROWSER = shutil.which("chromium")
LOOKS = [("light", "1280,1600", []), ("dark", "1280,1600", ["--blink-settings=preferredColorScheme=0"]), ("phone", "390,1900", [])]


def shoot(url, target, size, *flags):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1", f"--user-data-dir={target}.profile", f"--window-size={size}", "--timeout=5000", f"--screenshot={target}", *flags, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert target.exists(), done.stderr
    return done.stderr


@pytest.mark.parametrize("name, size, flags", LOOKS, ids=[look[0] for look in LOOKS])
def test_a_browser_draws_it(world, site, tmp_path, name, size, flags):
    keep = pathlib.Path(os.environ.get("FLEETSCAN_SCREENSHOTS", tmp_path))
    keep.mkdir(parents=True, exist_ok=True)
    account = site.json("accounts?q=onerror")["accounts"][0]["id"]
    for page, path in (("fleet", "/"), ("accounts", "/accounts"), ("account", f"/accounts/{account}")):
        target = keep / f"{page}-{name}.png"
        told = shoot(f"{site.url}{path}", target, size, "--enable-logging=stderr", "--log-level=0", *flags)
        assert "CONSOLE" not in told, told[-2000:]
        assert target.stat().st_size > 10_000, "an empty picture"


@pytest.fixture
def tab(tmp_path):
    """Opens tabs, and closes them; none of them may have said anything on its console."""
    tabs = []

    def opened(url, **look):
        tabs.append(browser.Browser(tmp_path / f"profile-{len(tabs)}", **look))
        tabs[-1].open(url)
        return tabs[-1]

    yield opened
    for one in tabs:
        one.end()
    assert not [said for one in tabs for said in one.told]


def test_what_changes_leaves_focus_and_scrolling_alone(site, tab):
    page = tab(f"{site.url}/", width=390, height=844)
    page.until("document.getElementById('connection').textContent === 'live'")
    assert page.do("document.documentElement.scrollWidth") <= 390, "the page itself is wider than a phone"
    page.do("""
        held = [...document.querySelectorAll('#live .wide')].find((one) => one.scrollWidth > one.clientWidth + 30);
        held.scrollLeft = 30;
        link = document.querySelector('#live a[href="/accounts?status=active"]');
        link.focus();
        before = document.getElementById('live').textContent;
    """)
    for _ in range(2):
        page.until("before !== document.getElementById('live').textContent")
        page.do("before = document.getElementById('live').textContent")
    assert page.do("document.activeElement === link && link.isConnected"), "whoever uses the keyboard is thrown back"
    assert page.do("held.isConnected && held.scrollLeft") == 30, "a table jumps back under one's finger"


def test_it_says_so_when_the_coordinator_is_gone(world, tab):
    site = Site(world, "coordinator-3")
    page = tab(f"{site.url}/")
    page.until("document.getElementById('connection').textContent === 'live'")
    world.kill("coordinator-3")
    page.until("document.getElementById('live').classList.contains('stale')")
    assert "does not answer" in page.do("document.getElementById('connection').textContent")
    # What the browser itself says of that is no fault of the page's.
    page.told.clear()


def test_a_person_signs_in_and_leaves_an_account_alone_for_a_while(guarded, tab):
    account = guarded.json("accounts?status=active", headers={"Authorization": f"Bearer {TOKEN}"})["accounts"][0]["id"]
    page = tab(f"{guarded.url}/")
    page.do(f"document.querySelector('input[name=token]').value = {TOKEN!r}; document.querySelector('form button').click()")
    page.until("document.getElementById('live') !== null")
    # That nothing was shown before is what the console complains of.
    page.told.clear()
    page.open(f"{guarded.url}/accounts/{account}")
    for act, status in (("pause", "paused"), ("resume", "active")):
        page.do(f"document.querySelector('form[action$={act}] button').click()")
        page.until(f"document.querySelector('h2 .tag')?.textContent === {status!r} && location.pathname === '/accounts/{account}'")


# Texts whose contrast with what is behind them is below WCAG 2.2's AA (4.5, or 3 where they are large).
PALE = """
    (() => {
        const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const parts = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = (text) => { const [r, g, b] = parts(text).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = (one) => {
            for (; one; one = one.parentElement) {
                const colour = getComputedStyle(one).backgroundColor;
                if ((parts(colour)[3] ?? 1) > 0) return colour;
            }
            return getComputedStyle(document.body).backgroundColor;
        };
        const found = [];
        for (const one of document.querySelectorAll('body *')) {
            if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
            const style = getComputedStyle(one), [a, b] = [light(style.color), light(behind(one))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
            if (ratio < (large ? 3 : 4.5)) found.push([one.textContent.trim().slice(0, 40), style.color, ratio.toFixed(2)]);
        }
        return found;
    })()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read_and_every_control_reached(world, site, tab, dark):
    account = site.json("accounts?status=degraded")["accounts"] or site.json("accounts")["accounts"]
    page = tab(f"{site.url}/", dark=dark)
    for path in ("/", "/accounts", f"/accounts/{account[0]['id']}"):
        page.open(f"{site.url}{path}")
        assert page.do("matchMedia('(prefers-color-scheme: dark)').matches") is dark
        assert page.do(PALE) == [], path
        controls = page.do("document.querySelectorAll('a, button, input, select').length")
        seen = 0
        for _ in range(min(controls, 12)):
            page.press("Tab", 9)
            seen += page.do("document.activeElement.matches('a, button, input, select') && getComputedStyle(document.activeElement).outlineStyle !== 'none'")
        assert seen >= min(controls, 12) - 1, f"{path}: the keyboard reaches {seen} of {controls}, or nobody sees where it is"


def test_an_accounts_page_stays_short_however_many_cells_have_the_same_reason(world, site):
    gone = site.json("accounts?status=revoked")["accounts"]
    assert gone, "the simulated world has a role that is gone"
    cells = site.json(f"accounts/{gone[0]['id']}")["coverage"]["cells"]
    text = site.ask(f"/accounts/{gone[0]['id']}")[2]
    reasons = {(c["outcome"], c["error"]) for c in cells if c["error"] or c["denied"]}
    assert len(cells) > 20 and text.count("<tr>") < 20 + len(reasons) + len({c["region"] for c in cells}) + 10


def test_the_terminal_shows_the_fleet_as_it_shows_one_machine(world):
    scan = world.scan("--services", "ec2,iam")
    command = [world.fleetscan, "scans", "watch", scan, "--json"]
    done = subprocess.run(command, env=world.environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 3 and json.loads(done.stdout)["state"] == "finished"
    # Without a terminal there is a line every five seconds; one that is over before has none.
    for line in done.stderr.splitlines():
        assert re.search(r"cells.*calls/s.*throttled.*resources|checking results", line), line
