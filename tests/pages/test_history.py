"""My history: what I had and waited for, and nobody else's."""

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.dateparse import parse_datetime

from broker.models import DesktopRequest, Pool
from broker.operations import desktops, pools
from broker.states import EndReason, RequestState
from tests.pages.conftest import Reader, error_of, text
from tests.world import World

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def pool(world: World) -> Pool:
    return world.pool(2)


@pytest.fixture
def agent(world: World, pool: Pool) -> Reader:
    return Reader(world.person("agent", pool))


def ended(person: Any, pool: Pool | None, at: datetime = NOON, **values: Any) -> DesktopRequest:
    """A desktop that was waited for a minute and used for an hour and a half."""
    values = {
        "pool_name": pool.name if pool else "gone",
        "vm_name": "helpdesk-1",
        "ticket": DesktopRequest.objects.count() + 1000,
        "slot": 1,
        "state": RequestState.ENDED,
        "end_reason": EndReason.RETURNED,
        "requested_at": at,
        "ready_at": at + timedelta(minutes=1),
        "returned_at": at + timedelta(minutes=91),
        "ended_at": at + timedelta(minutes=92),
        **values,
    }
    return DesktopRequest.objects.create(user=person, pool=pool, **values)


def shown(answer: Any) -> list[str]:
    return re.findall(r'href="/desktops/([0-9a-f-]+)/"', answer.content.decode())


async def _whole(answer: Any) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def table(answer: Any) -> list[list[str]]:
    return list(csv.reader(async_to_sync(_whole)(answer).decode("utf-8-sig").splitlines()))


def test_without_a_past_there_is_nothing_yet(agent: Reader) -> None:
    answer = agent.get("/history/")
    assert "Nothing yet." in text(answer)
    assert "Export as CSV" not in text(answer)


def test_what_i_had_is_told_newest_first(world: World, pool: Pool, agent: Reader) -> None:
    first, second = ended(agent.person, pool), ended(agent.person, pool, NOON + timedelta(days=1))
    left = ended(
        agent.person, pool, NOON + timedelta(days=2), ready_at=None, vm_name="", end_reason=EndReason.CANCELLED
    )
    answer = agent.get("/history/")
    assert shown(answer) == [str(one.pk) for one in (left, second, first)]
    read = text(answer)
    for words in (
        "3 desktops",
        "helpdesk-1",
        "2026-03-10 12:01 UTC – 2026-03-10 13:31 UTC",
        "1 h 30 min",
        "1 min 0 s",
        "The desktop was returned.",
        "You left the line.",
    ):
        assert words in read


def test_what_is_not_over_tells_its_state(world: World, pool: Pool, agent: Reader) -> None:
    wish = world.take(agent.person, pool)
    world.settle()
    assert "Since " in text(agent.get("/history/"))
    assert shown(agent.get("/history/", state="ready")) == [str(wish.pk)]
    desktops.give_back(request=DesktopRequest.objects.get())
    assert "Being returned" in text(agent.get("/history/", state="returning"))
    assert shown(agent.get("/history/", state="returned")) == []
    world.settle()
    assert shown(agent.get("/history/", state="returned")) == [str(wish.pk)]


def test_nobody_sees_what_others_had(world: World, pool: Pool, agent: Reader, admin: Reader) -> None:
    theirs = ended(world.person("other", pool), pool, vm_name="secret-vm")
    for reader in (agent, admin):
        for path in ("/history/", f"/history/?pool={pool.name}"):
            answer = reader.get(path)
            assert str(theirs.pk) not in answer.content.decode() and "secret-vm" not in text(answer)
        assert len(table(reader.get("/history.csv"))) == 1
    assert f'value="{pool.name}"' not in agent.get("/history/").content.decode()
    assert Reader().get("/history/").status_code == Reader().get("/history.csv").status_code == 302


def test_filters_narrow_it_down(world: World, pool: Pool, agent: Reader) -> None:
    mine = ended(agent.person, pool)
    gone = ended(agent.person, None, NOON + timedelta(days=1), end_reason=EndReason.FAILED)

    def found(**query: str) -> set[str]:
        return set(shown(agent.get("/history/", **query)))

    assert found(pool="gone") == found(state="failed") == found(since="2026-03-11") == {str(gone.pk)}
    assert found(pool=pool.name) == found(until="2026-03-10") == {str(mine.pk)}
    assert found(since="2026-03-10", until="2026-03-11", pool="", state="") == {str(mine.pk), str(gone.pk)}
    assert found(since="2026-03-12") == set()
    assert "Nothing is found." in text(agent.get("/history/", since="2026-03-12"))


