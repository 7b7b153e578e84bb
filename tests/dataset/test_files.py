"""Files of examples, in the forms that people have them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from overtone.dataset.examples import Dataset
from overtone.dataset.files import Columns, read_examples
from overtone.errors import OvertoneError

PAIRS = [{"text_input": "1", "output": "2"}, {"text_input": "ein, zwei", "output": "drei\nvier"}]
DATASET = Dataset.of_pairs([("1", "2"), ("ein, zwei", "drei\nvier")])


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
    assert read_examples(written(tmp_path, "x.json", json.dumps(document, indent=indent))) == DATASET


def test_json_lines_may_have_empty_lines_and_camel_case(tmp_path: Path) -> None:
    text = '{"textInput": "1", "output": "2"}\n\n{"text_input": "ein, zwei", "output": "drei\\nvier"}\n'
    assert read_examples(written(tmp_path, "x.jsonl", text)) == DATASET


def test_the_tutorials_trailing_commas_are_taken(tmp_path: Path) -> None:
    rows = ",\n".join(json.dumps(pair).replace("}", ",}") for pair in PAIRS)
    text = f'{{"examples": [\n{rows},\n],}}'
    assert read_examples(written(tmp_path, "x.json", text)) == DATASET


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'text_input,output\r\n1,2\r\n"ein, zwei","drei\nvier"\r\n'),
        ("x.csv", '\ufeffid,output,textInput\n7,2,1\n8,"drei\nvier","ein, zwei"\n'),
        ("x.TSV", 'output\ttext_input\n2\t1\n"drei\nvier"\tein, zwei\n'),
    ],
)
def test_tables_are_read_by_their_headings(tmp_path: Path, name: str, text: str) -> None:
    assert read_examples(written(tmp_path, name, text)) == DATASET


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PAIRS).encode())))
    assert read_examples(Path("-")) == DATASET


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (
            "x.csv",
            "text_input,answer\n1,2\n",
            r"x\.csv, line 2: there is no 'output', only 'text_input', 'answer'",
        ),
        ("x.csv", "text_input,output\n1,2\n3\n", r"line 3: has 1 cells; the first line names 2"),
        ("x.csv", "text_input,output\nHello, how are you,fine\n", r"line 2: has 3 cells.*Put quotes"),
        ("x.csv", 'text_input,output\n1,2\nwheel,"20 inch\na,b\n', r"line 3: the quotes of this row"),
        ("x.csv", 'text_input,output\n"He said \\"hi, there\\"",ok\n', r"line 2: (the quotes|has)"),
        ("x.tsv", 'text_input\toutput\n"quoted" start\tx\n', r"line 2: the quotes of this row"),
        ("x.csv", "text_input,output,output\n1,2,3\n", r"line 1: two columns are called 'output'"),
        ("x.csv", "text_input;output\n1;2\n", r"apart by semicolons, not by commas"),
        ("x.csv", "text_input\toutput\n1\t2\n", r"apart by tabs.*or name it \.tsv"),
        ("x.csv", "text_input,output\n1,\n", r"line 2: the output is empty"),
        (
            "x.jsonl",
            '{"text_input": "1", "output": "2"}\n{"text_input": "1"}\n',
            r"x\.jsonl, line 2: there is no 'output', only 'text_input'",
        ),
        ("x.jsonl", '{"text_input": 1, "output": "2"}\n', r"line 1: text_input is not text"),
        ("x.jsonl", '{"messages": []}\n', r"only 'messages'.*--input COLUMN --output COLUMN"),
        ("x.jsonl", '{"text_input": "1", "output": "2"}\nnonsense\n', r"line 2: this is not JSON"),
        (
            "x.jsonl",
            '{"text_input": "1", "output": "2", "output": "3"}\n',
            r"line 1: 'output' stands in it twice",
        ),
        (
            "x.jsonl",
            '{"text_input": "\\ud83d", "output": "2"}\n',
            r"line 1: text_input holds half of a surrogate",
        ),
        ("x.jsonl", "[" * 100_000, r"not JSON|neither JSON"),
        ("x.jsonl", '[{"text_input": "1", "output": "2"}, 3]', r"line 1, example 1: this is no row"),
        ("x.json", "{\n  nonsense\n", r"x\.json: this is neither JSON lines .* nor one JSON document"),
        ("x.json", "[\n17\n]", r"example 0: this is no row"),
        ("x.csv", "text_input,output\n", r"holds no examples"),
        ("x.jsonl", "", r"holds no examples"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(OvertoneError, match=complaint):
        read_examples(written(tmp_path, name, text))


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085"])
def test_only_a_newline_ends_a_line_of_json(tmp_path: Path, character: str) -> None:
    rows = [{"text_input": f"line{character}sep", "output": character}] * 2
    dataset = Dataset.of_pairs([(f"line{character}sep", character)] * 2)
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read_examples(written(tmp_path, "x.jsonl", text)) == dataset


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    dataset = read_examples(written(tmp_path, "x.csv", f"text_input,output\n{'x' * 140_000},y\n"))
    assert dataset == Dataset.of_pairs([("x" * 140_000, "y")])


def test_columns_can_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, "x.csv", "Birth Date, Zodiac Sign\n1 May,♉\n")
    dataset = read_examples(file, Columns("Birth Date", "Zodiac Sign"))
    assert dataset == Dataset.of_pairs([("1 May", "♉")])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"text_input\xff", r"not UTF-8 text \(byte 10 is 0xff\).*iconv -f CP1252"),
        ("text_input".encode("utf-16"), r"is UTF-16.*iconv -f UTF-16"),
        (b"PK\x03\x04", "a spreadsheet or an archive, not text"),
        (b"PAR1", "a Parquet file"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_seems_to_be(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(OvertoneError, match=sentence):
        read_examples(tmp_path / "x.csv")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OvertoneError, match="No such file"):
        read_examples(tmp_path / "missing.csv")
