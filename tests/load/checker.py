"""Every promise of DESIGN that a record breaks, in sentences. Nothing here knows rows, hosts or processes.

Times are compared with each other, never with a clock of ours: a record of a machine whose clock was moved has
`state_violations` only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.load.record import Answer, Layer, Record, Wish

LIVE = ("queued", "starting", "ready")
HOLDING = ("starting", "ready", "returning")
UNDER_WAY = ("creating", "resetting", "removing")
ENDINGS = ("desktop.ended", "desktop.cancelled", "desktop.revoked", "desktop.left_by_shift")
ONCE = (("desktop.asked",), ("desktop.returning",), ENDINGS)
DEFECTS = ("DEADLOCK", "INTEGRITY", "HTTP 500")  # whoever is told so has done nothing wrong
LAST_ACTS = 12


class Harm(StrEnum):
    """What a broken promise costs."""

    LOST = "lost"  # a wish, a place, or somebody's time
    DOUBLED = "doubled"  # what is one person's is another's, too
    ORPHANED = "orphaned"  # something is there that nobody owns, or does what nobody wants


@dataclass(frozen=True)
class Violation:
    """One broken promise, and the names of the people whose acts led to it."""

    promise: str
    harm: Harm
    sentence: str
    people: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.promise} {self.harm}: {self.sentence}"


def violations(record: Record) -> list[Violation]:
    """All of them; for a record whose times were told by one clock."""
    checks = (
        one_user_at_a_time,
        nobody_is_overtaken,
        limits_were_kept,
        layers_were_fresh,
        told_once,
        rights_were_kept,
    )
    return [*state_violations(record), *(found for check in checks for found in check(record))]


def state_violations(record: Record) -> list[Violation]:
    """Those that show in what is there at the end, whatever the clocks did."""
    checks = (
        restless,
        nobody_is_lost,
        nothing_is_shared,
        rows_and_hosts_agree,
        memory_was_there,
        rules_alone_refused,
    )
    return [found for check in checks for found in check(record)]


def counts(counted: Counter[Any]) -> str:
    """How often each was, the most frequent first, in words."""
    return ", ".join(f"{name} {count}" for name, count in counted.most_common()) or "none"


def schedule(violation: Violation, answers: Iterable[Answer]) -> list[Answer]:
    """The last things that the people concerned, or the administrators, asked for; merged by time."""
    theirs = [one for one in answers if one.person in violation.people or one.person.startswith("admin")]
    return sorted(theirs, key=lambda one: one.asked_at)[-LAST_ACTS:]


# -- what is there at the end -----------------------------------------------------------------------


def restless(record: Record) -> Iterator[Violation]:
    """At rest: nothing is on its way, nobody waits for what is there, and what was promised ahead runs."""
    free = {host.id: host.usable_mib for host in record.hosts}
    for machine in record.machines:
        if machine.host in free:
            free[machine.host] -= machine.memory_mib
    room = max(free.values(), default=0)
    off: Counter[UUID | None] = Counter()
    warm: Counter[UUID | None] = Counter()
    down = {machine.id for machine in record.machines if machine.run_mode is None}
    holders = {wish.vm for wish in record.wishes if wish.state in HOLDING}
    for machine in record.machines:
        starting = machine.run_mode is not None and not machine.ready
        if machine.hold in UNDER_WAY or starting:
            state = machine.hold or "starting"
            yield Violation("at rest", Harm.ORPHANED, f"{machine.name} is still {state}")
        warm[machine.pool] += machine.offered and machine.run_mode is not None
        off[machine.pool] += machine.offered and machine.run_mode is None and machine.memory_mib <= room
        if machine.ready and machine.hold is None and not machine.offered and machine.id not in holders:
            yield Violation("at rest", Harm.ORPHANED, f"{machine.name} runs for nobody, and is offered to nobody")
    for wish in record.wishes:
        if wish.state == "returning" or (wish.state == "starting" and wish.vm is not None):
            yield Violation("at rest", Harm.LOST, f"{_named(wish)} is still {wish.state}", _of(wish))
        elif wish.state == "ready" and wish.vm in down:
            yield Violation("at rest", Harm.ORPHANED, f"{_named(wish)} holds a desktop that does not run", _of(wish))
        elif wish.state in ("queued", "starting") and (off[wish.pool] or warm[wish.pool]):
            yield Violation("at rest", Harm.LOST, f"{_named(wish)} waits although a desktop is free", _of(wish))
    for line in record.lines:
        if warm[line.id] < line.prestarted_vms and off[line.id]:
            text = (
                f"{line.name} has {warm[line.id]} of {line.prestarted_vms} desktops running ahead, and room for more"
            )
            yield Violation("at rest", Harm.LOST, text)


def nobody_is_lost(record: Record) -> Iterator[Violation]:
    """I5: what was accepted is there, live or ended with a reason, and a repeat is the same. I6: or revoked."""
    wishes = {wish.id: wish for wish in record.wishes}
    by_key: dict[tuple[str, str, str], set[UUID]] = defaultdict(set)
    for answer in record.answers:
        if answer.verb != "take" or answer.request is None:
            continue
        if answer.request not in wishes:
            text = f"request {answer.request} of {answer.person} was accepted and does not exist"
            yield Violation("I5", Harm.LOST, text, frozenset({answer.person}))
        if answer.key is not None:
            by_key[answer.person, answer.pool, answer.key].add(answer.request)
    for (person, _pool, key), given in by_key.items():
        if len(given) > 1:
            text = f"{person} repeated the key {key} and was given {len(given)} requests: {_listed(given)}"
            yield Violation("I5", Harm.DOUBLED, text, frozenset({person}))
    for wish in record.wishes:
        if wish.state == "ended" and wish.end_reason is None:
            yield Violation("I5", Harm.LOST, f"{_named(wish)} ended without a reason", _of(wish))
        if wish.state in LIVE and not wish.permitted:
            text = f"{_named(wish)} is {wish.state} although its user may not use the pool"
            yield Violation("I6", Harm.DOUBLED, text, _of(wish))


def nothing_is_shared(record: Record) -> Iterator[Violation]:
    """I1, I3, I8: one VM, one holder; nobody over a limit; every address once. I4: nobody met another's work."""
    held: dict[UUID, list[Wish]] = defaultdict(list)
    live: dict[tuple[UUID | None, int], list[Wish]] = defaultdict(list)
    for wish in record.wishes:
        if wish.state in HOLDING and wish.vm is not None:
            held[wish.vm].append(wish)
        if wish.state in LIVE:
            live[wish.pool, wish.user].append(wish)
    for vm, wishes in held.items():
        if len(wishes) > 1:
            people = frozenset(wish.name for wish in wishes)
            yield Violation("I1", Harm.DOUBLED, f"VM {vm} serves {_listed(map(_named, wishes))}", people)
    most = {line.id: line.most_per_user for line in record.lines}
    for (pool, _user), wishes in live.items():
        if pool is not None and len(wishes) > most[pool]:
            text = f"{wishes[0].name} has {len(wishes)} live requests where {most[pool]} are allowed"
            yield Violation("I3", Harm.DOUBLED, f"{text}: {_listed(map(_named, wishes))}", _of(wishes[0]))
    for mac, count in Counter(record.macs).items():
        if count > 1:
            yield Violation("I8", Harm.DOUBLED, f"{count} network cards have the address {mac}")
    for answer in record.answers:
        if answer.met:
            text = f"{answer.person} met on the desktop of request {answer.request} what others wrote: {answer.met}"
            yield Violation("I4", Harm.DOUBLED, text, frozenset({answer.person}))


