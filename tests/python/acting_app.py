"""An app that knows nothing of its gateway's rules: it lets data out, refuses what is for admins, changes passwords."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__)

# Name to tenant and user.
USERS = {"alice": (42, 7), "bob": (42, 8), "carol": (43, 9), "dave": (42, 10)}


@app.get("/api/health")
def health():
    return jsonify(status="ok")


@app.post("/api/login")
def login():
    fields = request.get_json(silent=True) or {}
    if fields.get("username") not in USERS or fields.get("password") != "demo":
        return jsonify(success=False), 401
    tenant, user = USERS[fields["username"]]
    return jsonify(success=True, user={"customer_id": tenant, "user_id": user})


@app.post("/api/logout")
def logout():
    return jsonify(success=True)


@app.get("/api/risk")
def risk():
    return jsonify(risk=request.headers.get("X-Session-Risk"), user=request.headers.get("X-User-ID"))


@app.get("/admin/<what>")
def admin(what):
    return jsonify(error=f"{what} is for admins"), 403


@app.post("/api/password")
def password():
    wrong = (request.get_json(silent=True) or {}).get("old") != "demo"
    return (jsonify(error="wrong password"), 422) if wrong else jsonify(success=True)


@app.get("/e/<int:count>.csv")
def export(count):
    """Streamed, as apps do it that have much to say."""
    return Response((f"{number},Blue Yonder\r\n" for number in range(count)), mimetype="text/csv")
