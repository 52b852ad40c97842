"""What surrounds every page, in a real browser: the ways through the site, keys, notifications, and being cut off."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import LOOKS, check
from tests.browser.test_permissions import given
from tests.running import Hotdesk, wait_until

SPY = """
window.told = [];
const show = ServiceWorkerRegistration.prototype.showNotification;
ServiceWorkerRegistration.prototype.showNotification = function (title, options) {
  window.told.push({ title, url: options.data.url, silent: options.silent });
  return show.call(this, title, options);
};
"""
HIDE = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })"
NOTIFY = """async () => {
  const files = performance.getEntriesByType("resource").map((entry) => entry.name);
  const { notify, wanted } = await import(files.find((name) => name.includes("/js/notify.")));
  await notify({ title: "Your desktop is ready", url: "/help/", tag: "test" });
  return wanted();
}"""


def keep_offline_page(page: Page) -> None:
    """Until the service worker has kept what it needs, and answers for this page."""
    active = "navigator.serviceWorker.getRegistration().then((one) => Boolean(one?.active))"
    wait_until(lambda: page.evaluate(active), "the service worker is at work")
    controlled = "navigator.serviceWorker.controller !== null"
    if not page.evaluate(controlled):  # it began between two pages, and answers from the next one on
        page.reload()
    wait_until(lambda: page.evaluate(controlled), "the service worker answers for the page")


# -- header and bottom bar -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 320])
def test_on_phones_the_ways_are_at_the_bottom_and_hide_nothing(open_page: OpenPage, width: int) -> None:
    page = open_page("admin", width=width)
    bar = page.locator(".site-nav").bounding_box()
    assert bar is not None
    assert (bar["x"], bar["width"], bar["y"] + bar["height"]) == (0, width, 900)
    header = page.locator(".site-header").bounding_box()
    assert header is not None and header["height"] < 60  # one row
    for control in page.locator(".site-header :is(a, button, summary):visible").all():
        box = control.bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 40, control.evaluate("one => one.outerHTML")
    # Whatever gets the focus by the keyboard is seen, and not below the bar.
    page.set_viewport_size({"width": width, "height": 420})
    for _stop in range(25):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
                const one = document.activeElement, box = one.getBoundingClientRect();
                const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return one === document.body || one.contains(top) || (top?.contains(one) ?? false);
            }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")


def test_help_is_last_and_the_account_is_a_menu(open_page: OpenPage) -> None:
    page = open_page("agent01")
    assert page.locator(".site-header a").last.get_attribute("href") == "/help/"
    menu = page.locator("#account")
    menu.locator("summary").click()
    expect(menu.get_by_role("link", name="My access")).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu.get_by_role("link", name="My access")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    menu.locator("summary").click()
    page.locator("h1").click()
    expect(menu.get_by_role("link", name="My access")).to_be_hidden()
    menu.locator("summary").click()
    menu.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")
    page.locator(".help-link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Help")


def test_without_scripts_the_header_works_and_offers_nothing_that_does_not(open_page: OpenPage) -> None:
    page = open_page("agent01", scripts=False)
    for missing in ("#bell", "#theme-switch", "#show-shortcuts"):
        expect(page.locator(missing)).to_be_hidden()
    page.locator("#account summary").click()
    page.get_by_role("link", name="My access").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("My access")


# -- keys ----------------------------------------------------------------------------------------------


def test_keys_lead_through_the_site_until_they_are_switched_off(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page("admin")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/manage/")
    page.goto("/manage/pools/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("gd?")  # while typing they are letters
    expect(page.locator("#q")).to_have_value("gd?")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.locator("#q").fill("")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+g")
    page.keyboard.press("d")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page).to_have_url(f"{hotdesk.url}/")
    page.keyboard.press("?")
    dialog = page.locator("#shortcuts")
    expect(dialog).to_contain_text("Administration")
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(dialog).to_be_visible()
    dialog.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.reload()
    for key in ("?", "g", "m"):
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    expect(dialog).to_be_hidden()
    assert not page.url.endswith("/manage/")
    page.locator("#account summary").click()
    page.locator("#show-shortcuts").click()
    dialog.get_by_role("checkbox").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(dialog).to_be_visible()


# -- notifications -------------------------------------------------------------------------------------


def test_notifications_are_asked_for_with_the_bell_and_switched_off_again(open_page: OpenPage) -> None:
    page = open_page(worker=True)
    page.context.grant_permissions(["notifications"])
    page.add_init_script(SPY)
    page.goto("/sign-in/")
    page.locator("input[name=username]").fill("agent01")
    page.locator("input[name=password]").fill("hotdesk")
    page.locator("main form button").first.click()
    bell = page.locator("#bell")
    expect(bell).to_have_accessible_name("Notifications: off")
    keep_offline_page(page)
    page.evaluate(HIDE)
    assert page.evaluate(NOTIFY) is False
    bell.click()
    expect(bell).to_have_accessible_name("Notifications: on")
    expect(page.locator("#toasts")).to_contain_text("You are notified when")
    assert page.evaluate(NOTIFY) is True
    assert page.evaluate("window.told") == [{"title": "Your desktop is ready", "url": "/help/", "silent": True}]
    page.reload()
    expect(bell).to_have_accessible_name("Notifications: on")
    page.evaluate(NOTIFY)  # whoever looks at the page needs none
    assert page.evaluate("window.told") == []
    bell.click()
    expect(bell).to_have_accessible_name("Notifications: off")
    page.reload()
    expect(bell).to_have_accessible_name("Notifications: off")


def test_a_browser_that_blocks_notifications_is_named_as_the_one_who_does(open_page: OpenPage) -> None:
    page = open_page("agent01")
    page.context.grant_permissions([])
    bell = page.locator("#bell")
    expect(bell).to_have_accessible_name("Notifications: blocked by the browser")
    bell.click()
    expect(page.locator("#toasts")).to_contain_text("Your browser blocks notifications of this site.")
    page.locator("#toasts").get_by_role("button", name="Dismiss").click()
    expect(page.locator("#toasts")).to_have_text("")


# -- cut off -------------------------------------------------------------------------------------------


def test_a_page_that_is_cut_off_says_since_when_and_recovers(open_page: OpenPage) -> None:
    page = open_page("agent01", worker=True)
    keep_offline_page(page)
    plain = page.locator("#cards").evaluate("one => getComputedStyle(one).color")
    page.context.set_offline(True)
    away = page.locator("#away")
    expect(away).to_be_visible()
    expect(away).to_contain_text("What you see is as of")
    grey = page.locator("#cards").evaluate("one => getComputedStyle(one).color")
    assert grey != plain
    page.goto("/access/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hotdesk cannot be reached")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_have_text("My access")
    assert page.url.endswith("/access/")
    page.goto("/")
    page.context.set_offline(True)
    expect(away).to_be_visible()
    page.context.set_offline(False)
    expect(away).to_be_hidden()
    assert page.locator("#cards").evaluate("one => getComputedStyle(one).color") == plain


def test_the_page_for_being_cut_off_speaks_the_language_of_the_person(open_page: OpenPage) -> None:
    page = open_page("agent01", worker=True)
    keep_offline_page(page)
    page.get_by_role("button", name="한국어").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    kept = "caches.match('/offline/').then((page) => page.text()).then((text) => text.includes('lang=\"ko\"'))"
    wait_until(lambda: page.evaluate(kept), "the Korean page is kept")
    page.context.set_offline(True)
    page.goto("/access/")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#again")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_have_text("내 권한")
    page.get_by_role("button", name="English").click()  # the account would keep it
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_nothing_personal_is_kept(open_page: OpenPage) -> None:
    page = open_page("agent01", worker=True)
    keep_offline_page(page)
    for path in ("/access/", "/help/", "/"):
        page.goto(path)
    kept = page.evaluate(
        """async () => {
            const found = [];
            for (const name of await caches.keys()) found.push(...(await (await caches.open(name)).keys()));
            return found.map((request) => new URL(request.url).pathname);
        }"""
    )
    assert "/offline/" in kept
    assert all(path == "/offline/" or path.startswith("/static/") for path in kept)


@contextmanager
def nobody_at_work(hotdesk: Hotdesk) -> Iterator[None]:
    """The beat stands still, as if its machine did."""
    beat = hotdesk.pid("beat")
    os.kill(beat, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(beat, signal.SIGCONT)


def test_a_page_says_when_nobody_is_at_work_and_when_somebody_is_again(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page("agent01")
    expect(page.locator("#silence")).to_be_hidden()
    with nobody_at_work(hotdesk):
        expect(page.locator("#silence")).to_be_visible()
        expect(page.locator("#silence time")).to_be_visible()
    expect(page.locator("#silence")).to_be_hidden()


# -- accessible ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("forced", [False, True], ids=["own-colours", "forced-colours"])
@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_the_shell_and_its_pages_are_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str, forced: bool
) -> None:
    page = open_page("admin", width=width, scheme=scheme, locale=locale)
    if forced:
        page.emulate_media(forced_colors="active")

    def look(name: str) -> None:
        suffix = f"{width}-{scheme}-{locale}{'-forced' if forced else ''}"
        check(page, width, pictures / f"shell-{name}-{suffix}.png")

    for name, path in (
        ("help", "/help/"),
        ("viewer", "/help/viewer/"),
        ("404", "/nowhere/"),
        ("400", "/?q=%00"),
        ("offline", "/offline/"),
    ):
        page.goto(path)
        look(name)
    page.goto("/")
    page.locator("#account summary").click()
    look("account")
    page.locator("#show-shortcuts").click()
    look("shortcuts")
    page.keyboard.press("Escape")
    page.goto("/")
    page.context.set_offline(True)
    expect(page.locator("#away")).to_be_visible()
    look("away")
    page.context.set_offline(False)


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_maintenance_and_refusals_are_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    page = open_page("agent01", width=width, scheme=scheme, locale=locale)
    suffix = f"{width}-{scheme}-{locale}.png"
    notice = "/settings/MaintenanceNotice"
    take = page.locator("[id^=take-]").first
    pool = hotdesk.pool_named("helpdesk")["id"]
    try:
        assert hotdesk.admin.http.patch(notice, json={"value": "Disks are replaced."}).status_code == 200
        take.click()
        expect(page.locator("main")).to_contain_text("Disks are replaced.")
        check(page, width, pictures / f"shell-maintenance-{suffix}")
        page.goto("/")
        expect(page.locator(f"#closed-{pool}")).to_have_text("Disks are replaced.")
        check(page, width, pictures / f"shell-closed-{suffix}")
    finally:
        assert hotdesk.admin.http.patch(notice, json={"value": ""}).status_code == 200
    with given(hotdesk, f"/manage/pools/{pool}", "agent01", "ReadOnlyAdmin"):
        page.goto(f"/manage/pools/{pool}/edit/")
        expect(page.locator("main")).to_contain_text("admin")
        check(page, width, pictures / f"shell-403-{suffix}")
