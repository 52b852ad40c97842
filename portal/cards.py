"""The pools on the home page: what everybody is told alike is looked up once a moment, and drawn once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.cache import caches
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from broker.rules import waits
from broker.states import PoolType
from portal import requests

MOST_DRAWN = 2000  # of about 1.5 kB each


@dataclass(frozen=True)
class Standing:
    """What a pool looks like this moment to everybody alike, as `requests.look_ahead` finds it."""

    size: int
    free: int
    ready: int
    queue_length: int
    hosts_up: int
    wait: waits.Wait | None

    @property
    def free_percent(self) -> int:
        return round(100 * self.free / self.size) if self.size else 0

    @property
    def wait_words(self) -> str:
        return waits.in_words(self.wait) if self.wait and self.wait.high else ""


@dataclass(frozen=True)
class Card:
    """All that a card depends on, but for the language and a notice. `mine` counts what one has or waits for."""

    pk: UUID
    name: str
    description: str
    template: str
    version: int | None
    type: str
    max_vms_per_user: int
    mine: int
    now: Standing

    @property
    def type_word(self) -> str:
        return str(PoolType(self.type).label)

    @property
    def at_limit(self) -> bool:
        return self.mine >= self.max_vms_per_user


def cards_of(pools: Any, mine: Mapping[UUID, int]) -> list[Card]:
    """The cards of these pools, of which somebody has or waits for so many desktops, by pool."""
    rows = pools.select_related("template", "template_version").only(
        *("name", "description", "type", "max_vms_per_user", "cluster", "max_session_minutes", "extension_minutes"),
        *("template__name", "template_version__number"),
    )
    found = list(rows)
    standings = _standings(found)
    return [
        Card(
            pk=pool.pk,
            name=pool.name,
            description=pool.description,
            template=pool.template.name,
            version=pool.template_version.number if pool.template_version else None,
            type=pool.type,
            max_vms_per_user=pool.max_vms_per_user,
            mine=mine.get(pool.pk, 0),
            now=standings[_key(pool)],
        )
        for pool in found
    ]


@lru_cache(maxsize=MOST_DRAWN)
def drawn(card: Card, maintenance: str, language: str) -> SafeString:
    """A card in the language that is active; the same for everybody who is told the same, whoever they are."""
    return render_to_string("desktops/pool_card.html", {"card": card, "maintenance": maintenance})


def _standings(pools: Iterable[Any]) -> dict[str, Standing]:
    """By key, GLIMPSE_SECONDS old at most: the page asks again before anybody has read it."""
    glimpses = caches["glimpses"]
    known = glimpses.get_many([_key(pool) for pool in pools])
    unknown = [pool for pool in pools if _key(pool) not in known]
    requests.look_ahead(unknown, None)
    fresh = {
        _key(pool): Standing(pool.size, pool.free, pool.ready, pool.queue_length, pool.hosts_up, pool.wait)
        for pool in unknown
    }
    glimpses.set_many(fresh, requests.GLIMPSE_SECONDS)
    return known | fresh


def _key(pool: Any) -> str:
    return f"standing:{pool.pk}"
