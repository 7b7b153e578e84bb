"""Mending what can be mended in training data, and leaving out what cannot; all of it is told, row by row.

Texts are repaired, rows that repeat an earlier one or are in the held-out set are left out, and so is what would be
refused. What may be meant so stays: contradictions, empty questions, control tokens within a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from overtone.dataset import checks, suspicions
from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind, Turn
from overtone.dataset.files import sound_rows
from overtone.dataset.mojibake import repair
from overtone.dataset.report import BaseFacts, CheckReport, check_examples


@dataclass(frozen=True)
class Fixed:
    """What is left of a file: its examples, the rows that were mended, and those that were left out, with why."""

    examples: tuple[Example, ...]
    mended: tuple[int, ...]
    left_out: tuple[Problem, ...]  # one for each row, with its row


def fix(report: CheckReport) -> Fixed:
    """Return the examples of a checked file, mended. A row that cannot be mended is left out."""
    labels = suspicions.find_labels(Dataset(tuple(example for _, example in sound_rows(report.content))))
    left_out = {row: problem for row, problem in _first_problems(report).items() if not problem.fix}
    kept: dict[int, Example] = {}
    mended = []
    for row, example in sound_rows(report.content):
        if row in left_out:
            continue
        kept[row] = mend(example, report.facts, labels)
        if kept[row] != example or any(
            each.kind == ProblemKind.NOT_TEXT for each in report.content.rows[row].problems
        ):
            mended.append(row)
    left_out |= _still_wrong(kept, report)
    sound = tuple(example for row, example in kept.items() if row not in left_out)
    reasons = tuple(left_out[row] for row in sorted(left_out))
    return Fixed(sound, tuple(row for row in mended if row not in left_out), reasons)


def mend(example: Example, facts: BaseFacts, labels: Mapping[str, int]) -> Example:
    """Return an example with its texts repaired, in the right order, a system turn put before the question."""
    turns = tuple(replace(turn, text=_mend_text(turn, facts)) for turn in example.turns)
    mended = Example(turns)
    if checks.has_foldable_system(mended):
        system, question, answer = (turn.text for turn in turns)
        mended = Example.pair(f"{system}\n\n{question}", answer)
    if suspicions.is_swapped(mended, labels):
        mended = Example.pair(mended.output, mended.text_input)
    return mended


def format_examples(examples: Sequence[Example]) -> str:
    """Return pairs as JSON lines."""
    rows = ({"text_input": each.text_input, "output": each.output} for each in examples)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _mend_text(turn: Turn, facts: BaseFacts) -> str:
    text = repair(turn.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    if turn.role == "assistant":
        text = suspicions.without_end(text, facts.control_tokens_in_answers)
    return text


def _first_problems(report: CheckReport) -> dict[int, Problem]:
    """Return, for each row that would be refused, the first reason without a fix, else the first."""
    found: dict[int, Problem] = {}
    for problem in report.problems:
        if problem.row is None or problem.severity == "warning":
            continue
        earlier = found.get(problem.row)
        if earlier is None or (earlier.fix and not problem.fix):
            found[problem.row] = problem
    return found


def _still_wrong(kept: Mapping[int, Example], report: CheckReport) -> dict[int, Problem]:
    """Return what is wrong with mended examples all the same, one problem for each row."""
    rows = list(kept)
    dataset = Dataset(tuple(kept.values()))
    places = [report.content.rows[row].place for row in rows]
    measured = report.facts.measure(dataset.examples) if report.facts.measure else None
    found: dict[int, Problem] = {}
    for problem in (
        *check_examples(dataset, report.facts, measured),
        *suspicions.check_doubles(dataset, places),
        *(each for each in suspicions.check_blanks(dataset) if each.fix),
    ):
        if problem.row is not None:
            found.setdefault(rows[problem.row], replace(problem, row=rows[problem.row]))
    held_out = (each for each in report.problems if each.kind == ProblemKind.HELD_OUT and each.row in kept)
    for problem in held_out:
        assert problem.row is not None
        found.setdefault(problem.row, problem)
    return found
