"""Checks that a request comes from the session gateway, and whose it is, before a WSGI or ASGI app sees it.

One file, to be copied beside an app (Flask, Django or any other; Python 3.8 or later). What it refuses is answered 401
and never reaches the app. docs/signed-identity.md of the gateway says how the two are set up.

With `identity.signed = "jwt"` (needs `pip install "PyJWT[crypto]"`):

    check = Assertion(issuer="https://app.example.com", audience="default",
                      jwks="http://127.0.0.1:8080/.well-known/session-gateway/jwks.json")

With `identity.signed = "hmac"` (needs nothing):

    check = Signature(secrets=[open("/run/secrets/signed").read()])

Then, for Flask, Django under WSGI and Django under ASGI:

    app.wsgi_app = SignedWSGI(app.wsgi_app, check, public=["/login", "/static/*"])
    application = SignedWSGI(get_wsgi_application(), check, public=["/login"])
    application = SignedASGI(get_asgi_application(), check, public=["/login"])

`public` has the paths that the gateway forwards without an identity: those of its `public` routes, logins, and what it
asks about a login (`whoami`, `verify`). There the identity headers are taken out instead.
"""

import asyncio
import hashlib
import hmac
import json
import re
import threading
import time
import urllib.request
from typing import NamedTuple, Optional
from urllib.parse import quote, urlsplit

ASSERTION = "x-session-assertion"
SIGNATURE = "x-session-signature"
#: More of it is no assertion, and no set of keys.
LONGEST = 8192
LARGEST_SET = 65536


class Refused(Exception):
    """A request that nobody vouches for. The text is for the log."""


class Headers(NamedTuple):
    """What the gateway calls the identity headers (`identity.tenant_header` and so on)."""

    tenant: str = "X-Customer-ID"
    user: str = "X-User-ID"
    role: str = "X-User-Role"
    session: str = "X-Session-ID"


class Identity(NamedTuple):
    """Whose a request is: in `environ["session_gateway.identity"]`, and in `scope["session_gateway.identity"]`."""

    tenant: Optional[str]
    user: str
    role: Optional[str]
    session: str


class Call(NamedTuple):
    """A request as it was sent: its headers by lower-case name, each with all its values. Where the server does not tell
    an empty query from none there are two targets that it can have had."""

    method: str
    targets: tuple
    headers: dict

    def one(self, name):
        values = self.headers.get(name.lower(), [])
        if len(values) > 1:
            raise Refused(f"{name} stands there more than once")
        return values[0] if values else None