def rows_and_hosts_agree(record: Record) -> Iterator[Violation]:
    """What runs is what the rows want to run there, in that run; and every file is some row's."""
    rows = {machine.id: machine for machine in record.machines}
    for host in record.hosts:
        wanted = {
            row.id: row.run_number for row in record.machines if row.host == host.id and row.run_mode is not None
        }
        for vm, run in host.running.items():
            if vm not in wanted:
                name = rows[vm].name if vm in rows else f"domain {vm}"
                yield Violation("hosts", Harm.ORPHANED, f"{name} runs on {host.name}, and no row wants it there")
            elif run != wanted[vm]:
                text = f"{rows[vm].name} is in run {run} on {host.name}, and run {wanted[vm]} is wanted"
                yield Violation("hosts", Harm.ORPHANED, text)
        for vm in wanted.keys() - host.running.keys():
            yield Violation("hosts", Harm.LOST, f"{rows[vm].name} is wanted on {host.name}, and does not run there")
    owned = record.volumes.union(*(machine.files for machine in record.machines))
    for file in sorted(frozenset[str]().union(*(host.files for host in record.hosts)) - owned):
        yield Violation("I4", Harm.ORPHANED, f"the file {file} belongs to no row: a run that is over left it")


def memory_was_there(record: Record) -> Iterator[Violation]:
    """I7: no host was ever given more than it has."""
    for host in record.hosts:
        reserved = sum(machine.memory_mib for machine in record.machines if machine.host == host.id)
        for used, word in ((reserved, "reserved"), (host.most_used_mib or 0, "used at once")):
            if used > host.usable_mib:
                text = f"{used} MiB were {word} on {host.name}, which has {host.usable_mib} MiB"
                yield Violation("I7", Harm.DOUBLED, text)


