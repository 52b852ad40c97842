"""When something does not work a page says what happened, what it means, and what to do."""

import logging
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from broker import access, grants
from broker.errors import Conflict, TooMany
from broker.models import Event
from portal.pages import desktops as desktop_pages
from portal.pages.errors import refused_page
from tests.api.conftest import is_envelope, sign_in
from tests.pages.conftest import Reader, text
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = "Desktops that run keep running, and places in line are kept."
AS_BEFORE = "Nothing was changed. Your desktops and your places in line are as they were."
ALONE = 'class="narrow alone"'


@pytest.fixture
def auditor(world: World) -> Reader:
    """Sees a pool and changes nothing."""
    person = world.person("auditor")
    grants.grant(role="ReadOnlyAdmin", to=person, on=world.pool(1, name="helpdesk"))
    return Reader(person)


def body(answer: Any) -> str:
    return answer.content.decode()


def pool_of(world: World) -> Any:
    from broker.models import Pool

    return Pool.objects.get(name="helpdesk")


# -- 403 -----------------------------------------------------------------------------------------------


def test_who_is_refused_reads_which_right_is_missing_and_who_gives_it(world: World, auditor: Reader) -> None:
    pool = pool_of(world)
    boss = world.person("boss", pool, role="ClusterAdmin")
    boss.first_name, boss.last_name = "Minji", "Kim"
    boss.save()
    # Neither of them could give it: one has no say in roles, the other lacks the right.
    world.person("pooladmin", pool, role="VmPoolAdmin")
    world.person("elsewhere", world.pool(1, name="other"), role="ClusterAdmin")
    answer = auditor.get(f"/manage/pools/{pool.pk}/edit/")
    assert answer.status_code == 403
    assert "the right “Edit pools, add VMs to them and detach VMs from them” on helpdesk." in text(answer)
    assert "It can be given by: Minji Kim." in text(answer)
    assert AS_BEFORE in text(answer)
    assert 'href="/access/"' in body(answer) and "Back to my desktops" in text(answer)


def test_at_most_three_are_named(world: World, auditor: Reader) -> None:
    pool = pool_of(world)
    for number in range(5):
        world.person(f"boss{number}", pool, role="ClusterAdmin")
    assert "It can be given by: boss0, boss1, boss2." in text(auditor.get(f"/manage/pools/{pool.pk}/edit/"))


def test_where_nobody_can_give_it_nobody_is_named(world: World, auditor: Reader) -> None:
    answer = auditor.get(f"/manage/pools/{pool_of(world).pk}/edit/")
    assert "Nobody but the person who installed Hotdesk can give it." in text(answer)


def test_programs_read_the_same(world: World, auditor: Reader) -> None:
    pool = pool_of(world)
    world.person("boss", pool, role="ClusterAdmin")
    answer = sign_in(auditor.person).call("patch", f"/manage/pools/{pool.pk}", {"comment": "x"})
    assert answer.status_code == 403
    assert [one["message"] for one in answer.json()["details"]] == [
        "You see helpdesk but your roles do not allow this.",
        "What is missing is the right “Edit pools, add VMs to them and detach VMs from them” on helpdesk.",
        "It can be given by: boss.",
    ]


def test_who_may_only_use_pools_is_given_that_by_who_assigns_users(world: World) -> None:
    pool = world.pool(1, name="helpdesk")
    world.person("pooladmin", pool, role="VmPoolAdmin")
    world.person("lead", pool, role="HelpDeskLead")
    names = [person.username for person in access.who_can_give("use_pool", pool)]
    assert names == ["pooladmin"]
    assert not access.who_can_give("edit_pool", pool).exists()


def test_of_what_one_does_not_see_nothing_is_said(world: World) -> None:
    pool = world.pool(1, name="secret")
    world.person("boss", pool, role="ClusterAdmin")
    refusal = access.denied(world.person("nobody"), "edit_pool", pool, "No.")
    assert (refusal.message, refusal.advice) == ("No.", ())


# -- 404, 409, 429 -------------------------------------------------------------------------------------


def test_hidden_and_absent_are_the_same_page(world: World) -> None:
    world.pool(1, name="helpdesk")
    reader = Reader(world.person("nobody"))
    hidden = reader.get(f"/manage/pools/{pool_of(world).pk}/")
    absent = reader.get("/manage/pools/00000000-0000-0000-0000-000000000000/")
    nowhere = reader.get("/nowhere/")

    def main(answer: Any) -> str:
        return body(answer).split('<section class="card empty">')[1]

    assert {hidden.status_code, absent.status_code, nowhere.status_code} == {404}
    assert main(hidden) == main(absent) == main(nowhere)
    assert AS_BEFORE in text(hidden)


def test_what_stands_against_it_is_a_page_of_its_own(world: World, rf: Any) -> None:
    request = rf.get("/")
    request.user = world.person("agent")
    answer = refused_page(request, Conflict("It is being removed."))
    assert answer.status_code == 409
    assert "It is being removed." in text(answer) and AS_BEFORE in text(answer)


