"""A Flask app with Flask-Session: its sessions are kept at the server, the cookie is an id.

What it shows of a user it takes from its own session alone; `/orders` believes the headers, as legacy apps do.
"""

import os

from cachelib import FileSystemCache
from flask import Flask, jsonify, redirect, request, session
from flask_session import Session

app = Flask(__name__)
app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(os.environ["TEST_APP_DATA"]))
Session(app)

PEOPLE = {"alice": (7, 42), "bob": (19, 77)}


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST" and request.form.get("password") == "demo" and request.form["username"] in PEOPLE:
        session.clear()
        session["user_id"], session["org_id"] = PEOPLE[request.form["username"]]
        return redirect("/")
    return "<form method=post><input name=username><input name=password></form>"


@app.get("/magic/<name>")
def magic(name):
    """A link in a mail, which changes whose the session is and keeps its id."""
    session["user_id"], session["org_id"] = PEOPLE[name]
    return redirect("/") if request.args.get("then") == "redirect" else "Welcome"


@app.post("/switch/<name>")
def switch(name):
    session["user_id"], session["org_id"] = PEOPLE[name]
    return jsonify(switched=name)


@app.get("/start")
def start():
    session["seen"] = True
    return "Hello"


@app.get("/me")
def me():
    if "user_id" not in session:
        return jsonify(error="not signed in"), 401
    return jsonify(id=session["user_id"], org={"id": session["org_id"]})


@app.get("/orders")
def orders():
    told = {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}
    return jsonify(**told, own=str(session.get("user_id", "nobody")))


@app.get("/logout")
def logout():
    session.clear()
    return redirect("/login")


@app.get("/api/health")
def health():
    return jsonify(status="ok")
