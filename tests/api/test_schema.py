"""The document of the API tells the whole truth: whoever asks whatever is answered as it says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError, close_old_connections, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from broker import access, grants
from broker.models import (
    Cluster,
    ConsoleSession,
    DataCenter,
    DesktopRequest,
    HandoverPoint,
    Host,
    Job,
    Pool,
    Role,
    RoleAssignment,
    ShiftAttendance,
    ShiftHandover,
    ShiftPlan,
    StoragePool,
    Template,
    VirtualMachine,
)
from broker.operations import shift_plans, vms
from broker.roles import ROLES
from broker.states import ConsoleKind, HostStatus, JobState
from portal.models import ApiToken
from tests.api.conftest import PASSWORD, is_envelope, serve_tickets, uncommitted_world, with_password
from tests.help_desk import running_shift
from tests.world import World

DOCUMENT = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
OPERATIONS = {found.ok().label: found.ok() for found in DOCUMENT.get_all_operations()}
AS_DESCRIBED, NOT_AS_DESCRIBED = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# Bodies of which something is either given or not: the fields of one that makes sense.
EITHER_OR = {
    "POST /api/v1/templates": ("name", "path", "storage_pool"),
    "POST /api/v1/templates/{template_id}/versions": ("path", "storage_pool"),
    "POST /api/v1/vms/{vm_id}/publish": ("name",),
}
# Examples of every operation for SuperUser, and for everybody else.
MANY, FEW = 9, 2


def people(world: World, pool: Any) -> dict[str, Any]:
    """One person of every role by its name, and one of none."""
    held_on = {"SuperUser": None, "UserRole": pool}
    found = {"nobody": world.person("nobody")}
    for role in ROLES:
        found[role] = world.person(role)
        grants.grant(role=role, to=found[role], on=held_on.get(role, world.data_center))
    return found


class Scene:
    """Something of every kind, in several states; whoever may take a desktop has one."""

    def __init__(self, world: World) -> None:
        pool = world.pool(3)
        empty = world.pool(1, name="empty")
        vms.detach(vms=list(empty.vms.all()), by=None)
        world.pool(1, name="unused")
        vms.start(vm=world.independent("started"), by=None)
        world.independent("workbench")
        world.publish_version()
        _spare(world, pool)
        staff = Group.objects.create(name="staff")
        agent = with_password(world.person("agent", pool))
        staff.user_set.add(agent)
        persons = people(world, pool)
        for person in (agent, *persons.values()):
            if access.can(person, "use_pool", pool):
                world.take(person, pool)
        world.settle()
        self._shifts(pool, agent)
        self._console(agent)
        self.world = world
        self.tokens = {name: _token(person) for name, person in persons.items()}
        _token(persons["SuperUser"])  # that can be revoked

    def _console(self, agent: Any) -> None:
        """A desktop that is open in a browser."""
        vm = VirtualMachine.objects.filter(requests__user=agent, run_number__gt=0).order_by("name")[0]
        lasting = timezone.now() + timedelta(hours=1)
        about = {"login": "scene", "run_number": vm.run_number, "kind": ConsoleKind.TEXT, "expires_at": lasting}
        ConsoleSession.objects.create(user=agent, vm=vm, **about)

    def _shifts(self, pool: Pool, agent: Any) -> None:
        """Somebody who is there, something handed over, a seat that is faulty, and a plan that nobody uses."""
        plan, _attendance = running_shift(pool, agent)
        handover = ShiftHandover.objects.create(plan=plan, author=get_user_model().objects.get(username="nobody"))
        HandoverPoint.objects.create(handover=handover, number=1, text="Paper")
        shift_plans.create(pool=pool, name="Unused", time_zone="Asia/Seoul")

    def sensible(self) -> dict[str, list[Any]]:
        """What makes sense in an address, a query or a body, by its name there."""
        world = self.world
        clusters, templates = _keys(Cluster.objects, "name"), _keys(Template.objects, "-name")
        hosts, data_centers = _keys(Host.objects, "name"), _keys(DataCenter.objects, "name")
        storage = _keys(StoragePool.objects, "name")
        pools = _keys(world.cluster.pools, "name")
        machines = _keys(VirtualMachine.objects, "-name")
        users = _keys(get_user_model().objects, "username")
        groups = list(Group.objects.values_list("pk", flat=True))
        tokens = list(ApiToken.objects.order_by("-pk").values_list("pk", flat=True)[:2])
        return {
            "pool_id": pools,
            "request_id": _keys(DesktopRequest.objects, "ticket"),
            "session_id": _keys(ConsoleSession.objects, "created_at"),
            "token_id": tokens,
            "sign_in_id": [str(token) for token in tokens],
            "replaces": _keys(ConsoleSession.objects, "created_at"),
            "vm_id": machines,
            "job_id": _keys(Job.objects, "-created_at"),
            "host_id": hosts,
            "cluster_id": clusters,
            "data_center_id": data_centers,
            "storage_pool_id": storage,
            "template_id": templates,
            "user_id": users,
            "group_id": groups,
            "lock_out_id": [1],
            "role_id": [*_keys(Role.objects.filter(built_in=False), "name"), *_keys(Role.objects, "name")],
            "kind": ["manage/pools"],
            "object_id": pools,
            "permission_id": _keys(RoleAssignment.objects.filter(object_id__in=pools), "granted_at"),
            "number": [2, 1],
            "plan_id": _keys(ShiftPlan.objects, "name"),
            "attendance_id": _keys(ShiftAttendance.objects, "came_at"),
            "handover_id": _keys(ShiftHandover.objects, "at"),
            "point_id": _keys(HandoverPoint.objects, "number"),
            "time_zone": ["UTC", "Asia/Seoul"],
            "minutes": [5, 30],
            "pool": pools,
            "user": [*users, "agent"],
            "host": hosts,
            "uuid": machines,
            "about": [*pools, *machines],
            "cluster": clusters,
            "data_center": data_centers,
            "storage_pool": storage,
            "template": templates,
            "template_version": ["latest", 1],
            "principal": [{"user": "agent"}, {"group": "staff"}, {"user": users[0]}],
            "role": ["UserRole", "ReadOnlyAdmin"],
            "actions": [["use_pool"], ["view_inventory", "edit_pool"]],
            "hosts": [hosts[:1]],
            "users": [users],
            "groups": [groups],
            "name": ["fresh", "helpdesk"],
            "username": ["agent", "fresh"],
            "password": [PASSWORD, "another one for tests"],
            "uri": ["qemu+ssh://root@second/system"],
            "display_address": ["192.0.2.2"],
            "target_path": ["/fake/second"],
            "path": ["/fake/image.qcow2"],
            "operating_system": ["Tiny Linux"],
            "since": ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00Z", "2026-11-01"],
            "value": [5, "on"],
        }


def _spare(world: World, pool: Pool) -> None:
    """What nothing stands on, so that it can be removed; a host that is not used, and work that went wrong."""
    DataCenter.objects.create(name="Spare")
    Role.objects.create(name="Spare", actions=["use_pool"])
    Cluster.objects.create(data_center=world.data_center, name="Spare")
    StoragePool.objects.create(data_center=world.data_center, name="spare", target_path="/fake/spare")
    Template.objects.create(data_center=world.data_center, name="Spare", operating_system="Tiny Linux")
    world.add_host("spare", status=HostStatus.MAINTENANCE)
    for state in (JobState.RUNNING, JobState.FAILED):
        job = Job.objects.create(
            kind="pool.create", about="helpdesk", pool=Pool.objects.get(name="helpdesk"), state=state
        )
        job.items.create(object_id=uuid4(), name="helpdesk-9", state=state)


def _keys(rows: Any, order: str) -> list[str]:
    return [str(key) for key in rows.order_by(order).values_list("pk", flat=True)]


def _token(person: Any) -> str:
    token = ApiToken.draw()
    lasting = timezone.now() + timedelta(hours=1)
    ApiToken.objects.create(user=person, digest=ApiToken.digest_of(token), expires_at=lasting)
    return token


@contextmanager
def undone() -> Iterator[None]:
    """As if it had never happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def scene(django_db_setup: None, django_db_blocker: Any) -> Iterator[Scene]:
    """Built once: every call is undone. Calls go through the whole application, yet stay in this one transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patches, undone():
        patches.setattr("portal.console_sessions.CONSOLE_WAIT_SECONDS", 0)
        world = uncommitted_world(patches)
        serve_tickets(world, patches)
        yield Scene(world)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@st.composite
def cases(draw: st.DrawFn, operation: Any, sensible: dict[str, list[Any]]) -> Any:
    """A call as the document describes it, or now and then one that it does not; most of it often makes sense."""
    case = draw(operation.as_strategy(draw(st.sampled_from([AS_DESCRIBED, AS_DESCRIBED, NOT_AS_DESCRIBED]))))
    replaced = draw(st.sampled_from(["all", "all", "address", "some", "none"]))
    if replaced == "all" and operation.label in EITHER_OR and isinstance(case.body, dict):
        case.body = dict.fromkeys(EITHER_OR[operation.label])
    for place in ("path_parameters", "query", "body"):
        values = getattr(case, place)
        if not isinstance(values, dict) or replaced == "none" or (replaced == "address" and place == "body"):
            continue
        known = [name for name in values if name in sensible]
        if replaced == "some":
            known = [name for name in known if draw(st.booleans())]
        setattr(case, place, {**values, **{name: draw(st.sampled_from(sensible[name])) for name in known}})
    return case


def every_refusal_has_the_one_shape(context: Any, response: Any, case: Any) -> None:
    kind = response.headers.get("content-type", [""])[0]
    answer: Any = SimpleNamespace(headers={"Content-Type": kind}, json=response.json)
    assert response.status_code < 400 or is_envelope(answer), "not the envelope of a refusal"


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    every_refusal_has_the_one_shape,
]


def bounded(examples: int) -> Any:
    """The same examples on every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def ask(operation: Any, examples: int, sensible: dict[str, list[Any]], token: str) -> None:
    """Make so many calls of one operation, each as if it were the only one."""

    @bounded(examples)
    @given(case=cases(operation, sensible))
    def call(case: Any) -> None:
        with undone():
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    call()


