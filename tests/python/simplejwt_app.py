"""A Django REST framework app with SimpleJWT, whose refresh tokens rotate and are blacklisted once they were used.

`python -m tests.python.simplejwt_app` makes its database. `JWT_SECONDS` says how long an access token lives. Mobile clients
have `/auth/…`. The answers with tokens are SimpleJWT's own: `{"access": …, "refresh": …}`, and who it is stands in the claims alone.
"""

import os
import sys
from datetime import timedelta

import django
from django.core.wsgi import get_wsgi_application

from tests.python.django_settings import configure

configure(
    __name__,
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    },
    SIMPLE_JWT={
        "SIGNING_KEY": os.environ["JWT_SECRET"],
        "ACCESS_TOKEN_LIFETIME": timedelta(seconds=int(os.environ["JWT_SECONDS"])),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
    },
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer  # noqa: E402
from rest_framework_simplejwt.views import (  # noqa: E402
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
)

from tests.python.people import PASSWORD, PEOPLE  # noqa: E402


class WithOrganisation(TokenObtainPairSerializer):
    """The claim that docs/tokens.md asks for."""

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["org_id"] = user.groups.order_by("id").first().id
        return token


class Orders(APIView):
    """What the app was told, and whom it knows by the token that came."""

    def get(self, request):
        told = {"tenant": request.headers.get("X-Customer-ID"), "user": request.headers.get("X-User-ID")}
        return Response({**told, "own": str(request.user.id), "own_tenant": str(request.auth["org_id"])})


class Me(APIView):
    """Repeats the token that came, as some apps do."""

    def get(self, request):
        token = str(request.auth)
        known = {"id": request.user.id, "org": {"id": request.auth["org_id"]}}
        return Response({**known, "token": token}, headers={"X-Token": token})


class Renew(APIView):
    """Another access token for the one that came, at a path that is no login and no refresh."""

    def post(self, request):
        return Response({"access": str(WithOrganisation.get_token(request.user).access_token)})


class Organisation(APIView):
    """Deletes an organisation; its tokens go on being believed until they are over."""

    def delete(self, request, organisation):
        return Response({"deleted": organisation})


urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view(serializer_class=WithOrganisation)),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("auth/token/", TokenObtainPairView.as_view(serializer_class=WithOrganisation)),
    path("auth/refresh/", TokenRefreshView.as_view()),
    path("api/token/blacklist/", TokenBlacklistView.as_view()),
    path("api/orders", Orders.as_view()),
    path("api/me", Me.as_view()),
    path("api/renew", Renew.as_view()),
    path("api/organisations/<int:organisation>", Organisation.as_view()),
    path("api/health", lambda request: JsonResponse({"status": "ok"})),
]
application = get_wsgi_application()


def prepare():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for name, (key, organisation) in PEOPLE.items():
        user = User.objects.create_user(name, password=PASSWORD, id=key)
        user.groups.add(Group.objects.get_or_create(id=organisation, name=f"organisation {organisation}")[0])


if __name__ == "__main__":
    # Under the name by which the server knows it, too.
    sys.modules["tests.python.simplejwt_app"] = sys.modules["__main__"]
    prepare()
