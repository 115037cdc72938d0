"""The rows of the table: `rows.toml`, and what each is on the wire."""

import tomllib
from dataclasses import dataclass, field

from .environments import HERE

COOKIE = "__Host-session"
ECHO = "/maybe/echo"


@dataclass(frozen=True)
class Sender:
    """Who sends a row: to which authority, and with which session token, if any."""

    host: str
    token: str | None

    def fill(self, text):
        cookie = f"Cookie: {COOKIE}={self.token}\r\n" if self.token else ""
        smuggled = f"GET /admin/secret HTTP/1.1\r\nHost: {self.host}\r\nX-Customer-ID: evil\r\nConnection: close\r\n\r\n"
        values = {"host": self.host, "cookie": cookie, "token": self.token, "smuggled": smuggled, "length": len(smuggled)}
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


@dataclass(frozen=True)
class Stream:
    """A request of HTTP/2."""

    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)


def stream(sender, fields, body="", trailers=()):
    """Fills in the row, and the pseudo-fields that it does not give."""
    given = [(sender.fill(name), sender.fill(value)) for name, value in fields]
    usual = [(":method", "GET"), (":scheme", "https"), (":authority", sender.host), (":path", ECHO)]
    names = {name for name, _ in given}
    first = [pair for pair in usual if pair[0] not in names]
    first += [pair for pair in given if pair[0] in dict(usual)]
    if sender.token:
        first.append(("cookie", f"{COOKIE}={sender.token}"))
    rest = [pair for pair in given if pair[0] not in dict(usual)]
    return Stream(encoded(first + rest), sender.fill(body).encode("latin-1"), encoded(trailers))


def encoded(pairs):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


@dataclass(frozen=True)
class Row:
    """One attempt. `session` says what a request with a valid token is to the app if it gets there:
    `exactly` that session, `either` that session or nobody, or `nobody`."""

    family: str
    shown: str
    session: str = "either"
    # Cookie rows bring the token themselves, in the place that they are about.
    brings_token: bool = False
    # What the app may see as Cookie.
    app_cookie: str | None = None

    def http1(self, sender):
        """The bytes over HTTP/1.1; None if the row has none."""
        return None

    def http2(self, sender):
        """The stream over HTTP/2; None if the row has none."""
        return None


def request(sender, target, lines):
    names = {line.split(":")[0].strip().lower() for line in lines}
    close = [] if "connection" in names else ["Connection: close"]
    text = "\r\n".join([f"GET {target} HTTP/1.1", "Host: {host}", *close]) + "\r\n{cookie}"
    return sender.fill(text + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode("latin-1")


@dataclass(frozen=True)
class Headers(Row):
    target: str = ECHO
    lines: tuple = ()

    def http1(self, sender):
        return request(sender, self.target, self.lines)

    def http2(self, sender):
        if not all(":" in line for line in self.lines):
            return None
        split = [line.split(":", 1) for line in self.lines]
        fields = [(name.lower(), value.removeprefix(" ")) for name, value in split]
        return stream(sender, [(":path", self.target), *fields])


@dataclass(frozen=True)
class Cookies(Headers):
    """The same, without a Cookie line of the sender's."""

    def bare(self, sender):
        lines = tuple(sender.fill(line) for line in self.lines)
        return Headers(self.family, self.shown, target=self.target, lines=lines), Sender(sender.host, None)

    def http1(self, sender):
        row, bare = self.bare(sender)
        return row.http1(bare)

    def http2(self, sender):
        row, bare = self.bare(sender)
        return row.http2(bare)


@dataclass(frozen=True)
class Path(Row):
    target: str = ""

    def http1(self, sender):
        return request(sender, self.target, ())

    def http2(self, sender):
        return stream(sender, [(":path", self.target)])


@dataclass(frozen=True)
class Message(Row):
    text: str = ""

    def http1(self, sender):
        return sender.fill(self.text).encode("latin-1")


@dataclass(frozen=True)
class Fields(Row):
    fields: tuple = ()
    body: str = ""
    trailers: tuple = ()

    def http2(self, sender):
        return stream(sender, self.fields, self.body, self.trailers)


def of_headers(family, row):
    return Headers(family["family"], repr(row), "exactly", target=family.get("target", ECHO), lines=tuple(row))


def of_cookies(family, row):
    session = "exactly" if row["session"] else "nobody"
    return Cookies(
        family["family"], repr(row["lines"]), session, True, row.get("app"), lines=tuple(row["lines"])
    )


KINDS = {
    "headers": of_headers,
    "paths": lambda family, row: Path(family["family"], repr(row), target=row),
    "cookies": of_cookies,
    "messages": lambda family, row: Message(family["family"], repr(row), text=row),
    "streams": lambda family, row: Fields(
        family["family"], repr(row), fields=tuple(map(tuple, row["fields"])), body=row.get("body", ""),
        trailers=tuple(map(tuple, row.get("trailers", ()))),
    ),
}


def load():
    """Every row, family by family, in the order of the file."""
    with open(HERE / "rows.toml", "rb") as file:
        sections = tomllib.load(file)
    return [KINDS[kind](family, row) for kind, families in sections.items() for family in families for row in family["rows"]]
