"""Zero axe violations of WCAG 2.2 AA: every page, light and dark, wide and narrow, English and Korean."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.running import Hotdesk

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS = [
    pytest.param(1440, "light", "en", id="wide-light-english"),
    pytest.param(1440, "dark", "ko", id="wide-dark-korean"),
    pytest.param(320, "light", "ko", id="narrow-light-korean"),
    pytest.param(320, "dark", "en", id="narrow-dark-english"),
]


def check(page: Page, width: int, picture: Path) -> None:
    page.screenshot(path=picture, full_page=True)
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()
    # Reflow (SC 1.4.10): the page itself never scrolls sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_every_page_is_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    look = {"width": width, "scheme": scheme, "locale": locale}
    suffix = f"{width}-{scheme}-{locale}.png"
    stranger = open_page(**look)
    stranger.goto("/sign-in/")
    check(stranger, width, pictures / f"sign-in-{suffix}")
    admin = open_page("admin", **look)
    for name, path in (
        ("home", "/"),
        ("missing", "/nothing/here/"),
    ):
        admin.goto(path)
        check(admin, width, pictures / f"{name}-{suffix}")
    pool = hotdesk.pool_named("helpdesk")["id"]
    desktop = hotdesk.person("agent04").take(pool)
    page = open_page("agent04", **look)
    page.goto(f"/desktops/{desktop.id}/")
    desktop.wait_for("ready")
    page.reload()
    expect(page.locator("#connect")).to_be_visible()
    check(page, width, pictures / f"desktop-{suffix}")
    page.locator("#return").click()
    expect(page.locator("#confirm")).to_be_visible()
    check(page, width, pictures / f"confirm-{suffix}")
    desktop.return_and_wait()
    page.goto(f"/desktops/{desktop.id}/")
    check(page, width, pictures / f"ended-{suffix}")


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS[:2])
def test_the_line_is_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    names = [pool["name"] for pool in hotdesk.admin.get("/manage/pools")["items"]]
    pool = hotdesk.pool_named("queue")["id"] if "queue" in names else hotdesk.create_pool("queue", 1)
    holder, waiting = hotdesk.person("agent02").take(pool), hotdesk.person("agent03").take(pool)
    page = open_page("agent03", width=width, scheme=scheme, locale=locale)
    page.goto(f"/desktops/{waiting.id}/")
    expect(page.locator(".place")).to_be_visible()
    check(page, width, pictures / f"line-{width}-{scheme}-{locale}.png")
    waiting.give_back()
    holder.return_and_wait()


@pytest.mark.req("R005")
def test_the_korean_pages_speak_korean(open_page: OpenPage) -> None:
    page = open_page("agent01", locale="ko")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("h1")).to_contain_text("데스크톱")
