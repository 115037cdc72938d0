"""A Flask app with Flask-JWT-Extended as its documentation shows it: an access and a refresh token in JSON, and nothing else.

`JWT_SECONDS` says how long an access token lives. Mobile clients have `/auth/…`. `/api/me` repeats the token that came, as
some apps do, and `/api/renew` hands out another one; `TEST_APP_DATA` is a database of the tokens that were logged out.
"""

import os
import sqlite3
from datetime import timedelta

from flask import Flask, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)

from tests.python.people import known

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET"]
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=int(os.environ["JWT_SECONDS"]))
jwt = JWTManager(app)


def logged_out():
    database = sqlite3.connect(os.environ["TEST_APP_DATA"], timeout=10, isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS logged_out (jti TEXT PRIMARY KEY)")
    return database


@jwt.token_in_blocklist_loader
def is_logged_out(_header, payload):
    with logged_out() as database:
        return database.execute("SELECT 1 FROM logged_out WHERE jti = ?", (payload["jti"],)).fetchone() is not None


def access_token(key, organisation):
    return create_access_token(identity=str(key), additional_claims={"org_id": organisation})


@app.post("/api/login")
@app.post("/auth/token")
def login():
    fields = request.get_json()
    who = known(fields.get("username"), fields.get("password"))
    if who is None:
        return jsonify(msg="Bad username or password"), 401
    return jsonify(
        access_token=access_token(*who),
        refresh_token=create_refresh_token(identity=str(who[0]), additional_claims={"org_id": who[1]}),
    )


@app.post("/api/refresh")
@app.post("/auth/refresh")
@jwt_required(refresh=True)
def refresh():
    return jsonify(access_token=access_token(get_jwt_identity(), get_jwt()["org_id"]))


@app.get("/api/orders")
@jwt_required()
def orders():
    """What the app was told, and whom it knows by the token that came."""
    told = {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}
    return jsonify(**told, own=get_jwt_identity(), own_tenant=str(get_jwt()["org_id"]))


@app.get("/api/me")
@jwt_required()
def me():
    claims = get_jwt()
    token = request.headers["Authorization"].removeprefix("Bearer ")
    answer = jsonify(id=int(claims["sub"]), org={"id": claims["org_id"]}, token=token)
    answer.headers["X-Token"] = token
    return answer


@app.post("/api/renew")
@jwt_required()
def renew():
    """Another access token for the one that came, at a path that is no login and no refresh."""
    return jsonify(access_token=access_token(get_jwt_identity(), get_jwt()["org_id"]))


@app.post("/api/logout")
@jwt_required(verify_type=False)
def logout():
    with logged_out() as database:
        database.execute("INSERT OR IGNORE INTO logged_out VALUES (?)", (get_jwt()["jti"],))
    return jsonify(msg="Access token revoked")


@app.delete("/api/organisations/<int:organisation>")
@jwt_required()
def delete(organisation):
    """Deletes an organisation; its tokens go on being believed until they are over."""
    return jsonify(deleted=organisation)


@app.get("/api/health")
def health():
    return jsonify(status="ok")
