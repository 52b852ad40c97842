"""Which certificates the displays of hosts show, and whom viewers trust for it.

Keys are never ours: they stay in the folder where the command made them, and on their hosts.
"""

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from broker.drivers import certificates
from broker.drivers.certificates import CertificateError
from broker.errors import Conflict, Invalid
from broker.models import Cluster, Host
from broker.operations import edits


@transaction.atomic
def accept(*, host: Host, authorities: str, certificate: str, by: Any = None) -> None:
    """Tell viewers what to expect of a host from now on, and trust these authorities in all of its cluster.

    Invalid for a certificate that none of them signed; Conflict while other hosts of the cluster show what only an
    authority signed that is not among them: to change it, give both until all hosts have theirs.
    """
    cluster = edits.lock(host.cluster)
    try:
        facts = certificates.read(authorities.encode(), certificate.encode(), timezone.now())
    except CertificateError as error:
        raise Invalid(str(error), field="certificate") from error
    others = cluster.hosts.exclude(pk=host.pk).exclude(spice_subject="")
    if others and not certificates.includes(authorities.encode(), cluster.spice_ca.encode()):
        names = ", ".join(others.order_by("name").values_list("name", flat=True)[:10])
        text = _("Viewers would not trust %(names)s any more. Give the former authority in the same file, too.")
        raise Conflict(text % {"names": names}, field="authorities", code="IN_USE")
    Cluster.objects.filter(pk=cluster.pk).update(spice_ca=authorities)
    values = {"spice_subject": facts.subject, "spice_certified_until": facts.valid_until}
    if edits.apply(edits.lock(host), values, expected=None):
        edits.record("changed", host, by=by, fields="spice_subject")
