"""docs/compatibility.md: every point has a test, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/compatibility.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+(?:\.\d+[ab]?)?) \| .+ \| (.*) \|$", PAGE, re.MULTILINE)
POINTS_OF_SECTION = {1: 19, 2: 8, 3: 6, 4: 7, 5: 17, 6: 11, 7: 4, 8: 11, 9: 11, 10: 7, 11: 6, 13: 8}
OTHERS = ["0", "0.1", "7.2a", "7.2b", "7.3a", "12"]


def test_every_point_is_in_the_table_once() -> None:
    counted = [f"{section}.{n}" for section, count in POINTS_OF_SECTION.items() for n in range(1, count + 1)]
    assert sorted(point for point, _ in ROWS) == sorted([*counted, *OTHERS])


def test_every_point_names_a_test_that_exists() -> None:
    for point, name in ROWS:
        found = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", name)
        assert found, f"point {point} has no test: {name}"
        path, function = found.groups()
        assert f"def {function}(" in (TESTS / path).read_text(encoding="utf-8"), f"point {point}: {name}"
