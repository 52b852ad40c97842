"""Before there is an administrator: how to make one, and nothing else."""

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from broker import access, grants
from broker.models import RoleAssignment
from portal import settings as real
from portal.models import User
from tests.api.conftest import Api, refused
from tests.world import World


@pytest.fixture(autouse=True)
def as_in_production(settings: Any) -> None:
    settings.MIDDLEWARE = real.MIDDLEWARE


def test_every_page_says_how_to_make_the_first_administrator(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    for path in (
        "/",
        "/sign-in/",
        "/manage/",
        "/help/",
        "/backoffice/",
        "/nothing/here/",
        "/account/password/reset/",
    ):
        answer = client.get(path)
        assert (answer.status_code, b"manage.py createsuperuser" in answer.content) == (503, True), path
    assert client.post("/sign-in/", {"username": "x", "password": "y"}).status_code == 503
    refused(Api(client=client).get("/me"), 503, "NO_ADMINISTRATOR")
    assert client.get("/healthz").status_code == 200
    korean = client.get("/", headers={"Accept-Language": "ko"}).content.decode()
    assert "관리자가 없습니다" in korean

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long pass phrase")
    call_command("createsuperuser", "--noinput", username="root", email="root@hotdesk.example", verbosity=0)
    made = User.objects.get()
    [given] = RoleAssignment.objects.all()
    assert (given.user, given.role.name, given.object_id) == (made, "SuperUser", None)
    assert access.everywhere(made, "manage_users")
    assert client.get("/sign-in/").status_code == 200
    assert client.post("/sign-in/", {"username": "root", "password": "a long pass phrase"}).status_code == 302


def test_somebody_with_the_role_is_an_administrator_too(world: World) -> None:
    person = world.person("lead")
    grants.grant(role="DataCenterAdmin", to=person, on=None)
    assert Client().get("/sign-in/").status_code == 503
    grants.grant(role="SuperUser", to=person, on=None)
    assert Client().get("/sign-in/").status_code == 200
    person.is_active = False
    person.save()
    assert Client().get("/sign-in/").status_code == 503
