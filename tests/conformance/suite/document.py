"""docs/conformance.md: the table, and what differs from the committed one in what matters."""

import re

from . import rows
from .column import WAYS, Count
from .environments import ROOT

PATH = ROOT / "docs" / "conformance.md"

HEAD = """\
# Conformance

What apps behind real servers see of what clients claim. Every row of [tests/conformance/rows.toml](../tests/conformance/rows.toml) is sent to a Flask and a Django app on each server:
directly, through a naive proxy, and through the gateway. The naive proxy ([naive.py](../tests/conformance/suite/naive.py)) strips the identity headers by name, refuses paths that begin
with `/admin`, adds the session's identity and passes on the rest. The gateway runs with its defaults in production mode, over HTTP/1.1 (exact bytes) and HTTP/2, both over TLS. Through both proxies each
row is sent without a session and with a valid session of another tenant, which may not see `/admin/secret` either.

A **leak** is judged by what the app was told, not by what the client was answered: an identity header with any value but the session's (or none, or only in part, where there is a session), a view behind
`/admin/secret` that ran, an address, host, method, path or mount point that the client chose where apps believe the proxy, or the gateway's own cookie.

Each cell says how many requests leaked: through the naive proxy → through the gateway.

"""

FOOT = """
Made by `make conformance`, which also says which rows leaked; `make conformance CHECK=1` fails when the gateway leaks anywhere, when the naive proxy
does not leak on some server (the table would prove nothing), or when this file says something else. It is part of CI. Counts of leaks through the naive proxy may vary by a few with timing.

Not counted here: a CORS preflight passes to the app without identity, by design. An app must not do work for `OPTIONS`; see [backends.md](backends.md#what-reaches-the-app-without-a-session).
What crosses on the wire, byte for byte, for ambiguous and malformed requests is held by `tests/e2e/desync.rs`.
"""


def text(results):
    titles = list(dict.fromkeys(result.server.title for result in results))
    all_rows = rows.load()
    families = list(dict.fromkeys(row.family for row in all_rows))
    lines = [
        "| what the client sends | rows | " + " | ".join(titles) + " |",
        "|---|---:|" + "---:|" * len(titles),
    ]
    for family in families:
        number = sum(row.family == family for row in all_rows)
        cells = [cell(total(results, title, family, "naive"), total(results, title, family, "gateway")) for title in titles]
        lines.append(f"| {family} | {number} | " + " | ".join(cells) + " |")
    naive, gateway = ([total(results, title, None, way) for title in titles] for way in ("naive", "gateway"))
    cells = [f"**{cell(*pair)}**" for pair in zip(naive, gateway)]
    lines.append(f"| **all** | **{len(all_rows)}** | " + " | ".join(cells) + " |")
    lines += ["", "Requests sent, those that reached the app, and leaks:", ""]
    lines += ["| server | with | " + " | ".join(f"{way}" for way in WAYS) + " |", "|---|---|---:|---:|---:|"]
    for title in titles:
        apps = " and ".join(result.server.framework for result in results if result.server.title == title)
        counts = [total(results, title, None, way) for way in WAYS]
        shown = [f"{count.sent} · {count.reached} · {count.leaked}" for count in counts]
        lines.append(f"| {title} | {apps} | " + " | ".join(shown) + " |")
    return HEAD + "\n".join(lines) + "\n" + FOOT


def cell(naive, gateway):
    # A row that only HTTP/2 can carry never came to the naive proxy, which speaks HTTP/1.1.
    return f"{naive.leaked if naive.sent else '–'} → {gateway.leaked}"


def total(results, title, family, way):
    counts = (
        count
        for result in results if result.server.title == title
        for (of, by), count in result.counts.items() if by == way and family in (None, of)
    )
    return sum(counts, Count())


def what_matters(document):
    """The document without what timing decides: how often the naive proxy leaked, and how much came through."""
    document = re.sub(r"\d+ →", "n →", document)
    return re.sub(r"\d+ · \d+ · (\d+) (?=\|)", r"n · n · n ", document)


def differs(document):
    committed = PATH.read_text() if PATH.is_file() else ""
    return what_matters(committed) != what_matters(document)
