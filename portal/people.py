"""Users and groups whom a role can be given: those that exist, found by their names (R142, R144)."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Count, Q

MOST = 20
NAMES = ("username", "first_name", "last_name")


def matching(text: str, most: int = MOST) -> tuple[list[Any], list[Group]]:
    """The first of them whose names hold every word of the text."""
    users = get_user_model()._default_manager.filter(is_active=True)
    groups = Group.objects.annotate(size=Count("user"))
    for word in text.split()[:10]:
        of_user = Q()
        for name in NAMES:
            of_user |= Q(**{f"{name}__icontains": word})
        users = users.filter(of_user)
        groups = groups.filter(name__icontains=word)
    return list(users.order_by("username", "pk")[:most]), list(groups.order_by("name", "pk")[:most])
