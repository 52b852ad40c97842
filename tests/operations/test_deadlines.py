"""A desktop's time under time travel: holds, limits, warnings, one extension, and who gets it next."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from broker import config
from broker.drivers.hypervisor import HostUnreachable
from broker.errors import Conflict, Invalid
from broker.loops import host_health
from broker.models import DesktopRequest, Event, Host, Pool
from broker.operations import deadlines, desktops, mails, pools
from broker.states import EndReason, HostStatus
from tests.world import World

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


class Day:
    """A world whose time passes in minutes, with beat looking every minute as it does every few seconds."""

    def __init__(self, world: World, clock: Any) -> None:
        self.world, self.clock = world, clock

    def pass_minutes(self, minutes: float) -> None:
        self.clock.shift(timedelta(minutes=minutes))
        self.world.keep_time()

    def look(self, wish: DesktopRequest, viewers: int) -> None:
        """Somebody opens or closes viewers, and the host tells of it."""
        wish.refresh_from_db()
        self.world.driver.looking[wish.vm_id] = viewers
        deadlines.look_at_display_on_host(vm_id=wish.vm_id)


@pytest.fixture
def day(world: World, clock: Any) -> Day:
    return Day(world, clock)


def seen(wish: DesktopRequest) -> tuple[str, str | None, str | None]:
    wish.refresh_from_db()
    return wish.state, wish.end_reason, wish.ending


def waiting_one(day: Day, pool: Pool) -> tuple[DesktopRequest, DesktopRequest]:
    """Somebody who had to wait for the only desktop and has it now, and the next in line."""
    first, second, third = (day.world.take(person, pool) for person in day.world.people(3, pool))
    day.world.settle()
    desktops.give_back(request=first)
    day.world.settle()
    assert seen(second) == ("ready", None, "hold")
    return second, third


def connected(day: Day, pool: Pool, name: str = "agent01") -> DesktopRequest:
    wish = day.world.take(day.world.person(name, pool), pool)
    day.world.settle()
    day.look(wish, 1)
    assert wish.connected_at is None
    wish.refresh_from_db()
    assert wish.connected_at is not None
    return wish


@pytest.mark.req("R004")
def test_a_hold_that_nobody_uses_goes_to_the_next(day: Day) -> None:
    held, next_one = waiting_one(day, day.world.pool(1))
    day.pass_minutes(4.9)
    assert seen(held)[0] == "ready"
    day.pass_minutes(0.1)
    day.world.settle()
    assert seen(held) == ("ended", EndReason.EXPIRED, "hold")
    assert held.ends_at == NOON + timedelta(minutes=5)
    assert seen(next_one) == ("ready", None, "hold")


def test_a_hold_is_extended_once(day: Day) -> None:
    held, _next = waiting_one(day, day.world.pool(1))
    deadlines.extend(request=held)
    deadlines.extend(request=held)  # the same click again
    day.pass_minutes(9.9)
    assert seen(held) == ("ready", None, "hold")
    day.pass_minutes(0.1)
    assert seen(held)[1] == EndReason.EXPIRED


def test_whoever_connects_in_time_keeps_it(day: Day) -> None:
    held, _next = waiting_one(day, day.world.pool(1))
    day.look(held, 1)
    assert seen(held) == ("ready", None, None)
    day.look(held, 0)  # a dropped viewer is not a return
    day.pass_minutes(24 * 60)
    assert seen(held) == ("ready", None, None)


def test_whoever_never_waited_has_longer_to_connect(day: Day) -> None:
    pool = day.world.pool(2)
    wish = day.world.take(day.world.person("agent01", pool), pool)
    day.world.settle()
    assert seen(wish) == ("ready", None, "connect")
    day.pass_minutes(29)
    assert seen(wish)[0] == "ready"
    day.pass_minutes(1)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "connect")


def test_an_event_that_was_lost_throws_nobody_out(day: Day) -> None:
    held, _next = waiting_one(day, day.world.pool(1))
    day.world.driver.looking[held.vm_id] = 1  # and nobody told us
    day.pass_minutes(6)
    assert seen(held) == ("ready", None, None)
    assert held.connected_at is not None


def test_a_visit_that_nobody_told_of_keeps_what_was_done_in_it(day: Day) -> None:
    """The watcher of the host was away all the time; whoever came has gone again when the time is over."""
    wish = day.world.take(day.world.person("agent01", pool := day.world.pool(1, type="manual")), pool)
    day.world.settle()
    assert seen(wish)[2] == "connect"
    day.world.driver.looking[wish.vm_id] = 1
    host_health.check(day.world.host.pk)
    day.world.settle()
    day.world.driver.looking[wish.vm_id] = 0
    day.pass_minutes(31)
    assert seen(wish)[0] == "ready", "everything on it was deleted"


def test_while_a_host_does_not_say_who_looks_nobody_is_thrown_out(day: Day) -> None:
    held, _next = waiting_one(day, day.world.pool(1))
    day.world.driver.unreachable = True
    day.pass_minutes(6)
    assert seen(held)[0] == "ready"
    day.world.driver.unreachable = False
    day.pass_minutes(0)
    assert seen(held)[1] == EndReason.EXPIRED


def test_desktops_of_a_silent_host_keep_nobody_elses_time_from_running(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are, the batch is for those whose hosts answer, and no worker hangs on the others."""
    monkeypatch.setattr("broker.loops.deadlines.BATCH", 1)
    held, _next = waiting_one(day, day.world.pool(1))
    day.world.add_host("second")
    Host.objects.filter(name="host").update(status=HostStatus.NON_RESPONSIVE)
    day.clock.shift(timedelta(minutes=1))
    other, _behind = waiting_one(day, day.world.pool(1, name="other"))
    day.pass_minutes(6)
    assert seen(held)[0] == "ready", "its host has not said who looks"
    assert seen(other)[1] == EndReason.EXPIRED
    Host.objects.update(status=HostStatus.UP)
    day.pass_minutes(0)
    assert seen(held)[1] == EndReason.EXPIRED


