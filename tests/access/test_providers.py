"""Others vouch for people: a real OpenID Connect provider and a real SAML identity provider, each on loopback."""

import base64
import html
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from broker.models import Event
from portal import providers
from portal.models import User
from tests.running import ROOT, wait_until
from tests.world import World

ADDRESS = "minji@hotdesk.example"
NAMED = "urn:mace:dir:attribute-def:"  # how pysaml2 calls attributes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(url: str, *command: str) -> Iterator[None]:
    """A program that answers at an address."""
    child = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def answers() -> bool:
        assert child.poll() is None, child.stderr and child.stderr.read()
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, url)
        yield
    finally:
        child.terminate()
        child.wait(20)
        if child.stderr:
            child.stderr.close()


def browser() -> Client:
    """One that says, as all real ones do, whom it calls."""
    return Client(HTTP_HOST="testserver")


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


@pytest.fixture
def minji(world: World) -> User:
    person = world.person("minji")
    person.email = ADDRESS
    person.set_unusable_password()
    person.save()
    return person


# -- OpenID Connect --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oidc_server() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(f"{url}/.well-known/openid-configuration", "oidc_provider_mock", "--port", str(port)):
        yield url


def configured(settings: Any, folder: Path, text: str) -> None:
    file = folder / "providers.toml"
    file.write_text(text)
    settings.SOCIALACCOUNT_PROVIDERS = providers.read(str(file))


@pytest.fixture
def oidc(settings: Any, tmp_path: Path, oidc_server: str) -> str:
    (tmp_path / "secret").write_text("a secret of theirs\n")
    text = f"""
        [oidc.company]
        name = "Company"
        server_url = "{oidc_server}"
        client_id = "hotdesk"
        client_secret_file = "{tmp_path}/secret"
    """
    configured(settings, tmp_path, text)
    return oidc_server


def vouched(server: str, client: Client, sub: str, path: str = "/sign-in/oidc/company/", **claims: Any) -> Any:
    """To the provider, through its form, and back with what it gave."""
    httpx.put(f"{server}/users/{sub}", json=claims).raise_for_status()
    away = client.get(path).headers["Location"]
    assert away.startswith(server)
    back = httpx.post(away, data={"sub": sub}).headers["Location"]
    return client.get(back.removeprefix("http://testserver"))


def test_a_verified_address_leads_to_the_account_and_stays_bound_to_it(oidc: str, minji: User) -> None:
    client = Client()
    page = client.get("/sign-in/?next=/history/").content.decode()
    button = re.search(r'href="(/sign-in/oidc/[^"]+)"', page)
    assert button
    answer = vouched(oidc, client, "m1", html.unescape(button[1]), email=ADDRESS, email_verified=True)
    assert answer.headers["Location"] == "/history/"
    assert is_in(client)
    assert Event.objects.filter(kind="session.opened", actor=minji).exists()
    again = Client()
    vouched(oidc, again, "m1", email="married@hotdesk.example", email_verified=True)
    assert is_in(again)
    assert SocialAccount.objects.get().user == minji


@pytest.mark.parametrize(
    "claims",
    [
        {"email": ADDRESS},
        {"email": ADDRESS, "email_verified": False},
        {"email": "else@hotdesk.example", "email_verified": True},
        {"preferred_username": "minji"},
    ],
)
def test_who_is_not_surely_somebody_gets_nowhere(oidc: str, minji: User, claims: dict[str, Any]) -> None:
    client = Client()
    answer = vouched(oidc, client, "stranger", **claims)
    assert b"There is no account here for you yet" in answer.content
    assert not is_in(client)
    assert User.objects.count() == 1 and not SocialAccount.objects.exists()
    assert Event.objects.filter(kind="session.unknown").exists()


def test_an_address_of_two_accounts_is_nobodys(oidc: str, world: World, minji: User) -> None:
    other = world.person("other")
    other.email = ADDRESS.upper()
    other.save()
    client = Client()
    vouched(oidc, client, "m2", email=ADDRESS, email_verified=True)
    assert not is_in(client)


def test_a_disabled_account_stays_disabled(oidc: str, minji: User) -> None:
    minji.is_active = False
    minji.save()
    client = Client()
    answer = vouched(oidc, client, "m3", email=ADDRESS, email_verified=True)
    assert answer.headers["Location"] == "/account/inactive/"
    assert not is_in(client)


