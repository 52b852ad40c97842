"""Nobody gets more than a fair share: requests a second, sign-ins that fail, bytes in a body or in a message."""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from broker.management.commands.demo import WEB_LIMITS
from broker.models import Event, Pool
from portal import limits
from portal.models import ApiToken
from tests.api.conftest import PASSWORD, Api, refused, sign_in, with_password
from tests.running import ROOT, wait_until
from tests.world import World

MOST = 1_000_000
CREDENTIALS = {"username": "agent", "password": PASSWORD}
WRONG = {**CREDENTIALS, "password": "wrong"}


class Clock:
    """The time that limits, their memory and lock-outs see."""

    def __init__(self, travel: Any) -> None:
        self.travel = travel

    @property
    def now(self) -> float:
        return time.time()

    @now.setter
    def now(self, at: float) -> None:
        self.travel.move_to(at)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """It stands still, ten seconds into a window of five minutes."""
    with time_machine.travel(time.time() // 300 * 300 + 10, tick=False) as travel:
        yield Clock(travel)


@pytest.fixture
def person(world: World, pool: Pool) -> Any:
    return with_password(world.person("agent", pool))


# -- requests --------------------------------------------------------------------------------------


def test_a_program_may_ask_so_often_in_a_second(settings: Any, world: World, agent: Api, clock: Clock) -> None:
    other = sign_in(world.person("other"))
    settings.REQUESTS_PER_USER = 3
    assert [agent.get("/me").status_code for _ in range(3)] == [200] * 3
    answer = agent.get("/me")
    refused(answer, 429, "TOO_MANY_REQUESTS")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert other.get("/me").status_code == 200
    clock.now += 1
    assert agent.get("/me").status_code == 200


def test_a_person_may_ask_so_often_whatever_the_browser(settings: Any, person: Any, clock: Clock) -> None:
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(person)
    settings.REQUESTS_PER_USER = 4
    assert [browser.get("/").status_code for browser in browsers * 2] == [200] * 4
    answer = browsers[0].get("/", headers={"Accept-Language": "en"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert "Too many requests at once." in answer.content.decode()
    assert "Content-Security-Policy" in answer.headers
    clock.now += 1
    assert browsers[0].get("/").status_code == 200


def test_an_address_may_ask_so_often_and_costs_no_query_beyond(
    settings: Any, db: None, clock: Clock, django_assert_num_queries: Any
) -> None:
    settings.REQUESTS_PER_ADDRESS = 3
    assert [Client().get("/sign-in/").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert Event.objects.get().facts["status"] == "429"  # once a minute says it all
    with django_assert_num_queries(0):
        assert Client().get("/sign-in/").status_code == 429
        refused(Api("no token of ours").get("/me"), 429, "TOO_MANY_REQUESTS")
    assert Client(REMOTE_ADDR="192.0.2.7").get("/sign-in/").status_code == 200


def test_all_addresses_of_one_network_are_one_caller(settings: Any, db: None, clock: Clock) -> None:
    settings.REQUESTS_PER_ADDRESS = 1
    statuses = [
        Client(REMOTE_ADDR=address).get("/sign-in/").status_code
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2", "")
    ]
    assert statuses == [200, 429, 200, 200, 200, 200]


def test_whoever_watches_over_us_may_ask_any_time(settings: Any, db: None, clock: Clock) -> None:
    settings.REQUESTS_PER_ADDRESS = 0
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/readyz").status_code == 503  # Nothing is there yet.
    assert Client().get("/sign-in/").status_code == 429


def test_static_files_are_answered_before_anything_is_counted(settings: Any) -> None:
    order = settings.MIDDLEWARE
    assert order.index("whitenoise.middleware.WhiteNoiseMiddleware") < order.index("portal.middleware.within_limits")


def test_a_database_that_is_away_is_told_by_the_view(person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import OperationalError

    browser = Client()
    browser.force_login(person)

    def away(store: SessionStore) -> dict[str, Any]:
        raise OperationalError

    monkeypatch.setattr(SessionStore, "load", away)
    assert Client().get("/healthz").status_code == 200
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/api/v1/me").status_code == 401


# -- sign-ins --------------------------------------------------------------------------------------


def page(credentials: dict[str, str], **more: Any) -> Any:
    return Client(**more).post("/sign-in/", credentials, headers={"Accept-Language": "en"})


def program(credentials: dict[str, str], **more: Any) -> Any:
    return Api(client=Client(**more)).post("/tokens", credentials)


@pytest.mark.parametrize("name", ["agent", "nobody"])
def test_after_ten_failures_a_name_is_not_tried_again(person: Any, clock: Clock, name: str) -> None:
    """Whether it exists or not, and whatever the password."""
    for _ in range(5):
        assert page({**WRONG, "username": name}).status_code == 200
        assert program({**WRONG, "username": name}).status_code == 401
    answer = page({**CREDENTIALS, "username": name})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "300")
    text = answer.content.decode()
    assert "Too many sign-ins failed. Please try again in 5 minutes." in text
    assert f'value="{name}"' in text
    assert PASSWORD not in text
    answer = program({**CREDENTIALS, "username": name})
    refused(answer, 429, "TOO_MANY_REQUESTS")
    assert answer.headers["Retry-After"] == "300"
    assert not ApiToken.objects.exists()


def test_a_limited_name_is_refused_alike_whether_it_exists(person: Any, clock: Clock) -> None:
    for name in ("agent", "nobody"):
        for _ in range(10):
            program({**WRONG, "username": name})
    known, unknown = program(CREDENTIALS), program({**CREDENTIALS, "username": "nobody"})
    assert (known.status_code, known.content) == (429, unknown.content)


def test_the_wait_ends(person: Any, clock: Clock) -> None:
    for _ in range(11):
        program(WRONG)
    clock.now += 289
    assert "1 minute." in page(CREDENTIALS).content.decode()
    clock.now += 12
    assert program(CREDENTIALS).status_code == 201


def test_other_names_and_other_addresses_are_not_held_up(world: World, person: Any, clock: Clock) -> None:
    with_password(world.person("other"))
    for _ in range(200):
        program(WRONG)
    assert program({**CREDENTIALS, "username": "other"}).status_code == 201
    assert program(CREDENTIALS, REMOTE_ADDR="192.0.2.7").status_code == 201
    assert program(CREDENTIALS).status_code == 429


def test_other_spellings_of_a_name_are_no_further_tries(person: Any, clock: Clock) -> None:
    for name in ("agent", "ａgent", " agent", "agent ", "ⓐgent") * 2:
        page({**WRONG, "username": name})
    assert page(CREDENTIALS).status_code == 429


def test_a_success_forgets_the_failures_of_the_name(person: Any, clock: Clock) -> None:
    for sign_in_as in (page, program):
        for _ in range(9):
            sign_in_as(WRONG)
        assert sign_in_as(CREDENTIALS).status_code in (201, 302)
    for _ in range(10):
        assert program(WRONG).status_code == 401


def test_a_hundred_failures_shut_out_an_address(person: Any, clock: Clock) -> None:
    for _ in range(100):
        assert program(CREDENTIALS).status_code == 201  # no failures
    for number in range(100):
        assert program({**WRONG, "username": f"guess{number}"}).status_code == 401
    refused(program(CREDENTIALS), 429, "TOO_MANY_REQUESTS")
    assert page(CREDENTIALS).status_code == 429
    assert program(CREDENTIALS, REMOTE_ADDR="192.0.2.7").status_code == 201


def test_many_at_once_are_counted_as_if_one_after_the_other(clock: Clock) -> None:
    with ThreadPoolExecutor(20) as callers:
        counted = callers.map(lambda _number: limits.count("sign-ins", "192.0.2.7", seconds=300), range(200))
        assert sorted(counted) == list(range(1, 201))


def test_half_a_form_is_no_failure(person: Any, clock: Clock) -> None:
    for _ in range(20):
        assert page({"username": "agent", "password": ""}).status_code == 200
    assert page(CREDENTIALS).status_code == 302


# -- bodies, in process ----------------------------------------------------------------------------


def asked(path: str, chunks: Iterator[bytes], *headers: tuple[bytes, bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """One POST to the ASGI application; afterwards nothing of it is left."""
    from portal.asgi import application

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        chunk = next(chunks, None)
        if chunk is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def call() -> set[Any]:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await application(scope, receive, send)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(call()) == set()
    start, *rest = sent
    return start["status"], dict(start["headers"]), b"".join(message["body"] for message in rest)


def endless(size: int, taken: list[int]) -> Iterator[bytes]:
    while True:
        taken.append(size)
        yield b" " * size


def test_a_body_without_a_length_is_read_no_further_than_the_limit() -> None:
    taken: list[int] = []
    status, headers, body = asked("/api/v1/tokens", endless(60_000, taken))
    assert (status, headers[b"connection"]) == (413, b"close")
    assert b'"error": "TOO_LARGE"' in body
    assert MOST < sum(taken) <= MOST + 60_000


def test_a_page_says_it_as_a_page() -> None:
    status, headers, body = asked("/sign-in/", endless(60_000, []), (b"accept-language", b"en"))
    assert (status, headers[b"Content-Type"]) == (413, b"text/html; charset=utf-8")
    assert b"At most 1000000 bytes can be sent at once." in body
    assert b"Content-Security-Policy" in headers


def test_a_body_that_says_how_large_it_is_is_not_read_at_all() -> None:
    taken: list[int] = []
    length = str(MOST + 1).encode()
    status, _headers, _body = asked("/api/v1/tokens", endless(1, taken), (b"content-length", length))
    assert (status, taken) == (413, [])


def test_a_body_of_just_the_limit_is_read() -> None:
    chunks = iter([b" " * (MOST - 1), b" ", b""])
    status, headers, _body = asked("/api/v1/tokens", chunks)
    assert (status, b"connection" in headers) == (400, False)  # It is no JSON.


@pytest.mark.parametrize("path", ["/sign-in/", "/manage/pools/new/", "/language/setlang/"])
def test_a_form_that_is_too_large_is_refused(db: None, path: str) -> None:
    answer = Client().post(path, "a" * (MOST + 1), content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 413


# -- bodies, headers and messages, through a real server -------------------------------------------


@dataclass
class Server:
    """uvicorn with the options of the demo."""

    port: int
    pid: int
    temporary: Path

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def temporary_files(self) -> list[str]:
        """Those that it has open; most such files have no name any more."""
        opened = [os.readlink(file) for file in Path(f"/proc/{self.pid}/fd").iterdir()]
        return [file for file in opened if file.startswith(str(self.temporary))]


def serve(application: str, folder: Path, **environment: str) -> Iterator[Server]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--log-level", "warning"]
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "HOTDESK_STATE": str(folder), **environment}
    # It needs no database, and starts none.
    inherited = {name: value for name, value in os.environ.items() if name != "HOTDESK_TEST_DATABASE"}
    process = subprocess.Popen(
        [*command, *WEB_LIMITS], cwd=ROOT, env={**inherited, **environment, "TMPDIR": str(temporary)}
    )
    server = Server(port, process.pid, temporary)

    def answers() -> bool:
        assert process.poll() is None
        with closing(socket.socket()) as knock:
            return knock.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, "the server listens", 30)
        yield server
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serve("portal.asgi:application", tmp_path_factory.mktemp("server"))


def everything(connection: socket.socket) -> bytes:
    """What is answered until the other side closes, maybe with more of ours on the way."""
    answer = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            answer += piece
    return answer


def pour(connection: socket.socket, piece: bytes) -> None:
    """Send it again and again, until there is an answer or nobody who takes more."""
    with suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(64 * MOST // len(piece)):
            if select.select([connection], [], [], 0)[0]:
                return
            connection.sendall(piece)
        pytest.fail("there is no end to what is taken")


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", "Accept-Language: en", *lines, "", ""]).encode()


@pytest.mark.parametrize(("path", "said"), [("/api/v1/tokens", b'"TOO_LARGE"'), ("/sign-in/", b"At most 1000000")])
def test_a_server_hangs_up_on_chunks_without_end(server: Server, path: str, said: bytes) -> None:
    with server.connection() as connection:
        connection.sendall(head(path, "Transfer-Encoding: chunked", "Content-Type: application/json"))
        pour(connection, b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert said in answer
    assert server.temporary_files() == []


def test_a_server_does_not_wait_for_a_body_that_is_too_large(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(head("/api/v1/tokens", "Content-Length: 5000000", "Expect: 100-continue"))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_server_takes_chunks_within_the_limit_and_goes_on(server: Server) -> None:
    with server.connection() as connection:
        for _ in range(2):
            connection.sendall(head("/api/v1/tokens", "Transfer-Encoding: chunked", "Content-Type: application/json"))
            connection.sendall(b"3\r\n   \r\n0\r\n\r\n")
            answer = HTTPResponse(connection, method="POST")
            answer.begin()
            assert (answer.status, json.loads(answer.read())["error"]) == (400, "BAD_REQUEST")


def test_a_server_refuses_headers_without_end(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(head("/healthz").removesuffix(b"\r\n"))
        pour(connection, b"X-Long: " + b"x" * 10_000 + b"\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_a_server_does_not_say_what_it_is(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = everything(connection).lower()
    assert answer.startswith(b"http/1.1 200 ")
    assert b"\r\nserver:" not in answer


LISTENER = """
async def application(scope, receive, send):
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": "heard"})
"""


def test_a_message_that_is_too_long_ends_its_websocket(tmp_path: Path) -> None:
    (tmp_path / "listener.py").write_text(LISTENER)
    for server in serve("listener:application", tmp_path, PYTHONPATH=str(tmp_path)):
        # uvicorn knows no other protocol of this application, and says nothing of it.
        with connect(f"ws://127.0.0.1:{server.port}/", compression=None) as websocket:
            websocket.send("x" * 16384)
            assert websocket.recv(10) == "heard"
            websocket.send("x" * 16385)
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
