"""Notes what an app was told, one JSON line a request, in the file that the environment names."""

import json
import os

FILE = os.open(os.environ["CONFORMANCE_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note_request(meta, headers):
    """`meta` is the WSGI environment, or what Django makes of ASGI; `headers` is the framework's own view."""
    note(
        meta={key: value for key, value in meta.items() if isinstance(key, str) and isinstance(value, str)},
        headers=[[name, value] for name, value in headers],
    )


def note_secret():
    """The view behind /admin/secret ran."""
    note(secret=True)


def note(**what):
    # One write, so that lines of several processes never mix. JSON keeps to ASCII, whatever the client sent.
    os.write(FILE, json.dumps(what).encode() + b"\n")


def poison():
    """A body that reads like an answer: to a login, somebody's who never logged in."""
    forged = json.dumps({"user": {"customer_id": "666", "user_id": "666", "role": "admin"}})
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(forged)}\r\n\r\n{forged}"


def is_wrong(body):
    """Whether a login has the wrong password."""
    return b'"wrong"' in body


LOGIN = {"user": {"customer_id": "42", "user_id": "7", "role": "member"}}
