"""Every address, by everybody: what is answered is what tests/access/expected.py says, and nothing beyond it (I6).

A route that is missing there fails, and so does one that is there and nowhere else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.cache import caches
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from broker import events, grants
from broker.models import Cluster, DataCenter, DesktopRequest, Event, Job, Role, ShiftHandover, VirtualMachine
from broker.operations import console_doors, shift_plans, shifts
from broker.operations.console_doors import Wanted
from broker.roles import ROLES
from broker.rules.shifts import DAYS, Pattern, ShiftSpec
from broker.states import ConsoleKind
from portal.api import api
from portal.manage.registry import RESOURCES
from portal.models import ApiToken
from tests.access.expected import (
    API,
    ELSEWHERE,
    LETTERS,
    PAGES,
    PARENT,
    PORTAL,
    PUBLIC,
    WEBSOCKETS,
    Route,
)
from tests.api.conftest import Api, serve_tickets, uncommitted_world
from tests.world import World

SECRET = "secret-pool"
LET_THROUGH = {200, 201, 202, 204, 302, 409, 422}
# What a request may write although it is refused: that it was refused, and the session of whoever asks.
HARMLESS = ("broker_event", "django_session")
WRITES = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM)\s+"(\w+)"')


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class Everybody:
    """A pool with a desktop in use, what it stands on, and a person for each role on each of these objects."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pool = world.pool(2, name=SECRET)
        self.owner = world.person("owner", self.pool)
        wish = world.take(self.owner, self.pool)
        world.settle()
        vm = VirtualMachine.objects.exclude(requests=wish).get()
        custom = Role.objects.create(name="Custom", actions=["use_pool"])
        everywhere = grants.grant(role="UserRole", to=world.person("everywhere"), on=None)[0]
        here = self.owner.role_assignments.get()
        self.objects: dict[str, Any] = {
            "system": None,
            "data_center": world.data_center,
            "cluster": world.cluster,
            "host": world.host,
            "storage": world.storage,
            "template": world.template,
            "pool": self.pool,
            "vm": vm,
        }
        self.ids: dict[str, Any] = {
            **{f"{name}_id": row.pk for name, row in self.objects.items() if row is not None},
            "storage_pool_id": world.storage.pk,
            "request_id": wish.pk,
            "session_id": self._console(wish),
            "job_id": Job.objects.get().pk,
            "user_id": self.owner.pk,
            "group_id": Group.objects.create(name="staff").pk,
            "role_id": custom.pk,
            "kind": "manage/pools",
            "object_id": self.pool.pk,
            "permission_id": here.pk,
            "number": 1,
            "lock_out_id": world.locked_out("owner").pk,
            "pk": 1,
            "action": "shutdown",
            "key": "MaxVmsInPool",
            **self._shifts(),
        }
        self.of_system = {"permission_id": everywhere.pk}
        self.keys = {
            "system": "system",
            "data-centers": world.data_center.pk,
            "clusters": world.cluster.pk,
            "hosts": world.host.pk,
            "storage": world.storage.pk,
            "templates": world.template.pk,
            "template-versions": world.version.pk,
            "pools": self.pool.pk,
            "vms": vm.pk,
            "users": self.owner.pk,
            "groups": self.ids["group_id"],
            "lock-outs": self.ids["lock_out_id"],
            "roles": custom.pk,
            "jobs": self.ids["job_id"],
            "sessions": wish.pk,
            "settings": "MaxVmsInPool",
        }
        self.given = {
            place: next(one for one in [here, everywhere] if one.object_id == (row.pk if row else None))
            if place in ("pool", "system")
            else grants.grant(role="UserRole", to=self.owner, on=row)[0]
            for place, row in self.objects.items()
        }
        self.holders = {(letter, place): self._holder(letter, place) for letter in LETTERS for place in self.objects}
        self.former = {place: self._former(place) for place in self.objects}
        self.nobody, self.sibling = world.person("nobody"), self._sibling()
        self.tokens = self._sign_in()
        token = ApiToken.objects.get(user=self.owner).pk
        self.ids |= {"token_id": token, "sign_in": str(token), "sign_in_id": str(token)}
        # The newest, so that it is on everybody's first page.
        self.keys["events"] = events.record("pool.changed", pool=self.pool, fields="comment").pk

    def _console(self, wish: DesktopRequest) -> Any:
        """The owner looks at the desktop, in a browser."""
        wanted = Wanted(kind=ConsoleKind.TEXT, login="walk")
        return console_doors.open_own(request=DesktopRequest.objects.get(pk=wish.pk), wanted=wanted).pk

    def _shifts(self) -> dict[str, Any]:
        """A plan that always runs, with the owner at work in it, who reads what a colleague left."""
        plan = shift_plans.create(pool=self.pool, name="plan", time_zone="UTC")
        for name, starts, ends in (("first", time(0), time(12)), ("second", time(12), time(0))):
            spec = ShiftSpec(name, Pattern(DAYS, starts, ends), ("owner",))
            shift = shift_plans.add_shift(plan=plan, spec=spec)
        attendance, _new = shifts.check_in(plan=plan, user=self.owner)
        handover = ShiftHandover.objects.create(plan=plan, author=self.world.person("colleague"), note="slow")
        point = handover.points.create(number=1, text="call")
        rows = {"plan": plan, "shift": shift, "attendance": attendance, "handover": handover, "point": point}
        return {f"{name}_id": row.pk for name, row in rows.items()}

    def _holder(self, letter: str, place: str) -> Any:
        person = self.world.person(f"{LETTERS[letter]}-{place}".lower())
        grants.grant(role=LETTERS[letter], to=person, on=self.objects[place])
        return person

    def _former(self, place: str) -> Any:
        person = self.world.person(f"former-{place}".lower())
        for change in (grants.grant, grants.revoke):
            for role in LETTERS.values():
                change(role=role, to=person, on=self.objects[place])
        return person

    def _sibling(self) -> Any:
        """Everything on another data center, another cluster beside ours, and another pool in ours."""
        person = self.world.person("sibling")
        other = DataCenter.objects.create(name="Other")
        beside = Cluster.objects.create(data_center=self.world.data_center, name="Beside")
        for row in (other, beside, self.world.pool(1, name="beside")):
            grants.grant(role="SuperUser", to=person, on=row)
        return person

    def _sign_in(self) -> dict[Any, str]:
        tokens = {person.pk: ApiToken.draw() for person in get_user_model().objects.all()}
        # That they are used is written down already, for what is refused changes nothing.
        times = dict.fromkeys(("expires_at", "last_used_at"), timezone.now() + timedelta(hours=1))
        ApiToken.objects.bulk_create(
            ApiToken(user_id=pk, digest=ApiToken.digest_of(token), **times) for pk, token in tokens.items()
        )
        return tokens

    def with_roles(self, place: str) -> Iterator[tuple[str, Any]]:
        """Everybody with a role on the object, or on its parent."""
        for there in (place, PARENT.get(place)):
            for letter in LETTERS if there else ():
                yield letter, self.holders[letter, there]

    def without(self, place: str) -> Iterator[Any]:
        """Who never had a role, and who no longer has any on the object: a sibling is asked by itself."""
        yield self.nobody
        yield self.former[place]


