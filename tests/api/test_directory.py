"""People of a directory, by a real one: they sign in, are found and brought, and lose access when they leave."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from broker import access, config
from broker.drivers import directory as driver
from broker.models import DirectoryEntry, Event, Pool
from broker.operations import directory, users
from broker.operations.directory import TOO_MANY
from portal.models import User
from tests.api.conftest import Api, refused, with_password
from tests.pages.conftest import Reader, text
from tests.slapd import BASE, PASSWORD, Slapd
from tests.world import World


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    server = Slapd()
    yield server
    server.remove()


@pytest.fixture
def slapd(server: Slapd, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slapd]:
    settings.DIRECTORY = server.settings
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "portal.directory.Backend"]
    # What is lost with a silent directory is waited for briefly.
    monkeypatch.setattr(driver, "NETWORK_SECONDS", 1)
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 1)
    yield server
    server.clear()


def sign_in(name: str, password: str = PASSWORD) -> Any:
    return Api().post("/tokens", {"username": name, "password": password})


def token(name: str) -> Api:
    answer = sign_in(name)
    assert answer.status_code == 201, answer.content
    return Api(answer.json()["token"])


def brought(key_of: str) -> Any:
    """Bring somebody by name, as the dialog does."""
    found = directory.look_for(key_of, 10)
    return directory.bring(key=[*found.people, *found.groups][0].key, by=None)


# -- signing in ----------------------------------------------------------------------------------------


def test_people_of_the_directory_sign_in_and_are_known_from_then_on(world: World, slapd: Slapd) -> None:
    slapd.person("minji")
    assert sign_in("minji", "wrong").status_code == 401
    assert sign_in("nobody").status_code == 401
    assert not User.objects.filter(username__in=("minji", "nobody")).exists()
    assert token("minji").get("/me").json()["name"] == "Minji Kim"
    person = User.objects.get(username="minji")
    assert (person.email, person.has_usable_password()) == ("minji@example.org", False)
    # On the page as well; what is called otherwise there is called so here.
    slapd.change(f"uid=minji,ou=people,{BASE}", "givenName", "Min-ji")
    browser = Client()
    assert browser.post("/sign-in/", {"username": "minji", "password": PASSWORD}).status_code == 302
    assert browser.get("/account/").status_code == 200
    assert User.objects.get(username="minji") == person
    person.refresh_from_db()
    assert person.first_name == "Min-ji"


@pytest.mark.parametrize("name", ["*", "minji)(uid=*", "min*", "minji\0"])
def test_no_name_is_a_filter(world: World, slapd: Slapd, name: str) -> None:
    slapd.person("minji")
    assert sign_in(name).status_code in (400, 401, 422)
    assert not User.objects.filter(username__startswith="min").exists()


def test_nobody_becomes_somebody_of_the_same_name_here(world: World, slapd: Slapd) -> None:
    slapd.person("admin")
    boss = world.superuser()
    assert sign_in("admin").status_code == 401
    with_password(boss).set_password("another")
    boss.save()
    assert sign_in("admin", "another").status_code == 201
    refused(world_admin(world).post("/system/permissions", give("admin", "UserRole")), 409, "NAME_TAKEN")
    assert not DirectoryEntry.objects.exists()


def world_admin(world: World) -> Api:
    from portal import tokens

    return Api(tokens.make(user=world.superuser())[1])


def give(name: str, role: str) -> dict[str, Any]:
    found = directory.look_for(name, 10)
    return {"principal": {"directory": [*found.people, *found.groups][0].key}, "role": role}


def test_an_outage_keeps_no_local_account_out(world: World, slapd: Slapd) -> None:
    slapd.person("minji")
    local = with_password(world.person("local"))
    slapd.hang()
    try:
        assert sign_in("local").status_code == 201
        assert sign_in("local", "wrong").status_code == 401
        assert sign_in("minji").status_code == 401
        assert local.is_active
    finally:
        slapd.go_on()
    assert sign_in("minji").status_code == 201


def test_who_is_disabled_here_stays_out_though_the_directory_knows_the_password(world: World, slapd: Slapd) -> None:
    slapd.person("minji")
    token("minji")
    users.change(user=User.objects.get(username="minji"), changes={"is_active": False}, by=world.superuser())
    directory.check()
    assert sign_in("minji").status_code == 401


# -- groups --------------------------------------------------------------------------------------------


@pytest.mark.req("R021", "R142")
def test_members_of_a_group_of_the_directory_take_what_it_was_given(world: World, slapd: Slapd, pool: Pool) -> None:
    minji, jun = slapd.person("minji"), slapd.person("jun")
    team = slapd.group("team", minji)
    slapd.group("others", jun)
    admin = world_admin(world)
    path = f"/manage/pools/{pool.pk}/permissions"
    assert admin.post(path, {"principal": {"group": "team"}, "role": "UserRole"}).status_code == 400
    found = admin.get(f"{path}/candidates?q=tea").json()["directory"]
    assert [(one["kind"], one["name"]) for one in found] == [("group", "team")]
    answer = admin.post(path, {"principal": {"directory": found[0]["key"]}, "role": "UserRole"})
    assert answer.status_code == 201
    assert answer.json()["principal"]["group"]["name"] == "team"
    assert admin.get(f"{path}/candidates?q=tea").json()["directory"] == []

    agent = token("minji")
    assert agent.post(f"/pools/{pool.pk}/take").status_code == 201
    refused(token("jun").post(f"/pools/{pool.pk}/take"), 404)
    # Only groups that were brought are here; and whoever is put into one here stays in it.
    assert set(Group.objects.values_list("name", flat=True)) == {"team"}
    local = world.person("local")
    local.groups.add(Group.objects.get())
    slapd.change(team, "member", jun)
    directory.check()
    assert set(Group.objects.get().user_set.values_list("username", flat=True)) == {"jun", "local"}
    world.settle()
    assert [one["state"] for one in agent.get("/requests").json()["items"]] == ["ended"]
    slapd.delete(team)
    directory.check()
    assert set(Group.objects.get().user_set.values_list("username", flat=True)) == {"local"}


# -- leaving -------------------------------------------------------------------------------------------


def leave(slapd: Slapd) -> None:
    slapd.delete(f"uid=minji,ou=people,{BASE}")


def be_disabled(slapd: Slapd) -> None:
    slapd.change(f"uid=minji,ou=people,{BASE}", "employeeType", "left")


@pytest.fixture
def holder(world: World, slapd: Slapd, pool: Pool) -> Any:
    """Somebody of the directory who has a desktop."""
    slapd.person("minji")
    user = brought("minji")
    world.person("minji", pool)
    wish = world.take(user, pool)
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "ready"
    return wish


@pytest.mark.req("R146")
@pytest.mark.parametrize("go", [leave, be_disabled])
def test_who_leaves_loses_access_at_once_and_the_desktop_after_a_grace(
    world: World, slapd: Slapd, holder: Any, go: Any
) -> None:
    agent = token("minji")
    go(slapd)
    directory.check()
    refused(agent.get("/me"), 401)
    assert sign_in("minji").status_code == 401
    assert Event.objects.filter(kind="directory.lost").count() == 1
    world.settle()
    world.sweep()
    holder.refresh_from_db()
    assert holder.state == "ready"
    directory.check()
    assert Event.objects.filter(kind="directory.lost").count() == 1
    passed = timezone.now() - timedelta(minutes=config.get("DirectoryGraceMinutes"))
    DirectoryEntry.objects.update(lost_at=passed)
    world.sweep()
    holder.refresh_from_db()
    assert (holder.state, holder.end_reason) == ("ended", "revoked")


def test_a_place_in_line_is_nothing_to_be_spared(world: World, slapd: Slapd, pool: Pool) -> None:
    slapd.person("minji")
    user = brought("minji")
    for name in ("first", "second"):
        world.take(world.person(name, pool), pool)
    world.settle()
    world.person("minji", pool)
    wish = world.take(user, pool)
    world.settle()
    leave(slapd)
    directory.check()
    world.settle()
    wish.refresh_from_db()
    assert (wish.state, wish.end_reason) == ("ended", "revoked")


def test_who_comes_back_in_time_has_lost_nothing(world: World, slapd: Slapd, holder: Any) -> None:
    be_disabled(slapd)
    directory.check()
    slapd.change(f"uid=minji,ou=people,{BASE}", "employeeType")
    directory.check()
    world.sweep()
    holder.refresh_from_db()
    assert holder.state == "ready"
    assert token("minji").get("/me").status_code == 200
    assert DirectoryEntry.objects.get().lost_at is None


def test_an_outage_changes_nothing(world: World, slapd: Slapd, holder: Any) -> None:
    slapd.stop()
    try:
        directory.check()
    finally:
        slapd.start()
    slapd.hang()
    try:
        directory.check()
    finally:
        slapd.go_on()
    world.sweep()
    holder.refresh_from_db()
    assert (holder.state, holder.user.is_active) == ("ready", True)


def test_a_directory_that_lacks_most_people_at_once_is_not_believed(world: World, slapd: Slapd) -> None:
    for number in range(TOO_MANY + 2):
        person = users.create(username=f"p{number}", password=None)
        DirectoryEntry.objects.create(key=f"key-{number}", user=person)
    directory.check()
    assert User.objects.filter(is_active=True, username__startswith="p").count() == TOO_MANY + 2
    DirectoryEntry.objects.order_by("pk")[0].delete()
    DirectoryEntry.objects.order_by("pk")[0].delete()
    directory.check()
    assert not User.objects.filter(is_active=True, directory_entry__isnull=False).exists()


def test_local_accounts_are_nothing_to_the_directory(world: World, slapd: Slapd, pool: Pool) -> None:
    person = world.person("local", pool)
    directory.check()
    assert access.can(get_user_model().objects.get(pk=person.pk), "use_pool", pool)


# -- the dialog ----------------------------------------------------------------------------------------


@pytest.mark.req("R142", "R144")
def test_people_of_the_directory_are_found_and_brought_by_the_dialog(world: World, slapd: Slapd, pool: Pool) -> None:
    slapd.person("minji")
    local = world.person("minjun")
    admin = Reader(world.superuser())
    give_page = f"/manage/pools/{pool.pk}/permissions/give/"
    page = admin.post(give_page, {"find": "minj", "search": "1"})
    assert "minjun" in text(page)
    assert "minji in the directory" in text(page)
    assert not User.objects.filter(username="minji").exists()
    role = str(next(one.pk for one in page.context["form"].roles if one.name == "UserRole"))
    [stranger] = page.context["form"].strangers
    chosen = {"find": "minj", "principal": f"directory:{stranger.key}", "role": role}
    assert "made known here" in text(admin.post(give_page, {**chosen, "preview": "1"}))
    assert admin.post(give_page, {**chosen, "confirmed": "1"}).status_code == 302
    assert access.can(User.objects.get(username="minji"), "use_pool", pool)

    slapd.hang()
    try:
        silent = admin.post(give_page, {"find": "minj", "search": "1"})
    finally:
        slapd.go_on()
    assert "The directory does not answer" in text(silent)
    assert local.username in text(silent)


def test_nobody_is_brought_by_who_may_not_give_the_role(world: World, slapd: Slapd, pool: Pool) -> None:
    from portal import tokens

    slapd.person("minji")
    reader = Api(tokens.make(user=world.person("reader", pool, role="ReadOnlyAdmin"))[1])
    refused(reader.post(f"/manage/pools/{pool.pk}/permissions", give("minji", "UserRole")), 403)
    assert not User.objects.filter(username="minji").exists()
    admin = world_admin(world)
    path = "/system/permissions"
    for key in ("nobody", "*)(uid=*", "\\2a"):
        refused(admin.post(path, {"principal": {"directory": key}, "role": "UserRole"}), 404)
    refused(admin.post(path, {"principal": {"directory": "x", "user": "reader"}, "role": "UserRole"}), 400)
