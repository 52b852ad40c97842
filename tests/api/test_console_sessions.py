"""Consoles over the API: what is answered, what is refused, and that the password is said once."""

from typing import Any

import pytest

from broker.models import ConsoleSession, DesktopRequest, Event, Pool
from tests.api.conftest import Api, refused, sign_in
from tests.world import World


@pytest.fixture
def wish(workers: World, agent: Api, pool: Pool) -> str:
    taken = agent.post(f"/pools/{pool.pk}/take").json()["id"]
    workers.settle()
    return taken


def console(api: Api, path: str, **body: Any) -> Any:
    return api.post(f"{path}/console-session", body or None)


def test_a_console_is_opened_seen_and_closed(agent: Api, wish: str) -> None:
    answer = console(agent, f"/requests/{wish}")
    assert answer.status_code == 201 and answer.headers["Cache-Control"] == "no-store"
    opened = answer.json()
    assert opened["websocket"] == f"/ws/console/{opened['id']}/"
    assert (opened["kind"], opened["protocol"], len(opened["password"])) == ("graphical", "spice", 32)
    path = f"/console-sessions/{opened['id']}"
    state = agent.get(path).json()
    assert (state["open"], state["reason"], state["again"]) == (True, None, True)
    assert opened["password"] not in str(state)
    assert opened["password"] not in str(list(Event.objects.values_list("facts", flat=True)))
    for _again in range(2):
        assert agent.call("DELETE", path).status_code == 204
    state = agent.get(path).json()
    assert (state["open"], state["reason"], state["again"]) == (False, "closed", False)


def test_whoever_comes_second_is_asked(workers: World, agent: Api, admin: Api, wish: str) -> None:
    first = console(agent, f"/requests/{wish}").json()
    vm = DesktopRequest.objects.get(pk=wish).vm_id
    asked = refused(console(admin, f"/vms/{vm}"), 409, "CONSOLE_IN_USE")
    assert asked["message"] == "Console in use by agent: take over?"
    assert console(admin, f"/vms/{vm}", take_over=True).status_code == 201
    state = agent.get(f"/console-sessions/{first['id']}").json()
    assert (state["message"], state["again"]) == ("admin took it over.", False)
    refused(console(agent, f"/requests/{wish}", replaces=first["id"]), 409, "CONSOLE_IN_USE")


@pytest.mark.req("R262")
def test_a_text_console_has_one_holder(workers: World, agent: Api, admin: Api, wish: str) -> None:
    assert console(agent, f"/requests/{wish}", kind="text").json()["password"] is None
    vm = DesktopRequest.objects.get(pk=wish).vm_id
    assert "agent" in refused(console(admin, f"/vms/{vm}", kind="text"), 409, "CONSOLE_IN_USE")["message"]
    assert console(admin, f"/vms/{vm}", kind="text", take_over=True).status_code == 201


def test_what_cannot_be_opened_says_why(world: World, agent: Api, visitor: Api, pool: Pool, wish: str) -> None:
    refused(console(visitor, f"/requests/{wish}"), 404)
    refused(console(agent, f"/requests/{wish}", kind="smoke"), 422)
    refused(console(agent, f"/vms/{DesktopRequest.objects.get(pk=wish).vm_id}"), 404)
    pool_admin = sign_in(world.person("pooladmin", pool, "VmPoolAdmin"))
    refused(console(pool_admin, f"/vms/{DesktopRequest.objects.get(pk=wish).vm_id}"), 403)
    agent.post(f"/requests/{wish}/return")
    refused(console(agent, f"/requests/{wish}"), 409, "NOT_READY")


def test_a_console_that_could_not_be_opened_is_in_nobodys_way(
    world: World, agent: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker sets the password in time."""
    monkeypatch.setattr("portal.console_sessions.CONSOLE_WAIT_SECONDS", 0.01)
    wish = agent.post(f"/pools/{pool.pk}/take").json()["id"]
    world.settle()
    for _try in range(2):
        refused(console(agent, f"/requests/{wish}"), 503)
    assert not ConsoleSession.objects.not_ended().exists()


@pytest.mark.req("R146")
def test_a_token_that_is_given_back_takes_its_consoles_along(agent: Api, wish: str) -> None:
    console(agent, f"/requests/{wish}")
    assert agent.call("DELETE", "/tokens").status_code == 204
    assert ConsoleSession.objects.get().reason == "signed_out"
