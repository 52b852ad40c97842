"""Zero axe violations of WCAG 2.2 AA: every page, light and dark, wide and narrow, English and Korean."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.running import Hotdesk

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# Each width, each scheme and each language is looked at once.
LOOKS = [
    pytest.param(1440, "light", "en", id="wide-light-english"),
    pytest.param(320, "dark", "ko", id="narrow-dark-korean"),
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
        ("account", "/account/"),
        ("sign-ins", f"/manage/users/{hotdesk.admin.get('/me')['id']}/?tab=sign-ins"),
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


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
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


# How one page is looked at in turn: width, size of text, language, and what the reader's system asks for. What does
# not hide the faults of another is asked at once, for each look is some seconds of a browser.
WAYS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark-korean-narrow-still": {"color_scheme": "dark", "width": 320, "language": "ko", "reduced_motion": "reduce"},
    "forced-colours-large-text": {"color_scheme": "dark", "forced_colors": "active", "width": 640, "text": "200%"},
}
# Words that a box hides, or that stand beside the page. What only screen readers are told is hidden on purpose.
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((one) => {
    const clipped = (part) => part && (getComputedStyle(part).clipPath !== "none" || clipped(part.parentElement));
    const box = one.getBoundingClientRect(), style = getComputedStyle(one);
    const seen = one.checkVisibility() && box.width > 1 && !clipped(one);
    if (!seen || one.closest(".unseen, dialog, svg")) return false;
    const hides = style.overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1;
    return hides || box.right > innerWidth + 1 || box.left < -1;
}).map((one) => one.outerHTML.slice(0, 200))"""
MOVING = "() => document.getAnimations().filter((one) => one.playState === 'running').length"


def look_every_way(page: Page, name: str, folder: Path, opened: str = "", shows: str = "") -> None:
    """`opened` is pressed each time, for what is seen only then; `shows` is there when it was answered."""
    address = page.url
    for way, asked in WAYS.items():
        media = {key: asked.get(key) for key in ("color_scheme", "forced_colors", "reduced_motion")}
        page.emulate_media(**{key: value or "null" for key, value in media.items()})
        width = asked.get("width", 1280)
        page.set_viewport_size({"width": width, "height": 900})
        origin = urljoin(page.url, "/")
        language = {"name": "django_language", "value": asked.get("language", "en"), "url": origin}
        page.context.add_cookies([language])  # type: ignore[list-item]
        if opened:
            # Anew, and not as what was answered to a form at the same address.
            page.goto("about:blank")
            page.goto(address)
        else:
            page.reload()
        page.evaluate("size => { document.documentElement.style.fontSize = size }", asked.get("text", ""))
        if opened:
            page.locator(opened).click()
        if shows:
            expect(page.locator(shows)).to_be_visible()
        check(page, width, folder / f"look-{name}-{way}.png")
        assert page.evaluate(CUT_OFF) == [], way


@pytest.mark.req("R005")
def test_nothing_moves_for_whoever_asked_for_that(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    pool = hotdesk.create_pool("still", 1)
    page = open_page("agent01")
    desktop = hotdesk.person("agent01").take(pool)
    page.goto(f"/desktops/{desktop.id}/")
    expect(page.locator(".steps .current")).to_be_visible()
    assert page.evaluate(MOVING) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVING) == 0
    desktop.return_and_wait()


@pytest.fixture
def short_hold(hotdesk: Hotdesk) -> Iterator[None]:
    """Two minutes: long enough to be warned of the last one."""
    hotdesk.set("HoldMinutes", 2)
    yield
    hotdesk.set("HoldMinutes", 5)


@pytest.mark.req("R005")
def test_the_line_the_hold_and_the_end_are_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, short_hold: None
) -> None:
    """One desktop is waited for, held, warned of, lost and looked back at."""
    pool = hotdesk.create_pool("looked-at", 1)
    holder = hotdesk.person("agent01").take(pool)
    waiting, after = hotdesk.person("agent02").take(pool), hotdesk.person("agent03").take(pool)
    holder.wait_for("ready")
    page = open_page("agent02")
    page.goto(f"/desktops/{waiting.id}/")
    look_every_way(page, "line", pictures)
    holder.give_back()
    waiting.wait_for("ready")
    look_every_way(page, "hold", pictures)
    expect(page.locator(".ending.soon")).to_be_visible(timeout=90_000)
    look_every_way(page, "warning", pictures)
    page.goto(f"/desktops/{waiting.id}/problem/")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#text-error")).to_be_visible()
    look_every_way(page, "problem", pictures)
    waiting.wait_for("ended")
    after.give_back()
    page.goto(f"/desktops/{waiting.id}/")
    look_every_way(page, "missed", pictures)
    look_every_way(page, "certificate", pictures, opened="#certificate > summary")
    page.goto("/history/")
    look_every_way(page, "history", pictures)


@pytest.mark.req("R005")
def test_the_korean_pages_speak_korean(open_page: OpenPage) -> None:
    page = open_page("agent01", locale="ko")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("h1")).to_contain_text("데스크톱")
