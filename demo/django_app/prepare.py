"""Makes the demo's database: tables, two organisations, three users. Safe to run again.

    python -m demo.django_app.prepare
"""

import os
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.django_app.settings")

# An organisation is an auth group: the demo then needs no tables of its own.
ORGANISATIONS = {42: "Northwind Traders", 77: "Fabrikam Robotics"}
USERS = [(7, "alice", 42), (8, "carol", 42), (19, "bob", 77)]
PASSWORD = "demo"


def main():
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    Path(settings.DATABASE).parent.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0, interactive=False)
    for key, name in ORGANISATIONS.items():
        Group.objects.update_or_create(id=key, defaults={"name": name})
    for key, name, organisation in USERS:
        if not User.objects.filter(id=key).exists():
            user = User.objects.create_user(name, f"{name}@example.com", PASSWORD, id=key)
            user.groups.set([organisation])


if __name__ == "__main__":
    main()
