"""A proxy as one writes it in an afternoon. It does the obvious, and the table shows that the obvious is not enough.

It takes the identity headers out of a request by their names, refuses paths that begin with /admin without the role,
adds the identity of the session that the cookie names, and passes everything else on as it came.
"""

import socket
import threading
from http.cookies import CookieError, SimpleCookie

from .rows import COOKIE

TOKEN = "naivenaivenaivenaivenaivenaivenaivenaivenai"
IDENTITY = {"X-Customer-ID": "42", "X-User-ID": "7", "X-User-Role": "member", "X-Session-ID": "naive"}
STRIPPED = {name.lower().encode() for name in IDENTITY}
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Naive:
    def __init__(self, backend_port):
        self.backend_port = backend_port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            client.settimeout(5)
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    part = client.recv(65536)
                    if not part:
                        return
                    request += part
                head, body = request.split(b"\r\n\r\n", 1)
                head = rewritten(head)
                if head is None:
                    client.sendall(REFUSED)
                    return
                with socket.create_connection(("127.0.0.1", self.backend_port), timeout=5) as backend:
                    backend.sendall(head + b"\r\n\r\n" + body)
                    threading.Thread(target=pump, args=(client, backend), daemon=True).start()
                    pump(backend, client)
            except OSError:
                pass


def rewritten(head):
    """The head as the backend gets it; None if it is refused."""
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) > 1 and words[1].startswith(b"/admin"):
        return None
    kept = [line for line in lines if line.split(b":")[0].lower() not in STRIPPED]
    if has_session(lines):
        kept += [f"{name}: {value}".encode() for name, value in IDENTITY.items()]
    return b"\r\n".join([first, *kept])


def has_session(lines):
    jar = SimpleCookie()
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"cookie":
            try:
                jar.load(value.strip().decode("latin-1"))
            except CookieError:
                pass
    return COOKIE in jar and jar[COOKIE].value == TOKEN


def pump(source, sink):
    try:
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
