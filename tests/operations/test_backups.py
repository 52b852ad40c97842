"""What a Hotdesk of earlier days wrote lives on after an upgrade; a backup brings all of it back, on any database."""

import gzip
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from broker import access, config, leases
from broker.models import DesktopRequest, Event, Host, Pool, VirtualMachine
from broker.operations import backups, desktops, machines, vm_leases
from broker.states import Ending, RequestState
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
EARLIER = ROOT / "tests" / "data" / "hotdesk-0005.sql.gz"
ACCOUNTS = {*(f"agent{number:02}" for number in range(1, 9)), "admin", "owner", "visitor"}

Manage = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the SQLite databases of these tests are, each a file."""
    return tmp_path_factory.mktemp("databases")


@pytest.fixture(scope="module")
def manage(folder: Path) -> Manage:
    """manage.py with a database of its own, by its name; CommandError with what it said."""

    def run(database: str, *arguments: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "HOTDESK_SECRET_KEY": "a key for tests that is long enough to be taken",
            "HOTDESK_STATE": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / database}",
        }
        command = [sys.executable, "-W", "ignore", "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise CommandError(done.stderr.strip())
        return done.stdout

    return run


@pytest.fixture(scope="module")
def old(manage: Manage, folder: Path) -> Path:
    """A backup, made by this version, of the database of an earlier one."""
    with sqlite3.connect(folder / "earlier") as database:
        database.executescript(gzip.decompress(EARLIER.read_bytes()).decode())
    manage("earlier", "backup", str(folder / "old"))
    return folder / "old"


@pytest.fixture(scope="module")
def new(manage: Manage, old: Path, folder: Path) -> Path:
    """A backup of that database after its upgrade."""
    manage("earlier", "migrate")
    manage("earlier", "backup", str(folder / "new"))
    return folder / "new"


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """All rows that a backup keeps, field by field."""
    models = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]
    found = {}
    for model in models:
        if model._meta.label_lower not in backups.LEFT_OUT:
            names = [field.attname for field in model._meta.local_concrete_fields]
            found[model._meta.label] = sorted(map(repr, model._base_manager.values_list("pk", *names)))
    return found


def states(pool: Pool) -> dict[str, int]:
    wishes = list(DesktopRequest.objects.filter(pool=pool).values_list("state", flat=True))
    return {state: wishes.count(state) for state in sorted(set(wishes))}


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is restored goes on, as if nothing had been."""
    monkeypatch.setattr(backups, "RUNS_SINCE", 0)
    monkeypatch.setattr(backups, "_end_runs", lambda: None)


@pytest.fixture
def upgraded(new: Path, as_it_was: None, world: World) -> World:
    """What the earlier Hotdesk kept, in the database of the tests; its host has what the rows say."""
    backups.restore(file=new)
    driver = world.driver
    for key in VirtualMachine.objects.values_list("pk", flat=True):
        vm = vm_leases.look(key)
        disk = vm.volume
        assert disk is not None and disk.backing is not None
        driver.volume_table.setdefault(disk.backing.name, [])
        driver.create_overlay(disk.address(), disk.backing.address())
        if vm.layer_run is not None:
            driver.create_overlay(vm.layer(), disk.address())
        host = vm.host or Host.objects.get()
        spec = vm.spec(installation="", host=host, migration=machines.migration_plan(vm, vm.cluster))
        driver.define(spec)
        if vm.run_started_at is not None:
            driver.start(spec)
    return world


def test_what_an_earlier_version_kept_is_served_and_returned_by_this_one(upgraded: World) -> None:
    pool = Pool.objects.get(name="helpdesk")
    assert set(get_user_model().objects.values_list("username", flat=True)) == ACCOUNTS
    assert states(pool) == {"ended": 1, "queued": 2, "ready": 2, "returning": 1, "starting": 1}
    assert config.get("MaxVmsInPool") == 500
    upgraded.sweep()
    # The desktop that came back serves the next; the one that was starting has started, and knows its time.
    assert states(pool) == {"ended": 2, "queued": 1, "ready": 4}
    wish = DesktopRequest.objects.get(user__username="agent05")
    assert (wish.state, wish.ending) == (RequestState.READY, Ending.CONNECT)
    desktops.give_back(request=wish)
    upgraded.settle()
    last = DesktopRequest.objects.get(user__username="agent07")
    assert (last.state, last.vm) == (RequestState.READY, wish.vm)
    assert last.certificate is not None and last.certificate.layer_before
    wish.refresh_from_db()
    assert wish.state == RequestState.ENDED
    upgraded.take(get_user_model().objects.get(username="visitor"), pool)


