"""Every item of the acceptance list is shown by a test, or stands in the table of limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
LIMITS = TESTS.parent / "docs" / "limits.md"
GROUPS = {"I": 12, "A": 8, "O": 8, "F": 8, "S": 7, "D": 10, "P": 7}
CODES = {f"{group}{number}" for group, count in GROUPS.items() for number in range(1, count + 1)}

# What does not hold, or in part only: the reason, and what provides it instead.
NOT_HELD = {
    "A3": (
        "In part: a form may have 64 parts, not 10, because several images in one request are answered one by one.",
        "The limit of 10 MB for the whole body.",
    ),
    "D9": (
        "In part: a run sends a sample of the test images, not every image once, and rendered images have no accuracy.",
        "Parity of logits before a service starts; a cell whose answers differ from those without HTTP is invalid.",
    ),
    "S6": (
        "In part: `constraints.txt` pins versions, not hashes, and no audit of them runs offline.",
        "`pip-audit -r constraints.txt` where the network allows it; `pip download` once and "
        "`--require-hashes` from there.",
    ),
}


def marks():
    """Code -> the tests that carry it, over all tests there are."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for code in filter(None, map(code_of, node.decorator_list)):
                    found.setdefault(code, []).append(f"{path.relative_to(TESTS).as_posix()}::{node.name}")
    return found


def code_of(decorator):
    is_mark = isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.acceptance"
    return ast.literal_eval(decorator.args[0]) if is_mark else None


def rows():
    lines = re.findall(r"^\| ([IAOFSDP]\d+) \| (.+?) \| (.+?) \|$", LIMITS.read_text(), re.MULTILINE)
    return {code: (reason, instead) for code, reason, instead in lines}


def test_the_list_has_sixty_items():
    assert len(CODES) == 60


def test_every_item_is_shown_or_said_not_to_hold():
    assert CODES - marks().keys() - NOT_HELD.keys() == set()


def test_no_mark_names_an_item_that_does_not_exist():
    assert marks().keys() - CODES == set()


def test_what_does_not_hold_in_part_is_shown_for_the_rest():
    partly = {code for code, (reason, _) in NOT_HELD.items() if reason.startswith("In part: ")}
    assert partly == NOT_HELD.keys() & marks().keys()


def test_the_table_that_people_read_is_this_one():
    assert rows() == NOT_HELD
