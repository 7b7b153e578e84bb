"""The one function behind `overtone check` and `datasets:check`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.dataset.checks import ExampleLimits
from overtone.dataset.estimate import SpeedRecord
from overtone.dataset.examples import Example, ProblemKind
from overtone.dataset.files import DataSource
from overtone.dataset.fixes import fix, format_examples
from overtone.dataset.report import BaseFacts, CheckReport, Measured, check_source, to_json
from overtone.dataset.statistics import TokenCount
from overtone.errors import InvalidArgument

SPEED = SpeedRecord("tiny", "p", "2 threads", "float32", 10, 1000, 10.0, 7)


def measure(examples: Sequence[Example]) -> list[Measured]:
    """One token a character, and no system turns."""
    refused = InvalidArgument("no system role")
    return [
        refused if "system" in each.roles else TokenCount(sum(len(t.text) for t in each.turns), 1)
        for each in examples
    ]


def facts(**others: Any) -> BaseFacts:
    known = {"measure": measure, "control_tokens": ["<e>"], "control_tokens_in_answers": ["<e>"], **others}
    return BaseFacts("tiny", ExampleLimits("models/tiny", 30), lambda num_examples: (5, 4), **known)


def check(rows: list[Any], **others: Any) -> CheckReport:
    return check_source(DataSource("rows", rows=rows), facts(**others))


def pairs(*texts: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"prompt": asked, "completion": answered} for asked, answered in texts]


def chat(*said: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def test_sound_rows_have_statistics_and_an_estimate() -> None:
    report = check(pairs(("a", "1"), ("b", "2")), records=[SPEED])
    assert (report.is_refused, report.problems) == (False, ())
    assert report.statistics is not None and report.statistics.total == 4
    assert report.estimate is not None
    assert (report.estimate.num_steps, report.estimate.num_tokens) == (3, 20)
    assert report.estimate.seconds == 0.2
    without = check(pairs(("a", "1"), ("b", "2")), records=[SPEED], template_tokens=1)
    assert without.estimate is not None and without.estimate.seconds == 0.1


def test_problems_name_the_rows_of_the_file() -> None:
    data = (
        b'nonsense\n\n{"prompt": "a", "completion": ""}\n{"prompt": "b", "completion": "'
        + b"x" * 40
        + b'"}\n'
    )
    report = check_source(DataSource("x.jsonl", data), facts())
    found = [(each.row, report.place_of(each), each.kind) for each in report.problems]
    assert found == [
        (0, "line 1", ProblemKind.UNREADABLE),
        (1, "line 3", ProblemKind.EMPTY),
        (2, "line 4", ProblemKind.TOO_LONG),
    ]
    assert report.is_refused
    assert report.statistics is not None and report.statistics.longest[0].row == 2


def test_warnings_refuse_nothing() -> None:
    report = check(pairs(("a", "1"), ("a", "1"), ("a", "2"), (" ", "x<e>"), ("cafÃ©", "3")))
    kinds = {each.kind for each in report.problems}
    assert kinds == {
        ProblemKind.DOUBLED,
        ProblemKind.CONTRADICTORY,
        ProblemKind.BLANK,
        ProblemKind.CONTROL_TOKEN,
        ProblemKind.MOJIBAKE,
    }
    assert not report.is_refused


def test_what_the_template_refuses_is_told_once() -> None:
    row = chat(("system", "s"), ("user", "u"), ("assistant", "a"))
    known = check([row], roles=frozenset(("user", "assistant")))
    assert [each.kind for each in known.problems] == [ProblemKind.ROLE, ProblemKind.CONVERSATION]


def test_rows_of_the_held_out_set_are_told_with_their_place_there() -> None:
    held_out = DataSource("test.jsonl", b'{"prompt": "b", "completion": "2"}\n')
    report = check_source(DataSource("rows", rows=pairs(("a", "1"), ("b", "2"))), facts(), held_out)
    (problem,) = report.problems
    assert (problem.row, problem.kind) == (1, ProblemKind.HELD_OUT)
    assert "at test.jsonl, line 1" in problem.text


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "test.jsonl holds 0 examples; 0 of its rows are none."),
        (b'{"prompt": "b", "completion": "2"}\n3\n', "test.jsonl holds 1 examples; 1 of its rows are none."),
        (b"PAR1", "test.jsonl is a Parquet file"),
    ],
)
def test_what_cannot_be_compared_of_a_held_out_set_is_told(data: bytes, sentence: str) -> None:
    report = check_source(DataSource("rows", rows=pairs(("a", "1"))), facts(), DataSource("test.jsonl", data))
    (problem,) = report.problems
    assert problem.text.startswith(sentence)
    assert (problem.row, problem.kind, report.is_refused) == (None, ProblemKind.HELD_OUT, False)


def test_without_tokens_all_else_is_checked() -> None:
    report = check(pairs(("a", "x" * 100), ("b", "")), measure=None, unmeasured="Not here.")
    assert [each.kind for each in report.problems] == [ProblemKind.EMPTY]
    assert report.statistics is not None and report.statistics.unit == "characters"
    assert to_json(report)["uncounted"] == "Not here."


def test_a_file_without_rows_is_refused() -> None:
    for source in (DataSource("x.jsonl", b""), DataSource("x.csv", b"a,b\n"), DataSource("x.csv", b"PAR1")):
        report = check_source(source, facts())
        assert [each.row for each in report.problems] == [None]
        assert report.is_refused and report.statistics is None


def test_the_report_is_json_and_counts_what_it_does_not_show() -> None:
    value = to_json(check(pairs(*[("a", "")] * 3, ("\ud83d", "1")), records=[SPEED]), max_problems=1)
    assert json.loads(json.dumps(value)) == value
    assert (len(value["problems"]), value["refused"]) == (1, True)
    assert {each["kind"]: each["count"] for each in value["problemCounts"]} == {
        "surrogate": 1,
        "empty": 3,
        "doubled": 2,
    }


def test_what_can_be_mended_is_mended_and_the_rest_is_left_out_with_its_reason() -> None:
    rows = [
        *pairs(
            ("a", 1),
            ("cafÃ©", "x <e>\n"),
            ("b \ud83d", "2"),
            ("a", "1"),
            ("c", " "),
            ("d", ""),
            ("e", "x" * 99),
        ),
        chat(("system", "s"), ("user", "u"), ("assistant", "a")),
        chat(("user", "u"), ("assistant", "a"), ("user", "u"), ("assistant", "a")),
        chat(("user", "u")),
        17,
        *pairs(("f", "3"), ("f", "4")),
    ]
    fixed = fix(check(rows))
    assert [(each.text_input, each.output) for each in fixed.examples] == [
        ("a", "1"),
        ("café", "x "),
        ("b \ufffd", "2"),
        ("s\n\nu", "a"),
        ("f", "3"),
        ("f", "4"),
    ]
    assert fixed.mended == (0, 1, 2, 7)
    assert [(each.row, each.kind) for each in fixed.left_out] == [
        (3, ProblemKind.DOUBLED),
        (4, ProblemKind.BLANK),
        (5, ProblemKind.EMPTY),
        (6, ProblemKind.TOO_LONG),
        (8, ProblemKind.CONVERSATION),
        (9, ProblemKind.TURN_ORDER),
        (10, ProblemKind.UNREADABLE),
    ]


def test_a_swapped_row_is_turned_and_a_held_out_one_left_out() -> None:
    texts = [(f"message {n}", ("shipping", "billing")[n % 2]) for n in range(10)]
    rows = pairs(*texts, ("billing", "Why twice?"))
    held_out = DataSource("test", rows=pairs(texts[0]))
    fixed = fix(check_source(DataSource("rows", rows=rows), facts(), held_out))
    assert fixed.examples[-1] == Example.pair("Why twice?", "billing")
    assert [(each.row, each.kind) for each in fixed.left_out] == [(0, ProblemKind.HELD_OUT)]


def test_what_was_mended_has_no_problem_any_more() -> None:
    rows = pairs(("a", 1), ("cafÃ©", "x<e>"), ("a", "1"), ("d", ""))
    mended = format_examples(fix(check(rows)).examples)
    again = check_source(DataSource("x.jsonl", mended.encode()), facts())
    assert (again.problems, len(again.content.rows)) == ((), 2)


NAMES = st.sampled_from(
    ["messages", "contents", "role", "content", "parts", "text", "prompt", "completion", "output"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.json", "-"])
@given(
    data=st.binary() | st.text().map(str.encode) | st.lists(JSON).map(lambda rows: json.dumps(rows).encode())
)
def test_whatever_bytes_a_file_holds_there_is_a_report(name: str, data: bytes) -> None:
    report = check_source(DataSource(name, data), facts())
    assert report.is_refused == (to_json(report)["refused"])
    assert fix(report).examples or report.problems


@given(rows=st.lists(JSON, max_size=5))
def test_whatever_rows_are_given_there_is_a_report_and_what_is_mended_is_sound(rows: list[Any]) -> None:
    report = check(rows)
    mended = fix(report).examples
    again = check([{"text_input": each.text_input, "output": each.output} for each in mended])
    assert not (mended and again.is_refused)
    assert len(mended) + len(fix(report).left_out) == len(report.content.rows)