def test_an_earlier_backup_is_brought_up_to_date_in_a_database_without_tables(manage: Manage, old: Path) -> None:
    said = manage("fresh", "restore", str(old))
    assert "from sqlite to this database" in said
    assert {"8 broker.desktoprequest", "6 broker.virtualmachine", "11 portal.user"} <= set(
        map(str.strip, said.splitlines())
    )
    assert "[ ]" not in manage("fresh", "showmigrations")


def test_what_was_written_since_the_backup_is_met_by_nobody(world: World, tmp_path: Path) -> None:
    pool = world.pool(2, name="helpdesk", prestarted_vms=2)
    people = world.people(6, pool)

    def use(person: Any) -> DesktopRequest:
        wish = world.take(person, pool)
        world.settle()
        wish.refresh_from_db()
        assert wish.state == RequestState.READY
        assert world.driver.read_in_guest(wish.vm_id) == []
        world.driver.write_in_guest(wish.vm_id, f"by {person}")
        return wish

    backups.make(file=tmp_path / "file")
    for passing, staying in (people[:2], people[2:4]):
        desktops.give_back(request=use(passing))
        world.settle()
        use(staying)  # in the run whose number is the next that the backup would draw
    world.lose_all_messages()
    backups.restore(file=tmp_path / "file", replace=True)
    world.sweep()
    for person in people[4:]:
        use(person)


def test_a_manual_pool_keeps_what_its_user_wrote(world: World, tmp_path: Path) -> None:
    pool = world.pool(1, name="workbench", type="manual")
    wish = world.take(world.people(1, pool)[0], pool)
    world.settle()
    wish.refresh_from_db()
    world.driver.write_in_guest(wish.vm_id, "half a thesis")
    backups.make(file=tmp_path / "file")
    backups.restore(file=tmp_path / "file", replace=True)
    world.sweep()
    desktops.restart(request=DesktopRequest.objects.get())
    world.settle()
    assert DesktopRequest.objects.get().state == RequestState.READY
    assert world.driver.read_in_guest(wish.vm_id) == ["half a thesis"]


def test_roles_of_an_earlier_version_still_grant_what_they_did_and_no_more(upgraded: World) -> None:
    pool = Pool.objects.get(name="helpdesk")
    may = {
        name: (access.can(person, "use_pool", pool), access.can(person, "edit_pool", pool))
        for name in ("admin", "visitor", "agent01", "agent08", "owner")
        for person in [get_user_model().objects.get(username=name)]
    }
    assert may == {
        "admin": (True, True),
        "visitor": (True, False),  # by the group
        "agent01": (True, False),
        "agent08": (True, True),
        "owner": (False, False),
    }
    assert Event.objects.filter(kind="backup.restored").count() == 1
    assert Event.objects.filter(kind="desktop.asked").count() == 8


@pytest.fixture
def busy(world: World) -> World:
    """Desktops in use, a line, a change that was kept, a role, a sequence that was drawn from."""
    pool = world.pool(2, name="helpdesk")
    for person in world.people(3, pool):
        world.take(person, pool)
    world.settle()
    config.put("MaxVmsInPool", "77", by=world.superuser())
    return world


def test_a_backup_brings_back_every_field_of_every_row(busy: World, as_it_was: None, tmp_path: Path) -> None:
    file = tmp_path / "hotdesk.backup"
    Pool.objects.update(comment="데스크톱 “one”\n", description="\\")
    before = everything()
    said = StringIO()
    call_command("backup", str(file), stdout=said)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert str(file) in said.getvalue() and "secret key" in said.getvalue()
    DesktopRequest.objects.all().delete()
    Pool.objects.update(comment="changed since")
    call_command("restore", str(file), "--replace", stdout=StringIO())
    Event.objects.filter(kind="backup.restored")._raw_delete("default")
    assert everything() == before
    # What is added from now on meets nothing that is there.
    busy.person("somebody new", Pool.objects.get())
    busy.sweep()


