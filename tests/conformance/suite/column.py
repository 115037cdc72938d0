"""One server with one app: every row, sent to it directly, through the naive proxy and through the gateway."""

import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from . import http1, naive, rows, verdict
from .gateway import Gateway
from .processes import PATIENCE, Failure
from .rows import Headers, Row, Sender
from .servers import Backend

WAYS = ("direct", "naive", "gateway")


@dataclass
class Count:
    """Of so many requests so many reached the app, and so many leaked."""

    sent: int = 0
    reached: int = 0
    leaked: int = 0

    def __add__(self, other):
        return Count(self.sent + other.sent, self.reached + other.reached, self.leaked + other.leaked)


@dataclass
class Result:
    """What a column counted, by family and way; and each leak of the gateway, told."""

    server: object
    counts: dict = field(default_factory=lambda: defaultdict(Count))
    leaks: list = field(default_factory=list)
    seconds: float = 0


def run(server):
    began = time.monotonic()
    result = Result(server)
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        scratch = Path(scratch)
        with Running() as running:
            backend = running.add(Backend(server, scratch))
            proxy = running.add(naive.Naive(backend.port))
            gateway = running.add(Gateway(backend.port, scratch))
            backend.take_notes()
            for way in ways(backend, proxy, gateway):
                way.check_control(result)
                for row in rows.load():
                    way.send(row, result)
                way.check_control(result)
    result.seconds = time.monotonic() - began
    return result


class Running:
    """What is stopped in the end, the last first."""

    def __enter__(self):
        self.started = []
        return self

    def add(self, one):
        self.started.append(one)
        return one

    def __exit__(self, *_):
        for one in reversed(self.started):
            one.stop()


def ways(backend, proxy, gateway):
    """Each way to the app: by whom, with which session, over which protocol."""
    def bytes_to(port):
        return lambda row, sender: send(row.http1(sender), lambda message: http1.exchange(port, message))

    def over_http1(row, sender):
        return send(row.http1(sender), gateway.over_http1)

    def over_http2(row, sender):
        return send(row.http2(sender), gateway.over_http2)

    yield Way("direct", backend, bytes_to(backend.port), Sender(f"127.0.0.1:{backend.port}", None))
    for token in (None, naive.TOKEN):
        identity = naive.IDENTITY if token else None
        yield Way("naive", backend, bytes_to(proxy.port), Sender(f"127.0.0.1:{proxy.port}", token), identity)
    for token in (None, gateway.token):
        identity = gateway.identity if token else None
        for protocol in (over_http1, over_http2):
            yield Way("gateway", backend, protocol, Sender(gateway.host, token), identity)


def send(message, how):
    """Whether there was anything to send."""
    if message is None:
        return False
    how(message)
    return True


@dataclass
class Way:
    name: str
    backend: Backend
    exchange: object
    sender: Sender
    identity: dict | None = None

    def send(self, row, result):
        if row.brings_token and not self.sender.token:
            return
        if not self.exchange(row, self.sender):
            return
        self.backend.process.check()
        notes = self.backend.take_notes()
        leaks = verdict.leaks(notes, row, self.identity, self.sender.token)
        result.counts[row.family, self.name] += Count(1, bool(notes), bool(leaks))
        self.tell(result, row, leaks)

    def tell(self, result, row, leaks):
        if leaks and self.name == "gateway":
            who = "with a session" if self.identity else "anonymous"
            result.leaks.append(f"{row.family}: {row.shown}, {who}, {self.exchange.__name__}: {'; '.join(leaks)}")

    def check_control(self, result):
        """A table of zeros would prove nothing if nothing came through: a plain request must, and soon."""
        plain = Headers("control", "a plain request", "exactly", lines=("X-Plain: 1",))
        late = Row("control", "what came late of a row before")
        self.exchange(plain, self.sender)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for note in self.backend.take_notes():
                came = "HTTP_X_PLAIN" in note.get("meta", {})
                leaks = verdict.leaks([note], plain if came else late, self.identity, self.sender.token)
                self.tell(result, plain if came else late, leaks)
                if came and leaks:
                    raise Failure(f"{self.name}: of a plain request the app is told {leaks}")
                if came:
                    return
            time.sleep(0.05)
        raise Failure(f"{self.name}: a plain request does not reach the app\n{self.backend.process.said()}")
