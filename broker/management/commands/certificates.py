"""Certificates for encrypted displays: one authority for the installation, and a key for each host.

One authority, because viewers know only the one that the connection file brings along: a second one would guard
nothing more, and be one more key to lose. Clusters whose certificates come from elsewhere have theirs beside it.
"""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from broker import config
from broker.drivers import certificates
from broker.drivers.certificates import CertificateError, KeyPair
from broker.errors import Refused
from broker.models import Host
from broker.operations import display_certificates

# As QEMU wants them.
CA, CERTIFICATE, KEY = "ca-cert.pem", "server-cert.pem", "server-key.pem"
AUTHORITY_KEY = "ca-key.pem"
NEXT = """\
Copy the folder of each host to /etc/pki/libvirt-spice there, readable by QEMU's user. In /etc/libvirt/qemu.conf set
    spice_tls = 1
    spice_tls_x509_cert_dir = "/etc/pki/libvirt-spice"
and restart its libvirt daemon. Desktops that are started from then on can be opened encrypted."""


class Command(BaseCommand):
    """`certificates make FOLDER` and `certificates use HOST`."""

    help = "Make, or accept, the certificates that displays are encrypted with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Two ways: ours, or those of somebody else."""
        ways = parser.add_subparsers(dest="way", required=True)
        make = ways.add_parser("make", help="make an authority and certificates; what is there already is kept")
        make.add_argument("folder", type=Path)
        make.add_argument("--host", action="append", metavar="NAME", help="only for this one; may be repeated")
        make.add_argument("--renew", action="store_true", help="make new ones for hosts that have one")
        use = ways.add_parser("use", help="accept a certificate that somebody else signed")
        use.add_argument("host", metavar="HOST")
        use.add_argument("--authority", type=Path, required=True, metavar="FILE")
        use.add_argument("--certificate", type=Path, required=True, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit with one sentence where it cannot be."""
        try:
            if options["way"] == "make":
                self._make(options["folder"], options["host"], renew=options["renew"])
            else:
                host = _host(options["host"])
                self._accept(host, options["authority"].read_bytes(), options["certificate"].read_bytes())
        except (CertificateError, OSError, UnicodeDecodeError) as error:
            raise CommandError(str(error)) from error
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal

    def _make(self, folder: Path, names: list[str] | None, *, renew: bool) -> None:
        hosts = [_host(name) for name in names] if names else list(Host.objects.select_related("cluster"))
        authority = _authority(folder)
        for host in hosts:
            below = folder / _folder_name(host)
            if renew or not _is_good(below, authority, host):
                pair = certificates.sign_host(authority, host.display_address, timezone.now())
                _write(below / CA, authority.certificate)
                _write(below / KEY, pair.key)
                _write(below / CERTIFICATE, pair.certificate)
            self._accept(host, authority.certificate, (below / CERTIFICATE).read_bytes())
        self.stdout.write(NEXT)

    def _accept(self, host: Host, authorities: bytes, certificate: bytes) -> None:
        display_certificates.accept(host=host, authorities=authorities.decode(), certificate=certificate.decode())
        host.refresh_from_db()
        self.stdout.write(f"{host.name}\t{host.spice_subject}\tuntil {host.spice_certified_until:%Y-%m-%d}")


def _host(name: str) -> Host:
    host = Host.objects.select_related("cluster").filter(name=name).first()
    if host is None:
        raise CommandError(f"There is no host {name}.")
    return host


def _authority(folder: Path) -> KeyPair:
    """The one that the folder has, made when it is not there yet."""
    if not (folder / AUTHORITY_KEY).exists():
        made = certificates.make_authority(f"Hotdesk {config.installation()}", timezone.now())
        _write(folder / AUTHORITY_KEY, made.key)
        _write(folder / CA, made.certificate)
    return KeyPair((folder / CA).read_bytes(), (folder / AUTHORITY_KEY).read_bytes())


def _is_good(below: Path, authority: KeyPair, host: Host) -> bool:
    """Whether the folder holds a certificate of ours that counts, for where viewers reach the host now."""
    try:
        found = certificates.read(authority.certificate, (below / CERTIFICATE).read_bytes(), timezone.now())
    except (CertificateError, FileNotFoundError):
        return False
    return found.subject == certificates.subject_of_host(host.display_address)


def _folder_name(host: Host) -> str:
    plain = host.name.isascii() and all(one.isalnum() or one in "._-" for one in host.name)
    return host.name if plain and host.name.strip(".") else str(host.pk)


def _write(file: Path, content: bytes) -> None:
    """At once, and for nobody else's eyes."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_suffix(".new")
    with open(beside, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
        target.write(content)
    beside.rename(file)