def test_accounts_are_made_where_the_configuration_says_so(
    settings: Any, tmp_path: Path, oidc: str, minji: User
) -> None:
    rules = 'create_users = true\nname = "Company"\nclient_id = "hotdesk"\nclient_secret = "x"'
    configured(settings, tmp_path, f'[oidc.company]\n{rules}\nserver_url = "{oidc}"')
    for sub, address, expected in (("n1", "new@hotdesk.example", True), ("n2", "", False)):
        client = Client()
        vouched(oidc, client, sub, email=address, email_verified=True, preferred_username="new", given_name="New")
        assert is_in(client) == expected
    made = User.objects.get(email="new@hotdesk.example")
    assert (made.username, made.first_name, made.has_usable_password()) == ("new", "New", False)
    assert not made.is_superuser and not made.role_assignments.exists()


def test_what_comes_back_is_taken_once_and_only_by_who_asked(oidc: str, minji: User) -> None:
    asker, thief = Client(), Client()
    httpx.put(f"{oidc}/users/m4", json={"email": ADDRESS, "email_verified": True})
    back = httpx.post(asker.get("/sign-in/oidc/company/").headers["Location"], data={"sub": "m4"}).headers["Location"]
    back = back.removeprefix("http://testserver")
    assert b"Sign-in did not work" in thief.get(back).content
    assert not is_in(thief)
    asker.get(back)
    assert is_in(asker)
    asker.post("/sign-out/")
    asker.get(back)
    assert not is_in(asker)


def test_who_stops_it_is_back_and_a_provider_that_is_away_is_told(
    settings: Any, tmp_path: Path, oidc: str, minji: User
) -> None:
    client = Client()
    away = client.get("/sign-in/oidc/company/").headers["Location"]
    back = httpx.post(away, data={"action": "deny"}).headers["Location"].removeprefix("http://testserver")
    [state] = parse_qs(urlsplit(away).query)["state"]  # which this provider leaves out of a refusal
    assert client.get(f"{back}&state={state}").headers["Location"] == "/sign-in/cancelled/"
    text = '[oidc.company]\nname = "Company"\nclient_id = "x"\nserver_url = "http://127.0.0.1:9"'
    configured(settings, tmp_path, text)
    answer = client.get("/sign-in/oidc/company/")
    assert (answer.status_code, b"Sign-in did not work" in answer.content) == (503, True)
    assert client.get("/sign-in/oidc/nobody/").status_code == 404


# -- SAML ------------------------------------------------------------------------------------------