def test_a_pool_that_was_removed_stays_in_the_history(world: World, agent: Reader) -> None:
    empty = world.pool(1, name="short-lived")
    ended(agent.person, empty, vm_name="short-lived-1")
    pools.remove_with_vms(pool=empty, by=None)
    world.settle()
    assert not Pool.objects.filter(name="short-lived").exists()
    assert "short-lived-1" in text(agent.get("/history/", pool="short-lived"))


def test_days_are_those_of_the_clock_on_the_wall(agent: Reader, pool: Pool, settings: Any) -> None:
    """In Seoul the day begins nine hours earlier."""
    settings.TIME_ZONE = "Asia/Seoul"
    late = ended(agent.person, pool, datetime(2026, 3, 10, 14, 59, tzinfo=UTC))
    early = ended(agent.person, pool, datetime(2026, 3, 10, 15, tzinfo=UTC))
    assert shown(agent.get("/history/", until="2026-03-10")) == [str(late.pk)]
    assert shown(agent.get("/history/", since="2026-03-11")) == [str(early.pk)]
    assert "Asia/Seoul" in text(agent.get("/history/"))


@pytest.mark.parametrize("day", ["2026-13-45", "yesterday", "1999-12-31", "9999-12-31", "0001-01-01", "<b>"])
def test_what_is_no_day_is_kept_and_told(agent: Reader, pool: Pool, day: str) -> None:
    mine = ended(agent.person, pool)
    answer = agent.get("/history/", since=day, until="2026-03-10")
    assert "2026-01-31" in error_of(answer, "since")
    assert error_of(answer, "until") == ""
    kept = re.search(r'<input type="text" name="since" value="([^"]*)"', answer.content.decode())
    assert kept and kept[1] == day.replace("<", "&lt;").replace(">", "&gt;")
    assert shown(answer) == [str(mine.pk)]
    refused = agent.get("/history.csv", since=day)
    assert (refused.status_code, "2026-01-31" in refused.content.decode()) == (400, True)


def test_an_end_before_the_start_is_told(agent: Reader, pool: Pool) -> None:
    ended(agent.person, pool)
    answer = agent.get("/history/", since="2026-03-11", until="2026-03-10", pool="nowhere", state="odd")
    assert "comes before" in error_of(answer, "until")
    assert "nowhere" in error_of(answer, "pool") and "odd" in error_of(answer, "state")
    body = answer.content.decode()
    assert 'value="2026-03-11"' in body and 'value="2026-03-10"' in body


def test_pages_meet_every_row_once(agent: Reader, pool: Pool) -> None:
    wishes = [ended(agent.person, pool, NOON - timedelta(minutes=number)) for number in range(120)]
    seen: list[str] = []
    query = ""
    while True:
        answer = agent.get(f"/history/{query}")
        seen += shown(answer)
        older = re.search(r'rel="next" href="([^"]+)"', answer.content.decode())
        if older is None:
            break
        query = older[1].replace("&amp;", "&")
    assert seen == [str(one.pk) for one in wishes]
    assert "Page 3 of 3" in text(answer)
    assert shown(agent.get("/history/", page="nonsense")) == seen[:50]
    assert "pool=helpdesk&amp;page=2" in agent.get("/history/", pool="helpdesk").content.decode()


def test_the_file_holds_what_the_page_shows(agent: Reader, pool: Pool) -> None:
    ended(agent.person, pool)
    ended(agent.person, None, NOON + timedelta(days=1), pool_name="=SUM(1)", ready_at=None)
    page = agent.get("/history/", since="2026-03-10")
    link = re.search(r'id="export" href="([^"]+)"', page.content.decode())
    assert link is not None
    answer = agent.get(link[1])
    assert 'filename="history.csv"' in answer.headers["Content-Disposition"]
    head, newest, oldest = table(answer)
    assert head[:3] == ["Pool", "Desktop", "Asked"]
    assert newest[0] == "'=SUM(1)" and newest[3:6] == ["", "", ""]
    assert oldest[:2] == ["helpdesk", "helpdesk-1"]
    assert [parse_datetime(one) for one in oldest[2:5]] == [NOON + timedelta(minutes=n) for n in (0, 1, 91)]
    assert oldest[5:] == ["5400", "60", "The desktop was returned."]
    assert len(table(agent.get("/history.csv", pool="helpdesk"))) == 2


def test_many_rows_cost_as_many_queries_as_few(agent: Reader, pool: Pool) -> None:
    def queries() -> int:
        agent.get("/history/")
        with CaptureQueriesContext(connection) as captured:
            assert agent.get("/history/").status_code == 200
        return len(captured)

    for number in range(3):
        ended(agent.person, pool, NOON - timedelta(minutes=number))
    few = queries()
    for number in range(57):
        ended(agent.person, pool, NOON - timedelta(hours=number + 1))
    assert queries() == few <= 10
