"""The back office shows raw rows to people who administer everything, and changes nothing."""

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from broker import grants
from broker.models import Pool
from portal import backoffice
from tests.world import World

MODELS = sorted(backoffice.site._registry, key=lambda model: model._meta.label)


def visitor(world: World, name: str, role: str | None, on: object = None) -> Client:
    person = world.person(name)
    if role:
        grants.grant(role=role, to=person, on=on)  # type: ignore[arg-type]
    client = Client()
    client.force_login(person)
    return client


def address(model: type, page: str, *args: object) -> str:
    return reverse(f"backoffice:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)  # type: ignore


def test_it_is_there_for_super_users_alone(world: World, pool: Pool) -> None:
    assert visitor(world, "admin", "SuperUser").get("/backoffice/").status_code == 200
    assert Client().get("/backoffice/", follow=True).redirect_chain[-1][0].startswith("/sign-in/")
    for name, role, on in (("user", "UserRole", pool), ("local", "SuperUser", pool), ("nobody", None, None)):
        client = visitor(world, name, role, on)
        assert client.get("/backoffice/", follow=True).status_code == 404
        for model in MODELS:
            assert client.get(address(model, "changelist"), follow=True).status_code == 404


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_kind_of_row_can_be_looked_at_and_not_touched(world: World, pool: Pool, model: type) -> None:
    world.take(world.people(1, pool)[0], pool)
    world.settle()
    client = visitor(world, "admin", "SuperUser")
    assert client.get(address(model, "changelist")).status_code == 200
    assert client.get(address(model, "add")).status_code == 403
    row = model._default_manager.first()  # type: ignore[attr-defined]
    if row is not None:
        page = client.get(address(model, "change", row.pk))
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert client.post(address(model, "change", row.pk), {}).status_code == 403
        assert client.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_all_our_rows_are_there_and_no_secret(world: World) -> None:
    ours = set(apps.get_app_config("broker").get_models())
    assert {model for model in ours if not model._meta.auto_created} <= set(MODELS)
    person = world.person("admin")
    person.set_password("something secret")
    person.save()
    page = visitor(world, "admin", "SuperUser").get(address(type(person), "change", person.pk)).content.decode()
    assert person.password not in page
