"""The config drive is one that every system reads, and the same to the letter for everybody."""

import json
from io import BytesIO

import pycdlib
import pytest

from broker.drivers.hypervisor import config_drive

LOCATIONS = ["smb://files/home", r"\\\\files\\home", "nfs://[fd00::1]/가정/" + "x" * 900, "x" * 2047]


def read(content: bytes, name: str, kind: str) -> bytes:
    """One file, as a reader that is not ours finds it."""
    volume, found = pycdlib.PyCdlib(), BytesIO()
    volume.open_fp(BytesIO(content))
    assert volume.pvd.volume_identifier.strip() == b"HOTDESK"
    assert volume.pvd.space_size * 2048 == len(content)
    volume.get_file_from_iso_fp(found, **{kind: name})
    volume.close()
    return found.getvalue()


@pytest.mark.req("R008")
@pytest.mark.parametrize("location", LOCATIONS)
def test_it_tells_the_location_under_names_of_old_and_new_systems(location: str) -> None:
    content = config_drive.for_central_data(location).content
    for name, kind in (("/central-data", "joliet_path"), ("/CENTRAL_DATA.;1", "iso_path")):
        assert read(content, name, kind).decode() == f"{location}\n"
    for name, kind in (("/hotdesk.json", "joliet_path"), ("/HOTDESK.JSON;1", "iso_path")):
        assert json.loads(read(content, name, kind)) == {"central_data": location}


def test_the_same_location_is_the_same_drive_and_another_one_another() -> None:
    one = config_drive.for_central_data("smb://files/home")
    config_drive.for_central_data.cache_clear()
    assert config_drive.for_central_data("smb://files/home") == one
    assert config_drive.OF_CENTRAL_DATA.fullmatch(one.name)
    assert config_drive.for_central_data("smb://files/home2").name != one.name
    # Written down, because guests hold it open while a newer Hotdesk is installed.
    assert one.name == "central-data-862015dc61ca033b.iso"


@pytest.mark.parametrize("length", [0, 1, 2047, 2048, 2049])
def test_files_of_any_length_begin_where_the_folder_says(length: int) -> None:
    content = config_drive.image({"a": b"a" * length, "b.txt": b"b"})
    assert read(content, "/a", "joliet_path") == b"a" * length
    assert read(content, "/b.txt", "joliet_path") == b"b"
