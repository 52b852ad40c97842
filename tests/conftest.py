"""What all tests share. A world is a data center on a fake hypervisor; `stack` is the real thing."""

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.utils import translation

from tests.running import Hotdesk, running_hotdesk
from tests.world import World


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """Sign-ins that failed in another test are no reason to refuse one here."""
    caches["limits"].clear()


@pytest.fixture(autouse=True)
def nobodys_language() -> Iterator[None]:
    """A page that was read in one language says nothing about the next test."""
    yield
    translation.deactivate()


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)


@pytest.fixture(scope="session")
def hotdesk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotdesk]:
    """The real thing, once per run: libvirt, QEMU guests, Redis, web, workers, beat and watcher."""
    yield from running_hotdesk(tmp_path_factory.mktemp("demo"))
