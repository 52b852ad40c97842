"""One process that does what a web process does: it is sent acts, and answers each.

Only what people would be told is answered: whoever kills this process in the middle loses an answer, and no more.
"""

import logging
import random
import signal
from multiprocessing.connection import Connection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, OperationalError, close_old_connections, transaction
from django.db.models import Q
from django.utils import timezone

from broker import access, locks
from broker.drivers import hypervisor
from broker.errors import Refused
from broker.models import DesktopRequest, Pool, Role
from broker.operations import deadlines, desktops, permissions, pools, vms
from tests.load.crowd import OFFERS, Act
from tests.load.record import Answer

MOST_MEMBERS = 9  # of a pool that is grown
LEAVING = 10  # one in so many who have no desktop to give back leaves the line


def perform(act: Act) -> Answer:
    """Do it as portal does; a refusal is an answer, anything else that is raised ends the process."""
    asked_at = timezone.now()
    try:
        found: dict[str, Any] = VERBS[act.verb](act) or {}
    except Refused as refusal:
        found = {"refusal": refusal.code}
    except OperationalError as error:
        found = {"refusal": "DEADLOCK" if "deadlock" in str(error) else "BUSY"}
    except ObjectDoesNotExist:
        found = {"refusal": "NOT_FOUND"}
    except IntegrityError:
        found = {"refusal": "INTEGRITY"}
    values = {"key": act.key, "subject": act.subject, **found}
    return Answer(asked_at, timezone.now(), act.person, act.verb, act.pool, **values)


def take(act: Act) -> dict[str, Any]:
    user = _user(act)
    pool = access.get(user, Pool, _pool(act).pk, see="use_pool")
    wish, _new = desktops.take(user=user, pool=pool, idempotency_key=act.key)
    return {"request": wish.pk}


def give_back(act: Act) -> dict[str, Any]:
    """One of one's desktops; people seldom leave the line."""
    wish = _one_of(act, _wishes(act).exclude(state="queued"))
    if wish is None and act.lot % LEAVING == 0:
        wish = _one_of(act, _wishes(act))
    if wish is None:
        return {"refusal": "NOTHING"}
    desktops.give_back(request=wish, by=wish.user)
    return {"request": wish.pk}


def extend(act: Act) -> dict[str, Any]:
    wish = _one_of(act, _wishes(act).filter(state="ready"))
    if wish is None:
        return {"refusal": "NOTHING"}
    deadlines.extend(request=wish)
    return {"request": wish.pk}


def use(act: Act) -> dict[str, Any]:
    """Read what is on the desktop, and write on it; behind the VM's lock, so that it is still one's own."""
    wish = _one_of(act, _wishes(act).filter(state="ready"))
    if wish is None:
        return {"refusal": "NOTHING"}
    with transaction.atomic():
        wish, vm = locks.wish_with_vm(wish)
        if vm is None or vm.host is None or wish.state != "ready":
            return {"refusal": "NOTHING"}
        guest: Any = hypervisor.connect(vm.host.uri)
        try:
            found = guest.read_in_guest(vm.pk)
            guest.write_in_guest(vm.pk, str(wish.pk))
        except hypervisor.HypervisorError:  # it has crashed this moment, or its host is silent
            return {"refusal": "GUEST_AWAY"}
    return {"request": wish.pk, "met": tuple(sorted(set(found) - {str(wish.pk)}))}


def grow(act: Act) -> None:
    pool = _pool(act)
    if pool.vms.count() < MOST_MEMBERS:
        pools.change(pool=pool, changes={}, increase_by=1 + act.lot % 2, by=_user(act))


def shrink(act: Act) -> None:
    """Take a member out of its pool, and remove it."""
    members = list(_pool(act).vms.order_by("number"))
    if len(members) > 1:
        vm = members[act.lot % len(members)]
        vms.detach(vms=[vm], by=_user(act))
        vms.remove(vm=vm, by=_user(act))


def edit(act: Act) -> None:
    most = next(offer.most_per_user for offer in OFFERS if offer.name == act.pool)
    lots = random.Random(act.lot)
    changes = {"prestarted_vms": lots.randint(0, 2), "max_vms_per_user": lots.randint(1, most)}
    pools.change(pool=_pool(act), changes=changes, by=_user(act))


def release(act: Act) -> None:
    """Whatever failed too often is tried again."""
    for vm in _pool(act).vms.filter(hold="error"):
        vms.release(vm=vm, by=_user(act))


def grant(act: Act) -> None:
    role = Role.objects.get(name="UserRole")
    permissions.give(role=role, to=_subject(act), on=_pool(act), by=_user(act))


def revoke(act: Act) -> dict[str, Any]:
    """The right of somebody who has or wants a desktop now; or of a subject, whoever that is."""
    pool = _pool(act)
    given = access.given(pool).filter(role__name="UserRole", object_id=pool.pk)
    if act.subject is None:
        given = given.filter(user__in=DesktopRequest.objects.live().filter(pool=pool).values("user"))
    else:
        given = given.filter(Q(user__username=act.subject) | Q(group__name=act.subject))
    assignment = _one_of(act, given.order_by("pk"))
    if assignment is None:
        return {"refusal": "NOTHING"}
    permissions.take_away(assignment=assignment, on=pool, by=_user(act))
    return {"subject": str(assignment.principal)}


VERBS: dict[str, Any] = {
    "take": take,
    "use": use,
    "give back": give_back,
    "extend": extend,
    "grow": grow,
    "shrink": shrink,
    "edit": edit,
    "release": release,
    "grant": grant,
    "revoke": revoke,
}


def _user(act: Act) -> Any:
    return get_user_model().objects.get(username=act.person)


def _subject(act: Act) -> Any:
    group = Group.objects.filter(name=act.subject).first()
    return group or get_user_model().objects.get(username=act.subject)


def _pool(act: Act) -> Any:
    return Pool.objects.get(name=act.pool)


def _wishes(act: Act) -> Any:
    wishes = DesktopRequest.objects.live().filter(user__username=act.person)
    return wishes.select_related("user").order_by("pk")


def _one_of(act: Act, rows: Any) -> Any:
    found = list(rows)
    return found[act.lot % len(found)] if found else None


def work(pipe: Connection) -> None:
    """Until nobody is at the other end any more."""
    logging.disable(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it hears that, and ends it
    while True:
        try:
            act = pipe.recv()
        except EOFError:
            return
        close_old_connections()
        pipe.send(perform(act))
