"""The Flask app behind each server. Runs on Flask 2.0 and newer."""

from flask import Flask, jsonify, request

import recorder

app = Flask(__name__)


@app.before_request
def note():
    recorder.note_request(request.environ, request.headers)


@app.route("/api/login", methods=["POST"])
def login():
    if recorder.is_wrong(request.get_data()):
        return jsonify({}), 401
    return jsonify(recorder.LOGIN)


@app.route("/admin/secret", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
def secret():
    recorder.note_secret()
    return "secret"


@app.route("/open/own/<name>")
def own(name):
    return f"own {name}"


def poisonous(inner):
    """Flask takes a body away where there is none; apps of old do not."""
    def outer(environ, start_response):
        start, _, status = environ.get("PATH_INFO", "").rpartition("/")
        if start != "/open/poison":
            return inner(environ, start_response)
        start_response(f"{status} Poison", [("Content-Type", "text/plain")])
        return [recorder.poison().encode()]

    return outer


app.wsgi_app = poisonous(app.wsgi_app)


@app.route("/")
@app.route("/open/<path:rest>", methods=["GET", "POST"])
@app.route("/maybe/<path:rest>", methods=["GET", "POST"])
def anything(rest=""):
    return "fine"
