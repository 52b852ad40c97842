"""Signing in tells nobody anything, leads nowhere else, and leaves no secret in a log."""

import asyncio
import logging
import re
from typing import Any
from uuid import uuid4

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client

from broker import grants
from broker.models import Pool
from portal import record
from portal.live import NOT_SIGNED_IN
from tests.api.conftest import PASSWORD, Api, with_password
from tests.running import connection
from tests.world import World

CREDENTIALS = {"username": "agent", "password": PASSWORD}


def page(credentials: dict[str, str]) -> HttpResponse:
    return Client().post("/sign-in/", credentials)


def program(credentials: dict[str, str]) -> HttpResponse:
    return Api().post("/tokens", credentials)


def said(answer: HttpResponse) -> tuple[Any, ...]:
    """All that differs for whoever looks closely, but for what is each request's own and the time of day."""
    token = re.compile(rb'name="csrfmiddlewaretoken" value="\w+"')
    own = ("Content-Length", "Expires", "X-Request-ID")
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, headers, token.sub(b"", answer.content)


# -- who exists ------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed: that is what takes the time."""
    seen: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: MD5PasswordHasher, password: str, salt: str) -> str:
        seen.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    return seen


@pytest.mark.parametrize("sign_in", [page, program])
def test_nobody_learns_who_has_an_account(world: World, hashed: list[str], sign_in: Any) -> None:
    answers = [sign_in(CREDENTIALS)]
    assert len(hashed) == 1

    person = world.person("agent")
    person.set_unusable_password()
    person.save()
    hashed.clear()
    answers.append(sign_in(CREDENTIALS))
    assert len(hashed) == 1

    with_password(person)
    hashed.clear()
    answers.append(sign_in({**CREDENTIALS, "password": "wrong"}))
    assert len(hashed) == 1

    person.is_active = False
    person.save()
    hashed.clear()
    answers.append(sign_in(CREDENTIALS))
    assert len(hashed) == 1

    first, *others = [said(answer) for answer in answers]
    assert others == [first] * 3
    person.is_active = True
    person.save()
    assert sign_in(CREDENTIALS).status_code in (201, 302)


def test_who_signs_in_gets_another_session(world: World) -> None:
    with_password(world.person("agent"))
    client = Client()
    session = client.session  # as somebody else may have put it there
    session["given"] = "before"
    session.save()
    assert client.post("/sign-in/", CREDENTIALS).status_code == 302
    assert client.session.session_key != session.session_key
    assert not Session.objects.filter(pk=session.session_key).exists()


def test_nothing_of_one_person_is_left_for_the_next(world: World) -> None:
    client = Client()
    client.force_login(world.person("first"))
    session = client.session
    session["seen"] = "by the first"
    session.save()
    client.post("/sign-out/")
    with_password(world.person("agent"))
    client.post("/sign-in/", CREDENTIALS)
    assert "seen" not in client.session
    assert not Session.objects.filter(pk=session.session_key).exists()


# -- where it leads --------------------------------------------------------------------------------

ELSEWHERE = [
    "//evil.example",
    "///evil.example/manage/",
    "////evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "https://evil.example/",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "http://testserver:80@evil.example/manage/",
    "\\\\evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/\\/evil.example/manage/",
    "\t//evil.example",
    "/\t/evil.example",
    " //evil.example",
    "\x01//evil.example",
    "javascript:alert('evil.example')",
    "java\nscript:alert('evil.example')",
    "data:text/html,evil.example",
    "evil.example:443",
]


def stays(location: str) -> bool:
    """As browsers read it: backslashes are slashes, and line ends and tabs are nothing."""
    read = re.sub(r"[\t\r\n]", "", location.strip(" \0\x01\t\r\n")).replace("\\", "/")
    return re.match(r"/(?!/)", read) is not None and "evil.example" not in read


