"""What a role gives, to whom and for how long. Who reaches which address is walked in tests/access."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType

from broker import access, grants
from broker.models import Pool, Role, VirtualMachine
from tests.api.conftest import refused, sign_in
from tests.world import World

GRANTABLE = ("pool", "cluster", "data_center", "system")


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
    grants.grant(role="UserRole", to=to, on=target)
    grants.grant(role="UserRole", to=to, on=target)  # twice is once
    assert access.can(person, "use_pool", pool)
    assert set(access.visible(person, Pool, "use_pool")) == ({pool} if on == "pool" else {pool, other})
    assert not access.can(person, "edit_pool", pool)
    assert not access.administers(person)
    grants.revoke(role="UserRole", to=to, on=target)
    assert not access.can(person, "use_pool", pool)
    assert not access.visible(person, Pool, "use_pool").exists()


@pytest.mark.req("R021")
def test_whoever_leaves_the_group_loses_what_it_gave(world: World, pool: Pool) -> None:
    group = Group.objects.create(name="staff")
    grants.grant(role="UserRole", to=group, on=pool)
    person = world.person("granted")
    person.groups.add(group)
    caller = sign_in(person)
    assert caller.get("/pools").json()["count"] == 1
    person.groups.remove(group)
    assert caller.get("/pools").json()["count"] == 0
    refused(caller.post(f"/pools/{pool.pk}/take"), 404)


@pytest.mark.parametrize("on", GRANTABLE)
def test_a_role_taken_away_leaves_what_another_one_gives(world: World, pool: Pool, on: str) -> None:
    Role.objects.create(name="Operator", actions=["operate_vm", "use_pool"])
    target = {"pool": pool, "cluster": world.cluster, "data_center": world.data_center, "system": None}[on]
    person = world.person("granted")
    grants.grant(role="Operator", to=person, on=target)
    grants.grant(role="UserRole", to=person, on=target)
    grants.revoke(role="Operator", to=person, on=target)
    assert access.can(person, "use_pool", pool)
    assert not access.can(person, "operate_vm", pool)
    grants.revoke(role="UserRole", to=person, on=target)
    assert not access.can(person, "use_pool", pool)


def test_a_role_on_one_object_is_not_touched_by_taking_it_on_another(world: World, pool: Pool) -> None:
    person = world.person("granted", pool)
    grants.grant(role="UserRole", to=person, on=world.cluster)
    grants.revoke(role="UserRole", to=person, on=world.cluster)
    assert access.can(person, "use_pool", pool)


def test_list_and_check_agree_on_every_kind_of_row(world: World, pool: Pool) -> None:
    people = [world.person("nobody"), world.person("user", pool)]
    for name, on in (("at", pool), ("above", world.cluster), ("top", world.data_center), ("all", None)):
        person = world.person(name)
        grants.grant(role="SuperUser", to=person, on=on)
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
    grants.grant(role="SuperUser", to=person, on=pool)
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
    grants.grant(role="UserRole", to=group, on=world.data_center)
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
    grants.grant(role="UserRole", to=person, on=world.template)
    assert not access.can(person, "use_pool", pool)
    assert not access.can(person, "use_pool", VirtualMachine.objects.first())
    caller = sign_in(person)
    refused(caller.post(f"/pools/{uuid4()}/take"), 404)