def make_certificate(folder: Path, name: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    text = made.public_bytes(serialization.Encoding.PEM).decode()
    (folder / f"{name}.pem").write_text(text)
    return text


class Saml:
    """The provider, and what it says of whoever comes."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.certificate = make_certificate(folder, "idp")
        self.foreign = make_certificate(folder, "foreign")

    def says(self, *, signed: bool = True, where: dict[str, str] | None = None, **claims: str) -> None:
        options = {"signed": signed, "where": where or {}}
        (self.folder / "claims.json").write_text(json.dumps({"uid": "m1", **claims, "options": options}))

    def text(self, certificate: str) -> str:
        return f"""
            [saml.campus]
            name = "Campus"
            entity_id = "{self.url}/metadata"
            sso_url = "{self.url}/sso"
            trust_email = true
            attributes = {{ uid = "{NAMED}uid", email = "{NAMED}email" }}
            certificate = '''{certificate}'''
        """

    def response(self, client: Client) -> dict[str, str]:
        """What the provider has a browser post."""
        away = client.get("/sign-in/saml/campus/").headers["Location"]
        assert away.startswith(f"{self.url}/sso?")
        page = httpx.get(away).text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
        assert "/sign-in/saml/campus/acs/" in page
        return {name: html.unescape(value) for name, value in fields.items()}


@pytest.fixture(scope="module")
def saml_server(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Saml]:
    folder, port = tmp_path_factory.mktemp("saml"), free_port()
    server = Saml(folder, port)
    file = folder / "providers.toml"
    file.write_text(server.text(server.certificate))
    with override_settings(SOCIALACCOUNT_PROVIDERS=providers.read(str(file))), django_db_blocker.unblock():
        told = browser().get("/sign-in/saml/campus/metadata/")
    assert told.status_code == 200
    (folder / "sp.xml").write_bytes(told.content)
    with running(server.url, "tests.saml_provider", str(folder), str(port)):
        yield server


@pytest.fixture
def saml(settings: Any, tmp_path: Path, saml_server: Saml) -> Saml:
    configured(settings, tmp_path, saml_server.text(saml_server.certificate))
    return saml_server


def posted(client: Client, response: dict[str, str]) -> Any:
    """From the provider's page, so that no cookie of ours comes along; and then on with them."""
    kept = {name: cookie for name, cookie in client.cookies.items() if name != "saml-acs-session"}
    client.cookies.clear()
    answer = client.post("/sign-in/saml/campus/acs/", response)
    for name, cookie in kept.items():
        client.cookies[name] = cookie
    return client.get(answer.headers["Location"])


def test_an_assertion_signs_in(saml: Saml, minji: User) -> None:
    client = browser()
    saml.says(email=ADDRESS)
    answer = posted(client, saml.response(client))
    assert answer.headers["Location"] == "/"
    assert is_in(client)
    assert SocialAccount.objects.get().user == minji


def test_an_assertion_is_taken_once_and_only_by_who_asked(saml: Saml, minji: User) -> None:
    asker, thief = browser(), browser()
    saml.says(email=ADDRESS)
    response = saml.response(asker)
    thief.get("/sign-in/saml/campus/")
    posted(thief, response)
    assert not is_in(thief)
    posted(asker, response)
    assert is_in(asker)
    asker.post("/sign-out/")
    posted(asker, response)
    assert not is_in(asker)


def test_what_is_not_signed_or_was_changed_is_not_believed(
    saml: Saml, minji: User, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser()
    saml.says(email=ADDRESS, signed=False)
    assert b"Sign-in did not work" in posted(client, saml.response(client)).content
    assert "not signed" in caplog.text or "No Signature found" in caplog.text
    caplog.clear()
    saml.says(email="else@hotdesk.example")
    response = saml.response(client)
    xml = base64.b64decode(response["SAMLResponse"]).replace(b"else@hotdesk.example", ADDRESS.encode())
    changed = {**response, "SAMLResponse": base64.b64encode(xml).decode()}
    assert b"Sign-in did not work" in posted(client, changed).content
    assert "Signature validation failed" in caplog.text
    assert not is_in(client)


def test_another_key_and_another_audience_are_not_believed(
    settings: Any, tmp_path: Path, saml: Saml, minji: User, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser()
    saml.says(email=ADDRESS, where={"sp_entity_id": "http://elsewhere.example/"})
    assert b"Sign-in did not work" in posted(client, saml.response(client)).content
    assert "audience" in caplog.text
    caplog.clear()
    saml.says(email=ADDRESS)
    configured(settings, tmp_path, saml.text(saml.foreign))
    assert b"Sign-in did not work" in posted(client, saml.response(client)).content
    assert "Signature validation failed" in caplog.text
    assert not is_in(client)


def test_nobody_is_signed_out_by_a_message_that_anybody_can_send(saml: Saml) -> None:
    assert browser().get("/sign-in/saml/campus/sls/").status_code == 404


# -- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[oidc.x]\nname = 'X'", "missing ['client_id', 'server_url']"),
        ("[oidc.x]\nname = 'X'\nclient_id = 'x'\nserver_url = 'https://x'\nsecret = 'y'", "unknown ['secret']"),
        ("[saml.x]\nname = 'X'\nentity_id = 'x'", "missing ['certificate', 'sso_url']"),
        ("[ldap.x]", "unknown tables ['ldap']"),
        ("[oidc.x]\n[saml.x]", "twice ['x']"),
        ("[oidc", "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(text)
    with pytest.raises(ImproperlyConfigured) as error:
        providers.read(str(file))
    assert said in str(error.value)


def test_without_a_configuration_there_are_no_buttons(db: None) -> None:
    assert providers.read("") == {}
    assert b"Sign in with a key" in Client().get("/sign-in/").content
    assert b"/sign-in/oidc/" not in Client().get("/sign-in/").content


def test_the_way_to_the_provider_is_bound_to_the_session(oidc: str, minji: User) -> None:
    query = parse_qs(urlsplit(Client().get("/sign-in/oidc/company/").headers["Location"]).query)
    assert {"state", "code_challenge"} <= set(query)
    assert query["redirect_uri"] == ["http://testserver/sign-in/oidc/company/callback/"]
