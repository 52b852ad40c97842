"""How a user opens desktops, chosen on the desktop's page, with no script at all."""

import pytest
from django.http import HttpResponse

from broker.models import ConsoleOptions, DesktopRequest
from broker.operations import consoles, pools
from tests.pages.conftest import Reader, text
from tests.world import World

AS_SHOWN = {"options": "1", "remap_ctrl_alt_del": "on", "usb_autoshare": "on", "color_depth": "none"}


@pytest.fixture
def wish(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.person("agent", pool), pool)
    world.settle()
    wish.refresh_from_db()
    return wish


@pytest.fixture
def agent(wish: DesktopRequest) -> Reader:
    return Reader(wish.user)


def save(agent: Reader, wish: DesktopRequest, **changed: object) -> HttpResponse:
    return agent.post(f"/desktops/{wish.pk}/options/", {**AS_SHOWN, **changed})


@pytest.mark.req("R028")
def test_options_are_saved_before_there_is_anything_to_connect_to(agent: Reader, wish: DesktopRequest) -> None:
    answer = save(agent, wish, color_depth="16", disabled_effects=["wallpaper", "font-smooth"], fullscreen="on")
    assert answer.status_code == 302
    page = agent.get(f"/desktops/{wish.pk}/")
    assert "The options were saved." in text(page)
    assert page.context["form"].initial == vars(consoles.options_of(user=wish.user, of=wish.pool))
    chosen = {"fullscreen": True, "color_depth": "16", "disabled_effects": ["wallpaper", "font-smooth"]}
    assert ConsoleOptions.objects.get().chosen() == chosen


@pytest.mark.req("R028")
def test_connecting_remembers_them_too(agent: Reader, wish: DesktopRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.console_sessions.CONSOLE_WAIT_SECONDS", 0.0)
    answer = agent.post(f"/desktops/{wish.pk}/connect/", {**AS_SHOWN, "fullscreen": "on"})
    assert answer.status_code == 503  # no worker set the ticket; the choice stays
    assert ConsoleOptions.objects.get().chosen() == {"fullscreen": True}


def test_what_was_left_alone_stays_the_pools_to_say(agent: Reader, wish: DesktopRequest) -> None:
    save(agent, wish)
    assert not ConsoleOptions.objects.exists()
    pools.change(pool=wish.pool, changes={"fullscreen": True})
    assert agent.get(f"/desktops/{wish.pk}/").context["form"].initial["fullscreen"]


def test_they_can_be_left_to_the_pool_again(agent: Reader, wish: DesktopRequest) -> None:
    save(agent, wish, fullscreen="on")
    save(agent, wish, fullscreen="on", reset="1")
    assert ConsoleOptions.objects.get().chosen() == {}


@pytest.mark.parametrize("path", ["options", "connect"])
def test_what_was_chosen_stays_when_something_is_wrong(agent: Reader, wish: DesktopRequest, path: str) -> None:
    values = {**AS_SHOWN, "fullscreen": "on", "color_depth": "8"}
    answer = agent.post(f"/desktops/{wish.pk}/{path}/", values)
    assert answer.status_code == 422
    html = answer.content.decode()
    assert 'id="option-color_depth_error"' in html and '<details class="card options" open>' in html
    assert 'name="fullscreen" id="option-fullscreen" checked' in html
    assert not ConsoleOptions.objects.exists()


def test_only_what_the_pool_has_is_asked_for(agent: Reader, wish: DesktopRequest) -> None:
    path = f"/desktops/{wish.pk}/"
    assert not {"smartcard", "use_proxy"} & set(agent.get(path).context["form"].fields)
    changes = {"smartcard": True, "override_spice_proxy": True, "spice_proxy": "http://proxy:3128"}
    pools.change(pool=wish.pool, changes=changes)
    assert {"smartcard", "use_proxy"} <= set(agent.get(path).context["form"].fields)
    save(agent, wish, smartcard="on")
    assert ConsoleOptions.objects.get().chosen() == {"use_proxy": False}
