"""People: create, change, disable and remove accounts."""

from typing import Any

from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from broker import events, grants, jobs, live
from broker.errors import Conflict, Denied, Invalid
from broker.models import ConsoleSession, Event
from broker.operations import console_sessions, edits
from broker.states import ConsoleEnd

MOST_NAMED = 50
WORDS = ("username", "first_name", "last_name", "email", "is_active")


@transaction.atomic
def create(
    *, username: str, password: str | None, groups: list[Group] | None = None, by: Any = None, **more: Any
) -> Any:
    """An account that can sign in; without a password where others say who it is.

    `more`: first_name, last_name, email, is_active.

    Denied for a group that may do more than whoever puts somebody into it.
    """
    for group in groups or []:
        require_covered(by, group)
    model = get_user_model()
    person = model(username=username, **more)
    _check(person, password)
    person.set_password(password)
    person.save(force_insert=True)
    person.groups.set(groups or [])
    _record("created", person, by=by)
    return person


def _check(person: Any, password: str | None) -> None:
    """Invalid with everything that is wrong with the account."""
    found: list[tuple[str, str]] = []
    try:
        person.full_clean(exclude=("password",), validate_unique=False)
    except ValidationError as error:
        found += [(field, str(text)) for field, texts in error.message_dict.items() for text in texts]
    if password is not None:
        try:
            password_validation.validate_password(password, person)
        except ValidationError as error:
            found += [("password", str(text)) for text in error.messages]
    if found:
        raise Invalid.fields(found)
    others = get_user_model().objects.exclude(pk=person.pk)
    if others.filter(username=person.username).exists():
        text = _("The name %(name)s is used already.")
        raise Conflict(text % {"name": person.username}, field="username", code="NAME_TAKEN")


@transaction.atomic
def change(
    *,
    user: Any,
    changes: dict[str, Any],
    groups: list[Group] | None = None,
    password: str | None = None,
    expected: dict[str, Any] | None = None,
    by: Any = None,
) -> None:
    """Change an account; who is disabled, or leaves a group, loses at once what that gave. Nobody disables himself.

    Denied for an account that may do more than whoever changes it, and Conflict for the last SuperUser.
    """
    with grants.keeping_a_superuser():
        changed = _write(user, changes, groups, password, expected, by)
    if changed:
        _record("changed", user, by=by, fields=", ".join(changed))
    if set(changed) - {"username", "first_name", "last_name", "email"}:
        jobs.check_access()
        live.person_changed(user.pk)


def _write(
    user: Any,
    changes: dict[str, Any],
    groups: list[Group] | None,
    password: str | None,
    expected: dict[str, Any] | None,
    by: Any,
) -> list[str]:
    """The names of what really changed."""
    user = get_user_model().objects.select_for_update().get(pk=user.pk)
    require_covered(by, user)
    present = {"groups": sorted(group.name for group in user.groups.all())}
    edits.require_unchanged({**present, **{name: getattr(user, name) for name in WORDS}}, expected)
    if changes.get("is_active") is False and by is not None and by.pk == user.pk:
        raise Conflict(_("You cannot disable your own account."), field="is_active", code="OWN_ACCOUNT")
    changed = [name for name, value in changes.items() if getattr(user, name) != value]
    for name in changed:
        setattr(user, name, changes[name])
    _check(user, password)
    if password is not None:
        user.set_password(password)
        changed.append("password")
    if password is not None or not user.is_active:
        user.api_tokens.all().delete()
        console_sessions.end_all(ConsoleSession.objects.filter(user=user), ConsoleEnd.SIGNED_OUT)
    user.save()
    if groups is not None and set(groups) != set(user.groups.all()):
        before, after = set(user.groups.all()), set(groups)
        for group in before ^ after:
            require_covered(by, group)
        user.groups.set(groups)
        changed.append(f"groups ({membership(before, after)})")
    return changed


def membership(before: set[Any], after: set[Any]) -> str:
    """Who or what came to it, and what went, for the record."""
    come = [f"+{one}" for one in sorted(after - before, key=str)]
    gone = [f"-{one}" for one in sorted(before - after, key=str)]
    return ", ".join((come + gone)[:MOST_NAMED])


def require_covered(by: Any, principal: Any) -> None:
    """Denied unless whoever changes an account or a group may do all that it may: nobody helps himself to more."""
    if by is not None and not grants.covers(by, principal):
        text = _("%(name)s has rights that you do not have, so you cannot change this.")
        raise Denied(text % {"name": principal})


@transaction.atomic
def remove(*, user: Any, by: Any) -> None:
    """Remove an account without a history; others are disabled instead, so that the record keeps their name."""
    require_covered(by, user)
    if by is not None and by.pk == user.pk:
        raise Conflict(_("You cannot remove your own account."), code="OWN_ACCOUNT")
    with grants.keeping_a_superuser():
        user = get_user_model().objects.select_for_update().get(pk=user.pk)
        if user.desktop_requests.exists() or user.shift_duties.exists() or Event.objects.filter(actor=user).exists():
            text = _("%(name)s has a history here: disable the account instead, so that the record keeps the name.")
            raise Conflict(text % {"name": user}, code="IN_USE")
        for given in list(user.role_assignments.select_related("role")):
            grants.revoke(role=given.role.name, to=user, on=given.object, by=by)
        _record("removed", user, by=by)
        live.person_changed(user.pk)
        user.delete()


def _record(happened: str, person: Any, *, by: Any, **facts: Any) -> None:
    severity = Event.Severity.INFO if happened == "created" else Event.Severity.WARNING
    about = {"subject": person, "name": person, "what": _("user"), "severity": severity}
    events.record(f"object.{happened}", actor=by, **about, **facts)
