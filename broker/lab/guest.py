"""What does a demo desktop run? Builds "Tiny Linux", a bootable qcow2 disk made of Debian packages only.

The guest shows a picture, answers the guest agent and the power button, has a root shell on its first
serial port, and keeps what is written below /data on its disk (`echo mark > /data/marker; sync`). What Hotdesk tells
it is mounted read-only at /run/hotdesk. It prints a line starting with `HOTDESK-READY` on that port once its agent
runs, and before it `HOTDESK-CENTRAL-DATA LOCATION` where it was told one. It wants 128 MiB of memory.

Nothing is mounted and no privilege is needed: mtools and syslinux write the file systems into the image.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from broker.lab import kernel as kernels
from broker.lab.commands import run

BACKGROUND = "#0b7a75"  # what a screenshot of the guest mostly shows
DISPLAY_SIZE = (1024, 768)
READY_MARK = "HOTDESK-READY"

MIB = 1024 * 1024
DATA_MIB = 16
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "guest"
INIT = Path(__file__).with_name("guest_init.sh")
# What the disk depends on beside Debian's packages.
RECIPE = (Path(__file__), INIT, Path(kernels.__file__), kernels.START)

# In the order of insertion: each module after those it needs.
MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "drivers/char/virtio_console",
    "drivers/virtio/virtio_balloon",
    "drivers/acpi/button",
    "drivers/input/evdev",
    "fs/nls/nls_cp437",
    "fs/nls/nls_ascii",
    "fs/fat/fat",
    "fs/fat/vfat",
)
# What reads the config drive, in the same order; loaded while the rest starts.
DRIVE_MODULES = (
    "drivers/scsi/scsi_common",
    "drivers/scsi/scsi_mod",
    "drivers/ata/libata",
    "drivers/ata/ata_piix",
    "drivers/cdrom/cdrom",
    "drivers/scsi/sr_mod",
    "fs/isofs/isofs",
)
PROGRAMS = {"/bin/busybox": "bin/busybox", "/usr/sbin/qemu-ga": "bin/qemu-ga"}

# The agent calls /sbin/shutdown with -P, -H or -r; the power button has its own script. Messages for whoever sits
# there come to `wall`, which busybox lacks.
SCRIPTS = {
    "bin/wall": '#!/bin/sh\nsed "s/^/HOTDESK-MESSAGE /" > /dev/ttyS0\n',
    "sbin/shutdown": '#!/bin/sh\nsync\ncase "$*" in *-r*) exec reboot -f ;; *) exec poweroff -f ;; esac\n',
    "etc/acpi/PWRF/00000080": "#!/bin/sh\nsync\nexec poweroff -f\n",
}

# vga=0x344 is 1024x768 with 32 bits on the emulated cards; the kernel talks on the serial port only, so
# that nothing is ever written over the picture.
BOOT_MENU = """\
default tiny
prompt 0
timeout 0
label tiny
 kernel vmlinuz
 append initrd=initrd.gz quiet vga=0x344 console=ttyS0 vt.global_cursor_default=0 tsc=reliable no_timer_check
"""


def build(target: Path, *, cache: Path = CACHE) -> None:
    """Make the image at the target unless it is there as it would be made now; the kernel is kept in the cache."""
    if is_current(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    kernel = _kernel(cache)
    with tempfile.TemporaryDirectory(prefix="tiny-linux-") as name:
        work = Path(name)
        initrd = _initrd(work, kernel)
        vmlinuz = work / "vmlinuz"
        vmlinuz.write_bytes(kernels.unpacked((kernel / "vmlinuz").read_bytes(), work))
        disk = _disk(work, vmlinuz, initrd)
        # Beside the target, so that the last step is one rename and nobody ever sees half an image.
        made = target.with_name(f".{target.name}.{os.getpid()}")
        run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compat=1.1", str(disk), str(made))
        made.replace(target)
    _stamp(target).write_text(_recipe())


def is_current(target: Path) -> bool:
    """Whether the image is there, and was made by what stands here now."""
    stamp = _stamp(target)
    return target.exists() and stamp.exists() and stamp.read_text() == _recipe()


def _stamp(target: Path) -> Path:
    return target.with_name(f"{target.name}.recipe")


def _recipe() -> str:
    return hashlib.sha256(b"".join(text.read_bytes() for text in RECIPE)).hexdigest()


def _kernel(cache: Path) -> Path:
    """A folder with Debian's ordinary kernel (the cloud one has no display) and the modules we need."""
    wanted = hashlib.sha256(" ".join(MODULES + DRIVE_MODULES).encode()).hexdigest()
    folder = cache / f"kernel-{wanted[:12]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as name:
        work = Path(name)
        package = _download_kernel(work)
        run("dpkg-deb", "-x", str(package), str(work / "unpacked"))
        made = work / "kernel"
        (made / "modules").mkdir(parents=True)
        shutil.copy(next((work / "unpacked/boot").glob("vmlinuz-*")), made / "vmlinuz")
        modules = next((work / "unpacked/lib/modules").iterdir()) / "kernel"
        for module in MODULES + DRIVE_MODULES:
            shutil.copy(modules / f"{module}.ko", made / "modules")
        # Without the descriptions of types, which the kernel would check while it boots.
        run("strip", "--strip-unneeded", "--remove-section=.BTF", *map(str, (made / "modules").glob("*.ko")))
        try:
            made.rename(folder)
        except OSError:  # another build was faster; its kernel is as good
            if not folder.exists():
                raise
    return folder


