"""What DESIGN 8 promises to programs: every answer that exists, in its documented shape."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from broker import jobs
from broker.models import Cluster, DesktopRequest, Pool, Role, Template, VirtualMachine
from broker.operations import desktops
from portal.models import ApiToken
from tests.api.conftest import Api, fields, refused, sign_in
from tests.world import World

REQUEST = {
    "id",
    "pool",
    "state",
    "position",
    "estimated_wait",
    "reason",
    "vm",
    "timeline",
    "waited",
    "ends_at",
    "ending",
    "may_extend",
    "mail_when_ready",
    "end_reason",
}
TIMELINE = {"requested", "assigned", "started", "ready", "connected", "ended"}
TIMELINE |= {"host_chosen", "disk_ready", "viewer_left", "returned"}
VM = {
    "id",
    "name",
    "uuid",
    "status",
    "hold",
    "run_mode",
    "pool",
    "host",
    "user",
    "template_version",
    "domain_id",
}


def items(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert set(body) == {"items", "next", "count"}
    return body["items"]


def pool_body(world: World, **values: Any) -> dict[str, Any]:
    return {
        "name": "fresh",
        "cluster": str(world.cluster.pk),
        "template": str(world.template.pk),
        "size": 2,
        **values,
    }


def test_a_token_is_given_for_a_name_and_a_password_and_only_its_hash_is_kept(world: World) -> None:
    agent = sign_in(world.person("agent"))
    assert agent.token
    [row] = ApiToken.objects.all()
    assert agent.token not in row.digest
    assert agent.get("/me").status_code == 200


def test_me_is_whoever_the_token_belongs_to(world: World, agent: Api) -> None:
    person = world.person("agent")
    answer = agent.get("/me").json()
    assert answer == {"id": str(person.pk), "username": "agent", "name": "agent", "groups": []}


@pytest.mark.req("R002")
def test_pools_are_those_i_may_take_from_with_their_counts(world: World, agent: Api, pool: Pool) -> None:
    world.pool(1, name="other")
    world.take(world.person("somebody", pool), pool)
    world.take(world.person("agent"), pool)
    world.settle()
    [card] = items(agent.get("/pools"))
    assert card == {
        "id": str(pool.pk),
        "name": "helpdesk",
        "description": "",
        "type": "automatic",
        "size": 2,
        "free": 0,
        "ready": 0,
        "queue_length": 0,
        "max_vms_per_user": 1,
        "mine": 1,
        "estimated_wait": None,
    }


@pytest.mark.req("R003", "R017", "R023")
def test_a_take_is_answered_with_the_wish(agent: Api, pool: Pool) -> None:
    answer = agent.post(f"/pools/{pool.pk}/take")
    assert answer.status_code == 201
    wish = answer.json()
    assert set(wish) == REQUEST
    assert set(wish["timeline"]) == TIMELINE
    assert (wish["state"], wish["position"], wish["vm"]) == ("queued", 1, None)
    assert wish["pool"] == {"id": str(pool.pk), "name": "helpdesk"}
    asked = datetime.fromisoformat(wish["timeline"]["requested"])
    assert asked.utcoffset() == timedelta(0)


def test_a_repeat_with_the_same_key_is_the_same_wish_and_not_a_new_one(agent: Api, pool: Pool) -> None:
    key = {"Idempotency-Key": "once"}
    first = agent.post(f"/pools/{pool.pk}/take", headers=key)
    again = agent.post(f"/pools/{pool.pk}/take", headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_keys_of_two_people_are_two_keys(world: World, agent: Api, pool: Pool) -> None:
    key = {"Idempotency-Key": "once"}
    other = sign_in(world.person("other", pool))
    mine = agent.post(f"/pools/{pool.pk}/take", headers=key)
    theirs = other.post(f"/pools/{pool.pk}/take", headers=key)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.req("R060")
def test_more_than_the_limit_is_refused_with_the_rule(agent: Api, pool: Pool) -> None:
    agent.post(f"/pools/{pool.pk}/take")
    refusal = refused(agent.post(f"/pools/{pool.pk}/take"), 409, "LIMIT_REACHED")
    assert "maximum number of VMs" in refusal["message"]


def test_a_key_of_another_pool_is_refused(world: World, agent: Api, pool: Pool) -> None:
    other = world.pool(1, name="other")
    world.person("agent", other)
    key = {"Idempotency-Key": "once"}
    agent.post(f"/pools/{pool.pk}/take", headers=key)
    refused(agent.post(f"/pools/{other.pk}/take", headers=key), 409, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.req("R023", "R115")
def test_a_wish_names_its_vm_and_host_once_it_is_served(world: World, agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    world.settle()
    answer = agent.get(f"/requests/{wish['id']}").json()
    assert (answer["state"], answer["position"], answer["reason"]) == ("ready", None, "")
    assert answer["vm"]["host"] == {"id": str(world.host.pk), "name": "host"}
    assert answer["vm"]["status"] == "up"
    assert all(answer["timeline"][step] for step in ("requested", "assigned", "started", "ready"))
    assert answer["timeline"]["connected"] is None


@pytest.mark.req("R005")
def test_positions_count_those_who_asked_earlier(world: World, agent: Api, pool: Pool) -> None:
    ahead = [world.take(world.person(f"early{number}", pool), pool) for number in range(3)]
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    assert wish["position"] == 4
    desktops.give_back(request=ahead[0])
    assert agent.get(f"/requests/{wish['id']}").json()["position"] == 3


@pytest.fixture
def history(world: World, agent: Api, pool: Pool) -> list[str]:
    """Five wishes of the agent, one after the other: four ended, the last is in line. Newest first."""
    keys = []
    for _wish in range(5):
        keys.append(agent.post(f"/pools/{pool.pk}/take").json()["id"])
        if len(keys) < 5:
            agent.post(f"/requests/{keys[-1]}/return")
    # Two of them in the same instant, so that only the key tells them apart.
    twins = DesktopRequest.objects.filter(pk__in=keys[1:3])
    twins.update(requested_at=timezone.now() - timedelta(hours=1))
    rows = DesktopRequest.objects.order_by("-requested_at", "pk")
    return [str(key) for key in rows.values_list("pk", flat=True)]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 500])
def test_pages_of_a_list_meet_every_row_once_in_order(agent: Api, history: list[str], limit: int) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        answer = agent.get("/requests", query_params={"limit": limit, "cursor": cursor}).json()
        assert answer["count"] == 5
        assert len(answer["items"]) <= limit
        seen += [one["id"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert seen == history


def test_pages_of_a_list_in_ascending_order(world: World, admin: Api) -> None:
    world.pool(7)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = admin.get("/vms", query_params={"limit": 3, "cursor": cursor}).json()
        seen += [one["name"] for one in answer["items"]]
        cursor = answer["next"]
    assert seen == [f"helpdesk-{number}" for number in range(1, 8)]


def test_a_cursor_of_long_names_in_another_script_is_taken_back(world: World, admin: Api) -> None:
    world.pool(2, name="데" * 60, settle=False)
    first = admin.get("/vms", query_params={"limit": 1}).json()
    second = admin.get("/vms", query_params={"limit": 1, "cursor": first["next"]})
    assert [one["name"] for one in items(second)] == ["데" * 60 + "-2"]


@pytest.mark.parametrize(("state", "count"), [("queued", 1), ("ended", 4), ("ready", 0)])
def test_requests_by_state(agent: Api, history: list[str], state: str, count: int) -> None:
    assert len(items(agent.get("/requests", query_params={"state": state}))) == count


def test_requests_by_when_they_were_asked_for(agent: Api, history: list[str]) -> None:
    def found(**query: Any) -> list[str]:
        return [one["id"] for one in items(agent.get("/requests", query_params=query))]

    now = timezone.now()
    before = (now - timedelta(minutes=30)).isoformat()
    assert found(since=before) == history[:3] and found(until=before) == history[3:]
    twins = DesktopRequest.objects.get(pk=history[3]).requested_at.isoformat()
    assert found(since=twins, until=twins) == history[3:]
    assert found(until=(now + timedelta(days=1)).isoformat(), state="queued") == history[:1]


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("value", ["2026-13-45", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(agent: Api, history: list[str], name: str, value: str) -> None:
    answer = agent.get("/requests", query_params={name: value})
    refused(answer, 422, "INVALID_FIELDS")
    assert [one["field"] for one in answer.json()["details"]] == [name]


def test_an_end_before_the_start_is_refused(agent: Api, history: list[str]) -> None:
    query = {"since": "2026-03-02T00:00:00Z", "until": "2026-03-02T00:00:00+09:00"}
    refused(agent.get("/requests", query_params=query), 400, "INVALID")


def test_requests_by_words_and_by_pool(agent: Api, history: list[str], pool: Pool) -> None:
    assert len(items(agent.get("/requests", query_params={"q": "HELP desk"}))) == 5
    assert items(agent.get("/requests", query_params={"q": "help nowhere"})) == []
    assert len(items(agent.get("/requests", query_params={"pool": pool.pk}))) == 5
    assert items(agent.get("/requests", query_params={"pool": uuid4()})) == []


def test_administrators_see_the_wishes_of_all_and_others_do_not(
    world: World, agent: Api, admin: Api, history: list[str]
) -> None:
    other = sign_in(world.person("other", Pool.objects.get()))
    assert items(admin.get("/requests")) == []
    assert len(items(admin.get("/requests", query_params={"all": 1}))) == 5
    assert len(items(admin.get("/requests", query_params={"all": 1, "user": world.person("agent").pk}))) == 5
    assert items(admin.get("/requests", query_params={"all": 1, "user": uuid4()})) == []
    assert items(other.get("/requests", query_params={"all": 1})) == []
    assert admin.get(f"/requests/{history[0]}").status_code == 200
    refused(other.get(f"/requests/{history[0]}"), 404, "NOT_FOUND")


@pytest.mark.req("R005")
def test_a_return_leaves_the_line(agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    answer = agent.post(f"/requests/{wish['id']}/return")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["end_reason"]) == ("ended", "cancelled")
    assert answer.json()["reason"] == "You left the line."
    refused(agent.post(f"/requests/{wish['id']}/return"), 409, "ENDED")


@pytest.mark.req("R018")
def test_a_return_gives_the_desktop_back(world: World, agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    world.settle()
    answer = agent.post(f"/requests/{wish['id']}/return")
    assert (answer.status_code, answer.json()["state"]) == (202, "returning")
    world.settle()
    ended = agent.get(f"/requests/{wish['id']}").json()
    assert (ended["state"], ended["end_reason"], ended["vm"]) == ("ended", "returned", None)
    assert ended["timeline"]["ended"]


def test_a_desktop_is_not_opened_before_it_is_ready(workers: World, agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    refused(agent.post(f"/requests/{wish['id']}/console"), 409, "NOT_READY")
    workers.settle()
    assert agent.post(f"/requests/{wish['id']}/console").status_code == 200
    agent.post(f"/requests/{wish['id']}/return")
    refused(agent.post(f"/requests/{wish['id']}/console"), 409, "NOT_READY")


def test_the_connection_file_opens_the_display_with_the_newest_ticket(workers: World, agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    workers.settle()
    answers = [agent.post(f"/requests/{wish['id']}/console") for _call in range(2)]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/x-virt-viewer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="helpdesk-1.vv"'
    texts = [answer.content.decode().splitlines() for answer in answers]
    passwords = [next(line[9:] for line in text if line.startswith("password=")) for text in texts]
    assert texts[1][0] == "[virt-viewer]"
    assert {"type=spice", "host=127.0.0.1", "port=5900", "delete-this-file=1"} <= set(texts[1])
    assert passwords[0] != passwords[1]
    vm_id = UUID(agent.get(f"/requests/{wish['id']}").json()["vm"]["id"])
    assert workers.driver.domain_table[vm_id].ticket == passwords[1]


def test_a_display_that_no_worker_opens_in_time_is_a_matter_of_trying_again(
    world: World, agent: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.console_sessions.CONSOLE_WAIT_SECONDS", 0.01)
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    world.settle()
    answer = agent.post(f"/requests/{wish['id']}/console")
    refused(answer, 503, "BUSY")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.req("R028")
def test_console_options_hold_for_the_pool_and_stand_in_the_file(workers: World, agent: Api, pool: Pool) -> None:
    path = f"/pools/{pool.pk}/console-options"
    standard = {
        "fullscreen": False,
        "remap_ctrl_alt_del": True,
        "usb_autoshare": True,
        "smartcard": False,
        "color_depth": "none",
        "disabled_effects": [],
        "use_proxy": True,
    }
    assert agent.get(path).json() == standard
    chosen = {"fullscreen": True, "remap_ctrl_alt_del": False, "color_depth": "16", "disabled_effects": ["wallpaper"]}
    assert agent.put(path, chosen).json() == {**standard, **chosen}
    assert agent.get(path).json() == {**standard, **chosen}
    refusal = refused(agent.put(path, {"smartcard": True}), 400)
    assert fields(refusal) == {"smartcard"}
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    workers.settle()
    text = agent.post(f"/requests/{wish['id']}/console").content.decode()
    assert "fullscreen=1" in text
    assert "secure-attention" not in text


def test_a_desktop_is_restarted_once_it_is_ready(world: World, agent: Api, pool: Pool) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    refused(agent.post(f"/requests/{wish['id']}/restart"), 409, "NOT_READY")
    world.settle()
    answer = agent.post(f"/requests/{wish['id']}/restart")
    assert (answer.status_code, answer.json()["state"]) == (202, "ready")
    assert [name for name, _key in world.sent] == ["broker.reboot"]


def test_clusters_and_templates(world: World, admin: Api) -> None:
    [cluster] = items(admin.get("/clusters"))
    assert cluster["data_center"] == {"id": str(world.data_center.pk), "name": "Main"}
    assert admin.get(f"/clusters/{cluster['id']}").json() == cluster
    [template] = items(admin.get("/templates"))
    assert [version["number"] for version in template["versions"]] == [1]
    assert admin.get(f"/templates/{template['id']}").json() == template


@pytest.mark.req("R001", "R022", "R039", "R045", "R046", "R047")
def test_a_pool_is_made_with_a_job_that_shows_its_vms_coming(world: World, admin: Api) -> None:
    answer = admin.post("/manage/pools", pool_body(world, prestarted_vms=1, max_vms_per_user=2, comment="c"))
    assert answer.status_code == 202, answer.content
    pool_id, job_id = answer.json()["pool"]["id"], answer.json()["job"]["id"]
    job = admin.get(f"/jobs/{job_id}").json()
    assert (job["kind"], job["state"], job["total"], job["done"], job["failed"]) == (
        "pool.create",
        "running",
        2,
        0,
        0,
    )
    world.settle()
    job = admin.get(f"/jobs/{job_id}").json()
    assert (job["state"], job["done"]) == ("done", 2)
    assert [item["name"] for item in job["items"]] == ["fresh-1", "fresh-2"]
    pool = admin.get(f"/manage/pools/{pool_id}").json()
    expected = {
        "name": "fresh",
        "cluster": {"id": str(world.cluster.pk), "name": "Default"},
        "template": {"id": str(world.template.pk), "name": "Tiny Linux"},
        "template_version": "latest",
        "operating_system": "Tiny Linux",
        "optimized_for": world.template.optimized_for,
        "comment": "c",
        "type": "automatic",
        "size": 2,
        "prestarted_vms": 1,
        "max_vms_per_user": 2,
        "delete_protection": False,
        "ready": 1,
    }
    assert {name: pool[name] for name in expected} == expected
    assert items(admin.get("/manage/pools")) == [pool]


@pytest.mark.req("R038")
@pytest.mark.parametrize("version", [1, "latest"])
def test_a_pool_follows_one_version_or_the_latest(world: World, admin: Api, version: int | str) -> None:
    answer = admin.post("/manage/pools", pool_body(world, template_version=version))
    pool = admin.get(f"/manage/pools/{answer.json()['pool']['id']}").json()
    assert pool["template_version"] == version


@pytest.mark.req("R042", "R045", "R046", "R048", "R056", "R057", "R059", "R118")
@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"name": ""}, "name", "Pool name is required."),
        ({"name": "n" * 256}, "name", "255"),
        ({"size": 0}, "size", "Cannot create Pool with 0 VMs."),
        ({"size": -1}, "size", "Cannot create Pool with 0 VMs."),
        ({"size": 1001}, "size", "1000"),
        ({"prestarted_vms": 3}, "prestarted_vms", "cannot exceed the number of VMs in the Pool"),
        ({"prestarted_vms": -1}, "prestarted_vms", "cannot exceed the number of VMs in the Pool"),
        ({"max_vms_per_user": 0}, "max_vms_per_user", "between 1 and 32,767"),
        ({"max_vms_per_user": 32_768}, "max_vms_per_user", "between 1 and 32,767"),
        ({"template_version": 7}, "template_version", "no version 7"),
        ({"cluster": str(uuid4())}, "cluster", "no such cluster"),
        ({"template": str(uuid4())}, "template", "no such template"),
    ],
)
def test_a_pool_that_may_not_be_is_refused_with_the_rule_at_its_field(
    world: World, admin: Api, values: dict[str, Any], field: str, text: str
) -> None:
    refusal = refused(admin.post("/manage/pools", pool_body(world, **values)), 400)
    assert [one["message"] for one in refusal["details"] if one["field"] == field and text in one["message"]]
    assert not Pool.objects.exists()


def test_all_that_is_wrong_with_a_pool_is_said_at_once(world: World, admin: Api) -> None:
    body = pool_body(world, name="", size=0, max_vms_per_user=0)
    assert fields(refused(admin.post("/manage/pools", body), 400)) == {"name", "size", "max_vms_per_user"}


@pytest.mark.req("R042")
def test_a_name_that_is_taken_in_the_data_center_is_a_conflict(world: World, admin: Api, pool: Pool) -> None:
    refusal = refused(admin.post("/manage/pools", pool_body(world, name=pool.name)), 409)
    assert fields(refusal) == {"name"}


@pytest.mark.req("R120", "R060")
def test_a_change_acts_at_once_and_leaves_the_rest(world: World, admin: Api, pool: Pool) -> None:
    answer = admin.patch(f"/manage/pools/{pool.pk}", {"prestarted_vms": 1, "description": "d"})
    assert answer.status_code == 200
    assert (answer.json()["prestarted_vms"], answer.json()["description"]) == (1, "d")
    assert (answer.json()["size"], answer.json()["max_vms_per_user"]) == (2, 1)
    world.settle()
    assert admin.get(f"/manage/pools/{pool.pk}").json()["ready"] == 1


@pytest.mark.req("R056", "R057")
def test_a_pool_grows_by_a_job_and_rules_count_what_is_added(world: World, admin: Api, pool: Pool) -> None:
    path = f"/manage/pools/{pool.pk}"
    refused(admin.patch(path, {"prestarted_vms": 6, "increase_by": 3}), 400)
    refused(admin.patch(path, {"increase_by": 999}), 400)
    refused(admin.patch(path, {"increase_by": -1}), 400)
    assert admin.get(path).json()["size"] == 2
    answer = admin.patch(path, {"prestarted_vms": 5, "increase_by": 3})
    assert answer.status_code == 202
    assert answer.json()["pool"] == {"id": str(pool.pk)}
    world.settle()
    assert admin.get(f"/jobs/{answer.json()['job']['id']}").json()["state"] == "done"
    assert admin.get(path).json()["size"] == 5


@pytest.mark.req("R109", "R110")
def test_what_makes_a_pool_what_it_is_cannot_be_changed(world: World, admin: Api, pool: Pool) -> None:
    elsewhere = Cluster.objects.create(data_center=world.data_center, name="Elsewhere")
    other = Template.objects.create(data_center=world.data_center, name="Other", operating_system="x")
    changes = {
        "size": 3,
        "name": "other",
        "type": "manual",
        "cluster": str(elsewhere.pk),
        "template": str(other.pk),
    }
    for field, value in changes.items():
        refusal = refused(admin.patch(f"/manage/pools/{pool.pk}", {field: value}), 400)
        assert fields(refusal) == {field}
    same = {"name": pool.name, "type": pool.type, "cluster": str(pool.cluster_id), "template": str(pool.template_id)}
    assert admin.patch(f"/manage/pools/{pool.pk}", same).status_code == 200


@pytest.mark.parametrize("field", ["description", "comment", "prestarted_vms", "delete_protection"])
def test_null_is_no_value(admin: Api, pool: Pool, field: str) -> None:
    assert fields(refused(admin.patch(f"/manage/pools/{pool.pk}", {field: None}), 400)) == {field}


def test_vms_by_pool_and_words_in_their_documented_shape(world: World, admin: Api, pool: Pool) -> None:
    world.pool(1, name="other")
    wish = world.take(world.person("agent", pool), pool)
    world.settle()
    wish.refresh_from_db()
    assert len(items(admin.get("/vms"))) == 3
    found = {one["id"]: one for one in items(admin.get("/vms", query_params={"pool": pool.pk}))}
    assert len(found) == 2
    used = found[str(wish.vm_id)]
    assert set(used) >= VM
    assert used["pool"] == {"id": str(pool.pk), "name": "helpdesk"}
    assert used["host"] == {"id": str(world.host.pk), "name": "host"}
    assert (used["uuid"], used["user"], used["run_mode"]) == (used["id"], "agent", "stateless")
    assert (used["status"], used["hold"], used["template_version"]) == ("up", None, 1)
    [other] = items(admin.get("/vms", query_params={"q": "other"}))
    assert (other["status"], other["user"], other["host"], other["domain_id"]) == ("down", None, None, None)
    assert admin.get(f"/vms/{used['id']}").json() == used


@pytest.mark.req("R034")
def test_vms_are_started_statefully_rebooted_and_shut_down(world: World, admin: Api) -> None:
    world.pool(1)
    path = f"/vms/{VirtualMachine.objects.get().pk}"
    refused(admin.post(f"{path}/shutdown"), 409, "WRONG_STATE")
    refused(admin.post(f"{path}/return"), 409, "WRONG_STATE")
    refused(admin.post(f"{path}/reboot"), 409, "NOT_READY")
    answer = admin.post(f"{path}/start")
    assert (answer.status_code, answer.json()["run_mode"]) == (202, "stateful")
    world.settle()
    refused(admin.post(f"{path}/start"), 409, "WRONG_STATE")
    assert admin.post(f"{path}/reboot").status_code == 202
    assert admin.post(f"{path}/shutdown").status_code == 202
    world.settle()
    assert admin.get(path).json()["status"] == "down"


@pytest.mark.parametrize("action", ["stop", "shutdown", "return"])
def test_an_administrator_may_return_a_desktop_of_somebody(
    world: World, admin: Api, agent: Api, pool: Pool, action: str
) -> None:
    wish = agent.post(f"/pools/{pool.pk}/take").json()
    world.settle()
    vm = agent.get(f"/requests/{wish['id']}").json()["vm"]["id"]
    assert admin.post(f"/vms/{vm}/{action}").status_code == 202
    world.settle()
    assert agent.get(f"/requests/{wish['id']}").json()["state"] == "ended"


def test_a_vm_that_fits_on_no_host_is_refused_naming_the_hosts(world: World, admin: Api) -> None:
    world.pool(1)
    world.host.memory_mib = 64
    world.host.save()
    refusal = refused(admin.post(f"/vms/{VirtualMachine.objects.get().pk}/start"), 409, "NO_HOST")
    assert "host: needs 128 MiB" in refusal["message"]


def test_whoever_sees_but_may_not_act_is_told_so(world: World, pool: Pool) -> None:
    Role.objects.create(name="Reader", actions=["view_inventory"])
    reader = sign_in(world.person("reader", pool, role="Reader"))
    vm = VirtualMachine.objects.first()
    refused(reader.patch(f"/manage/pools/{pool.pk}", {"comment": "x"}), 403, "FORBIDDEN")
    refused(reader.post(f"/vms/{vm.pk}/start"), 403, "FORBIDDEN")
    world.person("reader")
    from broker import grants

    grants.grant(role="Reader", to=world.person("reader"), on=world.data_center)
    refused(reader.post("/manage/pools", pool_body(world)), 403, "FORBIDDEN")


def test_the_process_says_that_it_lives(db: None) -> None:
    assert Api().client.get("/healthz").json() == {"status": "ok"}


def test_readiness_names_what_is_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pool(1)
    ready = Api().client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    monkeypatch.setattr(jobs.cache, "get", lambda key: (_ for _ in ()).throw(OSError("away")))
    away = Api().client.get("/readyz")
    assert away.status_code == 503
    assert {name: away.json()[name] for name in ("database", "redis", "host", "desktop")} == {
        "database": True,
        "redis": False,
        "host": True,
        "desktop": True,
    }


def test_the_api_describes_itself(db: None) -> None:
    paths = Api().get("/openapi.json").json()["paths"]
    promised = (
        "/api/v1/tokens",
        "/api/v1/me",
        "/api/v1/pools",
        "/api/v1/pools/{pool_id}/take",
        "/api/v1/requests/{request_id}/console",
        "/api/v1/manage/pools/{pool_id}",
        "/api/v1/vms/{vm_id}/{action}",
        "/api/v1/jobs/{job_id}",
    )
    assert set(promised) <= set(paths)
    page = Api().get("/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")


def test_the_page_of_the_api_asks_nobody_else_for_anything(db: None) -> None:
    assert b"https://" not in Api().get("/docs").content


def test_answers_are_not_kept_by_anybody(agent: Api) -> None:
    for path in ("/me", "/pools", "/nowhere"):
        assert agent.get(path).headers["Cache-Control"] == "no-store"
