"""Backups: every row that must survive, as lines of JSON that any database takes.

Rows are read and written by the models of the migrations that a backup was made at, not by those of this version. So
one can be made before an upgrade, and one of an earlier version is brought up to date as it is restored.
"""

import gzip
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import DataError, IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from broker import events
from broker.errors import Conflict, Invalid
from broker.models import UNASSIGNED, DesktopRequest, VirtualMachine
from broker.operations import intents, vms
from broker.states import HOLDING, EndReason, RequestState

FORMAT = 1
MANIFEST = "manifest.json"
BATCH = 1000
RUNS_SINCE = 1_000_000  # more than any VM may have had since a backup
# People sign in again, and offices are taken anew.
LEFT_OUT = {"sessions.session", "broker.lease"}
DAMAGE = (
    *(OSError, EOFError, zlib.error, tarfile.TarError),
    # Values that no row of ours has.
    *(ValueError, LookupError, TypeError, OverflowError, RecursionError, ValidationError, DataError, IntegrityError),
)

Node = tuple[str, str]


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself: when and from which database, at which migrations, and how many rows of each."""

    format: int
    made_at: str
    engine: str
    migrations: list[Node]
    rows: dict[str, int]


def make(*, file: Path) -> Manifest:
    """Write a backup of this moment, readable by its owner alone; what was there before stays until it is complete.

    Nobody who works on Hotdesk meanwhile has to wait. Conflict when the database is of a newer version.
    """
    loader = MigrationLoader(connection)
    applied = sorted(loader.applied_migrations)
    _require_known(loader, applied)
    with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as folder:
        with _snapshot():
            now = timezone.now().isoformat()
            rows = {model._meta.label_lower: _write(model, Path(folder)) for model in _models(loader, applied)}
        manifest = Manifest(FORMAT, now, connection.vendor, applied, rows)
        (Path(folder) / MANIFEST).write_text(json.dumps(asdict(manifest)))
        _pack(Path(folder), [MANIFEST, *rows]).replace(file)
    return manifest


def restore(*, file: Path, replace: bool = False) -> Manifest:
    """Fill this database from a backup, all or nothing, and bring it up to date.

    Invalid when the file is damaged or no backup; Conflict when it is of a newer version, when the database is at
    other migrations, and, unless it is to be replaced, when there are accounts in it.
    """
    try:
        with gzip.open(file) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            manifest = _manifest(archive)
            models = _prepare(manifest.migrations, replace=replace)
            with transaction.atomic():
                _fill(models, archive, manifest)
                unpacked.read()  # to its end, where its checksum is
    except DAMAGE as error:
        text = _("%(file)s is damaged, or no backup of Hotdesk: %(error)s")
        raise Invalid(text % {"file": file, "error": error or type(error).__name__}) from error
    ContentType.objects.clear_cache()
    call_command("migrate", verbosity=0)
    _end_runs()
    events.record("backup.restored", made_at=manifest.made_at, rows=sum(manifest.rows.values()))
    return manifest


# -- out ---------------------------------------------------------------------------------------------


@contextmanager
def _snapshot() -> Iterator[None]:
    """All that is read here is of one moment."""
    if connection.vendor == "sqlite":
        # Django would begin by taking the write lock.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


def _models(loader: MigrationLoader, migrations: Iterable[Node]) -> list[Any]:
    """The models of these migrations, also those in between of many to many."""
    apps = loader.project_state(_last(loader, migrations)).apps
    found = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    return [model for model in found if not model._meta.proxy and model._meta.label_lower not in LEFT_OUT]


def _last(loader: MigrationLoader, migrations: Iterable[Node]) -> list[Node]:
    """Those of each app that no other of the app builds on."""
    known = set(migrations)
    return [
        node
        for node in known
        if not any(child.key in known and child.key[0] == node[0] for child in loader.graph.node_map[node].children)
    ]


def _write(model: Any, folder: Path) -> int:
    names = [field.attname for field in model._meta.local_concrete_fields]
    count = 0
    with (folder / model._meta.label_lower).open("w", encoding="utf-8") as lines:
        for values in model._base_manager.order_by().values_list(*names).iterator(chunk_size=BATCH):
            lines.write(json.dumps(dict(zip(names, values, strict=True)), default=_word, ensure_ascii=False) + "\n")
            count += 1
    return count


def _word(value: Any) -> str:
    """To the last digit, as the fields read it; whatever else there may be one day must not be garbled."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal | timedelta):
        return str(value)
    raise TypeError(f"no form for {type(value).__name__}")