@pytest.fixture
def admin(world: World) -> Client:
    person = with_password(world.person("agent"))
    grants.grant(role="SuperUser", to=person, on=None)
    client = Client()
    client.force_login(person)
    return client


@pytest.mark.parametrize("address", ELSEWHERE)
def test_signing_in_and_out_leads_nowhere_else(admin: Client, address: str) -> None:
    answers = [
        Client().post("/sign-in/", {**CREDENTIALS, "next": address}),
        Client().post("/sign-in/", CREDENTIALS, query_params={"next": address}),
        admin.get("/sign-in/", query_params={"next": address}),
        admin.post("/sign-out/", {"next": address}),
    ]
    for answer in answers:
        assert answer.status_code == 302
        assert stays(answer.headers["Location"])
    through = Client().get("/backoffice/login/", query_params={"next": address})
    assert through.headers["Location"].startswith("/sign-in/?next=")
    end = Client().post(through.headers["Location"], CREDENTIALS)
    assert stays(end.headers["Location"])


@pytest.mark.parametrize("address", ELSEWHERE)
def test_choosing_a_language_leads_nowhere_else(db: None, address: str) -> None:
    for values, headers in (({"next": address}, {}), ({}, {"Referer": address})):
        if headers and not address.isprintable():
            continue  # in no header
        answer = Client().post("/language/setlang/", {"language": "ko", **values}, headers=headers)
        assert answer.status_code == 302
        assert stays(answer.headers["Location"])


@pytest.mark.parametrize("address", ELSEWHERE)
def test_administration_leads_nowhere_else(admin: Client, address: str) -> None:
    answer = admin.post("/manage/vms/act/run/", {"back": address})
    assert answer.status_code == 302
    assert stays(answer.headers["Location"])
    part = admin.post("/manage/vms/act/run/", {"back": address}, headers={"X-Part": "1"})
    assert (part.status_code, stays(part.headers["X-Location"])) == (204, True)
    form = admin.get("/manage/pools/new/", query_params={"back": address})
    # The switch of languages holds the page's own address, query and all.
    shown = re.sub(r'name="next" value="[^"]*"', "", form.content.decode())
    assert (form.status_code, "evil.example" in shown) == (200, False)


@pytest.mark.parametrize("address", [one for one in ELSEWHERE if one.isprintable()])
def test_a_refusal_does_not_send_people_back_elsewhere(world: World, pool: Pool, address: str) -> None:
    client = Client()
    client.force_login(world.person("agent", pool))
    take = f"/pools/{pool.pk}/take/"
    assert client.post(take, {"key": "one"}).status_code == 302
    refused = client.post(take, {"key": "two"}, headers={"Referer": address})
    assert refused.status_code == 409
    own = client.post(take, {"key": "three"}, headers={"Referer": "http://testserver/pools/"})
    assert (own.status_code, own.headers["Location"]) == (302, "http://testserver/pools/")


@pytest.mark.parametrize("path", ["//evil.example/manage", "//evil.example/%2e%2e/sign-in", "/\\evil.example/manage"])
def test_an_address_that_lacks_its_slash_leads_nowhere_else(admin: Client, path: str) -> None:
    answer = admin.get("/", PATH_INFO=path)
    assert answer.status_code == 404 or stays(answer.headers["Location"])


# -- from where a websocket is opened --------------------------------------------------------------


def opened(*headers: tuple[bytes, bytes]) -> tuple[bool, Any]:
    """Whether a websocket of nobody's is let in, and with which code it ends."""
    from portal.asgi import application

    scope = {
        "type": "websocket",
        "path": f"/live/desktops/{uuid4()}/",
        "query_string": b"",
        "headers": list(headers),
        "subprotocols": [],
    }

    async def knock() -> tuple[bool, Any]:
        caller = ApplicationCommunicator(application, scope)
        await caller.send_input({"type": "websocket.connect"})
        answer = await caller.receive_output()
        let_in = answer["type"] == "websocket.accept"
        if let_in:
            answer = await caller.receive_output()
        assert answer["type"] == "websocket.close"
        await caller.send_input({"type": "websocket.disconnect", "code": 1000})
        await caller.wait()
        return let_in, answer.get("code")

    return asyncio.run(knock())


