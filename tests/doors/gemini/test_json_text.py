"""JSON text as Google's servers read and write it."""

from __future__ import annotations

import pytest

from overtone.doors.gemini.json_text import dump, parse
from overtone.errors import InvalidArgument


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '\n  {"a": 1,}',
        "{'a': 1}",
        "{a: 1}",
        '\ufeff{"a": 1}',
    ],
)
def test_what_googles_parser_takes_is_taken(text: str) -> None:
    assert parse(text.encode()) == {"a": 1}


def test_a_trailing_comma_in_a_list_is_taken() -> None:
    assert parse(b'{"a": [1, 2,],}') == {"a": [1, 2]}


@pytest.mark.parametrize("text", [b"", b" \n"])
def test_an_empty_body_is_an_empty_object(text: bytes) -> None:
    assert parse(text) == {}


def test_a_syntax_error_shows_the_place() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(b'{"a": 1 "b": 2}')
    sentence, line, arrow = caught.value.message.split("\n")
    assert sentence == "Invalid JSON payload received. Unexpected token."
    assert line[arrow.index("^")] == '"'


@pytest.mark.parametrize(
    "body",
    [b'{"a":', b"[" * 100_000, b'{"a":' * 100_000, b"nope", b"\xff\xfe", b"1" * 10_000, b"{'a': 1} x"],
)
def test_nothing_that_is_not_json_gets_further(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="Invalid JSON payload received"):
        parse(body)


def test_the_characters_at_which_clients_split_lines_are_escaped() -> None:
    text = dump({"a": "x\u2028y\x85z é"}, pretty=False)
    assert text == '{"a":"x\\u2028y\\u0085z é"}'
    assert len(text.splitlines()) == 1


def test_pretty_is_one_field_a_line() -> None:
    assert dump({"a": 1, "b": [2]}) == '{\n  "a": 1,\n  "b": [\n    2\n  ]\n}'