@pytest.mark.django_db
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_described(scene: Scene, label: str) -> None:
    sensible = scene.sensible()
    for role, token in {**scene.tokens, "a stranger": "unknown"}.items():
        try:
            ask(OPERATIONS[label], MANY if role == "SuperUser" else FEW, sensible, token)
        except BaseException as error:
            error.add_note(f"asked by {role}")
            raise


@pytest.mark.django_db
@pytest.mark.parametrize("label", OPERATIONS)
def test_what_any_operation_may_answer_is_described(
    scene: Scene, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is locked, and a body that is too large: calls that are drawn do not meet them."""
    operation = OPERATIONS[label]
    known = {name: values[0] for name, values in scene.sensible().items()} | {"action": "stop", "key": "MaxVmsInPool"}
    case = operation.Case(
        path_parameters={name: known[name] for name in re.findall(r"{(\w+)}", operation.path)},
        body={"username": "agent", "password": PASSWORD},
        media_type="application/json",
    )

    def status() -> int:
        headers = {"Authorization": f"Bearer {scene.tokens['SuperUser']}"}
        return case.call_and_validate(
            headers=headers, checks=CHECKS, excluded_checks=[not_a_server_error]
        ).status_code

    with connection.execute_wrapper(_locked):
        assert status() == 503
    monkeypatch.setattr(django_settings, "DATA_UPLOAD_MAX_MEMORY_SIZE", 1)
    assert status() == 413


def _locked(*query: Any) -> None:
    raise OperationalError("database is locked")
