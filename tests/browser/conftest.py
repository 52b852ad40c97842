"""A real browser that notices every console error and every request that leaves the origin."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.running import PASSWORD, Hotdesk

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a test brings about: a status it asks for, or a network that it takes away.
ON_PURPOSE = ("the server responded with a status of", "net::ERR_INTERNET_DISCONNECTED")


@dataclass
class Faults:
    """What must not happen on any page."""

    origin: str
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in ON_PURPOSE):
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        # The same machine by its name: keys are bound to names, and to no addresses.
        url = request.url.replace("//localhost:", "//127.0.0.1:")
        inside = url.startswith((self.origin, self.origin.replace("http:", "ws:"), "data:", "blob:"))
        if not inside:
            self.found.append(f"left the origin: {request.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with the module: the loop that it runs would disturb tests that follow.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def faults(hotdesk: Hotdesk) -> Iterator[Faults]:
    faults = Faults(hotdesk.url)
    yield faults
    assert faults.found == []


# A page that is being made beside guests and other tests takes its time on two cores.
PATIENCE_MS = 120_000
expect.set_options(timeout=60_000)
SOON_MS = 10_000  # what is told by the live connection is seen when it happens

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def sign_ins() -> dict[str, list[Any]]:
    """Of each person, session cookies that no page uses now: to sign in takes longer than many a test."""
    return defaultdict(list)


@pytest.fixture
def open_page(
    browser: Browser, hotdesk: Hotdesk, faults: Faults, sign_ins: dict[str, list[Any]]
) -> Iterator[OpenPage]:
    """A page of a fresh browser, as a person who is signed in, or as nobody.

    `worker`: with the service worker of Hotdesk. The others do without: tests change languages from one page to the
    next, each language has a worker of its own, and after such a change a page now and then never came.
    """
    contexts: list[tuple[BrowserContext, str | None]] = []

    def opened(
        name: str | None = None,
        *,
        password: str = PASSWORD,
        width: int = 1280,
        scheme: str = "light",
        locale: str = "en",
        scripts: bool = True,
        host: str = "127.0.0.1",
        worker: bool = False,
    ) -> Page:
        context = browser.new_context(
            base_url=hotdesk.url.replace("127.0.0.1", host),
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale=locale,
            accept_downloads=True,
            java_script_enabled=scripts,
            service_workers="allow" if worker else "block",
        )
        here = host == "127.0.0.1" and password == PASSWORD
        contexts.append((context, name if here else None))
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        faults.watch(page)
        if name is not None:
            if here and sign_ins[name]:
                context.add_cookies([sign_ins[name].pop()])
                page.goto("/")
            if urlsplit(page.url).path != "/":  # what was kept may have been signed out
                sign_in(page, name, password)
        return page

    yield opened
    for context, name in contexts:
        if name is not None:
            sign_ins[name] += [one for one in context.cookies() if one["name"] == "sessionid"]
        context.close()


def only_told(page: Page) -> None:
    """What its panel shows from now on comes by the live connection: what it asks for by itself is not answered."""
    page.route("**/panel/*", lambda _route: None)


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.locator("main button[type=submit], main form button").first.click()
    page.wait_for_url("**/")


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Screenshots for people to look at."""
    folder = Path(__file__).resolve().parent.parent.parent / "test-results"
    folder.mkdir(exist_ok=True)
    return folder
