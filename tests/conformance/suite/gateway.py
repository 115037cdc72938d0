"""The gateway under test: in production mode, over TLS, with its defaults wherever it has one."""

import base64
import hashlib
import os
import re
import ssl
import subprocess
import time

from . import http1, http2
from .environments import ROOT
from .processes import PATIENCE, Failure, Process, free_port
from .rows import COOKIE

BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "session-gateway"
PROGRAM = os.environ.get("SESSION_GATEWAY_TEST_BIN") or BUILT

CONFIGURATION = """\
[server]
listen = "127.0.0.1:{port}"
public_url = "https://localhost:{port}"
tls = {{ cert = "tls.crt", key = "tls.key" }}
drain_delay = "0s"
drain_timeout = "0s"
[upstream]
url = "http://127.0.0.1:{backend}"
keepalive = "{keepalive}"
response_timeout = "10s"
[store]
embedded = "sessions.redb"
[login]
path = "/api/login"
tenant = ["/user/customer_id"]
user = ["/user/user_id"]
role = ["/user/role"]
[[routes]]
match = ["/open/*"]
auth = "public"
[[routes]]
match = ["/maybe/*"]
auth = "optional"
[[routes]]
match = ["/admin/*"]
roles = ["admin"]
[admin]
listen = "127.0.0.1:{admin}"
[audit]
file = "audit.jsonl"
"""


def make_certificate(scratch):
    """One certificate for all gateways: `tls.crt` and `tls.key`."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "tls.key", "-out", "tls.crt"],
        cwd=scratch, capture_output=True, text=True, umask=0o077,
    )
    if made.returncode != 0:
        raise Failure(f"openssl could not make a certificate:\n{made.stderr}")


class Gateway:
    def __init__(self, backend_port, scratch, keepalive="off"):
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        text = CONFIGURATION.format(port=self.port, backend=backend_port, keepalive=keepalive, admin=free_port())
        (scratch / "gateway.toml").write_text(text)
        make_certificate(scratch)
        command = [PROGRAM, "serve", "--config", "gateway.toml"]
        self.process = Process("gateway", command, scratch, {"PATH": os.environ["PATH"]}, self.port)
        self.tls = ssl.create_default_context(cafile=scratch / "tls.crt")
        self.http2 = http2.Client(self.port, scratch / "tls.crt")
        self.token = self.log_in()

    def log_in(self):
        head = f"POST /api/login HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\nContent-Length: 2\r\n"
        # It is no row: on a busy machine the server behind may need longer for its first answer than a row may.
        cookie, deadline = None, time.monotonic() + PATIENCE
        while not cookie and time.monotonic() < deadline:
            answer = self.over_http1(f"{head}Content-Type: application/json\r\n\r\n{{}}".encode())
            cookie = re.search(rf"(?im)^set-cookie: {COOKIE}=([\w-]{{43}});".encode(), answer)
        if not cookie:
            raise Failure(f"no session came of the login: {answer!r}\n{self.process.said()}")
        return cookie.group(1).decode()

    @property
    def identity(self):
        """What an app must be told for the session, whatever the client says."""
        sid = base64.urlsafe_b64encode(hashlib.sha256(self.token.encode()).digest()[:16]).decode().rstrip("=")
        return {"X-Customer-ID": "42", "X-User-ID": "7", "X-User-Role": "member", "X-Session-ID": sid}

    def over_http1(self, message):
        return http1.exchange(self.port, message, self.tls)

    def over_http2(self, stream):
        return self.http2.exchange(stream)

    def stop(self):
        self.http2.close()
        self.process.stop()
