"""A Flask app with Flask-Login as its documentation shows it: a session cookie and a remember cookie of its own.

What it shows of a user it takes from its own cookies alone, so that it tells whom it believes in, whatever a gateway
says. `/whoami` needs no login and asks for none, `/api/login` is a JSON login and `/login` a form.
"""

from flask import Flask, jsonify, redirect, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user

app = Flask(__name__)
app.secret_key = "of the tests alone"
login_manager = LoginManager(app)
# The address that the app sees is the gateway's for everybody; what is tried here is the cookies.
login_manager.session_protection = None

PEOPLE = {"alice": ("7", "42"), "bob": ("19", "77")}


class User(UserMixin):
    def __init__(self, name):
        self.name = name
        self.id, self.org = PEOPLE[name]


@login_manager.user_loader
def load(user_id):
    return next((User(name) for name, (known, _) in PEOPLE.items() if known == user_id), None)


@login_manager.unauthorized_handler
def unauthorized():
    return jsonify(error="not signed in"), 401


def sign_in(fields):
    name = fields.get("username")
    if name not in PEOPLE or fields.get("password") != "demo":
        return None
    user = User(name)
    login_user(user, remember=bool(fields.get("remember")))
    return user


@app.post("/api/login")
def json_login():
    user = sign_in(request.get_json())
    if user is None:
        return jsonify(success=False), 401
    return jsonify(success=True, user={"user_id": user.id, "customer_id": user.org})


@app.route("/login", methods=["GET", "POST"])
def form_login():
    if request.method == "POST" and sign_in(request.form):
        return redirect("/")
    session["seen_the_form"] = True
    return "<form method=post><input name=username><input name=password></form>"


@app.get("/me")
@login_required
def me():
    return jsonify(id=current_user.id, org={"id": current_user.org})


@app.get("/orders")
def orders():
    """Believes the headers, as legacy apps do, and says whom it knows by itself."""
    told = {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}
    return jsonify(**told, own=current_user.id if current_user.is_authenticated else "nobody")


@app.get("/whoami")
def whoami():
    seen_the_form = session.get("seen_the_form", False)
    user = current_user.id if current_user.is_authenticated else None
    return jsonify(user=user, seen_the_form=seen_the_form, visits=session.get("visits", 0))


@app.post("/visit")
def visit():
    session["visits"] = session.get("visits", 0) + 1
    return jsonify(visits=session["visits"])


@app.post("/api/logout")
def sign_out():
    logout_user()
    return jsonify(success=True)


@app.get("/api/health")
def health():
    return jsonify(status="ok")
