"""Stands before an HTTP server and keeps what was asked: method, path with its query, and body of each request. What it is
told to answer itself it answers; everything else it hands through."""

import http.client
import http.server
import threading
import time
import urllib.parse


class Recorder:
    def __init__(self, url):
        self.requests = []
        # Path of an object: what is answered in the server's place.
        self.instead = {}
        # Operation, as X-Amz-Target names it: what is answered in the server's place.
        self.operations = {}
        # Seconds that each answer to a GET is held back.
        self.slow = 0
        behind = urllib.parse.urlsplit(url).netloc
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                recorder.requests.append((self.command, urllib.parse.unquote(self.path), body))
                operation = self.headers.get("x-amz-target", "").rsplit(".", 1)[-1]
                planted = recorder.instead.get(urllib.parse.unquote(self.path.split("?")[0])) or recorder.operations.get(operation)
                status, headers, content = planted or self.ask(body)
                time.sleep(recorder.slow if self.command == "GET" else 0)
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def ask(self, body):
                connection = http.client.HTTPConnection(behind, timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                finally:
                    connection.close()

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
