"""Lists and details: constant cost, CSV, columns, selection, actions on one and on many."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from broker import grants
from broker.models import Event, Job, Pool, VirtualMachine, Volume
from broker.operations import desktops
from broker.states import JobState, VmHold
from portal.manage.registry import RESOURCES
from portal.spreadsheets import harmless
from tests.pages.conftest import Reader, rows, text
from tests.world import World

FEW, MANY = 10, 10_000
MOST_QUERIES = 50


def add_vms(world: World, pool: Pool, numbers: range) -> None:
    """Rows alone: nothing is made of them."""
    volumes = [
        Volume(storage_pool=world.storage, name=f"bulk-{number}.qcow2", purpose=Volume.Purpose.DISK)
        for number in numbers
    ]
    Volume.objects.bulk_create(volumes, batch_size=1000)
    VirtualMachine.objects.bulk_create(
        [
            VirtualMachine(
                pool=pool,
                cluster=world.cluster,
                number=number,
                name=f"bulk-{number:05}",
                template_version=world.version,
                volume=volume,
                operating_system="x",
                optimized_for="desktop",
                memory_mib=128,
                vcpus=1,
            )
            for number, volume in zip(numbers, volumes, strict=True)
        ],
        batch_size=500,
    )


def queries(reader: Reader, path: str) -> int:
    reader.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert reader.get(path).status_code == 200
    return len(captured)


def test_ten_thousand_vms_cost_as_many_queries_as_ten(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    chosen = VirtualMachine.objects.get().pk
    paths = ["/manage/vms/", "/manage/pools/", f"/manage/vms/?sel={chosen}", f"/manage/pools/{pool.pk}/?tab=vms"]
    paths += ["/manage/", "/manage/tree/"]
    add_vms(world, pool, range(1, FEW))
    few = {path: queries(admin, path) for path in paths}
    add_vms(world, pool, range(FEW, MANY))
    assert {path: queries(admin, path) for path in paths} == few
    assert max(few.values()) <= MOST_QUERIES
    answer = admin.get("/manage/vms/")
    assert len(rows(answer)) == 100
    assert "999+" in text(answer)


@pytest.mark.req("R035", "R054", "R055", "R125")
def test_the_lists_show_pools_and_their_vms(world: World, admin: Reader) -> None:
    pool = world.pool(2, description="Desktops <b>for</b> all")
    person = world.person("agent", pool)
    world.take(person, pool)
    world.settle()
    listed = admin.get("/manage/pools/")
    assert rows(listed) == ["helpdesk"]
    assert "1 / 2" in text(listed)
    assert "&lt;b&gt;for&lt;/b&gt;" in listed.content.decode()
    members = admin.get(f"/manage/pools/{pool.pk}/", tab="vms")
    for word in ("helpdesk-1", "helpdesk-2", "Up", "Down", "agent", "host"):
        assert word in text(members)
    assert rows(admin.get("/manage/vms/", q="pool = helpdesk")) == ["helpdesk-1", "helpdesk-2"]


@pytest.mark.req("R055", "R124", "R126", "R127")
def test_several_vms_are_detached_after_a_question_that_names_them(world: World, admin: Reader) -> None:
    world.pool(3)
    ids = list(VirtualMachine.objects.order_by("number").values_list("pk", flat=True)[:2])
    asked = admin.post("/manage/vms/act/detach/", {"id": ids})
    assert asked.status_code == 200
    assert "helpdesk-1" in text(asked) and "helpdesk-2" in text(asked) and "helpdesk-3" not in text(asked)
    assert VirtualMachine.objects.filter(pool=None).count() == 0
    done = admin.post("/manage/vms/act/detach/", {"id": ids, "confirmed": "1"})
    assert done.status_code == 302
    assert VirtualMachine.objects.filter(pool=None).count() == 2
    listed = admin.get("/manage/vms/")
    assert text(listed).count("Independent") == 2
    assert "2 virtual machines were detached" in text(listed)


def test_vms_in_use_are_not_detached_and_the_reason_is_told(world: World, admin: Reader) -> None:
    pool = world.pool(2)
    world.take(world.person("agent", pool), pool)
    world.settle()
    ids = list(VirtualMachine.objects.values_list("pk", flat=True))
    answer = admin.post("/manage/vms/act/detach/", {"id": ids, "confirmed": "1"})
    assert answer.status_code == 302
    assert VirtualMachine.objects.filter(pool=None).count() == 0
    assert "cannot be detached" in text(admin.get("/manage/vms/"))


def test_a_button_that_cannot_be_used_says_why(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    nothing = admin.get("/manage/pools/").content.decode()
    assert 'id="do-edit" aria-disabled="true"' in nothing
    assert "Select one pool." in nothing
    chosen = admin.get("/manage/pools/", sel=pool.pk).content.decode()
    assert 'id="do-edit" aria-disabled' not in chosen
    assert "helpdesk has 1 VM." in chosen


def test_run_and_turn_off_act_on_many_and_tell_of_each_refusal(world: World, admin: Reader) -> None:
    world.pool(2)
    first, second = VirtualMachine.objects.order_by("number")
    assert admin.post("/manage/vms/act/run/", {"id": [first.pk, second.pk]}).status_code == 302
    world.settle()
    assert VirtualMachine.objects.filter(run_mode="stateful").count() == 2
    again = admin.post("/manage/vms/act/run/", {"id": [first.pk]}, part=True)
    assert (again.status_code, again.headers["X-Location"]) == (204, "/manage/vms/")
    assert "It can be started while it is down" in text(admin.get("/manage/vms/"))
    both = {"id": [first.pk, second.pk]}
    assert "Turn these 2 virtual machines off?" in text(admin.post("/manage/vms/act/turn-off/", both))
    admin.post("/manage/vms/act/turn-off/", {**both, "confirmed": "1"})
    assert not VirtualMachine.objects.filter(run_mode="stateful").exists()


@pytest.mark.req("R128", "R130")
def test_a_pool_is_removed_after_a_question_and_only_without_vms(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    full = admin.post("/manage/pools/act/remove/", {"id": [pool.pk], "confirmed": "1"})
    assert full.status_code == 302 and Pool.objects.exists()
    assert "helpdesk has 1 VM." in text(admin.get("/manage/pools/"))
    VirtualMachine.objects.update(pool=None)
    asked = admin.post("/manage/pools/act/remove/", {"id": [pool.pk]})
    assert "Remove this pool?" in text(asked) and "helpdesk" in text(asked)
    assert Pool.objects.exists()
    admin.post("/manage/pools/act/remove/", {"id": [pool.pk], "confirmed": "1"})
    assert not Pool.objects.exists()


def test_a_large_pool_is_removed_with_its_vms_only_by_typing_its_name(world: World, admin: Reader) -> None:
    pool = world.pool(11)
    path, values = "/manage/pools/act/remove-with-vms/", {"id": [pool.pk], "confirmed": "1"}
    for typed in ("", "help"):
        refused = admin.post(path, {**values, "typed": typed})
        assert refused.status_code == 422
        assert "Type the name exactly" in text(refused)
    assert not VirtualMachine.objects.filter(hold=VmHold.REMOVING).exists()
    assert admin.post(path, {**values, "typed": "helpdesk"}).status_code == 302
    assert VirtualMachine.objects.filter(hold=VmHold.REMOVING).count() == 11


def test_columns_are_chosen_and_the_first_one_stays(world: World, admin: Reader) -> None:
    world.pool(1)
    answer = admin.get("/manage/pools/", columns="comment,size")
    heads = [str(column.name) for column in answer.context["listing"].columns]
    assert heads == ["name", "size", "comment"]


def test_the_selection_and_the_tab_are_in_the_address(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    answer = admin.get("/manage/pools/", sel=pool.pk, tab="permissions")
    assert 'id="tab-permissions"' in answer.content.decode()
    assert "SuperUser" in text(answer) and "System" in text(answer)
    gone = admin.get("/manage/pools/", sel=uuid4())
    assert gone.status_code == 200 and "Select a row" in text(gone)


# -- CSV ---------------------------------------------------------------------------------------------------


async def _whole(answer: Any) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def csv(answer: Any) -> list[str]:
    return async_to_sync(_whole)(answer).decode("utf-8-sig").splitlines()


def test_the_whole_list_that_is_found_is_exported(world: World, admin: Reader) -> None:
    pool = world.pool(1)
    add_vms(world, pool, range(150))
    lines = csv(admin.get("/manage/vms/export.csv", q="name = bulk*", columns="name,memory_mib"))
    assert lines[0] == "Name,Memory"
    assert len(lines) == 151
    assert lines[1] == "bulk-00000,128"


def test_no_cell_becomes_a_formula(world: World, admin: Reader) -> None:
    world.pool(1, description='=HYPERLINK("http://evil")', comment="@SUM(A1)")
    lines = csv(admin.get("/manage/pools/export.csv", columns="name,description,comment"))
    assert lines[1] == 'helpdesk,"\'=HYPERLINK(""http://evil"")",\'@SUM(A1)'
    assert [harmless(value) for value in ("+1", "-1", -1, None, "a")] == ["'+1", "'-1", "-1", "", "a"]


# -- other kinds -------------------------------------------------------------------------------------------


@pytest.fixture
def something(world: World) -> Iterator[World]:
    """At least one row of every kind."""
    pool = world.pool(2)
    person = world.person("agent", pool)
    wish = world.take(person, pool)
    world.settle()
    desktops.give_back(request=wish)
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="staff")
    grants.grant(role="UserRole", to=group, on=pool, by=person)
    world.locked_out("agent")
    yield world


def test_every_tab_of_every_kind_can_be_opened(something: World, admin: Reader) -> None:
    for kind, resource in RESOURCES.items():
        row = resource.visible(admin.person)[0]
        for tab in resource.tabs:
            answer = admin.get(f"/manage/{kind}/{resource.row_key(row)}/", tab=tab.name)
            assert answer.status_code == 200, (kind, tab.name)
        if resource.edit_form is not None:
            status = 409 if resource.why_not_edited(row) else 200
            assert admin.get(f"/manage/{kind}/{resource.row_key(row)}/edit/").status_code == status, kind
        if resource.new_form is not None:
            assert admin.get(f"/manage/{kind}/new/").status_code == 200, kind


@pytest.mark.req("R113")
def test_the_tree_leads_from_the_data_center_to_the_vms(something: World, admin: Reader) -> None:
    shown = text(admin.get("/manage/tree/"))
    places = [shown.index(word) for word in ("Main", "Default", "host", "helpdesk", "helpdesk-1")]
    assert places == sorted(places)


def test_the_dashboard_counts(something: World, admin: Reader) -> None:
    pool = Pool.objects.get()
    Event.objects.create(kind="vm.start_failed", pool_id=pool.pk, facts={"vm": "x", "reason": "y"})
    totals = admin.get("/manage/").context["totals"]
    assert (totals["used"], totals["line"], totals["failures"]) == (1, 0, 1)
    assert totals["wait_half"] is not None and totals["wait_half"] <= totals["wait_most"]


def test_a_job_tells_how_far_it_is(something: World, admin: Reader) -> None:
    job = Job.objects.get()
    shown = text(admin.get(f"/manage/jobs/{job.pk}/"))
    assert "2 of 2 done" in shown
    job.items.filter(name="helpdesk-1").update(state=JobState.FAILED, message="No space left.")
    Job.objects.update(state=JobState.FAILED)
    assert "1 of 2 done, 1 failed" in text(admin.get("/manage/jobs/"))
    assert "No space left." in text(admin.get(f"/manage/jobs/{job.pk}/", tab="items"))


def test_a_setting_is_changed_and_a_wrong_value_refused(world: World, admin: Reader) -> None:
    path = "/manage/settings/MaxVmsInPool/edit/"
    assert "Allowed: 1 to 100000. Default: 1000." in text(admin.get(path))
    assert admin.fill(path, value="0").status_code == 422
    assert admin.fill(path, value="7").status_code == 302
    assert "MaxVmsInPool 7" in text(admin.get("/manage/settings/", columns="key,value"))
