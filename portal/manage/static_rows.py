"""Kinds whose few rows are no tables of the database: they are listed, found and sorted in memory."""

from collections.abc import Sequence
from typing import Any


class StaticRows:
    """Mix in before Resource. `all_rows` gives rows with a `pk` that is a text."""

    def all_rows(self) -> list[Any]:
        raise NotImplementedError

    def visible(self, user: Any) -> list[Any]:
        return self.all_rows() if self.offered(user) else []  # type: ignore[attr-defined]

    def among(self, user: Any, keys: Sequence[str]) -> list[Any]:
        return [row for row in self.visible(user) if row.pk in keys]

    def count(self, user: Any) -> int:
        return len(self.all_rows())
