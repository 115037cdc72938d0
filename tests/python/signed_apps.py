"""Apps that ask `docs/session_gateway_identity.py` whose a request is: Flask, Django under WSGI and ASGI, and one without a
framework that speaks WebSockets.

The environment says how: `SIGNED` (jwt or hmac), `GATEWAY` (its public URL), `KEYS` (an address or a file) or `SECRET`
(a file). Each answers a JSON login at `/api/login`, and anything else with what it was told and what was checked.
"""

import importlib.util
import json
import os
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path
from flask import Flask, jsonify, request

FILE = Path(__file__).parents[2] / "docs" / "session_gateway_identity.py"
spec = importlib.util.spec_from_file_location("session_gateway_identity", FILE)
identity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(identity)

PUBLIC = ["/api/login", "/api/health", "/public/*"]
SHOWN = ("X-Customer-ID", "X-User-ID", "X-User-Role", "X-Session-ID", "X-Session-Assertion", "X-Session-Signature")


def check():
    if os.environ["SIGNED"] == "hmac":
        return identity.Signature(secrets=[Path(os.environ["SECRET"]).read_text()])
    keys = os.environ["KEYS"]
    source = {"jwks": keys} if keys.startswith("http") else {"key_file": keys}
    return identity.Assertion(issuer=os.environ["GATEWAY"], audience="default", **source)


def answer(path, body, headers, checked):
    if path == "/api/login":
        return json.loads(body)["answer"]
    told = {name: headers.get(name) for name in SHOWN}
    return {"told": told, "checked": None if checked is None else checked._asdict()}


flask = Flask(__name__)


@flask.route("/<path:path>", methods=["GET", "POST"])
def show(path):
    checked = request.environ.get("session_gateway.identity")
    return jsonify(answer("/" + path, request.get_data(), request.headers, checked))


flask.wsgi_app = identity.SignedWSGI(flask.wsgi_app, check(), PUBLIC)


def view(request):
    scope = getattr(request, "scope", None)
    checked = (request.environ if scope is None else scope).get("session_gateway.identity")
    return JsonResponse(answer(request.path, request.body, request.headers, checked))


settings.configure(SECRET_KEY="of the tests alone", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])
urlpatterns = [re_path("", view)]
django.setup()
django_wsgi = identity.SignedWSGI(get_wsgi_application(), check(), PUBLIC)
django_asgi = identity.SignedASGI(get_asgi_application(), check(), PUBLIC)


async def plain(scope, receive, send):
    """Says once whose the WebSocket is, or the request."""
    checked = scope.get("session_gateway.identity")
    text = json.dumps({"checked": None if checked is None else checked._asdict()})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "http":
        if scope["path"] == "/api/login":
            text = json.dumps(json.loads((await receive())["body"])["answer"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": text.encode()})


plain_asgi = identity.SignedASGI(plain, check(), PUBLIC)
