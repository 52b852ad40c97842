"""Which requirements have a test that says so: every row that is said to be done is shown by one."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def rows(*ranges: tuple[int, int]) -> set[str]:
    return {f"R{number:03}" for low, high in ranges for number in range(low, high + 1)}


# The desktop and its line; pools, the Administration Portal, permissions, consoles. What is added must be shown.
DONE = rows((1, 146), (260, 277))
# Settings that are stored and reach the domain; what they do in a live migration is shown with migration itself.
LATER = rows((76, 76), (83, 88), (92, 92), (97, 97))


def shown() -> set[str]:
    """The ids in `pytest.mark.req(…)` of all tests."""
    found: set[str] = set()
    for file in ROOT.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(), str(file))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req":
                found |= {ast.literal_eval(argument) for argument in node.args}
    return found


def test_every_row_that_is_done_is_shown_by_a_test() -> None:
    assert sorted(DONE - LATER - shown()) == []


def test_every_mark_names_a_row() -> None:
    assert sorted(shown() - rows((1, 277))) == []
