"""The shape of the house: who imports whom, how large a thing may grow, and that every word leads somewhere."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from broker import roles, states

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted(
    path
    for package in ("broker", "portal")
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.relative_to(ROOT).parts
)
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
PLAIN = {
    "HOME": "/nonexistent",
    "PATH": "/usr/bin:/bin",
    "DJANGO_SETTINGS_MODULE": "portal.settings",
    "HOTDESK_SECRET_KEY": "a key for tests that is long enough to be taken",
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def run(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {**PLAIN, "HOTDESK_STATE": str(state), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_imports_only_go_down(tmp_path: Path) -> None:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = run("-c", code, state=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_outgrows_a_few_screens() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_outgrows_one_screen() -> None:
    lengths = {
        f"{name(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in MODULES
        for function in functions(path)
    }
    assert {place: lines for place, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_fault_is_swallowed_whole() -> None:
    def swallows(handler: ast.ExceptHandler) -> bool:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        words = {kind and ast.unparse(kind) for kind in kinds}
        # To tidy up after anything at all, and let it pass on, is no swallowing.
        passes_on = isinstance(handler.body[-1], ast.Raise)
        return "Exception" in words or (bool(words & {None, "BaseException"}) and not passes_on)

    found = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    ]
    assert found == []


@pytest.fixture(scope="module")
def tasks() -> set[str]:
    from broker import tasks as _tasks  # noqa: F401  (registers them)
    from portal.celery import app

    app.finalize()
    return {task for task in app.tasks if task.startswith("broker.")}


def test_every_job_that_is_sent_is_done_by_a_task(tasks: set[str]) -> None:
    """A job is sent by name, so a misspelt one would wait for ever."""
    words = re.compile(r"broker\.\w+")
    senders = {"send", "later", "clear_flag", "_after_commit", "_send_once", "_flag"}
    sent = {
        argument.value
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in senders
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and words.fullmatch(argument.value)
    }
    assert {"broker.allocate", "broker.converge", "broker.set_ticket"} <= sent
    assert sent - tasks == set()


def test_what_the_beat_wakes_and_where_jobs_go_are_tasks_and_queues(tasks: set[str]) -> None:
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= tasks
    assert set(settings.CELERY_TASK_ROUTES) <= tasks
    queues = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    assert {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()} <= queues
    assert settings.CELERY_TASK_DEFAULT_QUEUE in queues


FIRST = {"REQUEST_MOVES": states.RequestState.QUEUED, "HOST_MOVES": states.HostStatus.MAINTENANCE}


def test_every_table_of_moves_is_known_to_these_tests() -> None:
    assert {word for word in vars(states) if word.endswith("_MOVES")} == set(FIRST)


@pytest.mark.parametrize("table", sorted(FIRST))
def test_every_state_can_be_reached(table: str) -> None:
    moves, start = getattr(states, table), FIRST[table]
    reached, next_ones = set(), {start}
    while next_ones:
        reached |= next_ones
        next_ones = {to for state in next_ones for to in moves[state]} - reached
    assert reached == set(type(start)) == set(moves)


def test_every_action_is_in_a_role_and_every_role_is_made_of_actions() -> None:
    actions = {code for code, _label in roles.ACTIONS}
    assert len(actions) == len(roles.ACTIONS)
    assert set().union(*roles.ROLES.values()) == actions


def test_every_action_that_is_asked_for_exists() -> None:
    """`access.visible(user, Pool, "use_pol")` would show nobody anything, without a word."""
    doors = {"visible": 2, "can": 1, "can_anywhere": 1}
    asked = set()
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("access."):
                continue
            place = doors.get(ast.unparse(node.func).removeprefix("access."))
            words = [node.args[place]] if place is not None and len(node.args) > place else []
            words += [keyword.value for keyword in node.keywords if keyword.arg in ("see", "action")]
            asked |= {word.value for word in words if isinstance(word, ast.Constant) and word.value}
    assert asked
    assert asked <= {code for code, _label in roles.ACTIONS}


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_web_never_loads_libvirt(tmp_path: Path) -> None:
    code = "import portal.asgi, portal.urls, sys; print([m for m in sys.modules if m.startswith('libvirt')])"
    done = run("-c", code, state=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
