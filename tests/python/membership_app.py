"""A Flask app with Flask-Login whose users belong to several organisations, and whose front end names one with each call.

Which organisation's projects it shows and writes is what `X-Customer-ID` says, as in the apps that the gateway protects:
nobody asks whether the user is in it. The front end is the React page of tests/front.
"""

import os
import pathlib
import sqlite3

from flask import Flask, jsonify, request, send_from_directory
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user

app = Flask(__name__)
app.secret_key = "of the tests alone"
login_manager = LoginManager(app)
login_manager.session_protection = None

FRONT = pathlib.Path(__file__).parent.parent / "front" / "dist"
ORGANISATIONS = {"42": "Contoso", "77": "Fabrikam", "99": "Northwind"}
# Name to id, and where they are a member; the first is where they come in.
PEOPLE = {"alice": ("7", ["42", "77"]), "bob": ("19", ["77", "99"]), "carol": ("23", ["42"])}


def database():
    return sqlite3.connect(os.environ["TEST_APP_DATA"], timeout=10, isolation_level=None)


with database() as made:
    made.execute("CREATE TABLE IF NOT EXISTS project (organisation, name, PRIMARY KEY (organisation, name))")
    for key, name in ORGANISATIONS.items():
        made.execute("INSERT OR IGNORE INTO project VALUES (?, ?)", (key, f"{name} one"))


class User(UserMixin):
    def __init__(self, name):
        self.name = name
        self.id, self.organisations = PEOPLE[name]

    def described(self):
        memberships = [{"org_id": int(key), "name": ORGANISATIONS[key]} for key in self.organisations]
        return {"user": {"id": self.id, "org_id": int(self.organisations[0])}, "memberships": memberships}


@login_manager.user_loader
def load(user_id):
    return next((User(name) for name, (known, _) in PEOPLE.items() if known == user_id), None)


@login_manager.unauthorized_handler
def unauthorized():
    return jsonify(error="not signed in"), 401


@app.post("/api/login")
def sign_in():
    fields = request.get_json()
    name = fields.get("username")
    if name not in PEOPLE or fields.get("password") != "demo":
        return jsonify(success=False), 401
    login_user(User(name), remember=bool(fields.get("remember")))
    return jsonify(success=True, **User(name).described())


@app.post("/api/logout")
def sign_out():
    logout_user()
    return jsonify(success=True)


@app.get("/api/me")
@login_required
def me():
    return jsonify(current_user.described())


def organisation():
    return request.headers.get("X-Customer-ID", "")


def names():
    rows = database().execute("SELECT name FROM project WHERE organisation = ? ORDER BY rowid", (organisation(),))
    return [name for (name,) in rows]


@app.get("/api/projects")
def projects():
    own = current_user.id if current_user.is_authenticated else "nobody"
    told = {"tenant": organisation(), "user": request.headers.get("X-User-ID")}
    return jsonify(**told, own=own, projects=names())


@app.post("/api/projects")
def add_project():
    database().execute("INSERT OR IGNORE INTO project VALUES (?, ?)", (organisation(), request.get_json()["name"]))
    return jsonify(tenant=organisation(), projects=names())


@app.get("/report")
def report():
    rows = "".join(f"<li>{name}</li>" for name in names())
    return f"<!doctype html><title>report</title><h1>Report of {organisation()}</h1><ul>{rows}</ul>"


@app.get("/")
@app.get("/sign-in")
def page():
    return '<!doctype html><title>projects</title><div id="root"></div><script src="/static-front/page.js"></script>'


@app.get("/static-front/<name>")
def front(name):
    return send_from_directory(FRONT, name)


@app.get("/api/health")
def health():
    return jsonify(status="ok")
