"""Nobody sees, counts or changes what they have no permission for, by any address there is (I6)."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from broker import access, roles
from broker.models import ConsoleOptions, DesktopRequest, Job, Pool, VirtualMachine
from portal.api import api
from tests.api.conftest import refused, sign_in
from tests.world import World

# What anybody may open without a word about pools, and why.
PUBLIC = {
    "/sign-in/",
    "/sign-out/",
    "/language/setlang/",
    "/healthz",
    "/readyz",
    "/api/v1/",  # the API's root: 404
    "/api/v1/openapi.json",
    "/api/v1/docs",
    "/api/v1/tokens",
}
# Pages without an object in their address: what a person who was granted nothing sees of them.
OWN_PAGES = {"/": 200, "/pools/": 200, "/manage/": 404, "/manage/tree/": 404}
# Lists that do not exist for whoever administers nothing.
FOR_ADMINISTRATORS = {"/users", "/groups", "/roles", "/settings"}
CATCH_ALL = "/^api/.*$"
SECRET = "secret-pool"


def patterns(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        here = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, here)
        else:
            yield here, entry


ALL = dict(patterns(get_resolver()))
# test_back_office.py walks the back office.
ELSEWHERE = ("/api/", "/backoffice/")
PAGES = sorted(path for path in ALL if not path.startswith(ELSEWHERE) and path != CATCH_ALL and path not in PUBLIC)
API_ROUTES = sorted(
    (method.upper(), path)
    for path, methods in api.get_openapi_schema()["paths"].items()
    for method in methods
    if path not in PUBLIC
)
GRANTABLE = ("pool", "cluster", "data_center", "system")


class Scene:
    """A pool that `owner` may use and has a desktop of; the ids that every address needs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pool = world.pool(2, name=SECRET)
        self.owner = world.person("owner", self.pool)
        self.wish = world.take(self.owner, self.pool)
        world.settle()
        self.wish.refresh_from_db()
        self.ids = {
            "pool_id": self.pool.pk,
            "request_id": self.wish.pk,
            "vm_id": self.wish.vm_id,
            "cluster_id": world.cluster.pk,
            "template_id": world.template.pk,
            "job_id": Job.objects.get().pk,
            "host_id": world.host.pk,
            "data_center_id": world.data_center.pk,
            "storage_pool_id": world.storage.pk,
            "user_id": self.owner.pk,
            "group_id": Group.objects.get_or_create(name="staff")[0].pk,
            "number": 1,
            "action": "stop",
            "kind": "pools",
            "name": "remove",
        }

    def address(self, pattern: str) -> str:
        """Fails for a route with something in its address that nobody has told this test about."""
        plain = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", pattern)
        key = self.pool.pk if pattern.startswith("/manage/") else "MaxVmsInPool"
        return plain.format(**self.ids, key=key)

    def state(self) -> Any:
        """Everything that a person could have changed."""
        return [
            list(DesktopRequest.objects.order_by("pk").values()),
            list(Pool.objects.order_by("pk").values()),
            list(VirtualMachine.objects.order_by("pk").values()),
            list(ConsoleOptions.objects.values()),
            list(self.world.sent),
        ]


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def browser(person: Any = None, **options: Any) -> Client:
    client = Client(**options)
    if person is not None:
        client.force_login(person)
    return client


def tells(answer: Any) -> bool:
    """Whether it names the pool, and with it any of its VMs."""
    return SECRET in answer.content.decode(errors="replace")


def test_every_address_is_known_to_these_tests() -> None:
    described = {re.sub(r"\{(\w+)\}", r"<\1>", path) for path in api.get_openapi_schema()["paths"]}
    found = {re.sub(r"<\w+:(\w+)>", r"<\1>", path) for path in ALL if path.startswith("/api/") and path != CATCH_ALL}
    assert found - PUBLIC == described - PUBLIC
    assert {path for path in PAGES if "<" not in path} == set(OWN_PAGES)


@pytest.mark.req("R002")
@pytest.mark.parametrize("method", ["get", "post"])
def test_without_signing_in_no_page_shows_anything(scene: Scene, method: str) -> None:
    before = scene.state()
    for pattern in PAGES:
        path = scene.address(pattern)
        answer = getattr(browser(), method)(path)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/sign-in/"), pattern
        assert not tells(answer)
    assert scene.state() == before


