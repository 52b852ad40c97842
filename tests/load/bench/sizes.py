"""How much is measured: all of it, or a little, so that CI sees that every measurement works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """So many of everything; `rounds`: how often each short measurement is repeated."""

    takers: int
    clickers: int
    core: int
    lines: tuple[int, ...]
    pools: tuple[int, ...]
    many: tuple[int, ...]
    hosts: tuple[int, ...]
    storm: int
    storm_hosts: int
    listed_vms: int
    shown_pools: int
    watchers: int
    consoles: int
    guests: int
    rounds: int
    seconds: float


FULL = Size(
    takers=200,
    clickers=1000,
    core=2000,
    lines=(10, 100, 1_000, 10_000, 100_000),
    pools=(10, 100, 1_000, 5_000),
    many=(10, 100, 1_000, 10_000),
    hosts=(1, 4, 16, 64),
    storm=400,
    storm_hosts=20,
    listed_vms=10_000,
    shown_pools=100,
    watchers=2000,
    consoles=50,
    guests=1000,
    rounds=9,
    seconds=10.0,
)
SMALL = Size(
    takers=10,
    clickers=10,
    core=20,
    lines=(10, 40),
    pools=(10, 40),
    many=(10, 40),
    hosts=(1, 2),
    storm=6,
    storm_hosts=2,
    listed_vms=120,
    shown_pools=10,
    watchers=10,
    consoles=4,
    guests=3,
    rounds=2,
    seconds=0.5,
)
