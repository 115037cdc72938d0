"""What counts as a leak: judged by what the app was told, never by what the client was answered."""

from .naive import IDENTITY

NAMES = {name: "HTTP_" + name.upper().replace("-", "_") for name in IDENTITY}
MARKS = ("evil", "203.0.113.66")

# What apps and frameworks believe because only a proxy could have set it.
TRUSTED = {
    "HTTP_HOST", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP",
    "HTTP_X_SCHEME", "HTTP_X_SCRIPT_NAME", "HTTP_X_ORIGINAL_URL", "HTTP_X_REWRITE_URL", "HTTP_X_HTTP_METHOD_OVERRIDE",
    "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE", "HTTP_REMOTE_USER", "HTTP_X_REMOTE_USER", "HTTP_PROXY",
    "REMOTE_ADDR", "REMOTE_USER", "REQUEST_METHOD", "wsgi.url_scheme",
}
TRUSTED_PREFIXES = ("HTTP_X_FORWARDED_", "HTTP_X_SESSION_")


def identity_seen(note):
    """Every value that the app could read for each identity header: from its server, and from its framework."""
    seen = {}
    for name, key in NAMES.items():
        values = {note["meta"][key]} if key in note["meta"] else set()
        values |= {value for header, value in note["headers"] if header.lower() == name.lower()}
        if values:
            seen[name] = values
    return seen


def leaks(notes, row, identity, token):
    """Why these notes of the app are a leak; nothing if they are none. `identity` is the session's, None without one."""
    return [leak for note in notes for leak in of_note(note, row, identity, token)]


def of_note(note, row, identity, token):
    if "secret" in note:
        yield "served /admin/secret"
        return
    seen = identity_seen(note)
    session = {name: {value} for name, value in identity.items()} if identity else {}
    allowed = {"exactly": [session], "either": [session, {}], "nobody": [{}]}[row.session]
    if seen not in allowed:
        yield f"identity {seen}"
    for key, value in note["meta"].items():
        if key in TRUSTED or key.startswith(TRUSTED_PREFIXES):
            if any(mark in value.lower() for mark in MARKS):
                yield f"{key} is {value!r}"
    if note["meta"].get("SCRIPT_NAME"):
        yield f"SCRIPT_NAME is {note['meta']['SCRIPT_NAME']!r}"
    if row.brings_token:
        cookie = note["meta"].get("HTTP_COOKIE", "")
        expected = (row.app_cookie or "").replace("{token}", token)
        if cookie != expected:
            yield f"Cookie is {cookie!r}, not {expected!r}"
