"""What runs in the browser and is not ours: locked, served as it is, named with its licence; one can do without."""

import json
from pathlib import Path

import pytest
from django.test import Client

from portal import browser_packages
from portal.browser_packages import PACKAGES, ROOT

LOCK = json.loads((ROOT / "package-lock.json").read_text())["packages"]


def test_the_lock_names_checksums_and_no_place_to_fetch_from() -> None:
    locked = {name.removeprefix("node_modules/"): one for name, one in LOCK.items() if name}
    assert set(locked) == {package.name for package in PACKAGES}
    for one in locked.values():
        assert one["integrity"].startswith("sha512-") and "resolved" not in one


def test_exactly_the_folders_that_are_needed_are_served() -> None:
    served = dict(browser_packages.folders())
    assert set(served) == {"spice-html5", "novnc/core", "novnc/vendor", "xterm/lib", "xterm/css", "xterm-addon-fit"}


@pytest.mark.django_db
def test_every_package_is_named_with_version_and_licence() -> None:
    text = Client().get("/about/").content.decode()
    for package in PACKAGES:
        locked = LOCK[f"node_modules/{package.name}"]
        assert f"{package.name} {locked['version']}" in text and locked["license"] in text
        assert package.source in text


def test_without_them_a_check_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert browser_packages.check() == []
    monkeypatch.setattr(browser_packages, "INSTALLED", tmp_path)
    assert browser_packages.folders() == []
    monkeypatch.setattr(browser_packages, "ARE_INSTALLED", False)
    [warning] = browser_packages.check()
    assert warning.hint == "Run: npm ci --ignore-scripts --omit=dev"
