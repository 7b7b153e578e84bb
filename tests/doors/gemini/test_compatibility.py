"""docs/compatibility.md: every point has a test, and pytest runs every test that it names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs/compatibility.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+(?:\.\d+[ab]?)?) \| .+ \| (.*) \|$", PAGE, re.MULTILINE)
POINTS_OF_SECTION = {1: 19, 2: 8, 3: 6, 4: 7, 5: 17, 6: 11, 7: 4, 8: 11, 9: 11, 10: 7, 11: 6, 13: 8, 14: 25}
OTHERS = ["0", "0.1", "7.2a", "7.2b", "7.3a", "12"]


def test_every_point_is_in_the_table_once() -> None:
    counted = [f"{section}.{n}" for section, count in POINTS_OF_SECTION.items() for n in range(1, count + 1)]
    assert sorted(point for point, _ in ROWS) == sorted([*counted, *OTHERS])


def test_every_point_names_a_test_that_pytest_collects() -> None:
    named = [(point, re.fullmatch(r"`([\w/]+\.py::test_\w+)`", name)) for point, name in ROWS]
    assert not [point for point, found in named if found is None], "points without a test"
    collected = collect({found[1].partition("::")[0] for _, found in named if found})
    assert not [(point, found[1]) for point, found in named if found and found[1] not in collected]


def test_no_test_that_a_point_names_is_empty() -> None:
    for point, name in ROWS:
        path, function = name.strip("`").split("::")
        assert checks_something(path, function), f"point {point}: {name} checks nothing"


def collect(paths: set[str]) -> set[str]:
    """Return the tests that pytest finds in these files, each as `path::function`."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *sorted(paths)]
    found = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=True).stdout
    return {line.partition("[")[0].removeprefix("tests/") for line in found.splitlines() if "::" in line}


def checks_something(path: str, function: str) -> bool:
    """Tell whether a test has statements beside its docstring, and is not marked to be skipped or to fail."""
    test = functions_of(path)[function]
    marks = {ast.unparse(mark) for mark in test.decorator_list}
    skipped = any(mark.startswith(("pytest.mark.skip", "pytest.mark.xfail")) for mark in marks)
    return not skipped and any(isinstance(part, ast.Assert | ast.Call | ast.With) for part in ast.walk(test))


@cache
def functions_of(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
