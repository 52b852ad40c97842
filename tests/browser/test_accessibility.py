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


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_permissions_are_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    """The tab, every dialog above it, and the same dialog as a page of its own."""
    page = open_page("admin", width=width, scheme=scheme, locale=locale)

    def look(name: str) -> None:
        check(page, width, pictures / f"permissions-{name}-{width}-{scheme}-{locale}.png")

    pool = hotdesk.pool_named("helpdesk")["id"]
    page.goto("/manage/pools/" + (f"{pool}/?tab=permissions" if width < 760 else f"?sel={pool}&tab=permissions"))
    look("tab")
    page.locator("#give-role").click()
    expect(page.locator("#find")).to_be_focused()
    look("give")
    page.locator("#preview").click()
    expect(page.locator("#dialog [role=alert]")).to_be_visible()
    look("give-nothing")
    page.locator("#find").fill("visitor")
    page.locator("#search-people").click()
    expect(page.locator("[name=principal]")).to_have_count(1)
    page.locator("label").filter(has_text="ClusterAdmin").click()
    page.locator("#preview").click()
    expect(page.locator("#confirm-yes")).to_be_focused()
    look("preview")
    page.keyboard.press("Escape")
    page.locator("[id^=take-]").first.click()
    expect(page.locator("#confirm-yes")).to_be_visible()
    look("take")
    page.keyboard.press("Escape")
    page.locator("#why").click()
    page.locator("#user").fill("nobody")
    page.locator("#explain").click()
    expect(page.locator("#user_error")).to_be_visible()
    look("why-nobody")
    page.locator("#user").fill("agent01")
    page.locator("#explain").click()
    expect(page.locator("#why-title")).to_be_focused()
    look("why")
    page.goto(f"/manage/pools/{pool}/permissions/give/")
    look("give-page")
    page.goto(f"/manage/pools/{pool}/permissions/why/?user=admin")
    look("why-page")


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_roles_and_the_record_are_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    page = open_page("admin", width=width, scheme=scheme, locale=locale)

    def look(name: str) -> None:
        check(page, width, pictures / f"{name}-{width}-{scheme}-{locale}.png")

    pool = hotdesk.pool_named("helpdesk")
    hotdesk.admin.http.patch(f"/manage/pools/{pool['id']}", json={"comment": f"{width} {scheme}"})
    event = hotdesk.admin.get("/events?kind=pool.changed")["items"][0]["id"]
    for name, path in (
        ("access", "/access/"),
        ("system", "/manage/system/system/"),
        ("role-form", "/manage/roles/new/"),
        ("event-changes", f"/manage/events/{event}/"),
    ):
        page.goto(path)
        look(name)
    expect(page.locator("#changes")).to_be_visible()
    page.goto("/manage/roles/")
    page.locator("#do-new").click()
    expect(page.locator("#dialog")).to_be_visible()
    look("role-dialog")


def test_the_page_for_too_many_requests_is_accessible(open_page: OpenPage, pictures: Path) -> None:
    page = open_page("visitor", width=320)
    # Asked for faster than anybody reads, by pages that cost nothing.
    body = page.evaluate(
        """async () => {
            const asked = [...Array(400)].map(() => fetch("/language/setlang/", { redirect: "manual" }));
            const refused = (await Promise.all(asked)).find((answer) => answer.status === 429);
            return refused?.text();
        }"""
    )
    page.set_content(body)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    check(page, 320, pictures / "too-many.png")


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
