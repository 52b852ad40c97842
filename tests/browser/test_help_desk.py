"""The seed's example: ten people, five real guests, two changes of shift, and no supervisor who touches anything."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import spice
from tests.browser.conftest import OpenPage
from tests.browser.test_journey import BOOT_MS
from tests.running import Desktop, Hotdesk, connection, wait_until

TEN = [f"agent{number:02}" for number in range(1, 11)]
FIRST, SECOND = TEN[:5], TEN[5:]
# The first shift ends at a full minute, once everybody is there and the next ones wait: so long that takes.
FIRST_SECONDS = 150
LONG_S = 240


def next_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def plan_of_three(hotdesk: Hotdesk, pool: str) -> tuple[str, datetime]:
    """Shifts around now: one that ends in minutes, the one that follows it, and the first five again."""
    now = datetime.now(UTC)
    end = next_minute(now + timedelta(seconds=FIRST_SECONDS))
    bounds = [
        clock(one) for one in (now - timedelta(hours=1), end, now + timedelta(hours=3), now + timedelta(hours=9))
    ]
    every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    rosters = (("Morning", FIRST), ("Afternoon", SECOND), ("Evening", FIRST))
    body = {
        "pool": pool,
        "name": "Crew",
        "time_zone": "UTC",
        "early_minutes": 240,
        "grace_minutes": 0,
        "at_end": "check_out",
        "shifts": [
            {"name": name, "weekdays": every_day, "starts": starts, "ends": ends, "users": users, "groups": []}
            for (name, users), starts, ends in zip(rosters, bounds, bounds[1:], strict=False)
        ],
    }
    answer = hotdesk.admin.http.post("/shifts", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], end


def served(hotdesk: Hotdesk, pool: str) -> list[tuple[Any, ...]]:
    """Who was given a desktop of the pool, in the order in which that happened."""
    query = (
        "SELECT ticket FROM broker_desktoprequest WHERE pool_id = ? AND assigned_at IS NOT NULL ORDER BY assigned_at"
    )
    return hotdesk.rows(query + ", ticket", pool.replace("-", ""))


def leave(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("everything on it is deleted")
    dialog.get_by_role("button", name="Check out").click()
    expect(page.locator("#check-out")).to_have_count(0, timeout=BOOT_MS)


@dataclass
class Crew:
    """Ten people, each at a browser and, once they have a desktop, at a viewer."""

    hotdesk: Hotdesk
    pages: dict[str, Page]
    viewers: ExitStack

    def work(self, *names: str) -> None:
        """Each has a desktop, and connects to it; nobody's is taken for one that is not used."""
        for name in names:
            expect(self.pages[name].locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
            person = self.hotdesk.person(name)
            wish = next(one for one in person.get("/requests")["items"] if one["state"] == "ready")
            file = connection(Desktop(person, wish["id"]).console().text)
            answer, viewer = spice.connect(file["host"], int(file["port"]), file["password"])
            assert answer == "OK" and viewer is not None
            self.viewers.callback(viewer.channel.close)


@pytest.fixture
def viewers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.req("R016", "R017", "R018", "R019")
def test_ten_people_share_five_desktops_over_two_changes_of_shift(
    hotdesk: Hotdesk, open_page: OpenPage, viewers: ExitStack, pictures: Path
) -> None:
    pool = hotdesk.create_pool("crew", 5, prestarted_vms=5)
    pages = {name: open_page(name) for name in TEN}
    crew = Crew(hotdesk, pages, viewers)
    plan, end = plan_of_three(hotdesk, pool)
    for page in pages.values():
        page.goto(f"/shifts/{plan}/")
    # -- the first five come: by key, by API, by click --
    pages["agent01"].keyboard.press("i")
    assert hotdesk.person("agent02").http.post(f"/shifts/{plan}/check-in").status_code == 201
    assert hotdesk.person("agent02").http.post(f"/shifts/{plan}/check-in").status_code == 200
    for name in FIRST[2:]:
        pages[name].locator("#check-in").click()
    crew.work(*FIRST)
    stays = pages["agent04"]
    vm = next(one for one in hotdesk.vms(pool) if one["user"] and "agent04" in str(one["user"]))
    with hotdesk.serial(vm["id"]) as console:
        # -- the next five come early, and stand in line as they came --
        for place, name in enumerate(SECOND, start=1):
            pages[name].locator("#check-in").click()
            expect(pages[name].locator("#mine-text")).to_contain_text(f"place {place}")
        pages["agent06"].screenshot(path=pictures / "shift_line.png", full_page=True)
        # -- three of the first hand over: in writing, by key, by click; each time the next in line has a desktop --
        pages["agent01"].locator("#hand-over").click()
        pages["agent01"].locator("[name=note]").fill("Printer 3 is down")
        pages["agent01"].locator("[name=points]").fill("Call back room 12")
        pages["agent01"].locator("main form button").last.click()
        crew.work("agent06")
        pages["agent02"].keyboard.press("o")
        leave(pages["agent02"])
        crew.work("agent07")
        pages["agent03"].locator("#check-out").click()
        leave(pages["agent03"])
        crew.work("agent08")
        # -- two stay; they are reminded on page and desktop, warned, and checked out by the plan alone --
        expect(stays.locator("#mine-text")).to_contain_text("Your shift ends in")
        console.wait_for("HOTDESK-MESSAGE Your desktop ends in 1 min with your shift", timeout_s=LONG_S)
    assert datetime.now(UTC) < end, "the first shift was too short for this machine"
    expect(stays.locator("#check-out")).to_have_count(0, timeout=LONG_S * 1000)
    assert datetime.now(UTC) >= end
    crew.work("agent09", "agent10")
    # -- what was handed over is read and confirmed --
    board = pages["agent06"]
    expect(board.locator(".handover")).to_contain_text("Printer 3 is down")
    board.get_by_role("button", name="Confirm").click()
    board.get_by_role("button", name="Settle").click()
    expect(board.locator(".handover")).to_contain_text("Confirmed by agent06")
    # -- the second change, over a worker that is killed --
    for name in FIRST:
        pages[name].goto(f"/shifts/{plan}/")
        pages[name].locator("#check-in").click()
        expect(pages[name].locator("#mine-text")).to_contain_text("place")
    os.kill(hotdesk.pid("allocate"), signal.SIGKILL)
    for name in SECOND:
        pages[name].goto(f"/shifts/{plan}/")
        pages[name].locator("#check-out").click()
        leave(pages[name])
    crew.work(*FIRST)
    pages["agent01"].screenshot(path=pictures / "shift_board.png", full_page=True)
    tickets = [ticket for (ticket,) in served(hotdesk, pool)]
    assert tickets == sorted(tickets) and len(tickets) == 15
    for name in FIRST:
        pages[name].locator("#check-out").click()
        leave(pages[name])
    query = "SELECT count(*), count(r.returned_at) FROM broker_shiftattendance a JOIN broker_desktoprequest r"
    assert hotdesk.rows(f"{query} ON r.id = a.request_id WHERE a.plan_id = ?", plan.replace("-", "")) == [(15, 15)]
    wait_until(lambda: not any(one["user"] for one in hotdesk.vms(pool)), "all desktops are free")
    # -- nobody had to touch anything --
    administered = "SELECT count(*) FROM broker_event WHERE kind IN ('desktop.returned_for', 'vm.released')"
    assert hotdesk.rows(f"{administered} AND pool_id = ?", pool.replace("-", "")) == [(0,)]
    # -- a faulty seat is switched off and offered to nobody, until it is cleared --
    seat = hotdesk.vms(pool)[0]["id"]
    fault = f"/shifts/{plan}/vms/{seat}/fault"
    assert hotdesk.admin.http.post(fault, json={"reason": "The screen flickers"}).is_success

    def hold() -> tuple[str | None, str]:
        vm = hotdesk.admin.get(f"/vms/{seat}")
        return vm["hold"], vm["status"]

    wait_until(lambda: hold() == ("faulty", "down"), "it is taken out")
    expect(pages["agent01"].locator(f"#seat-{seat}")).to_contain_text("The screen flickers")
    assert hotdesk.admin.http.delete(fault).is_success
    wait_until(lambda: hold()[0] is None, "it is offered again")
