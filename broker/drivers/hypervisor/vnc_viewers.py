"""Throw the viewers of a VNC display out. QEMU has no command for it: whoever connects alone takes the others' place.

The few messages of RFC 6143 up to there, with the one way to authenticate that our displays ask for.
"""

import socket

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from broker.drivers.hypervisor.domain_xml import VNC_PASSWORD_LIMIT
from broker.drivers.hypervisor.interface import HypervisorError

VERSION = b"RFB 003.008\n"
BY_PASSWORD = 2
CHALLENGE_BYTES = 16
PATIENCE_SECONDS = 5.0
ALONE = b"\x00"


def throw_out(address: str, port: int, password: str) -> None:
    """Take the display for ourselves with this password, and let go of it; HypervisorError where that fails."""
    try:
        with socket.create_connection((address, port), PATIENCE_SECONDS) as display:
            _enter(display, password)
            display.sendall(ALONE)
            _read(display, 4)  # the size of the picture: by then the others are gone
    except OSError as error:
        raise HypervisorError(f"The display cannot be reached: {error}") from error


def _enter(display: socket.socket, password: str) -> None:
    _read(display, len(VERSION))
    display.sendall(VERSION)
    if BY_PASSWORD not in _read(display, _read(display, 1)[0]):
        raise HypervisorError("The display does not ask for a password.")
    display.sendall(bytes([BY_PASSWORD]))
    display.sendall(_answer(_read(display, CHALLENGE_BYTES), password))
    if any(_read(display, 4)):
        raise HypervisorError("The display refused the password.")


def _answer(challenge: bytes, password: str) -> bytes:
    """The challenge under DES, whose key is the password with the bits of each byte the other way round."""
    key = password.encode()[:VNC_PASSWORD_LIMIT].ljust(VNC_PASSWORD_LIMIT, b"\0")
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    des = Cipher(TripleDES(turned * 3), modes.ECB()).encryptor()  # noqa: S305 VNC has nothing better
    return des.update(challenge) + des.finalize()


def _read(display: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = display.recv(count - len(found))
        if not more:
            raise HypervisorError("The display hung up.")
        found += more
    return found
