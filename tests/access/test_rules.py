"""Lists and checks cannot disagree: on any tree of objects, groups and roles they say what brute force says (I6)."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from guardian.models import GroupObjectPermission, UserObjectPermission
from guardian.shortcuts import get_objects_for_user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import access, grants
from broker.models import (
    Cluster,
    DataCenter,
    Host,
    Pool,
    Role,
    RoleAssignment,
    StoragePool,
    Template,
    TemplateVersion,
    VirtualMachine,
    Volume,
)
from broker.roles import ACTIONS, EVERYTHING, ROLES

CODES = [code for code, _label in ACTIONS]
PEOPLE = ("ann", "bob", "cho")
GROUPS = ("staff", "leads")
SIZE: Any = {"memory_mib": 64, "vcpus": 1}
CUSTOM = {"Odd": ["use_pool", "manage_storage"], "Odder": ["create_vm"]}


class Tree:
    """Two data centers with everything in them, in one transaction that is rolled back."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        for number in range(2):
            data_center = self.add(DataCenter.objects.create(name=f"dc{number}"))
            storage = self.add(StoragePool.objects.create(data_center=data_center, name="s", target_path="/s"))
            template = self.add(Template.objects.create(data_center=data_center, name="t", operating_system="x"))
            base = Volume.objects.create(storage_pool=storage, name="b", purpose=Volume.Purpose.BASE)
            version = TemplateVersion.objects.create(
                template=template, number=1, volume=base, checksum="0" * 64, memory_mib=64
            )
            for letter in "ab":
                cluster = self.add(Cluster.objects.create(data_center=data_center, name=letter))
                name = f"{number}{letter}"
                self.add(Host.objects.create(cluster=cluster, name=name, uri=f"fake:///{name}", display_address="x"))
                pool = self.add(Pool.objects.create(cluster=cluster, template=template, name=name, **SIZE))
                for member, of in ((f"{name}-1", pool), (f"{name}-free", None)):
                    disk = Volume.objects.create(storage_pool=storage, name=member, purpose=Volume.Purpose.DISK)
                    self.add(
                        VirtualMachine.objects.create(
                            cluster=cluster,
                            pool=of,
                            name=member,
                            template_version=version,
                            volume=disk,
                            **SIZE,
                        )
                    )
        users = get_user_model()
        self.people = {name: users.objects.create(username=name) for name in PEOPLE}
        self.groups = {name: Group.objects.create(name=name) for name in GROUPS}
        for name, actions in CUSTOM.items():
            Role.objects.create(name=name, actions=actions)

    def add(self, row: Any) -> Any:
        self.objects.append(row)
        return row


@pytest.fixture
def tree(transactional_db: None) -> Iterator[Tree]:
    with transaction.atomic():
        yield Tree()
        transaction.set_rollback(True)


# -- brute force: the rules of the page, in Python alone ------------------------------------------------


def above(row: Any) -> list[Any]:
    match row:
        case DataCenter():
            return [row]
        case Cluster() | StoragePool() | Template():
            return [row, *above(row.data_center)]
        case Host() | Pool():
            return [row, *above(row.cluster)]
        case VirtualMachine():
            return [row, *([row.pool] if row.pool else []), *above(row.cluster)]
    raise AssertionError(row)


def allowed(tree: Tree, given: Iterable[Any], user: Any, row: Any) -> set[str]:
    """What the roles say, by walking up from the row."""
    if not user.is_active:
        return set()
    if user.is_superuser:
        return set(CODES)
    found: set[str] = set()
    mine = {("user", user.pk)} | {("group", group.pk) for group in user.groups.all()}
    for principal, role, on in given:
        if principal in mine and (on is None or on in above(row)):
            found |= ROLES.get(role) or set(CUSTOM[role])
    if isinstance(row, Template):
        for cluster in (one for one in tree.objects if isinstance(one, Cluster)):
            if cluster.data_center == row.data_center and {"create_pool", "create_vm"} & allowed(
                tree, given, user, cluster
            ):
                found |= {"view_inventory"}
    return found


