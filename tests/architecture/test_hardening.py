"""Nothing is left open that a switch, a header or an update would close."""

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import Client

from portal.middleware import within_limits
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
PLAIN = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "portal.settings"}
RANDOM_KEY = "wX3-rZ8_kQ1vB6nM4jH7gF2dS9aP0oI5uYtReWqLzXcVbNmKjHgFdSaQ"


def run(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**PLAIN, "HOTDESK_STATE": str(state), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


# -- settings --------------------------------------------------------------------------------------


def test_django_finds_nothing_to_warn_about(tmp_path: Path) -> None:
    command = ("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    done = run(*command, state=tmp_path, HOTDESK_TLS="1", HOTDESK_SECRET_KEY=RANDOM_KEY)
    assert done.returncode == 0, done.stderr
    assert "no issues (2 silenced)" in done.stdout + done.stderr


PRINT = """
from django.conf import settings
print(settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"], settings.REDIS_URL, settings.CELERY_BROKER_URL)
"""
SECRETS = {
    "HOTDESK_SECRET_KEY": RANDOM_KEY,
    "DATABASE_URL": "postgres://hotdesk:secret-one@db/hotdesk",
    "HOTDESK_REDIS_URL": "redis://:secret-two@redis:6379/0",
}
READ = f"{RANDOM_KEY} secret-one {SECRETS['HOTDESK_REDIS_URL']} {SECRETS['HOTDESK_REDIS_URL']}"


def test_secrets_come_from_files(tmp_path: Path) -> None:
    files = {}
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value + "\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    assert run("-c", PRINT, state=tmp_path, **files).stdout.strip() == READ


def test_what_stands_in_the_environment_wins_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("sqlite:///other")
    files = {f"{name}_FILE": str(tmp_path / "other") for name in SECRETS}
    assert run("-c", PRINT, state=tmp_path, **files, **SECRETS).stdout.strip() == READ


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_that_was_named_must_be_there(tmp_path: Path, name: str) -> None:
    done = run("-c", PRINT, state=tmp_path, **{f"{name}_FILE": str(tmp_path / "nothing")})
    assert done.returncode != 0
    assert "nothing" in done.stderr


def test_every_request_passes_the_limits_and_none_waits_for_redis(settings: Any) -> None:
    assert f"{within_limits.__module__}.{within_limits.__name__}" in settings.MIDDLEWARE
    assert settings.CACHES["limits"]["BACKEND"].endswith("LocMemCache")


# -- headers and cookies ---------------------------------------------------------------------------

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
WHERE = [
    "/",
    "/sign-in/",
    "/nowhere",
    "/api/v1/me",
    "/api/v1/docs",
    "/api/v1/openapi.json",
    "/backoffice/",
    "/healthz",
]


@pytest.fixture
def admin(world: World) -> Client:
    person = world.superuser()
    client = Client()
    client.force_login(person)
    return client


@pytest.mark.parametrize("path", WHERE)
def test_every_answer_tells_browsers_to_be_careful(admin: Client, path: str) -> None:
    headers = admin.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert "camera=()" in headers["Permissions-Policy"]
    assert all(re.fullmatch(r"[a-z-]+=\(\)", one) for one in headers["Permissions-Policy"].split(", "))


class Foreign(HTMLParser):
    """What a page holds that its policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        runs = given.get("type", "text/javascript") not in ("application/json",)
        inline = (tag == "script" and runs and "src" not in given) or tag == "style" or "style" in given
        acts = any(name.startswith("on") for name in given)
        fetched = [given.get("src"), given.get("href") if tag == "link" else None]
        if inline or acts or any(one and not one.startswith(("/static/", "data:")) for one in fetched):
            self.found.append(self.get_starttag_text() or tag)


PAGES = ["/", "/sign-in/", "/nowhere", "/manage/", "/manage/vms/", "/manage/pools/new/", "/api/v1/docs"]


@pytest.mark.parametrize("path", [*PAGES, "/backoffice/", "/backoffice/broker/pool/", "/backoffice/portal/user/"])
def test_pages_keep_to_their_policy(admin: Client, path: str) -> None:
    answer = (Client() if path == "/sign-in/" else admin).get(path)
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    page = Foreign()
    page.feed(answer.content.decode())
    assert page.found == []


def test_cookies_are_for_the_server_alone(world: World) -> None:
    person = world.person("agent")
    person.set_password("only for tests")
    person.save()
    client = Client()
    client.get("/sign-in/")
    client.post("/sign-in/", {"username": "agent", "password": "only for tests"})
    client.post("/language/setlang/", {"language": "ko"})
    assert set(client.cookies) == {"sessionid", "csrftoken", "django_language"}
    for cookie in client.cookies.values():
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax"), cookie.key
    assert client.cookies["sessionid"]["max-age"] == 12 * 3600


def test_no_script_reads_a_cookie() -> None:
    """Or the one against forged requests could not be kept from scripts."""
    scripts = list((ROOT / "static" / "js").rglob("*.js"))
    assert scripts
    assert [script.name for script in scripts if "cookie" in script.read_text()] == []


TLS = """
import django
django.setup()
from django.conf import settings
from django.test import Client
plain = Client(headers={"Host": "localhost"})
secure = Client(headers={"Host": "localhost", "X-Forwarded-Proto": "https"})
print(plain.get("/sign-in/").status_code, plain.get("/sign-in/").headers.get("Location"))
print(plain.get("/healthz").status_code)
print(secure.get("/healthz").headers["Strict-Transport-Security"])
print(settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.LANGUAGE_COOKIE_SECURE)
"""


def test_with_tls_nothing_is_said_without(tmp_path: Path) -> None:
    done = run("-W", "ignore", "-c", TLS, state=tmp_path, HOTDESK_TLS="1", HOTDESK_SECRET_KEY=RANDOM_KEY)
    assert done.stdout.splitlines() == [
        "301 https://localhost/sign-in/",
        "200",
        "max-age=31536000; includeSubDomains; preload",
        "True True True",
    ], done.stderr


# -- packages --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOLE = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": ""}
KNOWN = {"name": "bottle", "version": "0.10", "vulns": [HOLE]}
FINE = {"name": "django", "version": "5.2", "vulns": []}
BAD = {"name": "vine", "version": "1", "vulns": [HOLE]}
AWAY = "Traceback …\nrequests.exceptions.ConnectionError: nobody is there"
BLOCKED = "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`"


def skipped(name: str) -> dict[str, str]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(
    ("packages", "complaints", "may_go_on", "loud", "said"),
    [
        ([KNOWN, FINE], "", True, False, "No known vulnerabilities"),
        ([KNOWN, FINE, BAD], "Found 2", False, False, "vulnerable: vine 1: PYSEC-1, mended in 2"),
        ([KNOWN, FINE, skipped("vine")], "", True, True, "vine"),
        ([KNOWN, BAD, skipped("amqp")], "", False, True, "vulnerable: vine 1"),
        ([skipped("bottle"), skipped("vine")], "No known vulnerabilities found", True, True, "dependencies"),
        ([{**KNOWN, "vulns": []}, FINE], "No known vulnerabilities found", True, True, "dependencies"),
        (None, AWAY, True, True, "nobody is there"),
        (None, BLOCKED, True, True, "blocking"),
        (None, "No module named pip_audit", False, True, "pip_audit"),
        (None, "", False, True, "said nothing"),
    ],
)
def test_an_audit_counts_only_when_it_was_done(
    audit: ModuleType, packages: Any, complaints: str, may_go_on: bool, loud: bool, said: str
) -> None:
    answer = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    judged, lines = audit.judge(answer, complaints)
    assert judged is may_go_on
    assert any("!!! NOT AUDITED !!!" in line for line in lines) is loud
    assert any(said in line for line in lines)


def test_the_package_that_is_known_to_be_vulnerable_is_none_of_ours(audit: ModuleType) -> None:
    locked = {line.split("==")[0].lower() for line in (ROOT / ".requirements.lock").read_text().splitlines()}
    assert "pip_audit" in locked
    assert audit.KNOWN[0] not in locked