def test_a_viewer_of_an_earlier_run_is_nobody_in_this_one(day: Day) -> None:
    """A worker asked the host, was paused, and the desktop was cleaned and given to somebody else meanwhile."""
    pool = day.world.pool(1)
    first, second = (day.world.take(person, pool) for person in day.world.people(2, pool))
    day.world.settle()
    first.refresh_from_db()
    assert first.vm is not None
    earlier = first.vm.run_number
    desktops.give_back(request=first)
    day.world.settle()
    assert seen(second) == ("ready", None, "hold")
    deadlines.record_viewers(vm_id=first.vm.pk, viewers=1, run=earlier)
    assert seen(second) == ("ready", None, "hold"), "held for ever for somebody who never came"


def test_settings_say_how_long(day: Day) -> None:
    config.put("HoldMinutes", "2")
    held, _next = waiting_one(day, day.world.pool(1))
    day.pass_minutes(2)
    assert seen(held)[1] == EndReason.EXPIRED


def test_what_ended_did_so_when_it_says_although_the_setting_was_changed_meanwhile(day: Day) -> None:
    wish = day.world.take(day.world.person("agent01", pool := day.world.pool(1)), pool)
    day.world.settle()
    config.put("ConnectMinutes", "10")
    day.pass_minutes(25)  # its first warning was due by the former value
    assert seen(wish)[1:] == (EndReason.EXPIRED, "connect")
    assert wish.ends_at == NOON + timedelta(minutes=10)


# -- limits of a pool -----------------------------------------------------------------------------------


def test_a_dropped_viewer_has_its_grace(day: Day) -> None:
    wish = connected(day, day.world.pool(1, disconnect_grace_minutes=10))
    day.look(wish, 0)
    assert seen(wish)[2] == "disconnected"
    day.pass_minutes(9)
    day.look(wish, 2)
    assert seen(wish)[2] is None, "whoever came back keeps it"
    day.look(wish, 0)
    day.pass_minutes(9)
    assert seen(wish)[0] == "ready"
    day.pass_minutes(1)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "disconnected")


def test_a_viewer_whose_going_nobody_told_of_is_noticed_by_the_monitor(day: Day) -> None:
    wish = connected(day, day.world.pool(1, disconnect_grace_minutes=10))
    day.world.driver.looking[wish.vm_id] = 0
    host_health.check(day.world.host.pk)
    day.world.settle()
    assert seen(wish)[2] == "disconnected"


def test_of_many_displays_only_what_differs_is_written_down(day: Day) -> None:
    """A crowd that was seen to come costs the monitor one statement, and not some for each of them."""
    pool = day.world.pool(4, disconnect_grace_minutes=10)
    wishes = [connected(day, pool, f"agent{number:02}") for number in (1, 2, 3)]
    somebody = day.world.take(day.world.person("agent04", pool), pool)
    day.world.settle()

    def look() -> list[str]:
        with CaptureQueriesContext(connection) as asked:
            deadlines.look_at_displays_on_host(host=day.world.host)
        return [one["sql"] for one in asked.captured_queries]

    assert len([sql for sql in look() if "broker_desktoprequest" in sql]) == 1
    assert not any(sql.startswith("UPDATE") for sql in look())
    left, came = wishes[1], somebody
    left.refresh_from_db()
    came.refresh_from_db()
    day.world.driver.looking |= {left.vm_id: 0, came.vm_id: 1}
    look()
    for wish in (*wishes, came):
        wish.refresh_from_db()
    assert [wish.viewer_left_at is not None for wish in wishes] == [False, True, False]
    assert came.connected_at is not None


