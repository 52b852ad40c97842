"""Say how each host is reached, so that `virsh -c URI` shows what Hotdesk runs there."""

from typing import Any

from django.core.management.base import BaseCommand

from broker.models import Host


class Command(BaseCommand):
    """`hosts`: name, status, acceleration and libvirt URI, a line each."""

    help = "List the hosts with their libvirt URIs."

    def handle(self, *args: Any, **options: Any) -> None:
        for host in Host.objects.order_by("name"):
            self.stdout.write(f"{host.name}\t{host.status}\t{host.acceleration or '-'}\t{host.uri}")
