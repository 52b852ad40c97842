"""Roles are given, taken, composed and explained (R131 to R146)."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from broker import access, grants
from broker.models import Cluster, DataCenter, Event, Job, Pool, Role, RoleAssignment, VirtualMachine
from broker.operations import users
from tests.api.conftest import PASSWORD, Api, fields, refused, sign_in, with_password
from tests.world import World


def permissions(caller: Api, path: str) -> list[dict[str, Any]]:
    answer = caller.get(f"{path}/permissions")
    assert answer.status_code == 200, answer.content
    return answer.json()["items"]


@pytest.mark.req("R141", "R143", "R144", "R145", "R146", "R002")
def test_a_role_is_given_seen_used_and_taken(world: World, pool: Pool, admin: Api) -> None:
    person = world.person("minji")
    caller = sign_in(person)
    path = f"/manage/pools/{pool.pk}"
    found = admin.get(f"{path}/permissions/candidates?q=minj").json()
    assert [user["name"] for user in found["users"]] == ["minji"]
    assert "UserRole" in [role["name"] for role in found["roles"]]
    refused(caller.post(f"/pools/{pool.pk}/take"), 404)
    answer = admin.post(f"{path}/permissions", {"principal": {"user": str(person.pk)}, "role": "UserRole"})
    assert answer.status_code == 201, answer.content
    given = answer.json()
    assert given["principal"]["user"] == {"id": str(person.pk), "name": "minji"}
    assert (given["role"], given["inherited_from"], given["granted_by"]) == ("UserRole", None, "admin")
    again = admin.post(f"{path}/permissions", {"principal": {"user": "minji"}, "role": "UserRole"})
    assert (again.status_code, again.json()) == (200, given)
    assert given in permissions(admin, path)
    assert caller.post(f"/pools/{pool.pk}/take").status_code == 201
    assert admin.call("DELETE", f"{path}/permissions/{given['id']}").status_code == 204
    refused(caller.post(f"/pools/{pool.pk}/take"), 404)
    assert {one["role"] for one in permissions(admin, path)} == {"SuperUser"}


@pytest.mark.req("R143")
def test_what_is_inherited_says_from_where_and_is_taken_only_there(world: World, pool: Pool, admin: Api) -> None:
    group = Group.objects.create(name="staff")
    cluster = f"/clusters/{world.cluster.pk}"
    given = admin.post(f"{cluster}/permissions", {"principal": {"group": group.pk}, "role": "UserRole"}).json()
    path = f"/manage/pools/{pool.pk}"
    [seen] = [one for one in permissions(admin, path) if one["id"] == given["id"]]
    assert seen["inherited_from"] == {"kind": "clusters", "id": str(world.cluster.pk), "name": "Default"}
    [own] = [one for one in permissions(admin, path) if one["role"] == "SuperUser"]
    assert own["inherited_from"] == {"kind": "system", "id": None, "name": "System"}
    refusal = refused(admin.call("DELETE", f"{path}/permissions/{given['id']}"), 409, "INHERITED")
    assert "Default" in refusal["message"]
    assert admin.call("DELETE", f"{cluster}/permissions/{given['id']}").status_code == 204


@pytest.mark.req("R142")
@pytest.mark.parametrize(
    "principal",
    [
        {"user": "nobody-of-this-name"},
        {"user": "00000000-0000-0000-0000-000000000001"},
        {"user": {"id": "00000000-0000-0000-0000-000000000001"}},
        {"group": 999_999},
        {"group": 10**30},
        {"group": "no such group"},
        {"user": None},
        {"user": "admin", "group": "staff"},
        {},
    ],
)
def test_only_users_and_groups_that_exist_are_given_roles(
    world: World, pool: Pool, admin: Api, principal: dict[str, Any]
) -> None:
    Group.objects.create(name="staff")
    before = RoleAssignment.objects.count()
    answer = admin.post(f"/manage/pools/{pool.pk}/permissions", {"principal": principal, "role": "UserRole"})
    assert fields(refused(answer, 400)) == {"principal"}
    assert RoleAssignment.objects.count() == before


def test_whoever_may_not_sign_in_is_given_nothing(world: World, pool: Pool, admin: Api) -> None:
    person = world.person("gone")
    person.is_active = False
    person.save()
    body = {"principal": {"user": "gone"}, "role": "UserRole"}
    refused(admin.post(f"/manage/pools/{pool.pk}/permissions", body), 400)
    assert not admin.get("/system/permissions/candidates?q=gone").json()["users"]


@pytest.mark.parametrize("role", ["userrole", "", "Nothing"])
def test_a_role_that_is_none_is_refused_with_those_that_are(pool: Pool, admin: Api, role: str) -> None:
    answer = admin.post(f"/manage/pools/{pool.pk}/permissions", {"principal": {"user": "admin"}, "role": role})
    assert "UserRole" in refused(answer, 400)["message"]


@pytest.mark.req("R136", "R137", "R138", "R141")
@pytest.mark.parametrize("on", ["pool", "cluster", "data_center", "system"])
def test_a_pool_administrator_assigns_users_and_no_administrators(world: World, pool: Pool, on: str) -> None:
    targets = {"pool": pool, "cluster": world.cluster, "data_center": world.data_center, "system": None}
    person = world.person("poolie")
    grants.grant(role="VmPoolAdmin", to=person, on=targets[on])
    caller, path = sign_in(person), f"/manage/pools/{pool.pk}/permissions"
    world.person("minji")
    given = caller.post(path, {"principal": {"user": "minji"}, "role": "UserRole"})
    assert given.status_code == 201
    assert caller.call("DELETE", f"{path}/{given.json()['id']}").status_code == 204
    for role in ("VmPoolAdmin", "HelpDeskLead", "ReadOnlyAdmin", "SuperUser"):
        refusal = refused(caller.post(path, {"principal": {"user": "minji"}, "role": role}), 403, "FORBIDDEN")
        assert "UserRole" in refusal["message"]
    assert [role["name"] for role in caller.get(f"{path}/candidates").json()["roles"]] == ["UserRole"]
    lead = grants.grant(role="HelpDeskLead", to=world.person("lead"), on=pool)[0]
    refused(caller.call("DELETE", f"{path}/{lead.pk}"), 403)
    assert RoleAssignment.objects.filter(pk=lead.pk).exists()


@pytest.mark.req("R132", "R133", "R134")
def test_nobody_gives_more_than_he_has(world: World, pool: Pool) -> None:
    person = world.person("local")
    grants.grant(role="DataCenterAdmin", to=person, on=world.data_center)
    caller, path = sign_in(person), f"/data-centers/{world.data_center.pk}/permissions"
    Role.objects.create(name="StorageAdmin", actions=["view_inventory", "manage_storage"])
    world.person("minji")
    refused(caller.post(path, {"principal": {"user": "minji"}, "role": "StorageAdmin"}), 403)
    refused(caller.post(path, {"principal": {"user": "local"}, "role": "SuperUser"}), 403)
    assert caller.post(path, {"principal": {"user": "minji"}, "role": "ClusterAdmin"}).status_code == 201
    refused(caller.post("/system/permissions", {"principal": {"user": "local"}, "role": "UserRole"}), 404)
    other = world.person("other")
    grants.grant(role="ReadOnlyAdmin", to=other, on=None)
    refused(sign_in(other).post("/system/permissions", {"principal": {"user": "other"}, "role": "UserRole"}), 403)


def test_the_last_superuser_stays(world: World, admin: Api) -> None:
    me = RoleAssignment.objects.get(user__username="admin")
    refused(admin.call("DELETE", f"/system/permissions/{me.pk}"), 409, "LAST_SUPERUSER")
    assert access.everywhere(me.user, "manage_roles")
    second = world.person("second")
    second.is_active = False
    second.save()
    grants.grant(role="SuperUser", to=second, on=None)
    refused(admin.call("DELETE", f"/system/permissions/{me.pk}"), 409, "LAST_SUPERUSER")
    second.is_active = True
    second.save()
    assert admin.call("DELETE", f"/system/permissions/{me.pk}").status_code == 204
    refused(admin.get("/system/permissions"), 404)


def test_the_last_superuser_may_be_one_through_a_group(world: World, admin: Api) -> None:
    group = Group.objects.create(name="chiefs")
    member = world.person("chief")
    group.user_set.add(member)
    grants.grant(role="SuperUser", to=group, on=None)
    grants.revoke(role="SuperUser", to=world.person("admin"), on=None)
    chief = sign_in(member)
    refused(chief.patch(f"/groups/{group.pk}", {"users": []}), 409, "LAST_SUPERUSER")
    refused(chief.patch(f"/users/{member.pk}", {"groups": []}), 409, "LAST_SUPERUSER")
    assert list(group.user_set.all()) == [member]


def test_custom_roles_are_composed_changed_and_removed(world: World, pool: Pool, admin: Api) -> None:
    made = admin.post("/roles", {"name": "Operator", "actions": ["view_inventory", "operate_vm"]})
    assert made.status_code == 201, made.content
    role = made.json()
    assert {one["code"] for one in role["actions"]} == {"view_inventory", "operate_vm"}
    assert (role["built_in"], role["administrative"]) == (False, True)
    person = world.person("minji")
    path = f"/manage/pools/{pool.pk}"
    admin.post(f"{path}/permissions", {"principal": {"user": "minji"}, "role": "Operator"})
    caller = sign_in(person)
    refused(caller.patch(path, {"comment": "x"}), 403)
    assert admin.patch(f"/roles/{role['id']}", {"actions": ["view_inventory", "edit_pool"]}).status_code == 200
    assert caller.patch(path, {"comment": "x"}).status_code == 200
    assert access.actions_on(person, pool) == {"view_inventory", "edit_pool"}
    refused(admin.call("DELETE", f"/roles/{role['id']}"), 409, "IN_USE")
    grants.revoke(role="Operator", to=person, on=pool)
    assert admin.call("DELETE", f"/roles/{role['id']}").status_code == 204
    refused(admin.get(f"/roles/{role['id']}"), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "", "actions": ["use_pool"]}, 400),
        ({"name": "x", "actions": []}, 400),
        ({"name": "x", "actions": ["fly"]}, 400),
        ({"name": "UserRole", "actions": ["use_pool"]}, 409),
        ({"name": "x", "actions": ["use_pool"], "built_in": True}, 422),
        ({"name": "x", "actions": "use_pool"}, 422),
    ],
)
def test_roles_that_cannot_be_are_refused(admin: Api, body: dict[str, Any], status: int) -> None:
    before = Role.objects.count()
    refused(admin.post("/roles", body), status)
    assert Role.objects.count() == before


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_built_in_roles_stay_as_they_are(admin: Api, method: str) -> None:
    role = Role.objects.get(name="UserRole")
    refused(admin.call(method, f"/roles/{role.pk}", {"actions": ["edit_pool"]}), 409, "BUILT_IN")
    role.refresh_from_db()
    assert role.actions == ["use_pool"]


@pytest.mark.req("R131")
def test_a_superuser_may_do_everything(world: World, pool: Pool, admin: Api) -> None:
    answer = admin.get(f"/manage/pools/{pool.pk}/access?user=admin").json()
    assert all(one["allowed"] and one["because"] for one in answer["decisions"])


def test_why_somebody_may_do_something_is_explained(world: World, pool: Pool, admin: Api) -> None:
    group = Group.objects.create(name="staff")
    person = world.person("minji")
    group.user_set.add(person)
    grants.grant(role="VmPoolAdmin", to=group, on=world.cluster)
    answer = admin.get(f"/manage/pools/{pool.pk}/access?user=minji").json()
    decisions = {one["action"]: one for one in answer["decisions"]}
    [because] = decisions["edit_pool"]["because"]
    assert (because["role"], because["group"], because["inherited_from"]["kind"]) == (
        "VmPoolAdmin",
        "staff",
        "clusters",
    )
    assert decisions["manage_hosts"] == {
        "action": "manage_hosts",
        "label": "Manage hosts",
        "allowed": False,
        "because": [],
    }
    refused(admin.get(f"/manage/pools/{pool.pk}/access?user=nobody"), 400)
    mine = sign_in(person).get("/me/access").json()["items"]
    assert [(one["role"], one["group"], one["on"]["name"]) for one in mine] == [("VmPoolAdmin", "staff", "Default")]


# -- escalation ----------------------------------------------------------------------------------------


@pytest.fixture
def manager(world: World) -> Api:
    """Manages people and roles of the whole system, and nothing else."""
    Role.objects.create(name="Registrar", actions=["view_inventory", "manage_users", "manage_roles"])
    person = world.person("registrar")
    grants.grant(role="Registrar", to=person, on=None)
    grants.grant(role="SuperUser", to=world.person("admin"), on=None)
    return sign_in(person)


def test_whoever_manages_people_cannot_become_more_through_them(world: World, manager: Api) -> None:
    admin, me = world.person("admin"), world.person("registrar")
    chiefs = Group.objects.create(name="chiefs")
    grants.grant(role="SuperUser", to=chiefs, on=None)
    for change in ({"password": "a new long password"}, {"is_active": False}, {"email": "me@example.org"}):
        refused(manager.patch(f"/users/{admin.pk}", change), 403, "FORBIDDEN")
    refused(manager.call("DELETE", f"/users/{admin.pk}"), 403, "FORBIDDEN")
    refused(manager.patch(f"/users/{me.pk}", {"groups": [chiefs.pk]}), 403, "FORBIDDEN")
    refused(manager.patch(f"/groups/{chiefs.pk}", {"users": [str(me.pk)]}), 403, "FORBIDDEN")
    made = {"username": "puppet", "password": "a long password here", "groups": [chiefs.pk]}
    refused(manager.post("/users", made), 403, "FORBIDDEN")
    assert not access.everywhere(me, "change_settings")
    assert not chiefs.user_set.exists()
    admin.refresh_from_db()
    assert admin.is_active and not admin.email
    assert manager.post("/users", {**made, "groups": []}).status_code == 201


def test_nobody_composes_a_role_of_what_he_does_not_have(world: World, manager: Api) -> None:
    own = Role.objects.get(name="Registrar")
    more = {"actions": [*own.actions, "change_settings"]}
    refused(manager.patch(f"/roles/{own.pk}", more), 403, "FORBIDDEN")
    refused(manager.post("/roles", {"name": "x", "actions": ["manage_hosts"]}), 403, "FORBIDDEN")
    foreign = Role.objects.create(name="Foreign", actions=["manage_hosts"])
    refused(manager.patch(f"/roles/{foreign.pk}", {"actions": ["view_inventory"]}), 403, "FORBIDDEN")
    refused(manager.call("DELETE", f"/roles/{foreign.pk}"), 403, "FORBIDDEN")
    own.refresh_from_db()
    assert "change_settings" not in own.actions


@pytest.mark.parametrize("extra", ["is_superuser", "is_staff", "id", "user_permissions", "last_login"])
def test_nobody_is_made_more_by_fields_that_are_not_offered(world: World, admin: Api, extra: str) -> None:
    person = world.person("minji")
    refused(admin.patch(f"/users/{person.pk}", {extra: True}), 422)
    person.refresh_from_db()
    assert not person.is_superuser


def test_what_is_refused_is_recorded(world: World, pool: Pool, settings: Any) -> None:
    stranger = sign_in(world.person("stranger"))
    refused(stranger.get(f"/manage/pools/{pool.pk}"), 404)
    event = Event.objects.get(kind="access.refused")
    assert (event.actor.username, event.outcome, event.address) == ("stranger", "refused", "127.0.0.1")
    assert (event.pool_id, event.facts["status"]) == (pool.pk, "404")
    refused(Api("hd_nonsense").get("/me"), 401)
    assert Event.objects.filter(kind="access.refused_stranger", facts__status="401").exists()


@pytest.mark.parametrize("what", ["pool", "vm", "host", "template", "storage"])
def test_nothing_is_moved_under_what_one_controls(world: World, pool: Pool, what: str) -> None:
    """Whoever has everything on another cluster and data center, and may edit the object, cannot pull it over."""
    person = world.person("greedy")
    other = DataCenter.objects.create(name="Mine")
    cluster = Cluster.objects.create(data_center=other, name="Mine")
    rows: dict[str, Any] = {
        "pool": ("manage/pools", pool),
        "vm": ("vms", VirtualMachine.objects.first()),
        "host": ("hosts", world.host),
        "template": ("templates", world.template),
        "storage": ("storage-pools", world.storage),
    }
    path, row = rows[what]
    for on in (row, other):
        grants.grant(role="SuperUser", to=person, on=on)
    caller = sign_in(person)
    assert caller.patch(f"/{path}/{row.pk}", {"comment": "mine"}).status_code == 200
    for field, key in (("cluster", cluster.pk), ("data_center", other.pk), ("pool", None)):
        answer = caller.patch(f"/{path}/{row.pk}", {field: str(key)})
        assert answer.status_code in (400, 422), (field, answer.content)
    row.refresh_from_db()
    assert world.data_center.pk in {one.pk for one in access.chain(row)}


def test_a_form_from_another_site_is_refused_and_recorded(world: World, pool: Pool) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.superuser())
    address = f"/manage/pools/{pool.pk}/permissions/give/"
    assert client.post(address, {"role": "x"}, headers={"Origin": "https://evil.example"}).status_code == 403
    event = Event.objects.get(kind="access.refused")
    assert (event.actor.username, event.pool_id, event.facts["status"]) == ("admin", pool.pk, "403")


def test_an_id_is_an_id_whatever_others_are_called(world: World, pool: Pool, admin: Api) -> None:
    victim = world.person("victim")
    world.person(str(victim.pk))
    path = f"/manage/pools/{pool.pk}/permissions"
    refused(admin.post(path, {"principal": {"user": str(victim.pk)}, "role": "UserRole"}), 400)
    given = admin.post(path, {"principal": {"user": {"id": str(victim.pk)}}, "role": "UserRole"}).json()
    assert given["principal"]["user"]["name"] == "victim"
    one = Group.objects.create(name="one")
    Group.objects.create(name=str(one.pk))
    given = admin.post(path, {"principal": {"group": one.pk}, "role": "UserRole"}).json()
    assert given["principal"]["group"]["name"] == "one"


def test_who_only_sees_a_vm_does_not_copy_its_disk(world: World, pool: Pool) -> None:
    """Whoever publishes or imports into a template of his own gets what was on the disk."""
    Role.objects.create(name="Publisher", actions=["view_inventory", "manage_templates"])
    person = world.person("copier")
    grants.grant(role="Publisher", to=person, on=world.template)
    grants.grant(role="ReadOnlyAdmin", to=person, on=world.cluster)
    grants.grant(role="ReadOnlyAdmin", to=person, on=world.storage)
    caller, vm = sign_in(person), VirtualMachine.objects.first()
    refused(caller.post(f"/vms/{vm.pk}/publish", {"template": str(world.template.pk)}), 403)
    body = {"storage_pool": str(world.storage.pk), "volume": vm.volume.name}
    refused(caller.post(f"/templates/{world.template.pk}/versions", body), 403)
    assert world.template.versions.count() == 1


def test_what_one_began_is_not_tried_again_without_the_right(world: World, pool: Pool) -> None:
    person = world.person("local")
    grants.grant(role="ClusterAdmin", to=person, on=world.cluster)
    caller = sign_in(person)
    body = {"cluster": str(world.cluster.pk), "template": str(world.template.pk), "name": "mine"}
    job = caller.post("/vms", body).json()["job"]["id"]
    Job.objects.filter(pk=job).update(state="failed")
    Job.objects.get(pk=job).items.update(state="failed")
    grants.revoke(role="ClusterAdmin", to=person, on=world.cluster)
    refused(caller.post(f"/jobs/{job}/retry"), 403)


def test_the_back_office_is_for_those_who_may_do_everything(world: World) -> None:
    Role.objects.create(name="Tuner", actions=["view_inventory", "change_settings"])
    person = world.person("tuner")
    grants.grant(role="Tuner", to=person, on=None)
    client = Client()
    client.force_login(person)
    assert client.get("/backoffice/", follow=True).status_code == 404
    client.force_login(world.superuser())
    assert client.get("/backoffice/").status_code == 200


def test_who_composes_roles_gives_none_by_it(world: World, manager: Api) -> None:
    role = Role.objects.create(name="Held", actions=["view_inventory"])
    grants.grant(role="Held", to=world.person("eve"), on=None)
    refused(manager.patch(f"/roles/{role.pk}", {"actions": ["view_inventory", "manage_users"]}), 403)
    assert manager.patch(f"/roles/{role.pk}", {"description": "in words"}).status_code == 200


def test_a_role_with_an_action_of_another_version_is_renamed_and_removed(admin: Api) -> None:
    role = Role.objects.create(name="Old", actions=["fly"])
    assert admin.patch(f"/roles/{role.pk}", {"name": "Older"}).status_code == 200
    assert admin.call("DELETE", f"/roles/{role.pk}").status_code == 204


def test_a_token_for_a_password_that_is_changed_meanwhile_is_not_issued(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = with_password(world.person("minji"))

    def slow(*_request: Any, **_credentials: Any) -> Any:
        authenticated = type(person).objects.get(pk=person.pk)
        users.change(user=person, changes={}, password="another long one", by=None)
        return authenticated

    monkeypatch.setattr("portal.api.tokens.authenticate", slow)
    refused(Api().post("/tokens", {"username": "minji", "password": PASSWORD}), 401, "WRONG_CREDENTIALS")


def test_tokens_of_who_is_disabled_do_not_come_back(world: World) -> None:
    person = world.person("minji")
    caller = sign_in(person)
    users.change(user=person, changes={"is_active": False}, by=None)
    users.change(user=person, changes={"is_active": True}, by=None)
    refused(caller.get("/me"), 401)


@pytest.mark.parametrize("name", ["two\nlines", "bell\x07", "a\u2028b"])
def test_names_hold_no_control_characters(admin: Api, name: str) -> None:
    refused(admin.post("/groups", {"name": name}), 400)
    refused(admin.post("/roles", {"name": name, "actions": ["use_pool"]}), 400)


def test_nobody_writes_a_line_of_the_log(caplog: pytest.LogCaptureFixture, world: World) -> None:
    with caplog.at_level("INFO", "broker.events"):
        Client(enforce_csrf_checks=True).post("/manage/vms/x%0AI broker.events: forged/")
    assert "forged" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records if record.name == "broker.events")