def _download_kernel(work: Path) -> Path:
    """Fetch the package that `linux-image-amd64` stands for."""
    lists = work / "lists"
    (lists / "partial").mkdir(parents=True)
    private = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={work / 'apt'}"]
    # Private lists need no root, and help when the machine's own are absent or stale.
    for options in ([], private):
        if options:
            run("apt-get", *options, "-qq", "update")
        found = subprocess.run(
            ["apt-cache", *options, "depends", "--important", "linux-image-amd64"],
            capture_output=True,
            text=True,
        )
        names = [line.split()[-1] for line in found.stdout.splitlines() if "Depends: linux-image-" in line]
        if not names:
            continue
        fetched = subprocess.run(["apt-get", *options, "-qq", "download", names[0]], cwd=work, capture_output=True)
        if fetched.returncode == 0:
            return next(work.glob("linux-image-*.deb"))
    raise RuntimeError("Cannot download Debian's kernel package (linux-image-amd64); see `apt-get update`.")


def _initrd(work: Path, kernel: Path) -> Path:
    """The whole system, small enough to live in memory."""
    root = work / "root"
    for folder in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "data", "var"):
        (root / folder).mkdir(parents=True)
    _copy_programs(root)
    shutil.copytree(kernel / "modules", root / "modules")
    for order, modules in (("order", MODULES), ("drive-order", DRIVE_MODULES)):
        (root / "modules" / order).write_text("".join(f"{Path(module).name}\n" for module in modules))
    (root / "picture.gz").write_bytes(gzip.compress(_picture(), mtime=0))
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "var/run").symlink_to("/run")
    scripts = SCRIPTS | {"init": INIT.read_text()}
    for path, text in scripts.items():
        script = root / path
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    archive = run("cpio", "--create", "--format=newc", "--owner=0:0", "--quiet", input=names.encode(), cwd=root)
    initrd = work / "initrd.gz"
    initrd.write_bytes(gzip.compress(archive, mtime=0))
    return initrd


def _copy_programs(root: Path) -> None:
    """Copy busybox with all its names, the guest agent, and the libraries that the two are linked with."""
    for source, path in PROGRAMS.items():
        shutil.copy(source, root / path)
        # ldd fails for a static program, which needs nothing.
        linked = subprocess.run(["ldd", source], capture_output=True, text=True)
        for word in linked.stdout.split():
            if word.startswith("/") and not (library := root / word[1:]).exists():
                library.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, library)
    for name in run("busybox", "--list").decode().split():
        if not (command := root / "bin" / name).exists():
            command.symlink_to("busybox")


def _picture() -> bytes:
    """The desktop as the frame buffer wants it: rows of blue, green, red, unused."""
    width, height = DISPLAY_SIZE
    draw: list[str] = []
    for top, colour in ((48, "#f4b942"), (152, "#f4f1de"), (256, "#e07a5f")):
        draw += ["-fill", colour, "-draw", f"roundrectangle 48,{top} 120,{top + 72} 14,14"]
    draw += ["-fill", "#073b3a", "-draw", f"rectangle 0,{height - 44} {width},{height}"]
    draw += ["-fill", "#f4b942", "-draw", f"roundrectangle 10,{height - 36} 110,{height - 8} 6,6"]
    draw += ["-fill", "#073b3a", "-pointsize", "16", "-annotate", f"+28+{height - 16}", "Hotdesk"]
    draw += ["-fill", "white", "-gravity", "center", "-pointsize", "76", "-annotate", "+40-40", "Tiny Linux"]
    draw += ["-fill", "#d8f3dc", "-pointsize", "26", "-annotate", "+40+40", "Your desktop is ready."]
    font = ["-font", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"]
    canvas = ["-size", f"{width}x{height}", f"xc:{BACKGROUND}"]
    return run("convert", *canvas, *font, *draw, "-depth", "8", "bgra:-")


def _disk(work: Path, kernel: Path, initrd: Path) -> Path:
    """A raw disk: a boot partition as large as it must be, then the data partition."""
    disk = work / "disk.raw"
    boot_mib = (kernel.stat().st_size + initrd.stat().st_size) // MIB + 2
    data_start = 1 + boot_mib
    with disk.open("wb") as image:
        image.write(Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes())
        image.truncate((data_start + DATA_MIB) * MIB)
    table = f"start=1MiB, size={boot_mib}MiB, type=e, bootable\nstart={data_start}MiB, type=e\n"
    run("sfdisk", "--quiet", str(disk), input=table.encode())
    for label, start, size in (("BOOT", 1, boot_mib), ("DATA", data_start, DATA_MIB)):
        at = f"{disk}@@{start}M"
        run("mformat", "-i", at, "-v", label, "-T", str(size * 2048), "-H", str(start * 2048), "::")
    boot = f"{disk}@@1M"
    menu = work / "syslinux.cfg"
    menu.write_text(BOOT_MENU)
    for file, name in ((kernel, "vmlinuz"), (initrd, "initrd.gz"), (menu, "syslinux.cfg")):
        run("mcopy", "-i", boot, str(file), f"::{name}")
    run("syslinux", "--install", "--offset", str(MIB), str(disk))
    return disk


def main(arguments: Sequence[str]) -> int:
    """Build the image named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m broker.lab.guest TARGET", file=sys.stderr)
        return 2
    build(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