@pytest.fixture(scope="module")
def everybody(django_db_setup: None, django_db_blocker: Any) -> Iterator[Everybody]:
    """Made once: every call is undone."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patches, undone():
        patches.setattr("portal.console_sessions.CONSOLE_WAIT_SECONDS", 0)
        world = uncommitted_world(patches)
        serve_tickets(world, patches)
        yield Everybody(world)


class Written:
    """What was written while a request was answered."""

    def __init__(self) -> None:
        self.tables: list[str] = []

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        match = WRITES.match(sql)
        if match and not match[2].startswith(HARMLESS):
            self.tables.append(match[2])
        return execute(sql, *rest)


def check(label: str, who: Any, answer: Any, written: Written, expected: int | None) -> None:
    """`expected` null: let through. Whatever is refused has changed nothing, says nothing, and is written down."""
    note = f"{label} by {who}: {answer.status_code} {b'' if answer.streaming else answer.content[:300]!r}"
    if expected is None:
        assert answer.status_code in LET_THROUGH, note
        assert "/sign-in/" not in answer.headers.get("Location", ""), note
        return
    assert answer.status_code == expected, note
    if expected in (403, 404):
        assert written.tables == [], note
        assert expected == 403 or SECRET not in answer.content.decode(errors="replace"), note
        assert Event.objects.filter(kind="access.refused", actor=who).exists() == (who is not None), note


# -- the API -------------------------------------------------------------------------------------------


def operations() -> set[str]:
    return {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
    }


def test_every_operation_of_the_api_is_in_the_table() -> None:
    assert operations() - {"POST /tokens"} == set(API)  # with which one signs in


def call_api(everybody: Everybody, label: str, person: Any) -> tuple[Any, Written]:
    route, (method, path) = API[label], label.split(" ")
    ids = everybody.ids | (everybody.of_system if path.startswith("/system/") else {})
    ids |= {"action": "activate"} if path.startswith("/hosts/") else {}
    named = re.sub(r"\{(\w+)\}", lambda match: str(ids[match[1]]), path) + route.query
    body = route.body
    if isinstance(body, dict):
        body = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
        body = {name: str(value) if hasattr(value, "hex") else value for name, value in body.items()}
    sends = method in ("POST", "PATCH", "PUT")
    caches["limits"].clear()
    written = Written()
    caller = Api(everybody.tokens[person.pk] if person is not None else None)
    with connection.execute_wrapper(written):
        return caller.call(method, named, body if sends and (body or method != "POST") else None), written


@pytest.mark.req("R002", "R131", "R132", "R133", "R134", "R135", "R136", "R137", "R138", "R139", "R140", "R141")
@pytest.mark.django_db
@pytest.mark.parametrize("label", API)
def test_the_api_answers_everybody_as_the_table_says(everybody: Everybody, label: str) -> None:
    route = API[label]
    found = str(everybody.ids[route.shows] if route.shows else getattr(everybody.objects[route.on], "pk", ""))

    def ask(person: Any, expected: int | None, *, shown: bool) -> None:
        with undone():
            answer, written = call_api(everybody, label, person)
            if route.is_list and person is not None:
                assert answer.status_code == 200, (label, person)
                assert (found in answer.content.decode()) == shown, (label, person, answer.content[:500])
            else:
                check(label, person, answer, written, expected)

    ask(None, 401, shown=False)
    for letter, person in everybody.with_roles(route.on):
        ask(
            person,
            None if letter in route.may else 403 if letter in route.sees else route.absent,
            shown=letter in route.may,
        )
    for person in everybody.without(route.on):
        ask(person, route.absent, shown=False)
    ask(everybody.sibling, at_sibling(route, label), shown=is_lent(label))
    if route.own:
        ask(everybody.owner, None, shown=True)


def is_lent(label: str) -> bool:
    """Templates are seen by whoever makes VMs in another cluster of the same data center."""
    return label.startswith(("GET /templates", "PATCH /templates/", "DELETE /templates/", "POST /templates/"))


def at_sibling(route: Route, label: str) -> int | None:
    """Who may do everything beside it is let through, or refused by the rest, where a role on anything will do."""
    if not route.anywhere and not is_lent(label):
        return route.absent
    return 403 if route.sees and not label.startswith("GET") else None


# -- pages ---------------------------------------------------------------------------------------------


def patterns(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    for entry in resolver.url_patterns:
        here = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, here)
        else:
            assert isinstance(entry, URLPattern)
            yield here


def plain(pattern: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", pattern)


def test_every_address_is_in_one_of_the_tables() -> None:
    found = {plain(path) for path in patterns(get_resolver()) if not path.startswith(ELSEWHERE)}
    described = {"/api/v1" + label.split(" ")[1] for label in operations()}
    portal = {path for path in found if path.startswith("/manage/{kind}/")}
    assert found - described - set(PUBLIC) - portal == {label.split(" ")[1] for label in PAGES}
    assert portal == {plain(f"/manage/{path}") for path in PORTAL_PATTERNS}
    assert set(PORTAL) == set(RESOURCES)
    for kind, resource in RESOURCES.items():
        assert set(PORTAL[kind].actions) == {action.name for action in resource.actions}, kind
        assert bool(PORTAL[kind].new) == (resource.new_form is not None), kind
        assert bool(PORTAL[kind].editors) == (resource.edit_form is not None), kind
        assert bool(PORTAL[kind].givers) == any(tab.name == "permissions" for tab in resource.tabs), kind
    assert set(LETTERS.values()) == set(ROLES)


PORTAL_PATTERNS = {
    "<kind>/",
    "<kind>/new/",
    "<kind>/act/<name>/",
    "<kind>/export.csv",
    "<kind>/complete",
    "<kind>/<key>/",
    "<kind>/<key>/edit/",
    "<kind>/<key>/permissions/give/",
    "<kind>/<key>/permissions/<permission>/take/",
    "<kind>/<key>/permissions/why/",
}


def visit(person: Any, method: str, path: str, values: dict[str, Any]) -> tuple[Any, Written]:
    caches["limits"].clear()
    client = Client(headers={"X-Part": "1"})  # without what surrounds every page of the portal
    if person is not None:
        client.force_login(person)
    written = Written()
    with connection.execute_wrapper(written):
        return getattr(client, method.lower())(path, values), written


@pytest.mark.req("R002")
@pytest.mark.django_db
@pytest.mark.parametrize("label", PAGES)
def test_pages_of_users_answer_everybody_as_the_table_says(everybody: Everybody, label: str) -> None:
    route, (method, path) = PAGES[label], label.split(" ")
    address = re.sub(r"\{(\w+)\}", lambda match: str(everybody.ids[match[1]]), path)
    found = str(everybody.ids[route.shows or "pool_id"])

    def ask(person: Any, expected: int | None, *, shown: bool) -> None:
        with undone():
            answer, written = visit(person, method, address, route.body if method == "POST" else {})
            if route.is_list and person is not None:
                assert answer.status_code == 200
                assert (found in answer.content.decode()) == shown, (label, person)
            else:
                check(label, person, answer, written, expected)

    with undone():
        answer, written = visit(None, method, address, {})
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/sign-in/")
        assert written.tables == []
    for letter, person in everybody.with_roles("pool"):
        expected = None if letter in route.may else 403 if letter in route.sees else route.absent
        ask(person, expected, shown=letter in route.may)
    for person in everybody.without("pool"):
        ask(person, route.absent, shown=False)
    ask(everybody.sibling, at_sibling(route, label), shown=False)
    if route.own:
        ask(everybody.owner, None, shown=True)


def addresses(everybody: Everybody, kind: str) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Every way to the row of a kind: method, address, what is sent, and who is let through."""
    table, key, resource = PORTAL[kind], everybody.keys[kind], RESOURCES[kind]
    row = f"/manage/{kind}/{key}/"
    yield "GET", row, {}, table.sees
    for tab in resource.tabs:
        yield "GET", f"{row}?tab={tab.name}", {}, table.sees
    if resource.edit_form is not None:
        yield "GET", f"{row}edit/", {}, table.editors
        yield "POST", f"{row}edit/", {}, table.editors
    for name, letters in table.actions.items():
        yield "POST", f"/manage/{kind}/act/{name}/", {"id": [str(key)], "confirmed": "1"}, letters
    if table.givers:
        given = everybody.given[table.on]
        yield "GET", f"{row}permissions/give/", {}, table.givers
        chosen = {"principal": f"user:{everybody.nobody.pk}", "find": "nobody", "confirmed": "1"}
        role = Role.objects.get(name="UserRole")
        yield "POST", f"{row}permissions/give/", {**chosen, "role": str(role.pk)}, table.givers
        yield "GET", f"{row}permissions/{given.pk}/take/", {}, table.givers
        yield "POST", f"{row}permissions/{given.pk}/take/", {}, table.givers
        yield "GET", f"{row}permissions/why/?user=owner", {}, table.sees


