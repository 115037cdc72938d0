"""Where the views are."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from demo.django_app import views

urlpatterns = [
    path("", views.page),
    path("accounts/login/", LoginView.as_view()),
    path("accounts/logout/", LogoutView.as_view()),
    path("api/me", views.me),
    path("api/shipments", views.shipments),
    path("api/health", views.health),
]
