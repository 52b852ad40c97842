"""The line, the hold and the end of it as people meet them: by keyboard, by ear, in two browsers, without scripts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import RULES
from tests.browser.test_journey import BOOT_MS, give_back, heading, take
from tests.browser.test_shell import HIDE, SPY, keep_offline_page
from tests.running import PASSWORD, Desktop, Hotdesk, wait_until

MOST_STOPS = 80
HOLD_MS = 100_000  # a minute of the clock, and what a busy machine adds
MISSED = "It was held for a while, and nobody connected to it in that time."

LISTEN = """() => {
    window.said = [];
    const status = document.getElementById("announcement");
    new MutationObserver(() => status.textContent && window.said.push(status.textContent))
        .observe(status, { childList: true });
}"""

FOCUS_IS_SEEN = """() => {
    const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return one !== document.body && one.matches(":focus-visible") && outlined && box.width > 0 && box.height > 0;
}"""


def tab_to(page: Page, wanted: Locator) -> None:
    """By the Tab key alone; every stop on the way is seen."""
    for _stop in range(MOST_STOPS):
        if wanted.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML")
    raise AssertionError(f"Tab never came to {wanted}")


def expect_focus(page: Page, wanted: Locator) -> None:
    expect(wanted).to_be_focused()
    assert page.evaluate(FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML")


def pool_of_one(hotdesk: Hotdesk, name: str) -> tuple[str, Desktop]:
    """A pool whose only desktop is in use, and that desktop."""
    pool = hotdesk.create_pool(name, 1)
    holder = hotdesk.person("agent01").take(pool)
    holder.wait_for("ready")
    return pool, holder


def give_address(hotdesk: Hotdesk, name: str) -> None:
    person = hotdesk.admin.get(f"/users?q={name}")["items"][0]
    answer = hotdesk.admin.http.patch(f"/users/{person['id']}", json={"email": f"{name}@example.org"})
    assert answer.status_code == 200, answer.text


def open_desktop(page: Page, desktop: Desktop) -> None:
    """Its page, once live updates get through; what is announced is kept from then on."""
    page.goto(f"/desktops/{desktop.id}/")
    expect(page.locator("#link")).to_have_class(re.compile("up"))
    page.evaluate(LISTEN)


def said(page: Page) -> list[str]:
    found: list[str] = page.evaluate("window.said")
    return found


def wait_for_words(page: Page, text: str, timeout: int = BOOT_MS) -> None:
    expect(page.locator("#announcement")).to_contain_text(text, timeout=timeout)


# -- by keyboard ---------------------------------------------------------------------------------------


@pytest.mark.req("R004", "R005")
def test_the_line_by_keyboard_alone(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    """Signed in, in line, told of a place that moves, asked for a mail, and out again; the focus is never lost."""
    give_address(hotdesk, "agent03")
    pool, holder = pool_of_one(hotdesk, "keys")
    between = hotdesk.person("agent02").take(pool)
    page = open_page()
    page.goto("/sign-in/")
    tab_to(page, page.locator("[name=username]"))
    page.keyboard.type("agent03")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    tab_to(page, page.locator(f"#take-{pool}"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/desktops/**")
    expect(page.locator(".place")).to_contain_text("2")
    expect(page.locator("#link")).to_have_class(re.compile("up"))
    mail, leave = page.locator("#mail"), page.locator("#leave")
    tab_to(page, mail)
    between.give_back()
    expect(page.locator(".place")).to_contain_text("1")
    expect_focus(page, mail)
    for key, words in (("Space", "Send no mail"), ("Enter", "Mail me when it is ready")):
        page.keyboard.press(key)
        expect(mail).to_have_text(words)
        expect_focus(page, mail)
    tab_to(page, leave)
    page.keyboard.press("Enter")
    expect_focus(page, page.get_by_role("dialog").get_by_role("button", name="Cancel"))
    page.keyboard.press("Escape")
    expect_focus(page, leave)
    page.keyboard.press("Space")
    tab_to(page, page.locator("#confirm-yes"))
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_have_text("You left the line.")
    expect_focus(page, page.locator("#panel-title"))
    tab_to(page, page.locator("#home"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    holder.return_and_wait()


@pytest.mark.req("R004", "R005")
def test_the_turn_and_the_hold_by_keyboard_alone(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    """A question is open when the turn comes: it closes, the focus goes to the news, and the hold is put off once."""
    pool, holder = pool_of_one(hotdesk, "turn")
    waiting = hotdesk.person("agent02").take(pool)
    page = open_page("agent02")
    open_desktop(page, waiting)
    tab_to(page, page.locator("#leave"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    holder.give_back()
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=BOOT_MS)
    expect_focus(page, page.locator("#panel-title"))
    waiting.wait_for("ready")
    expect(page.get_by_role("heading", name="It is your turn: your desktop is ready")).to_be_visible()
    expect_focus(page, page.locator("#panel-title"))
    countdown, ending = page.locator(".countdown"), page.locator("#ending-text")
    expect(countdown).to_have_text(re.compile(r"^[0-4]:\d\d$"))
    before = countdown.inner_text()
    expect(countdown).not_to_have_text(before)
    assert seconds(countdown.inner_text()) < seconds(before)
    expect(ending).to_contain_text("Held for you until")
    end = page.locator("#ending-text time").get_attribute("datetime")
    tab_to(page, page.locator("#extend"))
    expect(page.locator("#extend")).to_have_text("Hold it longer, once")
    page.keyboard.press("Enter")
    expect(page.locator("#extend")).to_have_count(0)
    expect_focus(page, page.locator("#panel-title"))
    later = page.locator("#ending-text time").get_attribute("datetime")
    assert end is not None and later is not None and later > end
    assert seconds(countdown.inner_text()) > 5 * 60
    # The summary of a part that is opened has no name of its own to be found again by.
    tab_to(page, page.locator("#viewer-help > summary"))
    page.keyboard.press("Enter")
    hotdesk.admin.http.post(f"/requests/{waiting.id}/return")
    expect(page.locator("#panel-title")).to_be_focused(timeout=BOOT_MS)
    waiting.wait_for("ended")


def seconds(countdown: str) -> int:
    minutes, rest = countdown.split(":")
    return 60 * int(minutes) + int(rest)


# -- by ear --------------------------------------------------------------------------------------------


@pytest.mark.req("R004", "R005")
def test_what_is_announced_in_line_and_how_often(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    """The turn at once; a place that only moves up every 30 seconds at most; each in the language of the reader."""
    pool, holder = pool_of_one(hotdesk, "heard")
    second, third, fourth, fifth = (hotdesk.person(f"agent{number:02}").take(pool) for number in range(2, 6))
    next_one, last_one = open_page("agent02"), open_page("agent05", locale="ko")
    last_one.clock.install()
    open_desktop(next_one, second)
    open_desktop(last_one, fifth)
    assert said(next_one) == said(last_one) == []  # a page says nothing that it was opened with
    holder.give_back()
    expect(last_one.locator(".place")).to_contain_text("3", timeout=BOOT_MS)
    wait_for_words(last_one, "대기 순번은 3번입니다.")
    for gone, place in ((third, "2"), (fourth, "1")):
        gone.give_back()
        expect(last_one.locator(".place")).to_contain_text(place)
    assert len(said(last_one)) == 1
    last_one.clock.fast_forward("00:31")
    wait_for_words(last_one, "대기 순번은 1번입니다.")
    assert len(said(last_one)) == 2  # the place between them was passed over
    assert not any(re.search("[A-Za-z]{3}", text) for text in said(last_one)), said(last_one)
    wait_for_words(next_one, "It is your turn: your desktop is ready.")
    assert said(next_one)[0] == "Your desktop is starting."
    fifth.give_back()
    second.return_and_wait()


@pytest.mark.req("R005")
def test_in_a_long_line_only_words_change(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    """The page follows, reads out the place, and stays as it was drawn; a question that is open stays open."""
    pool = hotdesk.create_pool("long", 1, max_vms_per_user=12)
    crowd = [hotdesk.person("agent01").take(pool) for _number in range(12)]
    crowd[0].wait_for("ready")
    waiting = hotdesk.person("agent02").take(pool)
    page = open_page("agent02")
    sent: list[str] = []
    page.on("websocket", lambda opened: opened.on("framereceived", lambda payload: sent.append(str(payload))))
    open_desktop(page, waiting)
    place, leave = page.locator(".place"), page.locator("#leave")
    expect(place).to_contain_text("12")
    expect(page.locator(".dots")).to_have_count(0)
    tab_to(page, leave)
    page.keyboard.press("Enter")
    drawn = sum('"html"' in message for message in sent)
    crowd[1].give_back()
    expect(place).to_contain_text("11")
    wait_for_words(page, "You are in line at place 11.")
    assert page.title() == "(11) long – in line · Hotdesk"
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect_focus(page, leave)
    assert sum('"html"' in message for message in sent) == drawn and any('"words"' in message for message in sent)
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()
    waiting.give_back()
    for one in crowd[2:]:
        one.give_back()
    crowd[0].return_and_wait()


@pytest.mark.req("R005")
def test_whoever_asked_for_it_is_notified_while_looking_elsewhere(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    pool, holder = pool_of_one(hotdesk, "called")
    waiting = hotdesk.person("agent02").take(pool)
    page = open_page("agent02", worker=True)
    page.context.grant_permissions(["notifications"])
    page.add_init_script(SPY)
    open_desktop(page, waiting)
    keep_offline_page(page)
    page.locator("#notify-here").click()
    expect(page.locator("#bell")).to_have_accessible_name("Notifications: on")
    page.evaluate(HIDE)
    holder.give_back()
    told = wait_until(lambda: page.evaluate("window.told"), "a notification is shown")
    for one in told:  # its turn, and that it is ready, may come in the same look
        assert one["url"].endswith(f"/desktops/{waiting.id}/") and one["silent"]
        assert "called" in one["title"]
    waiting.return_and_wait()


# -- the hold ------------------------------------------------------------------------------------------


@pytest.fixture
def short_hold(hotdesk: Hotdesk) -> Iterator[None]:
    hotdesk.set("HoldMinutes", 1)
    yield
    hotdesk.set("HoldMinutes", 5)


@pytest.mark.req("R004")
def test_a_hold_that_runs_out_says_so_and_the_next_has_it(
    hotdesk: Hotdesk, open_page: OpenPage, short_hold: None
) -> None:
    pool, holder = pool_of_one(hotdesk, "missed")
    away, after = hotdesk.person("agent02").take(pool), hotdesk.person("agent03").take(pool)
    page, next_page = open_page("agent02"), open_page("agent03")
    open_desktop(page, away)
    open_desktop(next_page, after)
    holder.give_back()
    heading(page, "It is your turn")
    end = page.locator("#ending-text time").get_attribute("datetime")
    expect(page.locator(".panel")).to_have_attribute("data-state", "ended", timeout=HOLD_MS)
    expect(page.locator("#panel-title")).to_have_text(MISSED)
    expect(page.locator("#panel .lead time")).to_have_attribute("datetime", str(end))
    expect(page.locator("#panel")).to_contain_text("Its time ended at")
    wait_for_words(page, MISSED)
    heading(next_page, "It is your turn")
    assert said(next_page)[-1].startswith("It is your turn")
    after.return_and_wait()


@pytest.mark.req("R004", "R005")
def test_two_browsers_of_one_person_agree(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    _pool, holder = pool_of_one(hotdesk, "twice")
    one, other = open_page("agent02"), open_page("agent02")
    take(one, "twice")
    wish = one.url.rstrip("/").rsplit("/", 1)[-1]
    expect(other.locator(f"#open-{wish}")).to_have_text("See my place")
    other.locator(f"#open-{wish}").click()
    holder.give_back()
    for page in (one, other):
        heading(page, "It is your turn")
    one.locator("#extend").click()
    expect(one.locator("#extend")).to_have_count(0)
    end = one.locator("#ending-text time").get_attribute("datetime")
    expect(other.locator("#ending-text time")).to_have_attribute("datetime", str(end))
    expect(other.locator("#extend")).to_have_count(0)
    give_back(one)
    expect(other.locator("#panel-title")).to_have_text("The desktop was returned.", timeout=BOOT_MS)


# -- without scripts -----------------------------------------------------------------------------------


def reload_until(page: Page, text: str) -> None:
    def found() -> bool:
        try:
            page.reload()
        except Error:
            return False  # the form that was sent is still on its way
        return text in page.locator("#panel").inner_text()

    wait_until(found, text, pause=0.5)


@pytest.mark.req("R004", "R005", "R028")
def test_without_scripts_the_whole_journey_works(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    give_address(hotdesk, "agent02")
    _pool, holder = pool_of_one(hotdesk, "plain")
    page = open_page("agent02", scripts=False)
    take(page, "plain")
    address = page.url
    expect(page.locator(".place")).to_contain_text("1")
    expect(page.locator("#notify-here")).to_be_hidden()
    page.locator("#mail").click()
    expect(page.locator("#panel")).to_contain_text("A mail goes to agent02@example.org when it is ready.")
    holder.give_back()
    reload_until(page, "It is your turn")
    expect(page.locator(".countdown")).to_be_hidden()
    page.locator("#extend").click()
    expect(page.locator("#ending-text")).to_contain_text("Held for you until")
    expect(page.locator("#extend")).to_have_count(0)
    # -- what cannot be sent stays as it was typed, and says what is wrong --
    page.locator("#report").click()
    words, send = page.locator("#text"), page.get_by_role("button", name="Send")
    send.click()
    expect(page.locator("#text-error")).to_have_text("Say in a few words what is wrong.")
    words.fill("The screen stays black. " * 100)
    send.click()
    expect(page.locator("#text-error")).to_have_text("Say it in at most 2000 characters.")
    expect(words).to_have_value("The screen stays black. " * 100)
    expect(words).to_have_attribute("aria-invalid", "true")
    words.fill("The screen stays black.")
    send.click()
    page.wait_for_url(address)
    expect(page.locator("#toasts")).to_contain_text("The help desk was told")
    # -- the options beside the button are those of the file, and stay (R028) --
    page.get_by_text("Console options").click()
    page.get_by_label("Open in full screen").check()
    with page.expect_download() as download:
        page.locator("#connect").click()
    assert download.value.suggested_filename.endswith(".vv")
    assert "fullscreen=1" in Path(download.value.path()).read_text()
    page.goto(address)
    page.get_by_text("Console options").click()
    expect(page.get_by_label("Open in full screen")).to_be_checked()
    page.get_by_label("Colour depth").select_option("16 bits")
    page.get_by_role("button", name="Save these options").click()
    expect(page.locator("#toasts")).to_contain_text("The options were saved.")
    page.get_by_text("Console options").click()
    expect(page.get_by_label("Colour depth")).to_have_value("16")
    page.locator("#return").click()
    reload_until(page, "The desktop was returned.")
    # -- and it is found again --
    page.goto("/history/")
    page.get_by_label("Pool").select_option("plain")
    page.get_by_role("button", name="Show").click()
    row = page.locator(".history tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("The desktop was returned.")
    with page.expect_download() as download:
        page.locator("#export").click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert len(lines) == 2 and lines[1].startswith("plain,")
