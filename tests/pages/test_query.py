"""The query language: what it finds, what it refuses, and that no input breaks it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.manage import listing, query
from portal.manage.properties import QueryError
from portal.manage.registry import RESOURCES
from tests.pages.conftest import Reader, rows
from tests.world import World

POOLS = RESOURCES["pools"]
WORDS = ["name", "=", "!=", "~", "<", ">=", "help*", '"a b"', "(", ")", "and", "or", "not", "sortby", "desc", "size",
         "7", "type", "automatic", "created_at", "today", "*", "'", ";", "--", "%", "Pools:"]  # fmt: skip


@pytest.fixture
def pools(world: World) -> World:
    world.pool(3, name="helpdesk", description="For the help desk")
    world.pool(2, name="callcenter", comment="seoul")
    world.pool(1, name="training", type="manual")
    return world


@pytest.mark.req("R035", "R113")
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", ["callcenter", "helpdesk", "training"]),
        ("help", ["helpdesk"]),
        ("Pools: help", ["helpdesk"]),
        ("name = help*", ["helpdesk"]),
        ("name = HELPDESK", ["helpdesk"]),
        ("name = *e*d*k", ["helpdesk"]),
        ("name != help*", ["callcenter", "training"]),
        ("name ~ center", ["callcenter"]),
        ('description = "for the help desk"', ["helpdesk"]),
        ("type = manual", ["training"]),
        ("type = Manual", ["training"]),
        ("type = auto*", ["callcenter", "helpdesk"]),
        ("size > 1", ["callcenter", "helpdesk"]),
        ("size > 1 size < 3", ["callcenter"]),
        ("size = 1 or size = 3", ["helpdesk", "training"]),
        ("not (size = 1 or size = 3)", ["callcenter"]),
        ("sortby size", ["training", "callcenter", "helpdesk"]),
        ("type = automatic sortby size desc", ["helpdesk", "callcenter"]),
        ("cluster = default and comment = seoul", ["callcenter"]),
        ("cluster.name = default size = 1", ["training"]),
        ("delete_protection = yes", []),
        ("created_at = today", ["callcenter", "helpdesk", "training"]),
        ("created_at < today", []),
        ("name = nothing", []),
        ("name = '; drop table broker_pool", []),
    ],
)
def test_a_query_finds_what_it_says(pools: World, admin: Reader, asked: str, found: list[str]) -> None:
    assert rows(admin.get("/manage/pools/", q=asked)) == found


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("colour = red", "name"),
        ("size = many", "many"),
        ("size ~ 3", "="),
        ("type = purple", "automatic"),
        ("delete_protection = perhaps", "perhaps"),
        ("created_at = someday", "someday"),
        ("name =", "value"),
        ("(name = a", "parenthesis"),
        ("name = a)", ")"),
        ('name = "a', '"a'),
        ("and", "missing"),
        ("sortby", "sort"),
        ("name = a sortby size sideways", "sideways"),
        ("name = *a*b*c*d*e*", "stars"),
        ("(" * 30 + "a" + ")" * 30, "deep"),
        ("a " * 150, "words"),
        ("a" * 1500, "characters"),
        ("size = 1e999999", "number"),
        ("created_at = 2026-02-31", "2026-02-31"),
    ],
)
def test_what_is_not_understood_is_a_sentence(asked: str, word: str) -> None:
    with pytest.raises(QueryError) as refusal:
        query.parse(asked, POOLS.vocabulary())
    assert word in str(refusal.value)


def test_an_error_names_the_properties_that_are_known(admin: Reader) -> None:
    with pytest.raises(QueryError) as refusal:
        query.parse("colour = red", POOLS.vocabulary())
    for name in ("name", "type", "size", "prestarted_vms", "delete_protection"):
        assert name in str(refusal.value)


@pytest.mark.req("R113")
def test_an_invalid_query_keeps_the_rows_of_the_last_valid_one(pools: World, admin: Reader) -> None:
    answer = admin.get("/manage/pools/", q="colour = red", last="type = manual")
    assert rows(answer) == ["training"]
    assert "There is no property “colour”" in answer.content.decode()
    assert 'value="colour = red"' in answer.content.decode()
    assert rows(admin.get("/manage/pools/", q="colour = red", last="also = wrong")) == [
        "callcenter",
        "helpdesk",
        "training",
    ]


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_no_input_does_anything_but_find_or_refuse(pools: World, asked: str) -> None:
    for kind in ("pools", "vms", "events", "hosts"):
        vocabulary = RESOURCES[kind].vocabulary()
        query.complete(asked, vocabulary)
        try:
            found = query.parse(asked, vocabulary)
        except QueryError as refusal:
            assert str(refusal)
            continue
        resource = RESOURCES[kind]
        if "\0" not in asked:
            list(resource.detailed(resource.model.objects.all()).filter(found.condition.q())[:1])


def test_every_property_of_every_kind_can_be_asked_for_and_sorted_by(pools: World, admin: Reader) -> None:
    for kind, resource in RESOURCES.items():
        for name in resource.known:
            for sort in (name, f"-{name}"):
                answer = admin.client.get(f"/manage/{kind}/", {"sort": sort}, headers={"X-Part": "1"})
                assert answer.status_code == 200, (kind, name)


@pytest.mark.parametrize(
    ("typed", "start", "offered"),
    [
        ("", 0, "name"),
        ("na", 0, "name"),
        ("Pools: na", 7, "name"),
        ("type ", 5, "="),
        ("type = ", 7, "automatic"),
        ("type = man", 7, "manual"),
        ("type = manual ", 14, "and"),
        ("type = manual and si", 18, "size"),
        ("sortby size ", 12, "desc"),
        ("delete_protection = ", 20, "true"),
    ],
)
def test_a_query_is_completed(admin: Reader, typed: str, start: int, offered: str) -> None:
    answer: Any = admin.get("/manage/pools/complete", q=typed).json()
    assert answer["start"] == start
    assert offered in [item["text"] for item in answer["items"]]


def test_sorting_and_paging_meet_every_row_once(world: World, admin: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyset paging, also by something that many rows share and some have not."""
    pool = world.pool(5)
    world.take(world.person("agent", pool), pool)
    world.settle()
    monkeypatch.setattr(listing, "PER_PAGE", 2)
    for sort in ("name", "-name", "host", "-host", "memory_mib", "user"):
        answer, seen = admin.get("/manage/vms/", sort=sort), []
        for _page in range(5):
            seen += rows(answer)
            if not answer.context["next"]:
                break
            answer = admin.client.get(answer.context["next"])
        assert sorted(seen) == [f"helpdesk-{number}" for number in range(1, 6)], sort
