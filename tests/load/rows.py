"""Read the rows into a record. Only where Django is set up."""

from collections.abc import Iterable

from broker import access
from broker.models import Certificate, DesktopRequest, Event, Nic, Pool, VirtualMachine, Volume
from broker.states import LIVE
from tests.load.record import Answer, Layer, Line, Machine, Machinery, Record, Told, Wish


def read(hosts: Iterable[Machinery], answers: Iterable[Answer], most_per_user: dict[str, int]) -> Record:
    """The rows as they are now; `most_per_user` names the pools whose limit was changed."""
    pools = list(Pool.objects.select_related("cluster"))
    permitted = {pool.pk: set(access.who_can("use_pool", pool).values_list("pk", flat=True)) for pool in pools}
    offered = set(VirtualMachine.objects.offerable().values_list("pk", flat=True))
    return Record(
        wishes=[
            Wish(
                id=row.pk,
                pool=row.pool_id,
                user=row.user_id,
                name=row.user.username,
                ticket=row.ticket,
                slot=row.slot,
                state=row.state,
                end_reason=row.end_reason,
                vm=row.vm_id,
                allocation=row.allocation_id,
                certificate=row.certificate_id,
                requested_at=row.requested_at,
                assigned_at=row.assigned_at,
                ready_at=row.ready_at,
                returned_at=row.returned_at,
                ended_at=row.ended_at,
                permitted=row.state not in LIVE or row.user_id in permitted.get(row.pool_id, ()),
            )
            for row in DesktopRequest.objects.select_related("user").order_by("ticket")
        ],
        machines=[
            Machine(
                id=row.pk,
                name=row.name,
                pool=row.pool_id,
                host=row.host_id,
                hold=row.hold,
                run_mode=row.run_mode,
                run_number=row.run_number,
                memory_mib=row.memory_mib,
                ready=row.ready_at is not None,
                offered=row.pk in offered,
                files=frozenset(volume.name for volume in row.left_behind()),
            )
            for row in VirtualMachine.objects.select_related("volume__storage_pool")
        ],
        layers=[
            Layer(
                id=row.pk,
                vm=row.vm_id,
                vm_name=row.vm_name,
                run_number=row.run_number,
                file=row.layer,
                made_at=row.made_at,
                before=row.layer_before,
                before_destroyed_at=row.layer_before_destroyed_at,
                destroyed_at=row.destroyed_at,
            )
            for row in Certificate.objects.all()
        ],
        events=[
            Told(row.at, row.kind, row.request_id, row.vm_id, row.pool_id, row.facts.get("name", ""))
            for row in Event.objects.order_by("at")
        ],
        lines=[
            Line(pool.pk, pool.name, pool.prestarted_vms, most_per_user.get(pool.name, pool.max_vms_per_user))
            for pool in pools
        ],
        hosts=list(hosts),
        volumes=frozenset(Volume.objects.values_list("name", flat=True)),
        macs=list(Nic.objects.values_list("mac", flat=True)),
        answers=list(answers),
    )
