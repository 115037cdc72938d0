"""A Django site with its admin, and an API with Django REST framework and SimpleJWT.

`python -m tests.python.django_site` makes its database. `/orders` and `/api/orders` believe the headers, as legacy apps do.
"""

import sys

import django
from django.core.wsgi import get_wsgi_application

from tests.python.django_settings import configure

configure(
    __name__,
    "rest_framework",
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]},
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer  # noqa: E402
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView  # noqa: E402


def organisation(user):
    return user.groups.order_by("id").first()


def told(request):
    return {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}


def me(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    return JsonResponse({"id": request.user.id, "org": {"id": organisation(request.user).id}})


def orders(request):
    return JsonResponse({**told(request), "own": str(request.user.id) if request.user.is_authenticated else "nobody"})


class Named(TokenObtainPairSerializer):
    """SimpleJWT's answer, with who it is for: the two lines that docs/apps.md asks for."""

    def validate(self, attrs):
        answer = super().validate(attrs)
        return answer | {"user": {"id": self.user.id, "org_id": organisation(self.user).id}}


class Orders(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({**told(request), "own": str(request.user.id)})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("me", me),
    path("orders", orders),
    path("api/token", TokenObtainPairView.as_view(serializer_class=Named)),
    path("api/token/refresh", TokenRefreshView.as_view()),
    path("api/orders", Orders.as_view()),
    path("api/health", lambda request: JsonResponse({"status": "ok"})),
]
application = get_wsgi_application()


def prepare():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for number, name in ((42, "alice"), (77, "bob")):
        user = User.objects.create_superuser(name, password="demo")
        user.groups.add(Group.objects.create(id=number, name=f"organisation {number}"))


if __name__ == "__main__":
    # Under the name by which the server knows it, too.
    sys.modules["tests.python.django_site"] = sys.modules["__main__"]
    prepare()
