"""Users: the people who sign in."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from broker import access
from broker.operations import users
from portal import accounts, signed_in
from portal.manage.cells import Column
from portal.manage.people_forms import UserForm
from portal.manage.properties import MOMENT, SWITCH, TEXT
from portal.manage.resource import MOST_COUNTED, Action, Resource, Tab, counted, each, removed
from portal.manage.shared import on_what_is_seen

MOST = 100


def roles_of(user: Any, reader: Any) -> dict[str, Any]:
    """What was given to the person, and to the groups the person is in."""
    return {
        "assignments": list(access.held(user).filter(on_what_is_seen(reader)).order_by("role__name", "pk")[:MOST])
    }


def sign_ins_of(user: Any, reader: Any) -> dict[str, Any]:
    return {"sign_ins": signed_in.of_user(user)}


def switched(count: int) -> str:
    return ngettext("%(count)s was changed.", "%(count)s were changed.", count) % {"count": count}


def signed_out(count: int) -> str:
    return ngettext(
        "%(count)s user was signed out everywhere.", "%(count)s users were signed out everywhere.", count
    ) % {"count": count}


def factors_removed(count: int) -> str:
    return ngettext(
        "Second factors of %(count)s user removed.", "Second factors of %(count)s users removed.", count
    ) % {"count": count}


def factors_of(user: Any) -> str:
    """What there is beside the password."""
    return ", ".join(accounts.factor_name(one) for one in user.authenticator_set.all())


def why_no_factors(user: Any) -> str | None:
    return None if user.authenticator_set.all() else _("This account has no second factor.")


def why_not_disabled(user: Any) -> str | None:
    return None if user.is_active else _("This account is disabled already.")


def why_not_enabled(user: Any) -> str | None:
    return _("This account may sign in already.") if user.is_active else None


class PeopleResource(Resource):
    """Kinds for those who may manage users everywhere."""

    everywhere = "manage_users"

    def visible(self, user: Any) -> Any:
        rows = self.model._default_manager.all()
        return rows if self.offered(user) else rows.none()

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return access.everywhere(user, permission)

    def may_create(self, user: Any) -> bool:
        return self.offered(user)

    def count(self, user: Any) -> int:
        """For the navigation, which has asked already whether the user is offered this kind."""
        return self.model._default_manager.order_by()[: MOST_COUNTED + 1].count()


class Users(PeopleResource):
    """The list of users."""

    kind = "users"
    title = gettext_lazy("Users")
    icon = "users"
    model = get_user_model()
    order = "username"
    named = "username"
    example = gettext_lazy("username = agent* and active = true")
    select_one = gettext_lazy("Select one user.")
    select_some = gettext_lazy("Select at least one user.")
    new_form = edit_form = UserForm
    edit_permission = "manage_users"
    columns = (
        Column("username", gettext_lazy("User name"), type=TEXT),
        Column("first_name", gettext_lazy("First name"), type=TEXT),
        Column("last_name", gettext_lazy("Last name"), type=TEXT),
        Column("email", gettext_lazy("E-mail"), type=TEXT),
        Column("groups", gettext_lazy("Groups"), read=lambda user: ", ".join(one.name for one in user.groups.all())),
        Column("active", gettext_lazy("May sign in"), "is_active", SWITCH),
        Column("factors", gettext_lazy("Second factors"), read=factors_of, shown=False),
        Column("last_login", gettext_lazy("Last sign-in"), type=MOMENT),
        Column("date_joined", gettext_lazy("Since"), type=MOMENT, shown=False),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/facts.html"),
        Tab("roles", gettext_lazy("Roles"), "manage/tabs/roles_of.html", roles_of),
        Tab(
            "sign-ins",
            gettext_lazy("Sign-ins"),
            "manage/tabs/sign_ins.html",
            sign_ins_of,
        ),
        Tab(
            "sessions",
            gettext_lazy("Sessions"),
            kind="sessions",
            narrow=lambda rows, user: rows.filter(user=user.pk),
            columns=("requested_at", "pool", "vm", "state", "ready_at", "connected_at", "ended_at", "end_reason"),
        ),
        Tab(
            "events",
            gettext_lazy("Events"),
            kind="events",
            narrow=lambda rows, row: rows.filter(Q(actor=row.pk) | Q(subject_id=row.pk)),
        ),
    )
    actions = (
        Action(
            "disable",
            gettext_lazy("Disable"),
            each(users.change, "user", switched, changes={"is_active": False}),
            "manage_users",
            "user-x",
            possible=why_not_disabled,
            question=counted(ngettext_lazy("Disable this user?", "Disable these %(count)s users?", "count")),
            consequence=gettext_lazy("Signed out at once, and their desktops are returned. The record stays."),
            danger=True,
        ),
        Action(
            "enable",
            gettext_lazy("Enable"),
            each(users.change, "user", switched, changes={"is_active": True}),
            "manage_users",
            "user-check",
            possible=why_not_enabled,
        ),
        Action(
            "sign-out",
            gettext_lazy("Sign out everywhere"),
            each(signed_in.end_all, "user", signed_out),
            "manage_users",
            "log-out",
            question=counted(
                ngettext_lazy("Sign this user out everywhere?", "Sign these %(count)s users out everywhere?", "count")
            ),
            consequence=gettext_lazy("Browsers and programs alike; tokens are revoked. Desktops stay."),
            danger=True,
            folded=True,
        ),
        Action(
            "remove-factors",
            gettext_lazy("Remove second factors"),
            each(accounts.remove_factors, "user", factors_removed),
            "manage_users",
            "shield-off",
            possible=why_no_factors,
            question=counted(
                ngettext_lazy(
                    "Remove the second factors of this user?",
                    "Remove the second factors of these %(count)s users?",
                    "count",
                )
            ),
            consequence=gettext_lazy(
                "For whoever lost them: make sure who is asking. From then on the password alone opens the account."
            ),
            danger=True,
            folded=True,
        ),
        Action(
            "remove",
            gettext_lazy("Remove"),
            each(users.remove, "user", removed),
            "manage_users",
            "trash-2",
            question=counted(ngettext_lazy("Remove this user?", "Remove these %(count)s users?", "count")),
            consequence=gettext_lazy("Whoever has a history cannot be removed; switch off “May sign in” instead."),
            danger=True,
            leaves=True,
        ),
    )

    def detailed(self, rows: Any) -> Any:
        return rows.prefetch_related("groups", "authenticator_set")
