"""A Django app with its admin, and a login page that sends those away whom it knows already.

    python -m tests.python.admin_app    makes the database that DEMO_DJANGO_DB names
"""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse

settings.configure(
    SECRET_KEY="tests-only-" + "0123456789abcdef" * 3,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DEMO_DJANGO_DB"],
            "OPTIONS": {"timeout": 10},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.ScryptPasswordHasher"],
    STATIC_URL="/static/",
    LOGIN_URL="/accounts/login/",
    LOGIN_REDIRECT_URL="/",
    USE_TZ=True,
)
application = get_wsgi_application()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.urls import path  # noqa: E402


def me(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    return JsonResponse({"id": request.user.id, "org": {"id": 42}})


@login_required
def home(request):
    return JsonResponse({"user": request.headers.get("X-User-ID"), "app": request.user.get_username()})


urlpatterns = [
    path("", home),
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(template_name="admin/login.html", redirect_authenticated_user=True)),
    path("api/me", me),
    path("api/health", lambda request: JsonResponse({"status": "ok"})),
]

if __name__ == "__main__":
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    User.objects.create_superuser("alice", "alice@example.com", "demo", id=7)
