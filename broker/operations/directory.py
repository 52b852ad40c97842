"""The directory of the organization: find people and groups in it, bring them here, and follow what it says of them.

An outage changes nothing. Accounts that did not come from the directory are never touched by it.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events
from broker.errors import Busy, NotFound, Refused
from broker.models import DirectoryEntry, Event, Role, RoleAssignment
from broker.models.base import Protected
from broker.operations import groups, permissions, users

log = logging.getLogger(__name__)

NAMES = ("username", "first_name", "last_name", "email")
# So many, if they are most of those it knew, have not left at once: it is another directory, or another filter.
TOO_MANY = 10


@dataclass(frozen=True)
class Found:
    """What the directory has of a search that is not known here yet."""

    people: list[Any] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    answered: bool = True


def is_used() -> bool:
    """Whether there is one: its settings come from the environment."""
    return bool(settings.DIRECTORY)


def _driver() -> Any:
    """Loaded where a directory is used: what it is made of is an extra."""
    from broker.drivers import directory

    return directory


def place() -> Any:
    return _driver().Place(**settings.DIRECTORY)


def look_for(text: str, most: int) -> Found:
    """Whom it knows by these words. Local people are found without it, so silence is told and no refusal."""
    if not is_used() or not text.strip():
        return Found()
    driver = _driver()
    try:
        people, found = driver.search(place(), text, most)
    except driver.Silent as error:
        log.warning("the directory does not answer: %s", error)
        return Found(answered=False)
    known = set(DirectoryEntry.objects.values_list("key", flat=True))
    return Found([one for one in people if one.key not in known], [one for one in found if one.key not in known])


def bring(*, key: str, by: Any) -> Any:
    """The user or the group of this key, made here if it was not known (R142).

    NotFound for what the directory does not have, Busy when it does not answer, Conflict where somebody else has the
    name here.
    """
    known = DirectoryEntry.objects.filter(key=key).select_related("user", "group").first()
    if known is not None:
        return known.user or known.group
    if is_used():
        driver = _driver()
        try:
            people = driver.people(place(), [key])
            found = {} if people else driver.groups(place(), [key])
        except driver.Silent as error:
            log.warning("the directory does not answer: %s", error)
            raise Busy(_("The directory does not answer. Please try again in a moment."), retry_after=30) from error
        for person in people.values():
            return _bring_person(person, by)
        for group in found.values():
            return _bring_group(group, by)
    raise NotFound(_("The directory has no such user or group."))


def give(*, key: str, role: Role, on: Protected | None, by: Any) -> tuple[RoleAssignment, bool]:
    """Give somebody a role who may have to be brought here first; as `permissions.give` and `bring` refuse it."""
    permissions.require_giving(by, role, on)
    return permissions.give(role=role, to=bring(key=key, by=by), on=on, by=by)


def signed_in(person: Any) -> Any:
    """The account of somebody whose password the directory has just found right; made here the first time."""
    entry = DirectoryEntry.objects.filter(key=person.key, user__isnull=False).select_related("user").first()
    if entry is None:
        return _bring_person(person, None)
    _follow(entry, person)
    _follow_groups({person.key: person})
    entry.refresh_from_db()
    return entry.user


@transaction.atomic
def _bring_person(person: Any, by: Any) -> Any:
    names = {name: getattr(person, name) for name in NAMES}
    user = users.create(password=None, by=by, **names)
    DirectoryEntry.objects.create(key=person.key, user=user)
    _follow_groups({person.key: person})
    return user


@transaction.atomic
def _bring_group(found: Any, by: Any) -> Group:
    """With those of its people who are known here; the others join it when they first sign in, or are brought."""
    group = groups.create(name=found.name, by=by)
    DirectoryEntry.objects.create(key=found.key, group=group)
    driver = _driver()
    try:
        people = driver.people(place(), _keys_of_people())
    except driver.Silent as error:
        log.warning("who is in %s is seen at the next check: %s", group, error)
    else:
        _mirror({found.key: found}, people)
    return group


def check() -> None:
    """Follow the directory: whoever is gone, or disabled there, is disabled here; groups have whom it says."""
    if not is_used():
        return
    driver, known = _driver(), set(_keys_of_people())
    try:
        people = driver.people(place(), known)
        listed = driver.groups(place(), _keys_of_groups())
    except driver.Silent as error:
        log.warning("the directory does not answer, so nothing changes: %s", error)
        return
    gone = known.difference(people)
    if len(gone) > TOO_MANY and 2 * len(gone) > len(known):
        log.error("the directory lacks %s of %s whom it knew, so nothing changes", len(gone), len(known))
        return
    for entry in DirectoryEntry.objects.filter(user__isnull=False).select_related("user").order_by("pk"):
        person = people.get(entry.key)
        # Most are as they were at the last look, and need no lock to say so.
        if not _changes(entry, person):
            continue
        try:
            _follow(entry, person)
        except Refused as refusal:
            log.warning("%s does not follow the directory: %s", entry, refusal.message)
    _mirror(listed, people)


def _changes(entry: DirectoryEntry, person: Any) -> dict[str, Any]:
    """What the directory says otherwise; `person` is null for somebody whom it no longer has."""
    user: Any = entry.user
    if person is None:
        return {"is_active": False} if user.is_active else {}
    names = {name: getattr(person, name) for name in NAMES if getattr(user, name) != getattr(person, name)}
    return names | ({"is_active": True} if entry.lost_at is not None else {})


@transaction.atomic
def _follow(entry: DirectoryEntry, person: Any) -> None:
    """Make one account what the directory says; an administrator who disabled it here has the last word."""
    entry = DirectoryEntry.objects.select_for_update(of=("self",)).select_related("user").get(pk=entry.pk)
    changes = _changes(entry, person)
    if not changes:
        return
    if "is_active" in changes:
        DirectoryEntry.objects.filter(pk=entry.pk).update(lost_at=timezone.now() if person is None else None)
    user: Any = entry.user
    users.change(user=user, changes=changes)
    if person is None:
        about = {"keys": {"subject_id": user.pk}, "name": user, "severity": Event.Severity.WARNING}
        events.record("directory.lost", subject=None, **about)


def _follow_groups(people: dict[str, Any]) -> None:
    """Put these people, and nobody else, into the groups that the directory has them in."""
    driver = _driver()
    try:
        listed = driver.groups(place(), _keys_of_groups())
    except driver.Silent as error:
        log.warning("groups stay as they are until the next check: %s", error)
    else:
        _mirror(listed, people)


def _mirror(listed: dict[str, Any], people: dict[str, Any]) -> None:
    """In groups of the directory, these people are in as it says; whoever else is in them stays.

    A group that is gone there has none of its people any more.
    """
    keys = _keys_of_groups()
    known = {
        entry.user: people[entry.key]
        for entry in DirectoryEntry.objects.filter(key__in=people, user__isnull=False).select_related("user")
    }
    for entry in DirectoryEntry.objects.filter(key__in=keys).select_related("group"):
        group: Any = entry.group
        found = listed.get(entry.key)
        wanted = {user for user, person in known.items() if found is not None and found.has(person)}
        others = set(group.user_set.all()) - set(known)
        try:
            groups.change(group=group, users=list(others | wanted))
        except Refused as refusal:
            log.warning("%s does not follow the directory: %s", group, refusal.message)


def _keys_of_people() -> Collection[str]:
    return DirectoryEntry.objects.filter(user__isnull=False).values_list("key", flat=True)


def _keys_of_groups() -> Collection[str]:
    return DirectoryEntry.objects.filter(group__isnull=False).values_list("key", flat=True)
