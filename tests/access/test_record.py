"""The record: who did what, from where, to what, and how it ended; it is only ever added to."""

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import OperationalError
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from broker import audit, config, events, grants
from broker.models import Event, Pool
from broker.operations import desktops, pools, record, users
from broker.rules.deadlines import TIME_FIELDS
from tests.api.conftest import PASSWORD, Api, refused, sign_in, with_password
from tests.pages.conftest import Reader, text
from tests.pages.test_lists import csv
from tests.world import World


@pytest.fixture
def admin(world: World) -> Any:
    return world.superuser()


def newest(kind: str) -> Event:
    return Event.objects.filter(kind=kind).order_by("-at").first() or pytest.fail(f"no {kind}")


def test_signing_in_and_out_is_written_down_with_the_address(world: World) -> None:
    person = with_password(world.person("minji"))
    client = Client(REMOTE_ADDR="192.0.2.9")
    client.post("/sign-in/", {"username": "minji", "password": "wrong"})
    refusal = newest("session.refused")
    assert (refusal.outcome, refusal.address, refusal.subject_id) == ("refused", "192.0.2.9", person.pk)
    client.post("/sign-in/", {"username": "minji", "password": PASSWORD})
    opened = newest("session.opened")
    assert (opened.actor, opened.outcome, opened.address, opened.facts["way"]) == (
        person,
        "done",
        "192.0.2.9",
        "browser",
    )
    client.post("/sign-out/")
    assert newest("session.closed").actor == person


def test_what_is_typed_as_a_name_is_not_kept_unless_it_is_one(world: World) -> None:
    """It may have been the password."""
    Client().post("/sign-in/", {"username": "hunter2 is my secret", "password": "x"})
    assert "hunter2" not in str(newest("session.unknown").facts)


def test_tokens_are_sessions_too_and_end_when_they_are_given_back(world: World) -> None:
    caller = sign_in(world.person("minji"))
    assert newest("session.opened").facts["way"] == "API"
    assert caller.call("DELETE", "/tokens").status_code == 204
    assert newest("session.closed").facts["way"] == "API"
    refused(caller.get("/me"), 401)


def test_a_new_password_ends_every_token(world: World, admin: Any) -> None:
    person = world.person("minji")
    caller = sign_in(person)
    users.change(user=person, changes={}, password="another long one", by=admin)
    refused(caller.get("/me"), 401)


def test_every_administrative_act_has_actor_address_object_and_outcome(
    world: World,
    pool: Pool,
    admin: Any,
) -> None:
    caller = sign_in(admin)
    person = world.person("minji")
    caller.post(f"/manage/pools/{pool.pk}/permissions", {"principal": {"user": "minji"}, "role": "UserRole"})
    caller.patch("/settings/MaxVmsInPool", {"value": 7})
    caller.post("/roles", {"name": "Odd", "actions": ["use_pool"]})
    caller.patch(f"/users/{person.pk}", {"first_name": "Minji"})
    kinds = ("role.granted", "setting.changed", "object.created", "object.changed")
    for kind in kinds:
        event = newest(kind)
        assert (event.actor, event.address, event.outcome) == (admin, "127.0.0.1", "done"), kind
        assert event.order_id is not None, kind
    assert newest("role.granted").pool_id == pool.pk
    assert newest("object.changed").subject_id == person.pk


def test_what_was_changed_is_kept_field_by_field(world: World, pool: Pool, admin: Any) -> None:
    sign_in(admin).patch(f"/manage/pools/{pool.pk}", {"comment": "new words", "max_vms_per_user": 3})
    event = newest("pool.changed")
    changes = {one.field: (one.before, one.after) for one in audit.changes_of(event.order_id, {pool.pk})}
    assert changes == {"comment": ("", "new words"), "max_vms_per_user": ("1", "3")}
    entry = LogEntry.objects.get(object_pk=str(pool.pk), action=LogEntry.Action.UPDATE)
    assert (entry.actor, entry.remote_addr) == (admin, "127.0.0.1")
    shown = text(Reader(admin).get(f"/manage/events/{event.pk}/"))
    assert "max_vms_per_user 1 3" in shown


def test_limits_of_the_time_are_kept_too(world: World, pool: Pool, admin: Any) -> None:
    limits = {name: 10 + number for number, name in enumerate(TIME_FIELDS)}
    sign_in(admin).patch(f"/manage/pools/{pool.pk}", limits)
    changes = audit.changes_of(newest("pool.changed").order_id, {pool.pk})
    assert {one.field: (one.before, one.after) for one in changes} == {
        name: ("", str(minutes)) for name, minutes in limits.items()
    }


