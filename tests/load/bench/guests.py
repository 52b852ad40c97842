"""Real guests: a cold start, and the making of a pool, beside the raw libvirt calls on the same daemon."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt
from lxml import etree

from tests.load.bench.results import Measured, median
from tests.load.bench.sizes import Size
from tests.running import Hotdesk, wait_until

PATIENCE_S = 900.0
BUDGET = 1.2


def measure(hotdesk: Hotdesk, size: Size) -> Iterator[Measured]:
    """On the whole demo, as `make demo` starts it."""
    yield _cold_start(hotdesk, min(size.rounds, 7))
    yield from _pool(hotdesk, size)


def _cold_start(hotdesk: Hotdesk, rounds: int) -> Measured:
    """From the click until the guest runs: by Hotdesk and by hand, in turns."""
    pool = hotdesk.create_pool("cold", 1)
    person = hotdesk.person("agent01")
    ours, raw = [], []
    for _round in range(rounds):
        desktop = person.take(pool)
        told = desktop.wait_for("ready")["timeline"]
        ours.append(_seconds(told["requested"], told["started"]))
        raw.append(_raw_start(hotdesk, desktop.now()["vm"]["id"]))
        desktop.return_and_wait()
        hotdesk.wait_until_clean(pool)
    return Measured(
        "cold take: from the click until the guest runs",
        **median(ours),
        unit="s",
        floor=median(raw)["value"],
        floor_is="s by raw libvirt calls",
        budget=BUDGET,
        of_floor=True,
    )


def _seconds(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def _raw_start(hotdesk: Hotdesk, vm_id: str) -> float:
    """Make a layer, define and start a guest like that of this VM; it is gone afterwards."""
    host = libvirt.open(hotdesk.libvirtd.uri)
    likeness = _Likeness(host, vm_id)
    began = time.perf_counter()
    likeness.make_layer()
    domain = host.defineXML(likeness.domain_xml)
    domain.create()
    seconds = time.perf_counter() - began
    domain.destroy()
    domain.undefine()
    likeness.remove()
    host.close()
    return seconds


class _Likeness:
    """A domain and its layer as a VM's are now, under another name."""

    def __init__(self, host: Any, vm_id: str) -> None:
        name = f"raw-{uuid4()}"
        domain = etree.fromstring(host.lookupByUUIDString(vm_id).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        for path in ("metadata", "devices/serial/log", "devices/console/log", "devices/interface/mac"):
            for element in domain.findall(path):
                element.getparent().remove(element)
        domain.find("name").text, domain.find("uuid").text = name, str(uuid4())
        disk = domain.find("devices/disk[@device='disk']/source")
        model = host.storageVolLookupByPath(disk.get("file"))
        self._pool = model.storagePoolLookupByVolume()
        layer = etree.fromstring(model.XMLDesc())
        layer.find("name").text = f"{name}.qcow2"
        for path in ("key", "target/path", "target/timestamps"):
            for element in layer.findall(path):
                element.getparent().remove(element)
        disk.set("file", str(Path(disk.get("file")).with_name(f"{name}.qcow2")))
        self.domain_xml = etree.tostring(domain, encoding="unicode")
        self._layer_xml = etree.tostring(layer, encoding="unicode")
        self._layer: Any = None

    def make_layer(self) -> None:
        self._layer = self._pool.createXML(self._layer_xml)

    def remove(self) -> None:
        self._layer.delete()


def _pool(hotdesk: Hotdesk, size: Size) -> Iterator[Measured]:
    """Until its VMs exist, and until the first can be used."""
    hotdesk.manage("settings", "set", f"MaxVmsInPool={max(size.guests, 1000)}")
    raw = _raw_pool(hotdesk, min(size.guests, 100)) / min(size.guests, 100) * size.guests
    began = time.monotonic()
    body = {
        "name": "large",
        "cluster": hotdesk.admin.get("/clusters")["items"][0]["id"],
        "template": hotdesk.admin.get("/templates?q=Tiny")["items"][0]["id"],
        "size": size.guests,
    }
    answer = hotdesk.admin.http.post("/manage/pools", json=body)
    assert answer.status_code == 202, answer.text
    pool, job = answer.json()["pool"]["id"], answer.json()["job"]["id"]
    progress = wait_until(lambda: hotdesk.admin.get(f"/jobs/{job}")["done"], "a first VM exists", PATIENCE_S)
    first = time.monotonic() - began
    done = wait_until(lambda: hotdesk.admin.get(f"/jobs/{job}")["state"] == "done", "all exist", PATIENCE_S, 0.5)
    seconds = time.monotonic() - began
    assert done
    yield Measured(
        f"a pool of {size.guests:,} VMs is made",
        value=seconds,
        unit="s",
        floor=raw,
        floor_is="s by raw libvirt calls",
        budget=BUDGET,
        of_floor=True,
        note=f"the first after {first:.1f} s, when {progress} of {size.guests:,} were shown as done",
    )
    assert hotdesk.admin.http.post(f"/manage/pools/{pool}/remove-with-vms").status_code == 202


def _raw_pool(hotdesk: Hotdesk, count: int) -> float:
    """So many thin disks and definitions, one after the other."""
    host = libvirt.open(hotdesk.libvirtd.uri)
    model = hotdesk.vms(hotdesk.pool_named("cold")["id"])[0]["id"]
    likenesses = [_Likeness(host, model) for _number in range(count)]
    began = time.perf_counter()
    domains = []
    for likeness in likenesses:
        likeness.make_layer()
        domains.append(host.defineXML(likeness.domain_xml))
    seconds = time.perf_counter() - began
    for domain, likeness in zip(domains, likenesses, strict=True):
        domain.undefine()
        likeness.remove()
    host.close()
    return seconds