@pytest.mark.parametrize(("seconds", "words"), [(1, "Wait 1 second, then"), (240, "Wait 240 seconds, then")])
def test_too_many_are_told_how_long_to_wait(rf: Any, seconds: int, words: str) -> None:
    answer = refused_page(rf.get("/"), TooMany("Too many requests at once.", retry_after=seconds))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, str(seconds))
    assert words in text(answer) and KEPT in text(answer)


def test_what_makes_no_sense_is_answered_by_a_page() -> None:
    answer = Client().get("/?q=%00")
    assert answer.status_code == 400
    assert AS_BEFORE in text(answer) and "Back to my desktops" in text(answer)


# -- 500 and 503 ---------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **_more: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(desktop_pages, "_home_context", fail)
    monkeypatch.setattr("portal.api.desktops.page", fail)


def test_a_fault_has_a_reference_that_is_in_the_log(
    broken: None, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(world.person("agent"))
    reader.client.raise_request_exception = False
    with caplog.at_level(logging.ERROR):
        answer = reader.get("/")
    assert answer.status_code == 500
    reference = re.search(r"<code>([0-9a-f-]{36})</code>", body(answer))
    assert reference is not None
    assert f"GET '/' broke; its reference is {reference[1]}" in caplog.text
    assert ALONE in body(answer) and KEPT in text(answer)


def test_programs_get_the_reference_too(broken: None, world: World, caplog: pytest.LogCaptureFixture) -> None:
    api = sign_in(world.person("agent"))
    api.client.raise_request_exception = False
    answer = api.call("get", "/pools")
    assert (answer.status_code, answer.json()["error"]) == (500, "BROKEN")
    reference = re.search(r"reference: ([0-9a-f-]{36})", answer.json()["details"][1]["message"])
    assert reference is not None and reference[1] in caplog.text


def away(*_: Any) -> None:
    raise OperationalError("the database is away")


@pytest.mark.parametrize("path", ["/", "/manage/pools/", "/nowhere/", "/access/"])
def test_without_a_database_pages_stand_alone(world: World, path: str) -> None:
    reader = Reader(world.person("agent"))
    with connection.execute_wrapper(away):
        answer = reader.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert ALONE in body(answer) and KEPT in text(answer)
    assert f'href="{path}"' in body(answer)  # to try again


def test_a_form_that_was_sent_meanwhile_comes_back_with_the_reason(world: World) -> None:
    pool = world.pool(1, name="helpdesk")
    reader = Reader(world.person("agent", pool))
    with connection.execute_wrapper(away):
        answer = reader.client.post(f"/pools/{pool.pk}/take/", headers={"Referer": "http://testserver/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://testserver/")
    assert "Hotdesk cannot reach its database, so nothing was changed." in text(reader.get("/"))


def lost(cause: Exception | None) -> Callable[..., Any]:
    def away(*_: Any) -> None:
        raise OperationalError("the database said no") from cause

    return away


class Deadlock(Exception):
    sqlstate = "40P01"


class Ended(Exception):
    sqlstate = "57P01"


def locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
    return error


@pytest.mark.parametrize(
    ("cause", "is_busy"),
    [
        (locked(), True),
        (Deadlock(), True),
        (Ended(), False),
        (sqlite3.OperationalError("no file"), False),
        (None, False),
    ],
)
def test_busy_and_away_are_told_apart(world: World, cause: Exception | None, is_busy: bool) -> None:
    reader, program = Reader(world.person("agent")), sign_in(world.person("program"))
    with connection.execute_wrapper(lost(cause)):
        page = reader.client.get("/", headers={"Accept-Language": "en"})
        answer = program.get("/pools")
    assert page.status_code == answer.status_code == 503
    assert ("is busy this moment" in text(page)) is is_busy
    assert ("A viewer that is open stays connected" in text(page)) is not is_busy
    assert answer.json()["error"] == ("BUSY" if is_busy else "DATABASE_AWAY")
    assert answer.headers["Retry-After"] and is_envelope(answer)


def test_a_database_that_was_never_there_is_no_fault(tmp_path: Path) -> None:
    code = """
import django; django.setup()
from django.test import Client
client = Client(headers={"Host": "localhost"})
client.cookies["sessionid"] = "a" * 32
for path in ("/", "/nowhere/", "/help/", "/offline/", "/healthz"):
    answer = client.get(path)
    print(path, answer.status_code, "narrow alone" in answer.content.decode())
"""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "HOTDESK_STATE": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/nothing/at/all.sqlite3",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "/ 503 True",
        "/nowhere/ 503 True",
        "/help/ 503 True",
        "/offline/ 200 True",
        "/healthz 200 False",
    ], done.stderr


def test_refusals_are_still_written_down(world: World, auditor: Reader) -> None:
    auditor.get(f"/manage/pools/{pool_of(world).pk}/edit/")
    assert Event.objects.filter(kind="access.refused", actor=auditor.person).exists()
