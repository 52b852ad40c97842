"""The page Account: what somebody chose for every browser, and the tokens of programs."""

import re
from typing import Any

import pytest
from django.test import Client

from portal import browser_packages, tokens
from portal.models import ApiToken, Opening
from tests.api.conftest import Api, refused
from tests.pages.conftest import Reader, text
from tests.world import World

CHOICES = {"language": "ko", "theme": "dark", "opening": "browser", "notifications": "yes"}


@pytest.fixture
def agent(world: World) -> Reader:
    return Reader(world.person("agent"))


def saved(reader: Reader) -> dict[str, Any]:
    reader.person.refresh_from_db()
    return {name: getattr(reader.person, name) for name in CHOICES}


# -- choices -------------------------------------------------------------------------------------------


def test_choices_are_kept_with_the_account(agent: Reader) -> None:
    assert agent.post("/account/", CHOICES).status_code == 302
    assert saved(agent) == {**CHOICES, "notifications": True}
    page = agent.get("/account/")
    assert "계정" in text(page)
    # Another browser of the same person, that asks for English, is spoken to as this one.
    other = Reader(agent.person)
    other.client.cookies["django_language"] = "en"
    html = other.get("/").content.decode()
    assert '<html lang="ko" data-kept data-theme="dark">' in html
    assert 'data-wanted="yes"' in html


def test_what_is_not_sent_stays(agent: Reader) -> None:
    agent.post("/account/", CHOICES)
    assert agent.post("/account/", {"theme": "auto"}, part=True).status_code == 204
    assert saved(agent) == {**CHOICES, "notifications": True, "theme": "auto"}
    assert agent.post("/account/", {}, part=True).status_code == 204
    assert "<html" in (html := agent.get("/").content.decode())
    assert ("data-kept" in html, "data-theme=" in html) == (True, False)


@pytest.mark.parametrize(
    "wrong", [{"language": "xx"}, {"theme": "pink"}, {"opening": ""}, {"notifications": "maybe"}]
)
def test_what_cannot_be_chosen_is_refused(agent: Reader, wrong: dict[str, str]) -> None:
    before = saved(agent)
    answer = agent.post("/account/", {**CHOICES, **wrong})
    assert answer.status_code == 422
    assert f'id="choose-{next(iter(wrong))}_error"' in answer.content.decode()
    assert saved(agent) == before


def test_the_switch_of_languages_is_kept_with_the_account_and_for_strangers_in_a_cookie(agent: Reader) -> None:
    agent.post("/language/setlang/", {"language": "ko", "next": "/"})
    assert saved(agent)["language"] == "ko"
    agent.post("/language/setlang/", {"language": "xx", "next": "/"})
    assert saved(agent)["language"] == "ko"
    stranger = Client()
    stranger.post("/language/setlang/", {"language": "ko", "next": "/"})
    assert '<html lang="ko">' in stranger.get("/help/").content.decode()
    assert '<html lang="en">' in Client().get("/help/").content.decode()


def test_programs_read_and_change_the_same(agent: Reader) -> None:
    api = Api(tokens.make(user=agent.person)[1])
    assert api.get("/me/preferences").json() == {
        "language": "",
        "theme": "",
        "opening": "viewer",
        "notifications": False,
    }
    assert api.patch("/me/preferences", {"language": "ko"}).json()["language"] == "ko"
    assert saved(agent)["language"] == "ko"
    # Refusals are sentences, too.
    assert "없" in refused(api.get("/groups"), 404)["message"]
    refused(api.patch("/me/preferences", {"theme": None}), 400)
    refused(api.patch("/me/preferences", {"theme": "pink"}), 422)


@pytest.mark.parametrize("opening", Opening)
def test_the_main_button_opens_desktops_as_it_was_chosen(
    world: World, monkeypatch: pytest.MonkeyPatch, opening: str
) -> None:
    monkeypatch.setattr(browser_packages, "ARE_INSTALLED", True)
    pool = world.pool(1)
    agent = Reader(world.person("agent", pool))
    agent.post("/account/", {"opening": opening})
    wish = world.take(agent.person, pool)
    world.settle()
    html = agent.get(f"/desktops/{wish.pk}/").content.decode()
    primary = re.findall(r'class="button primary large" id="(\w+)"', html)
    assert primary == ["open" if opening == Opening.BROWSER else "connect"]
    assert (html.count('id="open"'), html.count('id="connect"')) == (1, 1)


# -- ways to sign in -----------------------------------------------------------------------------------


def test_it_leads_to_what_there_is_about_signing_in(agent: Reader) -> None:
    page = agent.get("/account/").content.decode()
    for path in ("/account/password/", "/account/factors/", "/account/devices/", "/access/"):
        assert f'href="{path}"' in page


# -- tokens --------------------------------------------------------------------------------------------

WANTED = {"name": "nightly", "scopes": ["read"], "days": "30"}


def test_a_token_is_made_shown_once_and_revoked(agent: Reader) -> None:
    made = agent.post("/account/tokens/", WANTED)
    assert made.status_code == 200
    assert "no-store" in made.headers["Cache-Control"]
    secret = re.search(r'id="secret">(hd_[\w-]+)<', made.content.decode())[1]
    assert Api(secret).get("/me").json()["username"] == "agent"
    page = agent.get("/account/").content.decode()
    assert "nightly" in page
    assert secret not in page
    row = ApiToken.objects.get()
    assert agent.post(f"/account/tokens/{row.pk}/revoke/").status_code == 302
    refused(Api(secret).get("/me"), 401)
    assert "nightly was revoked" in text(agent.get("/account/"))


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "a\nb"}, {"scopes": []}, {"scopes": ["all"]}, {"days": "0"}, {"days": "366"}]
)
def test_what_a_token_cannot_be_is_said(agent: Reader, wrong: dict[str, Any]) -> None:
    answer = agent.post("/account/tokens/", {**WANTED, **wrong})
    assert answer.status_code == 422
    assert "circle-alert" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_nobody_revokes_the_tokens_of_others(world: World, agent: Reader, admin: Reader) -> None:
    row, secret = tokens.make(user=agent.person)
    assert admin.post(f"/account/tokens/{row.pk}/revoke/").status_code == 404
    assert Api(secret).get("/me").status_code == 200
