"""The page Account in a real browser: choices follow the person, and a token is seen once."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_accessibility import RULES
from tests.running import Hotdesk


def test_the_theme_follows_the_person_into_another_browser(open_page: OpenPage) -> None:
    page = open_page("visitor")
    with page.expect_response("**/account/") as kept:
        page.locator("#theme-switch").click()
    assert kept.value.status == 204
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    other = open_page("visitor", scheme="dark")
    expect(other.locator("html")).to_have_attribute("data-theme", "light")
    other.goto("/account/")
    expect(other.get_by_label("Theme", exact=True)).to_have_value("light")
    other.get_by_label("Theme", exact=True).select_option("")
    other.get_by_role("button", name="Save").click()
    expect(other.locator("#toasts, .toast").first).to_contain_text("Your choices were saved.")
    expect(other.locator("html")).not_to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_token_is_made_seen_once_and_revoked(hotdesk: Hotdesk, open_page: OpenPage, scripts: bool) -> None:
    page = open_page("visitor", width=320, scripts=scripts)
    page.goto("/account/")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_label("What it is for")).to_have_attribute("aria-invalid", "true")
    if scripts:
        results = Axe().run(page, options=RULES)
        assert results.violations_count == 0, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_label("What it is for").fill("nightly")
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator("#secret").text_content()
    if scripts:
        expect(page.locator("#made")).to_be_focused()
    asked = {"Authorization": f"Bearer {secret}"}
    assert page.request.get("/api/v1/me", headers=asked).status == 200
    page.goto("/account/")
    expect(page.locator("#secret")).to_have_count(0)
    page.get_by_role("button", name="Revoke nightly").press("Enter")
    if scripts:
        page.locator("#confirm-yes").click()
    expect(page.get_by_text("nightly was revoked")).to_be_visible()
    assert page.request.get("/api/v1/me", headers=asked).status == 401
