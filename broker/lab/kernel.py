"""How does the guest's kernel start at once? Debian's, unpacked where the disk is made instead of at every boot.

Without a hypervisor in hardware an emulated processor needs three of its ten seconds to unpack the kernel. The layout
of both files is that of Documentation/arch/x86/boot.rst in Linux (boot protocol 2.08 and later).
"""

import lzma
import struct
from pathlib import Path

from broker.lab.commands import run

START = Path(__file__).with_name("kernel_start.s")
SECTOR = 512
PAGE = 4096
XZ = b"\xfd7zXZ\0"
LOADED_AT = 0x100000
RUNS_AT = 0x1000000

# Where the header of a kernel's file says what.
SETUP_SECTORS = 0x1F1
PARAGRAPHS = 0x1F4  # of 16 bytes, after the setup
IS_RELOCATABLE = 0x234
PAYLOAD = 0x248  # its offset after the setup


def unpacked(packed: bytes, work: Path) -> bytes:
    """The same kernel as a file that a boot loader loads alike; `work` is a folder for what is made on the way."""
    end = (packed[SETUP_SECTORS] + 1) * SECTOR
    setup, rest = bytearray(packed[:end]), packed[end:]
    (offset,) = struct.unpack_from("<I", setup, PAYLOAD)
    if not rest.startswith(XZ, offset):
        return packed  # in a way of packing that is not known here: it unpacks itself
    # What follows the packed kernel is left alone.
    (work / "image").write_bytes(_image(lzma.LZMADecompressor().decompress(rest[offset:])))
    run("as", "--64", "-o", "start.o", str(START), cwd=work)
    run("ld", f"-Ttext={LOADED_AT:#x}", "--oformat", "binary", "-o", "start", "start.o", cwd=work)
    started = (work / "start").read_bytes()
    setup[IS_RELOCATABLE] = 0
    struct.pack_into("<I", setup, PARAGRAPHS, -(-len(started) // 16))
    return bytes(setup) + started


def _image(elf: bytes) -> bytes:
    """What lies in memory from RUNS_AT on when an ELF file is loaded, without the zeros at its end."""
    (headers_at,) = struct.unpack_from("<Q", elf, 0x20)
    (count,) = struct.unpack_from("<H", elf, 0x38)
    image = bytearray()
    for number in range(count):
        kind, _flags, offset, _virtual, address, size = struct.unpack_from("<IIQQQQ", elf, headers_at + 56 * number)
        if kind == 1:  # to be loaded
            at = address - RUNS_AT
            image.extend(bytes(max(0, at + size - len(image))))
            image[at : at + size] = elf[offset : offset + size]
    used = len(image.rstrip(b"\0"))
    return bytes(image[: -(-used // PAGE) * PAGE])
