"""What administrators do from the shell."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError

from broker import access, config
from broker.errors import Invalid
from broker.models import Pool, TemplateVersion, Volume
from tests.world import World


def said(*arguments: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.mark.req("R058")
def test_config_lists_every_key_with_value_and_range(db: None) -> None:
    lines = said("settings", "list").splitlines()
    assert len(lines) == len(config.KEYS)
    assert any(line.startswith("MaxVmsInPool=1000  (1 to 100000)") for line in lines)


@pytest.mark.req("R057", "R058")
def test_config_changes_a_value_and_pools_obey_it(world: World) -> None:
    assert said("settings", "get", "MaxVmsInPool") == "1000\n"
    assert said("settings", "set", "MaxVmsInPool=5") == ""
    assert said("settings", "get", "MaxVmsInPool") == "5\n"
    with pytest.raises(Invalid, match="at most 5 VMs"):
        world.pool(6)
    assert world.pool(5).vms.count() == 5


@pytest.mark.req("R058")
@pytest.mark.parametrize("value", ["0", "100001", "-5", "many", "", "1.5", "1e3", "5 5", "\0", "²", "+-5"])
def test_config_refuses_what_is_out_of_range_and_keeps_what_was(db: None, value: str) -> None:
    with pytest.raises(CommandError, match="MaxVmsInPool must be a whole number from 1 to 100000"):
        said("settings", "set", f"MaxVmsInPool={value}")
    assert said("settings", "get", "MaxVmsInPool") == "1000\n"


def test_config_names_the_keys_when_there_is_no_such_one(db: None) -> None:
    with pytest.raises(CommandError, match=r"There is no setting Colour\. There are: MaxVmsInPool"):
        said("settings", "set", "Colour=5")


def test_hosts_prints_how_each_is_reached(world: World) -> None:
    assert said("hosts") == "host\tup\tqemu\tfake:///\n"


def test_grant_gives_a_user_a_pool(world: World, pool: Pool) -> None:
    person = world.person("agent")
    said("grant", "--user", "agent", "--role", "UserRole", "--pool", pool.name)
    assert access.can(person, "use_pool", pool)
    assert not access.can(person, "use_pool", world.pool(1, name="other"))


def test_grant_gives_a_group_the_whole_system(world: World, pool: Pool) -> None:
    person = world.person("agent")
    person.groups.add(Group.objects.create(name="staff"))
    said("grant", "--group", "staff", "--role", "SuperUser")
    assert access.can(person, "edit_pool", pool)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--user", "nobody", "--role", "UserRole"),
        ("--group", "nobody", "--role", "UserRole"),
        ("--user", "agent", "--role", "King"),
        ("--user", "agent", "--role", "UserRole", "--pool", "nowhere"),
        ("--user", "agent", "--group", "staff", "--role", "UserRole"),
        ("--role", "UserRole"),
        ("--user", "agent"),
    ],
)
def test_grant_refuses_what_does_not_exist_in_a_sentence(world: World, arguments: tuple[str, ...]) -> None:
    person = world.person("agent")
    with pytest.raises(CommandError):
        said("grant", *arguments)
    assert not person.role_assignments.exists()


def test_a_demo_that_exists_gets_a_changed_guest_as_the_next_version(
    world: World, settings: Any, tmp_path: Path
) -> None:
    world.template.name = "Another"
    world.template.save()
    image = tmp_path / "tiny-linux.qcow2"
    settings.DEMO_HOST_URI, settings.PROBE_IMAGE = "qemu:///session", str(image)

    def published(content: bytes) -> list[tuple[int, str]]:
        image.write_bytes(content)
        said("seed_demo")
        return list(TemplateVersion.objects.filter(template__name="Tiny Linux").values_list("number", "volume__name"))

    first, second = (1, "tiny-linux-v1.qcow2"), (2, "tiny-linux-v2.qcow2")
    assert published(b"one") == published(b"one") == [first]
    assert sorted(published(b"two")) == [first, second]
    # What somebody published himself stays the newest.
    Volume.objects.filter(name=second[1]).update(name="my-own.qcow2")
    assert len(published(b"three")) == 2