def grant_strategy(objects: int) -> st.SearchStrategy[Any]:
    principal = st.sampled_from([("user", name) for name in PEOPLE] + [("group", name) for name in GROUPS])
    on = st.one_of(st.none(), st.integers(0, objects - 1))
    return st.tuples(principal, st.sampled_from([*ROLES, *CUSTOM]), on)


@pytest.mark.req("R002", "R132")
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(data=st.data())
def test_lists_and_checks_say_what_brute_force_says(tree: Tree, data: st.DataObject) -> None:
    with transaction.atomic():
        check_once(tree, data)
        transaction.set_rollback(True)


def check_once(tree: Tree, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(grant_strategy(len(tree.objects)), min_size=1, max_size=8, unique=True))
    members = data.draw(st.sets(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(GROUPS)), max_size=4))
    taken = data.draw(st.sets(st.integers(0, len(drawn) - 1), max_size=3))
    off = data.draw(st.sets(st.sampled_from(PEOPLE), max_size=1))
    for person, group in members:
        tree.groups[group].user_set.add(tree.people[person])
    for name, person in tree.people.items():
        person.is_active = name not in off
        person.save()
    held: dict[Any, Any] = {}
    for (kind, name), role, place in drawn:
        to = tree.people[name] if kind == "user" else tree.groups[name]
        on = None if place is None else tree.objects[place]
        grants.grant(role=role, to=to, on=on)
        held[(kind, to.pk), role, on and on.pk] = ((kind, to.pk), role, on)
    with_superuser = [one for one in held.values() if one[1] != "SuperUser"]
    for index in sorted(taken):
        if index < len(with_superuser):
            (kind, key), role, on = with_superuser[index]
            to = next(one for one in [*tree.people.values(), *tree.groups.values()] if (one.pk) == key)
            grants.revoke(role=role, to=to, on=on)
            held.pop(((kind, key), role, on and on.pk))
    given_now = list(held.values())
    action = data.draw(st.sampled_from(CODES))
    for person in tree.people.values():
        for row in tree.objects:
            expected = allowed(tree, given_now, person, row)
            assert access.can(person, action, row) == (action in expected), (person, action, row)
            lent = {"view_inventory"} if isinstance(row, Template) else set()
            assert access.actions_on(person, row) - lent == expected - lent
            if action not in lent:
                assert access.who_can(action, row).filter(pk=person.pk).exists() == (action in expected)
            explained = {one.action for one in access.explain(person, row) if one.because and person.is_active}
            assert explained - lent == expected - lent
        for model in access.PROTECTED:
            rows = {row for row in tree.objects if isinstance(row, model)}
            expected_rows = {row for row in rows if action in allowed(tree, given_now, person, row)}
            assert set(access.visible(person, model, action)) == expected_rows
        whole = set().union(*(allowed(tree, [one], person, tree.objects[0]) for one in given_now if one[2] is None))
        assert access.actions_on(person, None) == whole
        assert access.everywhere(person, action) == (action in whole)


def test_guardian_itself_knows_what_was_given_on_an_object(tree: Tree) -> None:
    """Its rows are the index of our roles: whoever asks guardian is told the same, as far as it knows of parents."""
    pool = next(row for row in tree.objects if isinstance(row, Pool))
    ann = tree.people["ann"]
    grants.grant(role="VmPoolAdmin", to=ann, on=pool)
    assert list(get_objects_for_user(ann, "edit_pool", klass=Pool)) == [pool]
    kind = ContentType.objects.get_for_model(Pool)
    codes = UserObjectPermission.objects.filter(content_type=kind, user=ann).values_list(
        "permission__codename", flat=True
    )
    assert set(codes) == ROLES["VmPoolAdmin"]
    grants.revoke(role="VmPoolAdmin", to=ann, on=pool)
    assert not UserObjectPermission.objects.exists() and not GroupObjectPermission.objects.exists()


