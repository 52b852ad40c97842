"""What the Administration Portal offers to whom. Who reaches which address is walked in tests/access."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from broker import grants
from broker.models import DesktopRequest, Event, Job, Pool, Role, Template, VirtualMachine
from portal import people
from portal.manage.registry import RESOURCES
from tests.pages.conftest import Reader, fields, rows, text
from tests.world import World


class Scene:
    """A pool with a desktop in use, and one row of every kind that belongs to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pool = world.pool(2, name="helpdesk")
        self.owner = world.person("owner", self.pool)
        world.take(self.owner, self.pool)
        world.settle()
        self.group = Group.objects.create(name="staff")
        self.vm = VirtualMachine.objects.order_by("number").first()
        self.keys = {
            "data-centers": world.data_center.pk,
            "clusters": world.cluster.pk,
            "hosts": world.host.pk,
            "storage": world.storage.pk,
            "templates": world.template.pk,
            "template-versions": world.version.pk,
            "pools": self.pool.pk,
            "vms": self.vm.pk,
            "users": self.owner.pk,
            "groups": self.group.pk,
            "roles": Role.objects.get(name="SuperUser").pk,
            "system": "system",
            "events": Event.objects.filter(pool_id=self.pool.pk).first().pk,
            "jobs": Job.objects.get().pk,
            "sessions": DesktopRequest.objects.get().pk,
            "settings": "MaxVmsInPool",
            "lock-outs": world.locked_out("owner").pk,
        }

    def addresses(self, kind: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Every way to this kind, and to its row."""
        resource, key = RESOURCES[kind], self.keys[kind]
        found = [("get", f"/manage/{kind}/{key}/", {})]
        found += [("get", f"/manage/{kind}/{key}/?tab={tab.name}", {}) for tab in resource.tabs]
        if resource.edit_form is not None:
            found += [(method, f"/manage/{kind}/{key}/edit/", {}) for method in ("get", "post")]
        for action in resource.actions:
            found.append(("post", f"/manage/{kind}/act/{action.name}/", {"id": [str(key)], "confirmed": "1"}))
        return found

    def state(self) -> Any:
        """Everything that a person could have changed."""
        models = (DesktopRequest, Pool, VirtualMachine, Job)
        return [list(model.objects.order_by("pk").values()) for model in models] + [list(self.world.sent)]


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


@pytest.fixture
def neighbour(world: World, scene: Scene) -> Reader:
    """Administers another pool, and nothing else."""
    person = world.person("neighbour")
    grants.grant(role="SuperUser", to=person, on=world.pool(1, name="other"))
    return Reader(person)


def body(answer: Any) -> str:
    return answer.content.decode()


def test_one_row_that_is_not_seen_refuses_the_whole_action(scene: Scene, neighbour: Reader) -> None:
    own = VirtualMachine.objects.get(pool__name="other")
    before = scene.state()
    answer = neighbour.post("/manage/vms/act/run/", {"id": [own.pk, scene.vm.pk]})
    assert answer.status_code == 404
    assert scene.state() == before


@pytest.mark.parametrize(
    "kind", ["pools", "vms", "hosts", "clusters", "data-centers", "storage", "templates", "jobs", "sessions"]
)
def test_what_one_only_sees_cannot_be_changed(scene: Scene, kind: str) -> None:
    person = scene.world.person("auditor")
    grants.grant(role="ReadOnlyAdmin", to=person, on=None)
    reader, before = Reader(person), scene.state()
    resource = RESOURCES[kind]
    shown = reader.get(f"/manage/{kind}/", sel=scene.keys[kind])
    assert shown.status_code == 200
    assert 'id="do-new"' not in body(shown)
    if resource.actions or resource.edit_form:
        assert "Your roles do not allow this." in body(shown) or "aria-disabled" in body(shown)
    for method, path, values in scene.addresses(kind):
        answer = getattr(reader.client, method)(path, values)
        assert answer.status_code == (403 if method == "post" or path.endswith("/edit/") else 200), path
    if resource.new_form is not None:
        assert reader.get(f"/manage/{kind}/new/").status_code == 403
    assert scene.state() == before


@pytest.mark.req("R036")
def test_new_is_offered_to_those_alone_who_may_create(scene: Scene, admin: Reader, neighbour: Reader) -> None:
    assert 'id="do-new"' in body(admin.get("/manage/pools/"))
    assert 'id="do-new"' not in body(neighbour.get("/manage/pools/"))


def test_actions_and_nothing_else_take_a_post(scene: Scene, admin: Reader) -> None:
    before = scene.state()
    for kind in RESOURCES:
        for path in (f"/manage/{kind}/", f"/manage/{kind}/{scene.keys[kind]}/", f"/manage/{kind}/export.csv"):
            assert admin.post(path).status_code == 405, path
        for action in RESOURCES[kind].actions:
            assert admin.get(f"/manage/{kind}/act/{action.name}/", id=scene.keys[kind]).status_code == 405
    assert scene.state() == before


def test_a_pool_administrator_sees_the_pool_and_what_is_in_it(scene: Scene, neighbour: Reader) -> None:
    assert rows(neighbour.get("/manage/pools/")) == ["other"]
    assert rows(neighbour.get("/manage/vms/")) == ["other-1"]
    assert rows(neighbour.get("/manage/clusters/")) == []
    assert len(rows(neighbour.get("/manage/jobs/"))) == 1


@pytest.mark.parametrize("kind", ["nothing", "pools-", "x"])
def test_kinds_and_keys_that_are_none_are_not_found(scene: Scene, admin: Reader, kind: str) -> None:
    assert admin.get(f"/manage/{kind}/").status_code == 404
    for real in RESOURCES:
        for key in ("nonsense", "0", "..", "1e5", "٣"):
            assert admin.get(f"/manage/{real}/{key}/").status_code == 404, (real, key)
        assert admin.post(f"/manage/{real}/act/nonsense/", {"id": ["x"]}).status_code == 404


@pytest.mark.req("R002")
def test_a_right_on_a_vm_alone_changes_neither_its_pool_nor_its_data_center(world: World) -> None:
    pool = world.pool(2)
    vm = pool.vms.order_by("number")[0]
    local = world.person("local")
    grants.grant(role="SuperUser", to=local, on=vm)
    client = Client()
    client.force_login(local)
    detach = {"id": str(vm.pk), "confirmed": "1"}
    assert client.post("/manage/vms/act/detach/", detach).status_code == 403
    publish = {**detach, "name": "mine"}
    assert client.post("/manage/vms/act/publish/", publish).status_code == 403
    assert pool.vms.count() == 2
    assert not Template.objects.filter(name="mine").exists()


def test_who_is_not_shown_among_those_found_is_not_counted_away(scene: Scene, admin: Reader) -> None:
    address = f"/manage/pools/{scene.pool.pk}/permissions/give/"
    scene.world.people(people.MOST, scene.pool)
    found = admin.post(address, {"find": "agent", "search": "1"})
    assert f"{people.MOST} found" in text(found)
    assert "There are more than are shown here." not in text(found)
    scene.world.person("agent-of-all")
    found = admin.post(address, {"find": "agent", "search": "1"})
    assert body(found).count('name="principal"') == people.MOST
    assert "found" not in text(found)
    assert "There are more than are shown here." in text(found)


@pytest.mark.req("R002")
def test_a_role_names_only_holders_on_what_the_reader_may_see(scene: Scene, admin: Reader, neighbour: Reader) -> None:
    for role, shown, hidden in (("UserRole", "owner", "owner"), ("SuperUser", "neighbour", "System")):
        address = f"/manage/roles/{Role.objects.get(name=role).pk}/?tab=holders"
        assert shown in text(admin.get(address))
        table = text(neighbour.get(address)).partition("Given to")[2]
        assert hidden not in table
        assert "helpdesk" not in table
    assert "neighbour" in table


@pytest.mark.req("R002")
def test_who_manages_people_does_not_see_what_they_have(scene: Scene) -> None:
    clerk = scene.world.person("clerk")
    Role.objects.create(name="Registrar", actions=["manage_users"])
    grants.grant(role="Registrar", to=clerk, on=None)
    scene.group.user_set.add(scene.owner)
    grants.grant(role="UserRole", to=scene.group, on=scene.pool)
    for path in (f"users/{scene.owner.pk}/?tab=roles", f"users/{scene.owner.pk}/?tab=sessions"):
        assert "helpdesk" not in body(Reader(clerk).get(f"/manage/{path}")), path
    assert "helpdesk" not in body(Reader(clerk).get(f"/manage/groups/{scene.group.pk}/?tab=roles"))


def test_who_left_meanwhile_is_not_put_back_by_a_form_that_was_open(scene: Scene, admin: Reader) -> None:
    scene.group.user_set.add(scene.owner)
    path = f"/manage/groups/{scene.group.pk}/edit/"
    opened = fields(admin.get(path))
    scene.group.user_set.clear()
    answer = admin.post(path, {**opened, "name": "renamed"})
    assert answer.status_code == 422
    assert "Somebody else changed this meanwhile" in text(answer)
    assert not scene.group.user_set.exists()


def test_what_is_denied_to_one_row_is_a_refusal_and_written_down(scene: Scene) -> None:
    Role.objects.create(name="Clerk", actions=["view_inventory", "manage_users"])
    clerk, chief = scene.world.person("clerk"), scene.world.superuser("chief")
    grants.grant(role="Clerk", to=clerk, on=None)
    answer = Reader(clerk).post("/manage/users/act/remove/", {"id": [str(chief.pk)], "confirmed": "1"})
    assert answer.status_code == 403
    assert Event.objects.filter(kind="access.refused", actor=clerk, subject_id=chief.pk).exists()
