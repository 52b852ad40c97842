"""Every state of VM, host, request and job, and the allowed moves as one table each."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class VmStatus(TextChoices):
    """What the hypervisor last reported of a VM."""

    DOWN = "down", _("Down")
    POWERING_UP = "powering_up", _("Powering up")
    UP = "up", _("Up")
    PAUSED = "paused", _("Paused")
    MIGRATING = "migrating", _("Migrating")
    POWERING_DOWN = "powering_down", _("Powering down")
    NOT_RESPONDING = "not_responding", _("Not responding")
    UNKNOWN = "unknown", _("Unknown")


class VmHold(TextChoices):
    """Why a VM may not be offered to anybody."""

    CREATING = "creating", _("Being created")
    RESETTING = "resetting", _("Being reset")
    ERROR = "error", _("Error")
    ADMINISTRATOR = "administrator", _("In use by an administrator")
    MAINTENANCE = "maintenance", _("Maintenance")
    FAULTY = "faulty", _("Marked as faulty")
    REMOVING = "removing", _("Being removed")


class RunMode(TextChoices):
    """Where a run writes: to a layer that is destroyed afterwards, or to the VM's own disk."""

    STATELESS = "stateless", _("Stateless")
    STATEFUL = "stateful", _("Stateful")


class RequestState(TextChoices):
    """The life of one wish for a desktop."""

    QUEUED = "queued", _("In line")
    STARTING = "starting", _("Starting")
    READY = "ready", _("Ready")
    RETURNING = "returning", _("Being returned")
    ENDED = "ended", _("Ended")


class EndReason(TextChoices):
    """Why a wish ended, for its owner to read."""

    RETURNED = "returned", _("The desktop was returned.")
    CANCELLED = "cancelled", _("You left the line.")
    SHUT_DOWN = "shut_down", _("The desktop was shut down.")
    FAILED = "failed", _("The desktop stopped unexpectedly.")
    EXPIRED = "expired", _("The time to use it had passed.")
    REVOKED = "revoked", _("Your permission on the pool was removed.")
    REMOVED = "removed", _("The pool was removed.")


class Ending(TextChoices):
    """What a desktop's time is measured by; the label says why it ended, for its owner to read."""

    HOLD = "hold", _("It was held for a while, and nobody connected to it in that time.")
    CONNECT = "connect", _("Nobody connected to it in the time allowed for that.")
    DISCONNECTED = "disconnected", _("Nobody came back to it in time after the viewer was closed.")
    SESSION = "session", _("The longest time that a desktop of this pool may be kept had passed.")
    IDLE = "idle", _("Nothing had happened on it for as long as this pool allows.")
    SHIFT = "shift", _("The shift for which it was taken had ended.")


class AtShiftEnd(TextChoices):
    """What is done with those who are still there when a shift and its grace have ended."""

    REMIND = "remind", _("They are reminded, and stay")
    CHECK_OUT = "check_out", _("They are checked out, after a warning")


class ConsoleKind(TextChoices):
    """What is opened in the browser: the screen, or the serial line."""

    GRAPHICAL = "graphical", _("Screen")
    TEXT = "text", _("Text console")


class ConsoleEnd(TextChoices):
    """Why a console in the browser ended, for whoever looked at it to read."""

    CLOSED = "closed", _("You closed it.")
    LOST = "lost", _("The connection to your browser was lost.")
    OVER = "over", _("The desktop was given back or switched off.")
    REVOKED = "revoked", _("Your permission was removed.")
    SIGNED_OUT = "signed_out", _("You signed out.")
    TAKEN_OVER = "taken_over", _("Somebody else took it over.")
    REOPENED = "reopened", _("You opened it anew.")


class OfferRule(TextChoices):
    """Which rule chose a VM for whoever was next; of equals the one that failed least, then the lowest number."""

    READY = "ready", _("It was running and ready, and those come first.")
    STARTING = "starting", _("None was ready; it was starting already, and those come before the ones that are off.")
    OFF = "off", _("None was running; it was off and clean, and a host had room for it.")


class HostStatus(TextChoices):
    """Whether a host may run VMs."""

    ACTIVATING = "activating", _("Activating")
    UP = "up", _("Up")
    PREPARING = "preparing", _("Preparing for maintenance")
    NON_RESPONSIVE = "non_responsive", _("Not responding")
    NON_OPERATIONAL = "non_operational", _("Non operational")
    MAINTENANCE = "maintenance", _("Maintenance")


class JobState(TextChoices):
    """How far a long job, or one item of it, has come."""

    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")


class PoolType(TextChoices):
    """Who returns a desktop: its shutdown, or an administrator (R051)."""

    AUTOMATIC = "automatic", _("Automatic")
    MANUAL = "manual", _("Manual")


