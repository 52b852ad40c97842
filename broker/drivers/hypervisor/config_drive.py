"""What a desktop is told from outside: a read-only CD with a few small files. Pure: values in, bytes out.

An ISO 9660 volume with Joliet names, which every system reads without a driver of ours. The same values are the same
bytes, to the letter, whenever and wherever they are written; that is what packages that write such volumes, and put
the time into them, do not promise.
"""

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from functools import lru_cache

LABEL = "HOTDESK"
OF_CENTRAL_DATA = re.compile(r"central-data-[0-9a-f]{16}\.iso")

SECTOR = 2048
SYSTEM_AREA = 16  # sectors that the standard leaves to others
PLAIN, JOLIET = 1, 2  # types of volume descriptors
LAST = 255
DIRECTORY = 2  # a flag
NO_TIME = b"0" * 16 + b"\0"
LONG_AGO = bytes((100, 1, 1, 0, 0, 0, 0))  # the first day of 2000


@dataclass(frozen=True)
class ConfigDrive:
    """A drive, by a name that says what is on it."""

    name: str
    content: bytes


@lru_cache(maxsize=1000)
def for_central_data(location: str) -> ConfigDrive:
    """The drive that tells a desktop where its user's data is (R008)."""
    document = json.dumps({"central_data": location}, ensure_ascii=False, indent=2)
    content = image({"central-data": f"{location}\n".encode(), "hotdesk.json": f"{document}\n".encode()})
    return ConfigDrive(f"central-data-{hashlib.sha256(content).hexdigest()[:16]}.iso", content)


def image(files: dict[str, bytes]) -> bytes:
    """The volume, with these files in its only folder."""
    tables = SYSTEM_AREA + 3
    folders = {PLAIN: tables + 4, JOLIET: tables + 5}
    placed, at = [], tables + 6
    for name, content in sorted(files.items()):
        placed.append((name, at, len(content)))
        at += len(_filled(content)) // SECTOR
    sectors = [
        *[b""] * SYSTEM_AREA,
        _descriptor(PLAIN, size=at, tables=tables, folder=folders[PLAIN]),
        _descriptor(JOLIET, size=at, tables=tables + 2, folder=folders[JOLIET]),
        bytes((LAST,)) + b"CD001\x01",
        *(_path_table(folder, order) for folder in folders.values() for order in "<>"),
        *(_folder(kind, folder, placed) for kind, folder in folders.items()),
        *(files[name] for name, _at, _length in placed),
    ]
    return b"".join(map(_filled, sectors))


def _filled(content: bytes) -> bytes:
    """Whole sectors, and one at least."""
    return content.ljust(max(1, -(-len(content) // SECTOR)) * SECTOR, b"\0")


def _descriptor(kind: int, *, size: int, tables: int, folder: int) -> bytes:
    """What the volume is called, how large it is, and where its folder is."""

    def text(words: str, length: int) -> bytes:
        return _words(kind, words.ljust(length if kind == PLAIN else length // 2))

    escape = b"%/E" if kind == JOLIET else b""  # UCS-2, level 3
    path_table = len(_path_table(folder, "<"))
    parts = [
        bytes((kind,)) + b"CD001\x01\0",
        text("", 32) + text(LABEL, 32),
        bytes(8) + _both(size, 4) + escape.ljust(32, b"\0"),
        _both(1, 2) + _both(1, 2) + _both(SECTOR, 2),
        _both(path_table, 4) + struct.pack("<II", tables, 0) + struct.pack(">II", tables + 1, 0),
        _record(b"\0", folder, SECTOR, DIRECTORY),
        text("", 128) * 4 + text("", 38)[:37] * 3,
        NO_TIME * 4 + b"\x01\0",
    ]
    return b"".join(parts)


def _path_table(folder: int, order: str) -> bytes:
    return struct.pack(f"{order}BBIH", 1, 0, folder, 1) + b"\0\0"


def _folder(kind: int, at: int, placed: list[tuple[str, int, int]]) -> bytes:
    """Itself, what contains it, which is itself again, and its files."""
    own = [_record(name, at, SECTOR, DIRECTORY) for name in (b"\0", b"\x01")]
    return b"".join(own + [_record(_file_name(kind, name), start, length) for name, start, length in placed])


def _file_name(kind: int, name: str) -> bytes:
    if kind == JOLIET:
        return _words(JOLIET, name)
    strict = name.upper().replace("-", "_")
    return _words(PLAIN, f"{strict}{'' if '.' in strict else '.'};1")


def _record(name: bytes, at: int, length: int, flags: int = 0) -> bytes:
    padding = b"" if len(name) % 2 else b"\0"
    body = b"\0" + _both(at, 4) + _both(length, 4) + LONG_AGO + bytes((flags, 0, 0)) + _both(1, 2)
    body += bytes((len(name),)) + name + padding
    return bytes((len(body) + 1,)) + body


def _words(kind: int, words: str) -> bytes:
    return words.encode("ascii" if kind == PLAIN else "utf-16-be")


def _both(number: int, length: int) -> bytes:
    """A number in both orders of bytes, as the standard wants it."""
    return number.to_bytes(length, "little") + number.to_bytes(length, "big")
