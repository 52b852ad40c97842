"""Whatever is sent, the answer is a documented refusal and never a fault of ours (DESIGN 8)."""

import json
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import grants
from broker.models import (
    DesktopRequest,
    HandoverPoint,
    Job,
    Pool,
    Role,
    RoleAssignment,
    ShiftAttendance,
    ShiftHandover,
    VirtualMachine,
)
from portal.api import api
from portal.models import ApiToken
from tests.api.conftest import PASSWORD, Api, fields, is_envelope, refused, sign_in, with_password
from tests.help_desk import running_shift
from tests.world import World

HUGE = 10**30
HTML = "<script>alert(1)</script>"
PATHS = api.get_openapi_schema()["paths"]
ROUTES = sorted((method.upper(), path.removeprefix("/api/v1")) for path, item in PATHS.items() for method in item)


def address(path: str, **ids: Any) -> str:
    """The route's path with these ids, and with unknown ones for the rest."""
    special = {
        "action": "start",
        "group_id": 4711,
        "token_id": 4711,
        "lock_out_id": 4711,
        "number": 1,
        "key": "Nonsense",
    }
    special |= {"kind": "manage/pools"}
    names = re.findall(r"{(\w+)}", path)
    return path.format(**{name: ids.get(name, special.get(name, uuid4())) for name in names})


@pytest.fixture
def body(world: World) -> dict[str, Any]:
    """A pool that could be made."""
    return {"name": "fresh", "cluster": str(world.cluster.pk), "template": str(world.template.pk), "size": 1}


# -- addresses and methods -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", "/", "/nowhere", "/pools/", "/requests/1", "/me/me", "/%00", "/pools%0a", "/.."]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "BREW"])
def test_an_unknown_address_is_a_404_whatever_the_method(agent: Api, path: str, method: str) -> None:
    answer = agent.call(method, path)
    assert answer.status_code in (400, 404)
    assert is_envelope(answer)


@pytest.mark.parametrize("path", ["", "/", "/nowhere", "/pools/1/take", "/openapi.json", "/docs"])
def test_nobody_is_asked_for_the_proof_that_a_browsers_form_carries(agent: Api, path: str) -> None:
    agent.client = Client(enforce_csrf_checks=True)
    answer = agent.post(path, {})
    assert answer.status_code in (200, 404)
    assert answer.status_code == 200 or is_envelope(answer)


def test_a_fault_of_ours_has_the_shape_of_a_refusal(agent: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiToken, "digest_of", lambda token: 1 / 0)
    agent.client = Client(raise_request_exception=False)
    refused(agent.get("/me"), 500, "BROKEN")


NO_IDS = ["1", "x", "0" * 32, f"{uuid4()}x", "%00", "../me", "null", "١" * 36, "-1", "1e9"]


@pytest.mark.parametrize("path", sorted(path for path in PATHS if "_id}" in path))
def test_what_is_no_id_leads_nowhere(agent: Api, path: str) -> None:
    method = next(iter(PATHS[path])).upper()
    counted = re.search(r"{(group|token|lock_out)_id}", path)
    for bad in NO_IDS[1:] if counted else NO_IDS:
        ids = dict.fromkeys(re.findall(r"{(\w+_id)}", path), bad)
        answer = agent.call(method, address(path.removeprefix("/api/v1"), **ids))
        assert answer.status_code in (400, 404), bad
        assert is_envelope(answer)


