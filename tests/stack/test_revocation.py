"""Removing a role on the running Hotdesk: real guests, real viewers, real workers (R146)."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import spice
from tests.running import Desktop, Hotdesk, connection, wait_until

SECONDS = 5  # in which a viewer is thrown out; the tests' machine is slow


@pytest.fixture(scope="module")
def pool_id(hotdesk: Hotdesk) -> Iterator[str]:
    """Two desktops that nobody may use yet."""
    body = {
        "name": "revoked",
        "cluster": hotdesk.admin.get("/clusters")["items"][0]["id"],
        "template": hotdesk.admin.get("/templates?q=Tiny")["items"][0]["id"],
        "size": 1,
    }
    answer = hotdesk.admin.http.post("/manage/pools", json=body).json()
    wait_until(lambda: hotdesk.admin.get(f"/jobs/{answer['job']['id']}")["state"] == "done", "the pool is made")
    yield answer["pool"]["id"]
    hotdesk.wait_until_clean(answer["pool"]["id"])
    assert hotdesk.admin.http.post(f"/manage/pools/{answer['pool']['id']}/remove-with-vms").status_code == 202


def give(hotdesk: Hotdesk, path: str, user: str, role: str) -> str:
    answer = hotdesk.admin.http.post(f"{path}/permissions", json={"principal": {"user": user}, "role": role})
    assert answer.status_code in (200, 201), answer.text
    return f"{path}/permissions/{answer.json()['id']}"


def viewer(text: str) -> spice.Viewer:
    file = connection(text)
    answer, found = spice.connect(file["host"], int(file["port"]), file["password"])
    assert answer == "OK" and found is not None
    return found


def take_away(hotdesk: Hotdesk, permission: str, open_viewer: spice.Viewer) -> float:
    """How long the viewer stayed connected, in seconds."""
    assert open_viewer.is_connected(within_seconds=0.5)
    before = time.monotonic()
    assert hotdesk.admin.http.delete(permission).status_code == 204
    assert not open_viewer.is_connected(within_seconds=SECONDS)
    return time.monotonic() - before


@pytest.mark.req("R002", "R146")
def test_the_viewer_is_thrown_out_and_the_next_in_line_gets_a_clean_desktop(
    hotdesk: Hotdesk, pool_id: str, record_property: Any
) -> None:
    path = f"/manage/pools/{pool_id}"
    first, second = hotdesk.person("visitor"), hotdesk.person("agent01")
    assert first.http.post(f"/pools/{pool_id}/take").status_code == 404
    of_first, of_second = (give(hotdesk, path, person.name, "UserRole") for person in (first, second))
    held: Desktop = first.take(pool_id)
    waiting: Desktop = second.take(pool_id)
    held.wait_for("ready")
    text = held.console().text
    seconds = take_away(hotdesk, of_first, viewer(text))
    record_property("seconds until the viewer was thrown out", round(seconds, 2))
    ended = held.wait_for("ended")
    assert (ended["end_reason"], ended["vm"]) == ("revoked", None)
    assert "permission" in ended["reason"]
    waiting.wait_for("ready")
    assert first.http.post(f"/pools/{pool_id}/take").status_code == 404
    assert hotdesk.admin.http.delete(of_second).status_code == 204
    assert waiting.wait_for("ended")["end_reason"] == "revoked"
    hotdesk.wait_until_clean(pool_id)


@pytest.mark.req("R146")
def test_an_administrators_display_closes_with_the_role_and_the_vm_runs_on(hotdesk: Hotdesk, pool_id: str) -> None:
    [vm] = hotdesk.vms(pool_id)
    operator = hotdesk.person("agent02")
    permission = give(hotdesk, f"/vms/{vm['id']}", operator.name, "VmPoolAdmin")
    assert operator.http.post(f"/vms/{vm['id']}/start").status_code == 202
    wait_until(lambda: operator.http.post(f"/vms/{vm['id']}/console").status_code == 200, "it can be opened")
    text = operator.http.post(f"/vms/{vm['id']}/console").text
    take_away(hotdesk, permission, viewer(text))
    assert operator.http.post(f"/vms/{vm['id']}/console").status_code == 404
    [vm] = hotdesk.vms(pool_id)
    assert (vm["status"], vm["run_mode"]) == ("up", "stateful")
    assert hotdesk.admin.http.post(f"/vms/{vm['id']}/return").status_code == 202
    hotdesk.wait_until_clean(pool_id)