@pytest.mark.req("R146")
def test_one_of_two_overlapping_roles_keeps_its_actions(tree: Tree) -> None:
    pool = next(row for row in tree.objects if isinstance(row, Pool))
    ann = tree.people["ann"]
    for role in ("VmPoolAdmin", "HelpDeskLead"):
        grants.grant(role=role, to=ann, on=pool)
    grants.revoke(role="VmPoolAdmin", to=ann, on=pool)
    assert access.actions_on(ann, pool) == ROLES["HelpDeskLead"]
    grants.grant(role="ReadOnlyAdmin", to=ann, on=None)
    grants.grant(role="UserRole", to=ann, on=None)
    grants.revoke(role="ReadOnlyAdmin", to=ann, on=None)
    assert access.actions_on(ann, None) == ROLES["UserRole"]


def test_an_upgrade_writes_what_built_in_roles_allow_today(tree: Tree) -> None:
    pool = next(row for row in tree.objects if isinstance(row, Pool))
    ann = tree.people["ann"]
    grants.grant(role="UserRole", to=ann, on=pool)
    Role.objects.filter(name="UserRole").update(actions=["use_pool", "edit_pool"])
    grants.reindex(Role.objects.get(name="UserRole"))
    assert access.can(ann, "edit_pool", pool)
    grants.write_built_in_roles()
    assert not access.can(ann, "edit_pool", pool)
    assert access.can(ann, "use_pool", pool)


@pytest.mark.django_db
def test_ten_thousand_pools_and_a_hundred_thousand_grants_cost_two_statements(
    django_assert_max_num_queries: Any,
) -> None:
    data_center = DataCenter.objects.create(name="dc")
    cluster = Cluster.objects.create(data_center=data_center, name="c")
    template = Template.objects.create(data_center=data_center, name="t", operating_system="x")
    pools = [Pool(cluster=cluster, template=template, name=f"p{number:05}", **SIZE) for number in range(10_000)]
    Pool.objects.bulk_create(pools)
    people = [get_user_model()(username=f"u{number:04}") for number in range(1000)]
    get_user_model().objects.bulk_create(people)
    role = Role.objects.get(name="UserRole")
    kind = ContentType.objects.get_for_model(Pool)
    pairs = [
        (user, pools[(7 * of + 101 * number) % 10_000]) for of, user in enumerate(people) for number in range(100)
    ]
    assert len(set(pairs)) == 100_000
    RoleAssignment.objects.bulk_create(
        RoleAssignment(role=role, user=user, content_type=kind, object_id=pool.pk) for user, pool in pairs
    )
    permission = kind.permission_set.get(codename="use_pool")
    UserObjectPermission.objects.bulk_create(
        UserObjectPermission(user=user, permission=permission, content_type=kind, object_pk=str(pool.pk))
        for user, pool in pairs
    )
    someone = people[17]
    mine = {pool.pk for user, pool in pairs if user is someone}
    ContentType.objects.clear_cache()
    with django_assert_max_num_queries(2 + len(Pool.PARENTS)):  # the first list fills the cache of content types
        assert {pool.pk for pool in access.visible(someone, Pool, "use_pool")} == mine
    with CaptureQueriesContext(connection) as statements:
        rows = access.visible(someone, Pool, "use_pool").select_related("cluster__data_center")
        found = list(rows.order_by("name", "pk")[:100])
    assert len(statements) == 1
    assert len(found) == len(mine) == 100
    with django_assert_max_num_queries(1):
        assert access.can(someone, "use_pool", found[0])
    with django_assert_max_num_queries(1):
        assert access.actions_on(someone, found[0]) == {"use_pool"}
    with django_assert_max_num_queries(1):
        holders = {user.pk for user, pool in pairs if pool.pk == found[0].pk}
        assert set(access.who_can("use_pool", found[0]).values_list("pk", flat=True)) == holders
    assert frozenset(CODES) == EVERYTHING