HOST = (b"host", b"localhost:8000")


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """These need no database; that a refusal is written down is shown in tests/access/test_live.py."""
    monkeypatch.setattr(record, "refused_socket", lambda *_scope, **_about: None)


@pytest.mark.usefixtures("unrecorded")
def test_a_page_of_ours_opens_a_websocket(settings: Any) -> None:
    assert opened(HOST, (b"origin", b"http://localhost:8000")) == (True, NOT_SIGNED_IN)
    settings.CSRF_TRUSTED_ORIGINS = ["https://127.0.0.1"]
    assert opened(HOST, (b"origin", b"https://127.0.0.1")) == (True, NOT_SIGNED_IN)
    settings.BEHIND_TLS = True
    assert opened(HOST, (b"origin", b"https://localhost:8000")) == (True, NOT_SIGNED_IN)
    assert opened(HOST, (b"origin", b"http://localhost:8000"))[0] is False


@pytest.mark.usefixtures("unrecorded")
@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, (b"origin", b"null")],
        [HOST, (b"origin", b"")],
        [HOST, (b"origin", b"http://evil.example")],
        [HOST, (b"origin", b"http://localhost:8001")],
        [HOST, (b"origin", b"http://localhost")],
        [HOST, (b"origin", b"https://localhost:8000")],
        [HOST, (b"origin", b"http://localhost:8000.evil.example")],
        [HOST, (b"origin", b"http://[")],
        [(b"host", b"evil.example"), (b"origin", b"http://evil.example")],
        [(b"origin", b"http://localhost:8000")],
    ],
)
def test_nobody_elses_page_opens_a_websocket(headers: list[tuple[bytes, bytes]]) -> None:
    assert opened(*headers)[0] is False


# -- what is written down --------------------------------------------------------------------------


def test_no_log_holds_a_secret(
    workers: World, pool: Pool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (None, "broker", "portal", "django", "django.request", "django.security", "asyncio", "ninja"):
        caplog.set_level(logging.DEBUG, logger=name)
    caplog.handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    with_password(workers.person("agent", pool))
    wrong = {**CREDENTIALS, "password": "never-to-be-written"}

    browser = Client()
    assert browser.post("/sign-in/", wrong).status_code == 200
    assert browser.post("/sign-in/", CREDENTIALS).status_code == 302
    assert program(wrong).status_code == 401
    assert Api().post("/tokens", raw=f'{{"password": "{PASSWORD}", ').status_code == 400
    assert Api().post("/tokens", {**CREDENTIALS, "more": 1}).status_code == 422
    token = program(CREDENTIALS).json()["token"]
    assert Api("hd_nobodys").get("/me").status_code == 401

    agent = Api(token)
    wish = agent.post(f"/pools/{pool.pk}/take").json()["id"]
    workers.settle()
    files = [agent.post(f"/requests/{wish}/console"), browser.post(f"/desktops/{wish}/connect/")]
    tickets = [connection(file.content.decode())["password"] for file in files]

    def broken(*_words: Any, **_credentials: Any) -> None:
        raise RuntimeError("the database of people is broken")

    monkeypatch.setattr("portal.api.tokens.authenticate", broken)
    monkeypatch.setattr("django.contrib.auth.forms.authenticate", broken)
    caller = Client(raise_request_exception=False)
    assert Api(client=caller).post("/tokens", CREDENTIALS).status_code == 500
    assert caller.post("/sign-in/", CREDENTIALS).status_code == 500

    assert "the database of people is broken" in caplog.text
    secrets = [PASSWORD, wrong["password"], token, "hd_nobodys", browser.session.session_key, *tickets]
    assert len(set(secrets)) == 7
    assert [secret for secret in secrets if secret in caplog.text] == []
