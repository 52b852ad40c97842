"""What all tests share. A world is a data center on a fake hypervisor; `stack` is the real thing."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.core.cache import caches
from django.utils import translation

from broker import jobs, patience
from tests.help_desk import MONDAY, HelpDesk
from tests.running import Hotdesk, running_hotdesk
from tests.world import World


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """Sign-ins that failed in another test are no reason to refuse one here."""
    caches["limits"].clear()


@pytest.fixture(autouse=True)
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """That Redis was waited for in vain in another test says nothing about this one."""
    monkeypatch.setattr(patience, "_until", 0.0)
    monkeypatch.setattr(jobs, "_failed_at", None)


@pytest.fixture(autouse=True)
def nobodys_language() -> Iterator[None]:
    """A page that was read in one language says nothing about the next test."""
    yield
    translation.deactivate()


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(MONDAY, tick=False) as clock:
        yield clock


@pytest.fixture
def desk(world: World, clock: Any) -> HelpDesk:
    """The seed's example, whose time is the test's."""
    return HelpDesk(world, clock)


@pytest.fixture(scope="session")
def hotdesk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotdesk]:
    """The real thing, once per run: libvirt, QEMU guests, Redis, web, workers, beat and watcher."""
    yield from running_hotdesk(tmp_path_factory.mktemp("demo"))