OF_SHIFTS: dict[tuple[str, str], Any] = {
    ("POST", "handover"): {"note": "x"},
    ("POST", "stay"): {"minutes": 5},
    ("POST", "force-out"): {"reason": "x"},
    ("POST", "fault"): {"reason": "x"},
    ("PUT", "shifts"): [],
}


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "_id}" in route[1]])
def test_an_id_of_nothing_is_not_found(admin: Api, method: str, path: str) -> None:
    sent: Any = {"PATCH": {}, "PUT": {}}.get(method)
    if path.endswith(("/mail", "/problem")):
        sent = {"wanted": True} if path.endswith("/mail") else {"text": "It hangs."}
    if path.endswith(("/versions", "/publish")) and method == "POST":
        sent = {}
    if path.startswith("/shifts/"):
        sent = OF_SHIFTS.get((method, path.rpartition("/")[2]), sent)
    if path.endswith("/permissions") and method == "POST":
        sent = {"principal": {"user": "admin"}, "role": "UserRole"}
    query = "?user=admin" if path.endswith("/access") else ""
    refused(admin.call(method, address(path) + query, sent), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_wrong_method_is_refused_naming_the_right_ones(agent: Api, path: str) -> None:
    allowed = {name.upper() for name in PATHS[path]}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - allowed:
        answer = agent.call(method, address(path.removeprefix("/api/v1")))
        refused(answer, 405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_what_a_vm_cannot_do_is_refused(world: World, admin: Api, pool: Pool) -> None:
    vm = VirtualMachine.objects.first()
    for action in ("fly", "START", "migrate", "%20start", HTML.replace("/", "")):
        refused(admin.post(f"/vms/{vm.pk}/{action}"), 404, "NOT_FOUND")
    assert admin.post(f"/vms/{vm.pk}/start%00").status_code == 400


# -- who asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "x", "Bearer ü"])
def test_without_a_good_token_nobody_is_answered(db: None, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in ROUTES:
        if path != "/tokens":
            answer = Api().call(method, address(path), headers=headers)
            refused(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer \0", "\0", "Bearer \udcff"])
def test_a_token_that_is_no_text_is_not_looked_for(db: None, header: str) -> None:
    refused(Api().get("/me", headers={"Authorization": header}), 400)


def test_a_token_ends(agent: Api) -> None:
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    refused(agent.get("/me"), 401, "UNAUTHENTICATED")


def test_a_person_who_was_switched_off_is_nobody(world: World, agent: Api) -> None:
    person = world.person("agent")
    person.is_active = False
    person.save()
    refused(agent.get("/me"), 401, "UNAUTHENTICATED")
    again = Api().post("/tokens", {"username": "agent", "password": PASSWORD})
    refused(again, 401, "WRONG_CREDENTIALS")


def test_the_browsers_session_does_not_open_the_api(world: World) -> None:
    client = Client()
    client.force_login(world.person("agent"))
    refused(Api(client=client).get("/me"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        ({"username": "agent", "password": "wrong"}, 401),
        ({"username": "nobody", "password": PASSWORD}, 401),
        ({"username": "AGENT", "password": PASSWORD}, 401),
        ({"username": "agent"}, 422),
        ({"username": "", "password": PASSWORD}, 422),
        ({"username": "agent", "password": ""}, 422),
        ({"username": "a" * 151, "password": PASSWORD}, 422),
        ({"username": "agent", "password": "p" * 1001}, 422),
        ({"username": "agent\0", "password": PASSWORD}, 422),
        ({"username": "agent", "password": "\0"}, 422),
        ({"username": "\ud800", "password": PASSWORD}, 422),
        ({"username": "agent", "password": "\udfff"}, 422),
        ({"username": ["agent"], "password": PASSWORD}, 422),
        ({"username": 1, "password": PASSWORD}, 422),
        ({"username": "agent", "password": PASSWORD, "is_superuser": True}, 422),
        ({}, 422),
        ([], 422),
        ("agent", 422),
        (7, 422),
    ],
)
def test_nobody_signs_in_with_less_than_a_name_and_its_password(world: World, credentials: Any, status: int) -> None:
    with_password(world.person("agent"))
    refused(Api().post("/tokens", credentials), status)
    assert not ApiToken.objects.exists()


@pytest.mark.req("R002")
def test_what_belongs_to_others_is_not_there(world: World, agent: Api, pool: Pool) -> None:
    other = sign_in(world.person("other", pool))
    wish = agent.post(f"/pools/{pool.pk}/take").json()["id"]
    world.settle()
    refused(other.get(f"/requests/{wish}"), 404, "NOT_FOUND")
    for act in ("return", "restart", "console", "extend"):
        refused(other.post(f"/requests/{wish}/{act}"), 404, "NOT_FOUND")
    refused(other.post(f"/requests/{wish}/problem", {"text": "x"}), 404, "NOT_FOUND")
    refused(other.put(f"/requests/{wish}/mail", {"wanted": True}), 404, "NOT_FOUND")
    refused(other.get(f"/requests/{wish}/why"), 404, "NOT_FOUND")
    assert agent.get(f"/requests/{wish}").json()["state"] == "ready"


@pytest.mark.req("R002")
def test_a_pool_that_was_not_granted_is_not_there(world: World, visitor: Api, pool: Pool) -> None:
    refused(visitor.post(f"/pools/{pool.pk}/take"), 404, "NOT_FOUND")
    refused(visitor.get(f"/pools/{pool.pk}/console-options"), 404, "NOT_FOUND")
    refused(visitor.put(f"/pools/{pool.pk}/console-options", {"fullscreen": True}), 404, "NOT_FOUND")
    assert not DesktopRequest.objects.exists()


# -- bodies ----------------------------------------------------------------------------------------

NO_JSON = [
    b"",
    b" ",
    b"{",
    b"{'name': 1}",
    b"name=fresh",
    b"\xff\xfe",
    b"\x00",
    b'{"name": "a", }',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 5000,
    b"<xml/>",
]


@pytest.mark.parametrize("raw", NO_JSON, ids=lambda raw: raw[:12].hex() or "empty")
@pytest.mark.parametrize(("method", "path"), [("POST", "/tokens"), ("POST", "/manage/pools")])
def test_what_is_not_json_is_refused(admin: Api, method: str, path: str, raw: bytes) -> None:
    answer = admin.call(method, path, raw=raw)
    refused(answer, 422 if raw == b"" else 400)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data", "application/x-www-form-urlencoded", "", "\\"]
)
def test_a_form_is_no_body(admin: Api, kind: str) -> None:
    answer = admin.call("POST", "/manage/pools", raw="name=fresh&size=1", content_type=kind)
    refused(answer, 400)
    assert not Pool.objects.exists()


@pytest.mark.parametrize("path", ["/tokens", "/manage/pools", "/nowhere"])
def test_a_huge_body_is_refused_unread(admin: Api, path: str) -> None:
    refused(admin.call("POST", path, raw=b" " * 1_000_001), 413, "TOO_LARGE")


@pytest.mark.parametrize("length", ["x", "-1", "", "²", "9" * 5000, "1,1"])
def test_a_length_that_is_no_number_is_not_believed(admin: Api, length: str) -> None:
    answer = admin.call("POST", "/manage/pools", raw=b"{}", CONTENT_LENGTH=length)
    assert 400 <= answer.status_code < 500
    assert is_envelope(answer)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", [None, 1, True, [], {}, "\0", "a\0b", "\ud800", "n" * 1001]),
        ("cluster", [1, "x", "", [], "\0", HUGE]),
        ("template", [1, "x", {}, HUGE]),
        ("size", [None, "1", 1.5, 1.0, True, [], HUGE, -HUGE, float("nan"), float("inf"), 2**31]),
        ("prestarted_vms", ["0", 0.5, HUGE, -(2**31) - 1, False]),
        ("max_vms_per_user", ["text", HUGE, None, [1]]),
        ("template_version", [0, -1, "newest", 1.5, None, True, [], ""]),
        ("optimized_for", ["", "gaming", 1]),
        ("type", ["", "Automatic", None, 1]),
        ("delete_protection", ["perhaps", 2, [], "true"]),
        ("description", ["d" * 10_001, 1, "\0"]),
        ("memory_mib", ["512", 1.5, HUGE]),
        ("vcpus", ["2", 2**15, True]),
        ("hosts", ["x", [1], {}]),
        ("migration_mode", ["sometimes", 1]),
        ("migration_policy", ["post_copy", ""]),
        ("auto_converge", [True, "maybe"]),
        ("host_cpu_passthrough", ["on", 1]),
        ("numa", [1, [], {"node_count": "1"}, {"pinning": [[-1]]}, {"pinning": [["0"]]}, {"tune_mode": "x"}]),
        ("override_spice_proxy", ["yes", None]),
        ("spice_proxy", ["p" * 1001, None, 1]),
        ("central_data", ["c" * 1001, None, 1]),
        ("comment", ["\udc00", ["x"], "\0"]),
        ("operating_system", ["o" * 101, "\0", 3]),
        ("owner", ["me"]),
        ("path", [1]),
        ("body", [1]),
        ("\0", [1]),
        (HTML, [1]),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(
    admin: Api, body: dict[str, Any], field: str, values: list[Any]
) -> None:
    for value in values:
        answer = admin.post("/manage/pools", {**body, field: value})
        assert fields(refused(answer, 422, "INVALID_FIELDS")) == {field}, value
    assert not Pool.objects.exists()


@pytest.mark.req("R009", "R042")
@pytest.mark.parametrize("field", ["name", "cluster", "template"])
def test_a_missing_field_is_named(admin: Api, body: dict[str, Any], field: str) -> None:
    del body[field]
    assert fields(refused(admin.post("/manage/pools", body), 400)) == {field}
    assert not Pool.objects.exists()


def test_a_version_beyond_all_numbers_is_one_that_the_template_does_not_have(
    admin: Api, body: dict[str, Any]
) -> None:
    refusal = refused(admin.post("/manage/pools", {**body, "template_version": HUGE}), 400)
    assert fields(refusal) == {"template_version"}


@pytest.mark.parametrize(
    "name", [HTML, "a b", "a\n", "\n", "a/b", "../x", "a?b?", "??", "é?\u202e", "a;b", "'", "😀"]
)
def test_a_name_that_could_not_name_vms_is_refused(admin: Api, body: dict[str, Any], name: str) -> None:
    assert fields(refused(admin.post("/manage/pools", {**body, "name": name}), 400)) == {"name"}
    assert not Pool.objects.exists()


def test_html_in_a_text_is_text(world: World, admin: Api, body: dict[str, Any]) -> None:
    pool_id = admin.post("/manage/pools", {**body, "description": HTML}).json()["pool"]["id"]
    pool = Pool.objects.get(pk=pool_id)
    answer = admin.get(f"/manage/pools/{pool_id}")
    assert answer.json()["description"] == HTML
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    browser = Client()
    browser.force_login(world.person("agent", pool))
    assert HTML.encode() not in browser.get("/").content


@pytest.mark.parametrize(
    "sent",
    [
        {"fullscreen": "perhaps"},
        {"fullscreen": None},
        {"full": True},
        [],
        None,
        {"fullscreen": HUGE},
        {"color_depth": 8},
        {"color_depth": "8"},
        {"disabled_effects": "all"},
        {"disabled_effects": ["sound"]},
        {"disabled_effects": ["all"] * 17},
    ],
)
def test_console_options_are_switches_and_named_choices(agent: Api, pool: Pool, sent: Any) -> None:
    refused(agent.put(f"/pools/{pool.pk}/console-options", sent), 422)


def test_a_refused_choice_names_those_that_there_are(agent: Api, pool: Pool) -> None:
    refusal = refused(agent.put(f"/pools/{pool.pk}/console-options", {"color_depth": "8"}), 422)
    assert all(choice in refusal["details"][0]["message"] for choice in ("none", "16", "32"))


@pytest.mark.parametrize(
    "sent", [{"increase_by": HUGE}, {"increase_by": "1"}, {"increase_by": None}, {"colour": 1}, [], None]
)
def test_a_wrong_change_changes_nothing(admin: Api, pool: Pool, sent: Any) -> None:
    refused(admin.patch(f"/manage/pools/{pool.pk}", sent), 422)
    assert VirtualMachine.objects.count() == 2


# -- headers and queries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "status"), [("k" * 200, 201), ("k" * 201, 422), ("k\0", 400), ("\udcff", 400), ("", 201)]
)
def test_a_key_is_at_most_two_hundred_characters_of_text(agent: Api, pool: Pool, key: str, status: int) -> None:
    answer = agent.post(f"/pools/{pool.pk}/take", headers={"Idempotency-Key": key})
    assert answer.status_code == status
    assert status < 400 or is_envelope(answer)


LISTS = ["/pools", "/requests", "/clusters", "/templates", "/manage/pools", "/vms", "/data-centers", "/hosts"]
LISTS += ["/shifts", "/storage-pools", "/users", "/groups", "/jobs", "/events"]
CURSORS = [
    "x",
    "====",
    "bnVsbA==",
    "NQ==",
    "WyJhIl0=",
    "WyJcdTAwMDAiLCAiXHUwMDAwIl0=",
    "é",
    "\udcff",
    "c" * 4001,
    "a:b:c",
    signing.dumps(["a", "b"]),
]


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_that_is_not_ours_is_refused(admin: Api, path: str) -> None:
    for cursor in CURSORS:
        answer = admin.get(path, query_params={"cursor": cursor.encode(errors="surrogateescape")})
        assert answer.status_code in (400, 422), cursor
        assert fields(answer.json()) == {"cursor"}


def test_a_cursor_of_another_list_is_refused(world: World, admin: Api, pool: Pool) -> None:
    cursor = admin.get("/vms", query_params={"limit": 1}).json()["next"]
    assert admin.get("/vms", query_params={"cursor": cursor}).status_code == 200
    refused(admin.get("/requests", query_params={"cursor": cursor}), 400)
    refused(admin.get("/pools", query_params={"cursor": cursor}), 400)


@pytest.mark.parametrize("path", LISTS)
def test_the_size_of_a_page_is_one_to_five_hundred(admin: Api, path: str) -> None:
    for limit in ("0", "501", "-1", "x", "1.5", str(HUGE), "9" * 5000, "", "NaN"):
        refusal = refused(admin.get(path, query_params={"limit": limit}), 422)
        assert fields(refusal) == {"limit"}, limit
    for limit in (1, 500):
        assert admin.get(path, query_params={"limit": limit}).status_code == 200


@pytest.mark.parametrize("path", LISTS)
def test_words_that_no_name_holds_are_refused(admin: Api, path: str) -> None:
    for words in ("\0", "a\0b", "w" * 201):
        answer = admin.get(path, query_params={"q": words})
        assert answer.status_code in (400, 422), words
        assert is_envelope(answer)


@pytest.mark.parametrize("path", LISTS)
def test_words_are_words_and_no_pattern(world: World, admin: Api, path: str) -> None:
    for words in ("%", "_", "\\", "'", '"; DROP TABLE x', HTML, "😀", "%F0", "\u202e"):
        answer = admin.get(path, query_params={"q": words})
        assert (answer.status_code, answer.json()["items"]) == (200, []), words


@pytest.mark.parametrize(
    "query",
    ["pool=x", "pool=%00", "user=1", "state=", "state=QUEUED", "all=perhaps", f"pool={HUGE}", "user=%ff", "all="],
)
def test_a_filter_that_means_nothing_is_refused(admin: Api, query: str) -> None:
    answer = admin.get(f"/requests?{query}")
    assert answer.status_code in (400, 422)
    assert is_envelope(answer)


@pytest.mark.parametrize("query", ["&".join(f"a{n}=1" for n in range(1001)), "q=%ed%a0%80", "q[]=1&q=2&q=3", "&&==%"])
def test_a_query_string_is_never_a_fault(admin: Api, query: str) -> None:
    answer = admin.get(f"/pools?{query}")
    assert answer.status_code < 500
    assert answer.status_code < 400 or is_envelope(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept-Language": "\0"},
        {"Accept-Language": "x" * 10_000},
        {"Accept-Language": "../../etc/passwd;q=NaN"},
        {"Accept": "image/png"},
        {"Cookie": 'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000"'},
        {"Cookie": "django_language=%00; ="},
        {"X-Forwarded-For": "\0"},
        {"Content-Type": "\0"},
        {"Referer": "\ud800"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/pools", "/", "/sign-in/", "/nowhere/", "/manage/vms/?pool=x"])
def test_a_header_is_never_a_fault(world: World, headers: dict[str, str], path: str) -> None:
    person = world.superuser()
    client = Client()
    if "Cookie" not in headers:
        client.force_login(person)
    assert client.get(path, headers=headers).status_code < 500


# -- pages -----------------------------------------------------------------------------------------


def test_pages_refuse_what_cannot_be_kept(world: World, pool: Pool) -> None:
    person = world.person("admin", pool)
    grants.grant(role="SuperUser", to=person, on=None)
    client = Client()
    client.force_login(person)
    assert client.get("/manage/vms/", query_params={"pool": "\0"}).status_code == 400
    assert client.get("/manage/?page=%00").status_code == 400
    assert client.post(f"/pools/{pool.pk}/take/", {"key": "\0"}).status_code == 400
    assert client.post("/sign-in/", {"username": "\0", "password": "x"}).status_code == 400
    assert client.post("/manage/pools/new/", {"name": "a\0"}).status_code == 400
    assert not DesktopRequest.objects.exists()


@pytest.mark.parametrize("page", ["0", "-1", "x", str(HUGE), "1.5", "", "9" * 5000])
def test_a_page_that_is_not_there_shows_one_that_is(world: World, page: str) -> None:
    person = world.superuser()
    client = Client()
    client.force_login(person)
    for path in ("/manage/", "/manage/vms/"):
        assert client.get(path, query_params={"page": page}).status_code == 200


@pytest.mark.parametrize("value", [HUGE, -1, "x", "", "1.5", HTML, "n" * 2000])
@pytest.mark.parametrize("field", ["name", "cluster", "template", "size", "prestarted_vms", "max_vms_per_user"])
def test_the_form_of_a_pool_says_what_is_wrong(world: World, field: str, value: Any) -> None:
    person = world.superuser()
    client = Client()
    client.force_login(person)
    form = {
        "name": "fresh",
        "cluster": world.cluster.pk,
        "template": world.template.pk,
        "optimized_for": "desktop",
        "size": 1,
        "prestarted_vms": 0,
        "max_vms_per_user": 1,
    }
    answer = client.post("/manage/pools/new/", {**form, field: value})
    # A number is a name, and an empty number the default.
    assert answer.status_code == (302 if Pool.objects.exists() else 422)
    assert HTML.encode() not in answer.content


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "yesterday", "9" * 30])
def test_a_time_that_no_calendar_has_is_refused(admin: Api, since: str) -> None:
    assert fields(refused(admin.get("/events", query_params={"since": since}), 422)) == {"since"}


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59", "2026-01-01", "0"])
def test_any_other_time_is_one_to_begin_at(admin: Api, since: str) -> None:
    assert admin.get("/events", query_params={"since": since}).status_code == 200


# -- anything at all -------------------------------------------------------------------------------

TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "\0", "\ud800", HTML, "latest", "desktop", "x" * 300, "../..", "0", "null", "\u202e"]),
)
NUMBER = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, HUGE, -HUGE]))
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KNOWN = ["name", "cluster", "template", "size", "template_version", "prestarted_vms", "max_vms_per_user", "type"]
KNOWN += ["memory_mib", "vcpus", "hosts", "numa", "migration_policy", "spice_proxy", "uri", "path", "value", "groups"]
KNOWN += ["note", "points", "minutes", "reason", "time_zone", "shifts", "early_minutes", "at_end"]
KNOWN += ["username", "password", "fullscreen", "description", "increase_by", "delete_protection", "operating_system"]