def rules_alone_refused(record: Record) -> Iterator[Violation]:
    """Double clicks and bad moments show nobody an error."""
    for answer in record.answers:
        if answer.refusal in DEFECTS:
            yield Violation("errors", Harm.LOST, f"an error was shown: {answer}", frozenset({answer.person}))


# -- what happened in which order ---------------------------------------------------------------------


def one_user_at_a_time(record: Record) -> Iterator[Violation]:
    """I1 from the rows, and again from the events: nobody had a VM before the one before him had ended."""
    by_vm: dict[UUID, list[Wish]] = defaultdict(list)
    for wish in record.wishes:
        if wish.vm is not None and wish.assigned_at is not None:
            by_vm[wish.vm].append(wish)
    for vm, wishes in by_vm.items():
        wishes.sort(key=lambda wish: wish.assigned_at or wish.requested_at)
        for former, latter in pairwise(wishes):
            if former.ended_at is None or (latter.assigned_at and former.ended_at > latter.assigned_at):
                text = (
                    f"VM {vm} was given to {_named(latter)} at {latter.assigned_at} before {_named(former)} had ended"
                )
                yield Violation("I1", Harm.DOUBLED, text, _of(former) | _of(latter))
    wishes_by_id = {wish.id: wish for wish in record.wishes}
    holder: dict[UUID, UUID] = {}
    for event in record.events:
        if event.vm is None:
            continue
        if event.kind == "desktop.assigned" and event.request is not None:
            former_id = holder.get(event.vm, event.request)
            if former_id != event.request:
                pair = [wishes_by_id[key] for key in (former_id, event.request) if key in wishes_by_id]
                text = f"the events give VM {event.vm} to {_listed(map(_named, pair))} at the same time"
                yield Violation("I1", Harm.DOUBLED, text, frozenset(wish.name for wish in pair))
            holder[event.vm] = event.request
        elif event.kind in ("desktop.ended", "vm.start_failed"):
            holder.pop(event.vm, None)


@dataclass
class _Wait:
    """A time in which somebody wanted a desktop and had none; `again`: a start had failed."""

    wish: Wish
    since: datetime
    until: datetime | None = None
    again: bool = False

    def covers(self, at: datetime) -> bool:
        return self.since < at and (self.until is None or at < self.until)


