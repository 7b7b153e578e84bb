"""Files of examples, in the forms that people have them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from overtone.cli.example_file import read_examples
from overtone.errors import OvertoneError

PAIRS = [{"text_input": "1", "output": "2"}, {"text_input": "ein, zwei", "output": "drei\nvier"}]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "document",
    [
        PAIRS,
        {"examples": PAIRS},
        {"examples": {"examples": PAIRS}},
        {"training_data": {"examples": {"examples": PAIRS}}},
        {"displayName": "x", "tuningTask": {"trainingData": {"examples": {"examples": PAIRS}}}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_whatever_the_api_takes_a_file_may_hold(tmp_path: Path, document: object, indent: int | None) -> None:
    assert read_examples(written(tmp_path, "x.json", json.dumps(document, indent=indent))) == PAIRS


def test_json_lines_may_have_empty_lines_and_camel_case(tmp_path: Path) -> None:
    text = '{"textInput": "1", "output": "2"}\n\n{"text_input": "ein, zwei", "output": "drei\\nvier"}\n'
    assert read_examples(written(tmp_path, "x.jsonl", text)) == PAIRS


def test_the_tutorials_trailing_commas_are_taken(tmp_path: Path) -> None:
    rows = ",\n".join(json.dumps(pair).replace("}", ",}") for pair in PAIRS)
    text = f'{{"examples": [\n{rows},\n],}}'
    assert read_examples(written(tmp_path, "x.json", text)) == PAIRS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'text_input,output\r\n1,2\r\n"ein, zwei","drei\nvier"\r\n'),
        ("x.csv", '\ufeffid,output,textInput\n7,2,1\n8,"drei\nvier","ein, zwei"\n'),
        ("x.TSV", 'output\ttext_input\n2\t1\n"drei\nvier"\tein, zwei\n'),
    ],
)
def test_tables_are_read_by_their_headings(tmp_path: Path, name: str, text: str) -> None:
    assert read_examples(written(tmp_path, name, text)) == PAIRS


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PAIRS).encode())))
    assert read_examples(Path("-")) == PAIRS


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("x.csv", "text_input,answer\n1,2\n", r"x\.csv, line 2: output is missing"),
        ("x.csv", "text_input,output\n1,2\n3\n", r"line 3: output is missing"),
        (
            "x.jsonl",
            '{"text_input": "1", "output": "2"}\n{"text_input": "1"}\n',
            r"line 2: output is missing",
        ),
        ("x.jsonl", '{"text_input": 1, "output": "2"}\n', r"line 1: text_input is missing or is not text"),
        ("x.jsonl", '{"text_input": "1", "output": "2"}\nnonsense\n', r"Line 2 is not JSON"),
        ("x.json", "{\n  nonsense\n", r"neither JSON lines nor one JSON document"),
        ("x.json", "[\n17\n]", r"example 0: text_input is missing"),
        ("x.csv", "text_input,output\n", r"holds no examples"),
        ("x.jsonl", "", r"holds no examples"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(OvertoneError, match=complaint):
        read_examples(written(tmp_path, name, text))


def test_a_file_that_is_no_text_or_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"text_input\xff")
    with pytest.raises(OvertoneError, match=r"not UTF-8 text \(byte 10\)"):
        read_examples(tmp_path / "x.csv")
    with pytest.raises(OvertoneError, match="No such file"):
        read_examples(tmp_path / "missing.csv")
