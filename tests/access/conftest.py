"""The world of these tests is that of the API's: rolled back, not emptied."""

from types import SimpleNamespace

import pytest

from tests.api.conftest import pool, world

__all__ = ["pool", "world"]


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted by the minute is counted in one and the same."""
    monkeypatch.setattr("portal.limits.time", SimpleNamespace(time=lambda: 60.0))
