"""The settings of `django_app`."""

ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_app"
SECRET_KEY = "of no use: nothing is signed"
MIDDLEWARE = ["django_app.note"]
WSGI_APPLICATION = "django_app.wsgi"
APPEND_SLASH = False
