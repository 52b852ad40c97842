"""May somebody with this password open the display? The link stage of SPICE, without a viewer."""

import hashlib
import os
import socket
import ssl
import struct
from dataclasses import dataclass

MAGIC = b"REDQ"
VERSION = (2, 2)
MAIN_CHANNEL = 1
PUBLIC_KEY_BYTES = 162  # an RSA key of 1024 bits, as DER
SPICE_TICKETS = 1  # the way to authenticate: an encrypted ticket
# Common abilities: we choose the way to authenticate, with SPICE tickets, and use small headers.
ABILITIES = 1 << 0 | 1 << 1 | 1 << 3
MAIN_INIT = 103
ERRORS = (
    "OK",
    "ERROR",
    "INVALID_MAGIC",
    "INVALID_DATA",
    "VERSION_MISMATCH",
    "NEED_SECURED",
    "NEED_UNSECURED",
    "PERMISSION_DENIED",
    "BAD_CONNECTION_ID",
    "CHANNEL_NOT_AVAILABLE",
)
DIGEST_BYTES = 20


@dataclass(frozen=True)
class Viewer:
    """An open main channel."""

    channel: socket.socket

    def is_connected(self, within_seconds: float) -> bool:
        """Whether the server has not hung up, looking for so long."""
        self.channel.settimeout(within_seconds)
        try:
            while self.channel.recv(4096):
                pass
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        return False


def link(host: str, port: int, password: str, *, ca: str = "") -> str:
    """The word OK, or the name of the error, such as "PERMISSION_DENIED"; with `ca`, as PEM, encrypted."""
    answer, viewer = connect(host, port, password, ca=ca)
    if viewer is not None:
        viewer.channel.close()
    return answer


def connect(host: str, port: int, password: str, *, ca: str = "") -> tuple[str, Viewer | None]:
    """Like `link`, and stay connected."""
    channel = socket.create_connection((host, port), timeout=5)
    if ca:
        channel = ssl.create_default_context(cadata=ca).wrap_socket(channel, server_hostname=host)
    answer = _link(channel, password)
    if answer == "OK":
        return answer, Viewer(channel)
    channel.close()
    return answer, None


def _link(channel: socket.socket, password: str) -> str:
    message = struct.pack("<IBBIIII", 0, MAIN_CHANNEL, 0, 1, 0, 18, ABILITIES)
    channel.sendall(MAGIC + struct.pack("<III", *VERSION, len(message)) + message)
    magic, _major, _minor, size = struct.unpack("<4sIII", _receive(channel, 16))
    if magic != MAGIC:
        raise ValueError(f"This is no SPICE server: {magic!r}")
    reply = _receive(channel, size)
    if error := int.from_bytes(reply[:4], "little"):
        return ERRORS[error]
    encrypted = _encrypt(reply[4 : 4 + PUBLIC_KEY_BYTES], password.encode() + b"\0")
    channel.sendall(struct.pack("<I", SPICE_TICKETS) + encrypted)
    if error := int.from_bytes(_receive(channel, 4), "little"):
        return ERRORS[error]
    kind, size = struct.unpack("<HI", _receive(channel, 6))
    _receive(channel, size)
    if kind != MAIN_INIT:
        raise ValueError(f"The server greets with message {kind}")
    return "OK"


def _receive(channel: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = channel.recv(size - len(received))
        if not piece:
            raise EOFError(f"The server hung up after {len(received)} of {size} bytes")
        received += piece
    return received


def _encrypt(public_key: bytes, message: bytes) -> bytes:
    """RSA with OAEP padding and SHA-1, as SPICE wants it."""
    modulus, exponent = _rsa_numbers(public_key)
    size = (modulus.bit_length() + 7) // 8
    room = size - len(message) - 2 * DIGEST_BYTES - 2
    block = _sha1(b"") + bytes(room) + b"\1" + message
    seed = os.urandom(DIGEST_BYTES)
    masked_block = _xor(block, _mask(seed, len(block)))
    masked_seed = _xor(seed, _mask(masked_block, DIGEST_BYTES))
    number = int.from_bytes(masked_seed + masked_block, "big")
    return pow(number, exponent, modulus).to_bytes(size, "big")


def _mask(seed: bytes, size: int) -> bytes:
    blocks = (_sha1(seed + counter.to_bytes(4, "big")) for counter in range(size // DIGEST_BYTES + 1))
    return b"".join(blocks)[:size]


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()  # SPICE fixes it


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


def _rsa_numbers(public_key: bytes) -> tuple[int, int]:
    """Modulus and exponent: a sequence of (algorithm, bit string holding a sequence of two integers)."""
    key, _end = _der(public_key, 0)
    _algorithm, after = _der(key, 0)
    bits, _end = _der(key, after)
    numbers, _end = _der(bits[1:], 0)
    modulus, after = _der(numbers, 0)
    exponent, _end = _der(numbers, after)
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def _der(data: bytes, start: int) -> tuple[bytes, int]:
    """The content of the DER element that begins there, and where the next one does."""
    length, content = data[start + 1], start + 2
    if length & 0x80:
        digits = length & 0x7F
        length = int.from_bytes(data[content : content + digits], "big")
        content += digits
    return data[content : content + length], content + length
