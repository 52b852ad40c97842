"""What administrators do from the shell."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError

from broker import access, config
from broker.errors import Invalid
from broker.models import Pool
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
