"""What the details of a row and the buttons above a list show."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from broker.errors import NotFound
from portal.manage import registry
from portal.manage.cells import Column
from portal.manage.listing import PER_PAGE, Listing
from portal.manage.resource import Action, Resource, Tab, Words


@dataclass(frozen=True)
class Button:
    """An action above a list: usable now, or with the reason why not."""

    id: str
    label: Words
    icon: str
    url: str
    reason: Words = ""
    link: bool = False
    danger: bool = False
    primary: bool = False
    download: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Children:
    """The rows of another kind that belong to this one, in a tab."""

    resource: Resource
    columns: list[Column]
    rows: list[Any]
    more: bool
    url: str
    buttons: list[Button]


def toolbar(resource: Resource, user: Any, rows: list[Any], *, new: bool = True) -> list[Button]:
    """New, Edit and the actions of a kind, for the rows that are selected."""
    found = []
    if new and resource.new_form is not None and resource.may_create(user):
        url = reverse("manage-new", args=(resource.kind,))
        found.append(Button("new", resource.new_label or _("New"), "plus", url, link=True, primary=True))
    allowed: dict[str, bool] = {}

    def may(permission: str) -> bool:
        if permission not in allowed:
            allowed[permission] = resource.may(user, permission, rows)
        return allowed[permission]

    if resource.edit_form is not None:
        reason = _edit_reason(resource, rows) or ("" if may(resource.edit_permission) else _not_allowed())
        url = reverse("manage-edit", args=(resource.kind, resource.row_key(rows[0]))) if len(rows) == 1 else ""
        found.append(Button("edit", _("Edit"), "pencil", url, reason, link=True))
    for action in resource.actions:
        reason = reason_against(resource, action, rows)
        if not reason and not may(action.permission):
            reason = _not_allowed()
        found.append(button(resource, action, reason))
    return found


def button(resource: Resource, action: Action, reason: Words = "") -> Button:
    return Button(
        action.name,
        action.label,
        action.icon,
        reverse("manage-act", args=(resource.kind, action.name)),
        reason,
        danger=action.danger,
        download=action.download,
        folded=action.folded,
    )


def reason_against(resource: Resource, action: Action, rows: list[Any]) -> Words:
    """Why the action cannot be done with these rows now."""
    if not rows:
        return resource.select_one if action.one else resource.select_some
    if action.one and len(rows) > 1:
        return resource.select_one
    return next((reason for row in rows if (reason := action.possible(row))), "") or ""


def _edit_reason(resource: Resource, rows: list[Any]) -> Words:
    return resource.why_not_edited(rows[0]) if len(rows) == 1 else resource.select_one


def _not_allowed() -> str:
    return _("Your roles do not allow this.")


def details_of(
    resource: Resource, row: Any, request: HttpRequest, *, in_list: Listing | None = None
) -> dict[str, Any]:
    """The tabs of a row, and what is in the one that is open."""
    tab = resource.tab(request.GET.get("tab", ""))
    own = resource.row_url(row)
    tabs = [
        {
            "tab": one,
            "url": in_list.address(tab=one.name) if in_list else f"{own}?{urlencode({'tab': one.name})}",
            "open": one is tab,
        }
        for one in resource.tabs
    ]
    context = {"row": row, "row_label": resource.label(row), "tab": tab, "tabs": tabs, "row_url": own}
    if tab.kind:
        context["children"] = _children(tab, row, request.user)
    return {**context, **tab.context(row, request.user)}


def _children(tab: Tab, row: Any, user: Any) -> Children | None:
    try:
        resource = registry.find(tab.kind, user)
    except NotFound:
        return None
    found = resource.known[resource.order]
    order = f"-{found.path}" if resource.descending else found.path
    rows = tab.narrow(resource.detailed(resource.visible(user)), row).order_by(order, "pk")
    shown = list(rows[: PER_PAGE + 1])
    more, shown = len(shown) > PER_PAGE, shown[:PER_PAGE]
    resource.prepare(shown)
    wanted = [column for column in resource.columns if column.name in tab.columns]
    query = tab.query(row)
    return Children(
        resource,
        wanted or [column for column in resource.columns if column.shown],
        shown,
        more,
        f"{resource.url}?{urlencode({'q': query})}" if query else "",
        [button(resource, resource.action(name)) for name in tab.actions],
    )
