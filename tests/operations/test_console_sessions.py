"""Consoles in browsers: who may open them, who is asked first, and what ends them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from broker import grants
from broker.errors import Conflict, Denied, NotFound
from broker.models import ConsoleSession, ConsoleTicket, DesktopRequest, Event, VirtualMachine
from broker.models.console_sessions import STILL_SHOWN
from broker.operations import console_doors, console_sessions, deadlines, desktops, users, vms
from broker.operations.console_doors import Wanted
from broker.rules.console_sessions import MOST_OF_USER
from broker.states import ConsoleEnd, ConsoleKind
from tests.world import World


@pytest.fixture
def wish(world: World) -> DesktopRequest:
    pool = world.pool(1)
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    return DesktopRequest.objects.select_related("user", "pool", "vm").get(pk=wish.pk)


@pytest.fixture
def watcher(world: World) -> Any:
    return world.superuser()


def wanted(kind: str = ConsoleKind.GRAPHICAL, **more: Any) -> Wanted:
    return Wanted(kind=kind, login="login", **more)


def open_own(wish: DesktopRequest, **more: Any) -> ConsoleSession:
    return console_doors.open_own(request=wish, wanted=wanted(**more))


def open_of(vm: Any, by: Any, **more: Any) -> ConsoleSession:
    return console_doors.open_administered(vm=vm, by=by, wanted=wanted(**more))


def now(session: ConsoleSession) -> ConsoleSession:
    return ConsoleSession.objects.select_related("vm").get(pk=session.pk)


def test_a_console_is_for_one_user_one_login_and_one_run(world: World, wish: DesktopRequest) -> None:
    session = open_own(wish)
    world.settle()
    assert session.ticket is not None and ConsoleTicket.objects.get().set_at is not None
    admission = console_doors.admit(user=wish.user, login="login", session_id=session.pk)
    assert (admission.address, admission.vm_id) == ("127.0.0.1", wish.vm_id)
    for user, login in ((world.person("other"), "login"), (wish.user, "another")):
        with pytest.raises(NotFound):
            console_doors.admit(user=user, login=login, session_id=session.pk)
    ConsoleSession.objects.update(expires_at=timezone.now())
    with pytest.raises(Conflict):
        console_doors.admit(user=wish.user, login="login", session_id=session.pk)
    ConsoleSession.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    desktops.give_back(request=wish)
    with pytest.raises(Conflict):
        console_doors.admit(user=wish.user, login="login", session_id=session.pk)
    assert console_sessions.keep([session.pk], seen=True) == set()


def test_what_is_not_ready_is_not_opened(world: World, wish: DesktopRequest) -> None:
    desktops.give_back(request=wish)
    with pytest.raises(Conflict) as refusal:
        open_own(wish)
    assert refusal.value.code == "NOT_READY"
    with pytest.raises(Conflict):
        open_of(wish.vm, world.superuser())


@pytest.mark.req("R002", "R146")
def test_who_loses_the_permission_loses_the_console(world: World, wish: DesktopRequest) -> None:
    session = open_own(wish)
    world.settle()
    grants.revoke(role="UserRole", to=wish.user, on=wish.pool)
    world.settle()
    assert now(session).reason == ConsoleEnd.REVOKED
    with pytest.raises((Denied, Conflict)):
        open_own(wish)


def test_a_second_window_and_a_second_person_are_asked_first(wish: DesktopRequest, watcher: Any) -> None:
    first = open_own(wish)
    with pytest.raises(Conflict, match="another window") as refusal:
        open_own(wish)
    assert refusal.value.code == "CONSOLE_IN_USE"
    with pytest.raises(Conflict, match="Console in use by agent01: take over"):
        open_of(wish.vm, watcher)
    assert now(first).ended_at is None and ConsoleTicket.objects.count() == 1
    second = open_of(wish.vm, watcher, take_over=True)
    assert (now(first).reason, now(first).ended_by) == (ConsoleEnd.TAKEN_OVER, watcher)
    assert second.is_watching
    assert Event.objects.get(kind="console.taken_over").facts["holder"] == "agent01"
    assert Event.objects.get(kind="console.watched").facts["holder"] == "agent01"


def test_the_same_page_comes_back_without_a_question(wish: DesktopRequest) -> None:
    first = open_own(wish)
    second = open_own(wish, replaces=first.pk)
    assert now(first).reason == ConsoleEnd.REOPENED
    assert not Event.objects.filter(kind="console.taken_over").exists()
    with pytest.raises(Conflict):
        open_own(wish, replaces=uuid4())
    assert now(second).ended_at is None


def test_a_viewer_outside_of_browsers_is_asked_about_as_well(wish: DesktopRequest, watcher: Any) -> None:
    deadlines.record_viewers(vm_id=wish.vm_id, viewers=1)
    with pytest.raises(Conflict, match="open in a viewer"):
        open_own(wish)
    with pytest.raises(Conflict, match="in use by agent01"):
        open_of(wish.vm, watcher)
    open_own(wish, kind=ConsoleKind.TEXT)  # which is another line
    open_own(wish, take_over=True)


def test_the_viewer_of_a_page_that_has_just_left_is_nobody_to_ask_about(wish: DesktopRequest, watcher: Any) -> None:
    page = open_own(wish)
    deadlines.record_viewers(vm_id=wish.vm_id, viewers=1)
    console_sessions.close(user=wish.user, session_id=page.pk)
    # The host is a little late to say that nobody looks any more.
    open_own(wish)
    ConsoleSession.objects.update(ended_at=timezone.now() - STILL_SHOWN - timedelta(seconds=1))
    with pytest.raises(Conflict, match="open in a viewer"):
        open_own(wish)


@pytest.mark.req("R262")
def test_a_text_console_has_one_holder(wish: DesktopRequest, watcher: Any) -> None:
    first = open_own(wish, kind=ConsoleKind.TEXT)
    assert first.ticket is None
    with pytest.raises(Conflict, match="in use by agent01"):
        open_of(wish.vm, watcher, kind=ConsoleKind.TEXT)
    open_own(wish)  # the screen is another console
    open_of(wish.vm, watcher, kind=ConsoleKind.TEXT, take_over=True)
    assert now(first).reason == ConsoleEnd.TAKEN_OVER
    assert Event.objects.filter(kind="console.taken_over").count() == 1


def test_to_look_at_a_desktop_takes_a_right_of_its_own(world: World, wish: DesktopRequest) -> None:
    pool_admin = world.person("pooladmin", wish.pool, role="VmPoolAdmin")
    with pytest.raises(Denied) as refusal:
        open_of(wish.vm, pool_admin)
    assert any("Look at desktops" in text for text in refusal.value.advice)
    desktops.give_back(request=wish)
    world.settle()
    vms.start(vm=VirtualMachine.objects.get(), by=pool_admin)
    world.settle()
    session = open_of(VirtualMachine.objects.get(), pool_admin)
    assert not session.is_watching and session.request is None


def test_when_a_watcher_is_done_the_password_is_worthless(world: World, wish: DesktopRequest, watcher: Any) -> None:
    session = open_of(wish.vm, watcher)
    world.settle()
    assert world.driver.domain_table[wish.vm_id].ticket is not None
    console_sessions.close(user=watcher, session_id=session.pk)
    world.settle()
    assert world.driver.domain_table[wish.vm_id].ticket is None
    assert ConsoleTicket.objects.get().closed_at is not None


def test_a_watcher_is_not_taken_for_its_user(wish: DesktopRequest, watcher: Any) -> None:
    session = open_of(wish.vm, watcher)
    deadlines.record_viewers(vm_id=wish.vm_id, viewers=1)
    wish.refresh_from_db()
    assert wish.connected_at is None
    console_sessions.close(user=watcher, session_id=session.pk)
    deadlines.record_viewers(vm_id=wish.vm_id, viewers=1)
    wish.refresh_from_db()
    assert wish.connected_at is not None


def test_signing_out_and_a_new_password_end_it(world: World, wish: DesktopRequest) -> None:
    first = open_own(wish)
    console_sessions.end_login(login="login")
    second = open_own(wish)
    users.change(user=wish.user, changes={}, password="another long one", by=None)
    assert [now(one).reason for one in (first, second)] == [ConsoleEnd.SIGNED_OUT] * 2


def test_the_sweep_ends_what_nobody_looks_at(world: World, wish: DesktopRequest) -> None:
    seen, lost = open_own(wish), open_own(wish, kind=ConsoleKind.TEXT)
    ConsoleSession.objects.filter(pk=lost.pk).update(seen_at=timezone.now() - timedelta(minutes=1))
    world.sweep()
    assert (now(seen).ended_at, now(lost).reason) == (None, ConsoleEnd.LOST)
    desktops.give_back(request=wish)
    world.sweep()
    assert now(seen).reason == ConsoleEnd.OVER


def test_one_person_has_only_so_many(world: World) -> None:
    pool = world.pool(MOST_OF_USER + 1, max_vms_per_user=MOST_OF_USER + 1)
    person = world.person("busy", pool)
    wishes = [world.take(person, pool) for _ in range(MOST_OF_USER + 1)]
    world.settle()
    for wish in wishes[:-1]:
        open_own(wish)
    with pytest.raises(Conflict) as refusal:
        open_own(wishes[-1])
    assert refusal.value.code == "TOO_MANY_CONSOLES"
