"""Rows of many forms as examples."""

from __future__ import annotations

from typing import Any

import pytest

from overtone.dataset.columns import Columns, NoShape, find_shape
from overtone.dataset.examples import Example, ProblemKind, Turn

CHAT = (Turn("system", "s"), Turn("user", "u"), Turn("assistant", "a"))
SAID = [("system", "s"), ("user", "u"), ("assistant", "a")]


def read(row: dict[str, Any], columns: Columns = Columns()) -> tuple[Example | None, list[Any]]:  # noqa: B008
    return find_shape(tuple(row), columns).read(row)


@pytest.mark.parametrize(
    "row",
    [
        {"text_input": "1", "output": "2"},
        {"text_input": "1", "output": "2", "messages": []},
        {"textInput": "1", "output": "2", "input": "no"},
        {"Prompt": "1", "Completion": "2"},
        {"prompt": "1", "response": "2"},
        {"question": "1", "id": "9", "answer": "2"},
        {"input_text": "1", "output_text": "2"},
        {"text": "1", "label": "2"},
        {"message": "1", "category": "2"},
        {"instruction": "1", "input": "", "output": "2"},
        {"instruction": "1", "input": None, "output": "2"},
    ],
)
def test_columns_are_found_by_their_names(row: dict[str, Any]) -> None:
    assert read(row) == (Example.pair("1", "2"), [])


def test_an_instruction_stands_above_its_input() -> None:
    row = {"instruction": "Translate.", "input": "eins", "output": "one"}
    assert read(row)[0] == Example.pair("Translate.\n\neins", "one")


def test_only_what_names_leave_open_is_a_guess() -> None:
    def guesses(*names: str) -> bool:
        return find_shape(names, Columns()).is_guessed

    assert not guesses("text_input", "output")
    assert not guesses("prompt", "completion")
    assert guesses("question", "label")
    assert not find_shape(("question", "x"), Columns("question", "x")).is_guessed


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ("Birth Date", "Zodiac Sign"),
            "there are only 'Birth Date', 'Zodiac Sign'. Say which .* --input 'Birth Date' --output 'Zodiac Sign'",
        ),
        (("prompt", "shade"), "no column is clearly the output"),
        (("question", "query", "answer"), "no column is clearly the input"),
        (("question", "label", "category"), "no column is clearly the output"),
        ((), "there are only nothing"),
    ],
)
def test_what_is_not_plain_is_not_guessed(names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(NoShape, match=sentence):
        find_shape(names, Columns())


def test_a_template_joins_columns() -> None:
    row = {"subject": "S", "body {x}": "B", "team": "T", "note": "N"}
    columns = Columns("{subject}: {{{note}}}", "team")
    assert read(row, columns) == (Example.pair("S: {N}", "T"), [])
    assert find_shape(tuple(row), columns).used == {"subject", "note", "team"}
    assert read(row, Columns("body {x}", "team"))[0] == Example.pair("B", "T"), "a column may be called so"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{subjekt}", "there is no 'subjekt', only 'subject', 'team'"),
        ("Subject", "there is no 'Subject'"),
        ("{subject", "the template '{subject' cannot be read"),
        ("{subject:>3}", "there is no 'subject:>3'"),
    ],
)
def test_a_column_that_is_not_there_is_named(template: str, sentence: str) -> None:
    with pytest.raises(NoShape, match=sentence):
        find_shape(("subject", "team"), Columns(template, "team"))


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (0.5, "0.5"), (True, "true"), (None, ""), ([1], "")])
def test_what_is_no_text_is_told_and_read_as_well_as_it_can_be(value: Any, text: str) -> None:
    example, (problem,) = read({"prompt": "1", "completion": value})
    assert example == Example.pair("1", text)
    assert (problem.field, problem.kind, bool(problem.fix)) == ("output", ProblemKind.NOT_TEXT, bool(text))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": role, "content": text} for role, text in SAID]},
        {"messages": [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in SAID]},
        {
            "messages": [{"role": r, "content": t, "weight": 1, "tool_calls": None} for r, t in SAID],
            "tools": [],
        },
        {"messages": [{"role": role, "content": text} for role, text in SAID[1:]], "system": "s"},
        {
            "conversations": [
                {"from": r, "value": t} for r, t in [("system", "s"), ("human", "u"), ("gpt", "a")]
            ]
        },
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "s"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "u"}]},
                {"role": "model", "parts": [{"text": "a"}]},
            ],
        },
        {
            "system_instruction": "s",
            "contents": [{"parts": {"text": "u"}}, {"role": "model", "parts": [{"text": "a"}]}],
        },
    ],
)
def test_the_turns_of_a_conversation_are_read(row: dict[str, Any]) -> None:
    if isinstance(row.get("contents"), list) and isinstance(row["contents"][0]["parts"], dict):
        row["contents"][0]["parts"] = [row["contents"][0]["parts"]]
    assert read(row) == (Example(CHAT), [])


@pytest.mark.parametrize(
    ("message", "sentence", "kind"),
    [
        ({"role": "tool", "content": "x"}, "has the role 'tool' at messages[0]", ProblemKind.ROLE),
        ({"content": "x"}, "has the role None at messages[0]", ProblemKind.ROLE),
        ({"role": "user"}, "has no text at messages[0]", ProblemKind.NOT_TEXT),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "has image_url in a part",
            None,
        ),
        (
            {"role": "user", "parts": [{"text": "x", "inlineData": {"a": 1}}]},
            "has inlineData in a part",
            None,
        ),
        ({"role": "assistant", "content": "x", "weight": 0}, "says with weight 0 that messages[0]", None),
        ({"role": "assistant", "content": "", "tool_calls": [1]}, "has 'tool_calls' at messages[0]", None),
        ("x", "has no turn at messages[0] but text", None),
    ],
)
def test_what_a_turn_holds_besides_text_is_refused(
    message: Any, sentence: str, kind: ProblemKind | None
) -> None:
    example, (problem,) = read({"messages": [message]})
    assert example is None
    assert problem.text.startswith(sentence)
    assert problem.kind == (kind or ProblemKind.UNREADABLE)


def test_tools_are_refused() -> None:
    assert (
        read({"messages": [], "tools": [{"type": "function"}]})[1][0].text
        == "has tools, which cannot be trained."
    )
