"""VNC and RDP as further choices of a template: the same rules as for SPICE."""

from typing import Any

import pytest

from broker.models import Event, Pool, TemplateVersion
from tests.api.conftest import Api, refused
from tests.world import World


@pytest.fixture
def desktop(workers: World, pool: Pool, agent: Api) -> str:
    """A desktop that is ready, of the agent."""
    wish = agent.post(f"/pools/{pool.pk}/take").json()["id"]
    workers.settle()
    assert agent.get(f"/requests/{wish}").json()["state"] == "ready"
    return f"/requests/{wish}"


def choose(pool: Pool, **choices: Any) -> None:
    TemplateVersion.objects.filter(template=pool.template).update(**choices)


@pytest.mark.req("R072")
def test_a_connection_file_for_vnc_has_what_vnc_knows(pool: Pool, agent: Api, desktop: str) -> None:
    choose(pool, graphics="vnc")
    lines = agent.post(f"{desktop}/console").content.decode().splitlines()
    keys = [line.partition("=")[0] for line in lines if "=" in line]
    assert lines[:2] == ["[virt-viewer]", "type=vnc"]
    assert "password" in keys and not {"proxy", "secure-channels", "usb-filter", "enable-smartcard"} & set(keys)


@pytest.mark.req("R072")
def test_vnc_is_not_given_where_displays_must_be_encrypted(pool: Pool, agent: Api, desktop: str) -> None:
    choose(pool, graphics="vnc")
    type(pool.cluster).objects.filter(pk=pool.cluster_id).update(allow_plain_spice=False)
    assert "VNC" in refused(agent.post(f"{desktop}/console"), 409, "NOT_ENCRYPTED")["message"]


def test_an_rdp_file_is_for_whoever_has_a_desktop_that_offers_it(
    pool: Pool, agent: Api, visitor: Api, desktop: str
) -> None:
    refused(agent.post(f"{desktop}/rdp"), 409, "NO_RDP")
    choose(pool, rdp_address="{name}.desktops.example.com")
    answer = agent.post(f"{desktop}/rdp")
    assert answer.headers["Content-Type"] == "application/x-rdp"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="helpdesk-1.rdp"'
    assert "full address:s:helpdesk-1.desktops.example.com\r\n" in answer.content.decode()
    assert Event.objects.filter(kind="console.rdp").count() == 1
    refused(visitor.post(f"{desktop}/rdp"), 404)
    assert agent.post(f"{desktop}/return").status_code == 202
    refused(agent.post(f"{desktop}/rdp"), 409, "NOT_READY")


def test_templates_say_what_their_guests_offer(admin: Api, pool: Pool) -> None:
    given = {
        "name": "Windows",
        "path": "/images/windows.qcow2",
        "graphics": "vnc",
        "rdp_address": "{name}.example.com",
    }
    made = admin.post("/templates", given)
    assert made.status_code == 202, made.content
    [version] = admin.get(f"/templates/{made.json()['template']['id']}").json()["versions"]
    assert (version["graphics"], version["rdp_address"]) == ("vnc", "{name}.example.com")
    wrong = refused(admin.post("/templates", {**given, "name": "Other", "rdp_address": "example.com"}), 400)
    assert [one["field"] for one in wrong["details"]] == ["rdp_address"]
    refused(admin.post("/templates", {**given, "name": "Other", "graphics": "rdp"}), 422)
