"""A Django app with its admin, and a login page that sends those away whom it knows already.

    python -m tests.python.admin_app    makes the database that DEMO_DJANGO_DB names
"""

from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse

from tests.python.django_settings import configure

configure(__name__, LOGIN_URL="/accounts/login/", LOGIN_REDIRECT_URL="/")
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
