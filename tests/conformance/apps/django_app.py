"""The Django app behind each server: its addresses and its views in one module."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path, re_path
from django.views.decorators.http import require_http_methods

import recorder


def note(get_response):
    def middleware(request):
        recorder.note_request(request.META, request.headers.items())
        return get_response(request)

    return middleware


def login(request):
    if recorder.is_wrong(request.body):
        return JsonResponse({}, status=401)
    return JsonResponse(recorder.LOGIN)


# What the gateway lets pass without a session by design, a CORS preflight, must not run the view.
@require_http_methods(["GET", "HEAD", "POST", "PUT", "DELETE"])
def secret(request):
    recorder.note_secret()
    return HttpResponse("secret")


def own(request, name):
    return whole(f"own {name}")


def poison(request, status):
    return whole(recorder.poison(), status)


def whole(text, status=200):
    """With its length, as Django's own middleware has it: servers keep a connection only then."""
    return HttpResponse(text, status=status, headers={"Content-Length": str(len(text))})


def anything(request):
    return HttpResponse("fine")


wsgi = get_wsgi_application()
asgi = get_asgi_application()

urlpatterns = [
    path("api/login", login),
    path("admin/secret", secret),
    path("open/own/<name>", own),
    path("open/poison/<int:status>", poison),
    re_path(r"^(?:(?:open|maybe)/.*)?$", anything),
]
