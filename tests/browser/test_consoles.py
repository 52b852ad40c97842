"""A desktop in the browser: a real guest's picture in Chromium, keys that reach it, and who may look."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from broker.lab import guest
from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import LOOKS, check
from tests.running import Desktop, Hotdesk, kill, wait_until

CONNECTED = re.compile("Connected|연결됨")
WITHIN_MS = 30_000
# How many of every thousand points of the canvas have the colour of the guest's background.
COLOURED = """([red, green, blue]) => {
    const canvas = document.querySelector("#screen canvas");
    if (!canvas?.width) return 0;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        const near = (value, wanted) => Math.abs(value - wanted) < 12;
        found += near(data[at], red) && near(data[at + 1], green) && near(data[at + 2], blue);
    }
    return Math.round(4000 * found / data.length);
}"""


@pytest.fixture(scope="module")
def desktop(hotdesk: Hotdesk) -> Iterator[Desktop]:
    """One guest for all of these tests."""
    taken = hotdesk.person("agent05").take(hotdesk.pool_named("helpdesk")["id"])
    taken.wait_for("ready")
    yield taken
    taken.return_and_wait()


def background() -> list[int]:
    return list(bytes.fromhex(guest.BACKGROUND.lstrip("#")))


def show(page: Page, desktop: Desktop) -> None:
    """Open the desktop, with the picture of its guest."""
    page.goto(f"/desktops/{desktop.id}/console/")
    expect(page.locator("#status")).to_have_text(CONNECTED, timeout=WITHIN_MS)
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background(), timeout=WITHIN_MS)


@pytest.mark.req("R263", "R267")
def test_the_guests_picture_is_shown_and_what_is_typed_reaches_it(
    hotdesk: Hotdesk, desktop: Desktop, open_page: OpenPage, pictures: Path
) -> None:
    page = open_page("agent05")
    page.goto(f"/desktops/{desktop.id}/")
    page.locator("#open").click()
    expect(page.locator("#status")).to_have_text(CONNECTED, timeout=WITHIN_MS)
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background(), timeout=WITHIN_MS)
    page.screenshot(path=pictures / "console-screen.png")
    page.locator("#screen canvas").click()
    with hotdesk.serial(desktop.now()["vm"]["id"]) as shell:
        shell.run("(timeout 60 cat /dev/tty1 > /typed 2>/dev/null &) ; true", timeout_s=60)
        page.keyboard.type("Hello")
        page.keyboard.press("Enter")
        page.locator("#paste").click()
        page.locator("#paste-text").fill("a|B ~9\n")
        page.locator("#paste-yes").click()
        wait_until(
            lambda: shell.run("cat /typed", timeout_s=30).split() == ["Hello", "a|B", "~9"], "the keys arrive", 30
        )
