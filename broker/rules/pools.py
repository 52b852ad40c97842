"""What a pool may look like, what its VMs are called, and how many of them run ahead of time."""

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from broker.models.pools import MAX_LOCATION, MAX_VMS_PER_USER
from broker.rules.consoles import proxy_problem
from broker.states import PoolType

NAME = re.compile(r"[\w.-]+[?]*[\w.-]*|[?]+[\w.-]+")
VM_NAME = re.compile(r"[\w.-]+")
# A user and a password in front of the host: `smb://user:password@files/home`.
CREDENTIALS = re.compile(r"([^/]*//)?[^/@]*:[^/@]*@")
MAX_NAME = 255


@dataclass(frozen=True)
class PoolValues:
    """The numbers and words of a pool that depend on each other. `size` is how many VMs it will have."""

    name: str
    type: str
    size: int
    prestarted_vms: int
    max_vms_per_user: int
    override_spice_proxy: bool = False
    spice_proxy: str = ""
    central_data: str = ""


def problems(values: PoolValues, *, max_vms_in_pool: int, max_vm_name: int) -> list[tuple[str, str]]:
    """Everything that is wrong, as (field, sentence); empty when the pool may be."""
    return [
        *_name(values, max_vm_name),
        *_numbers(values, max_vms_in_pool),
        *_proxy(values.override_spice_proxy, values.spice_proxy),
        *_central_data(values.central_data),
    ]


def _name(values: PoolValues, max_vm_name: int) -> list[tuple[str, str]]:
    if not values.name.strip():
        return [("name", _("Pool name is required."))]
    if len(values.name) > MAX_NAME:
        return [("name", _("The name may have at most %(most)s characters.") % {"most": MAX_NAME})]
    if not NAME.fullmatch(values.name):
        text = _("The name may hold letters, digits, '.', '_', '-' and one run of '?' for the VM's number.")
        return [("name", text)]
    if len(vm_name(values.name, max(values.size, 1))) > max_vm_name:
        return [("name", _("The names of its VMs would exceed %(most)s characters.") % {"most": max_vm_name})]
    return []


def _numbers(values: PoolValues, max_vms_in_pool: int) -> list[tuple[str, str]]:
    found = []
    if values.size < 1:
        found.append(("size", _("Cannot create Pool with 0 VMs.")))
    elif values.size > max_vms_in_pool:
        found.append(("size", _("A pool may have at most %(most)s VMs (MaxVmsInPool).") % {"most": max_vms_in_pool}))
    most = {"most": max(values.size, 0)}
    if not 0 <= values.prestarted_vms <= most["most"]:
        text = _("Number of Prestarted VMs cannot exceed the number of VMs in the Pool (0 to %(most)s).")
        found.append(("prestarted_vms", text % most))
    elif values.prestarted_vms and values.type != PoolType.AUTOMATIC:
        found.append(("prestarted_vms", _("Only automatic pools can have prestarted VMs.")))
    if not 1 <= values.max_vms_per_user <= MAX_VMS_PER_USER:
        text = _("Number of max assigned VMs per user must be between 1 and 32,767.")
        found.append(("max_vms_per_user", text))
    return found


def _proxy(override: bool, address: str) -> list[tuple[str, str]]:
    if not override:
        if address:
            return [("spice_proxy", _("Choose 'Override SPICE Proxy' to give an address."))]
        return []
    problem = proxy_problem(address)
    return [("spice_proxy", problem)] if problem else []


def _central_data(location: str) -> list[tuple[str, str]]:
    """Where the data of users is: only the guest makes sense of it, and everybody in the guest can read it (R008)."""
    field = "central_data"
    if len(location) > MAX_LOCATION:
        return [(field, _("The location may have at most %(most)s characters.") % {"most": MAX_LOCATION})]
    if not location.isprintable() or location != location.strip():
        return [(field, _("Give the location as one line of visible characters, such as smb://files/home."))]
    if CREDENTIALS.match(location):
        text = _("The location may hold no user name and password: everybody who has a desktop could read them.")
        return [(field, text)]
    return []


def vm_name_problem(name: str, *, max_vm_name: int) -> str | None:
    """Why this cannot be the name of an independent VM."""
    if not name.strip():
        return _("A name is required.")
    if len(name) > max_vm_name:
        return _("The name may have at most %(most)s characters.") % {"most": max_vm_name}
    if not VM_NAME.fullmatch(name):
        return _("The name may hold letters, digits, '.', '_' and '-'.")
    return None


def vm_name(pool_name: str, number: int) -> str:
    """The name of the pool's VM of that number: a run of `?` is the padded number, else `-N` is added."""
    mask = re.search(r"[?]+", pool_name)
    if mask is None:
        return f"{pool_name}-{number}"
    padded = str(number).zfill(len(mask.group()))
    return pool_name[: mask.start()] + padded + pool_name[mask.end() :]


def vm_names(pool_name: str, count: int, *, taken: set[str]) -> list[tuple[int, str]]:
    """The next `count` free (number, name) pairs, counting from 1 and passing over names that exist."""
    names: list[tuple[int, str]] = []
    number = 0
    while len(names) < count:
        number += 1
        name = vm_name(pool_name, number)
        if name not in taken:
            names.append((number, name))
    return names


def prestarts_missing(*, wanted: int, have: int, waiting: int, batch: int) -> int:
    """How many more to prestart now. People in line come first: while anybody waits, nothing starts ahead."""
    return 0 if waiting else max(0, min(wanted - have, batch))
