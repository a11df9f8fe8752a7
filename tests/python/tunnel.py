"""A proxy as companies have them: CONNECT, TLS opened with a private authority's certificates, and a note of who asked for
what. Behind it is whatever HTTP server the test names."""

import datetime
import http.client
import http.server
import ipaddress
import socketserver
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority that nobody knows, and certificates of any host by it."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A private authority")])
        self.certificate = self.make(self.name, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.contexts = {}

    def make(self, name, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number(), now - datetime.timedelta(hours=1), now + datetime.timedelta(days=2))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host):
        if host not in self.contexts:
            key = ec.generate_private_key(ec.SECP256R1())
            try:
                alternative = x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                alternative = x509.DNSName(host)
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
            certificate = self.make(name, key.public_key(), x509.SubjectAlternativeName([alternative]))
            file = self.folder / f"{host}.pem"
            file.write_bytes(
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            self.contexts[host] = context
        return self.contexts[host]


class Tunnel:
    """The proxy. `requests` has (host, user agent, authorization of the proxy) of each request; hosts in `away` are refused,
    and those in `ill` answer 503."""

    def __init__(self, authority, upstream):
        self.authority, self.requests, self.away, self.ill = authority, [], set(), set()
        self.upstream = urllib.parse.urlsplit(upstream)
        tunnel = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            host = None
            proxy_authorization = None

            def log_message(self, *_):
                pass

            def do_CONNECT(self):
                host = self.path.rsplit(":", 1)[0]
                if host in tunnel.away:
                    self.send_error(502)
                    self.close_connection = True
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                self.proxy_authorization = self.headers["proxy-authorization"]
                try:
                    self.connection = tunnel.authority.context(host).wrap_socket(self.connection, server_side=True)
                except (ssl.SSLError, OSError):
                    self.close_connection = True
                    return
                self.host = host
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def forward(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                tunnel.requests.append((self.host, self.headers["user-agent"] or "", self.proxy_authorization))
                if self.host in tunnel.ill:
                    answer, status, headers = b"<Error><Code>ServiceUnavailable</Code></Error>", 503, []
                else:
                    upstream = http.client.HTTPConnection(tunnel.upstream.hostname, tunnel.upstream.port, timeout=30)
                    upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() not in ("connection", "proxy-connection"):
                            upstream.putheader(name, value)
                    upstream.endheaders(body or None)
                    got = upstream.getresponse()
                    answer, status, headers = got.read(), got.status, got.getheaders()
                    upstream.close()
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = forward

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Clients that hang up are no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hosts(self):
        return {host for host, _, _ in self.requests}

    def end(self):
        self.server.shutdown()
        self.server.server_close()
