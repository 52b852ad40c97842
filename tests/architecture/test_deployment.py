"""The files with which Hotdesk outgrows one machine start what it consists of, and show what it tells."""

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from broker.management.commands.demo import WEB_LIMITS
from portal import metrics
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / ".deploy"
UNITS = DEPLOY / "systemd"
QUEUES = {queue.name for queue in settings.CELERY_TASK_QUEUES}
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "portal" / "settings.py").read_text()


def options(file: Path) -> list[tuple[str, str]]:
    """Name and value of each line of a unit, in order."""
    found: list[tuple[str, str]] = []
    for line in file.read_text().replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.append((name, value))
    return found


def values(file: Path, name: str) -> list[str]:
    return [word for given, value in options(file) if given == name for word in shlex.split(value)]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def command(service: Any) -> list[str]:
    return shlex.split(service["command"])


def queue_of(words: list[str]) -> str | None:
    return words[words.index("-Q") + 1] if "-Q" in words else None


def test_units_are_files_that_systemd_reads() -> None:
    files = [*UNITS.glob("*.service"), *UNITS.glob("*.d/*.conf"), *UNITS.glob("*.target")]
    assert len(files) == 6
    for file in files:
        reader = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=False)
        reader.optionxform = str  # type: ignore[assignment, method-assign]
        reader.read(file)
        assert set(reader.sections()) <= {"Unit", "Service", "Install"}, file


def test_the_target_starts_a_worker_for_each_queue_and_one_of_all_else() -> None:
    wanted = values(UNITS / "hotdesk.target", "Wants")
    workers = {re.sub(r"hotdesk-worker@(.+)\.service", r"\1", unit) for unit in wanted if "worker@" in unit}
    assert workers == QUEUES
    templates = {re.sub(r"@.+\.", "@.", unit) for unit in wanted}
    assert templates == {file.name for file in UNITS.glob("*.service")}
    started = values(UNITS / "hotdesk-worker@.service", "ExecStart")
    assert queue_of(started) == "%i"
    processes = values(UNITS / "hotdesk-worker@.service", "Environment")
    assert {word.split("=")[0].removeprefix("PROCESSES_") for word in processes} == QUEUES


def test_compose_starts_a_worker_for_each_queue_and_one_of_all_else(compose: Any) -> None:
    services = {name: one for name, one in compose["services"].items() if one["image"] == "hotdesk"}
    workers = {name: queue_of(command(one)) for name, one in services.items() if queue_of(command(one))}
    assert workers == {queue: queue for queue in QUEUES}
    assert set(services) - set(workers) == {"migrate", "web", "beat", "watch"}
    assert services["web"]["deploy"]["replicas"] == 2
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in services.values())
    assert compose["networks"]["inside"]["internal"]
    assert {name for name, one in compose["services"].items() if "ports" in one} == {"proxy"}


def test_web_has_the_limits_of_the_demo(compose: Any) -> None:
    for words in (values(UNITS / "hotdesk-web@.service", "ExecStart"), command(compose["services"]["web"])):
        line = " ".join(words)
        assert " ".join(WEB_LIMITS) in line and "portal.asgi:application" in line
        # Each process answers for itself at /metrics.
        assert "--workers" not in line


def test_secrets_stand_in_files_of_their_own(compose: Any) -> None:
    common = UNITS / "hotdesk-.service.d" / "all.conf"
    loaded = {word.split(":")[0] for word in values(common, "LoadCredential")}
    told = dict(word.split("=", 1) for word in values(common, "Environment"))
    in_units = {name: value.removeprefix("%d/") for name, value in told.items() if name.endswith("_FILE")}
    environment = compose["services"]["web"]["environment"]
    in_compose = {name: value.removeprefix("/run/secrets/") for name, value in environment.items()}
    assert in_units == in_compose
    assert set(in_units.values()) == loaded == set(compose["services"]["web"]["secrets"]) <= set(compose["secrets"])
    for name in in_units:
        assert f'given("{name.removesuffix("_FILE")}"' in SETTINGS
    example = (DEPLOY / "environment.example").read_text()
    assert not any(word in example for word in ("SECRET", "DATABASE_URL", "REDIS_URL", "TOKEN"))


def test_every_variable_is_one_that_is_read_and_described() -> None:
    lines = (DEPLOY / "environment.example").read_text().splitlines()
    names = [line.split("=")[0] for line in lines if line and not line.startswith("#")]
    assert names
    assert [name for name in names if f'"{name}"' not in SETTINGS or f"`{name}`" not in README] == []


def test_every_file_is_named_where_it_is_explained() -> None:
    names = [file.name for file in DEPLOY.iterdir() if file.is_file()] + ["hotdesk.target"]
    assert [
        name for name in names if f".deploy/{name}" not in README and f".deploy/systemd/{name}" not in README
    ] == []


def test_the_dashboard_shows_nothing_that_is_not_told(world: World) -> None:
    world.take(world.person("agent", pool := world.pool(1)), pool)
    world.settle()
    metrics.answers.labels("GET", "", 200).inc()
    told = {
        family.name for family in metrics.registry.collect() if family.samples or family.name.startswith("hotdesk_")
    }
    board = json.loads((DEPLOY / "grafana.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = set(re.findall(r"\bhotdesk_\w+", " ".join(expressions)))
    endings = re.compile("_(total|bucket|count|sum)$")
    assert {endings.sub("", name) for name in used} - told == set()
    # And all that Hotdesk says of itself is on it.
    assert {name for name in told if name.startswith("hotdesk_")} - {endings.sub("", name) for name in used} == set()
    assert all(
        target["datasource"] == {"type": "prometheus", "uid": "${source}"}
        for panel in board["panels"]
        for target in panel["targets"]
    )
