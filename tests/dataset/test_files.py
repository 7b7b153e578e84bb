"""Files of examples, in the forms that people have them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from overtone.dataset.columns import Columns
from overtone.dataset.examples import Dataset, Example, Turn
from overtone.dataset.files import DataSource, load_source, read_examples, read_source
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
        {"examples": {"examples": PAIRS[:1]}, "multiturnExamples": {"examples": PAIRS[1:]}},
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
        ("x.csv", 'text_input;output\n1;2\nein, zwei;"drei\nvier"\n'),
        ("x.csv", 'sep=;\r\ntext_input;output\r\n1;2\r\nein, zwei;"drei\nvier"\r\n'),
        ("x.csv", 'text_input\toutput\n1\t2\nein, zwei\t"drei\nvier"\n'),
        ("x.csv", 'Text Input,OUTPUT\n1,2\n"ein, zwei","drei\nvier"\n'),
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
            "text_input,shade\n1,2\n",
            r"x\.csv, line 2: no column is clearly the output; there are only 'text_input', 'shade'",
        ),
        ("x.csv", "text_input,output\n1,2\n3\n", r"line 3: has 1 cells; the first line names 2"),
        ("x.csv", "text_input,output\nHello, how are you,fine\n", r"line 2: has 3 cells.*Put quotes"),
        ("x.csv", 'text_input,output\n1,2\nwheel,"20 inch\na,b\n', r"line 3: the quotes of this row"),
        ("x.csv", 'text_input,output\n"He said \\"hi, there\\"",ok\n', r"line 2: (the quotes|has)"),
        ("x.tsv", 'text_input\toutput\n"quoted" start\tx\n', r"line 2: the quotes of this row"),
        ("x.csv", "text_input,output,output\n1,2,3\n", r"line 1: two columns are called 'output'"),
        (
            "x.jsonl",
            '{"text_input": "1", "output": "2"}\n{"text_input": "1"}\n',
            r"x\.jsonl, line 2: no column is clearly the output; there are only 'text_input'",
        ),
        ("x.jsonl", '{"text_input": 1, "output": "2"}\n', r"line 1: text_input is not text but a number"),
        ("x.jsonl", '{"messages": 3}\n', r"line 1: has messages that are not a list of turns"),
        ("x.jsonl", '{"text_input": "1", "output": "2"}\nnonsense\n', r"line 2: this is not JSON"),
        (
            "x.jsonl",
            '{"text_input": "1", "output": "2", "output": "3"}\n',
            r"line 1: 'output' stands in it twice",
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


def test_every_row_is_there_with_its_place_and_what_is_wrong_with_it() -> None:
    data = b'{"prompt": "1", "completion": "2", "id": 7}\nnonsense\n[3]\n\n{"prompt": "1", "completion": 4}\n'
    content = read_source(DataSource("x.jsonl", data))
    assert [row.place for row in content.rows] == ["line 1", "line 2", "line 3", "line 5"]
    assert [problem.row for row in content.rows for problem in row.problems] == [1, 2, 3]
    assert content.rows[3].example == Example.pair("1", "4"), "as well as it can be read"
    assert content.unused == ("id",)
    assert [(use.text_input, use.output, use.num_rows) for use in content.shapes] == [
        ("prompt", "completion", 2)
    ]


def test_what_ends_the_reading_of_a_table_is_told_and_the_rows_before_it_are_kept() -> None:
    content = read_source(DataSource("x.csv", b'text_input,output\n1,2\nwheel,"20 inch\na,b\n'))
    assert [row.example for row in content.rows] == [Example.pair("1", "2")]
    assert content.problem.startswith("x.csv, line 3: the quotes of this row do not match")
    assert content.problem.endswith("Only the 1 rows before it were read.")


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    def described(name: str, data: bytes) -> tuple[str, str]:
        (tmp_path / name).write_bytes(data)
        content = read_source(load_source(tmp_path / name))
        assert content.rows[0].example == Example.pair("é", "2"), content.problem
        return content.format, content.encoding

    table = "text_input;output\né;2\n"
    assert described("x.csv", table.encode("cp1252")) == ("a table with semicolons", "Windows-1252")
    assert described("x.csv", table.encode("utf-16")) == ("a table with semicolons", "UTF-16")
    assert described("x.csv", table.replace(";", ",").encode()) == ("CSV", "UTF-8")
    rows = '{"text_input": "é", "output": "2"}\n'
    assert described("x.jsonl", rows.encode("utf-8-sig")) == ("JSON lines", "UTF-8 with a byte order mark")


def test_rows_need_no_file() -> None:
    content = read_source(DataSource("rows", rows=[{"question": "1", "answer": "2"}, 3]))
    assert [row.place for row in content.rows] == ["example 0", "example 1"]
    assert content.rows[0].example == Example.pair("1", "2")


def test_conversations_and_pairs_may_be_mixed() -> None:
    data = b"""{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi."}]}
{"system": "Be short.", "contents": [{"parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}
{"text_input": "1", "output": "2"}"""
    examples = [row.example for row in read_source(DataSource("x.jsonl", data)).rows]
    system = Example((Turn("system", "Be short."), *Example.pair("q", "a").turns))
    assert examples == [Example.pair("Hi", "Hi."), system, Example.pair("1", "2")]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OvertoneError, match="No such file"):
        read_examples(tmp_path / "missing.csv")