def nobody_is_overtaken(record: Record) -> Iterator[Violation]:
    """I2: whoever had a later ticket got nothing while an earlier one waited.

    Whoever's start failed stands in line again from then on. The match that was looking at the line at that moment
    may not have seen that; the next one must.
    """
    waits = _waits(record)
    wishes = {wish.id: wish for wish in record.wishes}
    for event in record.events:
        served = wishes.get(event.request) if event.request else None
        if event.kind != "desktop.assigned" or served is None:
            continue
        earlier = [
            wait.wish
            for wait in waits[served.pool]
            if wait.wish.ticket < served.ticket and not wait.again and wait.covers(event.at)
        ]
        if earlier:
            text = f"{_named(served)} was served at {event.at} while {len(earlier)} waited who had asked earlier"
            people = _of(served).union(*map(_of, earlier))
            yield Violation("I2", Harm.LOST, f"{text}: {_listed(map(_named, earlier))}", people)
    for wait in (one for pool in waits.values() for one in pool if one.again):
        overtaking = {
            wish.allocation
            for wish in record.wishes
            if wish.pool == wait.wish.pool and wish.ticket > wait.wish.ticket
            if wish.assigned_at is not None and wait.covers(wish.assigned_at)
        }
        if len(overtaking) > 1:
            text = f"{_named(wait.wish)} was passed over {len(overtaking)} times after its start had failed"
            yield Violation("I2", Harm.LOST, text, _of(wait.wish))


def _waits(record: Record) -> dict[UUID | None, list[_Wait]]:
    """Who waited when, by pool."""
    waits = {wish.id: [_Wait(wish, wish.requested_at)] for wish in record.wishes}
    holder: dict[UUID, UUID] = {}
    for event in record.events:
        if event.kind == "desktop.assigned" and event.request in waits and event.vm is not None:
            waits[event.request][-1].until = event.at
            holder[event.vm] = event.request
        elif event.kind == "desktop.returning" and event.vm is not None:
            holder.pop(event.vm, None)
        elif event.kind == "vm.start_failed" and event.vm in holder:
            failed = waits[holder.pop(event.vm)]
            failed.append(_Wait(failed[0].wish, event.at, again=True))
    found: dict[UUID | None, list[_Wait]] = defaultdict(list)
    for wait in (one for of_wish in waits.values() for one in of_wish):
        wait.until = wait.until or wait.wish.returned_at or wait.wish.ended_at
        found[wait.wish.pool].append(wait)
    return found


def limits_were_kept(record: Record) -> Iterator[Violation]:
    """I3 at every moment: slots within the limit, and none of them twice at the same time."""
    most = {line.id: line.most_per_user for line in record.lines}
    by_slot: dict[tuple[UUID, int, int], list[Wish]] = defaultdict(list)
    for wish in record.wishes:
        if wish.pool is None:
            continue
        by_slot[wish.pool, wish.user, wish.slot].append(wish)
        if wish.slot > most[wish.pool]:
            text = f"{_named(wish)} has slot {wish.slot} where {most[wish.pool]} are allowed"
            yield Violation("I3", Harm.DOUBLED, text, _of(wish))
    for wishes in by_slot.values():
        wishes.sort(key=lambda wish: wish.requested_at)
        for former, latter in pairwise(wishes):
            over = former.returned_at or former.ended_at
            if over is None or over > latter.requested_at:
                text = f"{_named(latter)} was accepted while {_named(former)} had its slot"
                yield Violation("I3", Harm.DOUBLED, text, _of(latter))


