"""Users and groups whom a role can be given, found by their names (R142, R144).

Those that exist here; and those of the directory, who are brought here before they are given anything.
"""

from dataclasses import dataclass
from typing import Any, Literal

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Count, Q

from broker.operations import directory

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


@dataclass
class Stranger:
    """A user or a group of the directory that is not known here yet."""

    kind: Literal["user", "group"]
    key: str
    name: str

    def __str__(self) -> str:
        return self.name


def strangers(text: str) -> list[Stranger] | None:
    """Those of the directory by the same words; null when it does not answer."""
    found = directory.look_for(text, MOST)
    if not found.answered:
        return None
    users = [Stranger("user", one.key, one.username) for one in found.people]
    return users + [Stranger("group", one.key, one.name) for one in found.groups]