def test_a_session_has_its_longest_time_and_one_extension(day: Day) -> None:
    wish = connected(day, day.world.pool(1, max_session_minutes=60, extension_minutes=15))
    day.pass_minutes(59)
    deadlines.extend(request=wish)
    deadlines.extend(request=wish)
    day.pass_minutes(14)
    day.pass_minutes(1.9)
    assert seen(wish) == ("ready", None, "session")
    day.pass_minutes(0.1)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "session")


def test_without_an_extension_in_the_pool_there_is_none(day: Day) -> None:
    wish = connected(day, day.world.pool(1, max_session_minutes=60))
    with pytest.raises(Conflict) as refusal:
        deadlines.extend(request=wish)
    assert refusal.value.code == "NOT_EXTENDABLE"
    free = connected(day, day.world.pool(1, name="free"), "agent02")
    with pytest.raises(Conflict) as refusal:
        deadlines.extend(request=free)
    assert refusal.value.code == "NO_DEADLINE"


def test_a_desktop_on_which_nothing_happens_ends(day: Day) -> None:
    wish = connected(day, day.world.pool(1, idle_limit_minutes=20))

    def ten_minutes(busy_seconds: float) -> None:
        day.clock.shift(timedelta(minutes=10))
        day.world.driver.processors[wish.vm_id] = day.world.driver.processors.get(wish.vm_id, 0) + int(
            busy_seconds * 1e9
        )
        host_health.check(day.world.host.pk)
        day.world.keep_time()

    ten_minutes(60)  # the first look knows no share yet
    ten_minutes(60)  # a tenth of a processor: somebody is at work
    assert seen(wish)[2] == "idle" and wish.busy_at == timezone.now()
    ten_minutes(6)
    assert seen(wish)[0] == "ready"
    ten_minutes(6)
    day.pass_minutes(5)  # the monitor saw it only every ten minutes: the warning comes first
    assert seen(wish)[1:] == (EndReason.EXPIRED, "idle")


@pytest.mark.parametrize("works", [False, True])
def test_to_show_a_warning_is_nobodys_work(day: Day, works: bool) -> None:
    """A slow guest is busy for seconds when it is told something; whoever works on after a warning is noticed."""
    wish = connected(day, day.world.pool(1, idle_limit_minutes=3))
    driver, really_tell = day.world.driver, day.world.driver.tell

    def be_busy() -> None:
        driver.processors[wish.vm_id] = driver.processors.get(wish.vm_id, 0) + int(3e9)

    def tell(*told: Any, **more: Any) -> None:
        be_busy()
        really_tell(*told, **more)

    driver.tell = tell  # type: ignore[method-assign]
    for look in range(30):
        day.clock.shift(timedelta(seconds=10))
        if works and look == 17:
            be_busy()
        host_health.check(day.world.host.pk)
        day.world.keep_time()
    assert driver.told, "nobody was warned"
    assert seen(wish)[:2] == (("ready", None) if works else ("ended", EndReason.EXPIRED))


def test_limits_that_are_changed_act_on_desktops_in_use(day: Day) -> None:
    pool = day.world.pool(1)
    wish = connected(day, pool)
    day.pass_minutes(100)
    pools.change(pool=pool, changes={"max_session_minutes": 120})
    assert seen(wish)[2] == "session" and wish.ends_at == NOON + timedelta(minutes=120)
    pools.change(pool=pool, changes={"max_session_minutes": None})
    assert seen(wish)[2] is None and wish.look_at is None


@pytest.mark.parametrize("limit", ["max_session_minutes", "idle_limit_minutes"])
def test_a_limit_that_is_set_throws_nobody_out_unwarned(day: Day, limit: str) -> None:
    pool = day.world.pool(1)
    wish = connected(day, pool)
    day.pass_minutes(100)
    pools.change(pool=pool, changes={limit: 30})
    day.pass_minutes(0)
    assert seen(wish)[0] == "ready", "thrown out while at work, without a word"
    day.pass_minutes(4)
    assert seen(wish)[0] == "ready"


