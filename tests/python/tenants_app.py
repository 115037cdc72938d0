"""A Django app whose accounts may have no organisation yet, with the endpoint that says so.

`python -m tests.python.tenants_app` makes its database. A test says straight to `/test/account` what is so of an account,
and how the endpoint behaves: `mode` is empty, `error` (500, with the same body), `slow`, `page`, `gone` (404) or `once` (a no,
and from then on empty). With `broken` no organisation can be made (500).
"""

import json
import os
import sys
import time

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.configure(
    SECRET_KEY="of the tests alone",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DEMO_DJANGO_DB"],
            # Nothing of it outlives the tests: it waits for no disk.
            "OPTIONS": {"timeout": 10, "init_command": "PRAGMA synchronous = OFF"},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.db import connection, models  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Account(models.Model):
    name = models.CharField(max_length=128, primary_key=True)
    organisation = models.CharField(max_length=128, null=True)
    paid = models.BooleanField(default=False)
    mode = models.CharField(max_length=16, default="")
    asked = models.IntegerField(default=0)

    class Meta:
        app_label = "accounts"


def account(request):
    fields = json.loads(request.body)
    # In one statement: read first and written then, SQLite refuses whoever comes second.
    names = {"unique_fields": ["name"], "update_fields": ["organisation", "paid", "mode"]}
    Account.objects.bulk_create([Account(**fields)], update_conflicts=True, **names)
    return JsonResponse({})


def asked(request, name):
    return JsonResponse({"asked": Account.objects.get(name=name).asked})


def login(request):
    fields = json.loads(request.body)
    name, customer = fields["username"], fields.get("customer_id")
    if not Account.objects.filter(name=name).exists():
        return JsonResponse({"success": False}, status=401)
    return JsonResponse({"success": True, "user": {"user_id": name, "customer_id": customer}})


def verify(request, name):
    Account.objects.filter(name=name).update(asked=models.F("asked") + 1)
    found = Account.objects.filter(name=name).first()
    if found is None or found.mode == "gone":
        return JsonResponse({"tenant_exists": False}, status=404)
    if found.mode == "slow":
        time.sleep(3)
    if found.mode == "page":
        return HttpResponse("<h1>Please log in</h1>")
    if found.mode == "once":
        Account.objects.filter(name=name).update(mode="")
        return JsonResponse({"tenant_exists": False})
    exists = found.organisation is not None
    body = {"success": True, "tenant_exists": exists, "tenant_id": found.organisation, "has_payment": found.paid}
    return JsonResponse(body, status=500 if found.mode == "error" else 200)


def organisations(request):
    """Makes the organisation of whoever asks, who is known by the gateway's header alone."""
    name = request.headers["X-User-ID"]
    if Account.objects.get(name=name).mode == "broken":
        return JsonResponse({}, status=500)
    Account.objects.filter(name=name).update(organisation=json.loads(request.body)["name"])
    return JsonResponse({}, status=201)


def told(request, **_):
    return JsonResponse({"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")})


urlpatterns = [
    path("test/account", account),
    path("test/asked/<str:name>", asked),
    path("api/login", login),
    path("api/health", lambda request: JsonResponse({"status": "ok"})),
    path("api/tenants/verify/<str:name>", verify),
    path("api/tenants/", organisations),
    path("onboarding/<path:rest>", told),
    path("orders", told),
]
application = get_wsgi_application()


def prepare():
    with connection.schema_editor() as editor:
        editor.create_model(Account)


if __name__ == "__main__":
    prepare()
