"""The Administration Portal in a real browser: a pool from its making to its removal, by mouse and by keyboard."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import LOOKS, check
from tests.running import Hotdesk, wait_until

JOB_MS = 120_000


class Mouse:
    """Do it by pointing."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        target.click()

    def fill(self, target: Locator, text: str) -> None:
        target.click()
        target.fill(text)

    def tick(self, target: Locator) -> None:
        target.click()


class Keyboard:
    """Do it with keys alone: whatever is wanted must be reached by Tab or arrows first."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def _reach(self, target: Locator) -> None:
        """Tab until it has the focus, as somebody without a mouse would."""
        expect(target).to_be_visible()
        for _step in range(150):
            if target.evaluate("node => node === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"no way leads to {target}")

    def press(self, target: Locator) -> None:
        if target.get_attribute("role") == "tab":
            # The tabs are one stop; arrows lead from one to the next.
            tabs = target.locator("xpath=ancestor::*[@role='tablist'][1]").get_by_role("tab")
            self._reach(tabs.and_(self.page.locator("[tabindex='0']")).first)
            for _step in range(tabs.count()):
                if target.evaluate("node => node === document.activeElement"):
                    break
                tall = target.evaluate(
                    "node => node.closest('[role=tablist]').getAttribute('aria-orientation') === 'vertical'"
                )
                self.page.keyboard.press("ArrowDown" if tall else "ArrowRight")
        else:
            self._reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, target: Locator, text: str) -> None:
        self._reach(target)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def tick(self, target: Locator) -> None:
        self._reach(target)
        self.page.keyboard.press("Space")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#dialog [name={name}]")


def row(page: Page, name: str) -> Locator:
    return page.locator("#rows").get_by_role("link", name=re.compile(rf"^{re.escape(name)}\b"))


def open_tab(hand: Mouse | Keyboard, page: Page, name: str) -> None:
    hand.press(page.locator("#details").get_by_role("tab", name=name))


@pytest.mark.req(
    "R022", "R036", "R050", "R054", "R055", "R109", "R110", "R113", "R120", "R124", "R125", "R127", "R130"
)
@pytest.mark.parametrize("with_what", [Mouse, Keyboard])
def test_a_pool_is_made_edited_grown_emptied_and_removed(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, with_what: Callable[[Page], Mouse | Keyboard]
) -> None:
    name = f"by-{with_what.__name__.lower()}"
    page = open_page("admin")
    hand = with_what(page)
    page.goto("/manage/pools/")
    if isinstance(hand, Keyboard):
        page.keyboard.press("n")
    else:
        hand.press(page.locator("#do-new"))
    expect(page.locator("#dialog")).to_be_visible()
    # What is wrong is said at its field, and what was typed stays.
    hand.fill(field(page, "name"), "no good")
    hand.fill(field(page, "size"), "2")
    hand.press(page.locator("#save"))
    expect(page.locator("#dialog .field.invalid")).to_contain_text("The name may hold letters")
    expect(field(page, "size")).to_have_value("2")
    hand.fill(field(page, "name"), name)
    hand.press(page.locator("#advanced"))
    hand.press(page.locator("#form-tab-console"))
    expect(field(page, "spice_proxy")).to_be_disabled()
    hand.tick(field(page, "override_spice_proxy"))
    hand.fill(field(page, "spice_proxy"), "http://proxy.example.com:3128")
    page.screenshot(path=pictures / f"new-pool-{name}.png")
    hand.press(page.locator("#save"))
    expect(row(page, name)).to_be_visible()
    hand.press(row(page, name))
    open_tab(hand, page, "Virtual Machines")
    details = page.locator("#details")
    expect(details).to_contain_text(f"{name}-2", timeout=JOB_MS)
    pool = hotdesk.pool_named(name)["id"]
    hotdesk.wait_until_clean(pool)
    # Edit: the number becomes an increase, and only new VMs are changed.
    hand.press(page.locator("#do-edit"))
    expect(page.locator("#dialog")).to_contain_text("new virtual machines only")
    expect(field(page, "size")).to_have_count(0)
    hand.fill(field(page, "increase_by"), "1")
    hand.fill(field(page, "prestarted_vms"), "1")
    hand.fill(field(page, "comment"), "<b>데스크톱</b>")
    hand.press(page.locator("#save"))
    expect(details).to_contain_text(f"{name}-3", timeout=JOB_MS)
    hotdesk.wait_until_clean(pool)
    shown = hotdesk.pool_named(name)
    assert (shown["size"], shown["prestarted_vms"], shown["comment"]) == (3, 1, "<b>데스크톱</b>")
    assert shown["spice_proxy"] == "http://proxy.example.com:3128"
    hotdesk.admin.http.patch(f"/manage/pools/{pool}", json={"prestarted_vms": 0})
    for vm in hotdesk.vms(pool):
        if vm["status"] == "up":
            hotdesk.admin.http.post(f"/vms/{vm['id']}/stop")
    hotdesk.wait_until_clean(pool)
    # Detach one: its icon is another one at once.
    page.goto(f"/manage/pools/?sel={pool}&tab=vms")
    first = hotdesk.vms(pool)[0]
    hand.tick(page.locator(f"#child-{first['id']}"))
    hand.press(page.locator("#child-detach"))
    expect(page.locator("#dialog")).to_contain_text(first["name"])
    page.screenshot(path=pictures / f"detach-{name}.png")
    hand.press(page.locator("#confirm-yes"))
    expect(details).not_to_contain_text(first["name"])
    page.goto(f"/manage/vms/?q=name = {name}*")
    for vm, word, icon in ((first["name"], "Independent", "monitor"), (f"{name}-2", name, "layers")):
        line = page.locator("#rows tr").filter(has=page.get_by_role("link", name=re.compile(rf"^{re.escape(vm)}\b")))
        expect(line.locator("td").filter(has_text=word).first).to_be_visible()
        expect(line.locator(f".icon-{icon}").first).to_be_visible()
    # Remove: a pool with VMs says why not; with them it is asked about, and Cancel leaves everything.
    page.goto(f"/manage/pools/?sel={pool}")
    expect(page.locator("#do-remove")).to_have_attribute("aria-disabled", "true")
    hand.press(page.locator("#do-remove-with-vms"))
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text(name)
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    assert hotdesk.pool_named(name)["size"] == 2
    hand.press(page.locator("#do-remove-with-vms"))
    hand.press(page.locator("#confirm-yes"))

    def gone() -> bool:
        return name not in [one["name"] for one in hotdesk.admin.get("/manage/pools")["items"]]

    wait_until(gone, "the pool is removed")
    assert [vm["name"] for vm in hotdesk.admin.get(f"/vms?name={first['name']}")["items"]] == [first["name"]]
    hotdesk.admin.http.delete(f"/vms/{first['id']}")


@pytest.mark.req("R107", "R108")
def test_virtual_nodes_are_pinned_by_dragging_and_by_choosing(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page("admin")
    page.goto("/manage/pools/new/")
    page.locator("#advanced").click()
    page.locator("#form-tab-host").click()
    page.locator("[name=start_running_on][value=specific]").check()
    host = hotdesk.admin.get("/hosts")["items"][0]
    page.locator(f"[name=hosts][value='{host['id']}']").check()
    page.locator("[name=numa_node_count]").fill("1")
    numa = page.locator(".numa")
    expect(numa).to_contain_text(f"{host['cpu_threads']} CPU")
    expect(numa).to_contain_text(f"{host['memory_mib']} MiB")
    virtual = numa.locator("[draggable=true]").first
    expect(virtual).to_be_visible()
    target = numa.locator(".numa-node .numa-drop").first
    virtual.drag_to(target)
    expect(page.locator("[name=numa_pinning]")).to_have_value("0")
    numa.locator(".numa-choice select").first.select_option("")
    expect(page.locator("[name=numa_pinning]")).not_to_have_value("0")


def test_a_query_is_completed_and_a_wrong_one_keeps_the_rows(open_page: OpenPage, pictures: Path) -> None:
    page = open_page("admin")
    page.goto("/manage/pools/")
    expect(row(page, "helpdesk")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("ty")
    expect(page.get_by_role("option").first).to_contain_text("type")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("= automatic and name = help*")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(row(page, "helpdesk")).to_be_visible()
    expect(page.locator("#total")).to_have_text("1 row")
    page.locator("#q").fill("colour = blue")
    page.keyboard.press("Enter")
    expect(page.locator("#query-error")).to_contain_text("colour")
    expect(row(page, "helpdesk")).to_be_visible()
    page.screenshot(path=pictures / "query-error.png")
    page.reload()
    expect(row(page, "helpdesk")).to_be_visible()


PAGES = {
    "dashboard": "/manage/",
    "tree": "/manage/tree/",
    **{
        kind: f"/manage/{kind}/"
        for kind in (
            "data-centers",
            "clusters",
            "hosts",
            "storage",
            "templates",
            "pools",
            "vms",
            "users",
            "groups",
            "roles",
            "events",
            "jobs",
            "settings",
        )
    },
    "pool-form": "/manage/pools/new/",
    "vm-form": "/manage/vms/new/",
}


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_every_page_of_the_portal_is_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    page = open_page("admin", width=width, scheme=scheme, locale=locale)
    suffix = f"{width}-{scheme}-{locale}.png"
    for name, path in PAGES.items():
        page.goto(path)
        check(page, width, pictures / f"manage-{name}-{suffix}")
    pool = hotdesk.pool_named("helpdesk")["id"]
    page.goto(f"/manage/pools/{pool}/" if width < 760 else f"/manage/pools/?sel={pool}")
    check(page, width, pictures / f"manage-pool-details-{suffix}")
    if width > 760:
        page.locator("#do-edit").click()
        expect(page.locator("#dialog")).to_be_visible()
        page.locator("#advanced").click()
        page.locator("#form-tab-host").click()
        check(page, width, pictures / f"manage-pool-edit-{suffix}")


def test_at_a_phone_a_row_leads_to_its_own_page(open_page: OpenPage) -> None:
    page = open_page("admin", width=390)
    page.goto("/manage/pools/")
    row(page, "helpdesk").click()
    page.wait_for_url(re.compile(r"/manage/pools/[0-9a-f-]{36}/"))
    expect(page.get_by_role("tab", name="Virtual Machines")).to_be_visible()


def test_without_a_script_everything_is_still_there(hotdesk: Hotdesk, open_page: OpenPage, browser: object) -> None:
    context = browser.new_context(base_url=hotdesk.url, java_script_enabled=False)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto("/sign-in/")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill("hotdesk")
    page.locator("main form button").first.click()
    page.goto("/manage/pools/")
    page.get_by_role("link", name=re.compile("helpdesk")).first.click()
    expect(page.get_by_role("heading", name="helpdesk")).to_be_visible()
    page.goto("/manage/pools/new/")
    page.locator("[name=name]").fill("no good")
    page.locator("#save").click()
    expect(page.locator("[name=name]")).to_have_value("no good")
    expect(page.locator(".field.invalid")).to_contain_text("The name may hold letters")
    context.close()