def test_a_session_that_ended_while_no_worker_was_there_is_warned_of_first(day: Day) -> None:
    wish = connected(day, day.world.pool(1, max_session_minutes=60))
    day.pass_minutes(70)
    assert seen(wish) == ("ready", None, "session")
    assert [event.facts["minutes"] for event in Event.objects.filter(kind="desktop.warned")] == ["5"]
    day.pass_minutes(4)
    assert seen(wish)[0] == "ready"
    day.pass_minutes(1)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "session")


@pytest.mark.parametrize("passed", [22, 25])  # at 25 the warning that it ends at 30 was of something else
def test_whoever_connects_when_the_session_is_over_already_is_told_at_once(day: Day, passed: int) -> None:
    pool = day.world.pool(1, max_session_minutes=20)
    wish = day.world.take(day.world.person("agent01", pool), pool)
    day.world.settle()
    day.pass_minutes(passed)
    day.look(wish, 1)
    day.pass_minutes(0)
    assert seen(wish)[2] == "session" and wish.warned_minutes == 5
    assert wish.ends_at == timezone.now() + timedelta(minutes=5)
    assert wish.look_at == timezone.now() + timedelta(minutes=4), "the last warning is to come"
    assert "Your desktop ends in 5 min" in day.world.driver.told[0][1]
    day.pass_minutes(5)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "session")


def test_whoever_works_while_no_worker_looks_is_not_taken_for_idle(day: Day) -> None:
    wish = connected(day, day.world.pool(1, idle_limit_minutes=1))
    host_health.check(day.world.host.pk)
    day.world.settle()
    day.clock.shift(timedelta(minutes=30))  # no worker was there to look
    day.world.driver.processors[wish.vm_id] = int(30 * 60 * 0.2e9)
    day.world.keep_time()
    assert seen(wish)[0] == "ready", "the host would have told that somebody works there"
    assert wish.busy_at == timezone.now()


def test_an_idle_limit_that_is_set_begins_to_run_then(day: Day) -> None:
    pool = day.world.pool(1)
    wish = connected(day, pool)
    day.pass_minutes(100)
    pools.change(pool=pool, changes={"idle_limit_minutes": 20})
    day.pass_minutes(0)
    assert seen(wish)[2] == "idle" and wish.ends_at == timezone.now() + timedelta(minutes=20)
    assert not Event.objects.filter(kind="desktop.warned").exists()


def test_manual_pools_have_no_limits_and_keep_what_was_used(day: Day) -> None:
    with pytest.raises(Invalid) as refusal:
        day.world.pool(1, type="manual", max_session_minutes=60)
    assert refusal.value.details[0]["field"] == "max_session_minutes"
    wish = connected(day, day.world.pool(1, name="manual", type="manual"))
    day.look(wish, 0)
    day.pass_minutes(24 * 60)
    assert seen(wish)[0] == "ready"


# -- warnings -------------------------------------------------------------------------------------------


def test_warnings_reach_page_record_and_guest_in_the_users_language(day: Day) -> None:
    pool = day.world.pool(1, max_session_minutes=60, extension_minutes=30)
    wish = connected(day, pool)
    DesktopRequest.objects.update(language="ko")
    day.pass_minutes(54)
    assert Event.objects.filter(kind="desktop.warned").count() == 0
    day.pass_minutes(1)
    day.pass_minutes(1)  # and not again
    [told] = day.world.driver.told
    assert told[0] == wish.vm_id and "5" in told[1] and "데스크톱" in told[1]
    day.pass_minutes(3)
    assert [event.facts["minutes"] for event in Event.objects.filter(kind="desktop.warned").order_by("at")] == [
        "5",
        "1",
    ]
    deadlines.extend(request=wish)
    wish.refresh_from_db()
    assert wish.warned_minutes is None, "the warnings begin anew"


