"""A receiver of events: an HTTP server in Python that checks signatures by itself, and misbehaves when told to."""

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import threading
import time

from servers import free_port


def new_secret():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret, id, timestamp, body):
    """As the Standard Webhooks specification says, and not as any library does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()


class Listener:
    """Takes events. `answers`: what it says to the next ones, a status or a function; then 204."""

    def __init__(self, secret=None, answers=(), port=None):
        self.secret, self.answers = secret or new_secret(), list(answers)
        self.port = port or free_port()
        # All that came, signed as it should be or not, in order: (status said, id, event).
        self.heard, self.unsigned = [], []
        self.server = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks/planted-path"

    def start(self):
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = listener.take(self.path, self.headers, body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"http://127.0.0.1:{listener.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def take(self, path, headers, body):
        id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        expected = signature(self.secret, id, timestamp, body)
        fresh = abs(time.time() - int(timestamp)) < 300
        signed = any(hmac.compare_digest(expected, one) for one in headers["webhook-signature"].split())
        event = json.loads(body)
        if not (signed and fresh and path == "/hooks/planted-path" and event["id"] == id):
            self.unsigned.append((path, dict(headers), body))
            return 401
        answer = self.answers.pop(0) if self.answers else 204
        status = answer() if callable(answer) else answer
        self.heard.append((status, id, event))
        return status

    def taken(self):
        """The events that it said yes to, in order, each as often as it was told."""
        return [event for status, _, event in self.heard if 200 <= status < 300]

    def kinds(self):
        """Types with what they are about, of the events it took, each once."""
        seen, kinds = set(), []
        for event in self.taken():
            if event["id"] not in seen:
                seen.add(event["id"])
                kinds.append((event["type"], event["data"].get("account")))
        return kinds
