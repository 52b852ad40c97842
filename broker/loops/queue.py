"""Serve a pool's line, then renew and start ahead what the line leaves over."""

from uuid import UUID

from broker.models import Line, Pool
from broker.operations import desktops, pools


def serve_pool(pool_id: UUID) -> None:
    """Match people and VMs until nobody waits or nothing is free."""
    try:
        while desktops.serve(pool_id=pool_id):
            pass
        pools.renew(pool_id=pool_id)
        pools.prestart(pool_id=pool_id)
    except (Line.DoesNotExist, Pool.DoesNotExist):
        return  # the pool was removed since the wake-up was sent