ACTIONS = ["start", "stop", "shutdown", "reboot", "suspend", "resume", "return", "activate", "maintenance", "fly"]


def bounded(examples: int) -> Any:
    """The same examples on every run, as many as say something, as long as they take."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=quiet)


def never_a_fault(answer: Any) -> None:
    assert answer.status_code < 500, answer.content[:300]
    assert answer.status_code < 400 or is_envelope(answer), (answer.status_code, answer.content[:300])


def of_shifts(world: World, pool: Pool) -> dict[str, Any]:
    """A plan that everything in it belongs to; made once for all that is drawn."""
    attendance = ShiftAttendance.objects.first()
    if attendance is None:
        _plan, attendance = running_shift(pool, world.person("on duty", pool))
        handover = ShiftHandover.objects.create(plan=attendance.plan, author=world.person("colleague"), note="x")
        HandoverPoint.objects.create(handover=handover, number=1, text="x")
    handover = ShiftHandover.objects.get()
    return {
        "plan_id": attendance.plan_id,
        "attendance_id": attendance.pk,
        "handover_id": handover.pk,
        "point_id": handover.points.get().pk,
    }


@bounded(6)
@given(data=st.data())
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_body_is_a_fault(
    admin: Api, pool: Pool, world: World, method: str, path: str, data: st.DataObject
) -> None:
    wish = world.take(world.person("admin"), pool) if not DesktopRequest.objects.exists() else None
    ids = {
        "pool_id": pool.pk,
        "request_id": wish.pk if wish else DesktopRequest.objects.values_list("pk", flat=True)[0],
        "vm_id": VirtualMachine.objects.values_list("pk", flat=True)[0],
        "cluster_id": world.cluster.pk,
        "template_id": world.template.pk,
        "host_id": world.host.pk,
        "data_center_id": world.data_center.pk,
        "storage_pool_id": world.storage.pk,
        "user_id": world.person("somebody").pk,
        **of_shifts(world, pool),
        "group_id": data.draw(st.sampled_from([1, 4711, 2**40])),
        "token_id": data.draw(st.sampled_from([4711, 2**40, 2**70])),
        "number": data.draw(st.sampled_from([1, 7, 2**40])),
        "key": data.draw(st.sampled_from(["MaxVmsInPool", "DefaultAutoConvergence", "SpiceProxyDefault", "x"])),
        "job_id": Job.objects.values_list("pk", flat=True)[0],
        "action": data.draw(st.sampled_from(ACTIONS)),
        "object_id": pool.pk,
        "role_id": Role.objects.get(name=data.draw(st.sampled_from(["UserRole", "SuperUser"]))).pk,
        "permission_id": data.draw(st.sampled_from([uuid4(), RoleAssignment.objects.first().pk])),
    }
    if path.endswith("/console"):
        ids["request_id"] = uuid4()
    if path.startswith("/shifts/") and "request_id" in path:
        ids["request_id"] = ShiftAttendance.objects.values_list("request", flat=True)[0]
    sent = data.draw(st.one_of(VALUE, st.dictionaries(st.sampled_from(KNOWN), VALUE, max_size=6)))
    never_a_fault(admin.call(method, address(path, **ids), raw=json.dumps(sent)))


@bounded(150)
@given(field=st.sampled_from(KNOWN), value=VALUE)
def test_one_odd_value_in_a_good_body_is_no_fault(admin: Api, body: dict[str, Any], field: str, value: Any) -> None:
    never_a_fault(admin.post("/manage/pools", {**body, field: value}))


@bounded(40)
@given(query=st.dictionaries(st.sampled_from(["q", "limit", "cursor", "pool", "user", "state", "all"]), TEXT))
@pytest.mark.parametrize("path", LISTS)
def test_no_query_is_a_fault(admin: Api, path: str, query: dict[str, str]) -> None:
    sent = {name: text.encode(errors="surrogatepass") for name, text in query.items()}
    never_a_fault(admin.get(path, query_params=sent))
