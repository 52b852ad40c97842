"""Roles in a real browser: given and taken by mouse, by keyboard, without scripts; and why somebody may do what."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SOON_MS, OpenPage, only_told
from tests.browser.test_administration import Keyboard, field, row
from tests.browser.test_journey import heading, take
from tests.running import Hotdesk

LONG_PASSWORD = "quiet-harbour-41"


@pytest.fixture(scope="module")
def people(hotdesk: Hotdesk) -> None:
    """Two who were given nothing yet."""
    for name, first, last in (("minji", "Minji", "Park"), ("keeper", "Ada", "Keeper")):
        account = {"username": name, "password": LONG_PASSWORD, "first_name": first, "last_name": last}
        answer = hotdesk.admin.http.post("/users", json=account)
        assert answer.status_code == 201, answer.text


@contextmanager
def given(hotdesk: Hotdesk, path: str, name: str, role: str) -> Iterator[None]:
    """Somebody has a role on an object for a while."""
    answer = hotdesk.admin.http.post(f"{path}/permissions", json={"principal": {"user": name}, "role": role})
    assert answer.status_code == 201, answer.text
    try:
        yield
    finally:
        assert hotdesk.admin.http.delete(f"{path}/permissions/{answer.json()['id']}").status_code == 204


def pool_of(hotdesk: Hotdesk) -> str:
    return hotdesk.pool_named("helpdesk")["id"]


def cluster_of(hotdesk: Hotdesk) -> dict[str, str]:
    return hotdesk.admin.get("/clusters")["items"][0]


def open_permissions(page: Page, kind: str, key: str) -> None:
    page.goto(f"/manage/{kind}/{key}/?tab=permissions")


def permission(page: Page, who: str, role: str) -> Locator:
    """The row that says that somebody has a role."""
    of_person = page.locator("#details tbody tr").filter(has=page.get_by_role("rowheader", name=who, exact=True))
    return of_person.filter(has=page.get_by_role("cell", name=role, exact=True))


def choice(page: Page, name: str, word: str) -> Locator:
    return page.locator("label").filter(has_text=word).locator(f"[name={name}]")


@pytest.mark.req("R143", "R144", "R146")
def test_a_role_is_given_and_taken_and_what_it_allowed_ends_at_once(
    hotdesk: Hotdesk, open_page: OpenPage, people: None, pictures: Path
) -> None:
    pool = pool_of(hotdesk)
    hotdesk.wait_until_clean(pool)
    person = open_page("minji", password=LONG_PASSWORD)
    expect(person.get_by_text("You have no pools yet.")).to_be_visible()
    page = open_page("admin")
    page.goto("/manage/pools/")
    row(page, "helpdesk").click()
    page.locator("#details").get_by_role("tab", name="Permissions").click()
    page.locator("#give-role").click()
    dialog = page.locator("#dialog")
    field(page, "find").fill("ark")
    page.locator("#search-people").click()
    expect(dialog.locator("legend").first).to_contain_text("1 found")
    page.screenshot(path=pictures / "give-role.png")
    dialog.locator("label").filter(has_text="Minji Park").click()
    dialog.locator("label").filter(has_text="UserRole").click()
    page.locator("#preview").click()
    expect(dialog.get_by_role("heading")).to_have_text("Give Minji Park the role UserRole on helpdesk?")
    expect(dialog.get_by_role("listitem")).to_have_text(["See a pool, take a desktop from it and use it"])
    page.screenshot(path=pictures / "give-role-preview.png")
    page.locator("#confirm-yes").click()
    expect(dialog).not_to_be_visible()
    mine = permission(page, "Minji Park", "UserRole")
    expect(mine).to_contain_text("Given here")
    expect(page.locator("#toasts")).to_contain_text("The role UserRole on helpdesk was given to Minji Park.")
    take(person, "helpdesk")
    heading(person, "Your desktop is ready")
    # It is asked first, and Cancel leaves everything.
    mine.get_by_role("link", name="Remove").click()
    expect(dialog).to_contain_text("what was not saved is lost")
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).not_to_be_visible()
    expect(mine).to_be_visible()
    heading(person, "Your desktop is ready")
    only_told(person)
    mine.get_by_role("link", name="Remove").click()
    page.locator("#confirm-yes").click()
    expect(mine).to_have_count(0)
    # Nobody reloads, or asks.
    expect(person.locator("#panel")).to_contain_text("Your permission on the pool was removed.", timeout=SOON_MS)
    person.screenshot(path=pictures / "role-taken.png")
    person.get_by_role("link", name="Back to my desktops").click()
    expect(person.get_by_text("You have no pools yet.")).to_be_visible()


def test_a_role_is_given_and_taken_with_keys_alone(hotdesk: Hotdesk, open_page: OpenPage, people: None) -> None:
    page = open_page("admin")
    hand = Keyboard(page)
    open_permissions(page, "pools", pool_of(hotdesk))
    add, dialog = page.locator("#give-role"), page.locator("#dialog")
    hand.press(add)
    expect(field(page, "find")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(add).to_be_focused()
    page.keyboard.press("Enter")
    expect(field(page, "find")).to_be_focused()
    page.keyboard.type("agent0")
    page.keyboard.press("Enter")
    results = dialog.locator("legend").first
    expect(results).to_contain_text("9 found")
    expect(results).to_be_focused()
    # From the results, Tab leads into them and then to the roles; arrows choose.
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(choice(page, "principal", "agent02")).to_be_checked()
    page.keyboard.press("Tab")
    for _step in range(dialog.locator("[name=role]").count()):
        page.keyboard.press("ArrowDown")
        if choice(page, "role", "ReadOnlyAdmin").is_checked():
            break
    # Enter goes on from here; it does not search again.
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("heading")).to_have_text("Give agent02 the role ReadOnlyAdmin on helpdesk?")
    expect(dialog).to_contain_text("it is an administrator role")
    expect(page.locator("#confirm-yes")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    theirs = permission(page, "agent02", "ReadOnlyAdmin")
    expect(theirs).to_contain_text("Given here")
    expect(add).to_be_focused()
    remove = theirs.get_by_role("link", name="Remove")
    hand.press(remove)
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(remove).to_be_focused()
    page.keyboard.press("Enter")
    hand.press(page.locator("#confirm-yes"))
    expect(theirs).to_have_count(0)
    # The link is gone with its row: the next key goes on in the same tab.
    expect(page.locator("#tab-panel")).to_be_focused()


def test_what_is_missing_is_asked_for_and_nothing_that_was_chosen_is_lost(
    hotdesk: Hotdesk, open_page: OpenPage
) -> None:
    page = open_page("admin")
    open_permissions(page, "pools", pool_of(hotdesk))
    page.locator("#give-role").click()
    dialog = page.locator("#dialog")
    field(page, "find").fill("agent0")
    page.keyboard.press("Enter")
    expect(dialog.locator("legend").first).to_be_focused()
    choice(page, "principal", "agent03").check()
    page.locator("#preview").click()
    expect(dialog.get_by_role("alert")).to_be_focused()
    expect(dialog.get_by_role("alert")).to_have_text("Choose a user or group, and a role.")
    expect(choice(page, "principal", "agent03")).to_be_checked()
    choice(page, "role", "UserRole").check()
    page.locator("#preview").click()
    dialog.get_by_role("button", name="Back").click()
    expect(field(page, "find")).to_have_value("agent0")
    expect(choice(page, "principal", "agent03")).to_be_checked()
    expect(choice(page, "role", "UserRole")).to_be_checked()
    field(page, "find").fill("no such name")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("No user or group matches.")
    expect(choice(page, "role", "UserRole")).to_be_checked()


def test_an_inherited_role_names_where_it_was_given_and_leads_there(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    cluster = cluster_of(hotdesk)
    with given(hotdesk, f"/clusters/{cluster['id']}", "agent09", "HelpDeskLead"):
        page = open_page("admin")
        open_permissions(page, "pools", pool_of(hotdesk))
        inherited = permission(page, "agent09", "HelpDeskLead")
        expect(inherited.get_by_role("link", name="Remove")).to_have_count(0)
        inherited.get_by_role("link", name=cluster["name"], exact=True).click()
        page.wait_for_url(f"**/manage/clusters/{cluster['id']}/?tab=permissions")
        there = permission(page, "agent09", "HelpDeskLead")
        expect(there).to_contain_text("Given here")
        expect(there.get_by_role("link", name="Remove")).to_be_visible()
        of_system = permission(page, "admin", "SuperUser")
        expect(of_system.get_by_role("link", name="Remove")).to_have_count(0)
        of_system.get_by_role("link", name="System", exact=True).click()
        page.wait_for_url("**/manage/system/system/")
        expect(permission(page, "admin", "SuperUser")).to_contain_text("Given here")


def test_why_names_the_roles_that_say_so(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page("admin")
    pool = pool_of(hotdesk)
    open_permissions(page, "pools", pool)
    page.locator("#why").click()
    dialog, name = page.locator("#dialog"), field(page, "user")
    expect(name).to_be_focused()
    page.keyboard.type("agent99")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("There is no such user.")
    expect(name).to_have_value("agent99")
    expect(name).to_be_focused()
    name.fill("agent07")
    page.keyboard.press("Enter")
    answer = dialog.get_by_role("heading", name="What agent07 may do on helpdesk")
    expect(answer).to_be_focused()
    uses = dialog.get_by_role("row").filter(has_text="take a desktop from it")
    expect(uses).to_contain_text("Yes")
    expect(uses).to_contain_text("UserRole, given to the group help desk on helpdesk")
    settings = dialog.get_by_role("row").filter(has_text="Change settings")
    expect(settings).to_contain_text("No role allows it.")
    page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_focused()
    # At the row of a person the name is known already.
    permission(page, "admin", "SuperUser").get_by_role("link", name="Why?").click()
    expect(name).to_have_value("admin")
    expect(dialog.get_by_role("row").filter(has_text="Create pools")).to_contain_text("SuperUser, given on System")


def test_who_only_assigns_users_is_offered_the_roles_of_users(
    hotdesk: Hotdesk, open_page: OpenPage, people: None
) -> None:
    pool, cluster = pool_of(hotdesk), cluster_of(hotdesk)["id"]
    with (
        given(hotdesk, f"/manage/pools/{pool}", "keeper", "VmPoolAdmin"),
        given(hotdesk, f"/clusters/{cluster}", "keeper", "ReadOnlyAdmin"),
    ):
        page = open_page("keeper", password=LONG_PASSWORD)
        open_permissions(page, "clusters", cluster)
        expect(permission(page, "Ada Keeper", "ReadOnlyAdmin")).to_contain_text("Given here")
        expect(page.locator("#why")).to_be_visible()
        expect(page.locator("#give-role")).to_have_count(0)
        expect(page.get_by_role("link", name="Remove")).to_have_count(0)
        open_permissions(page, "pools", pool)
        # Not even the own role, which is more than a user's.
        expect(permission(page, "Ada Keeper", "VmPoolAdmin").get_by_role("link", name="Remove")).to_have_count(0)
        expect(permission(page, "help desk", "UserRole").get_by_role("link", name="Remove")).to_be_visible()
        page.locator("#give-role").click()
        roles = page.locator("#dialog label").filter(has=page.locator("[name=role]"))
        expect(roles).to_have_count(1)
        expect(roles).to_contain_text("UserRole")
        expect(roles.locator("[name=role]")).to_be_checked()


def test_a_role_is_composed_and_a_built_in_one_stays(open_page: OpenPage) -> None:
    page = open_page("admin")
    page.goto("/manage/roles/")
    page.locator("#do-new").click()
    field(page, "name").fill("Night shift")
    field(page, "description").fill("Uses pools at night.")
    page.get_by_label("See a pool, take a desktop from it and use it").check()
    page.get_by_label("See who waits and who has which desktop").check()
    page.locator("#save").click()
    row(page, "Night shift").click()
    details = page.locator("#details")
    expect(details.get_by_role("listitem")).to_have_count(2)
    page.locator("#do-edit").click()
    expect(page.get_by_label("See who waits and who has which desktop")).to_be_checked()
    page.get_by_label("See who waits and who has which desktop").uncheck()
    page.locator("#save").click()
    expect(details.get_by_role("listitem")).to_have_text(["See a pool, take a desktop from it and use it"])
    page.locator("#do-remove").click()
    page.locator("#confirm-yes").click()
    expect(row(page, "Night shift")).to_have_count(0)
    row(page, "UserRole").click()
    expect(details.get_by_role("heading", name="UserRole")).to_be_visible()
    edit = page.locator("#do-edit")
    expect(edit).to_have_attribute("aria-disabled", "true")
    edit.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#why-do-edit")).to_be_visible()
    expect(page.locator("#why-do-edit")).to_contain_text("This role is built in and stays as it is.")
    expect(page.locator("#do-remove")).to_have_attribute("aria-disabled", "true")


def test_without_a_script_a_role_is_given_and_taken(hotdesk: Hotdesk, open_page: OpenPage, people: None) -> None:
    page = open_page("admin", scripts=False)
    open_permissions(page, "pools", pool_of(hotdesk))
    page.locator("#give-role").click()
    page.locator("#find").fill("minji")
    page.keyboard.press("Enter")
    expect(choice(page, "principal", "Minji Park")).to_be_checked()
    choice(page, "role", "UserRole").check()
    page.locator("#preview").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Give Minji Park the role UserRole on helpdesk?")
    page.locator("#confirm-yes").click()
    # Back in the tab from where it began.
    page.wait_for_url("**/manage/pools/*/?tab=permissions")
    mine = permission(page, "Minji Park", "UserRole")
    expect(mine).to_contain_text("Given here")
    mine.get_by_role("link", name="Why?").click()
    expect(page.locator("#user")).to_have_value("minji")
    expect(page.get_by_text("UserRole, given on helpdesk by admin")).to_be_visible()
    page.get_by_role("link", name="Close").click()
    mine.get_by_role("link", name="Remove").click()
    page.get_by_role("link", name="Cancel").click()
    expect(mine).to_be_visible()
    mine.get_by_role("link", name="Remove").click()
    page.locator("#confirm-yes").click()
    page.wait_for_url("**/manage/pools/*/?tab=permissions")
    expect(mine).to_have_count(0)


def test_my_access_says_what_i_may_do_and_who_gave_it(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    with given(hotdesk, f"/clusters/{cluster_of(hotdesk)['id']}", "agent10", "HelpDeskLead"):
        page = open_page("agent10")
        page.locator("#account > summary").click()
        page.get_by_role("link", name="My access").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("My access")
        through_group = page.get_by_role("region", name="UserRole on helpdesk")
        expect(through_group).to_contain_text("See a pool, take a desktop from it and use it")
        expect(through_group).to_contain_text("Through the group help desk · Given by Hotdesk")
        own = page.get_by_role("region", name="HelpDeskLead on Default")
        expect(own).to_contain_text("Given by admin")


def test_an_event_says_what_was_changed(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    pool = pool_of(hotdesk)
    comment = hotdesk.admin.get(f"/manage/pools/{pool}")["comment"]
    hotdesk.admin.http.patch(f"/manage/pools/{pool}", json={"comment": "For the night"})
    page = open_page("admin")
    page.goto("/manage/events/?q=kind = pool.changed")
    page.locator("#rows th[scope=row] a").first.click()
    change = page.locator("#details").get_by_role("row").filter(has_text="For the night")
    expect(change.get_by_role("rowheader")).to_have_text("comment")
    hotdesk.admin.http.patch(f"/manage/pools/{pool}", json={"comment": comment})
