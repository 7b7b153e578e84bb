"""`overtone check`, and what `overtone tune` makes of the same files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from overtone.cli.check import TITLES, describe_seconds
from overtone.dataset.estimate import SpeedRecord
from overtone.dataset.examples import ProblemKind
from overtone.processor_name import processor_name
from overtone.store.speeds import add_speed
from tests.cli.conftest import FakeService, Run, said
from tests.tiny import BASE_ID, make_base

SOUND = "message;category\nWhere is it?;shipping\nPay back!;refund\n"
OPERATION = {"name": "tunedModels/x/operations/o", "metadata": {"tunedModel": "tunedModels/x"}}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("bases")).parent


@pytest.fixture
def data(tmp_path: Path, bases: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the tiny base, and no service."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bases").symlink_to(bases)
    monkeypatch.setenv("OVERTONE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "support.csv"


def lines(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.split("\n")]


def test_a_sound_file_says_what_it_is_and_ends_with_0(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND)
    result = run("check", str(file))
    assert result.exit_code == 0, result.output
    assert lines(result)[:3] == [
        f"{file}: a table with semicolons, UTF-8, 2 rows",
        "input 'message', output 'category' (guessed by their names)",
        "No problems found.",
    ]
    assert f"Tuning models/{BASE_ID}: 3 steps of 4 in 5 epochs" in result.stdout
    assert "not known until a first job" in result.stdout


def test_problems_are_grouped_with_line_and_fix_and_end_with_1(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND + "".join(f"q{n};\n" for n in range(5)) + "Where is it?;shipping\n")
    result = run("check", str(file))
    assert result.exit_code == 1
    found = lines(result)
    start = found.index("A tuning would be refused for")
    assert found[start + 1 : start + 7] == [
        "empty: 5",
        "line 4: output is empty; there would be nothing to learn.",
        "line 5: output is empty; there would be nothing to learn.",
        "line 6: output is empty; there would be nothing to learn.",
        "and 2 more",
        "fix: The row is left out.",
    ]
    assert "line 9: is the same as line 2." in found
    assert "line 8: output is empty; there would be nothing to learn." in lines(
        run("check", str(file), "--all")
    )


def test_warnings_alone_end_with_0(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND + "Where is it?;billing\n")
    result = run("check", str(file))
    assert (result.exit_code, "contradictory: 1" in lines(result)) == (0, True)


def test_a_classification_and_the_longest_rows_are_told(run: Run, data: Path, file: Path) -> None:
    rows = "".join(f"message {n};{('shipping', 'refund')[n % 2]}\n" for n in range(10))
    file.write_text("message;category\n" + rows + "x" * 50 + ";refund\n")
    found = lines(run("check", str(file)))
    assert "labels refund 6, shipping 5 (a classification)" in found
    assert any(line.startswith("longest line 12 (") for line in found)


def test_the_estimate_is_by_earlier_jobs(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND)
    for seconds in (100.0, 120.0, 90.0, 100.0):
        record = SpeedRecord(BASE_ID, processor_name(), "2 threads", "float32", 10, 1000, seconds, int(2e9))
        add_speed(data, record)
    result = run("check", str(file), "--epochs", "2", "--batch-size", "1")
    assert "4 steps of 1 in 2 epochs" in result.stdout
    (line,) = (line for line in lines(result) if line.startswith("About"))
    assert re.fullmatch(
        r"About \d+ s, \d+ s to \d+ s as far as earlier estimates were off, and 2.0 GB of memory, by 4 jobs here "
        r"\(2 threads\)\.",
        line,
    )


def test_one_job_gives_an_estimate_without_a_range(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND)
    add_speed(data, SpeedRecord(BASE_ID, processor_name(), "2 threads", "float32", 10, 1000, 1e5, int(2e9)))
    (line,) = (line for line in lines(run("check", str(file))) if line.startswith("About"))
    assert line.endswith("by 1 job here (2 threads). How far off that is, more jobs will show.")


def test_without_the_base_all_but_tokens_is_checked(
    run: Run, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERTONE_DATA", str(tmp_path / "none"))
    file.write_text(SOUND + "x;\n")
    result = run("check", str(file))
    assert result.exit_code == 1
    assert (
        "Tokens are not counted: the base model smollm2-135m-instruct is not on this machine."
        in result.stdout
    )
    assert not (tmp_path / "none").exists(), "nothing is made by looking"


def test_json_is_the_whole_report(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND + "".join(f"q{n};\n" for n in range(9)))
    result = run("check", str(file), "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, len(value["problems"]), value["refused"]) == (1, 9, True)
    assert value["problems"][0]["place"] == "line 4"


def test_fix_writes_what_can_be_mended_and_says_the_rest(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND + "cafÃ©;refund\nx;\nWhere is it?;shipping\n")
    out = file.with_name("mended.jsonl")
    result = run("check", str(file), "--fix", str(out))
    assert result.exit_code == 1, "of the file as it is"
    assert lines(result)[-5:-1] == [
        f"Wrote 3 examples to {out}: 1 mended, 2 left out.",
        "mended: line 4",
        "left out, empty: line 5",
        "left out, doubled: line 6",
    ]
    assert json.loads(out.read_text().split("\n")[2]) == {"text_input": "café", "output": "refund"}
    assert run("check", str(out)).exit_code == 0


def test_fix_overwrites_nothing_unasked(run: Run, data: Path, file: Path) -> None:
    rows = file.with_suffix(".jsonl")
    rows.write_text('{"text_input": "1", "output": "2"}\n')
    assert "is the file that is checked" in said(run("check", str(rows), "--fix", str(rows)))
    other = file.with_name("other.jsonl")
    other.write_text("mine")
    assert "pass --yes" in said(run("check", str(rows), "--fix", str(other)))
    assert other.read_text() == "mine"
    run("check", str(rows), "--fix", str(other), "--yes")
    assert other.read_text() == rows.read_text()
    assert "ends in .jsonl" in said(run("check", str(rows), "--fix", str(file)))


def test_a_held_out_file_is_compared(run: Run, data: Path, file: Path) -> None:
    file.write_text(SOUND)
    held_out = file.with_name("test.csv")
    held_out.write_text("message,category\nPay back!,refund\n")
    result = run("check", str(file), "--held-out", str(held_out))
    assert f"line 3: text_input is in the held-out set too, at {held_out}, line 2." in lines(result)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("--base", "tunedModels/x"), "is no base model"), (("--held-out", "/no/file"), "No such file")],
)
def test_what_cannot_be_checked_is_said(
    arguments: tuple[str, ...], sentence: str, run: Run, data: Path, file: Path
) -> None:
    file.write_text(SOUND)
    assert sentence in said(run("check", str(file), *arguments))


def test_every_kind_of_problem_has_a_heading() -> None:
    assert set(TITLES) == set(ProblemKind)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (150, "2.5 min"), (720, "12 min"), (12_600, "3.5 h")]
)
def test_a_time_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text


def test_tune_reads_the_same_files_and_says_what_it_took_for_what(
    service: FakeService, run: Run, file: Path
) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, OPERATION)
    file.write_bytes((SOUND + "Grüße;other\nGrüße;refund\n").encode("cp1252"))
    result = run("tune", str(file), "--no-wait")
    assert result.exit_code == 0, result.output
    sent = service.asked[0][2]["tuning_task"]["training_data"]["examples"]["examples"]
    assert sent[2] == {"text_input": "Grüße", "output": "other"}
    assert f"{file} is read as Windows-1252." in result.stderr
    assert "input 'message', output 'category' (guessed by their names)" in result.stderr
    assert "contradictory: 1" in result.stderr


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text_input": "1", "output": ""}, "line 2: output is empty; there would be nothing to learn."),
        ({"text_input": "hi \ud83d", "output": "2"}, "line 2: text_input holds half of a surrogate pair"),
        (
            {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant") * 2]},
            "line 2: is a conversation of 4 turns; a tuning takes pairs",
        ),
        (
            {"messages": [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]},
            "line 2: has a system turn; a tuning takes pairs",
        ),
    ],
)
def test_tune_sends_nothing_when_a_row_cannot_be_sent(
    row: object, sentence: str, service: FakeService, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text_input": "1", "output": "2"}\n' + f"{json.dumps(row)}\n" * 2)
    complaint = said(run("tune", str(file)))
    assert sentence in complaint
    assert f"There are 1 problems more. See all of them: overtone check {file}" in complaint
    assert service.asked == []


def test_an_example_that_the_service_refuses_is_told_with_its_line(
    service: FakeService, run: Run, file: Path
) -> None:
    message = (
        "tuned_model.tuning_task.training_data.examples.examples[1].output has 9 characters; the limit is 5."
    )
    service.answers["POST /v1beta/tunedModels"] = (400, {"error": {"message": message}})
    file.write_text(SOUND)
    assert said(run("tune", str(file))) == f"{message} That is line 3 of {file}."


def test_tune_says_what_a_file_is_that_holds_no_rows(service: FakeService, run: Run, file: Path) -> None:
    file.write_bytes(b"PAR1")
    assert said(run("tune", str(file))).startswith(f"{file} is a Parquet file, not text")
    file.write_text("message,category\n")
    assert said(run("tune", str(file))) == f"{file} holds no examples."
