"""How people prove who they are, and what does not do: second factors, resets, lock-outs and what is kept of them."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from broker import config, grants
from broker.errors import Invalid, NotFound
from broker.models import ConsoleSession, Event, Pool, Role
from broker.operations import console_doors, record, users
from broker.operations.console_doors import Wanted
from broker.states import ConsoleKind
from portal import accounts, logins, signed_in
from portal.consoles import Console
from portal.live import Desktop
from portal.models import ApiToken
from tests.api.conftest import PASSWORD, Api, refused, sign_in, with_password
from tests.world import World

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
OTHER_SECRET = "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"
CREDENTIALS = {"username": "minji", "password": PASSWORD}


@pytest.fixture(autouse=True)
def nothing_used() -> Iterator[None]:
    """Codes and tries of another test are none of this one's."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(time.time() // 30 * 30 + 5, tick=False) as travel:
        yield travel


@pytest.fixture
def minji(world: World) -> Any:
    person = with_password(world.person("minji"))
    person.email = "minji@hotdesk.example"
    person.save()
    return person


def code(secret: str = SECRET, *, steps: int = 0) -> str:
    """What an authenticator app shows, so many half minutes from now: real codes, made from the secret alone."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def with_app(person: Any, secret: str = SECRET) -> Any:
    TOTP.activate(person, secret)
    return person


def try_in(client: Client | None = None, **more: str) -> tuple[Client, Any]:
    client = client or Client()
    return client, client.post("/sign-in/", {**CREDENTIALS, **more})


def with_token() -> Api:
    return Api(Api().post("/tokens", CREDENTIALS).json()["token"])


def confirm(client: Client) -> None:
    """The password once more."""
    assert client.post("/account/confirm/", {"password": PASSWORD}).status_code == 302


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def newest(kind: str) -> Event:
    return Event.objects.filter(kind=kind).order_by("-at", "-pk").first() or pytest.fail(f"no {kind}")


# -- the second factor -----------------------------------------------------------------------------


@pytest.mark.usefixtures("clock")
def test_a_password_alone_does_not_open_an_account_with_an_app(minji: Any) -> None:
    with_app(minji)
    client, answer = try_in(next="/history/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/code/")
    assert not is_in(client)
    answer = client.post("/sign-in/code/", {"code": code()})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/history/")
    assert is_in(client)
    assert newest("session.opened").actor == minji


@pytest.mark.usefixtures("clock")
def test_with_another_secret_key_no_code_is_right_and_with_the_former_one_beside_it_all_are(
    minji: Any, settings: Any
) -> None:
    with_app(minji)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another key"
    client, _answer = try_in()
    no_secret = format_hotp_value(hotp_value("", int(time.time()) // 30))
    for tried in (code(), no_secret, "", "000000"):
        assert client.post("/sign-in/code/", {"code": tried}).status_code == 200
    assert not is_in(client)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert client.post("/sign-in/code/", {"code": code()}).status_code == 302
    assert is_in(client)


def test_codes_that_are_not_right_now_and_of_this_person_are_refused(world: World, minji: Any, clock: Any) -> None:
    with_app(minji)
    with_app(with_password(world.person("other")), OTHER_SECRET)
    for wrong in ("000000", code(steps=-4), code(steps=4), code(OTHER_SECRET), "", "x" * 99):
        cache.clear()
        client, _answer = try_in()
        assert client.post("/sign-in/code/", {"code": wrong}).status_code == 200, wrong
        assert not is_in(client), wrong
    refusal = newest("factor.refused")
    assert (refusal.subject_id, refusal.outcome) == (minji.pk, "refused")


@pytest.mark.usefixtures("clock")
def test_a_code_is_used_up_by_the_first_who_shows_it(minji: Any) -> None:
    with_app(minji)
    for expected in (True, False):
        client, _answer = try_in()
        client.post("/sign-in/code/", {"code": code()})
        assert is_in(client) == expected


@pytest.mark.usefixtures("clock")
def test_a_few_wrong_codes_end_the_guessing(minji: Any, clock: Any) -> None:
    with_app(minji)
    for _guess in range(5):
        client, _answer = try_in()
        client.post("/sign-in/code/", {"code": "000000"})
    client, _answer = try_in()
    client.post("/sign-in/code/", {"code": code()})
    assert not is_in(client)
    clock.shift(301)
    client, _answer = try_in()
    client.post("/sign-in/code/", {"code": code()})
    assert is_in(client)


def test_a_pending_sign_in_does_not_wait_for_ever(minji: Any, clock: Any) -> None:
    with_app(minji)
    client, _answer = try_in()
    clock.shift(16 * 60)
    client.post("/sign-in/code/", {"code": code()})
    assert not is_in(client)


@pytest.mark.usefixtures("clock")
def test_an_app_is_set_up_with_a_password_and_a_code_and_gives_recovery_codes(minji: Any) -> None:
    client, _answer = try_in()
    confirm(client)
    page = client.get("/account/factors/app/")
    found = re.search(r'id="authenticator_secret">(\w+)<', page.content.decode())
    assert found
    assert client.post("/account/factors/app/", {"code": "000000"}).status_code == 200
    assert not accounts.has_factor(minji)
    done = client.post("/account/factors/app/", {"code": code(found[1])})
    assert done.headers["Location"] == "/account/factors/codes/"
    assert accounts.has_factor(minji)
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert found[1] not in kept  # a copy of the database makes no codes
    assert newest("factor.added").actor == minji

    codes = re.findall(r"<li><code>(\w+)</code>", client.get("/account/factors/codes/").content.decode())
    assert len(codes) == 10 and codes[0] not in kept
    assert client.get("/account/factors/codes.txt").content.decode().split() == codes
    for expected in (True, False):
        client, _answer = try_in()
        client.post("/sign-in/code/", {"code": codes[0]})
        assert is_in(client) == expected


def test_what_protects_an_account_is_changed_only_with_the_password_once_more(minji: Any, clock: Any) -> None:
    client, _answer = try_in()
    answer = client.get("/account/factors/app/")
    assert answer.headers["Location"].startswith("/account/confirm/")
    assert client.post("/account/confirm/", {"password": "wrong"}).status_code == 200
    assert client.get("/account/factors/app/").status_code == 302
    confirm(client)
    assert client.get("/account/factors/app/").status_code == 200
    clock.shift(6 * 60)
    assert client.get("/account/factors/app/").status_code == 302


@pytest.mark.usefixtures("clock")
def test_the_keys_of_others_are_not_there(world: World, minji: Any) -> None:
    key = Authenticator.objects.create(user=world.person("other"), type=Authenticator.Type.WEBAUTHN, data={})
    client, _answer = try_in()
    confirm(client)
    for path in (f"/account/factors/keys/{key.pk}/", f"/account/factors/keys/{key.pk}/remove/"):
        assert client.get(path).status_code == 404
        assert client.post(path, {"name": "mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()


@pytest.mark.usefixtures("clock")
def test_a_program_shows_a_code_too(minji: Any) -> None:
    with_app(minji)
    refused(Api().post("/tokens", CREDENTIALS), 401, "CODE_NEEDED")
    refused(Api().post("/tokens", {**CREDENTIALS, "code": "000000"}), 401, "WRONG_CODE")
    refused(Api().post("/tokens", {**CREDENTIALS, "password": "wrong", "code": code()}), 401, "WRONG_CREDENTIALS")
    assert Api().post("/tokens", {**CREDENTIALS, "code": code()}).status_code == 201
    refused(Api().post("/tokens", {**CREDENTIALS, "code": code()}), 401, "WRONG_CODE")
    for _guess in range(4):
        Api().post("/tokens", {**CREDENTIALS, "code": "000000"})
    refused(Api().post("/tokens", {**CREDENTIALS, "code": "000000"}), 429, "TOO_MANY_REQUESTS")
    assert ApiToken.objects.count() == 1


# -- who must have one -----------------------------------------------------------------------------


@pytest.fixture
def required(world: World) -> None:
    config.put("RequireSecondFactor", "administrators")


@pytest.mark.usefixtures("required", "clock")
def test_an_administrator_is_led_to_a_factor_and_gets_nowhere_else(world: World, pool: Pool, minji: Any) -> None:
    caller = with_token()
    client, _answer = try_in()
    assert is_in(client)  # nobody's administrator yet
    grants.grant(role="VmPoolAdmin", to=minji, on=pool)
    for path in (
        "/",
        "/manage/",
        "/history/",
        "/backoffice/",
        "/account/password/",
        "/account/devices/",
        "/notices/",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/account/factors/"), path
    taken = client.post(f"/pools/{pool.pk}/take/", {"key": "one"})
    assert taken.headers["Location"] == "/account/factors/"
    assert b"need a second factor" in client.get("/account/factors/").content
    for path in ("/me", "/pools", "/manage/pools"):
        refusal = refused(caller.get(path), 403, "SECOND_FACTOR_REQUIRED")
        assert "/account/factors/" in refusal["message"]
    refused(Api().post("/tokens", CREDENTIALS), 403, "SECOND_FACTOR_REQUIRED")
    with_app(minji)
    assert is_in(client)
    assert caller.get("/me").status_code == 200


@pytest.mark.usefixtures("required")
def test_no_socket_is_a_way_around_a_factor(world: World) -> None:
    admin = world.superuser()
    watcher, console = Desktop(), Console()
    watcher.user, watcher.language = admin, "en"
    console.scope = {"user": admin, "headers": [], "session": SessionStore(), "url_route": {"kwargs": {}}}
    for look in (watcher._watched, watcher._translated, console._admit):
        with pytest.raises(NotFound):
            look()
    with_app(admin)
    for look in (watcher._watched, watcher._translated, console._admit):
        with pytest.raises((KeyError, AttributeError)):  # on to which desktop or console is meant, and none is
            look()


@pytest.mark.usefixtures("required")
def test_whoever_only_uses_desktops_needs_none(world: World, pool: Pool) -> None:
    client = Client()
    client.force_login(world.person("agent", pool))
    assert is_in(client)
    assert sign_in(world.person("agent")).get("/me").status_code == 200


# -- the password ----------------------------------------------------------------------------------


def asked_to_reset(address: str) -> Any:
    """Mails are sent beside the answer: wait for them."""
    started: list[Thread] = []
    start = Thread.start

    def noted(thread: Thread) -> None:
        started.append(thread)
        start(thread)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Thread, "start", noted)
        answer = Client().post("/account/password/reset/", {"email": address})
    for thread in started:
        thread.join()
    return answer


def test_a_mail_leads_to_a_new_password_once(minji: Any) -> None:
    caller = with_token()
    assert asked_to_reset("minji@hotdesk.example").status_code == 302
    [message] = mail.outbox
    assert message.to == ["minji@hotdesk.example"]
    link = re.search(r"http://testserver(/account/password/reset/\S+)", message.body)
    assert link
    client = Client()
    form = client.get(link[1]).headers["Location"]
    assert "set-password" in form  # the address that is shown holds no secret
    words = {"password1": "a new long pass phrase", "password2": "a new long pass phrase"}
    assert client.post(form, {"password1": "short", "password2": "short"}).status_code == 200
    assert client.post(form, words).headers["Location"] == "/account/password/reset/done/"
    assert not is_in(client)
    assert is_in(try_in(password=words["password1"])[0])
    refused(caller.get("/me"), 401)
    again = Client().get(link[1])
    assert again.status_code == 200 and b"used already" in again.content
    assert newest("object.changed").subject_id == minji.pk


def test_a_reset_tells_nobody_who_has_an_account(world: World, minji: Any) -> None:
    answers = [asked_to_reset(address) for address in ("minji@hotdesk.example", "nobody@hotdesk.example")]
    assert [(one.status_code, one.headers["Location"]) for one in answers] == [
        (302, "/account/password/reset/sent/")
    ] * 2
    assert len(mail.outbox) == 1
    minji.set_unusable_password()  # others vouch for her
    minji.save()
    asked_to_reset("minji@hotdesk.example")
    assert len(mail.outbox) == 1


def test_resets_are_not_asked_for_without_end(minji: Any) -> None:
    answers = [asked_to_reset("minji@hotdesk.example").status_code for _ in range(7)]
    assert answers[:5] == [302] * 5 and answers[-1] == 429
    assert len(mail.outbox) == 5


def test_a_new_password_ends_what_the_old_one_opened(minji: Any) -> None:
    here, elsewhere = try_in()[0], try_in()[0]
    caller = with_token()
    words = {"password1": "a new long pass phrase", "password2": "a new long pass phrase"}
    assert here.post("/account/password/", {"oldpassword": "wrong", **words}).status_code == 200
    assert here.post("/account/password/", {"oldpassword": PASSWORD, **words}).status_code == 302
    assert is_in(here) and not is_in(elsewhere)
    refused(caller.get("/me"), 401)


def test_administrators_say_how_long_a_password_is(minji: Any) -> None:
    config.put("MinPasswordLength", "20")
    client, _answer = try_in()
    for word, expected in (("nineteen letters ok", 200), ("twenty letters are ok", 302)):
        form = {"oldpassword": PASSWORD, "password1": word, "password2": word}
        assert client.post("/account/password/", form).status_code == expected
    with pytest.raises(Invalid, match="20"):
        users.create(username="new", password="short pass phrase")


# -- who lost the second factor --------------------------------------------------------------------


@pytest.mark.usefixtures("clock")
def test_administrators_let_somebody_in_who_lost_the_second_factor(world: World, minji: Any) -> None:
    boss = world.superuser()
    admin = sign_in(boss)
    with_app(minji)
    user = f"/users/{minji.pk}"
    assert admin.get(user).json()["has_second_factor"]
    portal = Client()
    portal.force_login(boss)
    question = portal.post("/manage/users/act/remove-factors/", {"id": str(minji.pk)})
    assert b"make sure who is asking" in question.content
    assert Authenticator.objects.filter(user=minji).exists()
    portal.post("/manage/users/act/remove-factors/", {"id": str(minji.pk), "confirmed": "1"})
    assert try_in()[1].headers["Location"] == "/"
    taken = newest("factor.taken")
    assert (taken.actor, taken.facts["owner"], taken.subject_id) == (boss, "minji", minji.pk)
    refused(admin.call("DELETE", f"{user}/factors"), 409, "NO_FACTOR")
    with_app(minji)
    assert admin.call("DELETE", f"{user}/factors").status_code == 204
    assert not admin.get(user).json()["has_second_factor"]


def test_nobody_removes_the_factors_of_who_may_do_more_or_the_own_ones(world: World) -> None:
    """An unwatched browser of an administrator is no way around the question for the password."""
    boss = world.superuser()
    admin = sign_in(boss)
    with_app(boss)
    refused(admin.call("DELETE", f"/users/{boss.pk}/factors"), 409, "OWN_ACCOUNT")
    Role.objects.create(name="Clerk", actions=["manage_users"])
    clerk = with_password(world.person("clerk"))
    grants.grant(role="Clerk", to=clerk, on=None)
    refused(sign_in(clerk).call("DELETE", f"/users/{boss.pk}/factors"), 403)
    assert Authenticator.objects.filter(user=boss).exists()


def test_administrators_see_and_end_sign_ins_by_the_api(world: World, minji: Any) -> None:
    admin = sign_in(world.superuser())
    there, token = try_in(client=Client(HTTP_USER_AGENT="A browser"))[0], with_token()
    path = f"/users/{minji.pk}/sign-ins"
    browser, program = admin.get(path).json()["items"]
    assert (browser["name"], browser["is_program"], browser["address"]) == ("A browser", False, "127.0.0.1")
    assert (program["is_program"], bool(program["last_used"])) == (True, False)
    assert token.get("/me").status_code == 200
    assert admin.call("DELETE", f"{path}/{program['id']}").status_code == 204
    assert (token.get("/me").status_code, is_in(there)) == (401, True)
    refused(admin.call("DELETE", f"{path}/{program['id']}"), 404)
    assert admin.call("DELETE", path).status_code == 204
    assert not is_in(there)
    assert admin.get(path).json()["items"] == []


# -- where one is signed in ------------------------------------------------------------------------


def test_other_browsers_are_signed_out_and_what_they_opened_ends(world: World, pool: Pool, minji: Any) -> None:
    here, there = try_in()[0], try_in(client=Client(HTTP_USER_AGENT="A browser far away"))[0]
    assert b"A browser far away" in here.get("/account/devices/").content
    grants.grant(role="UserRole", to=minji, on=pool)
    wish = world.take(minji, pool)
    world.settle()
    wish.refresh_from_db()
    wanted = Wanted(kind=ConsoleKind.TEXT, login=logins.of_session(there.session.session_key))
    console = console_doors.open_own(request=wish, wanted=wanted)
    assert here.post("/account/devices/").status_code == 302
    assert is_in(here) and not is_in(there)
    assert ConsoleSession.objects.get(pk=console.pk).ended_at is not None
    assert UserSession.objects.count() == 1
    assert newest("session.ended").facts["name"] == "A browser far away"


def test_one_chosen_browser_is_signed_out_and_none_of_anybody_else(world: World, minji: Any) -> None:
    other = with_password(world.person("other"))
    here, there, third = (try_in(client=Client(HTTP_USER_AGENT=f"Browser {name}"))[0] for name in "abc")
    foreign = try_in(username=other.username)[0]
    page = here.get("/account/devices/").content.decode()
    ends = dict(re.findall(r'action="(/account/devices/\w+/end/)".*?Browser (\w)', page))
    assert sorted(ends.values()) == ["b", "c"]  # here there is "Sign out" for that
    [address] = [path for path, name in ends.items() if name == "b"]
    assert foreign.post(address).status_code == 404
    assert is_in(there)
    assert here.post(address).status_code == 302
    assert (is_in(here), is_in(there), is_in(third), is_in(foreign)) == (True, False, True, True)
    assert here.post(address).status_code == 404
    assert "Browser b" not in here.get("/account/devices/").content.decode()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
            "Safari/537.36 Edg/141.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
            "Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.5 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("nightly-backup/2", "nightly-backup/2"),
        ("", "A browser"),
    ],
)
def test_browsers_are_called_what_people_call_them(agent: str, name: str) -> None:
    assert signed_in.called(agent) == name


def test_what_is_kept_of_sign_ins_goes_with_them(minji: Any) -> None:
    here, there = try_in()[0], try_in()[0]
    Session.objects.filter(pk=there.session.session_key).update(expire_date=timezone.now() - timedelta(seconds=1))
    gone = try_in()[0]
    gone.post("/sign-out/")
    record.forget_sign_ins()
    assert [one.pk for one in Session.objects.all()] == [here.session.session_key]
    assert [one.session_key for one in UserSession.objects.all()] == [here.session.session_key]
    assert is_in(here)


def test_nobody_signs_up(db: None) -> None:
    for path in ("/signup/", "/account/signup/", "/accounts/signup/", "/account/email/", "/account/3rdparty/"):
        assert Client().get(path).status_code == 404
    assert not accounts.AccountAdapter().is_open_for_signup(None)


# -- lock-outs -------------------------------------------------------------------------------------


def test_brute_force_locks_a_name_out_and_an_administrator_lets_it_in_again(world: World, minji: Any) -> None:
    admin = sign_in(world.superuser())
    for _guess in range(10):
        assert try_in(password="guess")[1].status_code == 200
    assert try_in()[1].status_code == 429
    refused(Api().post("/tokens", CREDENTIALS), 429, "TOO_MANY_REQUESTS")
    [lock_out] = admin.get("/lock-outs").json()["items"]
    assert (lock_out["username"], lock_out["address"], lock_out["failures"]) == ("minji", "127.0.0.1", 10)
    assert admin.call("DELETE", f"/lock-outs/{lock_out['id']}").status_code == 204
    refused(admin.call("DELETE", f"/lock-outs/{lock_out['id']}"), 404)
    assert newest("lock_out.undone").facts["name"] == "minji"
    assert is_in(try_in()[0])


def test_the_portal_lists_lock_outs_and_unlocks(world: World, minji: Any) -> None:
    client = Client()
    client.force_login(world.superuser())
    for name in ("minji", "hunter2 is my secret"):
        for _guess in range(10):
            try_in(username=name, password="guess")
    page = client.get("/manage/lock-outs/").content.decode()
    assert "minji" in page and "(a name that nobody has)" in page
    assert "hunter2" not in page + str(list(AccessAttempt.objects.values()))  # it may have been the password
    found = client.get("/manage/lock-outs/", {"q": "username = minji"}).content.decode()
    assert "(a name that nobody has)" not in found
    row = AccessAttempt.objects.get(username="minji")
    client.post("/manage/lock-outs/act/unlock/", {"id": row.pk})
    assert is_in(try_in()[0])


def test_of_a_failed_sign_in_nothing_is_kept_that_the_lock_out_does_not_need(minji: Any) -> None:
    client = Client(HTTP_USER_AGENT="<script>", HTTP_ACCEPT="anything")
    client.post("/sign-in/?token=x", {**CREDENTIALS, "password": "guess", "more": "y" * 1000})
    client.post("/sign-in/", {**CREDENTIALS, "password": "guess"}, headers={"User-Agent": "another"})
    [row] = AccessAttempt.objects.values()
    assert (row["username"], row["failures_since_start"]) == ("minji", 2)
    assert {row[name] for name in ("user_agent", "http_accept", "path_info")} == {""}
    assert (row["get_data"] + row["post_data"]).strip("\n-") == ""


def test_every_address_of_a_network_is_one(minji: Any) -> None:
    for number in range(10):
        Client(REMOTE_ADDR=f"2001:db8::{number}").post("/sign-in/", {**CREDENTIALS, "password": "guess"})
    assert Client(REMOTE_ADDR="2001:db8::ffff").post("/sign-in/", CREDENTIALS).status_code == 429
    assert Client(REMOTE_ADDR="2001:db9::1").post("/sign-in/", CREDENTIALS).status_code == 302


def test_who_is_asked_for_the_password_once_more_is_counted_too(minji: Any) -> None:
    client, _answer = try_in()
    for _guess in range(10):
        client.post("/account/confirm/", {"password": "guess"})
        cache.clear()  # allauth's own count of it
    assert b"Too many sign-ins failed" in client.post("/account/confirm/", {"password": PASSWORD}).content
    assert try_in()[1].status_code == 429
