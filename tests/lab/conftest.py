"""One private libvirt and one Tiny Linux for the tests of the lab itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.lab import guest
from broker.lab.libvirtd import PrivateLibvirtd


@pytest.fixture(scope="session")
def tiny_linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest image, freshly built; tests must not write to it."""
    image = tmp_path_factory.mktemp("guest") / "tiny-linux.qcow2"
    guest.build(image)
    return image


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    """A running private daemon."""
    daemon = PrivateLibvirtd(tmp_path_factory.mktemp("libvirt"))
    daemon.start()
    yield daemon
    daemon.stop()