def test_what_a_worker_held_is_free_after_a_restore(busy: World, tmp_path: Path) -> None:
    VirtualMachine.objects.update(lease_until=timezone.now() + timedelta(hours=1))
    assert leases.hold("beat", seconds=3600, holder="a machine that is gone")
    backups.make(file=tmp_path / "file")
    backups.restore(file=tmp_path / "file", replace=True)
    assert not VirtualMachine.objects.exclude(lease_until=None).exists()
    assert not leases.is_held("beat")


def test_a_database_in_use_is_replaced_only_when_that_is_said(busy: World, tmp_path: Path) -> None:
    backups.make(file=tmp_path / "file")
    before = everything()
    with pytest.raises(CommandError, match="accounts"):
        call_command("restore", str(tmp_path / "file"))
    assert everything() == before


def spoilt(file: Path, how: str) -> None:
    whole = file.read_bytes()
    if how == "cut off":
        file.write_bytes(whole[: len(whole) * 2 // 3])
    elif how == "one bit":
        file.write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
    elif how == "not a backup":
        file.write_bytes(b"hello")
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()


@pytest.mark.parametrize("how", ["cut off", "one bit", "not a backup", "empty", "absent"])
def test_of_a_damaged_backup_nothing_is_restored(busy: World, tmp_path: Path, how: str) -> None:
    file = tmp_path / "file"
    backups.make(file=file)
    spoilt(file, how)
    before = everything()
    with pytest.raises(CommandError, match="damaged, or no backup of Hotdesk"):
        call_command("restore", str(file), "--replace")
    assert everything() == before


@pytest.mark.parametrize(
    "said", ['"id": "nonsense"', f'"memory_mib": {10**30}', '"last_seen_at": "yesterday"', '"name": ' + "[" * 100_000]
)
def test_of_a_backup_with_values_that_no_row_has_nothing_is_restored(busy: World, tmp_path: Path, said: str) -> None:
    backups.make(file=tmp_path / "whole")
    with tarfile.open(tmp_path / "whole") as whole, tarfile.open(tmp_path / "file", "w:gz") as changed:
        for member in whole:
            content = whole.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == "broker.host":
                content = content.replace(b"}\n", f", {said}}}\n".encode(), 1)  # of two values the last one counts
                member.size = len(content)
            changed.addfile(member, BytesIO(content))
    before = everything()
    with pytest.raises(CommandError, match="damaged, or no backup of Hotdesk"):
        call_command("restore", str(tmp_path / "file"), "--replace")
    assert everything() == before


def test_a_backup_of_another_version_says_what_to_do(busy: World, old: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "file")
    with pytest.raises(CommandError, match="earlier version: restore it into a database without tables"):
        call_command("restore", str(old), "--replace")
    MigrationRecorder(connection).record_applied("broker", "0999_of_tomorrow")
    try:
        with pytest.raises(CommandError, match=r"newer version .* broker\.0999_of_tomorrow"):
            call_command("backup", file)
    finally:
        MigrationRecorder(connection).record_unapplied("broker", "0999_of_tomorrow")


def test_nobody_waits_for_a_backup_and_it_is_of_one_moment(
    busy: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, begun = backups._write, threading.Event()

    def take() -> None:
        pool = Pool.objects.get()
        busy.take(busy.person("late", pool), pool)
        connection.close()

    def write_and_take(model: Any, folder: Path) -> int:
        count = write(model, folder)
        if not begun.is_set():
            begun.set()
            meanwhile = threading.Thread(target=take)
            meanwhile.start()
            meanwhile.join()
        return count

    before = {model: model.objects.count() for model in (DesktopRequest, Event, get_user_model())}
    monkeypatch.setattr(backups, "_write", write_and_take)
    made = backups.make(file=tmp_path / "file")
    for model, count in before.items():
        assert made.rows[model._meta.label_lower] == count < model.objects.count()
