"""Six agents at six browsers: take, wait, see the place move, connect, return (R005, R017)."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import spice
from tests.browser.conftest import SOON_MS, OpenPage, only_told
from tests.running import Hotdesk, connection

BOOT_MS = 120_000


def take(page: Page, pool: str) -> None:
    """From my desktops to the page of the new wish."""
    page.goto("/")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=pool, exact=True))
    card.get_by_role("button").click()
    page.wait_for_url("**/desktops/**")


def give_back(page: Page) -> None:
    page.get_by_role("button", name="Return", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Everything on this desktop will be deleted")
    dialog.get_by_role("button", name="Return and delete").click()
    expect(page.locator("#panel")).to_contain_text("The desktop was returned.", timeout=BOOT_MS)


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text)).to_be_visible(timeout=BOOT_MS)


@pytest.mark.req("R003", "R004", "R005", "R016", "R017", "R018")
def test_six_agents_share_five_desktops(hotdesk: Hotdesk, open_page: OpenPage, pictures: Path) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    hotdesk.wait_until_clean(pool)
    pages = [open_page(f"agent{number:02}") for number in range(1, 8)]
    for page in pages[:5]:
        take(page, "helpdesk")
    for page in pages[:5]:
        heading(page, "Your desktop is ready")
    for page in pages[5:]:
        take(page, "helpdesk")
    sixth, seventh = pages[5], pages[6]
    expect(sixth.locator(".place")).to_contain_text("1")
    expect(seventh.locator(".place")).to_contain_text("2")
    expect(sixth.locator("#panel")).to_contain_text("All 5 desktops are in use.")
    sixth.screenshot(path=pictures / "line.png", full_page=True)
    pages[0].screenshot(path=pictures / "ready.png", full_page=True)
    # Nobody reloads: what follows is told by the live connection.
    give_back(pages[0])
    heading(sixth, "Your desktop is ready")
    expect(seventh.locator(".place")).to_contain_text("1")
    with sixth.expect_download() as download:
        sixth.get_by_role("button", name="Connect (.vv)").click()
    assert download.value.suggested_filename.endswith(".vv")
    file = connection(Path(download.value.path()).read_text())
    assert spice.link(file["host"], int(file["port"]), file["password"]) == "OK"
    seventh.get_by_role("button", name="Leave the line").click()
    seventh.get_by_role("dialog").get_by_role("button", name="Leave the line").click()
    expect(seventh.locator("#panel")).to_contain_text("You left the line.")
    for page in pages[1:6]:
        give_back(page)
    hotdesk.wait_until_clean(pool)


def test_a_place_moves_by_itself(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    """The change is made over the API; the page hears of it without asking."""
    pool = hotdesk.create_pool("brief", 1)
    holder = hotdesk.person("agent08").take(pool)
    between = hotdesk.person("agent09").take(pool)
    holder.wait_for("ready")
    page = open_page("agent10")
    take(page, "brief")
    expect(page.locator(".place")).to_contain_text("2")
    expect(page.locator("#link-word")).to_have_text("Live")
    only_told(page)
    between.give_back()
    expect(page.locator(".place")).to_contain_text("1", timeout=SOON_MS)
    holder.give_back()
    heading(page, "Your desktop is ready")
    give_back(page)


def test_without_live_updates_the_page_asks(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    hotdesk.wait_until_clean(pool)
    page = open_page("agent06")
    page.route_web_socket("**/live/**", lambda socket: socket.close())
    take(page, "helpdesk")
    heading(page, "Your desktop is ready")
    give_back(page)


def test_without_scripts_everything_works_by_reloading(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page("agent06")
    context = page.context.browser.new_context(  # type: ignore[union-attr]
        base_url=hotdesk.url, java_script_enabled=False, storage_state=page.context.storage_state()
    )
    try:
        plain = context.new_page()
        take(plain, "helpdesk")
        for _look in range(120):
            if "Your desktop is ready" in plain.content():
                break
            plain.wait_for_timeout(1000)
            plain.reload()
        plain.get_by_role("button", name="Return", exact=True).click()
        for _look in range(120):
            if "The desktop was returned." in plain.content():
                return
            plain.wait_for_timeout(500)
            plain.reload()
        raise AssertionError("the desktop was never returned")
    finally:
        context.close()


@pytest.mark.req("R002")
def test_who_was_granted_nothing_sees_nothing(open_page: OpenPage) -> None:
    page = open_page("visitor")
    expect(page.get_by_text("You have no pools yet.")).to_be_visible()
    answer = page.goto("/manage/")
    assert answer is not None and answer.status == 404


def test_a_wrong_password_says_so_and_keeps_the_name(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/sign-in/")
    page.locator("input[name=username]").fill("agent01")
    page.locator("input[name=password]").fill("wrong")
    page.locator("main form button").first.click()
    expect(page.get_by_role("alert").first).to_be_visible()
    assert page.locator("input[name=username]").input_value() == "agent01"


def test_the_api_documents_itself_under_the_same_policy(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/api/v1/docs")
    expect(page.get_by_text("Take a desktop").first).to_be_visible()
