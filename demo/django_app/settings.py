"""Settings of the demo. Its database lives where DEMO_DJANGO_DB says, else in .demo/; `prepare` fills it."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATABASE = os.environ.get("DEMO_DJANGO_DB") or str(HERE.parent.parent / ".demo" / "django.sqlite3")

# A demo on the loopback address only. A real app reads its key from a secret store.
SECRET_KEY = "demo-only-" + "0123456789abcdef" * 3
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ROOT_URLCONF = "demo.django_app.urls"
WSGI_APPLICATION = "demo.django_app.wsgi.application"

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # Compresses the login answer as many real apps do; the gateway must cope.
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE, "OPTIONS": {"timeout": 10}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The default hasher costs most of a second on a small machine, which a demo's start and every test would pay.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
USE_TZ = True
