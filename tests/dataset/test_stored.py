"""Examples on the disk, out and in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overtone.dataset.examples import Dataset, Example, Turn
from overtone.dataset.stored import EXAMPLES_FILE, load_examples, save_examples
from overtone.errors import OvertoneError

PAIRS = [("1", "2"), ("", "é\u2028\n日"), ("turns", '{"output": "x"}')]
CONVERSATION = Example((Turn("system", "Be short."), *Example.pair("Hi", "Hi.").turns))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    dataset = Dataset((*Dataset.of_pairs(PAIRS).examples, CONVERSATION, Example(())))
    save_examples(tmp_path / EXAMPLES_FILE, dataset)
    assert load_examples(tmp_path / EXAMPLES_FILE) == dataset


def test_a_pair_is_a_line_in_the_api_s_own_names(tmp_path: Path) -> None:
    save_examples(tmp_path / EXAMPLES_FILE, Dataset.of_pairs(PAIRS))
    lines = (tmp_path / EXAMPLES_FILE).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [
        {"text_input": text_input, "output": output} for text_input, output in PAIRS
    ]
    assert lines[0] == '{"text_input": "1", "output": "2"}'
    assert lines[-1] == ""


@pytest.mark.parametrize(
    "line",
    [
        '{"text_in',
        "3",
        "[]",
        '{"text_input": "1"}',
        '{"text_input": "1", "output": 2}',
        '{"turns": 1}',
        '{"turns": [{"role": "user"}]}',
        '{"turns": [{"role": "nobody", "text": "1"}]}',
        '{"turns": [{"role": "user", "text": null}]}',
    ],
)
def test_a_damaged_line_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    save_examples(tmp_path / EXAMPLES_FILE, Dataset.of_pairs([("1", "2")]))
    with (tmp_path / EXAMPLES_FILE).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(OvertoneError, match=r"^The training examples are damaged at line 2\.$"):
        load_examples(tmp_path / EXAMPLES_FILE)


@pytest.mark.parametrize("content", [None, b'{"text_input": "\xff'])
def test_a_file_that_cannot_be_read_says_so(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / EXAMPLES_FILE).write_bytes(content)
    with pytest.raises(OvertoneError, match="The training examples cannot be read"):
        load_examples(tmp_path / EXAMPLES_FILE)