class Keys:
    """The gateway's public keys: from its address, or from a file that holds the same set or a key in PEM.

    They are asked for again every `fresh` seconds, and once more when an assertion names another, at most every `pause`
    seconds. While they cannot be had, those that are known count for `stale` seconds.
    """

    def __init__(self, jwks=None, file=None, fresh=300, pause=2, stale=86400, patience=3, allow_http=False):
        if (jwks is None) == (file is None):
            raise ValueError("name either the address of the keys or a file")
        if jwks is not None:
            parts = urlsplit(jwks)
            near = parts.hostname in ("localhost", "127.0.0.1", "::1")
            if parts.scheme != "https" and not (parts.scheme == "http" and (near or allow_http)):
                raise ValueError("over plain http anybody on the way can put in keys of their own: use https, or a file")
        self._jwks, self._file = jwks, file
        self._fresh, self._pause, self._stale, self._patience = fresh, pause, stale, patience
        self._keys, self._seen, self._tried = {}, None, None
        self._lock = threading.Lock()

    def known(self, kid):
        """The key of that name, if it need not be asked for."""
        now = time.monotonic()
        if self._seen is None or now - self._seen > self._stale:
            return None
        return self._keys.get(kid)

    def needs_look(self, kid):
        """Whether the keys are to be asked for before `known` says all there is."""
        now = time.monotonic()
        if self._tried is not None and now - self._tried < self._pause:
            return False
        if self._lock.locked() and self.known(kid) is not None:
            return False  # somebody asks already, and this one need not wait for it
        return self._seen is None or now - self._seen >= self._fresh or kid not in self._keys

    def look(self):
        """Asks for the keys. One asks; the others wait for what it hears."""
        asked = time.monotonic()
        with self._lock:
            if self._tried is not None and self._tried > asked:
                return
            try:
                self._keys, self._seen = self._read(), time.monotonic()
            except Exception as error:  # whatever it was, what is known counts on
                if self._seen is None:
                    raise Refused(f"the gateway's keys cannot be had: {error}") from error
            finally:
                # Not before: whoever comes meanwhile waits for what is heard.
                self._tried = time.monotonic()

    def _read(self):
        if self._file is not None:
            with open(self._file, "rb") as file:
                text = file.read(LARGEST_SET + 1)
        else:
            request = urllib.request.Request(self._jwks, headers={"Accept": "application/json"})
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
            with opener.open(request, timeout=self._patience) as answer:
                text = answer.read(LARGEST_SET + 1)
        if len(text) > LARGEST_SET:
            raise ValueError("the set of keys is too large")
        from jwt.algorithms import ECAlgorithm

        if text.lstrip().startswith(b"-----BEGIN"):
            from cryptography.hazmat.primitives.serialization import load_pem_public_key

            key = load_pem_public_key(text)
            members = json.loads(ECAlgorithm.to_jwk(key))
            return {_thumbprint(members): key}
        keys = {}
        for members in json.loads(text)["keys"]:
            if members.get("kty") == "EC" and members.get("crv") == "P-256" and "d" not in members:
                keys[members.get("kid") or _thumbprint(members)] = ECAlgorithm.from_jwk(members)
        return keys


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def _thumbprint(members):
    from jwt.utils import base64url_encode

    text = json.dumps({name: members[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(text.encode()).digest()).decode()


class Assertion:
    """`identity.signed = "jwt"`. `issuer` is the gateway's `public_url`, `audience` the name of its upstream: `default`
    unless the configuration has several."""

    def __init__(self, issuer, audience="default", jwks=None, key_file=None, headers=None, leeway=30, keys=None):
        self.headers = headers or Headers()
        self._issuer, self._audience, self._leeway = issuer, audience, leeway
        self._keys = keys or Keys(jwks=jwks, file=key_file)

    def look_needed(self, call):
        """Whether to call `look` first, which may wait for the gateway."""
        return self._keys.needs_look(self._kid(call))

    def look(self):
        self._keys.look()

    def _kid(self, call):
        import jwt

        token = call.one(ASSERTION)
        if token is None:
            raise Refused("there is no assertion")
        if len(token) > LONGEST:
            raise Refused("the assertion is too long")
        try:
            head = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise Refused(f"the assertion cannot be read: {error}") from error
        if head.get("alg") != "ES256" or not isinstance(head.get("kid"), str):
            raise Refused("the assertion is signed in another way than ES256, or names no key")
        return head["kid"]

    def check(self, call):
        import jwt

        kid = self._kid(call)
        key = self._keys.known(kid)
        if key is None:
            raise Refused("the assertion names a key that the gateway does not publish")
        try:
            claims = jwt.decode(
                call.one(ASSERTION),
                key,
                algorithms=["ES256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["iss", "aud", "sub", "sid", "iat", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(f"the assertion is not good: {error}") from error
        said = Identity(claims.get("tenant"), claims["sub"], claims.get("role"), claims["sid"])
        names = self.headers
        for name, value in ((names.tenant, said.tenant), (names.user, said.user), (names.role, said.role),
                            (names.session, said.session)):
            if call.one(name) != value:
                raise Refused(f"{name} is not what the assertion says")
        return said


class Signature:
    """`identity.signed = "hmac"`. `secrets` are the texts of the secret, and of the one after it while it is changed."""

    def __init__(self, secrets, headers=None, window=30):
        self.headers = headers or Headers()
        self._secrets = [secret.rstrip("\r\n").encode() for secret in secrets]
        self._window = window
        if not self._secrets or any(len(secret) < 32 for secret in self._secrets):
            raise ValueError("the secret has fewer than 32 bytes: make one with `session-gateway keygen`")

    def look_needed(self, call):
        return False

    def look(self):
        pass

    def check(self, call):
        signature = call.one(SIGNATURE)
        if signature is None:
            raise Refused("there is no signature")
        parts = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", signature, re.ASCII)
        if parts is None:
            raise Refused("the signature cannot be read")
        if abs(time.time() - int(parts[1])) > self._window:
            raise Refused("the signature is of another time")
        names = self.headers
        said = [call.one(name) or "" for name in (names.tenant, names.user, names.role, names.session)]
        good = False
        for target in call.targets:
            lines = ["v1", parts[1], call.method, target, *said]
            text = "".join(line + "\n" for line in lines).encode("latin-1", "replace")
            for secret in self._secrets:
                expected = hmac.new(secret, text, hashlib.sha256).hexdigest()
                good |= hmac.compare_digest(expected, parts[2])
        if not good:
            raise Refused("the signature is not over this request")
        tenant, user, role, session = said
        return Identity(tenant or None, user, role or None, session)


class _Guard:
    """What the two kinds of apps have in common."""

    def __init__(self, app, check, public=(), log=print):
        self.app, self.check, self._log = app, check, log
        self._public = list(public)
        self._ours = {name.lower() for name in check.headers} | {ASSERTION, SIGNATURE}

    def is_public(self, path):
        """Whether the gateway forwards it without an identity. A pattern ends in `/*` or is the whole path."""
        return any(
            path.startswith(pattern[:-1]) if pattern.endswith("/*") else path == pattern for pattern in self._public
        )

    def is_ours(self, name):
        return re.sub("[^a-z0-9]", "-", name.lower()) in self._ours

    def refuse(self, call, refused):
        path = call.targets[0].split("?", 1)[0].encode("ascii", "backslashreplace").decode()
        self._log(f"session_gateway_identity: {call.method} {path} refused: {refused}")


REFUSAL = b'{"success":false,"error":"not_from_the_gateway"}\n'


class SignedWSGI(_Guard):
    """For a WSGI app."""

    def __call__(self, environ, start_response):
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if self.is_public(path.encode("latin-1").decode("utf-8", "replace")):
            for name in [name for name in environ if name.startswith("HTTP_") and self.is_ours(name[5:])]:
                del environ[name]
            return self.app(environ, start_response)
        call = Call(environ["REQUEST_METHOD"], self._targets(environ), self._headers(environ))
        try:
            if self.check.look_needed(call):
                self.check.look()
            environ["session_gateway.identity"] = self.check.check(call)
        except Refused as refused:
            self.refuse(call, refused)
            start_response("401 Unauthorized", [("Content-Type", "application/json"), ("Cache-Control", "no-store"),
                                                ("Content-Length", str(len(REFUSAL)))])
            return [REFUSAL]
        return self.app(environ, start_response)

    @staticmethod
    def _headers(environ):
        # A server has joined what came twice, with a comma: such a value is none of the gateway's.
        names = ((name[5:].replace("_", "-").lower(), value) for name, value in environ.items()
                 if name.startswith("HTTP_"))
        return {name: [value] for name, value in names}

    @staticmethod
    def _targets(environ):
        """The target as it was sent: gunicorn, uWSGI, mod_wsgi and Werkzeug keep it; else it is made anew, in the one form
        that the gateway sends."""
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if raw:
            # Some servers keep the whole address.
            whole = raw.startswith(("http://", "https://"))
            return ("/" + raw.split("://", 1)[1].partition("/")[2] if whole else raw,)
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        query = environ.get("QUERY_STRING", "")
        return _with_query(_encoded(path.encode("latin-1")), query)


class SignedASGI(_Guard):
    """For an ASGI app: requests and WebSockets."""

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        if self.is_public(scope["path"]):
            kept = [(name, value) for name, value in scope["headers"] if not self.is_ours(name.decode("latin-1"))]
            return await self.app({**scope, "headers": kept}, receive, send)
        call = Call(scope.get("method", "GET"), self._targets(scope), self._headers(scope))
        try:
            if self.check.look_needed(call):
                await asyncio.get_running_loop().run_in_executor(None, self.check.look)
            identity = self.check.check(call)
        except Refused as refused:
            self.refuse(call, refused)
            return await self._answer(scope, receive, send)
        return await self.app({**scope, "session_gateway.identity": identity}, receive, send)

    @staticmethod
    async def _answer(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": REFUSAL})

    @staticmethod
    def _headers(scope):
        headers = {}
        for name, value in scope["headers"]:
            # As apps read it, whatever the server makes of other characters.
            headers.setdefault(name.decode("latin-1").lower().replace("_", "-"), []).append(value.decode("latin-1"))
        return headers

    @staticmethod
    def _targets(scope):
        raw = scope.get("raw_path")
        path = raw.decode("latin-1").split("?", 1)[0] if raw else _encoded(scope["path"].encode())
        return _with_query(path, scope.get("query_string", b"").decode("latin-1"))


def _with_query(path, query):
    return (path + "?" + query,) if query else (path, path + "?")


def _encoded(path):
    """The gateway's normal form of a path: what is not reserved stands for itself."""
    return quote(path, safe="/!$&'()*+,;=:@-._~")
