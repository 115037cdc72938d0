"""A legacy Flask app of the kind that the gateway protects.

It shows the flaw and must keep it: every data endpoint believes the X-Customer-ID header, whoever sent it. The login
is real, but nothing ties later requests to it. Run it naked and any client reads any tenant's invoices; put the
gateway in front, unchanged, and the header says what the login proved.

Never take this as an example of how to write an app.
"""

from flask import Flask, jsonify, render_template, request

app = Flask(__name__)

TENANTS = {
    "42": {
        "name": "Northwind Traders",
        "invoices": [
            {"number": "NW-1001", "customer": "Blue Yonder Airlines", "amount": "12,480.00", "status": "paid"},
            {"number": "NW-1002", "customer": "Coho Winery", "amount": "3,150.50", "status": "open"},
            {"number": "NW-1003", "customer": "City Power & Light", "amount": "940.00", "status": "overdue"},
        ],
    },
    "77": {
        "name": "Fabrikam Robotics",
        "invoices": [
            {"number": "FR-9001", "customer": "Litware Industries", "amount": "248,000.00", "status": "open"},
            {"number": "FR-9002", "customer": "Proseware (secret project)", "amount": "87,300.00", "status": "paid"},
        ],
    },
}

# "demo" for all: this app is a target to shoot at, not a place for secrets.
PASSWORD = "demo"
USERS = {
    "alice": {"user_id": 7, "customer_id": 42, "role": "admin", "email": "alice@northwind.example"},
    "bob": {"user_id": 19, "customer_id": 77, "role": "member", "email": "bob@fabrikam.example"},
    "carol": {"user_id": 8, "customer_id": 42, "role": None, "email": "carol@northwind.example"},
}


def believed_identity():
    """The identity that this app acts on: whatever the headers claim."""
    return {
        "customer_id": request.headers.get("X-Customer-ID"),
        "user_id": request.headers.get("X-User-ID"),
        "role": request.headers.get("X-User-Role"),
        "session_id": request.headers.get("X-Session-ID"),
    }


def refuse(status, message):
    return jsonify(success=False, error=message), status


@app.get("/")
@app.get("/login")
def page():
    return render_template("index.html", tenants=TENANTS)


@app.post("/api/login")
def login():
    fields = request.get_json(silent=True)
    if not isinstance(fields, dict):
        return refuse(400, "send a JSON object")
    name = str(fields.get("username") or fields.get("email") or "").lower()
    user = USERS.get(name) or next((user for user in USERS.values() if user["email"] == name), None)
    if user is None or fields.get("password") != PASSWORD:
        return refuse(401, "unknown user or wrong password")
    tenant = TENANTS[str(user["customer_id"])]
    # The token goes to the page, which keeps it where any script can read it. Nothing ever checks it.
    return jsonify(success=True, user={**user, "company": tenant["name"]}, token=f"legacy-token-{user['user_id']}")


@app.post("/api/logout")
def logout():
    # All that a legacy logout does: the page forgets its token.
    return jsonify(success=True)


@app.get("/api/me")
def me():
    believed = believed_identity()
    user = next((user for user in USERS.values() if str(user["user_id"]) == believed["user_id"]), None)
    return jsonify(success=True, believed=believed, user=user)


@app.get("/api/invoices")
def invoices():
    believed = believed_identity()
    tenant = TENANTS.get(believed["customer_id"] or "")
    if tenant is None:
        return jsonify(success=False, error="X-Customer-ID names no customer", believed=believed), 400
    return jsonify(success=True, believed=believed, company=tenant["name"], invoices=tenant["invoices"])


@app.get("/api/admin/customers")
def customers():
    believed = believed_identity()
    if believed["role"] != "admin":
        return jsonify(success=False, error="for admins", believed=believed), 403
    found = [{"customer_id": key, "company": tenant["name"]} for key, tenant in TENANTS.items()]
    return jsonify(success=True, believed=believed, customers=found)


@app.get("/api/health")
def health():
    return jsonify(status="ok")
