"""Bad input gets a clear sentence that says what to mend, before any account is touched."""

import http.server
import os
import subprocess
import threading

import accounts
import pytest

SECRET = accounts.EXTERNAL_ID


def run(fleetscan, folder, *args, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    env = {**kept, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), **environment}
    out = [] if "--out" in args else ["--out", str(folder / "out")]
    command = [fleetscan, "scan", *out, "--data", str(folder / "data"), *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def good(folder):
    return accounts.write_file(folder / "good.toml", [accounts.number(0)])


KEYS = {"AWS_ACCESS_KEY_ID": "AKIAHUB", "AWS_SECRET_ACCESS_KEY": "hub"}

MISTAKES = f'''
[[account]]
id = "11112222333"
role_arn = "arn:aws:iam::111122223333:role/R"
external_id = "planted-0123456"
colour = "blue"

[[account]]
id = "111122223333"
role_arn = "arn:aws:iam::999922223333:role/R"
external_id = "{SECRET} with spaces"
regions = ["eu-west-one", "eu-west-9"]

[[account]]
id = "111122223333"
role_arn = "no-arn-{SECRET}"
external_id = "{SECRET * 3}"
'''


def test_every_mistake_of_an_accounts_file_is_named_at_once_with_its_line(fleetscan, tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(MISTAKES)
    ended = run(fleetscan, tmp_path, "--accounts", file)
    assert ended.returncode == 2 and ended.stdout == ""
    for line, word in [(3, "11 digits"), (5, "15 characters"), (6, "colour"), (10, "999922223333"), (11, "character ' '"),
                       (12, "eu-west-one"), (15, "line 9"), (16, "role ARN"), (17, "characters")]:
        assert any(f"bad.toml:{line}:" in text and word in text for text in ended.stderr.splitlines()), (line, word, ended.stderr)
    assert SECRET not in ended.stderr, "an error must not repeat the secret"


def test_a_file_that_is_not_toml_says_where(fleetscan, tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text('[[account]]\nid = "111122223333\n')
    ended = run(fleetscan, tmp_path, "--accounts", file)
    assert ended.returncode == 2 and "bad.toml:2:" in ended.stderr, ended.stderr


def test_a_region_that_is_merely_unknown_is_a_warning(fleetscan, tmp_path, moto):
    file = tmp_path / "accounts.toml"
    file.write_text(good(tmp_path).read_text() + 'regions = ["eu-west-9"]\n')
    ended = run(fleetscan, tmp_path, "--accounts", file, "--services", "sns", AWS_ENDPOINT_URL=moto, **KEYS)
    assert ended.returncode in (0, 3) and "eu-west-9" in ended.stderr, ended.stderr


@pytest.mark.parametrize(("args", "says"), [
    (["--accounts", "no-such-file.toml"], "no-such-file.toml"),
    (["--services", "lamda"], "lambda"),
    (["--regions", "eu_west_1"], "eu-west-1"),
    (["--share", "0"], "share"),
    (["--share", "1.5"], "share"),
])
def test_wrong_usage_says_what_to_write(fleetscan, tmp_path, args, says):
    file = [] if "--accounts" in args else ["--accounts", good(tmp_path)]
    ended = run(fleetscan, tmp_path, *file, *args, **KEYS)
    assert ended.returncode == 2 and says in ended.stderr, ended.stderr


def test_an_output_folder_that_cannot_be_written_is_named(fleetscan, tmp_path):
    (tmp_path / "file").write_text("x")
    ended = run(fleetscan, tmp_path, "--accounts", good(tmp_path), "--out", tmp_path / "file" / "out", **KEYS)
    assert ended.returncode != 0 and "--out" in ended.stderr and str(tmp_path / "file") in ended.stderr, ended.stderr


def test_missing_hub_credentials_say_so(fleetscan, tmp_path):
    ended = run(fleetscan, tmp_path, "--accounts", good(tmp_path))
    assert ended.returncode == 1 and "AWS_PROFILE" in ended.stderr, ended.stderr


def test_an_endpoint_that_does_not_answer_is_named(fleetscan, tmp_path):
    ended = run(fleetscan, tmp_path, "--accounts", good(tmp_path), AWS_ENDPOINT_URL="http://127.0.0.1:1", **KEYS)
    assert ended.returncode == 1 and "http://127.0.0.1:1" in ended.stderr, ended.stderr


EXPIRED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>ExpiredToken</Code>
<Message>The security token included in the request is expired</Message></Error><RequestId>r</RequestId></ErrorResponse>"""


def test_expired_hub_credentials_say_so_and_no_account_is_touched(fleetscan, tmp_path):
    asked = []

    class Sts(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            body = EXPIRED.encode()
            self.send_response(403)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        ended = run(fleetscan, tmp_path, "--accounts", good(tmp_path), AWS_ENDPOINT_URL=url, AWS_SESSION_TOKEN="old", **KEYS)
    finally:
        server.shutdown()
    assert ended.returncode == 1 and "expired" in ended.stderr, ended.stderr
    assert asked and all("GetCallerIdentity" in body for body in asked), "only the hub's own identity may have been asked"
