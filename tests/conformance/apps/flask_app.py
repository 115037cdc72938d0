"""The Flask app behind each server. Runs on Flask 2.0 and newer."""

from flask import Flask, jsonify, request

import recorder

app = Flask(__name__)


@app.before_request
def note():
    recorder.note_request(request.environ, request.headers)


@app.route("/api/login", methods=["POST"])
def login():
    return jsonify(recorder.LOGIN)


@app.route("/admin/secret", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
def secret():
    recorder.note_secret()
    return "secret"


@app.route("/")
@app.route("/open/<path:rest>", methods=["GET", "POST"])
@app.route("/maybe/<path:rest>", methods=["GET", "POST"])
def anything(rest=""):
    return "fine"
