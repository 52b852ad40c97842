"""Tokens of programs: what they are for, how long, and how they end."""

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from broker import config
from broker.models import ConsoleSession, Event, Pool
from broker.operations import console_doors
from broker.operations.console_doors import Wanted
from broker.rules.scopes import permits
from broker.states import ConsoleKind, Scope
from portal import tokens
from portal.models import ApiToken
from tests.access.expected import API as ROUTES
from tests.api.conftest import PASSWORD, Api, fields, refused, with_password
from tests.world import World

CREDENTIALS = {"username": "agent", "password": PASSWORD}


def token_for(person: Any, *scopes: Scope, **more: Any) -> Api:
    return Api(tokens.make(user=person, scopes=scopes, **more)[1])


# -- what they are for -----------------------------------------------------------------------------

# All that a token for one's own desktops leads to; a token that reads leads to every GET, and to no more.
OF_DESKTOPS = {
    *(
        "GET /me",
        "GET /me/preferences",
        "PATCH /me/preferences",
        "GET /pools",
        "POST /pools/{pool_id}/take",
        "DELETE /tokens",
    ),
    *(f"{method} /pools/{{pool_id}}/console-options" for method in ("GET", "PUT")),
    *("GET /requests", "GET /requests/{request_id}", "GET /requests/{request_id}/why"),
    *(
        f"POST /requests/{{request_id}}/{word}"
        for word in ("return", "restart", "extend", "problem", "console", "rdp", "console-session")
    ),
    "PUT /requests/{request_id}/mail",
    *(f"{method} /console-sessions/{{session_id}}" for method in ("GET", "DELETE")),
}


def leads_to(api: Api, label: str, wish: Any) -> bool:
    """Whether the scope lets the call through, whatever becomes of it."""
    method, path = label.split(" ")
    ids = {
        "request_id": wish,
        "kind": "vms",
        "number": 1,
        "group_id": 1,
        "token_id": 1,
        "lock_out_id": 1,
        "action": "start",
    }
    named = re.sub(r"\{(\w+)\}", lambda match: str(ids.get(match[1], uuid4())), path)
    answer = api.call(method, named, {} if method in ("POST", "PATCH", "PUT") else None)
    assert answer.status_code != 401, label
    if answer.status_code == 403 and answer.json()["error"] == "OUT_OF_SCOPE":
        refused(answer, 403)
        return False
    return True


@pytest.mark.parametrize("scope", [Scope.READ, Scope.DESKTOPS, Scope.EVERYTHING])
def test_a_token_leads_where_its_scope_says_and_nowhere_else(world: World, pool: Pool, scope: Scope) -> None:
    """Every route, by somebody who may do everything: whatever is refused is refused for the token's sake."""
    admin = world.superuser()
    wish = world.take(admin, pool).pk
    found = {label for label in ROUTES if leads_to(token_for(admin, scope), label, wish)}
    expected = {
        Scope.READ: {label for label in ROUTES if label.startswith("GET ")} | {"DELETE /tokens"},
        Scope.DESKTOPS: OF_DESKTOPS,
        Scope.EVERYTHING: set(ROUTES),
    }
    assert found == expected[scope]


def test_a_token_for_ones_own_desktops_leads_to_nobody_elses(world: World, pool: Pool) -> None:
    admin, theirs = world.superuser(), world.take(world.person("agent", pool), pool)
    world.settle()
    desktops, everything = token_for(admin, Scope.DESKTOPS), token_for(admin, Scope.EVERYTHING)
    for path in (f"/requests/{theirs.pk}", f"/requests/{theirs.pk}/why", "/requests?all=1", f"/requests/{uuid4()}"):
        refused(desktops.get(path), 403, "OUT_OF_SCOPE")
    refused(desktops.post(f"/requests/{theirs.pk}/return"), 403, "OUT_OF_SCOPE")
    theirs.refresh_from_db()
    assert theirs.state != "ended"
    assert desktops.get("/requests").json()["count"] == 0
    assert everything.post(f"/requests/{theirs.pk}/return", {"reason": "late"}).status_code == 202


def test_scopes_add_up() -> None:
    both = (Scope.READ, Scope.DESKTOPS)
    assert permits(both, (), looks=True, of_others=True)
    assert permits(both, (Scope.DESKTOPS,), looks=False, of_others=False)
    assert not permits(both, (Scope.DESKTOPS,), looks=False, of_others=True)
    assert not permits(both, (), looks=False, of_others=False)
    assert not permits((), tuple(Scope), looks=True, of_others=False)


def test_what_is_out_of_scope_is_written_down(world: World) -> None:
    person = world.person("agent")
    refused(token_for(person, Scope.READ).post("/roles", {}), 403, "OUT_OF_SCOPE")
    assert Event.objects.filter(kind="access.refused", actor=person).exists()


# -- how they are made -------------------------------------------------------------------------------


def test_a_token_is_made_as_it_was_asked_for(world: World) -> None:
    with_password(world.person("agent"))
    until = timezone.now().replace(microsecond=0) + timedelta(days=90)
    wanted = {"name": "nightly", "scopes": ["read", "desktops"], "expires": until.isoformat()}
    answer = Api().post("/tokens", {**CREDENTIALS, **wanted})
    assert answer.status_code == 201
    assert set(answer.json()) == {"token", "expires"}
    [shown] = Api(answer.json()["token"]).get("/tokens").json()["items"]
    assert (shown["name"], shown["scopes"]) == ("nightly", ["desktops", "read"])
    assert datetime.fromisoformat(shown["expires"]) == until
    assert answer.json()["token"] not in str(shown)
    assert Event.objects.get(kind="token.made").facts["name"] == "nightly"