def test_roles_and_groups_are_told_by_their_names(world: World, admin: Any) -> None:
    caller = sign_in(admin)
    person = world.person("minji")
    group = caller.post("/groups", {"name": "staff"}).json()["id"]
    caller.patch(f"/users/{person.pk}", {"groups": [group]})
    [change] = audit.changes_of(newest("object.changed").order_id, {person.pk})
    assert (change.field, change.after) == ("groups", "add: staff")


def test_no_secret_is_kept(world: World, admin: Any) -> None:
    caller = sign_in(admin)
    made = {"username": "new", "password": "correct horse battery"}
    key = caller.post("/users", made).json()["id"]
    caller.patch(f"/users/{key}", {"password": "staple horse battery"})
    kept = str(list(LogEntry.objects.values())) + str(list(Event.objects.values()))
    assert "battery" not in kept and "pbkdf2" not in kept and "md5$" not in kept
    assert caller.token and caller.token not in kept


def test_what_the_broker_writes_while_it_works_is_no_change_of_anybody(world: World) -> None:
    pool_ = world.pool(1)
    wish = world.take(world.person("minji", pool_), pool_)
    before = LogEntry.objects.count()
    world.settle()
    desktops.give_back(request=wish)
    world.settle()
    assert LogEntry.objects.count() == before


def test_the_record_is_neither_changed_nor_deleted(world: World, admin: Any) -> None:
    event = events.record("record.expired", count=0, days=1)
    event.kind = "x"
    for act in (
        event.save,
        event.delete,
        Event.objects.all().delete,
        lambda: Event.objects.update(kind="x"),
        lambda: Event.objects.filter(pk=event.pk).update(kind="x"),
    ):
        with pytest.raises(TypeError):
            act()
    assert Event.objects.get(pk=event.pk).kind == "record.expired"
    client = Client()
    client.force_login(admin)
    for path in (f"/backoffice/broker/event/{event.pk}/delete/", f"/backoffice/broker/event/{event.pk}/change/"):
        assert client.post(path, {"post": "yes", "kind": "x"}).status_code in (403, 404), path
    assert Event.objects.get(pk=event.pk).kind == "record.expired"


def test_what_is_old_enough_is_dropped_and_that_is_written_down(world: World, admin: Any) -> None:
    made = pools.create(cluster=world.cluster, template=world.template, name="p", size=1, by=admin)[0]
    assert made
    old, kept = Event.objects.count(), LogEntry.objects.count()
    assert old and kept
    config.put("EventRetentionDays", "30")
    record.expire()
    assert not Event.objects.filter(kind="record.expired").exists()
    long_ago = timezone.now() - timedelta(days=31)
    QuerySet.update(Event.objects.all(), at=long_ago)  # as nothing in the application can
    LogEntry.objects.update(timestamp=long_ago)
    record.expire()
    assert [event.kind for event in Event.objects.all()] == ["record.expired"]
    assert Event.objects.get().facts["count"] == str(old + 1)
    assert not LogEntry.objects.exists()
    record.expire()
    assert Event.objects.count() == 1


def test_the_record_can_be_taken_along_as_csv(world: World, pool: Pool, admin: Any) -> None:
    sign_in(admin).patch("/settings/MaxVmsInPool", {"value": 7})
    lines = list(csv(Reader(admin).get("/manage/events/export.csv", columns="at,what,actor,outcome,address")))
    assert any("MaxVmsInPool" in line and "127.0.0.1" in line and "Done" in line for line in map(str, lines))


@pytest.mark.usefixtures("one_minute")
def test_who_guesses_ids_fills_the_record_no_further(world: World, pool: Pool) -> None:
    stranger = sign_in(world.person("stranger"))
    for _guess in range(40):
        refused(stranger.get(f"/vms/{pool.pk}"), 404)
    written = Event.objects.filter(actor__username="stranger", outcome="refused")
    assert written.count() == 30
    assert written.filter(kind="access.refused_often").count() == 1


def test_the_api_of_events_tells_outcome_and_address(world: World, pool: Pool, admin: Any) -> None:
    stranger = sign_in(world.person("stranger"))
    refused(stranger.post(f"/pools/{pool.pk}/take"), 404)
    grants.grant(role="ReadOnlyAdmin", to=world.person("auditor"), on=pool)
    seen = sign_in(world.person("auditor")).get("/events?kind=access.refused").json()["items"]
    assert [(one["actor"], one["outcome"], one["address"]) for one in seen] == [("stranger", "refused", "127.0.0.1")]


def test_a_refusal_that_cannot_be_written_down_is_a_refusal_all_the_same(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(*_about: Any, **_facts: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(events, "record", locked)
    refused(Api("hd_nonsense").get("/me"), 401)
