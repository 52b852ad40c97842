"""Storage XML states formats, so that nothing is guessed from what a guest wrote."""

from collections.abc import Callable

import pytest

from broker.drivers.hypervisor import HypervisorError, StoragePoolSpec, VolumeFacts, storage_xml

Check = Callable[[str, str], None]


def test_a_storage_pool_is_a_folder(assert_golden: Check, assert_valid: Check) -> None:
    document = storage_xml.storage_pool(StoragePoolSpec("fast & big", "dir", "/srv/fast"))
    assert_valid("storagepool.rng", document)
    assert_golden("storage-pool.xml", document)
    assert storage_xml.target_path(document) == "/srv/fast"


def test_an_overlay_states_its_own_format_and_that_of_its_backing_file(
    assert_golden: Check, assert_valid: Check
) -> None:
    document = storage_xml.overlay_volume("layer.qcow2", capacity_bytes=2**30, backing_path="/srv/base.qcow2")
    assert_valid("storagevol.rng", document)
    assert_golden("overlay-volume.xml", document)


def test_an_upload_begins_empty_and_ends_read_only(assert_golden: Check, assert_valid: Check) -> None:
    document = storage_xml.upload_volume("base.qcow2", mode="0444")
    assert_valid("storagevol.rng", document)
    assert_golden("upload-volume.xml", document)


def test_a_copy_is_sealed_and_stands_on_nothing(assert_golden: Check, assert_valid: Check) -> None:
    document = storage_xml.copied_volume("base.qcow2")
    assert_valid("storagevol.rng", document)
    assert_golden("copied-volume.xml", document)
    assert storage_xml.is_sealed(document)
    assert not storage_xml.is_sealed(storage_xml.upload_volume("base.qcow2", mode="0644"))


def test_an_empty_file_has_a_length() -> None:
    assert storage_xml.length_bytes("<volume type='file'><name>a</name></volume>") == 0


def test_volume_facts_are_read_back() -> None:
    document = """
        <volume type="file"><name>a.qcow2</name>
          <capacity unit="bytes">1000</capacity><allocation unit="bytes">10</allocation>
          <physical unit="bytes">12</physical>
          <target><path>/srv/a.qcow2</path><format type="qcow2"/></target>
          <backingStore><path>/srv/b.qcow2</path><format type="qcow2"/></backingStore>
        </volume>"""
    facts = VolumeFacts("a.qcow2", "/srv/a.qcow2", "qcow2", 1000, 10, "/srv/b.qcow2", "qcow2")
    assert storage_xml.volume_facts(document) == facts
    assert storage_xml.length_bytes(document) == 12


def test_a_document_without_what_we_need_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="target/path"):
        storage_xml.target_path("<pool type='dir'><name>p</name></pool>")