def test_without_a_token_no_route_answers(scene: Scene) -> None:
    before = scene.state()
    for method, path in API_ROUTES:
        answer = Client().generic(method, scene.address(path), "{}", "application/json")
        refused(answer, 401, "UNAUTHENTICATED")
    assert scene.state() == before


def test_what_is_public_says_nothing_of_pools(scene: Scene) -> None:
    for path in PUBLIC:
        answer = browser().get(path)
        assert answer.status_code in (200, 302, 404, 405), path
        assert not tells(answer)


@pytest.fixture
def strangers(scene: Scene) -> list[Any]:
    """Who was granted nothing, and who has a desktop of another pool."""
    world = scene.world
    other = world.pool(1, name="other")
    neighbour = world.person("neighbour", other)
    world.take(neighbour, other)
    world.settle()
    return [world.person("visitor"), neighbour]


@pytest.mark.req("R002")
@pytest.mark.parametrize("method", ["get", "post"])
def test_for_strangers_the_pool_and_its_desktops_have_no_page(
    scene: Scene, strangers: list[Any], method: str
) -> None:
    before = scene.state()
    for person in strangers:
        for pattern in PAGES:
            answer = getattr(browser(person), method)(scene.address(pattern))
            expected = OWN_PAGES.get(pattern, 404)
            assert answer.status_code in (expected, 405), (person, pattern)
            assert not tells(answer), (person, pattern)
    assert scene.state() == before


@pytest.mark.req("R002")
def test_for_strangers_the_pool_and_its_desktops_are_not_in_the_api(scene: Scene, strangers: list[Any]) -> None:
    before = scene.state()
    for person in strangers:
        caller = sign_in(person)
        for method, path in API_ROUTES:
            body = {"value": 1} if path.endswith("/{key}") else None if method == "GET" else {}
            answer = caller.call(method, scene.address(path).removeprefix("/api/v1"), body)
            if "{" in path or path.removeprefix("/api/v1") in FOR_ADMINISTRATORS:
                refused(answer, 404, "NOT_FOUND")
            else:
                assert answer.status_code in ((400, 403) if method == "POST" else (200,)), path
            assert not tells(answer), path
    assert scene.state() == before


def test_nothing_is_changed_by_looking(scene: Scene) -> None:
    access.grant(role="SuperUser", to=scene.owner, on=None)
    caller = sign_in(scene.owner)
    before = scene.state()
    for pattern in PAGES:
        answer = browser(scene.owner).get(scene.address(pattern))
        assert answer.status_code in (200, 405), pattern
    for _method, path in API_ROUTES:
        answer = caller.get(scene.address(path).removeprefix("/api/v1"))
        assert answer.status_code in (200, 405), path
    assert scene.state() == before


@pytest.mark.parametrize("signed_in", [True, False])
def test_no_page_takes_a_post_without_its_token(scene: Scene, signed_in: bool) -> None:
    access.grant(role="SuperUser", to=scene.owner, on=None)
    client = browser(scene.owner if signed_in else None, enforce_csrf_checks=True)
    before = scene.state()
    for pattern in [*PAGES, "/sign-in/", "/sign-out/", "/language/setlang/"]:
        assert client.post(scene.address(pattern)).status_code == 403, pattern
    assert scene.state() == before


@pytest.mark.req("R002", "R021")
@pytest.mark.parametrize("on", GRANTABLE)
@pytest.mark.parametrize("through", ["user", "group"])
def test_a_grant_opens_the_pool_and_its_end_closes_it(world: World, pool: Pool, on: str, through: str) -> None:
    person, other = world.person("granted"), world.pool(1, name="elsewhere")
    to = person
    if through == "group":
        to = Group.objects.create(name="staff")
        person.groups.add(to)
    target = {"pool": pool, "cluster": world.cluster, "data_center": world.data_center, "system": None}[on]
    assert not access.visible(person, Pool, "use_pool").exists()
    access.grant(role="UserRole", to=to, on=target)
    access.grant(role="UserRole", to=to, on=target)  # twice is once
    assert access.can(person, "use_pool", pool)
    assert set(access.visible(person, Pool, "use_pool")) == ({pool} if on == "pool" else {pool, other})
    assert not access.can(person, "edit_pool", pool)
    assert not access.administers(person)
    access.revoke(role="UserRole", to=to, on=target)
    assert not access.can(person, "use_pool", pool)
    assert not access.visible(person, Pool, "use_pool").exists()