class OptimizedFor(TextChoices):
    """What the VMs of a template are tuned for (R041)."""

    DESKTOP = "desktop", _("Desktop")
    SERVER = "server", _("Server")


class ReadyWhen(TextChoices):
    """How a template tells that its guest can be used: a picture on the display comes long before."""

    AGENT = "agent", _("The guest agent answers")
    SERIAL = "serial", _("A text appears on the serial console")
    DELAY = "delay", _("A time has passed since the start")


class Graphics(TextChoices):
    """How the display of a template's desktops is opened."""

    SPICE = "spice", _("SPICE")
    VNC = "vnc", _("VNC (no sound, no USB devices, not encrypted)")


class StartRunningOn(TextChoices):
    """Which hosts of its cluster a VM may start on (R073, R074)."""

    ANY = "any", _("Any Host in Cluster")
    SPECIFIC = "specific", _("Specific Host(s)")


class MigrationMode(TextChoices):
    """Who may move a running VM (R077 to R079)."""

    ALLOW = "allow", _("Allow manual and automatic migration")
    MANUAL_ONLY = "manual_only", _("Allow manual migration only")
    NEVER = "never", _("Do not allow migration")


class MigrationPolicy(TextChoices):
    """How hard a migration tries to converge (R082 to R088)."""

    LEGACY = "legacy", _("Legacy")
    MINIMAL_DOWNTIME = "minimal_downtime", _("Minimal downtime")
    SUSPEND_WORKLOAD = "suspend_workload", _("Suspend workload if needed")


class Inherit(TextChoices):
    """A choice that may be left to whatever contains the object (R094, R099)."""

    INHERIT = "inherit", _("Inherit")
    ON = "on", _("On")
    OFF = "off", _("Off")


class ColorDepth(TextChoices):
    """In how many colours a viewer draws, for slow lines."""

    NONE = "none", _("As the desktop has it")
    BITS_16 = "16", _("16 bits")
    BITS_32 = "32", _("32 bits")


class Effect(TextChoices):
    """What a guest leaves out for a viewer on a slow line, in the order of the connection file."""

    ANIMATION = "animation", _("Animations")
    WALLPAPER = "wallpaper", _("Wallpaper")
    FONT_SMOOTH = "font-smooth", _("Smooth fonts")
    ALL = "all", _("All effects")


class NumaTuneMode(TextChoices):
    """Where a virtual NUMA node gets its memory when its host nodes run short (R103 to R106)."""

    STRICT = "strict", _("Strict")
    PREFERRED = "preferred", _("Preferred")
    INTERLEAVE = "interleave", _("Interleave")


class VersionState(TextChoices):
    """Whether a template version can be used yet."""

    PREPARING = "preparing", _("Being prepared")
    READY = "ready", _("Ready")
    FAILED = "failed", _("Failed")


# A wish that still wants or holds a desktop; these count against the limit of a user (I3).
LIVE = (RequestState.QUEUED, RequestState.STARTING, RequestState.READY)
# A wish that keeps a VM from everybody else (I1).
HOLDING = (RequestState.STARTING, RequestState.READY, RequestState.RETURNING)
# Those whom others wait behind.
NOT_READY = (RequestState.QUEUED, RequestState.STARTING)

# Hosts whose VMs are worked on; new ones start on those that are up alone.
WORKING = (HostStatus.UP, HostStatus.PREPARING)

REQUEST_MOVES: dict[str, tuple[str, ...]] = {
    RequestState.QUEUED: (RequestState.STARTING, RequestState.READY, RequestState.ENDED),
    RequestState.STARTING: (RequestState.READY, RequestState.RETURNING, RequestState.ENDED),
    RequestState.READY: (RequestState.RETURNING,),
    RequestState.RETURNING: (RequestState.ENDED,),
    RequestState.ENDED: (),
}

HOST_MOVES: dict[str, tuple[str, ...]] = {
    HostStatus.MAINTENANCE: (HostStatus.ACTIVATING,),
    HostStatus.ACTIVATING: (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.NON_RESPONSIVE),
    HostStatus.UP: (HostStatus.PREPARING, HostStatus.NON_RESPONSIVE, HostStatus.NON_OPERATIONAL),
    HostStatus.PREPARING: (HostStatus.MAINTENANCE, HostStatus.UP, HostStatus.NON_RESPONSIVE),
    HostStatus.NON_RESPONSIVE: (HostStatus.UP, HostStatus.PREPARING, HostStatus.ACTIVATING, HostStatus.MAINTENANCE),
    HostStatus.NON_OPERATIONAL: (HostStatus.ACTIVATING, HostStatus.MAINTENANCE),
}


class Scope(TextChoices):
    """What an API token is for."""

    READ = "read", _("Look at everything that you may see, and change nothing")
    DESKTOPS = "desktops", _("Take, use and return your own desktops")
    EVERYTHING = "everything", _("Everything that you may do")
