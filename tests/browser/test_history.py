"""The history as people see it: accessible, in one column on phones, and in Korean."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import LOOKS, check
from tests.running import Hotdesk


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_the_history_is_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    pool = hotdesk.pool_named("helpdesk")["id"]
    desktop = hotdesk.person("agent05").take(pool)
    desktop.wait_for("ready")
    page = open_page("agent05", width=width, scheme=scheme, locale=locale)
    suffix = f"{width}-{scheme}-{locale}.png"
    for name, query in (
        ("live", ""),
        ("wrong", "?since=2026-13-45&until=2026-01-01"),
        ("nothing", "?until=2026-01-01"),
    ):
        page.goto(f"/history/{query}")
        check(page, width, pictures / f"history-{name}-{suffix}")
    desktop.return_and_wait()
    page.goto("/history/")
    check(page, width, pictures / f"history-{suffix}")
    page.locator(f'a[href="/desktops/{desktop.id}/"]').click()
    expect(page.locator("#panel")).to_be_visible()


def test_what_was_typed_stays_and_the_file_follows_the_filter(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    hotdesk.person("agent05").take(hotdesk.pool_named("helpdesk")["id"]).return_and_wait()
    page = open_page("agent05")
    page.goto("/history/?since=2026-13-45")
    expect(page.locator("#id_since")).to_have_value("2026-13-45")
    expect(page.locator("#id_since_error")).to_be_visible()
    page.locator("#id_since").fill("2026-01-01")
    page.locator("#id_state").select_option("returned")
    page.locator(".filter button").click()
    expect(page.locator("#id_since")).to_have_value("2026-01-01")
    expect(page.locator("#id_since_error")).to_have_count(0)
    rows = page.locator(".history tbody tr").count()
    with page.expect_download() as download:
        page.locator("#export").click()
    assert len(Path(download.value.path()).read_text("utf-8-sig").splitlines()) == rows + 1


def test_the_history_speaks_korean(open_page: OpenPage) -> None:
    page = open_page("agent05", locale="ko")
    page.goto("/history/")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("h1")).to_have_text("사용 기록")