@pytest.mark.req("R021")
def test_whoever_leaves_the_group_loses_what_it_gave(world: World, pool: Pool) -> None:
    group = Group.objects.create(name="staff")
    access.grant(role="UserRole", to=group, on=pool)
    person = world.person("granted")
    person.groups.add(group)
    caller = sign_in(person)
    assert caller.get("/pools").json()["count"] == 1
    person.groups.remove(group)
    assert caller.get("/pools").json()["count"] == 0
    refused(caller.post(f"/pools/{pool.pk}/take"), 404)


@pytest.mark.parametrize("on", GRANTABLE)
def test_a_role_taken_away_leaves_what_another_one_gives(
    world: World, pool: Pool, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(roles.ROLES, "Operator", frozenset({"use_pool", "operate_vm"}))
    target = {"pool": pool, "cluster": world.cluster, "data_center": world.data_center, "system": None}[on]
    person = world.person("granted")
    access.grant(role="Operator", to=person, on=target)
    access.grant(role="UserRole", to=person, on=target)
    access.revoke(role="Operator", to=person, on=target)
    assert access.can(person, "use_pool", pool)
    assert not access.can(person, "operate_vm", pool)
    access.revoke(role="UserRole", to=person, on=target)
    assert not access.can(person, "use_pool", pool)


def test_a_role_on_one_object_is_not_touched_by_taking_it_on_another(world: World, pool: Pool) -> None:
    person = world.person("granted", pool)
    access.grant(role="UserRole", to=person, on=world.cluster)
    access.revoke(role="UserRole", to=person, on=world.cluster)
    assert access.can(person, "use_pool", pool)


def test_list_and_check_agree_on_every_kind_of_row(world: World, pool: Pool) -> None:
    people = [world.person("nobody"), world.person("user", pool)]
    for name, on in (("at", pool), ("above", world.cluster), ("top", world.data_center), ("all", None)):
        person = world.person(name)
        access.grant(role="SuperUser", to=person, on=on)
        people.append(person)
    people.append(world.person("off", pool))
    people[-1].is_active = False
    for person in people:
        for model in access.PROTECTED:
            for action in ("use_pool", "view_inventory", "operate_vm"):
                seen = set(access.visible(person, model, action))
                assert seen == {row for row in model.objects.all() if access.can(person, action, row)}


def test_a_right_on_a_pool_reaches_its_vms_and_nothing_beside_or_above(world: World, pool: Pool) -> None:
    world.pool(1, name="other")
    person = world.person("granted")
    access.grant(role="SuperUser", to=person, on=pool)
    vms = access.visible(person, VirtualMachine, "operate_vm")
    assert {vm.pool_id for vm in vms} == {pool.pk}
    assert vms.count() == 2
    for model in set(access.PROTECTED) - {Pool, VirtualMachine}:
        assert not access.visible(person, model, "view_inventory").exists()


def test_lists_and_checks_are_one_statement_however_deep_the_grant(
    world: World, pool: Pool, django_assert_max_num_queries: Any
) -> None:
    group = Group.objects.create(name="staff")
    person = world.person("granted")
    person.groups.add(group)
    access.grant(role="UserRole", to=group, on=world.data_center)
    vm = VirtualMachine.objects.first()
    for model in access.PROTECTED:
        ContentType.objects.get_for_model(model)
    with django_assert_max_num_queries(1):
        assert access.can(person, "use_pool", pool)
    with django_assert_max_num_queries(1):
        assert access.can(person, "use_pool", vm)
    with django_assert_max_num_queries(2):
        assert len(access.visible(person, VirtualMachine, "use_pool")) == 2


def test_a_right_on_one_kind_of_row_means_nothing_beside_it(world: World, pool: Pool) -> None:
    person = world.person("granted")
    access.grant(role="UserRole", to=person, on=world.template)
    assert not access.can(person, "use_pool", pool)
    assert not access.can(person, "use_pool", VirtualMachine.objects.first())
    caller = sign_in(person)
    refused(caller.post(f"/pools/{uuid4()}/take"), 404)
