"""Celery's way in: clear the flag, load, one call. All are idempotent; a lost message is healed by the sweep."""

from uuid import UUID, uuid4

from celery import shared_task
from django.conf import settings

from broker import config, jobs, leases
from broker.drivers import hypervisor
from broker.loops import access, host_health, queue
from broker.loops import converge as converge_loop
from broker.loops import deadlines as deadlines_loop
from broker.loops import shifts as shifts_loop
from broker.loops import sweep as sweep_loop
from broker.models import Host, VirtualMachine
from broker.operations import consoles, deadlines, directory, hosts, mails, pools, shifts, templates
from broker.states import HostStatus

# A look at a host includes a boot probe.
ACTIVATION_SECONDS = settings.TASK_SECONDS + 60


@shared_task(name="broker.allocate")
def allocate(pool_id: str) -> None:
    """Serve the line of a pool."""
    jobs.clear_flag("broker.allocate", pool_id)
    queue.serve_pool(UUID(pool_id))


@shared_task(name="broker.converge")
def converge(vm_id: str) -> None:
    """Take the next steps with a VM."""
    jobs.clear_flag("broker.converge", vm_id)
    converge_loop.converge(UUID(vm_id))


@shared_task(name="broker.look_again")
def look_again(vm_id: str) -> None:
    """The same, after a wait for something that sends no event."""
    jobs.clear_flag("broker.look_again", vm_id)
    converge_loop.converge(UUID(vm_id))


@shared_task(name="broker.set_ticket")
def set_ticket(ticket_id: str) -> None:
    """Set the newest ticket of a desktop on its host."""
    consoles.set_on_host(ticket_id=UUID(ticket_id))


@shared_task(name="broker.reboot")
def reboot(vm_id: str, run_number: str) -> None:
    """Restart a guest, unless its run is over by now."""
    vm = VirtualMachine.objects.select_related("host").get(pk=vm_id)
    if vm.host is not None and vm.run_number == int(run_number):
        hypervisor.connect(vm.host.uri).reboot(vm.pk, config.installation(), run=vm.run_number)


@shared_task(name="broker.activate_host", time_limit=ACTIVATION_SECONDS)
def activate_host(host_id: str) -> None:
    """Look at a host that is to run VMs: one worker at a time, for two boot probes would disturb each other."""
    office, holder = f"activate {host_id}", str(uuid4())
    if not leases.hold(office, seconds=ACTIVATION_SECONDS + 3, holder=holder):
        return
    host = Host.objects.select_related("cluster__data_center").get(pk=host_id)
    if host.status == HostStatus.ACTIVATING:
        hosts.activate_on_host(host=host)
    leases.release(office, holder=holder)


@shared_task(name="broker.prepare_version", time_limit=settings.IMAGE_SECONDS)
def prepare_version(version_id: str) -> None:
    """Copy the image of a new template version: one worker at a time."""
    with leases.kept(f"prepare {version_id}", seconds=settings.TASK_SECONDS) as mine:
        if mine:
            templates.prepare_on_host(version_id=UUID(version_id))


@shared_task(name="broker.look_at_display")
def look_at_display(vm_id: str) -> None:
    """After a viewer's channel was closed."""
    jobs.clear_flag("broker.look_at_display", vm_id)
    deadlines_loop.look_at_display(UUID(vm_id))


@shared_task(name="broker.look_at_displays")
def look_at_displays(host_id: str) -> None:
    """Who looks at which desktops of a host."""
    deadlines_loop.look_at_displays(UUID(host_id))


@shared_task(name="broker.keep_time")
def keep_time() -> None:
    """Find the desktops of which a warning, or the end, is due."""
    deadlines_loop.keep_time()


@shared_task(name="broker.deadline")
def deadline(request_id: str) -> None:
    """Warn, or take a desktop back."""
    deadlines_loop.deadline(UUID(request_id))


@shared_task(name="broker.tell_guest")
def tell_guest(request_id: str) -> None:
    """Say a warning on the desktop itself."""
    deadlines.tell_guest_on_host(request_id=UUID(request_id))


@shared_task(name="broker.tell_asked_back")
def tell_asked_back(request_id: str) -> None:
    """Say on a desktop that somebody asks for its return."""
    deadlines.tell_asked_back_on_host(request_id=UUID(request_id))


@shared_task(name="broker.keep_shifts")
def keep_shifts() -> None:
    """Open the shifts that begin, and find whoever is to be reminded or to go."""
    shifts_loop.keep_shifts()


@shared_task(name="broker.keep_attendance")
def keep_attendance(attendance_id: str) -> None:
    """Remind somebody of the end of the shift, or end the wait of somebody whose shift is over."""
    shifts.keep(attendance_id=UUID(attendance_id))


@shared_task(name="broker.remind_guest")
def remind_guest(attendance_id: str) -> None:
    """Say a reminder on the desktop itself."""
    shifts.remind_guest_on_host(attendance_id=UUID(attendance_id))


@shared_task(name="broker.mail_ready")
def mail_ready(request_id: str) -> None:
    """Tell somebody who asked for it that the desktop is ready."""
    mails.send_ready(request_id=UUID(request_id))


@shared_task(name="broker.tidy_pool")
def tidy_pool(pool_id: str) -> None:
    """After VMs of a pool went."""
    pools.tidy(pool_id=UUID(pool_id))


@shared_task(name="broker.enforce_access")
def enforce_access(key: str) -> None:
    """After somebody lost a right."""
    jobs.clear_flag("broker.enforce_access", key)
    access.enforce()


@shared_task(name="broker.close_display")
def close_display(ticket_id: str) -> None:
    """Throw out a viewer whose user lost the right to it."""
    consoles.close_revoked_on_host(ticket_id=UUID(ticket_id))


@shared_task(name="broker.monitor_hosts")
def monitor_hosts() -> None:
    """One task per host, so that a host that hangs delays no other."""
    for host_id in host_health.monitored():
        jobs.send("broker.monitor_host", host_id)


@shared_task(name="broker.monitor_host")
def monitor_host(host_id: str) -> None:
    """Compare a host with our rows."""
    host_health.check(UUID(host_id))


@shared_task(name="broker.check_directory")
def check_directory() -> None:
    """Follow what the directory says of those who came from it."""
    directory.check()


@shared_task(name="broker.sweep")
def sweep() -> None:
    """Wake whatever should be moving."""
    sweep_loop.sweep()