def test_without_a_word_it_is_for_everything_and_a_day(world: World) -> None:
    with_password(world.person("agent"))
    assert Api().post("/tokens", CREDENTIALS).status_code == 201
    row = ApiToken.objects.get()
    assert row.scopes == ["everything"]
    assert timedelta(hours=23) < row.expires_at - timezone.now() <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"expires": "2000-01-01T00:00:00Z"}, "expires"),
        ({"expires": (datetime.now(UTC) + timedelta(days=366)).isoformat()}, "expires"),
        ({"scopes": []}, "scopes"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
    ],
)
def test_what_a_token_cannot_be_is_said_at_its_field(world: World, wanted: dict[str, Any], field: str) -> None:
    with_password(world.person("agent"))
    assert fields(refused(Api().post("/tokens", {**CREDENTIALS, **wanted}), 400)) == {field}
    assert not ApiToken.objects.exists()


def test_administrators_say_how_long_a_token_may_be_valid(world: World) -> None:
    config.put("ApiTokenDays", "7")
    with_password(world.person("agent"))
    for days, status in ((6, 201), (8, 400)):
        until = (timezone.now() + timedelta(days=days)).isoformat()
        assert Api().post("/tokens", {**CREDENTIALS, "expires": until}).status_code == status


def test_no_token_makes_another_one(world: World) -> None:
    """So none can make a wider one than itself."""
    for scope in Scope:
        token = token_for(world.person("agent"), scope)
        refused(token.post("/tokens", {"scopes": ["everything"]}), 422)
        refused(token.post("/tokens", {**CREDENTIALS, "password": "wrong"}), 401)
    assert ApiToken.objects.count() == len(Scope)


# -- how they are used, and end ----------------------------------------------------------------------


def writes(queries: CaptureQueriesContext) -> int:
    return sum(query["sql"].startswith('UPDATE "portal_apitoken"') for query in queries)


def test_when_it_was_last_used_is_written_once_a_minute(world: World) -> None:
    token = token_for(world.person("agent"), Scope.EVERYTHING)
    with CaptureQueriesContext(connection) as queries:
        assert token.get("/tokens").json()["items"][0]["last_used"] is not None
        for _again in range(5):
            token.get("/me")
    assert writes(queries) == 1
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    with CaptureQueriesContext(connection) as queries:
        token.get("/me")
        token.get("/me")
    assert writes(queries) == 1


def open_console(person: Any, pool: Pool, world: World, login: str) -> ConsoleSession:
    wish = world.take(person, pool)
    world.settle()
    wish.refresh_from_db()
    return console_doors.open_own(request=wish, wanted=Wanted(kind=ConsoleKind.TEXT, login=login))


def test_a_revoked_token_opens_nothing_and_what_it_had_open_ends(world: World, pool: Pool) -> None:
    person = world.person("agent", pool)
    row, secret = tokens.make(user=person, name="lost")
    session = open_console(person, pool, world, row.digest)
    other = token_for(person, Scope.EVERYTHING)
    assert Api(secret).get("/me").status_code == 200
    assert other.call("DELETE", f"/tokens/{row.pk}").status_code == 204
    refused(Api(secret).get("/me"), 401)
    session.refresh_from_db()
    assert session.ended_at is not None
    assert Event.objects.get(kind="token.revoked").facts["name"] == "lost"
    refused(other.call("DELETE", f"/tokens/{row.pk}"), 404)


def test_nobody_sees_or_revokes_the_tokens_of_others(world: World, admin: Api) -> None:
    row, secret = tokens.make(user=world.person("agent"), name="mine")
    assert "mine" not in admin.get("/tokens").content.decode()
    refused(admin.call("DELETE", f"/tokens/{row.pk}"), 404)
    refused(admin.call("DELETE", f"/tokens/{2**70}"), 404)
    assert Api(secret).get("/me").status_code == 200


def test_an_expired_token_is_refused_and_not_shown(world: World) -> None:
    person = world.person("agent")
    row, secret = tokens.make(user=person, name="old")
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    refused(Api(secret).get("/me"), 401)
    assert token_for(person, Scope.READ).get("/tokens").json()["count"] == 1


def test_any_token_ends_itself(world: World) -> None:
    for scope in Scope:
        token = token_for(world.person("agent"), scope)
        assert token.call("DELETE", "/tokens").status_code == 204
        refused(token.get("/me"), 401)


# -- from the shell ----------------------------------------------------------------------------------


def said(*arguments: Any) -> str:
    out = StringIO()
    call_command("token", *arguments, stdout=out)
    return out.getvalue().strip()


def test_tokens_from_the_shell(world: World) -> None:
    person = world.person("agent")
    api = Api(said("make", "agent", "--name", "cron", "--scope", "read", "--days", "30"))
    assert api.get("/me").status_code == 200
    refused(api.post("/roles", {}), 403, "OUT_OF_SCOPE")
    number, *rest = said("list", "agent").split()
    assert rest[:2] == ["cron", "read"]
    for wrong in (("make", "nobody"), ("make", "agent", "--days", "9999999999"), ("revoke", "agent", "0")):
        with pytest.raises(CommandError):
            said(*wrong)
    said("revoke", "agent", number)
    refused(api.get("/me"), 401)
    person.is_active = False
    person.save()
    with pytest.raises(CommandError, match="may not sign in"):
        said("make", "agent")
