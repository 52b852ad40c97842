"""Why something cannot be done with a virtual machine now, in a sentence; nothing where it can."""

from typing import Any

from django.utils.translation import gettext as _

from broker.states import RequestState, RunMode, VmStatus
from portal import browser_packages


def why_not_started(vm: Any) -> str | None:
    if vm.run_mode or vm.hold or vm.status != VmStatus.DOWN:
        return _("It can be started while it is down, nobody has it and nothing holds it.")
    return None


def why_not_stopped(vm: Any) -> str | None:
    return None if vm.run_mode else _("It is not running.")


def why_not_up(vm: Any) -> str | None:
    return None if vm.ready_at else _("It is not up yet.")


def why_not_suspended(vm: Any) -> str | None:
    return _("It is suspended already.") if vm.suspended else why_not_up(vm)


def why_not_resumed(vm: Any) -> str | None:
    return None if vm.suspended else _("It is not suspended.")


def why_not_released(vm: Any) -> str | None:
    return None if vm.run_mode or vm.hold else _("It is down and free already.")


def why_not_detached(vm: Any) -> str | None:
    if vm.pool_id is None:
        return _("%(vm)s is independent already.") % {"vm": vm}
    if vm.run_mode or vm.status != VmStatus.DOWN or vm.held_for:
        return _("%(vm)s cannot be detached while it is running or somebody has it.") % {"vm": vm}
    return None


def why_not_at_rest(vm: Any) -> str | None:
    if vm.run_mode or vm.status != VmStatus.DOWN or vm.held_for:
        return _("%(vm)s must be down, and nobody may have it.") % {"vm": vm}
    return None


def why_not_removed(vm: Any) -> str | None:
    if vm.delete_protection:
        return _("%(vm)s is delete protected. Switch that off in Edit first.") % {"vm": vm}
    return why_not_at_rest(vm)


def why_not_opened(vm: Any) -> str | None:
    if vm.run_mode == RunMode.STATEFUL and vm.ready_at:
        return None
    return _("It can be opened from here while it was started from here, and once it is up.")


def why_not_opened_in_browser(vm: Any) -> str | None:
    return why_not_opened(vm) or _why_not_in_browser()


def why_not_watched(vm: Any) -> str | None:
    if not any(wish.state == RequestState.READY for wish in vm.held_for):
        return _("Nobody has it in hand now.")
    return _why_not_in_browser()


def _why_not_in_browser() -> str | None:
    if browser_packages.ARE_INSTALLED:
        return None
    return _("Desktops cannot be opened in the browser here; open them with Remote Viewer.")
