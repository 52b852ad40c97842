"""Sign in as people do: keys of a virtual authenticator, real codes, and every page of it accessible."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import CDPSession, Page, expect

from tests.browser.conftest import OpenPage, sign_in
from tests.browser.test_accessibility import LOOKS, check
from tests.running import Hotdesk

PASSWORD = "a pass phrase of the tests"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def account(hotdesk: Hotdesk, name: str) -> str:
    made = hotdesk.admin.http.post("/users", json={"username": name, "password": PASSWORD})
    assert made.status_code in (201, 409), made.text
    return name


def with_authenticator(page: Page) -> CDPSession:
    """What a laptop has built in."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return session


def confirm(page: Page, path: str) -> None:
    """To a page that asks for the password once more."""
    page.goto(path)
    if "/account/confirm/" in page.url:
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form button").first.click()
        page.wait_for_url(f"**{path}")


def add_key(page: Page, name: str, *, alone: bool) -> None:
    confirm(page, "/account/factors/keys/add/")
    page.locator("input[name=name]").fill(name)
    if alone:
        page.locator("input[name=passwordless]").check()
    page.locator("#add_key").click()
    page.wait_for_url(re.compile(r"/account/factors/(codes/)?$"))


def sign_out(page: Page) -> None:
    page.locator("#account summary").click()
    page.locator("#account .sign-out").click()
    page.wait_for_url("**/sign-in/")


def test_a_passkey_signs_in_without_a_password(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page(account(hotdesk, "keyholder"), password=PASSWORD, host="localhost")
    with_authenticator(page)
    add_key(page, "Laptop", alone=True)
    sign_out(page)
    page.locator("#key_sign_in").click()
    page.wait_for_url(re.compile(r"localhost:\d+/$"))
    expect(page.locator("#account")).to_contain_text("keyholder")
    # In another browser, whose authenticator knows no key of this site.
    stranger = open_page(host="localhost")
    with_authenticator(stranger)
    stranger.goto("/sign-in/")
    stranger.locator("#key_sign_in").click()
    expect(stranger.locator("[data-key-failed]")).to_be_visible()
    assert stranger.url.endswith("/sign-in/")


def test_a_key_is_a_second_factor_and_an_end_of_it(hotdesk: Hotdesk, open_page: OpenPage) -> None:
    page = open_page(account(hotdesk, "plugger"), password=PASSWORD, host="localhost")
    with_authenticator(page)
    add_key(page, "Stick", alone=False)
    sign_out(page)
    page.locator("input[name=username]").fill("plugger")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url("**/sign-in/code/")
    page.goto("/history/")  # is no way around it
    assert "/sign-in/" in page.url
    page.goto("/sign-in/code/")
    page.locator("#use_key").click()
    page.wait_for_url(re.compile(r"localhost:\d+/$"))
    page.goto("/account/factors/keys/")
    page.get_by_role("link", name="Remove Stick").click()
    if "/account/confirm/" in page.url:
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form button").first.click()
    page.get_by_role("button", name="Remove the key").click()
    page.wait_for_url("**/account/factors/keys/")
    sign_out(page)
    sign_in(page, "plugger", PASSWORD)
    expect(page.locator("#account")).to_contain_text("plugger")


STRANGERS = {
    "reset": "/account/password/reset/",
    "reset-sent": "/account/password/reset/sent/",
    "reset-done": "/account/password/reset/done/",
    "reset-failed": "/account/password/reset/1-set-password/",
    "inactive": "/account/inactive/",
    "cancelled": "/sign-in/cancelled/",
}


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
def test_every_page_of_it_is_accessible(
    hotdesk: Hotdesk, open_page: OpenPage, pictures: Path, width: int, scheme: str, locale: str
) -> None:
    look: dict[str, Any] = {"width": width, "scheme": scheme, "locale": locale, "host": "localhost"}
    name = account(hotdesk, f"looker-{locale}")

    def seen(page: Page, what: str, path: str = "") -> None:
        if path:
            page.goto(path)
        check(page, width, pictures / f"account-{what}-{width}-{scheme}-{locale}.png")

    stranger = open_page(**look)
    for what, path in STRANGERS.items():
        seen(stranger, what, path)
    page = open_page(name, password=PASSWORD, **look)
    with_authenticator(page)
    seen(page, "factors-none", "/account/factors/")
    seen(page, "devices", "/account/devices/")
    seen(page, "password", "/account/password/")
    seen(page, "confirm", "/account/confirm/")
    page.goto("/account/factors/app/")
    page.locator("input[name=password]").fill("wrong")
    page.locator("main form button").first.click()
    seen(page, "confirm-wrong")
    confirm(page, "/account/factors/app/")
    seen(page, "app")
    secret = page.locator("#authenticator_secret").inner_text()
    page.locator("input[name=code]").fill(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))
    page.locator("main form button").first.click()
    page.wait_for_url("**/account/factors/codes/")
    seen(page, "codes")
    code = page.locator(".codes code").first.inner_text()
    seen(page, "key-add", "/account/factors/keys/add/")
    add_key(page, "Laptop", alone=True)
    seen(page, "factors", "/account/factors/")
    seen(page, "keys", "/account/factors/keys/")
    for what, position in (("key-rename", 0), ("key-remove", 1)):
        page.goto("/account/factors/keys/")
        page.locator("main section .actions a").nth(position).click()
        seen(page, what)
    for what, path in (("codes-new", "codes/new/"), ("app-remove", "app/remove/")):
        seen(page, what, f"/account/factors/{path}")
    for what in ("code", "key"):
        seen(page, f"confirm-{what}", f"/account/confirm/{what}/")
    sign_out(page)
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url("**/sign-in/code/")
    page.locator("input[name=code]").fill("000000")
    page.locator("main form button").first.click()
    seen(page, "code-wrong")
    page.locator("input[name=code]").fill(code)
    page.locator("main form button").first.click()
    page.wait_for_url(re.compile(r"localhost:\d+/$"))
