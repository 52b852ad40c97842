"""What surrounds every page: the ways through the site, notices, help, and what the browser keeps for later."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis.exceptions import RedisError

from broker import config, grants, jobs, leases
from broker.errors import Busy
from broker.models import DesktopRequest, Lease, Pool
from broker.operations import desktops
from portal.navigation import ENTRIES
from tests.api.conftest import sign_in
from tests.pages.conftest import Reader, text
from tests.world import World

SENDING = (jobs.send, jobs._send_once)  # a world has its own
STARTED = "new desktops cannot be started now"
NOTICE = "Disks are replaced until 18:00."
CHANGING = ("/", "/notices/")


@pytest.fixture
def agent(world: World) -> Reader:
    return Reader(world.person("agent", world.pool(2, name="helpdesk")))


def body(answer: Any) -> str:
    return answer.content.decode()


def stop_working(seconds: float) -> None:
    """As if no worker had run the sweep for so long."""
    sweeps = leases.SWEEPS_MISSED * 10
    until = timezone.now() - timedelta(seconds=seconds - sweeps)
    Lease.objects.filter(pk=leases.HEARTBEAT).update(expires_at=until)


# -- is anybody at work? -------------------------------------------------------------------------------


def test_nobody_is_silent_while_the_sweep_runs(world: World, settings: Any) -> None:
    settings.SWEEP_SECONDS = 10
    stop_working(29)
    assert leases.silence() is None
    stop_working(31)
    silence = leases.silence()
    assert silence is not None and silence.since is not None
    assert 30 < (timezone.now() - silence.since).total_seconds() < 33
    world.sweep()
    assert leases.silence() is None


def test_who_never_worked_is_silent_since_no_time_at_all(world: World) -> None:
    Lease.objects.all().delete()
    assert leases.silence() == leases.Silence(since=None)


@pytest.fixture
def trouble(agent: Reader, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """What messages to workers cannot be sent for, as long as it is not empty."""
    trouble: list[Exception] = []

    def send(*_: Any, **_more: Any) -> None:
        for error in trouble:
            raise error

    monkeypatch.setattr(current_app._get_current_object(), "send_task", send)
    for real in SENDING:
        monkeypatch.setattr(jobs, real.__name__, real)
    yield trouble
    trouble.clear()
    jobs.send("broker.sweep")


def test_pages_say_when_messages_to_workers_are_not_sent(agent: Reader, trouble: list[Exception]) -> None:
    late = "Desktops start later than usual this moment."
    pool = Pool.objects.get()
    grants.grant(role="UserRole", to=agent.person, on=pool)
    trouble.append(RedisError("nobody is there"))
    assert agent.post(f"/pools/{pool.pk}/take/").status_code == 302
    assert DesktopRequest.objects.get().state == "queued"  # it was taken all the same
    assert late in text(agent.get("/")) and late in text(agent.get("/notices/"))
    trouble.clear()
    jobs.send("broker.allocate", pool.pk)
    assert late not in text(agent.get("/"))


@pytest.mark.parametrize("path", CHANGING)
def test_pages_say_when_nothing_moves_any_more(agent: Reader, settings: Any, path: str) -> None:
    settings.SWEEP_SECONDS = 10
    assert STARTED not in text(agent.get(path))
    stop_working(100)
    answer = agent.get(path)
    assert f"places in line are kept; {STARTED}" in text(answer)
    silence = leases.silence()
    assert silence is not None and silence.since is not None
    assert f'datetime="{silence.since.isoformat()}"' in body(answer)
    Lease.objects.all().delete()
    assert "just being started" in text(agent.get(path))


def test_a_desktops_page_says_it_too(world: World, agent: Reader) -> None:
    pool = world.pool(1, name="other")
    wish = world.take(world.person("agent", pool), pool)
    Lease.objects.all().delete()
    assert STARTED in text(agent.get(f"/desktops/{wish.pk}/"))


def test_only_what_shows_it_asks_for_it(agent: Reader) -> None:
    asked = {}
    for path in ("/", "/pools/", "/offline/", "/service-worker.js", "/sign-in/"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            agent.get(path)
        asked[path] = sum(leases.HEARTBEAT in query["sql"] for query in queries)
    assert asked == {"/": 1, "/pools/": 0, "/offline/": 0, "/service-worker.js": 0, "/sign-in/": 0}


# -- maintenance ---------------------------------------------------------------------------------------


def test_during_maintenance_pages_say_so_and_nothing_can_be_taken(world: World, agent: Reader) -> None:
    page = agent.get("/")
    take = re.search(r'action="(/pools/[^"]+/take/)"', body(page))
    assert take is not None
    config.put("MaintenanceNotice", NOTICE)
    closed = agent.get("/")
    assert "Closed for maintenance" in text(closed)
    assert f"{NOTICE} No new desktop can be taken now." in text(closed)
    assert "/take/" not in body(closed)
    assert NOTICE in text(agent.get("/access/"))
    answer = agent.client.post(take[1], {"key": "1"}, headers={"Referer": "http://testserver/"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "300")
    assert NOTICE in text(answer) and "Desktops in use stay usable, and places in line are kept." in text(answer)
    assert not DesktopRequest.objects.exists()
    config.put("MaintenanceNotice", "")
    assert "/take/" in body(agent.get("/"))
    assert agent.post(take[1], {"key": "1"}).status_code == 302


def test_maintenance_ends_nothing_that_was_begun(world: World) -> None:
    pool = world.pool(1, name="helpdesk", max_vms_per_user=2)
    person = world.person("agent", pool)
    wish, _new = desktops.take(user=person, pool=pool, idempotency_key="one")
    config.put("MaintenanceNotice", NOTICE)
    assert desktops.take(user=person, pool=pool, idempotency_key="one") == (wish, False)
    with pytest.raises(Busy, match="Disks"):
        desktops.take(user=person, pool=pool, idempotency_key="two")
    world.settle()
    wish.refresh_from_db()
    assert wish.state == "ready"


def test_programs_are_told_of_maintenance(world: World) -> None:
    pool = world.pool(1, name="helpdesk")
    config.put("MaintenanceNotice", NOTICE)
    answer = sign_in(world.person("agent", pool)).call("post", f"/pools/{pool.pk}/take")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "300")
    assert answer.json() == {
        "error": "MAINTENANCE",
        "message": NOTICE,
        "details": [{"field": None, "message": NOTICE}],
    }


def test_a_notice_is_no_novel(admin: Reader) -> None:
    answer = admin.fill("/manage/settings/MaintenanceNotice/edit/", value="x" * 501)
    assert answer.status_code == 422
    assert "At most 500 characters." in text(answer)


# -- the ways through the site -------------------------------------------------------------------------


def current(answer: Any) -> list[tuple[str, str]]:
    header = body(answer).split("</header>")[0]
    return re.findall(r'<a [^>]*href="([^"]+)"[^>]* aria-current="(\w+)"', header)


def test_the_header_shows_where_one_is(world: World, admin: Reader) -> None:
    pool = world.pool(1, name="helpdesk")
    wish = world.take(admin.person, pool)
    assert current(admin.get("/")) == [("/", "page")]
    assert current(admin.get(f"/desktops/{wish.pk}/")) == [("/", "true")]
    assert current(admin.get("/manage/")) == [("/manage/", "page")]
    assert current(admin.get("/manage/pools/")) == [("/manage/", "true")]
    assert current(admin.get("/access/")) == [("/access/", "page")]
    assert current(admin.get("/help/")) == [("/help/", "page")]
    assert current(admin.get("/nothing/")) == []


def test_administration_is_offered_to_administrators(world: World, agent: Reader, admin: Reader) -> None:
    assert 'href="/manage/"' in body(admin.get("/"))
    assert 'href="/manage/"' not in body(agent.get("/"))
    assert "site-nav" not in body(Client().get("/sign-in/"))


def test_every_entry_has_a_key_of_its_own(agent: Reader) -> None:
    assert len({entry.key for entry in ENTRIES}) == len(ENTRIES)
    assert 'data-key="g d"' in body(agent.get("/"))
    assert "<kbd>g</kbd> <kbd>d</kbd>" in body(agent.get("/"))


@pytest.mark.parametrize("path", ["/", "/access/", "/help/", "/nothing/", "/sign-in/", "/manage/", "/manage/pools/"])
def test_help_is_the_last_link_of_the_header(admin: Reader, path: str) -> None:
    client = Client() if path == "/sign-in/" else admin.client
    header = body(client.get(path)).split("</header>")[0]
    assert re.findall(r'href="([^"]+)"', header.split("<header")[1])[-1] == "/help/"


def test_help_is_for_everybody(agent: Reader) -> None:
    for client in (Client(), agent.client):
        answer = client.get("/help/")
        assert answer.status_code == 200
        for words in ("Take a desktop", "Wait in line", "Keep it", "Connect", "Give it back", "brew install"):
            assert words in text(answer)


@pytest.mark.parametrize(("language", "words"), [("en", "Install Remote Viewer"), ("ko", "Remote Viewer 설치")])
def test_remote_viewer_is_explained_for_every_system(world: World, language: str, words: str) -> None:
    client = Client(headers={"accept-language": language})
    page = text(client.get("/help/viewer/"))
    assert words in page
    for part in ("Windows", "UsbDk", "macOS", "brew install virt-viewer", "Linux", "sudo apt install", "120"):
        assert part in page
    assert 'href="/help/viewer/"' in body(client.get("/help/"))


def test_help_tells_how_long_a_desktop_is_held(agent: Reader) -> None:
    config.put("HoldMinutes", "7")
    config.put("ConnectMinutes", "45")
    config.put("WarningMinutes", "9")
    page = text(agent.get("/help/"))
    for words in (
        "has 7 minutes to connect",
        "did not have to wait has 45 minutes",
        "You are warned 9 minutes before",
    ):
        assert words in page


# -- what the browser keeps ----------------------------------------------------------------------------


def test_the_service_worker_keeps_a_page_for_everybody_and_nothing_else(agent: Reader) -> None:
    answer = agent.get("/service-worker.js")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "no-cache" in answer.headers["Cache-Control"]
    assert "worker-src 'self'" in answer.headers["Content-Security-Policy"]
    kept = re.findall(r'"(/[^"]*)"', body(answer))
    assert kept[0] == "/offline/" and all(path.startswith("/static/") for path in kept[1:])
    assert body(answer) == body(Client().get("/service-worker.js"))
    offline = agent.get("/offline/")
    assert body(offline) == body(Client().get("/offline/"))
    assert "agent" not in body(offline) and not offline.cookies
    assert set(re.findall(r'(?:href|src)="(/static/[^"]*)"', body(offline))) == set(kept[1:])


def test_another_language_is_another_page_to_keep() -> None:
    pages = {
        code: body(Client().get("/service-worker.js", headers={"Accept-Language": code})) for code in ("en", "ko")
    }
    versions = {re.search(r"hotdesk (\w+)", page)[1] for page in pages.values()}  # type: ignore[index]
    assert len(versions) == 2
