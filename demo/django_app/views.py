"""The views. They keep the flaw on purpose: data is chosen by the X-Customer-ID header."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.http import JsonResponse
from django.shortcuts import render

SHIPMENTS = {
    42: [
        {"code": "NW-S-204", "goods": "Chai, 120 cases", "to": "Rotterdam", "state": "at sea"},
        {"code": "NW-S-205", "goods": "Olive oil, 40 drums", "to": "Oslo", "state": "loading"},
    ],
    77: [
        {"code": "FR-S-001", "goods": "Servo prototypes (confidential)", "to": "Nagoya", "state": "in customs"},
        {"code": "FR-S-002", "goods": "Lidar units, 12 crates", "to": "Detroit", "state": "delivered"},
    ],
}


def own_organisation(user):
    return user.groups.order_by("id").first()


def believed_organisation(request):
    """The header wins: a front end that serves several customers was meant to send it."""
    claimed = request.headers.get("X-Customer-ID")
    if claimed is None:
        return own_organisation(request.user)
    return Group.objects.filter(id=claimed).first() if claimed.isdecimal() and len(claimed) < 10 else None


def believed(request):
    return {
        "customer_id": request.headers.get("X-Customer-ID"),
        "user_id": request.headers.get("X-User-ID"),
        "role": request.headers.get("X-User-Role"),
        "session_id": request.headers.get("X-Session-ID"),
    }


@login_required
def page(request):
    organisation = believed_organisation(request)
    return render(
        request,
        "shipments.html",
        {
            "organisation": organisation,
            "shipments": SHIPMENTS.get(organisation.id, []) if organisation else [],
            "believed": believed(request),
            "victim": Group.objects.exclude(id=getattr(own_organisation(request.user), "id", None)).first(),
        },
    )


def shipments(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    organisation = believed_organisation(request)
    if organisation is None:
        return JsonResponse({"error": "no such organisation", "believed": believed(request)}, status=400)
    return JsonResponse(
        {
            "believed": believed(request),
            "organisation": organisation.name,
            "shipments": SHIPMENTS.get(organisation.id, []),
        }
    )


def me(request):
    """Who the app's own session belongs to; the gateway asks this right after a login."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    organisation = own_organisation(request.user)
    return JsonResponse(
        {
            "id": request.user.id,
            "name": request.user.get_username(),
            "org": {"id": organisation.id, "name": organisation.name} if organisation else None,
        }
    )


def health(request):
    return JsonResponse({"status": "ok"})
