"""Users in the Administration Portal: disabled and enabled, seen where they are signed in, and signed out."""

import re

import pytest
from django.test import Client

from broker import grants
from broker.models import ConsoleSession, Event, Role
from broker.operations import console_doors
from broker.operations.console_doors import Wanted
from broker.states import ConsoleKind
from portal import logins, tokens
from tests.api.conftest import PASSWORD, Api, with_password
from tests.pages.conftest import Reader, text
from tests.world import World


def browser(person: object) -> Client:
    """Signed in with the page for it, from a browser that says who it is."""
    client = Client(headers={"User-Agent": "Testfox/1"})
    client.post("/sign-in/", {"username": str(person), "password": PASSWORD})
    assert is_signed_in(client)
    return client


def is_signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def ends(admin: Reader, tab: str) -> list[str]:
    return re.findall(r'formaction="([^"]+/end/)"', admin.get(tab).content.decode())


def test_where_somebody_is_signed_in_is_seen_and_ended(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    person = with_password(world.person("agent", pool))
    first, second = browser(person), browser(person)
    browser(with_password(world.person("other")))
    secret = tokens.make(user=person, name="nightly")[1]
    wish = world.take(person, pool)
    world.settle()
    wish.refresh_from_db()
    login = logins.of_session(first.session.session_key)
    console_doors.open_own(request=wish, wanted=Wanted(kind=ConsoleKind.TEXT, login=login))

    tab = f"/manage/users/{person.pk}/?tab=sign-ins"
    page = text(admin.get(tab))
    assert (page.count("Testfox/1"), page.count("127.0.0.1")) == (4, 2)  # each named once more by its button
    assert "nightly" in page
    assert first.session.session_key not in admin.get(tab).content.decode()
    [one] = [address for address in ends(admin, tab) if login in address]
    assert admin.post(one, part=True).status_code == 204
    assert (is_signed_in(first), is_signed_in(second)) == (False, True)
    assert ConsoleSession.objects.get().ended_at is not None
    assert Event.objects.get(kind="session.ended").facts["owner"] == "agent"
    assert admin.post(one).status_code == 404

    sign_out = "/manage/users/act/sign-out/"
    assert "Sign this user out everywhere?" in text(admin.post(sign_out, {"id": str(person.pk)}))
    assert is_signed_in(second)
    admin.post(sign_out, {"id": str(person.pk), "confirmed": "1"})
    assert not is_signed_in(second)
    assert Api(secret).get("/me").status_code == 401
    assert "Signed in nowhere." in text(admin.get(tab))
    wish.refresh_from_db()
    assert wish.state == "ready"


def test_nobody_signs_out_who_may_do_more(world: World, admin: Reader) -> None:
    boss = with_password(admin.person)
    there = browser(boss)
    Role.objects.create(name="Clerk", actions=["manage_users", "view_inventory"])
    grants.grant(role="Clerk", to=world.person("clerk"), on=None)
    clerk = Reader(world.person("clerk"))
    [address] = ends(clerk, f"/manage/users/{boss.pk}/?tab=sign-ins")
    assert clerk.post(address).status_code == 403
    assert clerk.post("/manage/users/act/sign-out/", {"id": str(boss.pk), "confirmed": "1"}).status_code == 403
    assert clerk.post("/manage/users/act/disable/", {"id": str(boss.pk), "confirmed": "1"}).status_code == 403
    assert is_signed_in(there)


@pytest.mark.req("R146")
def test_users_are_disabled_and_enabled_together(world: World, admin: Reader) -> None:
    pool = world.pool(2)
    people = [with_password(one) for one in world.people(2, pool)]
    wishes = [world.take(one, pool) for one in people]
    world.settle()
    there = browser(people[0])
    chosen = {"id": [str(one.pk) for one in people], "confirmed": "1"}
    admin.post("/manage/users/act/disable/", chosen)
    world.settle()
    assert not is_signed_in(there)
    for wish in wishes:
        wish.refresh_from_db()
        assert (wish.state, wish.end_reason) == ("ended", "revoked")
    own = admin.post("/manage/users/act/disable/", {"id": str(admin.person.pk), "confirmed": "1"})
    assert own.status_code in (302, 422)
    admin.person.refresh_from_db()
    assert admin.person.is_active
    assert "disabled already" in text(admin.get(f"/manage/users/{people[0].pk}/"))
    admin.post("/manage/users/act/enable/", chosen)
    for one in people:
        one.refresh_from_db()
        assert one.is_active