def layers_were_fresh(record: Record) -> Iterator[Violation]:
    """I4: who got a desktop got a layer of his own, made after the one before was destroyed, and destroyed since."""
    layers = {layer.id: layer for layer in record.layers}
    used: dict[UUID, Wish] = {}
    for wish in record.wishes:
        if wish.ready_at is None:
            continue
        layer = layers.get(wish.certificate) if wish.certificate else None
        if layer is None or layer.made_at > wish.ready_at:
            yield Violation("I4", Harm.DOUBLED, f"{_named(wish)} was ready without a certified layer", _of(wish))
            continue
        if layer.id in used:
            text = f"{_named(wish)} and {_named(used[layer.id])} were given the same layer, of {_run(layer)}"
            yield Violation("I4", Harm.DOUBLED, text, _of(wish) | _of(used[layer.id]))
        used[layer.id] = wish
        if wish.state == "ended" and layer.destroyed_at is None:
            text = f"the layer of {_named(wish)}, of {_run(layer)}, was never seen to be destroyed"
            yield Violation("I4", Harm.ORPHANED, text, _of(wish))
    by_vm: dict[UUID, list[Layer]] = defaultdict(list)
    for layer in record.layers:
        if layer.vm is not None:
            by_vm[layer.vm].append(layer)
        if layer.before and (layer.before_destroyed_at is None or layer.before_destroyed_at > layer.made_at):
            text = f"the layer of {_run(layer)} was made before {layer.before} was seen to be destroyed"
            yield Violation("I4", Harm.DOUBLED, text)
    for of_vm in by_vm.values():
        for former, latter in pairwise(sorted(of_vm, key=lambda layer: layer.run_number)):
            if former.destroyed_at is None or former.destroyed_at > latter.made_at:
                text = f"the layer of {_run(latter)} was made while that of run {former.run_number} was there"
                yield Violation("I4", Harm.DOUBLED, text)
    destroyed = {layer.file: layer.destroyed_at for layer in record.layers if layer.destroyed_at is not None}
    for event in record.events:
        if event.kind == "orphan.layer" and event.name in destroyed and destroyed[event.name] < event.at:
            text = f"{event.name} was found after it was said to be destroyed"
            yield Violation("I4", Harm.DOUBLED, text)


def told_once(record: Record) -> Iterator[Violation]:
    """The events tell each request's life once: it was asked for once, came back once, and ended once."""
    told: dict[UUID, Counter[str]] = defaultdict(Counter)
    for event in record.events:
        if event.request is not None:
            told[event.request][event.kind] += 1
    for wish in record.wishes:
        for kinds in ONCE:
            count = sum(told[wish.id][kind] for kind in kinds)
            due = kinds != ("desktop.returning",) or wish.returned_at is not None
            due = due and (kinds != ENDINGS or (wish.state == "ended" and wish.pool is not None))
            if count != due:
                text = f"the events tell {count} times, and not {int(due)} times, of {_named(wish)}: {_listed(kinds)}"
                yield Violation("events", Harm.LOST, text, _of(wish))


def rights_were_kept(record: Record) -> Iterator[Violation]:
    """I6: who asked after his right was gone, and before it was given back, got nothing."""
    changes: dict[tuple[str | None, str], list[Answer]] = defaultdict(list)
    for answer in record.answers:
        if answer.verb in ("grant", "revoke") and answer.refusal is None:
            changes[answer.subject, answer.pool].append(answer)
    wishes = {wish.id: wish for wish in record.wishes}
    for answer in record.answers:
        wish = wishes.get(answer.request) if answer.verb == "take" and answer.request else None
        if wish is None or wish.requested_at < answer.asked_at:  # refused, or told of an earlier one again
            continue
        of_person = changes[answer.person, answer.pool]
        gone = [one for one in of_person if one.verb == "revoke" and one.told_at < answer.asked_at]
        last = max(gone, key=lambda one: one.asked_at, default=None)
        if last is None:
            continue
        given = [one for one in of_person if one.verb == "grant" and one.asked_at < answer.told_at]
        if all(one.told_at < last.asked_at for one in given):
            text = f"{_named(wish)} was accepted although the right to it was gone since {last.told_at}"
            yield Violation("I6", Harm.DOUBLED, text, _of(wish))


# -- words --------------------------------------------------------------------------------------------


def _named(wish: Wish) -> str:
    return f"request {wish.id} of {wish.name} (ticket {wish.ticket})"


def _of(wish: Wish) -> frozenset[str]:
    return frozenset({wish.name})


def _run(layer: Layer) -> str:
    return f"run {layer.run_number} of {layer.vm_name}"


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))
