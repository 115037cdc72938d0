"""A Flask app whose users come in by links, by a sign-up and by a switch, as its own session cookie alone tells.

Two kinds of users, with ids of their own: those of `/api/...` and the operators of `/admin/...`, who are in another cookie.
Data is chosen by the headers, as in the apps that the gateway protects.
"""

from flask import Flask, Response, jsonify, make_response, redirect, request, session, stream_with_context
from itsdangerous import BadSignature, URLSafeSerializer

app = Flask(__name__)
app.secret_key = "tests only, tests only, tests only"
operators = URLSafeSerializer(app.secret_key, salt="operator")

# Name to id and tenant. Dave has no organisation yet.
USERS = {"alice": (7, 42), "bob": (1, 77), "dave": (9, None)}


@app.get("/api/health")
def health():
    return {"status": "ok"}


@app.get("/api/me")
def me():
    """Who the browser is, by the app's own session."""
    name = session.get("user")
    if name not in USERS:
        return jsonify(error="nobody"), 401
    key, tenant = USERS[name]
    return {"id": key, "org": {"id": tenant}}


@app.get("/api/data")
def data():
    """What the app believes, and whom its own session names."""
    return jsonify(
        tenant=request.headers.get("X-Customer-ID"), user=request.headers.get("X-User-ID"), app=session.get("user")
    )


def enter(name):
    session["user"] = name
    return make_response(redirect("/api/data"))


@app.get("/magic/<name>")
def magic(name):
    return enter(name) if name in USERS else (jsonify(error="no such link"), 404)


@app.post("/signup")
def signup():
    session["user"] = request.form["name"]
    return jsonify(welcome=request.form["name"])


@app.post("/switch/<name>")
def switch(name):
    session["user"] = name
    return jsonify(switched=True)


@app.get("/signout")
def signout():
    session.pop("user", None)
    return jsonify(bye=True)


@app.get("/news")
def news():
    """Sets the session's cookie anew, and does not change who is in it."""
    session["seen"] = session.get("seen", 0) + 1
    return jsonify(seen=session["seen"])


@app.get("/stream/<name>")
def stream(name):
    """An event stream that logs somebody in with its head."""
    session["user"] = name
    events = ("data: %d\n\n" % number for number in range(3))
    return Response(stream_with_context(events), mimetype="text/event-stream")


@app.delete("/users/<int:key>")
def delete(key):
    return jsonify(deleted=key)


@app.post("/login")
def login():
    """The JSON login of the users."""
    key, tenant = USERS[request.json["name"]]
    return {"user_id": key, "customer_id": tenant}


@app.post("/admin/login")
def admin_login():
    """That of the operators, of whom the first has the id that a user has, too."""
    answer = jsonify(operator={"id": 1, "org": 77})
    answer.set_cookie("operator", operators.dumps(1))
    return answer


@app.get("/admin/me")
def admin_me():
    try:
        return {"operator": {"id": operators.loads(request.cookies.get("operator", "")), "org": 77}}
    except BadSignature:
        return jsonify(error="nobody"), 401
