"""A desktop's time, its reasons and its proof, as programs see them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from broker.models import DesktopRequest, Event, Pool
from broker.operations import deadlines, desktops
from tests.api.conftest import Api, fields, refused, sign_in
from tests.world import World


@pytest.fixture
def pool(world: World) -> Pool:
    return world.pool(1, max_session_minutes=60)


def taken(world: World, agent: Api, pool: Pool) -> dict[str, Any]:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    world.settle()
    return agent.get(f"/requests/{wish['id']}").json()


def test_whoever_is_served_is_told_until_when(world: World, agent: Api, pool: Pool) -> None:
    wish = taken(world, agent, pool)
    assert (wish["waited"], wish["ending"], wish["may_extend"]) == (False, "connect", True)
    left = datetime.fromisoformat(wish["ends_at"]) - timezone.now()
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)
    steps = ["requested", "assigned", "host_chosen", "disk_ready", "started", "ready"]
    times = [wish["timeline"][step] for step in steps]
    assert None not in times and times == sorted(times)


def test_an_end_is_put_off_once(world: World, agent: Api, pool: Pool) -> None:
    wish = taken(world, agent, pool)
    later = agent.post(f"/requests/{wish['id']}/extend")
    assert later.status_code == 202
    assert later.json()["ends_at"] > wish["ends_at"] and not later.json()["may_extend"]
    again = agent.post(f"/requests/{wish['id']}/extend")
    assert (again.status_code, again.json()["ends_at"]) == (202, later.json()["ends_at"])
    deadlines.record_viewers(vm_id=DesktopRequest.objects.get().vm_id, viewers=1)
    refused(agent.post(f"/requests/{wish['id']}/extend"), 409, "NOT_EXTENDABLE")
    agent.post(f"/requests/{wish['id']}/return")
    refused(agent.post(f"/requests/{wish['id']}/extend"), 409, "NO_DEADLINE")


def test_a_problem_is_an_event_for_the_help_desk(world: World, agent: Api, pool: Pool) -> None:
    wish = taken(world, agent, pool)
    address = f"/requests/{wish['id']}/problem"
    assert agent.post(address, {"text": "No sound."}).status_code == 202
    assert Event.objects.get(kind="desktop.problem").facts["text"] == "No sound."
    assert fields(refused(agent.post(address, {"text": "   "}), 400, "INVALID")) == {"text"}
    assert fields(refused(agent.post(address, {"text": "x" * 2001}), 400, "INVALID")) == {"text"}
    refused(agent.post(address, {"text": "a", "level": 1}), 422, "INVALID_FIELDS")
    admin = sign_in(world.superuser("root"))
    assert any("No sound." in event["message"] for event in admin.get("/events").json()["items"])


def test_a_mail_needs_an_address(world: World, agent: Api, pool: Pool) -> None:
    wish = taken(world, agent, pool)
    address = f"/requests/{wish['id']}/mail"
    refused(agent.put(address, {"wanted": True}), 409, "NO_ADDRESS")
    person = world.person("agent")
    person.email = "agent@hotdesk.example"
    person.save(update_fields=["email"])
    assert agent.put(address, {"wanted": True}).json()["mail_when_ready"] is True
    assert agent.put(address, {"wanted": False}).json()["mail_when_ready"] is False
    refused(agent.put(address, {"wanted": "yes"}), 422, "INVALID_FIELDS")


def test_users_see_the_sentence_and_administrators_the_table(world: World, agent: Api, pool: Pool) -> None:
    wish = taken(world, agent, pool)
    mine = agent.get(f"/requests/{wish['id']}/why").json()
    assert "helpdesk-1 was given to ticket 1" in mine["reason"] and mine["rule"] == "off"
    assert (mine["match"], mine["waits"]) == (None, [])
    assert mine["certificate"]["disk"].startswith("helpdesk-1")
    admin = sign_in(world.superuser("root"))
    theirs = admin.get(f"/requests/{wish['id']}/why").json()
    assert theirs["match"]["members"] == {"off": 1}
    assert theirs["match"]["hosts"][0]["name"] == "host"
    waiting = sign_in(world.person("second", pool)).post(f"/pools/{pool.pk}/take").json()
    world.settle()
    [wait] = admin.get(f"/requests/{waiting['id']}/why").json()["waits"]
    assert wait["members"] == {"in_use": 1}


def test_waits_are_estimated_from_what_was_seen_and_never_made_up(world: World, agent: Api, pool: Pool) -> None:
    def asked() -> dict[str, Any]:
        return agent.get("/pools").json()["items"][0]["estimated_wait"]

    holder = world.take(world.person("holder", pool), pool)
    world.settle()
    assert asked() is None, "nothing is known yet"
    now = timezone.now()
    for minutes in (5, 15, 25):
        desktops_row(pool, holder.user, ready=now - timedelta(minutes=minutes))
    found = asked()
    assert found is not None and 0 < found["low"] <= found["high"]
    waiting = agent.post(f"/pools/{pool.pk}/take").json()
    assert waiting["estimated_wait"] == found
    DesktopRequest.objects.filter(state="ended").delete()
    assert asked() is None
    desktops.give_back(request=holder)


def desktops_row(pool: Pool, user: Any, *, ready: datetime) -> None:
    """A session of the last hour."""
    DesktopRequest.objects.create(
        pool=pool,
        pool_name=pool.name,
        user=user,
        ticket=1000 + int(ready.timestamp()),
        slot=1,
        state="ended",
        end_reason="returned",
        requested_at=ready - timedelta(seconds=20),
        assigned_at=ready - timedelta(seconds=10),
        ready_at=ready,
        returned_at=ready + timedelta(minutes=2),
        ended_at=ready + timedelta(minutes=2, seconds=5),
    )


def test_limits_of_a_pool_are_given_and_taken_away(world: World, pool: Pool) -> None:
    admin = sign_in(world.superuser("root"))
    address = f"/manage/pools/{pool.pk}"
    answer = admin.patch(address, {"idle_limit_minutes": 20, "extension_minutes": 10})
    assert (answer.json()["idle_limit_minutes"], answer.json()["max_session_minutes"]) == (20, 60)
    assert admin.patch(address, {"max_session_minutes": None}).json()["max_session_minutes"] is None
    for wrong in (0, -5, 10_081):
        assert fields(refused(admin.patch(address, {"idle_limit_minutes": wrong}), 400, "INVALID")) == {
            "idle_limit_minutes"
        }
    refused(admin.patch(address, {"idle_limit_minutes": "20"}), 422, "INVALID_FIELDS")