def _pack(folder: Path, names: Iterable[str]) -> Path:
    packed = folder / "packed"
    with open(packed, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name in names:
                archive.add(folder / name, name)
        file.flush()
        os.fsync(file.fileno())
    return packed


# -- in ----------------------------------------------------------------------------------------------


def _manifest(archive: tarfile.TarFile) -> Manifest:
    given = json.load(_content(archive, archive.next()))
    manifest = Manifest(**{**given, "migrations": [(app, name) for app, name in given["migrations"]]})
    if manifest.format != FORMAT:
        raise Conflict(_("The backup was made by a newer version of Hotdesk."), code="NEWER_VERSION")
    return manifest


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> IO[bytes]:
    content = archive.extractfile(member) if member is not None else None
    if content is None:
        raise tarfile.TarError("something is missing")
    return content


def _prepare(migrations: list[Node], *, replace: bool) -> list[Any]:
    """The models to fill, whose tables are there and may be filled."""
    executor = MigrationExecutor(connection)
    _require_known(executor.loader, migrations)
    models = _models(executor.loader, migrations)
    if not executor.loader.applied_migrations:
        executor.migrate(_last(executor.loader, migrations))
    elif set(executor.loader.applied_migrations) != set(migrations):
        text = _(
            "The backup is of an earlier version: restore it into a database without tables, or with that version."
        )
        raise Conflict(text, code="OTHER_VERSION")
    elif not replace and get_user_model().objects.exists():
        text = _("There are accounts in this database. Only with --replace are they, and all else, replaced.")
        raise Conflict(text, code="NOT_EMPTY")
    return models


def _require_known(loader: MigrationLoader, migrations: Iterable[Node]) -> None:
    unknown = sorted(set(migrations) - set(loader.graph.nodes))
    if unknown:
        text = _("It is of a newer version of Hotdesk, or has parts that are not installed here: %(names)s.")
        names = ", ".join(".".join(node) for node in unknown)
        raise Conflict(text % {"names": names}, code="NEWER_VERSION")


def _fill(models: list[Any], archive: tarfile.TarFile, manifest: Manifest) -> None:
    # Foreign keys are looked at when all is there.
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608
    by_name = {model._meta.label_lower: model for model in models}
    counts = {}
    while (member := archive.next()) is not None:
        counts[member.name] = _read(by_name[member.name], _content(archive, member))
    if counts != manifest.rows:
        raise ValueError("rows are missing")
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)
    # No new run may meet a layer that was made since the backup, under the number that it draws (I4).
    vms_of_then = by_name["broker.virtualmachine"]._base_manager
    vms_of_then.update(lease_until=None, run_number=F("run_number") + RUNS_SINCE)
    connection.check_constraints()


def _read(model: Any, lines: IO[bytes]) -> int:
    """Write rows as they were: no default and no date of today is put in, as saving them would."""
    fields = model._meta.local_concrete_fields
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    insert = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608

    def values(line: bytes) -> list[Any]:
        row = json.loads(line)
        return [field.get_db_prep_save(field.to_python(row[field.attname]), connection) for field in fields]

    count = 0
    with connection.cursor() as cursor:
        while batch := [values(line) for line in islice(lines, BATCH)]:
            cursor.executemany(insert, batch)
            count += len(batch)
    return count


@transaction.atomic
def _end_runs() -> None:
    """Every run of before is over: who used its VM since the backup is not known, whatever the row says of it.

    Whoever waited for a start keeps first claim on the next VM, and whoever a manual pool keeps a VM for keeps it.
    """
    for vm in VirtualMachine.objects.filter(run_mode__isnull=False, halted=False).select_related("pool"):
        wish = vm.requests.filter(state__in=HOLDING).first()
        keeps = wish is not None and vms.keeps_its_user(vm)
        (intents.halt if keeps else intents.end_run)(vm, at_once=True)
        vm.save(update_fields=intents.RUN_FIELDS)
        if wish is None or keeps:
            continue
        if wish.state == RequestState.STARTING:
            DesktopRequest.objects.filter(pk=wish.pk).update(**UNASSIGNED)
        elif wish.state == RequestState.READY:
            intents.begin_return(wish, vm, EndReason.FAILED)
