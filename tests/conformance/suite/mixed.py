"""Answers that get mixed up: attackers whose answers have a body where there is none, beside victims who want their own.

The gateway keeps its connections to the server. What it takes for the next answer would be what the attacker chose: for a
victim somebody else's page, for a login somebody else's identity.
"""

import http.client
import json
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .column import Running
from .gateway import Gateway
from .processes import Failure
from .rows import COOKIE
from .servers import Backend

ATTACKS = {"HEAD": ("HEAD", 200), "204": ("GET", 204), "304": ("GET", 304)}
VICTIMS = 4


@dataclass
class Result:
    server: object
    # What it writes a body to, and whether it keeps connections, when it is asked directly.
    writes: list = field(default_factory=list)
    keeps: bool = False
    asked: int = 0
    failed: int = 0
    foreign: list = field(default_factory=list)
    seconds: float = 0

    @property
    def row(self):
        name = f"{self.server.title}, {self.server.framework}"
        keeps = "yes" if self.keeps else "no"
        return f"| {name} | {', '.join(self.writes) or 'none'} | {keeps} | {self.asked} | {self.failed} | {len(self.foreign)} |"


HEADER = """\
| server and app | writes a body to | keeps connections | exchanges | failed | mixed up |
|---|---|---|---:|---:|---:|"""


def run(job):
    server, exchanges = job
    began = time.monotonic()
    result = Result(server)
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        scratch = Path(scratch)
        with Running() as running:
            backend = running.add(Backend(server, scratch, server.keeps))
            look(backend, result)
            gateway = running.add(Gateway(backend.port, scratch, keepalive="1s"))
            rage(gateway, exchanges, result)
            backend.process.check()
    result.seconds = time.monotonic() - began
    return result


def look(backend, result):
    """What the server does when nobody stands before it."""
    for name, (method, status) in ATTACKS.items():
        answer = ask(backend.port, method, f"/open/poison/{status}")
        if answer.partition(b"\r\n\r\n")[2]:
            result.writes.append(name)
    answers = ask(backend.port, "GET", "/open/own/one", "GET", "/open/own/two")
    result.keeps = b"own one" in answers and b"own two" in answers
    if b"own one" not in answers:
        raise Failure(f"{result.server.slug} does not answer: {answers!r}\n{backend.process.said()}")


def ask(port, *requests):
    """What comes, one request after the other's answer, until the server closes or is silent for a second."""
    answers = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for method, path in zip(requests[::2], requests[1::2]):
                connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                answers += answer(connection)
        except OSError:
            pass
    return answers


def answer(connection):
    whole = b""
    try:
        connection.settimeout(10)
        while part := connection.recv(65536):
            whole += part
            connection.settimeout(1)
    except OSError:
        pass
    return whole


def rage(gateway, exchanges, result):
    lock = threading.Lock()

    def many(count, one):
        client, failed, foreign = Client(gateway), 0, []
        for number in range(count):
            try:
                foreign += one(client, number)
            except (OSError, http.client.HTTPException):
                # No answer is not another's.
                failed += 1
                client.close()
        client.close()
        with lock:
            result.asked += count
            result.failed += failed
            result.foreign += foreign

    def victim(name):
        return lambda client, number: client.own(f"{name}-{number}")

    def attacker(method, status):
        return lambda client, number: client.attack(method, status)

    share = exchanges // VICTIMS
    work = [(share, victim(f"victim-{number}")) for number in range(VICTIMS)]
    work += [(exchanges // len(ATTACKS), attacker(*attack)) for attack in ATTACKS.values()]
    work += [(exchanges // 4, lambda client, number: client.log_in_wrongly())]
    threads = [threading.Thread(target=many, args=part, daemon=True) for part in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Client:
    """One client of the gateway, on a connection that it keeps."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.connection = http.client.HTTPSConnection("localhost", gateway.port, timeout=20, context=gateway.tls)

    def close(self):
        self.connection.close()

    def ask(self, method, path, body=None, headers=()):
        self.connection.request(method, path, body, dict(headers))
        answer = self.connection.getresponse()
        return answer, answer.read()

    def own(self, name):
        """What was foreign in the answer."""
        answer, body = self.ask("GET", f"/open/own/{name}", headers={"Cookie": f"{COOKIE}={self.gateway.token}"})
        if body == f"own {name}".encode():
            return []
        return unless_refused(answer, body)

    def attack(self, method, status):
        answer, body = self.ask(method, f"/open/poison/{status}")
        return [] if answer.status == status and not body else unless_refused(answer, body)

    def log_in_wrongly(self):
        headers = {"Content-Type": "application/json"}
        answer, body = self.ask("POST", "/api/login", json.dumps({"password": "wrong"}), headers)
        if any(COOKIE in value for value in answer.headers.get_all("Set-Cookie", [])):
            return [f"a wrong password made a session: {body!r}"]
        return [] if answer.status == 401 else unless_refused(answer, body)


def unless_refused(answer, body):
    """An error is nobody's answer."""
    if answer.status >= 500:
        raise http.client.HTTPException(f"{answer.status}")
    return [f"{answer.status} {body[:80]!r}"]


def verdicts(results):
    """Why the run is not as it must be."""
    for result in results:
        for foreign in result.foreign[:5]:
            yield f"MIXED UP {result.server.slug}: {foreign}"
        if result.failed * 10 > result.asked:
            yield f"{result.server.slug}: {result.failed} of {result.asked} had no answer, so the run proves little"
    if not any(result.writes and result.keeps for result in results):
        yield "no server that keeps connections writes a body where there is none, so the run proves nothing"
