"""Shifts in real browsers: by keys, by ear, on a wall, on a phone, without scripts, and in every look."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SOON_MS, OpenPage, only_told
from tests.browser.test_accessibility import look_every_way
from tests.browser.test_journey import BOOT_MS
from tests.browser.test_line import LISTEN, said
from tests.browser.test_shell import HIDE
from tests.running import Hotdesk

ZONE = "Asia/Seoul"


def halves() -> tuple[tuple[str, str, str], ...]:
    """Two shifts of every day; what runs began some six hours ago, and reminds nobody yet of its end."""
    hour = datetime.now(ZoneInfo(ZONE)).hour
    starts, ends = f"{(hour - 6) % 24:02}:00", f"{(hour + 6) % 24:02}:00"
    return (("First", starts, ends), ("Second", ends, starts))


@pytest.fixture(autouse=True)
def nobody_stays(hotdesk: Hotdesk) -> Iterator[None]:
    yield
    hotdesk.everybody_leaves()


def make_plan(admin: Page, pool: str, name: str, people: str) -> str:
    """By hand, as a lead does; the address of its board."""
    admin.goto("/shifts/")
    admin.get_by_role("link", name="New shift plan").click()
    admin.get_by_label("Pool").select_option(pool)
    admin.get_by_label("Name").fill(name)
    admin.get_by_label("Time zone").fill(ZONE)
    admin.get_by_role("button", name="Create").click()
    expect(admin.get_by_text("It has no shifts yet.")).to_be_visible()
    for shift, starts, ends in halves():
        admin.locator("#add-shift").click()
        admin.get_by_label("Name").fill(shift)
        for day in ("Saturday", "Sunday"):
            admin.get_by_label(day).check()
        admin.get_by_label("Starts").fill(starts)
        admin.get_by_label("Ends").fill(ends)
        admin.get_by_label("Users on the roster").fill(people)
        admin.locator("#save").click()
        expect(admin.get_by_role("link", name=shift, exact=True)).to_be_visible()
    return admin.url.removesuffix("plan/")


def open_board(page: Page, board: str) -> None:
    """Once live updates get through; they alone change it, and what is announced is kept from then on."""
    only_told(page)
    page.goto(board)
    expect(page.locator("#link")).to_have_class(re.compile("up"))
    page.evaluate(LISTEN)


def check_out(page: Page) -> None:
    """Once it is ready: a question is withdrawn when what it asks about changes."""
    expect(page.locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
    page.locator("#check-out").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#check-in")).to_be_visible()


@pytest.mark.req("R017", "R018")
def test_two_people_change_places_by_one_key_each(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    hotdesk.create_pool("shift-keys", 1)
    board = make_plan(open_page("admin"), "shift-keys", "Keys", "agent01, agent02")
    leaving, coming = open_page("agent01"), open_page("agent02")
    open_board(coming, board)
    open_board(leaving, board)
    leaving.keyboard.press("?")
    expect(leaving.locator("#shortcuts")).to_contain_text("Check in")
    leaving.get_by_label("Use these single keys").uncheck()
    leaving.keyboard.press("Escape")
    leaving.keyboard.press("i")
    expect(leaving.locator("#check-in")).to_be_visible()  # switched off (SC 2.1.4)
    leaving.locator("#account summary").click()
    leaving.locator("#show-shortcuts").click()
    leaving.get_by_label("Use these single keys").check()
    leaving.keyboard.press("Escape")
    leaving.keyboard.press("i")
    expect(leaving.locator("#check-out")).to_be_visible()
    expect(coming.locator(".seat")).to_contain_text("agent01", timeout=SOON_MS)
    coming.keyboard.press("i")
    expect(coming.locator("#mine-text")).to_contain_text("You are in line at place 1.")
    expect(coming).to_have_title(re.compile(r"^\(1\) Keys – in line"))
    expect(leaving.locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
    leaving.keyboard.press("o")
    expect(leaving.locator("#confirm")).to_contain_text("everything on it is deleted")
    leaving.keyboard.press("Escape")
    expect(leaving.locator("#confirm")).to_be_hidden()
    expect(leaving.locator("#check-out")).to_be_focused()
    coming.evaluate(LISTEN)
    leaving.keyboard.press("o")
    leaving.locator("#confirm-yes").click()
    expect(leaving.locator("#check-in")).to_be_visible()
    # Nobody touched anything: the desktop was cleaned and went to who was next.
    expect(coming.locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
    assert said(coming)[-1] == "Your desktop is ready."
    assert not any("agent01" in words for words in said(coming))
    check_out(coming)


def test_a_lead_asks_and_the_user_is_called(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    hotdesk.create_pool("shift-asked", 1)
    lead = open_page("admin")
    board = make_plan(lead, "shift-asked", "Asked", "agent03")
    page = open_page("agent03")
    open_board(page, board)
    page.locator("#check-in").click()
    expect(page.locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
    open_board(lead, board)
    menu = lead.locator(".seat details")
    menu.locator("summary").click()
    open_board(page, board)
    page.evaluate(HIDE)
    # What was opened, and the focus, survive what changes meanwhile.
    lead.locator(".seat details a").first.focus()
    hotdesk.person("agent04").take(hotdesk.pool_named("shift-asked")["id"])
    expect(lead.locator(".line")).to_contain_text("agent04", timeout=SOON_MS)
    expect(menu).to_have_attribute("open", "")
    expect(lead.locator(".seat details a").first).to_be_focused()
    assert said(page) == []  # what others do is not read out
    lead.keyboard.press("Escape")
    lead.locator("[id^=ask-]").click()
    expect(lead.locator(".seat")).to_contain_text("Asked to return it at")
    expect(page.locator("#mine-text")).to_contain_text("asks you to return this desktop.", timeout=SOON_MS)
    assert "asks you to return this desktop." in said(page)[-1]
    lead.locator(".seat summary").click()
    lead.get_by_role("link", name="Check out with a reason").click()
    lead.locator("#save").click()
    expect(lead.locator("#id_reason_error")).to_be_visible()
    lead.get_by_label("Reason").fill("Gone home")
    lead.locator("#save").click()
    expect(page.locator("#check-in")).to_be_visible(timeout=SOON_MS)
    page.goto("/history/")
    page.locator(".history tbody a").first.click()
    expect(page.locator("#panel")).to_contain_text("Gone home", timeout=BOOT_MS)


def test_without_scripts_everything_works(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    hotdesk.create_pool("shift-plain", 1)
    board = make_plan(open_page("admin", scripts=False), "shift-plain", "Plain", "agent05, agent06")
    page = open_page("agent05", scripts=False, width=390)
    page.locator(".shift-banner").filter(has_text="Plain").get_by_role("button").click()  # on my desktops
    expect(page.locator("#check-out")).to_be_visible()
    page.locator("#hand-over").click()
    page.locator("#save").click()
    expect(page.locator("#id_note_error")).to_be_visible()
    page.get_by_label("Note for the next shift").fill("The VPN is slow.")
    page.get_by_label("Open points").fill("Call Mr. Bae")
    page.locator("#save").click()
    expect(page.locator("#check-in")).to_be_visible()
    expect(page.locator(".handover")).to_contain_text("Not confirmed yet")
    other = open_page("agent06", scripts=False)
    other.goto(board)
    other.get_by_role("button", name="Confirm").click()
    other.get_by_role("button", name="Settle").click()
    expect(other.locator(".handover")).to_contain_text("Confirmed by agent06")
    expect(other.locator(".handover")).to_contain_text("settled by agent06")


@pytest.mark.req("R005")
def test_boards_walls_and_plans_are_accessible(hotdesk: Hotdesk, open_page: OpenPage, pictures: Path) -> None:
    pool = hotdesk.create_pool("shift-looks", 2)
    lead = open_page("admin")
    board = make_plan(lead, "shift-looks", "Looks", "agent07, agent08, agent09, admin")
    member = open_page("agent07")
    member.goto(board)
    member.locator("#check-in").click()
    for name in ("agent08", "agent09"):
        page = open_page(name)
        page.goto("/shifts/")
        page.locator(".plan-row").filter(has_text="Looks").get_by_role("button", name="Check in").click()
    page.locator("#stay").click()
    page.get_by_label("Reason").fill("A caller is still on the phone.")
    page.locator("#save").click()
    expect(member.locator("#mine-text")).to_contain_text("is ready", timeout=BOOT_MS)
    look_every_way(member, "shift-member", pictures)
    member.goto(board + "handover/")
    look_every_way(member, "shift-handover", pictures, opened="#save", shows="#id_note_error")
    member.get_by_label("Note for the next shift").fill("The VPN is slow.")
    member.get_by_label("Open points").fill("Call Mr. Bae\nPrinter on floor 3")
    member.locator("#save").click()
    lead.goto(board)
    lead.locator("[id^=more-] summary").first.click()
    lead.locator("[id^=fault-]:visible").click()
    lead.get_by_label("What is wrong with it?").fill("No sound since this morning")
    lead.locator("#save").click()
    for name, path, opened, shows in (
        ("board", "", "", ""),
        ("menu", "", ".seats li:last-child summary", ""),
        ("wall", "?wall=1", "", ""),
        ("plan", "plan/", "", ""),
        ("shift", "shifts/new/", "#save", "#id_starts_error"),
    ):
        lead.goto(board + path)
        look_every_way(lead, f"shift-{name}", pictures, opened, shows)
    asked = open_page("admin")
    asked.goto(board + "remove/")
    look_every_way(asked, "shift-remove", pictures)
    asked.goto("/shifts/")
    look_every_way(asked, "shifts", pictures)
    member.goto("/")
    look_every_way(member, "shift-home", pictures)
    assert hotdesk.vms(pool)


@pytest.mark.req("R005")
def test_a_wall_stays_live_and_is_left_by_keyboard(hotdesk: Hotdesk, open_page: OpenPage, pictures: Path) -> None:
    hotdesk.create_pool("shift-wall", 1)
    board = make_plan(open_page("admin"), "shift-wall", "Wall", "agent10")
    wall = open_page("agent10", width=1920)
    open_board(wall, board + "?wall=1")
    expect(wall.locator(".clock")).not_to_be_empty()
    assert wall.locator("form, button, input, nav").count() == 0
    large = wall.locator("h1").evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
    page = open_page("agent10")
    page.goto(board)
    assert large > 1.3 * page.locator("h1").evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
    page.locator("#check-in").click()
    expect(wall.locator(".seat")).to_contain_text("agent10", timeout=SOON_MS)
    wall.keyboard.press("i")
    wall.keyboard.press("o")
    wall.screenshot(path=pictures / "shift-wall.png")
    assert said(wall) == []
    wall.keyboard.press("Tab")
    wall.keyboard.press("Tab")
    expect(wall.get_by_role("link", name="Leave the wall screen")).to_be_focused()
    wall.keyboard.press("Enter")
    expect(wall.locator("#check-out")).to_be_visible()
    check_out(wall)
