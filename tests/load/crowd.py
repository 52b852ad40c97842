"""What people and administrators do, drawn from a seed: the same seed gives each of them the same acts."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

ADMINISTRATORS = ("admin1", "admin2")
CREW = "crew"  # the group through which every second person has the right to take desktops


@dataclass(frozen=True)
class Offer:
    """A pool of the race. `most_per_user`: the most that its limit will ever be."""

    name: str
    size: int
    prestarted_vms: int
    max_vms_per_user: int
    most_per_user: int


OFFERS = (
    Offer("busy", size=4, prestarted_vms=1, max_vms_per_user=1, most_per_user=1),
    Offer("twin", size=6, prestarted_vms=2, max_vms_per_user=2, most_per_user=3),
    Offer("small", size=1, prestarted_vms=0, max_vms_per_user=1, most_per_user=1),
)


@dataclass(frozen=True)
class Act:
    """One thing that somebody does, by so many processes at once. `lot` decides what is left to chance in it."""

    person: str
    verb: str
    pool: str
    lot: int
    clicks: int = 1
    key: str | None = None
    subject: str | None = None


def people(count: int) -> tuple[list[str], list[str]]:
    """Those who were given their rights themselves, and those of the crew."""
    names = [f"person{number:03}" for number in range(count)]
    return names[0::2], names[1::2]


def acts(person: str, seed: int) -> Iterator[Act]:
    """Take, click twice and four times, use, leave, return, ask for more time; without end."""
    lots = random.Random(f"{seed}/{person}")
    verbs = {"take": 8, "use": 6, "give back": 5, "extend": 1}
    number = 0
    while True:
        number += 1
        verb = lots.choices(list(verbs), list(verbs.values()))[0]
        pool = lots.choices(OFFERS, [5, 4, 2])[0].name
        clicks = lots.choices([1, 2, 4], [5, 3, 2])[0] if verb in ("take", "give back") else 1
        key = f"{person}/{number}" if verb == "take" and lots.random() < 0.5 else None
        yield Act(person, verb, pool, lots.getrandbits(32), clicks, key)


def orders(administrator: str, seed: int, directly: list[str]) -> Iterator[Act]:
    """Grow, shrink, edit, release, take rights away and give them back; without end."""
    lots = random.Random(f"{seed}/{administrator}")
    verbs = {"grow": 2, "shrink": 2, "edit": 2, "release": 2, "revoke": 6, "grant": 6}
    while True:
        verb = lots.choices(list(verbs), list(verbs.values()))[0]
        changed = [offer.name for offer in OFFERS if verb != "edit" or offer.most_per_user > 1]
        subject = lots.choice([*directly, CREW]) if verb in ("revoke", "grant") else None
        if verb == "revoke" and lots.random() < 0.5:
            subject = None  # whoever has something to lose
        yield Act(administrator, verb, lots.choice(changed), lots.getrandbits(32), subject=subject)
