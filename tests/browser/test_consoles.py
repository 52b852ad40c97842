"""A desktop in the browser: a real guest's picture in Chromium, keys that reach it, and who may look."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from broker.lab import guest
from tests.browser.conftest import Faults, OpenPage
from tests.browser.test_accessibility import LOOKS, check
from tests.running import Desktop, Hotdesk, kill, wait_until

CONNECTED = re.compile("Connected|연결됨")
BOOT_MS = 120_000
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
    status, yes = page.locator("#status"), page.locator("#take-over[open] #take-over-yes")
    # A page that is closed together with its browser, as by the test before, tells nobody that it is gone.
    expect(yes.or_(status.filter(has_text=CONNECTED))).to_be_visible()
    if yes.is_visible():
        yes.click()
    expect(status).to_have_text(CONNECTED)
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background())


@pytest.mark.req("R263", "R267")
def test_the_guests_picture_is_shown_and_what_is_typed_reaches_it(
    hotdesk: Hotdesk, desktop: Desktop, open_page: OpenPage, pictures: Path
) -> None:
    page = open_page("agent05")
    page.goto(f"/desktops/{desktop.id}/")
    page.locator("#open").click()
    expect(page.locator("#status")).to_have_text(CONNECTED)
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background())
    page.screenshot(path=pictures / "console-screen.png")
    page.locator("#screen canvas").click()
    with hotdesk.serial(desktop.now()["vm"]["id"]) as shell:
        shell.run("cat < /dev/tty1 > /typed & true", timeout_s=60)
        reads = "ls -l /proc/[0-9]*/fd/0 2>/dev/null | grep -c 'tty1$' || true"
        wait_until(lambda: shell.run(reads, timeout_s=30) != "0", "somebody reads the keyboard", 60)
        page.keyboard.type("hello")
        page.keyboard.press("Enter")
        page.locator("#paste").click()
        page.locator("#paste-text").fill("a|B ~9\n")
        page.locator("#paste-yes").click()
        expected = ["hello", "a|B", "~9"]
        wait_until(lambda: shell.run("cat /typed", timeout_s=30).split()[-3:] == expected, "the keys arrive", 60)
    # The keyboard is no trap (SC 2.1.2).
    page.locator("#screen canvas").focus()
    page.keyboard.press("Control+Alt+Shift")
    expect(page.locator("#disconnect")).to_be_focused()
    page.locator("#disconnect").click()
    expect(page.locator("#connect")).to_be_focused()
    expect(page.locator("#screen canvas")).to_have_count(0)
    page.locator("#connect").click()
    expect(page.locator("#status")).to_have_text(CONNECTED)


# Every size that the screen had, in which there was something to be seen.
SIZES = """() => {
    window.sizes = new Set();
    setInterval(() => {
        const canvas = document.querySelector("#screen canvas");
        if (!canvas?.width) return;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        if (data.some((value, at) => at % 4 !== 3 && value > 100)) sizes.add(`${canvas.width} x ${canvas.height}`);
    }, 50);
}"""
SHOWN = "() => [...sizes]"
SECOND_PANEL = "echo > /dev/tty2"  # nobody can switch to what nobody has opened
PANEL = "cat /sys/class/tty/tty0/active"


@pytest.mark.req("R265", "R266")
def test_terminals_are_switched_and_a_restart_is_seen_from_the_firmware_on(
    hotdesk: Hotdesk, desktop: Desktop, open_page: OpenPage
) -> None:
    page = open_page("agent05")
    show(page, desktop)
    page.locator("#screen canvas").click()
    with hotdesk.serial(desktop.now()["vm"]["id"]) as shell:
        shell.run(SECOND_PANEL)
        for panel in ("2", "1"):
            page.keyboard.press(f"Control+Alt+F{panel}")
            wait_until(lambda panel=panel: shell.run(PANEL) == f"tty{panel}", f"terminal {panel} is shown", 30)
    page.evaluate(SIZES)
    assert desktop.owner.http.post(f"/requests/{desktop.id}/restart").status_code == 202
    page.wait_for_function("() => sizes.size > 1")  # text of the firmware, then the guest's picture
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background(), timeout=BOOT_MS)
    assert "1024 x 768" in page.evaluate(SHOWN)


@pytest.mark.req("R263", "R267")
def test_a_vnc_display_is_shown_in_the_page_too(hotdesk: Hotdesk, open_page: OpenPage, pictures: Path) -> None:
    image = {"name": "Picture by VNC", "path": str(hotdesk.state / "tiny-linux.qcow2"), "graphics": "vnc"}
    made = hotdesk.admin.http.post("/templates", json={**image, "memory_mib": 128}).json()
    job = f"/jobs/{made['job']['id']}"
    wait_until(lambda: hotdesk.admin.get(job)["state"] == "done", "the template is made")
    taken = hotdesk.person("agent06").take(hotdesk.create_pool("vnc", 1, template=made["template"]["id"]))
    taken.wait_for("ready")
    page = open_page("agent06")
    show(page, taken)
    page.screenshot(path=pictures / "console-vnc.png")
    page.locator("#screen canvas").click()
    with hotdesk.serial(taken.now()["vm"]["id"]) as shell:
        shell.run(SECOND_PANEL)
        page.keyboard.press("Control+Alt+F2")
        wait_until(lambda: shell.run(PANEL) == "tty2", "the keys arrive", 60)
    # The page itself closes it: the host has no say in that.
    taken.return_and_wait()
    expect(page.locator("#screen canvas")).to_have_count(0)


@pytest.fixture(scope="module")
def watcher(hotdesk: Hotdesk) -> Iterator[str]:
    """Somebody who may look at desktops of the pool, and nothing else; what is yielded takes that away."""
    actions = ["view_inventory", "watch_desktops"]
    role = hotdesk.admin.http.post("/roles", json={"name": "Helper", "actions": actions}).json()
    path = f"/manage/pools/{hotdesk.pool_named('helpdesk')['id']}/permissions"
    given = hotdesk.admin.http.post(path, json={"principal": {"user": "agent07"}, "role": "Helper"})
    assert given.status_code == 201, given.text
    yield f"{path}/{given.json()['id']}"
    hotdesk.admin.http.delete(f"{path}/{given.json()['id']}")
    assert hotdesk.admin.http.delete(f"/roles/{role['id']}").status_code == 204


@pytest.mark.req("R146", "R264")
def test_whoever_looks_is_asked_first_is_shown_and_loses_it_with_the_role(
    hotdesk: Hotdesk,
    desktop: Desktop,
    watcher: str,
    open_page: OpenPage,
    pictures: Path,
    record_property: Callable[[str, object], None],
) -> None:
    mine = open_page("agent05")
    show(mine, desktop)
    other = open_page("agent07")
    other.goto(f"/vms/{desktop.now()['vm']['id']}/console/")
    expect(other.locator("#take-over-title")).to_have_text("Console in use by agent05: take over?")
    other.screenshot(path=pictures / "console-take-over.png")
    other.locator("#take-over-yes").click()
    expect(mine.locator("#status")).to_have_text("agent07 took it over.")
    expect(mine.locator("#screen canvas")).to_have_count(0)
    other.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background())
    mine.locator("#back").click()
    expect(mine.get_by_text("agent07 looks at this desktop now.")).to_be_visible()
    mine.screenshot(path=pictures / "console-watched.png")
    before = time.monotonic()
    assert hotdesk.admin.http.delete(watcher).status_code == 204
    expect(other.locator("#screen canvas")).to_have_count(0)
    record_property("seconds until the console was closed", round(time.monotonic() - before, 2))
    expect(other.locator("#status")).to_have_text("Your permission was removed.")
    expect(mine.get_by_text("agent07 looks at this desktop now.")).to_have_count(0)
    kinds = {event["kind"] for event in hotdesk.admin.get("/events?limit=100")["items"]}
    assert {"console.watched", "console.taken_over", "console.closed"} <= kinds


def test_it_comes_back_when_the_web_process_was_killed(
    hotdesk: Hotdesk, desktop: Desktop, open_page: OpenPage, faults: Faults
) -> None:
    page = open_page("agent05")
    show(page, desktop)
    kill(hotdesk, "web")
    expect(page.locator("#status")).not_to_have_text(CONNECTED)
    expect(page.locator("#status")).to_have_text(CONNECTED)
    page.wait_for_function(f"colour => ({COLOURED})(colour) > 300", arg=background())
    faults.found[:] = [fault for fault in faults.found if "ERR_CONNECTION" not in fault and "WebSocket" not in fault]


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_the_console_is_accessible(
    desktop: Desktop, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    page = open_page("agent05", width=width, scheme=scheme, locale=locale)
    show(page, desktop)
    suffix = f"{width}-{scheme}-{locale}.png"
    check(page, width, pictures / f"console-{suffix}")
    page.locator("#paste").click()
    check(page, width, pictures / f"console-paste-{suffix}")
    page.keyboard.press("Escape")
    page.goto("/about/")
    check(page, width, pictures / f"about-{suffix}")


@pytest.mark.req("R260", "R261", "R262")
def test_the_text_console_answers_and_has_one_holder(
    hotdesk: Hotdesk, desktop: Desktop, open_page: OpenPage, pictures: Path
) -> None:
    page = open_page("agent05")
    page.goto(f"/desktops/{desktop.id}/console/text/")
    expect(page.locator("#status")).to_have_text(CONNECTED)
    screen = page.locator("#screen .xterm-rows")
    page.locator("#screen textarea").focus()
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("#")
    page.keyboard.type("echo $((6*7))-$(hostname)")
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("42-tiny-linux")
    check(page, 1280, pictures / "console-text.png")
    wanted = {"kind": "text"}
    path = f"/requests/{desktop.id}/console-session"
    refused = desktop.owner.http.post(path, json=wanted)
    assert (refused.status_code, refused.json()["error"]) == (409, "CONSOLE_IN_USE")
    assert refused.json()["message"] == "You have this console open in another window: take over?"
    taken = desktop.owner.http.post(path, json={**wanted, "take_over": True})
    assert taken.status_code == 201 and taken.json()["password"] is None
    expect(page.locator("#status")).to_have_text("You opened it in another window.")
    assert desktop.owner.http.delete(f"/console-sessions/{taken.json()['id']}").status_code == 204
