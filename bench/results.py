"""Prints the results of all benches as tables, each with its date, processor and load.

    python -m bench.results [--group training|engine|service] [--figures]

bench/results.jsonl has one JSON line for each result: date, group, bench, processor, load (the load average; a bench
alone makes 1.4 to 2) and `result` in words, or `figures`, the bench's own last line. Compare ratios: machines vary.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".jsonl")
GROUPS = ("training", "engine", "service")
COLUMNS = ("date", "bench", "processor", "load", "result")


def load() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return results in words as a table in Markdown, newest first."""
    rows = sorted(results, key=lambda result: str(result["date"]), reverse=True)
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(str(row.get(c, '')) for c in COLUMNS)} |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", choices=GROUPS, action="append")
    parser.add_argument("--figures", action="store_true", help="print the benches' own last lines instead")
    options = parser.parse_args()
    for group in options.group or GROUPS:
        found = [result for result in load() if result["group"] == group]
        if options.figures:
            for result in found:
                if "figures" in result:
                    print(json.dumps(result, ensure_ascii=False))
        else:
            print(f"## {group}\n\n{table(result for result in found if 'result' in result)}\n")


if __name__ == "__main__":
    main()
