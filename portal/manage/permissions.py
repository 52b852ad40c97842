"""The Permissions tab of every resource: give a role, take one away, and see why somebody may do what."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from broker import access, grants
from broker.errors import Busy, Conflict, Denied, Invalid, NotFound
from broker.models.base import Protected
from broker.operations import directory, permissions
from portal import people
from portal.manage import registry
from portal.manage.resource import Resource
from portal.manage.shared import PERMISSIONS
from portal.manage.views import back_of, done, page

ANSWER = ["GET", "HEAD", "POST"]


class GiveRole(forms.Form):
    """Search, pick, choose: whom, and which role (R144). `find` narrows those that can be picked."""

    find = forms.CharField(required=False, max_length=200)
    principal = forms.ChoiceField()
    role = forms.ChoiceField()

    def __init__(self, data: Any, *, roles: list[Any]) -> None:
        super().__init__(data)
        self.roles = roles
        users, groups = people.matching(str(self.data.get("find", ""))[:200], most=people.MOST + 1)
        self.users, self.groups = users[: people.MOST], groups[: people.MOST]
        self.more = len(users) + len(groups) > len(self.users) + len(self.groups)
        self._offer("role", {str(role.pk): role for role in roles})
        # Those who are not here yet; the local ones are found whether or not the directory answers.
        found = people.strangers(str(self.data.get("find", ""))[:200])
        self.silent, self.strangers = found is None, found or []
        self._offer(
            "principal",
            {f"user:{user.pk}": user for user in self.users}
            | {f"group:{group.pk}": group for group in self.groups}
            | {f"directory:{one.key}": one for one in self.strangers},
        )

    def _offer(self, name: str, rows: dict[str, Any]) -> None:
        """What was picked stays picked; the only one there is need not be."""
        field: Any = self.fields[name]
        field.choices = [(key, "") for key in rows]
        field.rows = rows
        sent = self.data.get(name) or (next(iter(rows)) if len(rows) == 1 else "")
        for key, row in rows.items():
            row.picked = key == sent

    def found(self) -> int:
        return len(self.users) + len(self.groups) + len(self.strangers)

    def picked(self, name: str) -> Any:
        """The row that was chosen."""
        field: Any = self.fields[name]
        return field.rows[self.cleaned_data[name]]


def on_of(request: HttpRequest, kind: str, key: str) -> tuple[Resource, Any, Protected | None]:
    """The row whose permissions are meant, and what roles are given on: null for the system as a whole."""
    resource = registry.find(kind, request.user)
    row = resource.get(request.user, key)
    if PERMISSIONS not in resource.tabs:
        raise NotFound(_("There is nothing at this address."))
    return resource, row, row if isinstance(row, Protected) else None


@never_cache
@login_required
@require_http_methods(ANSWER)
def give(request: HttpRequest, kind: str, key: str) -> HttpResponse:
    """Search and choose, see in words what it means, and confirm."""
    resource, row, on = on_of(request, kind, key)
    roles = grants.givable(request.user, on)
    if not roles:
        raise Denied(_("You may not give any role here."))
    asked = request.method == "POST"
    searching = not asked or "search" in request.POST
    form = GiveRole(request.POST if asked else None, roles=roles)
    context = {"form": form, "row": row, "row_label": resource.label(row), "back": _back(request, resource, row)}
    if searching or not form.is_valid():
        context |= {"searching": searching, "searched": asked and searching}
        return page(request, "manage/give.html", resource, context, status=200 if searching else 422)
    to, role, refusal = form.picked("principal"), form.picked("role"), ""
    if "confirmed" in request.POST:
        try:
            if isinstance(to, people.Stranger):
                _given, new = directory.give(key=to.key, role=role, on=on, by=request.user)
            else:
                _given, new = permissions.give(role=role, to=to, on=on, by=request.user)
        except (Busy, Conflict, Invalid) as error:
            refusal = error.message
        else:
            words = {"role": role, "who": _name(to), "object": resource.label(row)}
            told = (
                _("The role %(role)s on %(object)s was given to %(who)s.")
                if new
                else _("%(who)s had this role already.")
            )
            messages.success(request, told % words)
            return done(request, context["back"])
    return page(
        request,
        "manage/give_preview.html",
        resource,
        {
            **context,
            "who": _name(to),
            "is_group": isinstance(to, Group) or (isinstance(to, people.Stranger) and to.kind == "group"),
            "is_new": isinstance(to, people.Stranger),
            "role": role,
            "error": refusal,
        },
        status=422 if refusal else 200,
    )


@never_cache
@login_required
@require_http_methods(ANSWER)
def take(request: HttpRequest, kind: str, key: str, permission: Any) -> HttpResponse:
    """Ask, then take a role away that was given on this very row (R146)."""
    resource, row, on = on_of(request, kind, key)
    assignment = access.given(on).filter(pk=permission).first()
    if assignment is None:
        raise NotFound(_("There is no such permission here."))
    if not grants.may_give(request.user, assignment.role, on):
        raise Denied(_("Your roles do not allow this."))
    back, refusal = _back(request, resource, row), ""
    who = _name(assignment.principal)
    if request.method == "POST":
        try:
            permissions.take_away(assignment=assignment, on=on, by=request.user)
        except Conflict as error:
            refusal = error.message
        else:
            words = {"role": assignment.role, "who": who, "object": resource.label(row)}
            messages.success(request, _("The role %(role)s on %(object)s was removed from %(who)s.") % words)
            return done(request, back)
    context = {
        "row": row,
        "row_label": resource.label(row),
        "who": who,
        "role": assignment.role,
        "error": refusal,
        "back": back,
        "uses_pools": "use_pool" in assignment.role.allowed,
    }
    return page(request, "manage/take.html", resource, context, status=422 if refusal else 200)


@never_cache
@login_required
@require_safe
def why(request: HttpRequest, kind: str, key: str) -> HttpResponse:
    """Why somebody may do what here, and where each right comes from. The name must be known exactly."""
    resource, row, on = on_of(request, kind, key)
    name = request.GET.get("user", "").strip()[:150]
    user = get_user_model()._default_manager.filter(username=name).first() if name else None
    decisions = access.explain(user, on) if user is not None else []
    for source in (one for decision in decisions for one in decision.because):
        source.where = str(source.inherited_from or _("System")) if source.inherited else resource.label(row)
    context = {
        "row": row,
        "row_label": resource.label(row),
        "name": name,
        "error": _("There is no such user.") if name and user is None else "",
        "person": user,
        "decisions": decisions,
        "everything": user is not None and user.is_superuser,
        "back": _back(request, resource, row),
    }
    return page(request, "manage/why.html", resource, context, status=422 if context["error"] else 200)


def _back(request: HttpRequest, resource: Resource, row: Any) -> str:
    tab = f"{resource.row_url(row)}?{urlencode({'tab': PERMISSIONS.name})}"
    return back_of(request, tab)


def _name(principal: Any) -> str:
    return getattr(principal, "display_name", None) or str(principal)
