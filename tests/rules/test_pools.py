"""What a pool may look like, what its VMs are called, and how many run ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.pools import PoolValues, prestarts_missing, problems, vm_name, vm_names


def wrong(*, most: int = 1000, **values: object) -> list[str]:
    """The fields at which something is wrong."""
    given_values = {
        "name": "desk",
        "type": "automatic",
        "size": 5,
        "prestarted_vms": 0,
        "max_vms_per_user": 1,
        **values,
    }
    return [field for field, _text in problems(PoolValues(**given_values), max_vms_in_pool=most, max_vm_name=64)]


def text(**values: object) -> str:
    given_values = {
        "name": "desk",
        "type": "automatic",
        "size": 5,
        "prestarted_vms": 0,
        "max_vms_per_user": 1,
        **values,
    }
    [(_field, sentence)] = problems(PoolValues(**given_values), max_vms_in_pool=1000, max_vm_name=64)
    return sentence


@pytest.mark.req("R042")
@pytest.mark.parametrize("name", ["desk", "d", "desk-??", "??-desk", "a.b_c-d", "데스크-??", "4711", "a?b", "x" * 62])
def test_a_name_that_may_be(name: str) -> None:
    assert wrong(name=name) == []


@pytest.mark.req("R042")
@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\n",
        "a b",
        " a",
        "a ",
        "a\n",
        "a\0",
        "a/b",
        "<b>",
        "a?b?c",
        "?",
        "??",
        "a;b",
        "x" * 63,
        "x" * 256,
        "😀",
    ],
)
def test_a_name_that_may_not_be(name: str) -> None:
    assert wrong(name=name) == ["name"]


@pytest.mark.req("R042")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "Pool name is required."),
        ("   ", "Pool name is required."),
        ("n" * 256, "The name may have at most 255 characters."),
        ("n" * 255, "The names of its VMs would exceed 64 characters."),
    ],
)
def test_the_sentence_says_what_is_wrong_with_a_name(name: str, sentence: str) -> None:
    assert text(name=name) == sentence


@pytest.mark.parametrize(("name", "size", "fits"), [("x" * 62, 9, True), ("x" * 62, 10, False), ("x" * 61, 99, True)])
def test_the_number_of_the_last_vm_must_fit_into_its_name(name: str, size: int, fits: bool) -> None:
    assert wrong(name=name, size=size) == ([] if fits else ["name"])
    assert (len(vm_name(name, size)) <= 64) == fits


@pytest.mark.req("R045", "R057")
@pytest.mark.parametrize(
    ("size", "most", "fields"),
    [(1, 1000, []), (1000, 1000, []), (1001, 1000, ["size"]), (5, 5, []), (6, 5, ["size"]), (0, 1000, ["size"])],
)
def test_a_pool_has_one_vm_up_to_the_most(size: int, most: int, fields: list[str]) -> None:
    assert wrong(size=size, most=most) == fields


@pytest.mark.req("R045", "R057")
def test_the_sentence_says_what_is_wrong_with_a_size() -> None:
    assert text(size=0) == text(size=-7) == "Cannot create Pool with 0 VMs."
    assert text(size=1001) == "A pool may have at most 1000 VMs (MaxVmsInPool)."


@pytest.mark.req("R046", "R056", "R118")
@pytest.mark.parametrize(
    ("prestarted", "fields"), [(-1, ["prestarted_vms"]), (0, []), (5, []), (6, ["prestarted_vms"])]
)
def test_prestarted_vms_are_none_up_to_all(prestarted: int, fields: list[str]) -> None:
    assert wrong(size=5, prestarted_vms=prestarted) == fields


@pytest.mark.req("R056")
def test_the_sentence_says_how_many_may_be_prestarted() -> None:
    expected = "Number of Prestarted VMs cannot exceed the number of VMs in the Pool (0 to 5)."
    assert text(size=5, prestarted_vms=6) == expected


@pytest.mark.req("R119")
def test_only_automatic_pools_prestart() -> None:
    assert "prestarted_vms" in wrong(type="manual", prestarted_vms=1)
    assert "prestarted_vms" not in wrong(type="manual", prestarted_vms=0)


@pytest.mark.req("R047", "R048", "R059")
@pytest.mark.parametrize(
    ("most", "fields"),
    [(-1, ["max_vms_per_user"]), (0, ["max_vms_per_user"]), (1, []), (32_767, []), (32_768, ["max_vms_per_user"])],
)
def test_a_user_may_hold_one_up_to_32767(most: int, fields: list[str]) -> None:
    assert wrong(max_vms_per_user=most) == fields
    if fields:
        assert text(max_vms_per_user=most) == "Number of max assigned VMs per user must be between 1 and 32,767."


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert wrong(name="", size=0, prestarted_vms=-1, max_vms_per_user=0) == [
        "name",
        "size",
        "prestarted_vms",
        "max_vms_per_user",
    ]


@pytest.mark.parametrize(
    ("pool", "number", "name"),
    [
        ("desk", 1, "desk-1"),
        ("desk", 100, "desk-100"),
        ("desk-?", 7, "desk-7"),
        ("desk-???", 7, "desk-007"),
        ("desk-??", 100, "desk-100"),
        ("a??b", 3, "a03b"),
        ("??x", 12, "12x"),
    ],
)
def test_a_run_of_question_marks_is_the_padded_number(pool: str, number: int, name: str) -> None:
    assert vm_name(pool, number) == name


def test_names_that_exist_are_passed_over() -> None:
    assert vm_names("d", 3, taken={"d-1", "d-3", "other-2"}) == [(2, "d-2"), (4, "d-4"), (5, "d-5")]
    assert vm_names("d", 0, taken=set()) == []


@given(
    pool=st.from_regex(r"[a-z]{1,5}\?{0,3}[a-z]{0,3}", fullmatch=True),
    count=st.integers(0, 30),
    used=st.sets(st.integers(1, 40)),
)
def test_new_names_are_as_many_as_asked_for_and_all_new(pool: str, count: int, used: set[int]) -> None:
    taken = {vm_name(pool, number) for number in used}
    names = [name for _number, name in vm_names(pool, count, taken=taken)]
    assert len(set(names)) == len(names) == count
    assert not taken & set(names)


@pytest.mark.req("R031")
@pytest.mark.parametrize(
    ("wanted", "have", "waiting", "batch", "missing"),
    [
        (3, 0, 0, 5, 3),
        (3, 1, 0, 5, 2),
        (3, 3, 0, 5, 0),
        (3, 4, 0, 5, 0),
        (9, 0, 0, 5, 5),
        (9, 0, 1, 5, 0),
        (0, 0, 0, 5, 0),
    ],
)
def test_as_many_start_ahead_as_are_missing_unless_somebody_waits(
    wanted: int, have: int, waiting: int, batch: int, missing: int
) -> None:
    assert prestarts_missing(wanted=wanted, have=have, waiting=waiting, batch=batch) == missing


@pytest.mark.req("R008")
@pytest.mark.parametrize(
    "location",
    [
        "",
        r"\\files\home",
        r"\\files@SSL@8443\DavWWWRoot",
        "smb://files/home",
        "smb://alice@files/home",
        "nfs://[fd00::1]:2049/가정/a@b",
        "files:/export/home",
        "https://files.example.com:8443/?at=10:30@night",
        "x" * 1000,
    ],
)
def test_a_location_of_central_data_that_may_be(location: str) -> None:
    assert wrong(central_data=location) == []


@pytest.mark.req("R008")
@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("smb://me:secret@files/home", "password"),
        ("me:secret@files:/home", "password"),
        (r"smb://OFFICE\me:secret@files/home", "password"),
        ("smb://:@files", "password"),
        ("smb://files/home\nmore", "one line"),
        ("smb://files\0", "one line"),
        (" smb://files", "one line"),
        ("smb://files\u2028", "one line"),
        ("x" * 1001, "1000"),
    ],
)
def test_a_location_of_central_data_that_may_not_be(location: str, word: str) -> None:
    assert wrong(central_data=location) == ["central_data"]
    assert word in text(central_data=location)