@pytest.mark.req("R002", "R132", "R143")
@pytest.mark.django_db
@pytest.mark.parametrize("kind", PORTAL)
def test_the_portal_answers_everybody_as_the_table_says(everybody: Everybody, kind: str) -> None:
    table = PORTAL[kind]
    for method, path, values, letters in addresses(everybody, kind):
        label = f"{method} {path}"

        def ask(person: Any, expected: int | None, way: Any = (method, path, values)) -> None:
            with undone():
                check(" ".join(way[:2]), person, *visit(person, *way), expected)

        with undone():
            answer, written = visit(None, method, path, values)
            assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/sign-in/"), label
            assert written.tables == [], label
        on = table.elsewhere.get(path.split("/")[-2], table.on)
        for letter, person in everybody.with_roles(on):
            if (on, "tab=" in path) != (table.on, False) and person != everybody.holders[letter, table.on]:
                continue  # one look into each tab is enough
            ask(person, None if letter in letters else 403 if letter in table.sees else 404)
        for person in everybody.without(table.on):
            ask(person, 404)
        if not table.anywhere and table.on != "template":
            ask(everybody.sibling, 404)
        elif method == "POST":
            ask(everybody.sibling, 403)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", PORTAL)
def test_lists_of_the_portal_show_to_everybody_what_the_table_says(everybody: Everybody, kind: str) -> None:
    table, key = PORTAL[kind], str(everybody.keys[kind])
    people = [(person, letter in table.sees) for letter, person in everybody.with_roles(table.on)]
    people += [(person, False) for person in everybody.without(table.on)]
    people += [(everybody.sibling, table.anywhere or table.on == "template")]
    for person, sees in people:
        administers = sees or person == everybody.sibling
        for path in ("", "export.csv", "complete?q="):
            with undone():
                answer, _written = visit(person, "GET", f"/manage/{kind}/{path}", {})
                offered = sees if table.hidden else administers
                allowed = {200, 400} if offered else {404}
                assert answer.status_code in allowed, (kind, path, person, answer.status_code)
                if path == "" and kind not in ("system", "settings"):
                    assert (f'data-key="{key}"' in answer.content.decode()) == sees, (kind, person)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [kind for kind, table in PORTAL.items() if table.new])