def test_a_guest_that_cannot_be_told_is_ended_all_the_same(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = connected(day, day.world.pool(1, max_session_minutes=60))

    def fails(*_given: Any, **_more: Any) -> None:
        raise HostUnreachable("it hangs")

    monkeypatch.setattr(day.world.driver, "tell", fails)
    day.pass_minutes(55)
    day.pass_minutes(5)
    assert seen(wish)[1:] == (EndReason.EXPIRED, "session")


def test_messages_that_are_lost_cost_only_time(day: Day) -> None:
    held, _next = waiting_one(day, day.world.pool(1))
    day.clock.shift(timedelta(minutes=6))
    from broker.loops import deadlines as loop

    loop.keep_time()
    day.world.lose_all_messages()
    assert seen(held)[0] == "ready"
    day.world.keep_time()
    assert seen(held)[1] == EndReason.EXPIRED


# -- mail and problems ----------------------------------------------------------------------------------


def test_whoever_asked_for_it_gets_one_mail_when_it_is_ready(day: Day, mailoutbox: list[Any]) -> None:
    pool = day.world.pool(1)
    first, second = (day.world.take(person, pool) for person in day.world.people(2, pool))
    day.world.settle()
    with pytest.raises(Conflict) as refusal:
        mails.ask(request=second, wanted=True)
    assert refusal.value.code == "NO_ADDRESS"
    second.user.email = "agent02@hotdesk.example"
    second.user.save()
    mails.ask(request=second, wanted=True)
    desktops.give_back(request=first)
    day.world.settle()
    [sent] = mailoutbox
    assert sent.to == ["agent02@hotdesk.example"] and "helpdesk-1" in sent.body and "12:05" in sent.body
    day.world.sweep()
    assert len(mailoutbox) == 1


def test_a_mail_that_could_not_be_sent_is_tried_again(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = day.world.pool(1)
    person = day.world.person("agent01", pool)
    person.email = "agent01@hotdesk.example"
    person.save()
    wish = day.world.take(person, pool)

    def refuses(*_given: Any, **_more: Any) -> None:
        raise ConnectionRefusedError("no mail server")

    monkeypatch.setattr(mails, "send_mail", refuses)
    mails.ask(request=wish, wanted=True)
    day.world.settle()
    assert seen(wish)[0] == "ready" and wish.mailed_at is None
    monkeypatch.undo()
    mail.outbox.clear()
    day.clock.shift(timedelta(seconds=mails.AWAY_SECONDS))
    mails.send_ready(request_id=wish.pk)
    assert len(mail.outbox) == 1


def test_a_mail_server_that_hangs_keeps_one_worker_and_not_all(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that look after hosts send the mails: a wait of ten seconds for each would leave none of them."""
    pool = day.world.pool(3)
    people = day.world.people(3, pool)
    for person in people:
        person.email = f"{person.username}@hotdesk.example"
        person.save()
    tried = []

    def hangs(_subject: str, _body: str, _sender: Any, to: list[str]) -> None:
        tried.append(to)
        raise TimeoutError("no mail server")

    monkeypatch.setattr(mails, "send_mail", hangs)
    wishes = [day.world.take(person, pool) for person in people]
    for wish in wishes:
        mails.ask(request=wish, wanted=True)
    day.world.settle()
    day.world.sweep()
    assert len(tried) == 1
    monkeypatch.setattr(mails, "send_mail", lambda _subject, _body, _sender, to: tried.append(to))
    day.clock.shift(timedelta(seconds=mails.AWAY_SECONDS))
    day.world.sweep()
    assert len(tried) == 4, "all are sent once it is back"


def test_an_address_that_is_refused_stops_nobody_elses_mail(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = day.world.pool(2)
    sent = []

    def refuses_one(_subject: str, _body: str, _sender: Any, to: list[str]) -> None:
        if to == ["agent01@hotdesk.example"]:
            raise SMTPRecipientsRefused({to[0]: (550, b"no such user")})
        sent.append(to)

    monkeypatch.setattr(mails, "send_mail", refuses_one)
    for person in day.world.people(2, pool):
        person.email = f"{person.username}@hotdesk.example"
        person.save()
        mails.ask(request=day.world.take(person, pool), wanted=True)
    day.world.settle()
    assert sent == [["agent02@hotdesk.example"]]


def test_a_problem_reaches_the_help_desk_with_the_timeline(day: Day) -> None:
    wish = connected(day, day.world.pool(1))
    for nothing in ("", "  \n "):
        with pytest.raises(Invalid):
            desktops.report_problem(request=wish, text=nothing)
    with pytest.raises(Invalid):
        desktops.report_problem(request=wish, text="x" * 2001)
    desktops.report_problem(request=wish, text="The pointer does not move.")
    event = Event.objects.get(kind="desktop.problem")
    assert event.severity == "warning" and event.request_id == wish.pk
    assert event.facts["text"] == "The pointer does not move."
    assert "connected_at 12:00:00" in event.facts["timeline"]


def test_a_match_of_many_costs_no_more_queries_than_one_of_few(world: World) -> None:
    """What each of them is given is written for all of them at once."""

    def queries(count: int) -> int:
        pool = world.pool(count, name=f"pool{count}", prestarted_vms=count)
        for number in range(count):
            world.take(world.person(f"person{number}"), pool)
        world.lose_all_messages()
        with CaptureQueriesContext(connection) as seen:
            desktops.serve(pool_id=pool.pk)
        assert DesktopRequest.objects.filter(pool=pool, state="ready").count() == count
        return len(seen)

    config.put("VmPoolMonitorBatchSize", "20")
    assert queries(12) <= queries(3)