def test_new_is_for_whoever_may_create(everybody: Everybody, kind: str) -> None:
    table = PORTAL[kind]
    for method in ("GET", "POST"):
        for letter, person in everybody.with_roles(table.new_on):
            with undone():
                answer, written = visit(person, method, f"/manage/{kind}/new/", {})
                sees = letter in (table.sees if table.hidden else PORTAL["pools"].sees)
                expected = None if letter in table.new else 403 if sees else 404
                check(f"{method} new {kind}", person, answer, written, expected)


@pytest.mark.django_db
def test_what_is_public_says_nothing_of_pools(everybody: Everybody) -> None:
    for path, allowed in PUBLIC.items():
        answer = Client().get(path)
        assert answer.status_code in allowed, path
        assert SECRET not in answer.content.decode(errors="replace")


@pytest.mark.django_db
def test_no_page_takes_a_post_without_its_token(everybody: Everybody) -> None:
    admin = everybody.holders["S", "system"]
    paths = [label.split(" ")[1] for label in PAGES if label.startswith("POST")]
    paths = [re.sub(r"\{(\w+)\}", lambda match: str(everybody.ids[match[1]]), path) for path in paths]
    paths += ["/sign-in/", "/sign-out/", "/language/setlang/"]
    for kind, table in PORTAL.items():
        paths += [path for method, path, _values, _letters in addresses(everybody, kind) if method == "POST"]
        paths += [f"/manage/{kind}/new/"] if table.new else []
    for person in (None, admin):
        client = Client(enforce_csrf_checks=True)
        if person is not None:
            client.force_login(person)
        for path in paths:
            caches["limits"].clear()
            written = Written()
            with undone(), connection.execute_wrapper(written):
                assert client.post(path, headers={"Origin": "https://evil.example"}).status_code == 403, path
                assert written.tables == [], path


@pytest.mark.django_db
def test_nothing_is_changed_by_looking(everybody: Everybody) -> None:
    admin = everybody.holders["S", "system"]
    looks = [label for label in API if label.startswith("GET")]
    for label in looks:
        with undone():
            answer, written = call_api(everybody, label, admin)
            assert (answer.status_code in (200, 404), written.tables) == (True, []), label
    pages = [path for kind in PORTAL for method, path, _v, _l in addresses(everybody, kind) if method == "GET"]
    pages += [f"/manage/{kind}/{rest}" for kind in PORTAL for rest in ("", "export.csv", "complete?q=")]
    for path in pages:
        with undone():
            answer, written = visit(admin, "GET", path, {})
            assert (answer.status_code, written.tables) == (200, []), path
    everything = [path for kind in PORTAL for method, path, _v, _l in addresses(everybody, kind) if "/act/" in path]
    for path in everything:
        with undone():
            answer, written = visit(admin, "GET", path, {})
            assert (answer.status_code, written.tables) == (405, []), path


# -- the websocket -------------------------------------------------------------------------------------


def test_every_websocket_is_in_the_table() -> None:
    from portal.asgi import websockets

    assert {str(route.pattern) for route in websockets.routes} == WEBSOCKETS
